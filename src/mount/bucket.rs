//! A mount of an S3 bucket: reaches it, finds out what it can do, opens the cache, and says how it goes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use tokio::{runtime::Handle, time::timeout};

use super::{
    Ended, Last, MountError, Opened,
    accounts::{self, Accounts},
    aside, cdn,
    changes::{self, Noted},
    outage,
    probing::{self, Findings},
    reach::reach,
    reads::{self, Reads},
    run,
    upkeep::Upkeep,
};
use crate::{
    cache::{Contents, OpenError},
    cdn::purge::purger::Purger,
    clock,
    config::{CacheOptions, Options},
    cost::{day::Day, ledger::Usage},
    fs::Fs,
    fuse::init::Kernel,
    local::{Disk, Item},
    model::{
        attr::Kind,
        patterns::{Patterns, Scope},
    },
    store::{
        probe::{Conditional, Support},
        s3::S3Store,
        watched::Watched,
    },
    telemetry::{
        Telemetry, control,
        counted::Counted,
        status::{self, Cache, LocalOnly, Mount, Passthrough, Staging, Status},
    },
};

/// How long a mount waits for what an earlier run left to be cleaned up: it costs money, not correctness.
const LEFTOVERS_LIMIT: Duration = Duration::from_secs(10);

/// How long a mount waits for renames of an earlier run to be ended; then they go on beside it. Below the 90 s that
/// systemd gives a start.
const RENAMES_LIMIT: Duration = Duration::from_mins(1);

/// How long a mount waits for the former one on its cache directory to end. What is left to do there is uploading the
/// little that is dirty; a mount that is alive is told after no longer than anybody waits for a mount.
const SUCCESSION: Duration = Duration::from_secs(10);
/// Between looks at it.
const SUCCESSION_STEP: Duration = Duration::from_millis(50);

/// Between attempts to reach a bucket that was away when the mount started.
const HEAL_PAUSE: Duration = Duration::from_secs(10);

/// Local names that are looked through at start for some that no pattern covers any more: a tenth of a second.
const STRAYS_MAX: usize = 100_000;
/// Between attempts to remove empty objects of ours from a bucket that did not answer; nothing is asked when there are
/// none.
const SWEEP_PAUSE: Duration = Duration::from_secs(10);

type Bucket = Watched<Counted<S3Store>, Arc<OnceLock<Arc<Purger>>>>;

/// Mounts the bucket of `options` and serves until a signal or an unmount ends it; see [`run`].
pub fn mount(options: &Options, ready: impl FnOnce(Result<(), &MountError>)) -> Result<Ended, MountError> {
    run(options, async || open(options).await, ready)
}

/// Which conditional writes a bucket honours, as far as one request after the other shows it, and what a mount on this
/// host found out before. From now on `store` relies on no other.
pub async fn conditions_of(store: &S3Store, options: &Options) -> Conditional {
    probing::ask(store, options).await.0.conditional
}

/// The cache, if need be after the process of a former mount has ended: umount(8) does not wait for that.
async fn succeed(store: &Arc<Bucket>, cache: &CacheOptions) -> Result<Arc<Contents<Bucket>>, MountError> {
    let deadline = clock::now() + SUCCESSION;
    loop {
        match Contents::open(Arc::clone(store), cache, Handle::current()) {
            Err(OpenError::Locked(_)) if clock::now() < deadline => tokio::time::sleep(SUCCESSION_STEP).await,
            opened => return opened.map_err(MountError::Cache),
        }
    }
}

async fn open(options: &Options) -> Result<Opened<Bucket>, MountError> {
    let prefix = options.prefix.as_str();
    let store = S3Store::connect(&options.bucket, &options.s3).await.map_err(MountError::Bucket)?;
    let reached = reach(options.mount.nofail, async || store.check(prefix).await).await?;
    let telemetry = Arc::new(Telemetry::default());
    let counted = Arc::new(Counted::new(store, Arc::clone(&telemetry)));
    let watch = Arc::new(OnceLock::new());
    let store = Arc::new(Watched::new(Arc::clone(&counted), Arc::clone(&watch)));
    let contents = succeed(&store, &options.cache).await?;
    // The cache directory is ours from here on, and nothing was changed yet.
    let purger = cdn::open(options, counted)?;
    if let Some(purger) = &purger {
        if options.sync_purges {
            purger.keep_waiting();
        }
        drop(watch.set(Arc::clone(purger)));
        tokio::spawn(aside::look_after(Arc::clone(purger), options.cache.dir.clone()));
    }
    // Its directory keeps what was found the last time.
    let (findings, due) =
        if reached { probing::ask(store.store().store(), options).await } else { (Findings::default(), false) };
    let found = Arc::new(Mutex::new(findings));
    let conditional = findings.conditional;
    let bucket = store.store().store().clone();
    let (fs, queue) =
        Fs::new(Arc::clone(&store), Arc::clone(&contents), options.fs.clone(), options.prefix.clone(), conditional);
    if let Some(purger) = &purger {
        let purger = Arc::clone(purger);
        fs.tell_purges(Box::new(move |key| cdn::word(purger.progress(key.as_str()))));
    }
    tell_local_names(&options.fs.patterns, &Disk::new(contents.root()));
    let board = options.outage.as_ref().map(|options| outage::begin(options, contents.root(), Arc::clone(&store)));
    if !reached {
        tokio::spawn(heal(Arc::clone(&fs), Arc::clone(&store), options.clone(), Arc::clone(&found)));
    } else if !options.fs.read_only {
        let renames = tokio::spawn(recover_renames(Arc::clone(&fs)));
        if timeout(RENAMES_LIMIT, renames).await.is_err() {
            log::warn!("renames of an earlier run take long to be ended: the mount does not wait for them");
        }
        match timeout(LEFTOVERS_LIMIT, fs.abort_leftovers()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => log::info!("ended {count} unfinished uploads of an earlier run"),
            Ok(Err(err)) => log::warn!("unfinished uploads of an earlier run stay for now: {err}"),
            Err(_) => log::warn!("unfinished uploads of an earlier run stay for now"),
        }
    }
    if due {
        tokio::spawn(look_deeper(Arc::clone(&fs), store, options.clone(), Arc::clone(&found)));
    }
    if !options.fs.read_only {
        tokio::spawn(sweep(Arc::clone(&fs)));
    }
    let kernel = Kernel::default();
    let since = clock::wall().sec;
    let accounts = accounts::keep(contents.root(), usage_of(&fs, &telemetry, purger.clone()));
    let reads = reads::keep(contents.root());
    let noting = Arc::clone(&reads);
    fs.tell_reads(Box::new(move |id| noting.note(id, Day::of(clock::wall().sec))));
    let changes = changes::keep(contents.root());
    let (noting, root) = (Arc::clone(&changes), options.prefix.clone());
    fs.tell_turns(Box::new(move |key, turn| {
        let path = key.as_str().strip_prefix(root.as_str()).unwrap_or_default();
        noting.note(path, turn, Day::of(clock::wall().sec));
    }));
    let last = last(purger.clone(), accounts, reads, changes);
    let source = Source { options: options.clone(), since, telemetry, contents, found, purger, board, bucket };
    tell(source, Arc::clone(&fs), kernel.clone());
    Ok(Opened { fs, queue, kernel, last: Some(last) })
}

/// What is asked of the bucket, since the mount began.
fn usage_of(
    fs: &Arc<Fs<Bucket>>,
    telemetry: &Arc<Telemetry>,
    purger: Option<Arc<Purger>>,
) -> impl Fn() -> Usage + Send + Sync + use<> {
    let (fs, telemetry) = (Arc::clone(fs), Arc::clone(telemetry));
    move || {
        let (requests, items) = purger.as_ref().map_or((0, 0), |purger| cdn::tally(purger));
        Usage {
            cache_hits: fs.cache_use().0,
            absent: fs.absent(),
            purges: requests,
            purged: items,
            ..Usage::of(&telemetry.counters)
        }
    }
}

/// What is to be done when all is saved.
fn last(purger: Option<Arc<Purger>>, accounts: Arc<Accounts>, reads: Arc<Reads>, changes: Arc<Noted>) -> Last {
    Last::new(async move {
        if let Some(purger) = purger {
            cdn::drain(purger).await;
        }
        accounts.note(clock::wall().sec);
        reads.save(Day::of(clock::wall().sec), clock::now());
        changes.save();
    })
}

/// After a mount without the bucket: waits for it, and makes up for what was left out.
async fn heal(fs: Arc<Fs<Bucket>>, store: Arc<Bucket>, options: Options, found: Arc<Mutex<Findings>>) {
    while let Err(err) = store.store().store().check(options.prefix.as_str()).await {
        log::debug!("the bucket cannot be reached yet: {err}");
        tokio::time::sleep(HEAL_PAUSE).await;
    }
    log::info!("the bucket is reached");
    let (findings, due) = probing::ask(store.store().store(), &options).await;
    fs.set_conditional(findings.conditional);
    *found.lock().expect("nothing panics while it holds this lock") = findings;
    if !options.fs.read_only {
        recover_renames(Arc::clone(&fs)).await;
    }
    if due {
        look_deeper(fs, store, options, found).await;
    }
}

/// Finds out what a crowd of requests shows, while the mount serves.
async fn look_deeper(fs: Arc<Fs<Bucket>>, store: Arc<Bucket>, options: Options, found: Arc<Mutex<Findings>>) {
    if let Some(findings) = probing::ask_deeper(store.store().store(), &options, fs.conditional()).await {
        fs.set_conditional(findings.conditional);
        *found.lock().expect("nothing panics while it holds this lock") = findings;
    }
}

async fn recover_renames(fs: Arc<Fs<Bucket>>) {
    let (count, open) = fs.recover_renames().await;
    if count > 0 {
        log::info!("renames of an earlier run: {count}, of which {open} could not be ended");
    }
}

/// Removes what stands for names that never got content: of an earlier run, and what could not be removed at once.
async fn sweep(fs: Arc<Fs<Bucket>>) {
    loop {
        fs.sweep().await;
        tokio::time::sleep(SWEEP_PAUSE).await;
    }
}

/// What a status is made of.
struct Source {
    options: Options,
    since: i64,
    telemetry: Arc<Telemetry>,
    contents: Arc<Contents<Bucket>>,
    found: Arc<Mutex<Findings>>,
    purger: Option<Arc<Purger>>,
    board: Option<Arc<outage::Board>>,
    bucket: S3Store,
}

/// Answers `originfs status` and does what other commands say, for as long as the runtime lives. A mount without it is still a mount.
fn tell(source: Source, fs: Arc<Fs<Bucket>>, kernel: Kernel) {
    let bound = control::directory()
        .map(|directory| control::path(&directory, &source.options.mountpoint))
        .and_then(|path| control::Socket::bind(&path));
    match bound {
        Ok(socket) => {
            let here = Arc::clone(&fs);
            let (purger, board, bucket) = (source.purger.clone(), source.board.clone(), source.bucket.clone());
            let edges = cdn::Edges::of(&source.options, purger.clone());
            let status = Box::new(move || source.status(&here, &kernel));
            drop(tokio::spawn(control::serve(socket, Upkeep { fs, status, purger, edges, board, bucket })));
        }
        Err(err) => log::warn!("no status of this mount: {err}"),
    }
}

impl Source {
    fn local_only(&self, fs: &Fs<Bucket>) -> Option<LocalOnly> {
        let (usage, hidden_keys) = fs.kept_here()?;
        let Patterns { local, hold } = &self.options.fs.patterns;
        let [local, hold] = [local, hold].map(|list| list.texts().map(str::to_owned).collect());
        let dir = Disk::new(self.contents.root()).root().display().to_string();
        let (files, bytes) = usage.map(|usage| (usage.files, usage.bytes)).unzip();
        Some(LocalOnly { local, hold, dir, files, bytes, hidden_keys })
    }

    fn status(&self, fs: &Fs<Bucket>, kernel: &Kernel) -> Status {
        let usage = self.contents.usage();
        let (files, bytes) = fs.staged();
        let (hits, misses) = fs.cache_use();
        let counters = &self.telemetry.counters;
        for (count, now) in
            [(&counters.cache_hits, hits), (&counters.cache_misses, misses), (&counters.hidden_keys, fs.hidden_keys())]
        {
            count.add(now.saturating_sub(count.get()));
        }
        let passthrough = kernel.report().passthrough;
        let findings = *self.found.lock().expect("nothing panics while it holds this lock");
        let reached = findings != Findings::default();
        self.telemetry.report(Status {
            mount: Mount {
                source: self.options.mount.fsname.clone(),
                mountpoint: self.options.mountpoint.display().to_string(),
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                since: self.since,
                read_only: self.options.fs.read_only,
                endpoint: self.options.s3.endpoint.clone(),
            },
            freshness: status::freshness(self.options.fs.freshness),
            passthrough: Passthrough { on: passthrough.is_ok(), why: passthrough.err() },
            conditional_writes: conditions(fs.conditional()),
            conditions: words(fs.conditional()),
            read_after_write: findings.read_after_write.to_string(),
            weaker: if reached { probing::weaker(&self.options.fs, findings) } else { Vec::new() },
            cache: Cache {
                dir: self.options.cache.dir.display().to_string(),
                bytes: usage.bytes,
                limit: usage.limit,
                files: usage.files as u64,
                min_free: usage.floor,
                free: usage.free,
            },
            staging: Staging { bytes, files },
            local_only: self.local_only(fs),
            purging: self.purger.as_ref().map(|purger| cdn::report(purger)).unwrap_or_default(),
            absent: fs.absent(),
            purges_pending: self.purger.as_ref().map_or(0, |purger| purger.pending()),
            outage: self.board.as_ref().map(|board| board.report()),
            ..Status::default()
        })
    }
}

/// Says which names stay here, and of files that the patterns of an earlier run left.
fn tell_local_names(patterns: &Patterns, disk: &Disk) {
    let dir = disk.root().display();
    if !patterns.is_empty() {
        log::info!("local-only names: {patterns}; they live in {dir}");
    }
    let stray = |item: &&Item| item.entry.attr.kind != Kind::Dir && patterns.scope(&item.path) == Scope::Bucket;
    match disk.walk("", STRAYS_MAX) {
        Ok(Some(items)) if items.iter().any(|item| stray(&item)) => {
            let count = items.iter().filter(stray).count();
            log::warn!("{count} files in {dir} have no local-only name any more and are not shown");
        }
        Ok(_) => {}
        Err(err) => log::warn!("{dir}: {err}"),
    }
}

/// What the probe found, for those conditions that it found anything about.
fn conditions(found: Conditional) -> BTreeMap<String, bool> {
    let known = named(found).into_iter().filter(|(_, support)| support.works() || support.fails());
    known.map(|(name, support)| (name.to_owned(), support.works())).collect()
}

/// The same in words.
fn words(found: Conditional) -> BTreeMap<String, String> {
    let known = named(found).into_iter().filter(|(_, support)| *support != Support::Unknown);
    known.map(|(name, support)| (name.to_owned(), support.to_string())).collect()
}

fn named(found: Conditional) -> [(&'static str, Support); 5] {
    [
        ("put-if-absent", found.absent),
        ("put-if-unchanged", found.version),
        ("delete-if-unchanged", found.delete),
        ("copy-if-absent", found.copy),
        ("multipart-if-absent", found.complete),
    ]
}
