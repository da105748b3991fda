//! What `originfs status` shows: one value, sent as JSON over the control socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::counters::Requests;
use crate::freshness::Freshness;

/// All that one mount says about itself. Times are seconds since 1970, sizes are bytes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    pub mount: Mount,
    /// See [`freshness`].
    pub freshness: String,
    pub passthrough: Passthrough,
    /// Which conditions the server was found to honour, by operation and header; empty while that is not known.
    pub conditional_writes: BTreeMap<String, bool>,
    /// The same in words: yes, yes (unquoted), refused, ignored, racy.
    #[serde(default)]
    pub conditions: BTreeMap<String, String>,
    /// Whether the bucket shows at once what was written: yes, no or unknown.
    #[serde(default)]
    pub read_after_write: String,
    /// What the options promise and this bucket does not hold, one line each.
    #[serde(default)]
    pub weaker: Vec<String>,
    pub cache: Cache,
    pub staging: Staging,
    /// `None`: the mount has no local-only names.
    pub local_only: Option<LocalOnly>,
    /// The oldest first; at most [`CALLS_MAX`](super::CALLS_MAX).
    pub calls: Vec<Call>,
    /// All calls in flight, also those not listed.
    pub calls_in_flight: u64,
    pub requests: BTreeMap<String, Requests>,
    pub errors: BTreeMap<String, u64>,
    pub traffic: Traffic,
    pub contact: Contact,
    pub hidden_keys: u64,
    /// How often the bucket was asked for a name that is not there.
    #[serde(default)]
    pub absent: u64,
    /// The vendors that are to forget what changes.
    #[serde(default)]
    pub purging: Vec<Purging>,
    /// Changes that some vendor has not forgotten yet.
    #[serde(default)]
    pub purges_pending: u64,
    /// `None`: nobody looks whether the CDN works.
    #[serde(default)]
    pub outage: Option<Outage>,
}

/// Whether the CDN works.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outage {
    pub cdn_up: bool,
    /// What URLs are to begin with now.
    pub base_url: String,
    /// Of the last change.
    pub since: i64,
    pub looks: u64,
    pub failed: u64,
    pub last_failure: Option<String>,
}

/// What one vendor was asked to forget.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Purging {
    pub vendor: String,
    /// Objects and directories that are not purged yet; more may wait on the disk.
    pub waiting: u64,
    /// Age of the oldest of them in seconds.
    pub oldest_s: Option<u64>,
    pub requests: u64,
    /// URLs, paths or prefixes.
    pub items: u64,
    pub errors: u64,
    pub given_up: u64,
    /// Objects and directories of which the vendor was told, a second time too, and how long that took in sum, from the
    /// change to the answer.
    #[serde(default)]
    pub done: u64,
    #[serde(default)]
    pub latency_ms: u64,
    /// Items that were paid for this month, and how many may be, where they cost money.
    #[serde(default)]
    pub paid: Option<u64>,
    #[serde(default)]
    pub budget: Option<u64>,
    /// Why nothing is sent.
    pub paused: Option<String>,
    pub last_error: Option<String>,
    /// What was given up, and why, one line each.
    pub dead: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Mount {
    /// As /proc/mounts shows it.
    pub source: String,
    pub mountpoint: String,
    pub pid: u32,
    pub version: String,
    pub since: i64,
    /// Its process refuses changes, whatever the kernel lets through.
    #[serde(default)]
    pub read_only: bool,
    /// `None`: AWS.
    #[serde(default)]
    pub endpoint: Option<String>,
}

/// Whether the kernel reads cached files without asking us.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Passthrough {
    pub on: bool,
    /// Why not, if it is off.
    pub why: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Cache {
    pub dir: String,
    pub bytes: u64,
    pub limit: u64,
    pub files: u64,
    /// What the cache leaves free on its disk.
    pub min_free: u64,
    /// What is free on its disk.
    pub free: u64,
}

/// Content that is not in the bucket yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Staging {
    pub bytes: u64,
    pub files: u64,
}

/// What stays on this host.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct LocalOnly {
    pub local: Vec<String>,
    pub hold: Vec<String>,
    /// Where it is.
    pub dir: String,
    /// `None`: too many to count.
    pub files: Option<u64>,
    pub bytes: Option<u64>,
    /// Keys of the bucket that local names hide, in the directory that has most of them.
    pub hidden_keys: u64,
}

/// A call that the bucket has not answered yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Call {
    /// Its name in the S3 API.
    pub operation: String,
    pub key: String,
    pub age_ms: u64,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Traffic {
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
}

/// When the bucket was last heard of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Contact {
    /// The last answer of any kind, also one that said no.
    pub last: Option<i64>,
    /// The last call that got no usable answer.
    pub failure: Option<Failure>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Failure {
    pub at: i64,
    pub operation: String,
    pub key: String,
    pub cause: String,
}

/// A freshness mode as its options would say it.
pub fn freshness(mode: Freshness) -> String {
    match mode {
        Freshness::Open { stat_ttl } => format!("open, stat_ttl {stat_ttl:?}"),
        Freshness::Strict => "strict".to_owned(),
        Freshness::Age(age) => format!("{age:?}"),
    }
}
