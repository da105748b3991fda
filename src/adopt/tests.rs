//! Adoption over a store in memory, with failures.

mod release;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::*;
use crate::{
    config::Perms,
    error::Error,
    model::{
        attr::Kind,
        patterns::{List, Patterns},
    },
    store::{
        Headers, Object,
        faulty::{Faulty, Side},
        memory::MemoryStore,
        metadata,
        op::Op,
        probe::Support,
    },
};

/// Bytes of a part: small, so that files of a few of them are made in no time.
const PART: u64 = 64 << 10;

/// A directory and a bucket.
struct Lab {
    dir: PathBuf,
    store: Arc<Faulty<MemoryStore>>,
    options: FsOptions,
    support: Support,
    overwrite: bool,
    since: Option<Time>,
}

impl Lab {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("originfs-adopt-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(unique);
        for name in ["in", "lanes"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        let store = MemoryStore::default();
        store.set_part_min(1);
        Self {
            dir,
            store: Arc::new(Faulty::new(store)),
            options: options(),
            support: Support::Yes,
            overwrite: false,
            since: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join("in").join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    fn adopter(&self) -> Arc<Adopter<Faulty<MemoryStore>>> {
        let support = self.support;
        let all = Conditional { absent: support, version: support, delete: support, copy: support, complete: support };
        Arc::new(Adopter {
            store: Arc::clone(&self.store),
            tree: Arc::new(Tree::open(&self.dir.join("in")).unwrap()),
            options: self.options.clone(),
            prefix: Prefix::parse("p").unwrap(),
            conditional: all,
            lanes: Arc::new(Lanes::new(&self.dir.join("lanes"), PART, 4)),
            overwrite: self.overwrite,
            since: self.since,
            seed: 7,
        })
    }

    async fn adopt(&self) -> Report {
        self.adopter().adopt(&mut Seen::new(), &Arc::default()).await.unwrap()
    }

    async fn prove(&self) -> (Report, Seen) {
        let mut seen = Seen::new();
        (self.adopter().look(Work::Prove, &mut seen, &Arc::default()).await.unwrap(), seen)
    }

    fn object(&self, name: &str) -> Object {
        self.store.inner().object(&format!("p/{name}")).unwrap_or_else(|| panic!("{:?}", self.store.inner().keys()))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.store.inner().get_bytes(&format!("p/{name}")).unwrap().to_vec()
    }

    fn puts(&self) -> usize {
        self.store.inner().take_calls().iter().filter(|call| matches!(call.op, Op::Put | Op::Complete)).count()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).ok();
    }
}

fn options() -> FsOptions {
    FsOptions { xattr: true, part_size: PART, ..FsOptions::plain() }
}

fn names(list: &report::List) -> Vec<&str> {
    list.names.iter().map(|line| line.path.as_str()).collect()
}

fn age(path: &Path) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_580_702_706, 123_456_789);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[tokio::test]
async fn everything_goes_up_as_a_mount_would_write_it() {
    let lab = Lab::new();
    lab.write("2026/a.jpg", b"picture");
    lab.write("2026/notes.txt", "caf\u{e9}");
    lab.write("zero", b"");
    fs::create_dir_all(lab.path("empty/deeper")).unwrap();
    symlink("2026/a.jpg", lab.path("link")).unwrap();
    age(&lab.path("2026/a.jpg"));
    let report = lab.adopt().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.files, report.uploaded, report.directories), (4, 4, 1));
    assert_eq!(lab.store.inner().keys(), ["p/2026/a.jpg", "p/2026/notes.txt", "p/empty/deeper/", "p/link", "p/zero"]);
    assert_eq!((lab.bytes("2026/a.jpg"), lab.bytes("link")), (b"picture".to_vec(), b"2026/a.jpg".to_vec()));
    let picture = lab.object("2026/a.jpg").headers;
    let user = [("gid", "33"), ("mode", "33188"), ("mtime", "1580702706"), ("uid", "33")];
    let user = user.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(picture, Headers { content_type: Some("image/jpeg".into()), user, ..Headers::default() });
    let type_of = |name: &str| lab.object(name).headers.content_type.unwrap();
    assert_eq!(type_of("2026/notes.txt"), "text/plain; charset=utf-8");
    assert_eq!(type_of("empty/deeper/"), "application/x-directory");
    assert_eq!(metadata::read(&lab.object("link").headers.user).kind, Some(Kind::Symlink));
}

#[tokio::test]
async fn stored_permissions_are_kept_of_files_and_directories() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut lab = Lab::new();
    lab.options = FsOptions { perms: Perms::Stored, mtime_ns: true, ..options() };
    lab.write("dir/file", b"x");
    age(&lab.path("dir/file"));
    fs::set_permissions(lab.path("dir/file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(lab.path("dir"), fs::Permissions::from_mode(0o2750)).unwrap();
    nix::unistd::mkfifo(&lab.path("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o620)).unwrap();
    let report = lab.adopt().await;
    assert!(report.is_complete() && report.files == 2 && report.directories == 1, "{report:?}");
    let stored = |name: &str| metadata::read(&lab.object(name).headers.user);
    let file = stored("dir/file");
    assert_eq!((file.mode, file.mtime.map(|time| time.nsec)), (Some(0o640), Some(123_456_789)));
    assert_eq!(stored("dir/").mode, Some(0o2750));
    assert_eq!(stored("pipe").kind, Some(Kind::Fifo));
}

#[tokio::test]
async fn what_is_there_is_not_sent_again() {
    let lab = Lab::new();
    lab.write("small", b"small");
    lab.write("large", vec![7; 3 * 65_536 + 5]);
    fs::create_dir(lab.path("empty")).unwrap();
    let first = lab.adopt().await;
    assert!(first.is_complete() && first.uploaded == 2, "{first:?}");
    assert_eq!((lab.puts(), lab.store.inner().uploads_open()), (3, 0));
    let again = lab.adopt().await;
    assert!(again.is_complete(), "{again:?}");
    assert_eq!((again.files, again.uploaded, again.directories, lab.puts()), (2, 0, 0, 0));
}

#[tokio::test]
async fn bytes_decide_where_an_etag_does_not() {
    let lab = Lab::new();
    lab.write("parts", vec![7; 100_000]);
    // Of parts that are not ours.
    let key = crate::model::key::Key::new("p/parts");
    let upload = lab.store.begin(&key, &Headers::default()).await.unwrap();
    let mut parts = Vec::new();
    for (number, len) in [(1, 30_000), (2, 70_000)] {
        parts.push(lab.store.part(&upload, number, vec![7; len].into()).await.unwrap());
    }
    lab.store.complete(&upload, &parts, crate::store::Require::Anything).await.unwrap();
    lab.puts();
    let report = lab.adopt().await;
    assert!(report.is_complete() && report.uploaded == 0, "{report:?}");
    assert_eq!(lab.puts(), 0);
    lab.write("parts", vec![8; 100_000]);
    assert_eq!(names(&lab.adopt().await.conflicts), ["parts"]);
}

#[tokio::test]
async fn conflicts_are_told_and_left() {
    let mut lab = Lab::new();
    let foreign = |key: &str, bytes: &'static str| lab.store.inner().put_foreign(key, bytes, Headers::default());
    let before = foreign("p/other", "theirs");
    foreign("p/size", "12345");
    foreign("p/file-there/below", "x");
    foreign("p/dir-there", "x");
    lab.write("other", b"mine!!");
    lab.write("size", b"1");
    lab.write("file-there", b"x");
    lab.write("dir-there/below", b"x");
    lab.write("fine", b"x");
    let report = lab.adopt().await;
    assert_eq!(names(&report.conflicts), ["dir-there", "file-there", "other", "size"]);
    assert!(report.verified && !report.is_complete() && report.files == 1);
    assert_eq!(lab.object("other").version, before);
    assert!(!lab.store.inner().keys().contains(&"p/dir-there/below".to_owned()));
    lab.overwrite = true;
    let report = lab.adopt().await;
    assert_eq!((names(&report.conflicts), lab.bytes("other")), (vec!["dir-there", "file-there"], b"mine!!".to_vec()));
}

#[tokio::test]
async fn what_no_mount_could_keep_is_told() {
    use std::os::unix::ffi::OsStrExt as _;
    let mut lab = Lab::new();
    let list = |text: &str| List::parse(text).unwrap();
    lab.options.patterns = Patterns { local: list("php:*.log"), hold: list("*.tmp") };
    lab.write("php/x.php", b"x");
    lab.write("a/debug.log", b"x");
    lab.write("held.tmp", b"x");
    lab.write(".originfs/x", b"x");
    fs::write(lab.dir.join("in").join(std::ffi::OsStr::from_bytes(b"caf\xe9")), b"x").unwrap();
    lab.write(&[["d".repeat(250).as_str(); 4].join("/"), "x".repeat(100)].join("/"), b"x");
    nix::unistd::mkfifo(&lab.path("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let report = lab.adopt().await;
    assert_eq!(report.unfit.count, 3, "{report:?}");
    let why: Vec<_> = report.unfit.names.iter().map(|line| line.why.split(':').next().unwrap()).collect();
    assert!(why.contains(&"its name is not UTF-8") && why.contains(&"the key would be too long"), "{why:?}");
    assert_eq!((report.files, report.local), (1, 2));
    // A directory with nothing but local-only names is an empty one elsewhere.
    assert!(lab.store.inner().keys().starts_with(&["p/a/".to_owned()]) && lab.bytes("held.tmp") == b"x");
}

/// Stopped at each call in turn, and begun again: the end is as if nothing had happened.
#[tokio::test]
async fn a_run_that_is_killed_anywhere_is_continued() {
    for (side, n) in [Side::Before, Side::After].into_iter().flat_map(|side| (1..14).map(move |n| (side, n))) {
        let lab = Lab::new();
        (0..6).for_each(|n| lab.write(&format!("d{n}/{n}"), n.to_string()));
        lab.write("large", vec![1; 150_000]);
        let mut stopped = lab.store.stop_at(n, side);
        let adopter = lab.adopter();
        let run = tokio::spawn(async move { adopter.adopt(&mut Seen::new(), &Arc::default()).await.map(drop) });
        stopped.wait().await;
        run.abort();
        run.await.ok();
        lab.store.heal();
        lab.adopter().lanes.abort_leftovers(&*lab.store).await.unwrap();
        let report = lab.adopt().await;
        assert!(report.is_complete() && report.files == 7, "{n} {side:?} {report:?}");
        assert_eq!(lab.store.inner().keys().len(), 7);
        let puts = lab.store.inner().take_calls().iter().filter(|call| call.op == Op::Put).count();
        assert_eq!(puts, 6, "{n} {side:?}");
    }
}

#[tokio::test]
async fn a_bucket_that_fails_is_told_and_the_next_run_goes_on() {
    let lab = Lab::new();
    (0..100).for_each(|n| lab.write(&format!("{n}"), n.to_string()));
    lab.store.fail(Some(Op::Put), 3, Side::Before, Error::unavailable("500"));
    let report = lab.adopt().await;
    assert!(report.is_complete(), "one failure is tried again: {report:?}");
    (0..100).for_each(|n| lab.write(&format!("more/{n}"), n.to_string()));
    for n in 20..200 {
        lab.store.fail(Some(Op::Put), n, Side::Before, Error::unavailable("500"));
    }
    let report = lab.adopt().await;
    assert!(report.stopped.is_some() && !report.is_complete() && report.failed.count >= 32, "{report:?}");
    lab.store.heal();
    let report = lab.adopt().await;
    assert!(report.is_complete() && report.files == 200, "{report:?}");
}

#[tokio::test]
async fn a_lost_answer_is_no_second_upload() {
    for support in [Support::Yes, Support::Refused] {
        let mut lab = Lab::new();
        lab.support = support;
        lab.write("a", b"a");
        lab.store.fail(Some(Op::Put), 1, Side::After, Error::unavailable("reset"));
        let report = lab.adopt().await;
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(lab.puts(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_at_once_upload_each_file_once() {
    let lab = Lab::new();
    (0..200).for_each(|n| lab.write(&format!("{}/{n}", n % 7), n.to_string()));
    let (one, two) = tokio::join!(lab.adopt(), lab.adopt());
    assert!(one.is_complete() && two.is_complete(), "{one:?} {two:?}");
    assert_eq!((one.files, two.files, one.uploaded + two.uploaded), (200, 200, 200));
    assert_eq!(lab.store.inner().keys().len(), 200);
}

#[tokio::test]
async fn a_file_that_changes_after_its_upload_is_sent_again() {
    let lab = Lab::new();
    lab.write("a", b"one");
    let (adopter, mut seen) = (lab.adopter(), Seen::new());
    assert!(adopter.adopt(&mut seen, &Arc::default()).await.unwrap().is_complete());
    lab.write("a", b"two");
    lab.write("new", b"new");
    let report = adopter.adopt(&mut seen, &Arc::default()).await.unwrap();
    assert!(report.is_complete() && report.uploaded == 2, "{report:?}");
    assert_eq!((lab.bytes("a"), lab.bytes("new")), (b"two".to_vec(), b"new".to_vec()));
    // But not if somebody else changed the object as well.
    lab.write("a", b"three");
    lab.store.inner().put_foreign("p/a", "theirs", Headers::default());
    let report = adopter.adopt(&mut seen, &Arc::default()).await.unwrap();
    assert_eq!((names(&report.conflicts), lab.bytes("a")), (vec!["a"], b"theirs".to_vec()));
}

#[tokio::test]
async fn a_look_changes_nothing() {
    let lab = Lab::new();
    lab.write("a", b"a");
    lab.write("b", b"b");
    fs::create_dir(lab.path("empty")).unwrap();
    lab.store.inner().put_foreign("p/b", "b", Headers::default());
    let report = lab.adopter().look(Work::Look, &mut Seen::new(), &Arc::default()).await.unwrap();
    assert_eq!((names(&report.missing), report.files), (vec!["a", "empty/"], 1));
    assert_eq!(lab.puts(), 0);
}
