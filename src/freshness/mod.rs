//! When an answer may come from memory, and how many askers share one request.

pub mod batch;
pub mod fence;
pub mod listing;
pub mod views;

use std::time::{Duration, Instant};

/// `freshness=`. How old an answer may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// The bucket is asked at open, readdir and for every name that is not known; attributes of a known name may be
    /// `stat_ttl` old.
    Open { stat_ttl: Duration },
    /// The bucket is always asked.
    Strict,
    /// Everything may be this old: what is known, what is in a directory, and what is not.
    Age(Duration),
}

impl Default for Freshness {
    fn default() -> Self {
        Self::Open { stat_ttl: Duration::from_secs(1) }
    }
}

impl Freshness {
    /// How old the attributes of a known name may be.
    pub fn stat_age(self) -> Duration {
        match self {
            Self::Open { stat_ttl } => stat_ttl,
            Self::Strict => Duration::ZERO,
            Self::Age(age) => age,
        }
    }

    /// How old the answer may be that an open, a readdir or the absence of a name relies on.
    pub fn open_age(self) -> Duration {
        match self {
            Self::Open { .. } | Self::Strict => Duration::ZERO,
            Self::Age(age) => age,
        }
    }
}

/// Whether an answer to a request sent at `asked` still serves at `now`, if it may be `age` old. With age zero only
/// an answer that was asked for in this very operation does, and that is not decided here.
pub fn serves(asked: Instant, now: Instant, age: Duration) -> bool {
    !age.is_zero() && now.saturating_duration_since(asked) < age
}
