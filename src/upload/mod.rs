//! Dirty bytes, and how they get into the bucket.

pub mod copy;
pub mod dirty;
pub mod journal;
mod layers;
pub mod mover;
pub mod multipart;
pub mod plan;
pub mod recover;
pub mod staging;
pub mod stub;
