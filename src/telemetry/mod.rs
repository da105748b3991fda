//! What a mount says about itself: counters, calls in flight, log, readiness, and the socket that `status` asks.

pub mod base;
pub mod control;
pub mod counted;
pub mod counters;
pub mod inflight;
mod listener;
pub mod logging;
pub mod metrics;
pub mod ready;
pub mod status;
pub mod upkeep;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicI64, Ordering::Relaxed},
};

use counters::Counters;
use inflight::Inflight;
use status::{Contact, Failure, Status, Traffic};

use crate::clock;

/// The most calls in flight that a status lists. A mount in trouble has thousands; the oldest tell the story.
pub const CALLS_MAX: usize = 100;

/// What one mount counts about its dealings with the bucket.
#[derive(Debug, Default)]
pub struct Telemetry {
    pub counters: Counters,
    pub inflight: Arc<Inflight>,
    /// Seconds since 1970 of the last answer; 0: none yet.
    last_contact: AtomicI64,
    failure: Mutex<Option<Failure>>,
}

impl Telemetry {
    /// The bucket has answered something.
    fn heard(&self) {
        self.last_contact.store(clock::wall().sec, Relaxed);
    }

    fn failed(&self, operation: &str, key: &str, cause: String) {
        let failure = Failure { at: clock::wall().sec, operation: operation.to_owned(), key: key.to_owned(), cause };
        *self.failure.lock().expect("nothing panics while it is held") = Some(failure);
    }

    pub fn contact(&self) -> Contact {
        let last = self.last_contact.load(Relaxed);
        let failure = self.failure.lock().expect("nothing panics while it is held").clone();
        Contact { last: (last != 0).then_some(last), failure }
    }

    /// Fills in everything that is counted here; the rest of `status` is the caller's.
    #[must_use]
    pub fn report(&self, status: Status) -> Status {
        let counters = &self.counters;
        Status {
            calls: self.inflight.list(clock::now(), CALLS_MAX),
            calls_in_flight: self.inflight.len() as u64,
            requests: counters.requests(),
            errors: counters.errors(),
            traffic: Traffic {
                bytes_in: counters.bytes_in.get(),
                bytes_out: counters.bytes_out.get(),
                cache_hits: counters.cache_hits.get(),
                cache_misses: counters.cache_misses.get(),
            },
            contact: self.contact(),
            hidden_keys: counters.hidden_keys.get(),
            ..status
        }
    }
}
