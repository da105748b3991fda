//! Stored permissions: modes, owners, times and kinds are each object's own.

use super::*;
use crate::{
    fs::{lock, types::SetTime},
    model::attr::{Attr, Time},
    store::Headers,
};

fn stored() -> FsOptions {
    FsOptions { perms: Perms::Stored, mtime_ns: true, ..options() }
}

fn pair() -> (Host, Host) {
    let bucket = bucket();
    (Host::with(&bucket, stored()), Host::with(&bucket, stored()))
}

fn at(sec: i64, nsec: u32) -> SetTime {
    SetTime::At(Time { sec, nsec })
}

fn headers(user: &[(&str, &str)]) -> Headers {
    let user = user.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Headers { user, ..Headers::default() }
}

impl Host {
    async fn attr(&self, path: &str) -> Attr {
        self.stat(path).await.unwrap().attr
    }

    fn meta(&self, key: &str, name: &str) -> Option<String> {
        self.bucket.inner().object(key).unwrap().headers.user.get(name).cloned()
    }

    /// setattr(2) of a path, and the requests of that alone.
    async fn change(&self, path: &str, set: SetAttr) -> Vec<Op> {
        let id = self.walk(path, self.who()).await.unwrap();
        self.requests();
        self.fs.setattr(id, None, set, self.who()).await.unwrap();
        self.requests()
    }

    async fn special(&self, path: &str, mode: u32, rdev: u32) -> Result<()> {
        let (parent, name) = self.parent(path).await?;
        self.fs.mknod(parent, name, (mode, rdev), self.who()).await.map(drop)
    }
}

#[tokio::test]
async fn three_times_are_kept_and_each_moves_for_its_own_reason() {
    let (host, other) = pair();
    host.write("f", b"x").await.unwrap();
    let born = host.attr("f").await;
    assert_eq!(born.ctime, born.mtime);
    assert!(born.atime < born.mtime, "it was made before it was written");
    let set = SetAttr { atime: Some(at(1_000, 1)), mtime: Some(at(2_000, 2)), ..SetAttr::default() };
    assert_eq!(host.change("f", set).await, [Op::Head, Op::Copy]);
    let timed = host.attr("f").await;
    assert_eq!((timed.atime, timed.mtime), (Time { sec: 1_000, nsec: 1 }, Time { sec: 2_000, nsec: 2 }));
    assert!(timed.ctime > born.ctime);
    assert_eq!(host.change("f", SetAttr { mode: Some(0o600), ..SetAttr::default() }).await, [Op::Head, Op::Copy]);
    let moded = host.attr("f").await;
    assert_eq!((moded.atime, moded.mtime, moded.mode), (timed.atime, timed.mtime, 0o600));
    assert!(moded.ctime > timed.ctime);
    host.rename("f", "g").await.unwrap();
    let renamed = host.attr("g").await;
    assert!(renamed.ctime > moded.ctime);
    assert_eq!(renamed, Attr { ctime: renamed.ctime, ..moded });
    let set = SetAttr { atime: Some(at(-2, 500_000_000)), ..SetAttr::default() };
    host.change("g", set).await;
    let omitted = host.attr("g").await;
    assert_eq!((omitted.atime, omitted.mtime), (Time { sec: -2, nsec: 500_000_000 }, renamed.mtime));
    assert_eq!(&host.read("g").await.unwrap()[..], b"x");
    assert_eq!(host.attr("g").await, omitted, "reading moves nothing");
    let open = host.open("g", WRITE).await.unwrap();
    host.fs.write(open.fh, 1, b("y"), false).await.unwrap();
    host.close(open).await.unwrap();
    let written = host.attr("g").await;
    assert_eq!((written.atime, written.mtime), (omitted.atime, written.ctime));
    assert!(written.ctime > omitted.ctime);
    assert_eq!(other.attr("g").await, written);
    assert_eq!(host.meta("site/g", "atime").unwrap(), "-1.500000000");
    assert_eq!(host.meta("site/g", "ctime"), host.meta("site/g", "mtime"));
}

#[tokio::test]
async fn uniform_permissions_know_one_time_and_write_one() {
    let host = Host::new(&bucket());
    host.write("f", b"x").await.unwrap();
    assert_eq!((host.meta("site/f", "atime"), host.meta("site/f", "ctime")), (None, None));
    let set = SetAttr { mtime: Some(at(1_000, 0)), atime: Some(at(5, 0)), ..SetAttr::default() };
    assert_eq!(host.change("f", set).await, [Op::Head, Op::Copy]);
    assert_eq!(host.change("f", SetAttr { atime: Some(at(7, 0)), ..SetAttr::default() }).await, []);
    let attr = host.attr("f").await;
    assert_eq!(attr, attr.at(Time::seconds(1_000)));
    assert_eq!((host.meta("site/f", "atime"), host.meta("site/f", "ctime")), (None, None));
    // What a host with stored permissions wrote is neither shown nor lost.
    let user = [("atime", "5"), ("ctime", "6"), ("mtime", "7"), ("mode", "4480")];
    host.bucket.inner().put_foreign("site/theirs", b"".as_slice(), headers(&user));
    let attr = host.attr("theirs").await;
    assert_eq!(attr, attr.at(Time::seconds(7)));
    assert_eq!((attr.kind, attr.mode), (Kind::File, 0o644));
    host.change("theirs", SetAttr { mtime: Some(at(8, 0)), ..SetAttr::default() }).await;
    assert_eq!(host.meta("site/theirs", "atime").as_deref(), Some("5"));
    assert_eq!(host.meta("site/theirs", "mode").as_deref(), Some("4480"));
}

#[tokio::test]
async fn what_changes_nothing_costs_a_question_and_no_copy() {
    let (host, other) = pair();
    host.write("f", b"x").await.unwrap();
    let before = host.attr("f").await;
    let same = SetAttr { mode: Some(0o644), uid: Some(33), ..SetAttr::default() };
    assert_eq!(host.change("f", same).await, [Op::Head]);
    assert_eq!(host.attr("f").await, before);
    // What is known here may be wrong by now.
    let id = host.walk("f", host.who()).await.unwrap();
    other.change("f", SetAttr { mode: Some(0o600), ..SetAttr::default() }).await;
    host.fs.setattr(id, None, same, host.who()).await.unwrap();
    assert_eq!(other.attr("f").await.mode, 0o644);
}

#[tokio::test]
async fn what_is_set_before_the_close_goes_with_its_put() {
    let (host, other) = pair();
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("x"), false).await.unwrap();
    for set in [
        SetAttr { mode: Some(0o2750), ..SetAttr::default() },
        SetAttr { uid: Some(7), gid: Some(8), ..SetAttr::default() },
        SetAttr { atime: Some(at(1, 2)), mtime: Some(at(3, 4)), ..SetAttr::default() },
    ] {
        host.fs.setattr(open.id, Some(open.fh), set, host.who()).await.unwrap();
    }
    host.requests();
    host.close(open).await.unwrap();
    assert_eq!(host.requests(), [Op::Put]);
    let attr = other.attr("f").await;
    assert_eq!((attr.mode, attr.uid, attr.gid), (0o2750, 7, 8));
    assert_eq!((attr.atime, attr.mtime), (Time { sec: 1, nsec: 2 }, Time { sec: 3, nsec: 4 }));
    assert_eq!(host.attr("f").await, attr);
    // truncate(2) of what had set-user-ID: the kernel sends both at once.
    let set = SetAttr { size: Some(0), mode: Some(0o750), ..SetAttr::default() };
    assert_eq!(host.change("f", set).await, [Op::Head, Op::Put]);
    assert_eq!((other.attr("f").await.mode, other.attr("f").await.size), (0o750, 0));
}

#[tokio::test]
async fn a_mode_set_while_parts_are_on_their_way_is_the_one_that_stays() {
    let (host, other) = pair();
    let open = host.open("f", WRITE).await.unwrap();
    let part = Bytes::from(vec![7; usize::try_from(PART + 1).unwrap()]);
    host.fs.write(open.fh, 0, part, false).await.unwrap();
    assert_eq!(host.bucket.inner().uploads_open(), 1, "the first part is on its way");
    let set = SetAttr { mode: Some(0o600), ..SetAttr::default() };
    host.fs.setattr(open.id, Some(open.fh), set, host.who()).await.unwrap();
    host.close(open).await.unwrap();
    assert_eq!((other.attr("f").await.mode, other.attr("f").await.size), (0o600, PART + 1));
    assert_eq!(host.bucket.inner().uploads_open(), 0);
}

#[tokio::test]
async fn a_change_of_attributes_never_mixes_two_versions() {
    let nothing = SetAttr { mode: Some(0o644), ..SetAttr::default() };
    let touched = SetAttr { mtime: Some(at(5, 0)), ..SetAttr::default() };
    for (set, options) in [(nothing, stored()), (touched, stored()), (touched, options())] {
        let bucket = bucket();
        let (host, other) = (Host::with(&bucket, options.clone()), Host::with(&bucket, options));
        host.write("f", b"old content").await.unwrap();
        let open = host.open("f", READ).await.unwrap();
        other.write("f", b"new").await.unwrap();
        host.fs.setattr(open.id, None, set, host.who()).await.unwrap();
        assert_eq!(&host.read("f").await.unwrap()[..], b"new");
        assert_eq!(host.attr("f").await, other.attr("f").await);
        assert_eq!(&host.read_open(open).await.unwrap()[..], b"old content");
        host.close(open).await.unwrap();
        assert_eq!(&host.read("f").await.unwrap()[..], b"new");
    }
}

#[tokio::test]
async fn a_mode_of_zero_is_a_mode() {
    let (host, other) = pair();
    host.write("f", b"x").await.unwrap();
    host.mkdir("d").await.unwrap();
    for path in ["f", "d"] {
        host.change(path, SetAttr { mode: Some(0), ..SetAttr::default() }).await;
        assert_eq!((host.attr(path).await.mode, other.attr(path).await.mode), (0, 0), "{path}");
    }
    assert_eq!(host.meta("site/f", "mode").unwrap(), "32768");
    // Nobody said anything about these two.
    host.bucket.inner().put_foreign("site/zero", b"x".as_slice(), headers(&[("mode", "0")]));
    host.bucket.inner().put_foreign("site/none", b"x".as_slice(), headers(&[]));
    assert_eq!((host.attr("zero").await.mode, host.attr("none").await.mode), (0o644, 0o644));
}

#[tokio::test]
async fn pipes_sockets_and_devices_are_empty_objects() {
    let (host, other) = pair();
    let kinds = [
        ("pipe", libc::S_IFIFO, Kind::Fifo),
        ("socket", libc::S_IFSOCK, Kind::Socket),
        ("tty", libc::S_IFCHR, Kind::Char),
        ("disk", libc::S_IFBLK, Kind::Block),
    ];
    for (name, bits, kind) in kinds {
        host.requests();
        host.special(name, bits | 0o640, 0x103).await.unwrap();
        assert_eq!(host.requests(), [Op::Put]);
        let attr = other.attr(name).await;
        let rdev = if kind.is_device() { 0x103 } else { 0 };
        assert_eq!((attr.kind, attr.mode, attr.rdev, attr.size), (kind, 0o640, rdev, 0));
        assert_eq!(host.attr(name).await, attr);
        assert_eq!(host.meta(&format!("site/{name}"), "mode").unwrap(), (bits | 0o640).to_string());
        assert_eq!(host.meta(&format!("site/{name}"), "rdev").as_deref(), (rdev != 0).then_some("103"));
        assert!(matches!(host.open(name, READ).await.map(drop), Err(Error::Invalid)));
    }
    assert!(matches!(host.special("pipe", libc::S_IFIFO, 0).await, Err(Error::Exists)));
    host.rename("disk", "disc").await.unwrap();
    host.change("disc", SetAttr { uid: Some(7), ..SetAttr::default() }).await;
    let attr = other.attr("disc").await;
    assert_eq!((attr.kind, attr.rdev, attr.uid), (Kind::Block, 0x103, 7));
    other.unlink("disc").await.unwrap();
    assert!(matches!(host.stat("disc").await.map(drop), Err(Error::NotFound)));
}

#[tokio::test]
async fn kinds_are_nobodys_claim_where_permissions_are_uniform() {
    let (host, plain) = (Host::with(&bucket(), stored()), Host::new(&bucket()));
    for mode in [libc::S_IFIFO, libc::S_IFSOCK, libc::S_IFCHR, libc::S_IFBLK] {
        assert!(matches!(plain.special("x", mode | 0o600, 1).await, Err(Error::NotPermitted)));
        let user = headers(&[("mode", &(mode | 0o666).to_string()), ("rdev", "801")]);
        plain.bucket.inner().put_foreign("site/claim", b"".as_slice(), user.clone());
        assert_eq!(plain.attr("claim").await.kind, Kind::File);
        // Where they are stored, bytes are not hidden behind a claim.
        host.bucket.inner().put_foreign("site/bytes", b"bytes".as_slice(), user);
        assert_eq!((host.attr("bytes").await.kind, host.attr("bytes").await.mode), (Kind::File, 0o666));
        assert_eq!(&host.read("bytes").await.unwrap()[..], b"bytes");
    }
    assert_eq!(plain.bucket.inner().keys(), ["site/claim"]);
}

#[tokio::test]
async fn another_device_is_another_node() {
    let (host, other) = pair();
    host.special("tty", libc::S_IFCHR | 0o600, 0x103).await.unwrap();
    let id = host.walk("tty", host.who()).await.unwrap();
    let (parent, name) = host.parent("tty").await.unwrap();
    host.fs.lookup(parent, name, host.who()).await.unwrap(); // the kernel holds it
    other.unlink("tty").await.unwrap();
    other.special("tty", libc::S_IFCHR | 0o600, 0x105).await.unwrap();
    assert_eq!(host.attr("tty").await.rdev, 0x105);
    assert_ne!(host.walk("tty", host.who()).await.unwrap(), id);
}

#[tokio::test]
async fn a_listing_tells_the_kinds_that_are_known() {
    let (host, _) = pair();
    host.mkdir("d").await.unwrap();
    host.special("d/pipe", libc::S_IFIFO | 0o600, 0).await.unwrap();
    host.special("d/tty", libc::S_IFCHR | 0o600, 0x103).await.unwrap();
    host.write("d/file", b"x").await.unwrap();
    let id = host.walk("d", host.who()).await.unwrap();
    let kinds = async || {
        let fh = host.fs.opendir(id, host.who()).await.unwrap();
        let entries = host.fs.readdir(id, fh, 2, usize::MAX).await.unwrap();
        host.fs.releasedir(fh);
        entries.into_iter().map(|entry| entry.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds().await, [Kind::File, Kind::Fifo, Kind::Char]);
    // The kernel forgets them; the memory of names does not.
    for name in ["d/pipe", "d/tty"] {
        host.fs.forget(host.walk(name, host.who()).await.unwrap(), u64::MAX);
    }
    assert_eq!(kinds().await, [Kind::File, Kind::Fifo, Kind::Char]);
}

#[tokio::test]
async fn directories_that_hand_their_group_down() {
    let (host, _) = pair();
    host.mkdir("d").await.unwrap();
    host.change("d", SetAttr { mode: Some(0o2775), gid: Some(99), ..SetAttr::default() }).await;
    host.write("d/f", b"x").await.unwrap();
    host.mkdir("d/sub").await.unwrap();
    host.special("d/pipe", libc::S_IFIFO | 0o644, 0).await.unwrap();
    assert_eq!((host.attr("d/f").await.gid, host.attr("d/f").await.mode), (99, 0o644));
    assert_eq!((host.attr("d/pipe").await.gid, host.attr("d/pipe").await.mode), (99, 0o644));
    assert_eq!((host.attr("d/sub").await.gid, host.attr("d/sub").await.mode), (99, 0o2755));
}

/// What Drupal does for each compiled template: its file name is made of the directory's time.
async fn a_touched_directory_keeps_its_time(options: FsOptions, time: Time) {
    let bucket = bucket();
    let (host, other) = (Host::with(&bucket, options.clone()), Host::with(&bucket, options.clone()));
    host.mkdir("made").await.unwrap();
    host.bucket.inner().put_foreign("site/implicit/old.php", b"x".as_slice(), Headers::default());
    for dir in ["made", "implicit"] {
        host.write(&format!("{dir}/a.php"), b"x").await.unwrap();
        let set = SetAttr { mtime: Some(SetTime::At(time)), atime: Some(SetTime::At(time)), ..SetAttr::default() };
        assert_eq!(host.change(dir, set).await, [Op::Head, Op::Put], "{dir}");
        assert_eq!((host.attr(dir).await.mtime, other.attr(dir).await.mtime), (time, time), "{dir}");
        other.write(&format!("{dir}/b.php"), b"x").await.unwrap();
        host.unlink(&format!("{dir}/a.php")).await.unwrap();
        let remounted = Host::with(&bucket, options.clone());
        for host in [&host, &other, &remounted] {
            assert_eq!(host.attr(dir).await.mtime, time, "{dir}");
        }
    }
}

#[tokio::test]
async fn a_touched_directory_keeps_its_time_on_every_host() {
    a_touched_directory_keeps_its_time(options(), Time::seconds(1_234_567_890)).await;
    a_touched_directory_keeps_its_time(stored(), Time { sec: 1_234_567_890, nsec: 123_456_789 }).await;
}

#[tokio::test]
async fn a_directory_keeps_mode_owner_and_times_through_a_rename() {
    let (host, other) = pair();
    host.mkdir("d").await.unwrap();
    host.write("d/f", b"x").await.unwrap();
    let file = host.attr("d/f").await;
    let set = SetAttr { mode: Some(0o1770), uid: Some(7), mtime: Some(at(5, 6)), ..SetAttr::default() };
    host.change("d", set).await;
    let before = host.attr("d").await;
    host.rename("d", "e").await.unwrap();
    let after = host.attr("e").await;
    assert!(after.ctime > before.ctime);
    assert_eq!(after, Attr { ctime: after.ctime, ..before });
    assert_eq!((other.attr("e").await, other.attr("e/f").await), (after, file));
}

#[tokio::test]
async fn a_marker_with_content_keeps_it() {
    let (host, _) = pair();
    let typed = Headers { content_type: Some("application/x-directory".into()), ..Headers::default() };
    host.bucket.inner().put_foreign("site/d/", b"notes".as_slice(), typed);
    host.change("d", SetAttr { mode: Some(0o700), ..SetAttr::default() }).await;
    assert_eq!(host.attr("d").await.mode, 0o700);
    assert_eq!(host.bucket.inner().get_bytes("site/d/").as_deref(), Some(b"notes".as_slice()));
}

#[tokio::test]
async fn the_root_has_the_attributes_of_its_prefix() {
    let (host, other) = pair();
    let set = SetAttr { mode: Some(0o750), gid: Some(8), mtime: Some(at(5, 6)), ..SetAttr::default() };
    assert_eq!(host.change("", set).await, [Op::Head, Op::Put]);
    let attr = host.attr("").await;
    assert_eq!((attr.mode, attr.gid, attr.mtime), (0o750, 8, Time { sec: 5, nsec: 6 }));
    assert_eq!(other.attr("").await, attr);
    assert_eq!(host.ls("").await.unwrap(), Vec::<String>::new());
    // A bucket that does not answer leaves what was known.
    other.bucket.outage(Some(lost_reply()));
    other.fs.tree().get_mut(NodeId::ROOT).unwrap().payload.known.asked = None;
    assert_eq!(other.attr("").await, attr);
    other.bucket.outage(None);
    // With uniform permissions the root is the mount's, and costs nothing.
    let plain = Host::new(&host.bucket);
    plain.requests();
    assert_eq!((plain.attr("").await.mode, plain.attr("").await.mtime), (0o755, Time::default()));
    plain.change("", SetAttr { mtime: Some(at(9, 0)), ..SetAttr::default() }).await;
    assert_eq!((plain.attr("").await.mtime, plain.requests()), (Time::seconds(9), vec![]));
}

#[tokio::test]
async fn nonsense_in_the_metadata_is_passed_over_and_told_once() {
    let (host, _) = pair();
    let user = [("mtime", "yesterday"), ("mode", "rwx"), ("uid", "-1"), ("gid", "4294967295"), ("ctime", "1e9")];
    host.bucket.inner().set_time(Some(1_700_000_000));
    host.bucket.inner().put_foreign("site/f", b"x".as_slice(), headers(&user));
    for _ in 0..3 {
        let attr = host.attr("f").await;
        assert_eq!((attr.mode, attr.uid, attr.gid), (0o644, 33, 33));
        assert_eq!(attr, attr.at(Time::seconds(1_700_000_000)));
    }
    assert_eq!(lock(&host.fs.told).len(), 1);
    assert_eq!(&host.read("f").await.unwrap()[..], b"x");
}
