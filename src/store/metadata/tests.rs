use proptest::prelude::*;

use super::*;
use crate::{
    model::version::{ETag, Version},
    store::Headers,
};

fn user(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[track_caller]
fn check_mode(text: &str, kind: Option<Kind>, mode: Option<u32>) {
    let stored = read(&user(&[("mode", text)]));
    assert_eq!((stored.kind, stored.mode), (kind, mode), "{text}");
}

#[test]
fn modes_of_s3fs_and_of_worse_writers() {
    check_mode("33188", Some(Kind::File), Some(0o644));
    check_mode("16877", Some(Kind::Dir), Some(0o755));
    check_mode("41471", Some(Kind::Symlink), Some(0o777));
    check_mode("32768", Some(Kind::File), Some(0));
    check_mode("420", None, Some(0o644));
    check_mode("0100644", Some(Kind::File), Some(0o644));
    check_mode("100644", Some(Kind::File), Some(0o644));
    check_mode("0644", None, Some(0o644));
    check_mode("4480", Some(Kind::Fifo), Some(0o600));
    check_mode("49645", Some(Kind::Socket), Some(0o755));
    check_mode("8630", Some(Kind::Char), Some(0o666));
    check_mode("25008", Some(Kind::Block), Some(0o660));
    check_mode("40755", Some(Kind::Dir), Some(0o755)); // rclone: octal
    check_mode("120777", Some(Kind::Symlink), Some(0o777));
    check_mode("20666", Some(Kind::Char), Some(0o666));
    for nonsense in ["", "0", "rw-r--r--", "-1", "99999999999"] {
        check_mode(nonsense, None, None);
    }
}

#[test]
fn other_programs_metadata_are_read() {
    let gcloud = read(&user(&[
        ("goog-reserved-posix-mode", "644"),
        ("goog-reserved-posix-uid", "33"),
        ("goog-reserved-posix-gid", "34"),
        ("goog-reserved-file-mtime", "1700000000"),
    ]));
    assert_eq!((gcloud.mode, gcloud.uid, gcloud.gid), (Some(0o644), Some(33), Some(34)));
    assert_eq!(gcloud.mtime, Some(Time::seconds(1_700_000_000)));
    let attrs =
        "atime:1/ctime:2/gid:34/gname:www/md5:d41d8cd98f00b204e9800998ecf8427e/mode:33188/mtime:3/uid:33/uname:w";
    let s3cmd = read(&user(&[("s3cmd-attrs", attrs)]));
    assert_eq!((s3cmd.kind, s3cmd.mode), (Some(Kind::File), Some(0o644)));
    assert_eq!((s3cmd.uid, s3cmd.gid, s3cmd.mtime), (Some(33), Some(34), Some(Time::seconds(3))));
    assert_eq!((s3cmd.atime, s3cmd.ctime), (Some(Time::seconds(1)), Some(Time::seconds(2))));
    let s3sync = read(&user(&[("owner", "0x21"), ("group", "34"), ("permissions", "33188")]));
    assert_eq!((s3sync.uid, s3sync.gid, s3sync.mode), (Some(33), Some(34), Some(0o644)));
    let geesefs = read(&user(&[("--symlink-target", "../a%20b%25")]));
    assert_eq!((geesefs.kind, geesefs.symlink_target.as_deref()), (Some(Kind::Symlink), Some("../a b%")));
}

#[test]
fn nothing_stored_reads_as_nothing() {
    assert_eq!(read(&BTreeMap::new()), Stored::default());
}

#[track_caller]
fn check_marker(key: &str, size: u64, content_type: Option<&str>, expect: bool) {
    let version = Version { etag: ETag::new("\"e\""), modified: None, size };
    let headers = Headers { content_type: content_type.map(Into::into), ..Headers::default() };
    assert_eq!(
        is_dir_marker(&Key::new(key), &Object { version, headers, operation: None }),
        expect,
        "{key} {size} {content_type:?}"
    );
}

#[test]
fn markers_of_all_writers() {
    check_marker("a/", 0, None, true);
    check_marker("a/", 0, Some("binary/octet-stream"), true);
    check_marker("a/", 3, Some("text/plain"), false);
    check_marker("a/", 3, Some("application/x-directory"), true);
    check_marker("a", 0, Some("application/x-directory; charset=UTF-8"), true);
    check_marker("a", 0, Some("httpd/unix-directory"), true);
    check_marker("a", 0, None, false);
    check_marker("a", 3, Some("application/x-directory"), false);
}

#[test]
fn what_s3fs_writes_is_read() {
    let s3fs = read(&user(&[
        ("mode", "33188"),
        ("uid", "33"),
        ("gid", "34"),
        ("atime", "1700000001.000000001"),
        ("ctime", "1700000002.120000000"),
        ("mtime", "1700000000.500000000"),
    ]));
    assert_eq!((s3fs.kind, s3fs.mode, s3fs.uid, s3fs.gid), (Some(Kind::File), Some(0o644), Some(33), Some(34)));
    assert_eq!(s3fs.atime, Some(Time { sec: 1_700_000_001, nsec: 1 }));
    assert_eq!(s3fs.ctime, Some(Time { sec: 1_700_000_002, nsec: 120_000_000 }));
    assert_eq!(s3fs.mtime, Some(Time { sec: 1_700_000_000, nsec: 500_000_000 }));
}

#[test]
fn what_rclone_writes_with_metadata_is_read() {
    let rclone = read(&user(&[
        ("mode", "100640"),
        ("uid", "33"),
        ("gid", "34"),
        ("atime", "2023-11-14T23:13:21.5+01:00"),
        ("btime", "2023-11-14T22:13:21Z"),
        ("mtime", "1700000000.5"),
    ]));
    assert_eq!((rclone.kind, rclone.mode, rclone.uid, rclone.gid), (Some(Kind::File), Some(0o640), Some(33), Some(34)));
    assert_eq!(rclone.atime, Some(Time { sec: 1_700_000_001, nsec: 500_000_000 }));
    assert_eq!(rclone.mtime, Some(Time { sec: 1_700_000_000, nsec: 500_000_000 }));
}

#[test]
fn nonsense_is_named() {
    let sound = [("mode", "0"), ("uid", "33"), ("gid", ""), ("mtime", "1.5"), ("atime", "2023-11-14T23:13:21Z")];
    assert_eq!(broken(&user(&sound)), None);
    assert_eq!(broken(&user(&[("x-plugin", "?")])), None);
    for (name, value) in [
        ("mode", "rw-r--r--"),
        ("uid", "-1"),
        ("gid", "4294967295"),
        ("mtime", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("atime", "99999999999999999999"),
        ("ctime", "1e9"),
    ] {
        let user = user(&[(name, value)]);
        assert_eq!(broken(&user), Some((name, value)));
        assert_eq!(read(&user), Stored::default(), "{name} {value}");
    }
}

fn any_time() -> impl Strategy<Value = Time> {
    (-10_000_000_000..10_000_000_000_i64, 0..1_000_000_000_u32).prop_map(|(sec, nsec)| Time { sec, nsec })
}

fn any_attr() -> impl Strategy<Value = Attr> {
    let kinds = [Kind::File, Kind::Dir, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::Char, Kind::Block];
    let owner = (proptest::sample::select(kinds.to_vec()), 0..=0o7777_u32, 0..u32::MAX, 0..u32::MAX, any::<u32>());
    (owner, any_time(), any_time(), any_time()).prop_map(|((kind, mode, uid, gid, rdev), mtime, atime, ctime)| {
        let rdev = if kind.is_device() { rdev } else { 0 };
        Attr { kind, size: 0, mtime, atime, ctime, mode, uid, gid, rdev }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        attr in any_attr(), ns: bool, all: bool,
        foreign in proptest::collection::btree_map("x-[a-z]{1,8}", "[ -~]{0,20}", 0..4),
    ) {
        let mut user = foreign.clone();
        user.insert("mtime".into(), "7".into());
        write(&mut user, &attr, Keep { ns, all });
        let kept = |time: Time| if ns { time } else { time.whole() };
        prop_assert_eq!(broken(&user), None);
        prop_assert_eq!(read(&user), Stored {
            kind: Some(attr.kind),
            mode: Some(attr.mode),
            uid: Some(attr.uid),
            gid: Some(attr.gid),
            mtime: Some(kept(attr.mtime)),
            atime: all.then_some(kept(attr.atime)),
            ctime: all.then_some(kept(attr.ctime)),
            rdev: attr.kind.is_device().then_some(attr.rdev),
            symlink_target: None,
        });
        for (name, value) in &foreign {
            prop_assert_eq!(user.get(name), Some(value));
        }
        let names = 4 + 2 * usize::from(all) + usize::from(attr.kind.is_device());
        prop_assert_eq!(user.len(), foreign.len() + names);
    }

    #[test]
    fn no_metadata_panics(
        name in "(mode|uid|gid|mtime|atime|ctime|rdev|s3cmd-attrs|--symlink-target)", value in "\\PC{0,30}",
    ) {
        let user = user(&[(&name, &value)]);
        read(&user);
        broken(&user);
    }
}
