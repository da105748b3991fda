//! What was asked of the bucket, by day. A file of a few lines in the cache directory of the mount.

use std::{
    collections::BTreeMap,
    io,
    ops::{Add, AddAssign, Sub},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{day::Day, lines};
use crate::{store::op::Op, telemetry::counters::Counters};

/// Days that are kept: a year, and the month that is compared with. At 200 bytes each, 80 KiB.
pub const DAYS_MAX: usize = 400;
/// The file of a mount, in its cache directory.
pub const FILE: &str = "usage.jsonl";

/// How often what, and how many bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Usage {
    /// Requests that change or list: PUT, COPY, LIST, each call of a multipart upload.
    pub class_a: u64,
    /// Requests that read: GET, HEAD.
    pub class_b: u64,
    /// Requests that are billed nowhere: DELETE, and the abort of an upload.
    pub free: u64,
    /// GETs among those of class B.
    pub gets: u64,
    /// Bytes of content from the bucket.
    pub bytes_in: u64,
    /// Bytes of content to it.
    pub bytes_out: u64,
    /// Reads of content that was here.
    pub cache_hits: u64,
    /// Questions about names that are not there; the requests for them are among the others.
    pub absent: u64,
    /// Requests to vendors of CDNs.
    pub purges: u64,
    /// URLs, paths and prefixes in them, which some vendors bill.
    pub purged: u64,
}

/// What vendors bill a call as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    A,
    B,
    Free,
}

pub fn class_of(op: Op) -> Class {
    match op {
        Op::Head | Op::Get => Class::B,
        Op::Delete | Op::DeleteMany | Op::Abort => Class::Free,
        Op::List | Op::Put | Op::Copy | Op::Begin | Op::Part | Op::PartCopy | Op::Complete | Op::Uploads => Class::A,
    }
}

impl Usage {
    /// All since the mount began.
    pub fn of(counters: &Counters) -> Self {
        let requests = counters.requests();
        let sum = |class| {
            let ops = Op::ALL.into_iter().filter(|op| class_of(*op) == class);
            ops.filter_map(|op| requests.get(op.name())).map(|requests| requests.calls).sum()
        };
        Self {
            class_a: sum(Class::A),
            class_b: sum(Class::B),
            free: sum(Class::Free),
            gets: requests.get(Op::Get.name()).map_or(0, |requests| requests.calls),
            bytes_in: counters.bytes_in.get(),
            bytes_out: counters.bytes_out.get(),
            cache_hits: counters.cache_hits.get(),
            ..Self::default()
        }
    }

    fn with(self, other: Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            class_a: each(self.class_a, other.class_a),
            class_b: each(self.class_b, other.class_b),
            free: each(self.free, other.free),
            gets: each(self.gets, other.gets),
            bytes_in: each(self.bytes_in, other.bytes_in),
            bytes_out: each(self.bytes_out, other.bytes_out),
            cache_hits: each(self.cache_hits, other.cache_hits),
            absent: each(self.absent, other.absent),
            purges: each(self.purges, other.purges),
            purged: each(self.purged, other.purged),
        }
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(other, u64::saturating_add)
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }
}

/// One line of the file.
#[derive(Deserialize, Serialize)]
struct Line {
    day: Day,
    #[serde(flatten)]
    usage: Usage,
}

/// Usage by day.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ledger(BTreeMap<Day, Usage>);

impl Ledger {
    /// Lines that make no sense are left out: they are of a later version, or torn.
    pub fn parse(text: &str) -> Self {
        let mut ledger = Self::default();
        for line in lines::parse::<Line>(text) {
            ledger.add(line.day, line.usage);
        }
        ledger
    }

    /// What was kept. A file that is not there is empty.
    pub fn load(path: &Path) -> io::Result<Self> {
        lines::read(path).map(|text| Self::parse(&text))
    }

    /// Replaces the file as a whole.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        lines::replace(path, self.0.iter().map(|(day, usage)| Line { day: *day, usage: *usage }))
    }

    pub fn add(&mut self, day: Day, usage: Usage) {
        *self.0.entry(day).or_default() += usage;
        while self.0.len() > DAYS_MAX {
            self.0.pop_first();
        }
    }

    pub fn days(&self) -> impl DoubleEndedIterator<Item = (Day, Usage)> {
        self.0.iter().map(|(day, usage)| (*day, *usage))
    }

    /// From the first day to the last, both included.
    pub fn sum(&self, first: Day, last: Day) -> Usage {
        if first > last {
            return Usage::default();
        }
        self.0.range(first..=last).fold(Usage::default(), |sum, (_, usage)| sum + *usage)
    }

    /// The first day that anything is known of.
    pub fn first(&self) -> Option<Day> {
        self.0.keys().next().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn usage(n: u64) -> Usage {
        Usage { class_a: n, class_b: 2 * n, bytes_in: 3 * n, ..Usage::default() }
    }

    #[test]
    fn days_add_up_and_the_oldest_go() {
        let mut ledger = Ledger::default();
        for day in 0..500 {
            ledger.add(Day(day), usage(1));
            ledger.add(Day(day), usage(1));
        }
        assert_eq!(ledger.days().count(), DAYS_MAX);
        assert_eq!(ledger.first(), Some(Day(100)));
        assert_eq!(ledger.sum(Day(0), Day(101)), usage(4));
        assert_eq!(ledger.sum(Day(5), Day(4)), Usage::default());
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let path = std::env::temp_dir().join(format!("originfs-usage-{}", std::process::id()));
        assert_eq!(Ledger::load(&path).unwrap(), Ledger::default());
        let mut ledger = Ledger::default();
        ledger.add(Day(20_779), usage(7));
        ledger.add(Day(20_780), Usage { cache_hits: u64::MAX, ..usage(1) });
        ledger.save(&path).unwrap();
        assert_eq!(Ledger::load(&path).unwrap(), ledger);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(r#"{"day":"2026-11-22","class_a":7,"class_b":14,"free":0,"#), "{text}");
        let torn = format!("{{\"day\":\"2026-1\n{text}{}", &text[..20]);
        assert_eq!(Ledger::parse(&torn), ledger);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn calls_are_in_the_classes_that_vendors_bill() {
        let counters = Counters::default();
        for op in Op::ALL {
            counters.request(op);
        }
        counters.bytes_in.add(5);
        let expect = Usage { class_a: 8, class_b: 2, free: 3, gets: 1, bytes_in: 5, ..Usage::default() };
        assert_eq!(Usage::of(&counters), expect);
        assert_eq!(Usage::of(&counters) - expect, Usage::default());
    }
}
