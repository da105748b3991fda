//! A bound on what is asked of a bucket in a second.

use std::time::{Duration, Instant};

/// Spreads costs evenly: whoever comes waits for what came before, and nobody saves up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// In a second; at least 1.
    rate: u64,
    free: Instant,
}

impl Pace {
    pub(super) fn new(rate: u64, now: Instant) -> Self {
        Self { rate: rate.max(1), free: now }
    }

    /// When something that costs this much may begin, which then is its to do.
    pub(super) fn take(&mut self, cost: u64, now: Instant) -> Instant {
        let begins = self.free.max(now);
        let nanos = u128::from(cost) * 1_000_000_000 / u128::from(self.rate);
        self.free = begins + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_not_saved_up() {
        let now = crate::clock::now();
        let at = |millis| now + Duration::from_millis(millis);
        let mut pace = Pace::new(100, now);
        assert_eq!([pace.take(50, now), pace.take(10, now), pace.take(1, at(100))], [now, at(500), at(600)]);
        assert_eq!([pace.take(100, at(5000)), pace.take(0, at(5000))], [at(5000), at(6000)]);
        assert_eq!(Pace::new(0, now).take(u64::MAX, now), now);
    }
}
