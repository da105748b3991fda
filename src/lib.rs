//! originfs mounts an S3-compatible bucket over upload directories, on every webserver of a site.
//!
//! # Layers, arrows only downward
//!
//! `cli -> mount -> fuse -> fs -> {cache, upload, freshness, cdn} -> store -> model`, with `error`, `clock`,
//! `pread` and `config` beneath all.
//!
//! - [`cli`]: the command line.
//! - [`adopt`]: what a directory holds goes into the bucket.
//! - [`align`]: headers of objects that are there already.
//! - [`apps`]: what PHP applications need, as values: directories, presets, plans.
//! - [`doctor`]: checks of a host and its mounts, with a remedy for each finding.
//! - [`model`]: values and decisions, no I/O.
//! - [`store`]: the bucket, as a trait, with its implementations.
//! - [`freshness`]: when an answer may come from memory, and how many askers share one request.
//! - [`cdn`]: what a CDN needs of an object.
//! - [`cost`]: what the bucket costs, and what would cost less.
//! - [`fs`]: file system semantics, without a kernel.
//! - [`telemetry`]: what a mount says about itself.
//! - [`fuse`]: the kernel's requests as calls of `fs`.
//! - [`mount`]: the life of a mount, from the checks before it to the uploads after it.

pub mod adopt;
pub mod align;
pub mod apps;
pub mod cache;
pub mod cdn;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cost;
pub mod doctor;
pub mod error;
pub mod freshness;
pub mod fs;
pub mod fuse;
pub mod local;
pub mod model;
pub mod mount;
#[cfg(test)]
mod patience;
pub mod pread;
pub mod store;
pub mod telemetry;
pub mod upload;
