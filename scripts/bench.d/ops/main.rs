//! `originfs-bench-ops`: what `scripts/bench` times, and the limits it compares with. One operation per call; the figures are
//! one line of JSON on stdout.
//!
//! - [`files`], [`whole`], [`names`], [`crowd`], [`upload`]: operations on a mounted directory, as programs do them.
//! - [`raw`]: the same work by a client of the bucket, without a file system.
//! - [`floor`]: a FUSE file system that does nothing but answer from memory.
//! - [`purges`]: what is told to a CDN, without a mount.
//! - [`proxy`], with `line`: the network between a mount and its bucket.

#![allow(clippy::print_stdout)]

mod crowd;
mod files;
mod floor;
mod line;
mod names;
mod proxy;
mod purges;
mod raw;
mod report;
mod upload;
mod whole;

use std::{io, process::ExitCode};

use clap::Parser;

/// Operations that a bench of originfs times.
#[derive(Debug, Parser)]
enum Command {
    Read(files::Read),
    Create(files::Create),
    Stream(whole::Stream),
    Mmap(whole::Mmap),
    Random(whole::Random),
    Write(whole::Write),
    List(names::List),
    Stat(names::Stat),
    Crowd(crowd::Crowd),
    Member(crowd::Member),
    Upload(upload::Upload),
    Floor(floor::Floor),
    Proxy(proxy::Proxy),
    Purges(purges::Purges),
    #[command(subcommand)]
    Raw(raw::Raw),
}

fn main() -> ExitCode {
    let report = match Command::parse() {
        Command::Read(read) => read.run(),
        Command::Create(create) => create.run(),
        Command::Stream(stream) => stream.run(),
        Command::Mmap(map) => map.run(),
        Command::Random(random) => random.run(),
        Command::Write(write) => write.run(),
        Command::List(list) => list.run(),
        Command::Stat(stat) => stat.run(),
        Command::Crowd(crowd) => crowd.run(),
        Command::Member(member) => member.run(),
        Command::Upload(upload) => upload.run(),
        Command::Floor(floor) => floor.run(),
        Command::Proxy(proxy) => proxy.run(),
        Command::Purges(purges) => purges.run(),
        Command::Raw(raw) => raw.run(),
    };
    match report {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(err) => fail(&err),
    }
}

fn fail(err: &io::Error) -> ExitCode {
    // Where the caller reads figures, it reads the reason.
    println!("{}", serde_json::json!({ "error": err.to_string() }));
    ExitCode::FAILURE
}
