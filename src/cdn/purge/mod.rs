//! What changed in the bucket, out of the caches of a CDN.
//!
//! A [`Change`](crate::store::watched::Change) is noted in the [`outbox`] before its request is sent, so that it is
//! purged whatever happens to this host. When the bucket has answered, each vendor's [`lane`] gets its key. A lane
//! decides what goes when; an adapter makes requests of it and reads the answers. All of that is pure.

pub mod driver;
pub mod engine;
pub mod lane;
pub mod outbox;
pub mod paid;
pub mod purger;
pub mod rate;
pub mod setup;
pub mod target;
pub mod urls;
pub mod vendor;
pub mod versions;
