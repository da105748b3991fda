//! What a mount can be told to do, and what it answers: plain values, sent as JSON over the control socket. Paths are
//! from the root of the mount, without a slash at their start. Sizes are bytes.

use serde::{Deserialize, Serialize};

use crate::fs::{Act, Cached, Warmed, Wish, urls::Urls};

/// Something that may take long.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Job {
    /// Fetch what nobody has asked for yet.
    Warm(Wish),
    /// Forget what is known of paths and of all below them.
    Invalidate { paths: Vec<String> },
    /// Have the CDN forget.
    Purge(Purge),
    /// Compare what the edges have with the bucket.
    Compare { paths: Vec<String> },
    /// Look after what the cache has of what patterns choose.
    Cache { patterns: Vec<String>, act: Act },
    /// Tell where the public reads files; `sign`: and for so many seconds anybody who has the URL.
    Urls { paths: Vec<String>, sign: Option<u64> },
}

/// What came of it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    Warmed(Warmed),
    Invalidated(Invalidated),
    Cached(Cached),
    /// In the order of the paths.
    Urls(Vec<Urls>),
    Purged(Purged),
    Compared(Vec<Compared>),
}

/// What a CDN is to forget.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Purge {
    pub paths: Vec<String>,
    /// The paths are directories, with all in them.
    pub below: bool,
    pub tags: Vec<String>,
    pub everything: bool,
    /// Only tell the URLs.
    pub dry_run: bool,
    /// Also try again what waits until somebody helps.
    pub resume: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Purged {
    /// The URLs that are forgotten, or what they begin with.
    pub urls: Vec<String>,
    pub vendors: Vec<String>,
    /// Those that cannot do it.
    pub unable: Vec<String>,
}

/// One URL of an object, as an edge shows it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Compared {
    pub url: String,
    /// Of the page from which it was asked for, where that makes a variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// 0 if there was no answer.
    pub status: u16,
    /// Without quotes and `W/`.
    pub etag: Option<String>,
    /// Seconds.
    pub age: Option<u64>,
    /// Whether it is what the bucket has; `None`: that cannot be told.
    pub same: Option<bool>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Invalidated {
    /// Names that were known.
    pub names: u64,
    /// Paths of what is not in the bucket, and was left as it is.
    pub kept: Vec<String>,
}
