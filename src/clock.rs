//! The one place that reads a clock. Everything else takes the time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::attr::Time;

/// A point in monotonic time, for ages and deadlines. It stands still while a test has paused the time of its runtime.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Wall-clock time, for file times and log lines. A clock before 1970 reads as 1970.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub fn wall() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Time { sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nsec: since.subsec_nanos() }
}
