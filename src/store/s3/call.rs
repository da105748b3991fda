//! Sends a request as often as its deadline and the number of attempts allow.

use std::time::{Duration, Instant};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::{
    fault::{Cause, Fault, Remedy},
    keyring::Keyring,
};
use crate::clock;

/// The first wait before an attempt is at most this long; it doubles each time.
const BACKOFF: Duration = Duration::from_millis(100);
/// The same after `SlowDown`: the server wants fewer requests, not the same ones a little later.
const BACKOFF_SLOW: Duration = Duration::from_millis(800);
/// No wait is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// One attempt gets this part of the operation's time, so that a dead connection leaves time for another.
const ATTEMPTS_IN_TIME: u32 = 3;
/// Bytes per second: an upload gets the time to send its body this slowly on top.
const SLOWEST: u64 = 128 << 10;

/// How long operations may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Attempts, the first included.
    pub(super) attempts: u32,
    /// Of one operation, with all its attempts.
    pub(super) timeout: Duration,
}

/// How long the server may need for an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    Quick,
    /// A body of so many bytes must be sent first.
    Upload(usize),
    /// The server copies or joins bytes before it answers.
    Slow,
}

impl Limits {
    pub(super) fn attempt(&self, pace: Pace) -> Duration {
        let quick = self.timeout / ATTEMPTS_IN_TIME;
        match pace {
            Pace::Quick => quick,
            Pace::Upload(bytes) => quick + Duration::from_secs(bytes as u64 / SLOWEST),
            Pace::Slow => self.timeout,
        }
    }

    /// Runs `send` until it succeeds or nothing helps. Every await in it is bounded by the deadline.
    pub(super) async fn call<T, E, F>(
        &self,
        keys: &Keyring,
        what: &'static str,
        pace: Pace,
        mut send: impl FnMut() -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        in_task().await;
        let deadline = clock::now() + self.timeout;
        let (mut attempts, mut renewed, mut earlier) = (0, false, None);
        loop {
            attempts += 1;
            let begun = clock::now();
            let time = self.attempt(pace).min(left(deadline));
            // On the heap: the futures of the SDK are several KiB.
            let cause = match tokio::time::timeout(time, Box::pin(send())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(err)) => Cause::of(&err),
                Err(_) => Cause::Timeout(format!("no answer within {:.1} s", time.as_secs_f32())),
            };
            let remedy = cause.remedy();
            let enough = attempts >= self.attempts && remedy != Remedy::Conflict;
            let wait = match remedy {
                Remedy::Nothing => None,
                Remedy::Renew => {
                    let first = !std::mem::replace(&mut renewed, true);
                    let time = left(deadline);
                    let fresh = first && tokio::time::timeout(time, keys.renew(begun)).await.unwrap_or(false);
                    fresh.then_some(Duration::ZERO)
                }
                _ if enough => None,
                Remedy::SlowDown => Some(backoff(BACKOFF_SLOW, attempts, random())),
                Remedy::Retry | Remedy::Conflict => Some(backoff(BACKOFF, attempts, random())),
            };
            let Some(wait) = wait.filter(|&wait| wait < left(deadline)) else {
                earlier = earlier.filter(|_| matches!(cause, Cause::Timeout(_)));
                return Err(Fault { cause, what, attempts, earlier });
            };
            log::debug!("{what}: {cause}; again in {} ms", wait.as_millis());
            if !matches!(cause, Cause::Timeout(_)) {
                earlier = Some(cause.to_string());
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// Where this is polled outside of a task, by the thread that reads the kernel's requests, the rest is left to the runtime:
/// to make and sign a request takes as long as twenty answers from memory, for which others wait there.
pub(super) async fn in_task() {
    if tokio::task::try_id().is_none() {
        tokio::task::yield_now().await;
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(clock::now())
}

/// Full jitter: anything between nothing and a bound that doubles with each attempt.
fn backoff(first: Duration, attempts: u32, random: u64) -> Duration {
    let bound = first.saturating_mul(1 << (attempts - 1).min(16)).min(BACKOFF_MAX);
    let share = u32::try_from(random >> 32).expect("32 bits are left");
    Duration::from_nanos(u64::try_from((bound.as_nanos() * u128::from(share)) >> 32).expect("below the bound"))
}

fn random() -> u64 {
    getrandom::u64().expect("the kernel always has random bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_stays_below_its_bound() {
        assert_eq!(backoff(BACKOFF, 1, 0), Duration::ZERO);
        assert_eq!(backoff(BACKOFF, 1, 1 << 63), BACKOFF / 2);
        assert!(backoff(BACKOFF, 2, u64::MAX) > BACKOFF && backoff(BACKOFF, 2, u64::MAX) < BACKOFF * 2);
        assert!(backoff(BACKOFF, u32::MAX, u64::MAX) < BACKOFF_MAX);
    }

    #[test]
    fn an_upload_has_time_for_its_bytes() {
        let limits = Limits { attempts: 3, timeout: Duration::from_secs(30) };
        assert_eq!(limits.attempt(Pace::Quick), Duration::from_secs(10));
        assert_eq!(limits.attempt(Pace::Upload(1 << 20)), Duration::from_secs(18));
        assert_eq!(limits.attempt(Pace::Slow), Duration::from_secs(30));
    }
}
