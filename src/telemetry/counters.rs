//! How often what happened. Adding is one relaxed atomic; the numbers are for people, not for decisions.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};

use crate::{error::Error, store::op::Op};

/// The words of [`Error::kind`]. The last one takes what is not listed.
const KINDS: [&str; 8] =
    ["not-found", "exists", "stale", "denied", "no-space", "unsupported", "unavailable", "refused"];

/// One number that grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// All numbers of one mount since it began.
#[derive(Debug, Default)]
pub struct Counters {
    requests: [Count; Op::ALL.len()],
    failures: [Count; Op::ALL.len()],
    errors: [Count; KINDS.len()],
    /// Bytes of object content that came from the bucket.
    pub bytes_in: Count,
    /// Bytes of object content that the bucket acknowledged.
    pub bytes_out: Count,
    /// Reads of content that was here.
    pub cache_hits: Count,
    /// Reads of content that had to be fetched.
    pub cache_misses: Count,
    /// Keys that no path can hold; each was hidden from listings.
    pub hidden_keys: Count,
}

impl Counters {
    pub fn request(&self, op: Op) {
        self.requests[op as usize].add(1);
    }

    pub fn error(&self, op: Op, err: &Error) {
        self.failures[op as usize].add(1);
        let kind = KINDS.iter().position(|kind| *kind == err.kind()).unwrap_or(KINDS.len() - 1);
        self.errors[kind].add(1);
    }

    /// Requests by the S3 name of the operation; those that never happened are left out.
    pub fn requests(&self) -> BTreeMap<String, Requests> {
        let all = Op::ALL.map(|op| {
            let calls = self.requests[op as usize].get();
            (op.name().to_owned(), Requests { calls, errors: self.failures[op as usize].get() })
        });
        all.into_iter().filter(|(_, requests)| requests.calls > 0).collect()
    }

    /// Errors by kind; those that never happened are left out.
    pub fn errors(&self) -> BTreeMap<String, u64> {
        let all = KINDS.iter().zip(&self.errors).map(|(kind, count)| ((*kind).to_owned(), count.get()));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// How often one operation was asked of the bucket.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Requests {
    pub calls: u64,
    /// Also answers that say no: no such object, a condition that does not hold.
    pub errors: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_counted_under_its_kind() {
        let all = [
            Error::NotFound,
            Error::Exists,
            Error::Stale,
            Error::Denied,
            Error::NoSpace,
            Error::Unsupported,
            Error::unavailable("x"),
            Error::Invalid,
        ];
        for err in all {
            let counters = Counters::default();
            counters.error(Op::Put, &err);
            assert_eq!(counters.errors(), BTreeMap::from([(err.kind().to_owned(), 1)]));
        }
    }

    #[test]
    fn only_what_happened_is_shown() {
        let counters = Counters::default();
        assert!(counters.requests().is_empty() && counters.errors().is_empty());
        counters.request(Op::Get);
        counters.request(Op::Get);
        counters.error(Op::Get, &Error::Stale);
        let expect = BTreeMap::from([("GetObject".to_owned(), Requests { calls: 2, errors: 1 })]);
        assert_eq!(counters.requests(), expect);
    }
}
