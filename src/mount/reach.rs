//! Waiting for the bucket when a host starts.

use std::{pin::pin, time::Duration};

use tokio::time::sleep;

use super::MountError;
use crate::{store::s3::CheckError, telemetry::ready};

/// How long a bucket may be out of reach when a mount starts: about what a host needs to get its network at boot, and
/// well below the 90 s after which systemd gives up.
const BOOT_PATIENCE: Duration = Duration::from_secs(30);

/// The first pause between two attempts; it doubles up to the second.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Waits until `check` reaches the bucket, [`BOOT_PATIENCE`] and one attempt at most. What waiting cannot help counts at
/// once; if time runs out, `nofail` says to mount anyway, and the first request that gets through heals it. Gives
/// whether it was reached.
pub(super) async fn reach(nofail: bool, check: impl AsyncFn() -> Result<(), CheckError>) -> Result<bool, MountError> {
    let mut patience = pin!(sleep(BOOT_PATIENCE));
    let mut pause = PAUSE_MIN;
    loop {
        let cause = match check().await {
            Ok(()) => return Ok(true),
            Err(err) if err.may_pass() => err,
            Err(err) => return Err(MountError::Check(err)),
        };
        log::warn!("the bucket cannot be reached yet: {cause}");
        ready::say(&format!("waiting for the bucket: {cause}"));
        tokio::select! {
            biased;
            () = &mut patience => {
                if !nofail {
                    return Err(MountError::Check(cause));
                }
                log::error!("mounting without having reached the bucket");
                return Ok(false);
            }
            () = sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    /// Reaches a bucket that answers `last` after `failures` attempts; gives the outcome and the attempts.
    async fn after(failures: u32, nofail: bool, last: Result<(), CheckError>) -> (Result<bool, MountError>, u32) {
        let tries = AtomicU32::new(0);
        let outcome = reach(nofail, async || {
            tries.fetch_add(1, Relaxed);
            if tries.load(Relaxed) <= failures { Err(CheckError::Other("no route".to_owned())) } else { last.clone() }
        })
        .await;
        (outcome, tries.load(Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_comes_late_is_waited_for() {
        let (outcome, tries) = after(3, false, Ok(())).await;
        assert!(matches!(outcome, Ok(true)));
        assert_eq!(tries, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_does_not_come_is_an_error() {
        let (outcome, tries) = after(u32::MAX, false, Ok(())).await;
        assert!(matches!(outcome, Err(MountError::Check(CheckError::Other(_)))));
        assert!((5..20).contains(&tries), "{tries} attempts");
    }

    #[tokio::test(start_paused = true)]
    async fn nofail_mounts_without_it() {
        assert!(matches!(after(u32::MAX, true, Ok(())).await.0, Ok(false)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_at_once() {
        let (outcome, tries) = after(1, true, Err(CheckError::BadSecret)).await;
        assert!(matches!(outcome, Err(MountError::Check(CheckError::BadSecret))));
        assert_eq!(tries, 2);
    }
}
