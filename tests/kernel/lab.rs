//! A mount of its own for every test.

use std::{
    fs,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use nix::mount::{MntFlags, umount2};
use originfs::{
    cache::Contents,
    config::{
        CacheOptions, FsOptions, MountOptions, Options, Unknown,
        parse::{Host, Request, parse},
    },
    freshness::Freshness,
    fs::Fs,
    fuse::init::Kernel,
    mount::{Ended, Mounted, Opened},
    store::{Headers, memory::MemoryStore, probe::Conditional},
};
use tokio::runtime::Runtime;

static LABS: AtomicU32 = AtomicU32::new(0);

pub(crate) type Bucket = MemoryStore;

/// Unmounts and cleans up when it goes, also in a panic.
pub(crate) struct Lab {
    pub(crate) mounted: Option<Mounted<Bucket>>,
    pub(crate) store: Arc<Bucket>,
    pub(crate) point: PathBuf,
    dir: PathBuf,
    pub(crate) runtime: Runtime,
    change: fn(&mut Options),
}

#[expect(clippy::print_stdout, reason = "a test that did nothing must say so")]
pub(crate) fn can_mount() -> bool {
    let can = nix::unistd::geteuid().is_root() && fs::File::open("/dev/fuse").is_ok();
    assert!(can || std::env::var_os("CI").is_none(), "mount tests need root and /dev/fuse");
    if !can {
        println!("skipped: needs root and /dev/fuse");
    }
    can
}

pub(crate) fn headers() -> Headers {
    Headers::default()
}

impl Lab {
    pub(crate) fn mounted() -> Option<Self> {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: fn(&mut Options)) -> Option<Self> {
        let mut lab = Self::unmounted()?;
        lab.change = change;
        let mounted = Mounted::start(&lab.options(), &lab.point, lab.runtime.handle(), lab.parts()).unwrap();
        lab.mounted = Some(mounted);
        lab.mounted.as_ref().unwrap().answers().unwrap();
        Some(lab)
    }

    /// With a mount point at which nothing is mounted yet.
    pub(crate) fn unmounted() -> Option<Self> {
        if !can_mount() {
            return None;
        }
        let name = format!("originfs-mount-{}-{}", process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(dir.join("mnt")).unwrap();
        let dir = dir.canonicalize().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store = Arc::new(MemoryStore::new());
        Some(Self { mounted: None, store, point: dir.join("mnt"), dir, runtime, change: |_| () })
    }

    pub(crate) fn options(&self) -> Options {
        let host = Host { uid: 0, gid: 0, dir: self.dir.clone(), caches: self.dir.join("cache") };
        let request = Request { source: "bucket", mountpoint: &self.point, words: &[], unknown: Unknown::Refuse };
        let mut options = parse(&request, &host).unwrap().options;
        options.s3.timeout = Duration::from_secs(10);
        let (headers, urls) = (Arc::default(), Arc::default());
        options.fs = FsOptions { freshness: Freshness::Strict, rename_limit: 1000, headers, urls, ..options.fs };
        options.cache = CacheOptions { dir: self.dir.join("cache"), size: None, min_free: Some(1 << 20) };
        let fsname = format!("bucket:{}", self.dir.display());
        options.mount = MountOptions { foreground: true, allow_other: false, fsname, ..options.mount };
        (self.change)(&mut options);
        options
    }

    pub(crate) fn parts(&self) -> Opened<Bucket> {
        let options = self.options();
        let contents = Contents::open(Arc::clone(&self.store), &options.cache, self.runtime.handle().clone()).unwrap();
        let store = Arc::clone(&self.store);
        let (fs, queue) = Fs::new(store, contents, options.fs, options.prefix, Conditional::default());
        Opened { fs, queue, kernel: Kernel::default(), last: None }
    }

    pub(crate) fn stop(&mut self) -> Ended {
        self.mounted.take().unwrap().stop(self.runtime.handle())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // First the mount, else the directory below it would be asked to go.
        self.mounted = None;
        if thread::panicking() {
            // A failed test may have left more.
            while umount2(&self.point, MntFlags::MNT_DETACH).is_ok() {}
        }
        fs::remove_dir_all(&self.dir).ok();
    }
}
