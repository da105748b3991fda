//! What histories of many processes on several mounts brought to light.

use super::*;

/// Two hosts; the first one may show attributes that are a second old.
fn relaxed_and_strict() -> [Host; 2] {
    let bucket = bucket();
    [Host::with(&bucket, FsOptions { freshness: Freshness::default(), ..options() }), Host::new(&bucket)]
}

const APPEND: OpenMode = OpenMode { append: true, ..WRITE };

#[tokio::test]
async fn a_reader_that_closes_uploads_nothing_half_written() {
    let bucket = bucket();
    let [a, h] = [0; 2].map(|_| Host::new(&bucket));
    h.write("f", b"old").await.unwrap();
    let writing = a.open("f", TRUNCATE).await.unwrap();
    a.fs.write(writing.fh, 0, b("half"), false).await.unwrap();
    assert_eq!(&a.read("f").await.unwrap()[..], b"half", "one host is one file");
    assert_eq!(&h.read("f").await.unwrap()[..], b"old");
    a.fs.write(writing.fh, 4, b(" and half"), false).await.unwrap();
    a.close(writing).await.unwrap();
    assert_eq!(&h.read("f").await.unwrap()[..], b"half and half");
}

#[tokio::test]
async fn a_small_file_opened_for_writing_keeps_its_version() {
    let bucket = bucket();
    let [a, h] = [0; 2].map(|_| Host::new(&bucket));
    h.write("replaced", b"one").await.unwrap();
    h.write("removed", b"one").await.unwrap();
    let replaced = a.open("replaced", APPEND).await.unwrap();
    let removed = a.open("removed", APPEND).await.unwrap();
    h.write("replaced", b"another").await.unwrap();
    h.unlink("removed").await.unwrap();
    for (name, open) in [("replaced", replaced), ("removed", removed)] {
        a.fs.write(open.fh, 0, b(", two"), true).await.unwrap();
        a.close(open).await.unwrap();
        assert_eq!(&h.read(name).await.unwrap()[..], b"one, two", "the last close wins");
    }
    assert_eq!(a.lost(), 0);
}

/// The kernel comes back after the first `ESTALE` of an open(2), not after the second: what was fetched for its return
/// must not serve the next system call of the thread.
#[tokio::test]
async fn an_open_after_one_that_failed_asks_again() {
    let bucket = bucket();
    let [a, h] = [0; 2].map(|_| Host::new(&bucket));
    h.write("f", b"1").await.unwrap();
    let who = a.who();
    let first = a.walk("f", who).await.unwrap();
    a.fs.forget(first, u64::MAX);
    a.unlink("f").await.unwrap();
    h.write("f", b"22").await.unwrap();
    assert!(matches!(a.fs.open(first, READ, who).await, Err(Error::Stale)));
    let second = a.walk("f", who).await.unwrap();
    h.write("f", b"333").await.unwrap();
    assert!(matches!(a.fs.open(second, READ, who).await, Err(Error::Stale)));
    h.write("f", b"4444").await.unwrap();
    let mut opened = Err(Error::Stale);
    for _ in 0..2 {
        let id = a.walk("f", who).await.unwrap();
        opened = a.fs.open(id, READ, who).await;
        if opened.is_ok() {
            break;
        }
    }
    let opened = opened.unwrap();
    assert_eq!(&a.read_open(Open { fh: opened.fh, id: opened.id }).await.unwrap()[..], b"4444");
}

/// The kernel does not come back to an open when the name is gone by then.
#[tokio::test]
async fn an_open_that_was_given_up_leaves_nothing_to_the_next() {
    let [a, h] = relaxed_and_strict();
    for name in ["gone", "f"] {
        h.write(name, b"1").await.unwrap();
    }
    let who = a.who();
    let gone = a.walk("gone", who).await.unwrap();
    h.write("gone", b"22").await.unwrap();
    assert!(matches!(a.fs.open(gone, READ, who).await, Err(Error::Stale)));
    h.unlink("gone").await.unwrap();
    assert!(matches!(a.open("gone", READ).await, Err(Error::NotFound)), "another thread finds out");
    assert!(matches!(a.walk("gone", who).await, Err(Error::NotFound)));

    let f = a.walk("f", who).await.unwrap();
    h.write("f", b"22").await.unwrap();
    assert!(matches!(a.fs.open(f, READ, who).await, Err(Error::Stale)));
    let f = a.walk("f", who).await.unwrap();
    h.write("f", b"333").await.unwrap();
    let opened = a.fs.open(f, READ, who).await.expect("it comes back to what was fetched for it");
    assert_eq!(&a.read_open(Open { fh: opened.fh, id: opened.id }).await.unwrap()[..], b"22");
}

/// Nor when a signal ends the call; the next one may be an open of the same name.
#[tokio::test]
async fn what_was_fetched_for_an_open_serves_no_later_one() {
    let [a, h] = relaxed_and_strict();
    for name in ["f", "other"] {
        h.write(name, b"1").await.unwrap();
    }
    let who = a.who();
    let f = a.walk("f", who).await.unwrap();
    h.write("f", b"22").await.unwrap();
    assert!(matches!(a.fs.open(f, READ, who).await, Err(Error::Stale)));
    a.walk("other", who).await.unwrap();
    h.write("f", b"333").await.unwrap();
    let opened = a.open_by(who, "f", READ).await.unwrap();
    assert_eq!(&a.read_open(opened).await.unwrap()[..], b"333");
}

/// An open means the name: that another one has its node now does not make it current.
#[tokio::test]
async fn an_open_of_what_was_renamed_meanwhile_looks_again() {
    let [a, h] = relaxed_and_strict();
    a.mkdir("d").await.unwrap();
    a.write("d/f", b"1").await.unwrap();
    for (from, to, f) in [("d/f", "d/g", "d/f"), ("d", "e", "d/f")] {
        if from == "d" {
            a.rename("d/g", "d/f").await.unwrap();
        }
        let who = a.who();
        let id = a.walk(f, who).await.unwrap();
        a.rename(from, to).await.unwrap();
        if from == "d" {
            h.mkdir("d").await.unwrap();
        }
        h.write(f, b"22").await.unwrap();
        assert!(matches!(a.fs.open(id, READ, who).await, Err(Error::Stale)));
        let opened = a.open_by(who, f, READ).await.unwrap();
        assert_eq!(&a.read_open(opened).await.unwrap()[..], b"22");
        a.close(opened).await.unwrap();
        h.unlink(f).await.unwrap();
    }
}

/// A file that took a name before its first close stands for it: the object that is there still is nobody's any more.
#[tokio::test]
async fn what_a_dirty_file_replaced_goes_with_it() {
    let bucket = bucket();
    let [a, h] = [0; 2].map(|_| Host::new(&bucket));
    for moves in [false, true] {
        h.write("f", b"old").await.unwrap();
        let writing = a.open("tmp", WRITE).await.unwrap();
        a.fs.write(writing.fh, 0, b("new"), false).await.unwrap();
        a.rename("tmp", "f").await.unwrap();
        if moves {
            a.rename("f", "g").await.unwrap();
        } else {
            a.unlink("f").await.unwrap();
        }
        for host in [&a, &h] {
            assert!(matches!(host.read("f").await, Err(Error::NotFound)), "moves: {moves}");
        }
        a.close(writing).await.unwrap();
        for host in [&a, &h] {
            assert!(matches!(host.read("f").await, Err(Error::NotFound)), "moves: {moves}");
        }
    }
    assert_eq!(&h.read("g").await.unwrap()[..], b"new");
}

/// opendir(3) of a directory that another host took away: the kernel looks again, and learns that it is gone.
#[tokio::test]
async fn a_directory_that_is_gone_is_absent_at_the_second_look() {
    let [a, h] = relaxed_and_strict();
    h.mkdir("d").await.unwrap();
    h.write("d/f", b"1").await.unwrap();
    assert_eq!(a.ls("d").await.unwrap(), ["f"]);
    h.rename("d", "e").await.unwrap();
    let who = a.who();
    let d = a.walk("d", who).await.expect("attributes may be a second old");
    assert!(matches!(a.fs.opendir(d, a.who()).await, Err(Error::Stale)));
    assert!(matches!(a.walk("d", who).await, Err(Error::NotFound)));
}

/// A LIST finds an unknown directory; for the same open(2) it is the listing too, and for no other.
#[tokio::test]
async fn a_directory_is_listed_once_by_the_call_that_finds_it() {
    let a = Host::new(&bucket());
    for n in 0..3 {
        a.bucket.inner().put_foreign(&format!("site/d/{n}"), "x", crate::store::Headers::default());
    }
    a.stat("other").await.unwrap_err();
    a.requests();
    let (who, later) = (a.who(), a.who());
    let d = a.walk("d", who).await.unwrap();
    a.bucket.inner().put_foreign("site/d/3", "x", crate::store::Headers::default());
    let names = |entries: Vec<crate::fs::types::DirEntry>| entries.len() - 2;
    let fh = a.fs.opendir(d, who).await.unwrap();
    assert_eq!(names(a.fs.readdir(d, fh, 0, 10).await.unwrap()), 3, "as of its beginning");
    assert_eq!(a.requests(), [Op::List]);
    for who in [who, later] {
        let fh = a.fs.opendir(d, who).await.unwrap();
        assert_eq!(names(a.fs.readdir(d, fh, 0, 10).await.unwrap()), 4);
        assert_eq!(a.requests(), [Op::List]);
    }
}
