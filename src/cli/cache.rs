//! `originfs cache`.

use std::{
    cmp::Reverse,
    io::{ErrorKind, Write},
};

use indicatif::HumanBytes;

use super::{
    CacheArgs, CacheCommand, Failure, Sort,
    job::{Ended, Host},
};
use crate::{
    clock,
    fs::{Act, Cached, Entry},
    telemetry::upkeep::{Done, Job},
};

pub(super) fn command(command: &CacheCommand, out: &mut impl Write) -> Result<(), Failure> {
    let (args, act) = match command {
        CacheCommand::Ls { args, .. } => (args, Act::List),
        CacheCommand::Verify(args) => (args, Act::Verify),
        CacheCommand::Clear(args) => (args, Act::Clear),
    };
    let mut cached = ask(args, act)?;
    if let CacheCommand::Ls { sort, .. } = command {
        sort_by(&mut cached.entries, *sort);
    }
    let text = if args.json {
        serde_json::to_string_pretty(&cached).map_err(Failure::system)?
    } else {
        text(&cached, act, clock::wall().sec)
    };
    match writeln!(out, "{text}") {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
    }
}

fn ask(args: &CacheArgs, act: Act) -> Result<Cached, Failure> {
    let target = Host::current()?.target(args.at.as_deref(), &args.patterns)?;
    match target.work(Job::Cache { patterns: target.paths.clone(), act }, |_| ())? {
        Ended::Done(Done::Cached(cached)) => Ok(cached),
        Ended::Done(_) => Err(Failure::system("the mount answered something else")),
        Ended::Interrupted => Err(Failure::interrupted()),
    }
}

fn sort_by(entries: &mut [Entry], sort: Sort) {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    match sort {
        Sort::Name => {}
        Sort::Size => entries.sort_by_key(|entry| Reverse(entry.here)),
        Sort::Age => entries.sort_by_key(|entry| Reverse(entry.used.unwrap_or(i64::MAX))),
    }
}

fn text(cached: &Cached, act: Act, now: i64) -> String {
    let bytes = HumanBytes(cached.bytes);
    let (files, count) = (cached.files, cached.entries.len());
    let mut lines: Vec<String> = match act {
        Act::List => cached.entries.iter().map(|entry| line(entry, now)).collect(),
        Act::Verify => cached.entries.iter().map(|entry| format!("broken, dropped: {}", entry.path)).collect(),
        Act::Clear => cached.entries.iter().map(|entry| format!("in use, kept: {}", entry.path)).collect(),
    };
    lines.push(match act {
        Act::List => format!("{files} files, {bytes}"),
        Act::Verify => format!("{files} files are right, {bytes}; {count} broken; {} cannot be told", cached.unknown),
        Act::Clear => format!("{files} files dropped, {bytes}; {count} kept"),
    });
    lines.join("\n")
}

/// Size, share, age and path.
fn line(entry: &Entry, now: i64) -> String {
    let share = match entry.size {
        _ if entry.dirty => "dirty".to_owned(),
        size if entry.here >= size => "whole".to_owned(),
        size => format!("{}%", entry.here.saturating_mul(100) / size),
    };
    let used = match entry.used {
        _ if entry.in_use => "in use".to_owned(),
        Some(used) => format!("{} h ago", now.saturating_sub(used).max(0) / 3600),
        None => "-".to_owned(),
    };
    format!("{:>11}  {share:>5}  {used:>10}  {}", HumanBytes(entry.size).to_string(), entry.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, here: u64, used: Option<i64>) -> Entry {
        Entry { path: path.to_owned(), size: 2048, here, used, ..Entry::default() }
    }

    #[test]
    fn a_line_tells_size_share_age_and_path() {
        assert_eq!(line(&entry("a/b", 2048, Some(1000)), 8300), "   2.00 KiB  whole     2 h ago  a/b");
        assert_eq!(line(&entry("b", 512, None), 0), "   2.00 KiB    25%           -  b");
        let dirty = Entry { dirty: true, in_use: true, ..entry("c", 2048, None) };
        assert_eq!(line(&dirty, 0), "   2.00 KiB  dirty      in use  c");
    }

    #[test]
    fn they_come_in_the_order_that_was_asked_for() {
        let mut entries = [entry("b", 1, Some(5)), entry("a", 3, Some(1)), entry("c", 2, None)];
        for (sort, expect) in [(Sort::Name, "abc"), (Sort::Size, "acb"), (Sort::Age, "cba")] {
            sort_by(&mut entries, sort);
            assert_eq!(entries.iter().map(|entry| entry.path.as_str()).collect::<String>(), expect);
        }
    }
}
