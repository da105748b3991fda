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
    /// Look after what the cache has of what patterns choose.
    Cache { patterns: Vec<String>, act: Act },
    /// Tell where the public reads files.
    Urls { paths: Vec<String> },
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
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Invalidated {
    /// Names that were known.
    pub names: u64,
    /// Paths of what is not in the bucket, and was left as it is.
    pub kept: Vec<String>,
}
