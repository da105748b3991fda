//! Dirty bytes, and how they get into the bucket.

pub mod copy;
pub mod dirty;
pub mod multipart;
pub mod plan;
pub mod staging;
pub mod stub;
