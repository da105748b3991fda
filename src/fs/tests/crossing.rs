//! Renames between the local store and the bucket, with failures, and with files that stay open.

use super::{
    local::{host, put, with},
    *,
};
use crate::store::faulty::Side;

fn count(requests: &[Op], op: Op) -> usize {
    requests.iter().filter(|seen| **seen == op).count()
}

#[tokio::test]
async fn a_held_file_that_gets_its_final_name_is_one_put() {
    let host = host("", "*.tmp");
    host.mkdir("filedir").await.unwrap();
    host.requests();
    host.write("filedir/c0ffee.tmp", b"content").await.unwrap();
    assert_eq!(&host.read("filedir/c0ffee.tmp").await.unwrap()[..], b"content");
    host.rename("filedir/c0ffee.tmp", "filedir/photo.jpg").await.unwrap();
    assert_eq!(&host.read("filedir/photo.jpg").await.unwrap()[..], b"content");
    let requests = host.requests();
    assert_eq!(count(&requests, Op::Put), 1);
    assert!(requests.iter().all(|op| matches!(op, Op::Put | Op::Head | Op::List)), "{requests:?}");
    let object = host.bucket.inner().object("site/filedir/photo.jpg").unwrap();
    assert_eq!(object.headers.content_type.as_deref(), Some("image/jpeg"));
    assert_eq!(object.headers.user["mode"], "33188");
    assert_eq!(host.bucket.inner().keys(), ["site/filedir/", "site/filedir/photo.jpg"]);
    assert!(matches!(host.stat("filedir/c0ffee.tmp").await, Err(Error::NotFound)));
    assert_eq!((host.here(), host.lost(), host.fs.staged()), (vec![], 0, (0, 0)));
    let shown = host.stat("filedir/photo.jpg").await.unwrap();
    assert_eq!(Host::new(&host.bucket).stat("filedir/photo.jpg").await.unwrap(), shown);
}

#[tokio::test]
async fn a_large_held_file_goes_up_in_parts() {
    let host = host("", "*.tmp");
    let open = host.open("x.tmp", WRITE).await.unwrap();
    let bytes = vec![b'x'; usize::try_from(PART).unwrap() + 5];
    host.fs.write(open.fh, 0, bytes.clone().into(), false).await.unwrap();
    host.close(open).await.unwrap();
    host.rename("x.tmp", "x.mp4").await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/x.mp4").unwrap(), bytes);
    assert_eq!((host.bucket.inner().uploads_open(), host.here()), (0, vec![]));
    host.requests();
    assert_eq!(host.read("x.mp4").await.unwrap(), bytes);
    assert_eq!(count(&host.requests(), Op::Get), 0, "what was here is not downloaded");
}

#[tokio::test]
async fn a_crossing_that_fails_leaves_the_held_file() {
    for side in [Side::Before, Side::After] {
        let host = host("", "*.tmp");
        put(&host, "site/target", b"old");
        host.write("x.tmp", b"new").await.unwrap();
        host.bucket.fail(Some(Op::Put), 1, side, lost_reply());
        assert!(matches!(host.rename("x.tmp", "target").await, Err(Error::Unavailable(_))));
        assert_eq!(&host.read("x.tmp").await.unwrap()[..], b"new");
        let there = host.bucket.inner().get_bytes("site/target").unwrap();
        assert_eq!(there, if side == Side::Before { "old" } else { "new" });
        assert_eq!((host.here(), host.lost(), host.fs.staged()), (vec!["x.tmp".to_owned()], 0, (0, 0)));
        host.rename("x.tmp", "target").await.unwrap();
        assert_eq!(host.bucket.inner().get_bytes("site/target").unwrap(), "new");
        assert_eq!(host.here(), [""; 0]);
    }
}

#[tokio::test]
async fn a_crash_in_a_crossing_leaves_the_held_file() {
    let options = || with("", "*.tmp");
    let host = Host::with(&bucket(), options());
    host.write("x.tmp", b"new").await.unwrap();
    let mut held = host.bucket.hold(Op::Put, Side::Before);
    let fs = Arc::clone(&host.fs);
    let rename = tokio::spawn(async move {
        let ends = [OsStr::new("x.tmp"), OsStr::new("x.jpg")].map(|name| (NodeId::ROOT, name));
        fs.rename(ends[0], ends[1], RenameMode::Replace).await
    });
    held.wait_arrived().await;
    rename.abort();
    assert!(rename.await.unwrap_err().is_cancelled());
    drop(held);
    let host = host.killed_for(options());
    assert_eq!((host.ls("").await.unwrap(), host.lost()), (vec!["x.tmp".to_owned()], 0));
    assert_eq!(&host.read("x.tmp").await.unwrap()[..], b"new");
}

#[tokio::test]
async fn a_file_open_for_writing_goes_on_in_the_bucket() {
    let host = host("", "*.tmp");
    let open = host.open("x.tmp", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("one"), false).await.unwrap();
    host.rename("x.tmp", "x.txt").await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/x.txt").unwrap(), "one");
    host.fs.write(open.fh, 3, b(" two"), false).await.unwrap();
    assert_eq!(&host.read_open(open).await.unwrap()[..], b"one two");
    assert_eq!(host.stat("x.txt").await.unwrap().attr.size, 7);
    host.close(open).await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/x.txt").unwrap(), "one two");
    assert_eq!((host.here(), host.lost(), host.fs.staged()), (vec![], 0, (0, 0)));
}

#[tokio::test]
async fn what_is_written_while_it_crosses_is_not_lost() {
    let host = Arc::new(host("", "*.tmp"));
    let open = host.open("x.tmp", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("one"), false).await.unwrap();
    let mut held = host.bucket.hold(Op::Put, Side::After);
    let renaming = Arc::clone(&host);
    let rename = tokio::spawn(async move { renaming.rename("x.tmp", "x.txt").await });
    held.wait_arrived().await;
    let fs = Arc::clone(&host.fs);
    let write = tokio::spawn(async move { fs.write(open.fh, 3, b(" two"), false).await });
    // Readers do not wait for the upload.
    assert_eq!(&host.fs.read(open.fh, 0, 3).await.unwrap()[..], b"one");
    held.release();
    rename.await.unwrap().unwrap();
    write.await.unwrap().unwrap();
    host.close(open).await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/x.txt").unwrap(), "one two");
    assert_eq!((host.here(), host.lost()), (vec![], 0));
}

#[tokio::test]
async fn an_object_that_becomes_local_is_here_before_it_goes() {
    let host = host("trash", "*.tmp");
    host.mkdir("trash").await.unwrap();
    put(&host, "site/dir/f.jpg", b"bytes");
    let shown = host.stat("dir/f.jpg").await.unwrap().attr.mtime;
    host.rename("dir/f.jpg", "trash/f.jpg").await.unwrap();
    assert_eq!(host.bucket.inner().keys(), ["site/dir/"]);
    assert_eq!(host.local_bytes("trash/f.jpg").unwrap(), b"bytes");
    assert_eq!(host.stat("trash/f.jpg").await.unwrap().attr.mtime, shown);
    assert_eq!(&host.read("trash/f.jpg").await.unwrap()[..], b"bytes");
    host.rename("trash/f.jpg", "dir/f.jpg").await.unwrap();
    assert_eq!(&Host::new(&host.bucket).read("dir/f.jpg").await.unwrap()[..], b"bytes");
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_does_not_become_local() {
    for there in [false, true] {
        let host = host("", "*.tmp");
        put(&host, "site/f", b"object");
        if there {
            host.write("x.tmp", b"local").await.unwrap();
        }
        let before = host.here();
        host.bucket.fail(Some(Op::Delete), 1, Side::Before, lost_reply());
        assert!(matches!(host.rename("f", "x.tmp").await, Err(Error::Unavailable(_))));
        assert_eq!((host.here(), &host.read("f").await.unwrap()[..]), (before, &b"object"[..]));
        assert_eq!(host.local_bytes("x.tmp").is_some_and(|bytes| bytes == b"local"), there);
        host.rename("f", "x.tmp").await.unwrap();
        assert_eq!((host.local_bytes("x.tmp").unwrap(), host.bucket.inner().keys()), (b"object".to_vec(), vec![]));
    }
}

#[tokio::test]
async fn an_open_object_goes_on_as_a_local_file() {
    let host = host("", "*.tmp");
    put(&host, "site/f", b"object");
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("O"), false).await.unwrap();
    let fresh = host.open("new", WRITE).await.unwrap();
    host.fs.write(fresh.fh, 0, b("never"), false).await.unwrap();
    host.requests();
    host.rename("new", "new.tmp").await.unwrap();
    assert!(!host.requests().iter().any(|op| matches!(op, Op::Put | Op::Delete)), "it was never uploaded");
    host.rename("f", "f.tmp").await.unwrap();
    for (open, path, text) in [(open, "f.tmp", "Object!"), (fresh, "new.tmp", "never!")] {
        let end = text.len() as u64 - 1;
        host.fs.write(open.fh, end, b("!"), false).await.unwrap();
        assert_eq!(host.read_open(open).await.unwrap(), text);
        host.close(open).await.unwrap();
        assert_eq!(host.local_bytes(path).unwrap(), text.as_bytes());
    }
    assert_eq!((host.bucket.inner().keys(), host.lost(), host.fs.staged()), (vec![], 0, (0, 0)));
}

#[tokio::test]
async fn a_crossing_replaces_its_target_or_refuses_to() {
    let host = host("", "*.tmp");
    put(&host, "site/f", b"old");
    put(&host, "site/g", b"object");
    host.write("x.tmp", b"new").await.unwrap();
    let reader = host.open("f", READ).await.unwrap();
    let refused = |from, to| host.rename_as(from, to, RenameMode::NoReplace);
    assert!(matches!(refused("x.tmp", "f").await, Err(Error::Exists)));
    assert!(matches!(refused("g", "x.tmp").await, Err(Error::Exists)));
    host.rename("x.tmp", "f").await.unwrap();
    assert_eq!(
        (&host.read_open(reader).await.unwrap()[..], &host.read("f").await.unwrap()[..]),
        (&b"old"[..], &b"new"[..])
    );
    host.close(reader).await.unwrap();
    host.write("y.tmp", b"shadowed").await.unwrap();
    host.rename("g", "y.tmp").await.unwrap();
    assert_eq!(
        (host.local_bytes("y.tmp").unwrap(), host.bucket.inner().keys()),
        (b"object".to_vec(), vec!["site/f".to_owned()])
    );
    refused("y.tmp", "z.tmp").await.unwrap();
    refused("z.tmp", "z").await.unwrap();
    assert_eq!(&Host::new(&host.bucket).read("z").await.unwrap()[..], b"object");
}

#[tokio::test]
async fn a_small_held_directory_crosses_file_by_file_and_a_large_one_is_left_to_mv() {
    let host = Host::with(&bucket(), FsOptions { rename_limit: 4, ..with("", "*.new:*.lock") });
    host.mkdir("build.new").await.unwrap();
    host.mkdir("build.new/css").await.unwrap();
    host.write("build.new/css/a.css", b"a{}").await.unwrap();
    let open = host.open("build.new/b.js", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, b("1"), false).await.unwrap();
    host.bucket.fail(Some(Op::Put), 3, Side::Before, lost_reply());
    assert!(host.rename("build.new", "build").await.is_err());
    assert_eq!((host.bucket.inner().keys(), host.here().len()), (vec![], 4));
    host.rename("build.new", "build").await.unwrap();
    host.fs.write(open.fh, 1, b("2"), false).await.unwrap();
    host.close(open).await.unwrap();
    let keys = ["site/build/", "site/build/b.js", "site/build/css/", "site/build/css/a.css"];
    assert_eq!((host.bucket.inner().keys(), host.here()), (keys.map(str::to_owned).to_vec(), vec![]));
    assert_eq!(
        host.bucket.inner().object("site/build/css/a.css").unwrap().headers.content_type.as_deref(),
        Some("text/css; charset=utf-8")
    );
    assert_eq!(
        (host.ls("build").await.unwrap(), &host.read("build/b.js").await.unwrap()[..]),
        (vec!["b.js".to_owned(), "css/".to_owned()], &b"12"[..])
    );

    host.mkdir("more.new").await.unwrap();
    host.write("more.new/x.lock", b"").await.unwrap();
    assert!(matches!(host.rename("more.new", "more").await, Err(Error::CrossDevice)), "part of it would stay here");
    host.unlink("more.new/x.lock").await.unwrap();
    for n in 0..5 {
        host.write(&format!("more.new/{n}"), b"").await.unwrap();
    }
    assert!(matches!(host.rename("more.new", "more").await, Err(Error::CrossDevice)));
    assert!(matches!(host.rename("build", "build.new").await, Err(Error::CrossDevice)));
}

#[tokio::test]
async fn symlinks_cross_too() {
    let host = host("", "*.tmp");
    let make = async |name: &str| {
        host.fs.symlink(NodeId::ROOT, OsStr::new(name), OsStr::new("to/where"), host.who()).await.unwrap()
    };
    make("l.tmp").await;
    assert_eq!(host.bucket.inner().keys(), [""; 0]);
    host.rename("l.tmp", "link").await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/link").unwrap(), "to/where");
    host.rename("link", "m.tmp").await.unwrap();
    let id = host.walk("m.tmp", host.who()).await.unwrap();
    assert_eq!((&host.fs.readlink(id).await.unwrap()[..], host.bucket.inner().keys()), (&b"to/where"[..], vec![]));
}

/// At whichever request the rename of a directory is killed, what is local-only below it is where the objects are.
#[tokio::test]
async fn local_names_follow_a_killed_rename_of_their_directory() {
    let mut moved = 0;
    for (n, side) in (1_u32..).flat_map(|n| [(n, Side::Before), (n, Side::After)]) {
        assert!(n < 100, "the rename makes no end of requests");
        let host = Arc::new(host("", "*.tmp"));
        put(&host, "site/a/1", b"one");
        put(&host, "site/a/2", b"two");
        host.write("a/x.tmp", b"local").await.unwrap();
        let mut stopped = host.bucket.stop_at(n.into(), side);
        let acting = Arc::clone(&host);
        let mut rename = tokio::spawn(async move { acting.rename("a", "b").await });
        let done = tokio::select! {
            done = &mut rename => Some(done.unwrap()),
            () = stopped.wait() => None,
        };
        if let Some(done) = done {
            done.unwrap();
            break;
        }
        rename.abort();
        assert!(rename.await.unwrap_err().is_cancelled());
        host.bucket.heal();
        let host = Arc::into_inner(host).expect("the rename has ended").killed();
        assert_eq!((host.fs.recover_renames().await.1, host.journals()), (0, 0), "request {n} {side:?}");
        let [there, other] = if host.bucket.inner().keys()[0].starts_with("site/a/") { ["a", "b"] } else { ["b", "a"] };
        moved += u32::from(there == "b");
        assert_eq!(host.ls(there).await.unwrap(), ["1", "2", "x.tmp"], "request {n} {side:?}");
        assert_eq!(&host.read(&format!("{there}/x.tmp")).await.unwrap()[..], b"local");
        assert!(matches!(host.stat(other).await, Err(Error::NotFound)));
    }
    assert!(moved > 0, "no kill came after the copies");
}
