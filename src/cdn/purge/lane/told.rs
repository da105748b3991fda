//! What people want to know of a lane.

use std::time::Instant;

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
    /// Items that cost money, this month.
    pub paid: u64,
    pub last_error: Option<String>,
}
