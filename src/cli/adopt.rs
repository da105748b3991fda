//! `originfs adopt`: what a directory holds goes into the bucket, and the bucket is mounted over it.

use std::{
    env,
    ffi::OsString,
    fs,
    fs::File,
    io::{ErrorKind, Write},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use serde::Serialize;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use super::{
    Failure, complain,
    meant::{Meant, Place, left, meant, purging},
    meter,
    render::bytes,
};
use crate::{
    adopt::{Adopter, Seen, Work, meter::Meter, note::Note, release::Released, report::Report, tree::Tree},
    clock,
    config::{Options, words::Word},
    doctor::targets,
    model::attr::Time,
    mount::{
        aside::{Aside, Command as By, Told as Purging},
        beneath, conditions_of, source_at,
    },
    store::s3::S3Store,
    telemetry::logging::{self, To},
    upload::multipart::Lanes,
};

pub(super) const HELP: &str = "\
Names are compared by size and checksum; what the bucket has is not sent again, and what it has otherwise is listed and \
left. A run that was stopped goes on when it is started again. The local copy stays beneath the mount until --release.

Exit codes: 0 everything is in the bucket (and mounted, or released); 64 a part of it is not, the output has which; \
1 wrong options; 2 this host failed; 32 the bucket cannot be used, or the mount failed.";

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct AdoptArgs {
    #[command(flatten)]
    place: Place,
    /// Compare and tell, change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Delete the local copy beneath the mount, after every file of it was found in the bucket
    #[arg(long)]
    release: bool,
    /// Where the bucket has other bytes under a name, put those of the directory in their place
    #[arg(long, conflicts_with = "release")]
    overwrite: bool,
    /// Go on without the names that are in conflict or that no bucket can keep; they stay where they are
    #[arg(long)]
    partly: bool,
    /// Upload, but leave the mounting to others
    #[arg(long, conflicts_with = "release")]
    no_mount: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// What is told at the end.
#[derive(Debug, Serialize)]
struct Told<'a> {
    directory: &'a Path,
    source: &'a str,
    /// Nothing was changed.
    dry_run: bool,
    #[serde(flatten)]
    report: &'a Report,
    /// The bucket is mounted over the directory.
    mounted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<Released>,
}

/// What to work on, found and checked.
struct Site {
    source: String,
    dir: PathBuf,
    words: Vec<Word>,
    options: Options,
    /// A mount of this bucket covers it already.
    covered: bool,
}

pub(super) fn command(args: &[OsString], command: &AdoptArgs, out: &mut impl Write) -> Result<(), Failure> {
    let site = site(args, command)?;
    let _lock = if command.dry_run { None } else { Some(lock(&site.options)?) };
    // Between the progress bar only what must be said.
    logging::init(&To::Stderr, site.options.mount.debug)
        .map_err(|err| Failure::system(format!("cannot start the log: {err}")))?;
    if !site.options.mount.debug {
        log::set_max_level(log::LevelFilter::Error);
    }
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().map_err(Failure::system)?;
    let meter = Arc::new(Meter::default());
    let shown = meter::show(Arc::clone(&meter));
    let work = runtime.block_on(async {
        if command.release {
            return release(&site, command, &meter).await;
        }
        let aside = Aside::open(&purging(&site.options, !command.dry_run), By::Adopt).map_err(Failure::mount)?;
        let end = adopt(&site, command, &aside, &meter).await;
        left(aside.finish().await);
        end
    });
    drop(shown);
    let (report, released, mounted, failure) = work?;
    if let Some(why) = &report.stopped {
        complain(why);
    }
    let told = Told {
        directory: &site.dir,
        source: &site.options.mount.fsname,
        dry_run: command.dry_run,
        report: &report,
        mounted,
        released,
    };
    let text = if command.json { serde_json::to_string_pretty(&told).map_err(Failure::system)? } else { text(&told) };
    match writeln!(out, "{text}") {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => failure.map_or(Ok(()), Err),
    }
}

/// The end of the work: what was found, what was deleted, whether it is mounted, and why it is not all.
type End = (Report, Option<Released>, bool, Option<Failure>);

async fn adopt(site: &Site, command: &AdoptArgs, aside: &Aside, meter: &Arc<Meter>) -> Result<End, Failure> {
    let adopter = Arc::new(adopter(site, command, aside).await?);
    let (mut seen, at) = (Seen::new(), clock::wall());
    if command.dry_run {
        let report = adopter.look(Work::Look, &mut seen, meter).await.map_err(Failure::mount)?;
        let clash = report.conflicts.count + report.unfit.count > 0;
        return Ok((report, None, site.covered, clash.then(|| Failure::partly("not everything can be adopted"))));
    }
    let mut report = adopter.adopt(&mut seen, meter).await.map_err(Failure::mount)?;
    if !may_cover(&report, command) {
        let left = if site.covered { "" } else { "; nothing is mounted" };
        return Ok((
            report,
            None,
            site.covered,
            Some(Failure::partly(format!("not everything is in the bucket{left}"))),
        ));
    }
    let Report { files, bytes, .. } = report;
    let note = Note { source: site.options.mount.fsname.clone(), at: at.sec, nsec: at.nsec, files, bytes };
    adopter.tree.leave(&note).map_err(|err| Failure::system(format!("{}: {err}", site.dir.display())))?;
    if command.no_mount {
        return Ok((report, None, site.covered, None));
    }
    if !site.covered {
        cover(site)?;
        // What was written before it was covered, and after it was compared.
        let late = adopter.adopt(&mut seen, meter).await.map_err(Failure::mount)?;
        let uploaded = (report.uploaded + late.uploaded, report.uploaded_bytes + late.uploaded_bytes);
        let directories = report.directories + late.directories;
        report = Report { uploaded: uploaded.0, uploaded_bytes: uploaded.1, directories, ..late };
    }
    let whole = may_cover(&report, command);
    let failure = (!whole).then(|| Failure::partly("what was written just before the mount is not all in the bucket"));
    Ok((report, None, true, failure))
}

async fn release(site: &Site, command: &AdoptArgs, meter: &Arc<Meter>) -> Result<End, Failure> {
    if !site.covered {
        return Err(Failure::usage(format!(
            "{} is not mounted: what is there is all that its users see",
            site.dir.display()
        )));
    }
    // A program that opens a file while we ask whether any has it open for writing makes the kernel send this.
    let _kept_alive = signal(SignalKind::io()).map_err(Failure::system)?;
    // It changes nothing in the bucket.
    let aside = Aside::open(&purging(&site.options, false), By::Adopt).map_err(Failure::mount)?;
    let adopter = Arc::new(adopter(site, command, &aside).await?);
    let mut seen = Seen::new();
    let report = adopter.look(Work::Prove, &mut seen, meter).await.map_err(Failure::mount)?;
    let whole = report.is_complete();
    if command.dry_run || !(whole || command.partly && report.stopped.is_none()) {
        let failure = (!whole).then(|| Failure::partly("nothing is deleted: the bucket does not have everything"));
        return Ok((report, None, true, failure));
    }
    let released = adopter.release(seen).await.map_err(Failure::system)?;
    if released.kept == 0 {
        adopter.tree.forget_note().map_err(Failure::system)?;
    }
    let failure = (!whole).then(|| Failure::partly("what the bucket does not have is kept"));
    Ok((report, Some(released), true, failure))
}

/// Whether the directory may be covered with this in the bucket.
fn may_cover(report: &Report, command: &AdoptArgs) -> bool {
    let lost = report.missing.count + report.changing.count + report.failed.count;
    report.is_complete() || command.partly && report.verified && lost == 0
}

async fn adopter(site: &Site, command: &AdoptArgs, aside: &Aside) -> Result<Adopter<Purging>, Failure> {
    let options = &site.options;
    let store = S3Store::connect(&options.bucket, &options.s3).await.map_err(Failure::mount)?;
    store.check(options.prefix.as_str()).await.map_err(Failure::mount)?;
    let conditional = if command.dry_run || command.release {
        crate::store::probe::Conditional::default()
    } else {
        conditions_of(&store, options).await
    };
    let store = aside.watch(store);
    let lanes = Lanes::new(&state(options), options.fs.part_size, options.fs.upload_concurrency);
    if !command.dry_run {
        lanes.abort_leftovers(&store).await.map_err(Failure::mount)?;
    }
    let dir = site.dir.display();
    let tree = if site.covered { beneath(&site.dir).and_then(Tree::of) } else { Tree::open(&site.dir) };
    let tree = tree.map_err(|err| Failure::system(format!("{dir}: {err}")))?;
    // While nothing covers it, its programs delete files themselves.
    let since = tree
        .note()
        .filter(|note| site.covered && note.source == options.mount.fsname)
        .map(|note| Time { sec: note.at, nsec: note.nsec });
    Ok(Adopter {
        store: Arc::new(store),
        tree: Arc::new(tree),
        options: options.fs.clone(),
        prefix: options.prefix.clone(),
        conditional,
        lanes: Arc::new(lanes),
        overwrite: command.overwrite,
        since,
        seed: getrandom::u64().map_err(Failure::system)?,
    })
}

fn site(args: &[OsString], command: &AdoptArgs) -> Result<Site, Failure> {
    let Meant { source, dir, words, options } = meant(args, &command.place)?;
    if options.fs.read_only && !command.dry_run {
        return Err(Failure::usage("a read-only mount (ro) adopts nothing"));
    }
    let covered = match source_at(&dir).map_err(Failure::system)? {
        Some(other) if other != options.mount.fsname => {
            return Err(Failure::usage(format!("{} is the mount of {other}", dir.display())));
        }
        mounted => mounted.is_some(),
    };
    Ok(Site { source, dir, words, options, covered })
}

/// Where adoption keeps what it needs after a kill: beside what the mount keeps, and not among it.
fn state(options: &Options) -> PathBuf {
    options.cache.dir.join("adopt")
}

/// Only one adoption of a directory at a time on this host; of others the bucket takes care.
fn lock(options: &Options) -> Result<File, Failure> {
    let dir = state(options);
    let failed = |err: &dyn std::fmt::Display| Failure::system(format!("{}: {err}", dir.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|err| failed(&err))?;
    let lock = File::create(dir.join("lock")).map_err(|err| failed(&err))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(Failure::system("another adoption of this directory is at work")),
        Err(fs::TryLockError::Error(err)) => Err(failed(&err)),
    }
}

/// `originfs mount` in the background, with the same options.
fn cover(site: &Site) -> Result<(), Failure> {
    let program = env::current_exe().map_err(|err| Failure::system(format!("cannot find this program: {err}")))?;
    let mut mount = Command::new(program);
    mount.arg("mount").arg(&site.source).arg(&site.dir).stdin(Stdio::null());
    for word in site.words.iter().filter(|word| !matches!(&*word.normal(), "f" | "foreground")) {
        mount.arg("-o").arg(targets::written(word));
    }
    match mount.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Failure::mount("everything is in the bucket, but it could not be mounted")),
        Err(err) => Err(Failure::system(format!("cannot start the mount: {err}"))),
    }
}

fn text(told: &Told<'_>) -> String {
    let Told { report, released, .. } = *told;
    let mut lines = Vec::new();
    for (what, list) in report.lists() {
        let why = |why: &str| if why.is_empty() { String::new() } else { format!(": {why}") };
        lines.extend(list.names.iter().map(|line| format!("{what}: {}{}", line.path, why(&line.why))));
        let more = list.count - list.names.len() as u64;
        lines.extend((more > 0).then(|| format!("{what}: and {more} more")));
    }
    let Report { files, uploaded, directories, local, .. } = *report;
    let mut text = format!(
        "{files} files ({}) are in the bucket: {uploaded} uploaded ({}), {} were there",
        bytes(report.bytes),
        bytes(report.uploaded_bytes),
        files.saturating_sub(uploaded)
    );
    for (count, what) in [(directories, "directories made"), (local, "local-only names stay here")] {
        if count > 0 {
            text = format!("{text}; {count} {what}");
        }
    }
    lines.push(text);
    if let Some(Released { files, bytes: size, directories, kept }) = released {
        let kept = if kept > 0 { format!("; {kept} names stay") } else { String::new() };
        lines.push(format!("deleted locally: {files} files ({}), {directories} directories{kept}", bytes(size)));
    }
    lines.push(match (told.dry_run, told.mounted) {
        (true, _) => "nothing was changed".to_owned(),
        (false, true) => format!("{} is mounted", told.directory.display()),
        (false, false) => format!("{} is not mounted", told.directory.display()),
    });
    lines.join("\n")
}
