//! What people want to know of a lane.

use std::time::{Duration, Instant};

use super::Lane;
use crate::cdn::purge::target::Target;

/// A lane that does not send, and why; it looks again at times.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Paused {
    pub why: String,
    pub until: Instant,
}

/// What could not be purged, and never will be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dead {
    pub target: Target,
    pub why: String,
}

/// What people want to know of a lane.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub requests: u64,
    pub items: u64,
    pub errors: u64,
    pub dead: u64,
    /// Targets of which the vendor was told, a second time too, and how long that took in sum, from the change on.
    pub done: u64,
    pub latency: Duration,
    /// Items that cost money, this month.
    pub paid: u64,
    pub last_error: Option<String>,
}

impl Lane {
    /// Nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.waiting() == 0
    }

    /// An answer is waited for.
    pub fn is_flying(&self) -> bool {
        !self.flying.is_empty()
    }

    /// Targets that are not purged yet.
    pub fn waiting(&self) -> usize {
        let batches = self.again.iter().chain(self.flying.values()).chain(self.later.iter().map(|(_, batch)| batch));
        self.settling.len() + self.queue.len() + batches.map(|batch| batch.members.len()).sum::<usize>()
    }

    /// Since when the oldest of them waits.
    pub fn oldest(&self) -> Option<Instant> {
        let batches = self.again.iter().chain(self.flying.values()).chain(self.later.iter().map(|(_, batch)| batch));
        let members = batches.flat_map(|batch| batch.members.iter()).map(|member| member.since);
        members.chain(self.queue.oldest()).chain(self.settling.oldest()).min()
    }

    /// Whether a key waits or is under way.
    pub fn has(&self, key: &str) -> bool {
        let batches = self.again.iter().chain(self.flying.values()).chain(self.later.iter().map(|(_, batch)| batch));
        let mut members = batches.flat_map(|batch| batch.members.iter());
        self.settling.has(key) || self.queue.has(key) || members.any(|member| member.target.covers(key))
    }

    /// Whether a key waits for its first purge, or that is under way.
    pub fn awaits(&self, key: &str) -> bool {
        let mut members = self.again.iter().chain(self.flying.values()).flat_map(|batch| batch.members.iter());
        self.settling.has(key) || self.queue.has(key) || members.any(|member| member.target.covers(key))
    }

    /// The vendor did not do what it was asked last.
    pub fn is_in_trouble(&self) -> bool {
        self.failures > 0 || self.paused.is_some()
    }

    /// Whether a key was given up.
    pub fn gave_up(&self, key: &str) -> bool {
        self.dead.iter().any(|dead| dead.target.covers(key))
    }

    pub fn paused(&self, now: Instant) -> Option<&Paused> {
        self.paused.as_ref().filter(|paused| paused.until > now)
    }

    pub fn dead(&self) -> impl Iterator<Item = &Dead> {
        self.dead.iter()
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Items that may be paid for in a month; `None`: they cost nothing.
    pub fn budget(&self) -> Option<u64> {
        self.contract.budget
    }
}
