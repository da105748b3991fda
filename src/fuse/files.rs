//! Which files are open, in which mode, and which cache file is registered with the kernel for them.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, MutexGuard},
};

use fuser::FopenFlags;

use super::{
    init::Kernel,
    iomode::{Ask, Held, Local, Mode, THROUGH_MIN, choose},
};
use crate::fs::types::{Fh, NodeId, Opened};

/// The open files of a mount. `I` is the registration of a cache file; dropping the last one ends it.
///
/// Lock order: this, then [`Kernel`]. Held over the registration, which is one system call that waits for nobody,
/// because two openers of a node must not register it twice.
#[derive(Debug)]
pub(super) struct Files<I> {
    open: Mutex<Open<I>>,
    kernel: Kernel,
}

#[derive(Debug)]
struct Open<I> {
    /// Nodes with open files.
    nodes: HashMap<NodeId, Node<I>>,
    files: HashMap<Fh, (NodeId, Mode)>,
}

#[derive(Debug)]
struct Node<I> {
    held: Held,
    /// Kept from the first passthrough open to the last RELEASE: the kernel looks it up after our answer, and takes no
    /// other beside it.
    registered: Option<Registered<I>>,
}

#[derive(Debug)]
struct Registered<I> {
    id: Arc<I>,
    file: FileId,
}

/// Device and inode: one file, however often it is opened.
type FileId = (u64, u64);

/// How to answer an open.
#[derive(Debug)]
pub(super) enum Answer<I> {
    Plain(FopenFlags),
    /// The kernel adds `FOPEN_PASSTHROUGH` itself.
    Through(FopenFlags, Arc<I>),
}

impl<I> Files<I> {
    pub(super) fn new(kernel: Kernel) -> Self {
        Self { open: Mutex::new(Open { nodes: HashMap::new(), files: HashMap::new() }), kernel }
    }

    /// Counts `opened` and decides its mode. `register` makes its cache file known to the kernel; if that fails,
    /// passthrough is off for the mount and the file is opened without.
    pub(super) fn open(&self, opened: &Opened, register: impl FnOnce(&File) -> io::Result<I>) -> Answer<I> {
        let mut open = self.lock();
        let node = open.nodes.entry(opened.id).or_insert(Node { held: Held::default(), registered: None });
        // Which file it is matters only where the kernel may read it: the usual open of a small one does not ask.
        let matters = node.registered.is_some() || opened.size >= THROUGH_MIN;
        let whole = if opened.backing.is_some() { Local::Whole } else { Local::Partial };
        let local = opened.backing.as_deref().filter(|_| matters).and_then(|file| Some((file, identity(file)?)));
        let mut ask = Ask {
            write: opened.write,
            size: opened.size,
            local: match (&local, &node.registered) {
                (None, _) if matters => Local::Partial,
                (None, _) => whole,
                (Some((_, id)), Some(registered)) if *id == registered.file => Local::Registered,
                (Some(_), _) => Local::Whole,
            },
            unchanged: opened.unchanged,
        };
        let mut mode = choose(node.held, ask, self.kernel.passthrough());
        if let (Mode::Through, None, Some((file, id))) = (mode, &node.registered, local) {
            match register(file) {
                Ok(new) => node.registered = Some(Registered { id: Arc::new(new), file: id }),
                Err(err) => {
                    self.kernel.refuse_passthrough(&err);
                    ask.local = Local::Whole;
                    mode = choose(node.held, ask, false);
                }
            }
        }
        node.held.add(mode);
        let answer = node.answer(mode, ask);
        open.files.insert(opened.fh, (opened.id, mode));
        answer
    }

    /// Counts a file that was released. The last one of a node ends its registration.
    pub(super) fn close(&self, fh: Fh) {
        let mut open = self.lock();
        let Some((id, mode)) = open.files.remove(&fh) else { return };
        let Entry::Occupied(mut node) = open.nodes.entry(id) else { return };
        node.get_mut().held.remove(mode);
        let ended = if node.get().held.is_empty() {
            node.remove().registered
        } else if node.get().held.through == 0 {
            node.get_mut().registered.take()
        } else {
            None
        };
        // A system call, which needs no lock.
        drop(open);
        drop(ended);
    }

    fn lock(&self) -> MutexGuard<'_, Open<I>> {
        self.open.lock().expect("a panic left the open files half-counted")
    }
}

impl<I> Node<I> {
    fn answer(&self, mode: Mode, ask: Ask) -> Answer<I> {
        // What was only read needs no FLUSH at close.
        let quiet = if ask.write { FopenFlags::empty() } else { FopenFlags::FOPEN_NOFLUSH };
        let registered = self.registered.as_ref().map(|registered| Arc::clone(&registered.id));
        match (mode, registered) {
            (Mode::Through, Some(id)) => Answer::Through(quiet, id),
            (Mode::ThroughDirect, Some(id)) => Answer::Through(quiet | FopenFlags::FOPEN_DIRECT_IO, id),
            (Mode::Cached, _) if ask.unchanged => Answer::Plain(quiet | FopenFlags::FOPEN_KEEP_CACHE),
            (Mode::Cached, _) => Answer::Plain(quiet),
            (Mode::Direct | Mode::Through | Mode::ThroughDirect, _) => {
                Answer::Plain(quiet | FopenFlags::FOPEN_DIRECT_IO)
            }
        }
    }
}

/// `None` if even fstat(2) fails: then the file is as good as absent.
fn identity(file: &File) -> Option<FileId> {
    file.metadata().ok().map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use std::{
        os::fd::AsRawFd,
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;

    static NEXT: AtomicU64 = AtomicU64::new(1);

    fn files() -> Files<i32> {
        let kernel = Kernel::default();
        kernel.grant_passthrough();
        Files::new(kernel)
    }

    fn opened(node: u64, backing: Option<&Arc<File>>, write: bool) -> Opened {
        Opened {
            fh: Fh(NEXT.fetch_add(1, Ordering::Relaxed)),
            id: NodeId(node),
            size: THROUGH_MIN,
            write,
            backing: backing.cloned(),
            unchanged: false,
        }
    }

    fn local(path: &str) -> Arc<File> {
        Arc::new(File::open(path).unwrap())
    }

    #[expect(clippy::unnecessary_wraps, reason = "it has the shape of the system call")]
    fn register(file: &File) -> io::Result<i32> {
        Ok(file.as_raw_fd())
    }

    #[track_caller]
    fn through(answer: Answer<i32>) -> (FopenFlags, Arc<i32>) {
        match answer {
            Answer::Through(flags, id) => (flags, id),
            Answer::Plain(flags) => panic!("{flags:?}"),
        }
    }

    #[track_caller]
    fn plain(answer: &Answer<i32>) -> FopenFlags {
        match answer {
            Answer::Plain(flags) => *flags,
            Answer::Through(flags, _) => panic!("passthrough, {flags:?}"),
        }
    }

    #[test]
    fn one_registration_serves_all_opens_of_a_file() {
        let (files, cache) = (files(), "/proc/self/exe");
        let (flags, first) = through(files.open(&opened(2, Some(&local(cache)), false), register));
        assert_eq!(flags, FopenFlags::FOPEN_NOFLUSH);
        let (flags, again) =
            through(files.open(&opened(2, Some(&local(cache)), false), |_| panic!("it is registered already")));
        assert_eq!((flags, again), (FopenFlags::FOPEN_NOFLUSH, first));
    }

    #[test]
    fn another_version_beside_passthrough_comes_to_us() {
        let files = files();
        let (_, first) = through(files.open(&opened(2, Some(&local("/proc/self/exe")), false), register));
        let newer = opened(2, Some(&local("/etc/passwd")), false);
        let (flags, id) = through(files.open(&newer, |_| panic!("the kernel takes no second one")));
        assert_eq!((flags, id), (FopenFlags::FOPEN_NOFLUSH | FopenFlags::FOPEN_DIRECT_IO, first));
    }

    #[test]
    fn a_writer_beside_passthrough_comes_to_us_and_flushes() {
        let files = files();
        through(files.open(&opened(2, Some(&local("/proc/self/exe")), false), register));
        let (flags, _) = through(files.open(&opened(2, None, true), register));
        assert_eq!(flags, FopenFlags::FOPEN_DIRECT_IO);
    }

    #[test]
    fn the_registration_ends_with_the_last_passthrough_file() {
        let files = files();
        let (reader, writer) = (opened(2, Some(&local("/proc/self/exe")), false), opened(2, None, true));
        let (_, id) = through(files.open(&reader, register));
        through(files.open(&writer, register));
        files.close(reader.fh);
        assert_eq!(Arc::strong_count(&id), 2);
        files.close(writer.fh);
        assert_eq!(Arc::strong_count(&id), 1);
        assert!(files.lock().nodes.is_empty() && files.lock().files.is_empty());
    }

    #[test]
    fn nodes_do_not_disturb_each_other() {
        let files = files();
        through(files.open(&opened(2, Some(&local("/proc/self/exe")), false), register));
        assert_eq!(plain(&files.open(&opened(3, None, true), register)), FopenFlags::empty());
    }

    #[test]
    fn a_refused_registration_switches_passthrough_off() {
        let files = files();
        let first = opened(2, Some(&local("/proc/self/exe")), false);
        let answer = files.open(&first, |_| Err(io::Error::from_raw_os_error(libc::EPERM)));
        assert_eq!(plain(&answer), FopenFlags::FOPEN_NOFLUSH);
        assert!(!files.kernel.passthrough());
        let other = opened(3, Some(&local("/proc/self/exe")), false);
        assert_eq!(plain(&files.open(&other, |_| panic!("it is off"))), FopenFlags::FOPEN_NOFLUSH);
    }

    #[test]
    fn pages_of_the_same_version_stay() {
        let files = files();
        let small = Opened { size: 1, unchanged: true, ..opened(2, None, false) };
        let expect = FopenFlags::FOPEN_NOFLUSH | FopenFlags::FOPEN_KEEP_CACHE;
        assert_eq!(plain(&files.open(&small, register)), expect);
    }

    #[test]
    fn an_unknown_handle_closes_nothing() {
        let files = files();
        let reader = opened(2, None, false);
        files.open(&reader, register);
        files.close(Fh(u64::MAX));
        assert_eq!(files.lock().files.len(), 1);
    }
}
