//! Many processes on several mounts work on the same names, and what each of them saw is held against what the others
//! did.
//!
//! Runs the real program as the mount tests do (see their `harness`), with the same server.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod acts;
mod checker;
mod contention;
mod event;
mod handover;
#[path = "../mount/harness/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub)]
mod harness;
mod lies;
mod nemesis;
mod run;
mod server;
mod value;
mod worker;
