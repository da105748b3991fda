//! Usage and prices, as a bill. Pure. Estimates: a vendor rounds, taxes, and bills what other clients do, too.

use serde::Serialize;

use super::{
    day::Day,
    ledger::{Ledger, Usage},
    price::Price,
};

/// Bytes of a GB, as vendors bill it.
pub const GB: f64 = 1e9;

/// US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bill {
    pub class_a: f64,
    pub class_b: f64,
    /// What left the bucket: the bytes that this host fetched.
    pub egress: f64,
    /// `None`: nobody counted the bytes in the bucket.
    pub storage: Option<f64>,
    pub total: f64,
}

/// What one mount costs in a month.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Month {
    /// Its first day.
    pub month: Day,
    /// Days of it that anything is known of, today among them.
    pub days: u32,
    pub usage: Usage,
    pub now: Bill,
    /// The whole month, if it goes on as on these days.
    pub projected: Bill,
    /// More than that would be due in the whole month if each read of what is here were a GET of the usual size.
    pub saved_by_cache: f64,
}

fn gb(bytes: u64) -> f64 {
    float(bytes) / GB
}

#[expect(clippy::cast_precision_loss, reason = "2^53 requests or bytes are no bill of anybody")]
pub fn float(n: u64) -> f64 {
    n as f64
}

/// What `usage` in one month costs. `stored`: bytes in the bucket all month.
pub fn bill(usage: &Usage, stored: Option<u64>, price: &Price) -> Bill {
    let thousands = |n: u64, free: u64| float(n.saturating_sub(free)) / 1_000.0;
    let class_a = thousands(usage.class_a, price.free_class_a) * price.class_a;
    let class_b = thousands(usage.class_b, price.free_class_b) * price.class_b;
    let egress = (gb(usage.bytes_in) - price.free_egress_gb).max(0.0) * price.egress;
    let storage = stored.map(|bytes| price.monthly + (gb(bytes) - price.free_storage_gb).max(0.0) * price.storage);
    let total = class_a + class_b + egress + storage.unwrap_or(price.monthly);
    Bill { class_a, class_b, egress, storage, total }
}

/// The month of `today`.
pub fn month(ledger: &Ledger, today: Day, stored: Option<u64>, price: &Price) -> Month {
    let month = today.month();
    let usage = ledger.sum(month, today);
    let known = ledger.first().map_or(today, |first| first.max(month));
    let days = u32::try_from(today.0 - known.0 + 1).unwrap_or(1).max(1);
    let whole = scaled(&usage, f64::from(today.month_len()) / f64::from(days));
    let projected = bill(&whole, stored, price);
    let without = bill(&without_cache(&whole), stored, price);
    let saved_by_cache = (without.total - projected.total).max(0.0);
    Month { month, days, usage, now: bill(&usage, stored, price), projected, saved_by_cache }
}

/// As if every read of cached content had been a GET of the usual size.
fn without_cache(usage: &Usage) -> Usage {
    let each = usage.bytes_in.checked_div(usage.gets).unwrap_or(0);
    Usage {
        class_b: usage.class_b.saturating_add(usage.cache_hits),
        bytes_in: usage.bytes_in.saturating_add(usage.cache_hits.saturating_mul(each)),
        ..*usage
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts of floats saturate; nothing is below 0"
)]
fn scaled(usage: &Usage, by: f64) -> Usage {
    let each = |n: u64| (float(n) * by).round() as u64;
    Usage {
        class_a: each(usage.class_a),
        class_b: each(usage.class_b),
        free: each(usage.free),
        gets: each(usage.gets),
        bytes_in: each(usage.bytes_in),
        bytes_out: each(usage.bytes_out),
        cache_hits: each(usage.cache_hits),
        absent: each(usage.absent),
        purges: each(usage.purges),
        purged: each(usage.purged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::price::prices;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    const USAGE: Usage = Usage {
        class_a: 2_000_000,
        class_b: 12_000_000,
        free: 77,
        gets: 1_000_000,
        bytes_in: 2_000_000_000_000,
        bytes_out: 5,
        cache_hits: 3_000_000,
        absent: 0,
        purges: 0,
        purged: 0,
    };

    #[test]
    fn bills_are_as_one_computes_them_by_hand() {
        let all = prices(None).unwrap();
        let aws = bill(&USAGE, Some(100_000_000_000), &all["aws"]);
        // 2,000 x 0.005; 12,000 x 0.0004; 2,000 GB x 0.09; 100 GB x 0.023.
        assert!(close(aws.class_a, 10.0) && close(aws.class_b, 4.8) && close(aws.egress, 180.0), "{aws:?}");
        assert!(close(aws.storage.unwrap(), 2.3) && close(aws.total, 197.1), "{aws:?}");
        // 1 of 2 million is free, 10 of 12; nothing for egress; 10 of 100 GB.
        let r2 = bill(&USAGE, Some(100_000_000_000), &all["r2"]);
        assert!(close(r2.class_a, 4.5) && close(r2.class_b, 0.72) && close(r2.egress, 0.0), "{r2:?}");
        assert!(close(r2.storage.unwrap(), 1.35), "{r2:?}");
        // The flat fee covers the storage; 976 GB are beyond.
        let spaces = bill(&USAGE, Some(100_000_000_000), &all["digitalocean"]);
        assert!(close(spaces.storage.unwrap(), 5.0) && close(spaces.egress, 9.76), "{spaces:?}");
        assert!(close(bill(&Usage::default(), None, &all["linode"]).total, 5.0));
    }

    #[test]
    fn a_month_is_projected_from_its_days_and_the_cache_counts_as_gets() {
        let mut ledger = Ledger::default();
        let day = |text: &str| text.parse::<Day>().unwrap();
        // Of the month before, which does not count.
        ledger.add(day("2026-10-31"), USAGE);
        for n in 1..=3 {
            let usage =
                Usage { class_b: 1_000, gets: 500, bytes_in: 500 * 1_000_000, cache_hits: 10_000, ..Usage::default() };
            ledger.add(day(&format!("2026-11-{n:02}")), usage);
        }
        let price = &prices(None).unwrap()["aws"];
        let month = month(&ledger, day("2026-11-03"), None, price);
        assert_eq!((month.days, month.usage.class_b, month.month.to_string()), (3, 3_000, "2026-11-01".to_owned()));
        // Ten times three days: 30,000 requests, 15 GB.
        assert!(close(month.projected.class_b, 0.012) && close(month.projected.egress, 1.35), "{month:?}");
        assert!(close(month.now.total * 10.0, month.projected.total), "{month:?}");
        // 300,000 GETs of a megabyte each were not sent.
        assert!(close(month.saved_by_cache, 300.0 * 0.0004 + 300.0 * 0.09), "{month:?}");
    }

    #[test]
    fn a_mount_of_yesterday_is_projected_from_two_days() {
        let mut ledger = Ledger::default();
        let day = |text: &str| text.parse::<Day>().unwrap();
        ledger.add(day("2026-11-20"), Usage { class_a: 1_000, ..Usage::default() });
        let month = month(&ledger, day("2026-11-21"), None, &prices(None).unwrap()["aws"]);
        assert!(month.days == 2 && close(month.projected.class_a, 15.0 * 0.005), "{month:?}");
    }
}
