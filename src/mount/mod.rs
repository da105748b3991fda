//! The life of a mount: the checks before it, the order in which everything starts, and what is saved at its end.
//! The only place that knows this order.

mod accounts;
mod alive;
pub mod aside;
mod attach;
mod beneath;
mod bucket;
pub mod cdn;
mod changes;
mod group;
mod outage;
mod outside;
mod point;
mod probing;
mod program;
mod reach;
mod reads;
mod signals;
mod table;
mod upkeep;

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver},
    thread,
    time::{Duration, Instant},
};

use fuser::{Config, Session, SessionACL};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    time::timeout,
};

use crate::{
    cache::OpenError,
    cdn::purge::purger::SYNC_MAX,
    clock,
    config::Options,
    error::Error,
    fs::{Fs, types::Invalidation},
    fuse::{
        Adapter,
        held::Held,
        init::{Kernel, KernelEdge},
        notify::{self, Notifying},
    },
    store::{Store, s3::CheckError},
    telemetry::ready,
};
use alive::Alive;
use attach::{Attached, How, Unmounted, attach};
pub use beneath::beneath;
pub use bucket::{conditions_of, mount};
pub use point::clear_dead;
use signals::Signals;
pub use table::{AUTOMOUNT, TYPE};

/// Threads that read the kernel's requests. They only decode and answer from memory, and wake each other for that: with
/// two processors, one of them is faster, also for four readers.
fn session_threads() -> usize {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    if processors > 2 { 2 } else { 1 }
}

/// What a request may take beyond the deadline of one bucket operation: then that one fails first, with its reason.
const SLACK: Duration = Duration::from_secs(5);
const _: () = assert!(SYNC_MAX.as_millis() < SLACK.as_millis(), "a close that waits for its purge would fail");

/// How long a new mount may take to answer its first stat(2), which asks no bucket.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long uploads may take when the mount is stopped: below the 90 s after which systemd kills.
const SAVE_LIMIT: Duration = Duration::from_mins(1);

/// The least that uploads get at the very end, for what was written after the first round.
const LAST_SAVE_LIMIT: Duration = Duration::from_secs(5);

/// How long a busy unmount is tried, for web servers that stop at the same time, and the pause between.
const UNMOUNT_TIME: Duration = Duration::from_secs(2);
const UNMOUNT_PAUSE: Duration = Duration::from_millis(100);

/// How long open files are waited for after the mount point is free, or before where nobody could end them afterwards.
const GRACE: Duration = Duration::from_secs(10);

/// Why there is no mount.
#[derive(Debug)]
pub enum MountError {
    /// The mount point or the cache directory cannot be used.
    Path(PathBuf, String),
    /// There is a mount of ours already; `same`: of the same source.
    Mounted { point: PathBuf, source: String, same: bool },
    /// The bucket cannot be used, or not be reached.
    Check(CheckError),
    /// The endpoint makes no sense.
    Bucket(Error),
    /// The cache directory cannot be used.
    Cache(OpenError),
    /// The host refuses something that is named first.
    Host(&'static str, io::Error),
    /// A signal came before the mount was there.
    Stopped(&'static str),
}

/// How a mount ended.
#[derive(Debug)]
pub enum Ended {
    /// Every byte is in the bucket.
    Saved,
    /// What could not be uploaded, by key. The bytes are kept in the cache directory.
    Unsaved(Vec<(String, Error)>),
}

/// A file system that wants to be mounted.
#[derive(Debug)]
pub struct Opened<S: Store> {
    pub fs: Arc<Fs<S>>,
    /// What it wants the kernel to hear.
    pub queue: Receiver<Invalidation>,
    /// Where to write down what the kernel grants.
    pub kernel: Kernel,
    /// What must not be lost with the process, and can wait until all is saved.
    pub last: Option<Last>,
}

/// Something to be done at the end of a mount. It limits itself.
pub struct Last(Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Last {
    pub fn new(todo: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Mutex::new(Box::pin(todo)))
    }
}

impl fmt::Debug for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Last(..)")
    }
}

/// The type of the file system that is mounted exactly at `point`, as /proc tells; it is not asked itself.
pub fn kind_at(point: &Path) -> io::Result<Option<String>> {
    Ok(table::top(point)?.map(|row| row.kind))
}

/// The source of a mount of ours at `point`, as /proc tells; `None` if there is none. A mount of which the process is
/// gone counts.
pub fn source_at(point: &Path) -> io::Result<Option<String>> {
    let row = table::top(point)?.filter(|row| row.kind == TYPE);
    Ok(row.map(|row| row.source.to_string_lossy().into_owned()))
}

/// Mounts and serves until a signal or an unmount ends it. `open` reaches the bucket and makes the file system. `ready` is called once: when the mount answers, or with the error that is returned too.
pub fn run<S: Store>(
    options: &Options,
    open: impl AsyncFnOnce() -> Result<Opened<S>, MountError>,
    ready: impl FnOnce(Result<(), &MountError>),
) -> Result<Ended, MountError> {
    // In the background nobody sees what a panicking request says.
    std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    let started = start(options, open);
    ready(started.as_ref().map(|_| ()));
    let (runtime, mut signals, mounted, alive) = started?;
    let why = runtime.block_on(async {
        tokio::select! {
            signal = signals.stop() => signal,
            () = mounted.ended() => "unmounted",
        }
    });
    log::info!("{}: {why}, stopping", mounted.point.display());
    // From here on systemd waits for the end, and no longer for signs of life.
    ready::systemd("STOPPING=1");
    ready::say("saving what is not in the bucket yet, and unmounting");
    drop(alive);
    Ok(mounted.stop(runtime.handle()))
}

fn start<S: Store>(
    options: &Options,
    open: impl AsyncFnOnce() -> Result<Opened<S>, MountError>,
) -> Result<(Runtime, Signals, Mounted<S>, Alive), MountError> {
    let point = point::check(options)?;
    let runtime = runtime().map_err(|err| MountError::Host("threads", err))?;
    let mut signals = Signals::new(&runtime).map_err(|err| MountError::Host("signals", err))?;
    let opened = runtime.block_on(async {
        tokio::select! {
            opened = open() => opened,
            signal = signals.stop() => Err(MountError::Stopped(signal)),
        }
    })?;
    point::clear(&point, options)?;
    let mounted = Mounted::start(options, &point, runtime.handle(), opened)?;
    mounted.answers()?;
    let alive = alive::tell(&mounted, runtime.handle()).map_err(|err| MountError::Host("threads", err))?;
    log::info!("{} is mounted at {}", options.mount.fsname, point.display());
    Ok((runtime, signals, mounted, alive))
}

/// Bytes of stack of a thread that works, twice what tokio gives. The rename of a directory is nested deepest, and the
/// stores in each other with it; without optimisation each level is a frame of kilobytes, and 2 MiB are nearly used up.
/// Only pages that are touched cost memory.
const STACK: usize = 4 << 20;

/// Two to four threads: they wait for the network and copy bytes, and the host belongs to the web server.
fn runtime() -> io::Result<Runtime> {
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(2, 4);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).thread_stack_size(STACK).thread_name("work").enable_all().build()
}

/// A mount that answers the kernel. Dropped, it is gone from its mount point, whatever was written; [`Self::stop`]
/// saves first.
#[derive(Debug)]
pub struct Mounted<S: Store> {
    fs: Arc<Fs<S>>,
    point: PathBuf,
    notifying: Notifying,
    kernel: Kernel,
    ended: watch::Receiver<bool>,
    attached: Attached,
    last: Option<Last>,
}

impl<S: Store> Mounted<S> {
    /// Mounts `opened` at `point`, a path without symbolic links.
    pub fn start(options: &Options, point: &Path, runtime: &Handle, opened: Opened<S>) -> Result<Self, MountError> {
        let Opened { fs, queue, kernel, last } = opened;
        let limit = options.s3.timeout.saturating_add(SLACK);
        let held = Held::default();
        let edge = (limit, held.clone());
        let adapter = Adapter::new(Arc::clone(&fs), kernel.clone(), options.fs.xattr, runtime.clone(), edge);
        let how = How {
            source: options.mount.fsname.clone(),
            allow_other: options.mount.allow_other,
            read_only: options.fs.read_only,
        };
        let (device, attached) = attach(point, &how).map_err(|err| MountError::Host("mount", err))?;
        let mut config = Config::default();
        config.n_threads = Some(session_threads());
        // The kernel keeps others out by itself unless `allow_other` is mounted with.
        let session = Session::from_fd(adapter, device, SessionACL::All, config)
            .map_err(|err| MountError::Host("FUSE handshake", err))?;
        let threads = |err| MountError::Host("threads", err);
        let notifying = notify::start(session.notifier(), queue, held).map_err(threads)?;
        let (end, ended) = watch::channel(false);
        let serve = move || {
            if let Err(err) = session.run() {
                log::error!("the connection to the kernel broke: {err}");
            }
            end.send_replace(true);
        };
        thread::Builder::new().name("session".to_owned()).spawn(serve).map_err(threads)?;
        Ok(Self { fs, point: point.to_owned(), notifying, kernel, ended, attached, last })
    }

    /// What the kernel granted.
    pub fn kernel(&self) -> KernelEdge {
        self.kernel.report()
    }

    /// Waits until the mount answers a stat(2).
    pub fn answers(&self) -> Result<(), MountError> {
        let point = self.point.clone();
        outside::ask("first-stat", move || fs::metadata(point).map(drop))
            .and_then(|told| told.recv_timeout(ANSWER_LIMIT).map_err(io::Error::other)?)
            .map_err(|err| MountError::Host("the first stat of the mount", err))
    }

    /// Ends when the kernel asks nothing more: after an unmount by whomever, or an abort of the connection.
    pub async fn ended(&self) {
        // An error means that the thread is gone, which is an end too.
        drop(self.ended.clone().wait_for(|ended| *ended).await);
    }

    /// Saves what is dirty, unmounts, and saves what was written meanwhile. Takes a minute (`SAVE_LIMIT`) and little
    /// more. Must not be called on a thread of the runtime.
    pub fn stop(mut self, runtime: &Handle) -> Ended {
        // The kernel takes its own caches away now, and a notification could stand in the way of it.
        self.notifying.disarm();
        let by = clock::now() + SAVE_LIMIT;
        self.save(runtime, by);
        let abort = self.unmount();
        if runtime.block_on(async { timeout(GRACE, self.ended()).await }).is_err()
            && let Some(mut abort) = abort
        {
            log::warn!("{}: files are still open; they fail from now on", self.point.display());
            abort.write_all(b"1").unwrap_or_else(|err| log::error!("they do not: {err}"));
        }
        self.save(runtime, by.max(clock::now() + LAST_SAVE_LIMIT));
        let late = Error::unavailable("the mount was stopped before it could be uploaded");
        let unsaved = runtime.block_on(self.fs.keep_all(&late));
        // What is not removed from the bucket now, the next run removes.
        drop(runtime.block_on(async { timeout(LAST_SAVE_LIMIT, self.fs.sweep()).await }));
        if let Some(last) = self.last.take() {
            runtime.block_on(last.0.into_inner().unwrap_or_else(PoisonError::into_inner));
        }
        if unsaved.is_empty() { Ended::Saved } else { Ended::Unsaved(unsaved) }
    }

    /// Uploads what is dirty. What cannot be uploaded stays dirty.
    fn save(&self, runtime: &Handle, by: Instant) {
        let limit = by.saturating_duration_since(clock::now());
        match runtime.block_on(async { timeout(limit, self.fs.flush_all()).await }) {
            Ok(failed) => {
                for (key, err) in failed {
                    log::error!("{key} is not in the bucket: {err}");
                }
            }
            Err(_) => log::error!("some files could not be uploaded within {} s", limit.as_secs()),
        }
    }

    /// Gives what ends the connection later; `None`: nothing can any more.
    fn unmount(&self) -> Option<File> {
        // Only through a mount point can a connection be ended without that file, and a detached mount has none: then its
        // users have the time to let go now, and not afterwards.
        let abort = self.abort_file();
        let grace = if abort.is_some() { Duration::ZERO } else { GRACE };
        let until = clock::now() + UNMOUNT_TIME + grace;
        while clock::now() < until {
            match self.attached.unmount() {
                Ok(Unmounted::Gone) => return abort,
                Ok(Unmounted::Busy) => thread::sleep(UNMOUNT_PAUSE),
                Err(err) => {
                    log::error!("{} cannot be unmounted: {err}", self.point.display());
                    return abort;
                }
            }
        }
        let point = self.point.display();
        let left = if abort.is_some() {
            log::warn!("{point} is in use; its users keep what they have open");
            self.attached.detach()
        } else {
            log::warn!("{point} is in use; what is open fails from now on");
            self.attached.force()
        };
        if let Err(err) = left {
            log::error!("{point} cannot be detached: {err}");
        }
        abort
    }

    /// The file that ends the connection; `None` where its file system is not mounted, as in containers.
    fn abort_file(&self) -> Option<File> {
        let path = format!("/sys/fs/fuse/connections/{}/abort", self.attached.minor());
        File::options().write(true).open(&path).inspect_err(|err| log::debug!("{path}: {err}")).ok()
    }
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Mounted { point, source, same: true } => {
                write!(f, "{source} is already mounted at {}", point.display())
            }
            Self::Mounted { point, source, same: false } => {
                write!(f, "{} is the mount of something else: {source}", point.display())
            }
            Self::Check(err) => err.fmt(f),
            Self::Bucket(err) => write!(f, "bucket: {err}"),
            Self::Cache(err) => err.fmt(f),
            Self::Host(what, err) => write!(f, "{what}: {err}"),
            Self::Stopped(signal) => write!(f, "stopped by {signal} before the mount was there"),
        }
    }
}

impl std::error::Error for MountError {}
