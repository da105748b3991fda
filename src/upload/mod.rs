//! Dirty bytes, and how they get into the bucket.

pub mod staging;
