//! Mounts the file system for real and holds it to its promises, through the kernel, with std and system calls only.
//!
//! The server is our development server, started here, unless `ORIGINFS_TEST_S3` names another that `scripts/servers`
//! started. Needs root and `/dev/fuse`: without them the tests pass by with a message, and fail if `CI` is set.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod adopt;
mod apps;
mod attributes;
mod cdn;
mod coherence;
mod cold;
mod cost;
mod directories;
mod doctor;
mod doctor_edge;
mod failure;
mod files;
mod foreign;
mod fstab;
mod giant;
mod harness;
mod large;
mod local;
mod manifest;
mod mounting;
mod names;
mod outage;
mod peers;
mod program;
mod recovery;
mod renames;
mod service;
mod site;
mod special;
mod stored;
mod strange;
mod upkeep;
mod writers;
