//! `originfs headers apply`.

use std::{
    ffi::OsString,
    io::{ErrorKind, Write},
    sync::Arc,
    thread,
};

use serde::Serialize;
use tokio::runtime::Builder;

use super::{
    Failure,
    meant::{self, Meant, Place, left, purging},
    meter,
};
use crate::{
    adopt::meter::Meter,
    align::{Aligner, Report},
    config::Options,
    mount::aside::{Aside, Command as By},
    store::s3::S3Store,
    telemetry::logging::{self, To},
    upload::multipart::Lanes,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum HeadersCommand {
    /// Give the files that are in the bucket already the headers that they would get if they were written now
    Apply(ApplyArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    place: Place,
    /// Only what begins with this, from the mount point
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Replace headers that somebody else set, too
    #[arg(long)]
    overwrite: bool,
    /// Tell, change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// The most files at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..=128))]
    jobs: u8,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// What is told at the end.
#[derive(Debug, Serialize)]
struct Told<'a> {
    source: &'a str,
    /// Nothing was changed.
    dry_run: bool,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn command(args: &[OsString], command: &ApplyArgs, out: &mut impl Write) -> Result<(), Failure> {
    let Meant { options, .. } = meant::meant(args, &command.place)?;
    if options.fs.read_only && !command.dry_run {
        return Err(Failure::usage("a read-only mount (ro) changes no headers"));
    }
    // Between the progress bar only what must be said.
    logging::init(&To::Stderr, options.mount.debug)
        .map_err(|err| Failure::system(format!("cannot start the log: {err}")))?;
    if !options.mount.debug {
        log::set_max_level(log::LevelFilter::Warn);
    }
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().map_err(Failure::system)?;
    let meter = Arc::new(Meter::default());
    let shown = meter::show(Arc::clone(&meter));
    let report = runtime.block_on(apply(&options, command, &meter));
    drop(shown);
    let told = Told { source: &options.mount.fsname, dry_run: command.dry_run, report: &report? };
    let text = if command.json { serde_json::to_string_pretty(&told).map_err(Failure::system)? } else { text(&told) };
    match writeln!(out, "{text}") {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => return Err(Failure::system(err)),
        _ => {}
    }
    match told.report.failed.count {
        0 => Ok(()),
        count => Err(Failure::partly(format!("{count} files could not be changed"))),
    }
}

async fn apply(options: &Options, command: &ApplyArgs, meter: &Meter) -> Result<Report, Failure> {
    let aside = Aside::open(&purging(options, !command.dry_run), By::Headers).map_err(Failure::mount)?;
    let store = S3Store::connect(&options.bucket, &options.s3).await.map_err(Failure::mount)?;
    store.check(options.prefix.as_str()).await.map_err(Failure::mount)?;
    let lanes = Lanes::new(&options.cache.dir, options.fs.part_size, options.fs.upload_concurrency);
    let store = Arc::new(aside.watch(store));
    let aligner = Aligner {
        acls: Arc::clone(&store),
        store,
        options: options.fs.clone(),
        prefix: options.prefix.clone(),
        below: command.prefix.trim_start_matches('/').to_owned(),
        lanes,
        all: command.overwrite,
        dry_run: command.dry_run,
        jobs: command.jobs.into(),
    };
    let report = Arc::new(aligner).run(meter).await.map_err(Failure::mount);
    left(aside.finish().await);
    report
}

fn text(told: &Told<'_>) -> String {
    let Report { files, changed, kept, acl, acl_unknown, failed } = told.report;
    let mut lines = Vec::new();
    let others = "has other headers, which somebody set (--overwrite replaces them)";
    let [doing, opening] =
        if told.dry_run { ["would get headers", "would get the ACL"] } else { ["got headers", "got the ACL"] };
    let unknown = "nobody knows who may read it by its ACL (the credentials may not ask: s3:GetObjectAcl)";
    let lists = [(doing, changed), (opening, acl), (others, kept), (unknown, acl_unknown), ("failed", failed)];
    for (what, list) in lists {
        let why = |why: &str| if why.is_empty() { String::new() } else { format!(": {why}") };
        lines.extend(list.names.iter().map(|line| format!("{what}: {}{}", line.path, why(&line.why))));
        let more = list.count - list.names.len() as u64;
        lines.extend((more > 0).then(|| format!("{what}: and {more} more")));
    }
    let count = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    let acls = format!("{}{}", count(acl.count, opening), count(acl_unknown.count, "with an unknown ACL"));
    let (changed, kept, failed) = (changed.count, kept.count, failed.count);
    let all = format!("{files} files: {changed} {doing}{acls}, {kept} keep others, {failed} failed");
    lines.push(all);
    lines.extend(told.dry_run.then(|| "nothing was changed".to_owned()));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_tells_what_changed_and_what_did_not() {
        let mut report = Report { files: 3, ..Report::default() };
        report.changed.add("a.css", "");
        report.failed.add("b.css", "denied");
        let told = |dry_run| text(&Told { source: "site", dry_run, report: &report });
        let expect = "got headers: a.css\nfailed: b.css: denied\n3 files: 1 got headers, 0 keep others, 1 failed";
        assert_eq!(told(false), expect);
        assert!(told(true).ends_with("1 would get headers, 0 keep others, 1 failed\nnothing was changed"));
        let mut report = Report { files: 2, ..Report::default() };
        report.acl.add("a.css", "private");
        report.acl_unknown.add("b.css", "");
        let said = text(&Told { source: "site", dry_run: false, report: &report });
        assert!(said.starts_with("got the ACL: a.css: private\nnobody knows who may read it by its ACL"), "{said}");
        let end = "2 files: 0 got headers, 1 got the ACL, 1 with an unknown ACL, 0 keep others, 0 failed";
        assert!(said.ends_with(end), "{said}");
    }
}
