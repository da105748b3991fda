//! Times as figures.

use std::{io, time::Duration};

use originfs::clock;
use serde_json::{Value, json};

/// Figures of one call, by name. `us` is always the median of one operation in microseconds.
pub(crate) type Report = Value;

/// How long `operation` takes.
pub(crate) fn timed(operation: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let start = clock::now();
    operation()?;
    Ok(start.elapsed())
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Of operations that took `times` each, and `wall` together (less than their sum if they ran at once).
pub(crate) fn of_times(mut times: Vec<Duration>, wall: Duration) -> Report {
    times.sort();
    let at = |share: usize| times.get(times.len().saturating_sub(1) * share / 100).copied().map_or(0.0, micros);
    json!({
        "us": at(50), "min_us": at(0), "p90_us": at(90), "count": times.len(), "seconds": wall.as_secs_f64(),
        "per_second": per_second(times.len() as u64, wall),
    })
}

/// Of one operation that moved so many bytes.
pub(crate) fn of_bytes(bytes: u64, wall: Duration) -> Report {
    let rate = per_second(bytes, wall) / f64::from(1_u32 << 20);
    json!({ "us": micros(wall), "seconds": wall.as_secs_f64(), "bytes": bytes, "mib_per_second": rate })
}

#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
fn per_second(count: u64, wall: Duration) -> f64 {
    count as f64 / wall.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_sorted_times() {
        let times = [5, 1, 2, 100, 3].map(Duration::from_micros).to_vec();
        let report = of_times(times, Duration::from_secs(2));
        assert_eq!((report["us"].as_f64(), report["min_us"].as_f64()), (Some(3.0), Some(1.0)));
        assert_eq!((report["p90_us"].as_f64(), report["per_second"].as_f64()), (Some(5.0), Some(2.5)));
    }

    #[test]
    fn a_rate_is_in_mebibytes() {
        assert_eq!(of_bytes(3 << 20, Duration::from_secs(2))["mib_per_second"].as_f64(), Some(1.5));
    }
}
