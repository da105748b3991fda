//! Parts that left the disk before the file was closed.

use super::{large::noise, *};
use crate::{
    fs::types::SetTime,
    model::attr::Time,
    store::{Headers, faulty::Side},
};

const MIB: u64 = 1 << 20;
/// Bytes that may stay here.
const ROOM: u64 = 12 * MIB;
const SIZE: u64 = 41 * MIB + 3;

/// Bytes that the files of a directory take.
pub(super) fn on_disk(dir: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512).sum()
}

/// A file that was written from its start to its end, and is not closed.
async fn written(bucket: &Bucket) -> (Host, Open, Vec<u8>) {
    let host = Host::with(bucket, FsOptions { staging_size: Some(ROOM), ..options() });
    let open = host.open("f", TRUNCATE).await.unwrap();
    let whole = noise(SIZE, 1);
    for (at, chunk) in (0..).zip(whole.chunks(1 << 20)) {
        host.fs.write(open.fh, at * MIB, Bytes::copy_from_slice(chunk), false).await.unwrap();
        let staged = on_disk(&host.dir.join("staging"));
        // What may stay, the part that is being written, the write that completes it, and the note.
        assert!(staged <= ROOM + PART + MIB + 4096, "{staged} bytes at {at} MiB");
    }
    (host, open, whole)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(done: &Result<T>) {
    assert!(matches!(done, Err(Error::Unsupported)), "{done:?}");
}

#[tokio::test]
async fn a_long_stream_takes_little_room_and_is_whole() {
    let (host, open, mut whole) = written(&bucket()).await;
    // What is here can be changed: the header of a video, the last part.
    for at in [5, SIZE - 10] {
        host.fs.write(open.fh, at, b("changed"), false).await.unwrap();
        let at = usize::try_from(at).unwrap();
        whole[at..at + 7].copy_from_slice(b"changed");
    }
    assert_eq!(&host.fs.read(open.fh, 5, 7).await.unwrap()[..], b"changed");
    // What is not here is an error, and never zeros.
    refused(&host.fs.read(open.fh, 11 * MIB, 10).await);
    refused(&host.fs.read(open.fh, PART - 10, 20).await);
    refused(&host.fs.write(open.fh, 11 * MIB, b("x"), false).await);
    refused(&host.fs.fallocate(open.fh, 11 * MIB, 5, libc::FALLOC_FL_ZERO_RANGE).await);
    let cut = SetAttr { size: Some(11 * MIB), ..SetAttr::default() };
    refused(&host.fs.setattr(open.id, Some(open.fh), cut, host.who()).await);
    host.close(open).await.unwrap();
    assert!(host.bucket.inner().get_bytes("site/f").unwrap() == whole);
    assert!(host.read("f").await.unwrap() == whole);
    assert_eq!((host.bucket.inner().uploads_open(), host.lost()), (0, 0));
    assert_eq!(on_disk(&host.dir.join("staging")), 0);
}

#[tokio::test]
async fn a_stream_is_cut_at_the_edge_of_a_part_and_goes_on() {
    let (host, open, mut whole) = written(&bucket()).await;
    let cut = SetAttr { size: Some(3 * PART), ..SetAttr::default() };
    host.fs.setattr(open.id, Some(open.fh), cut, host.who()).await.unwrap();
    whole.truncate(usize::try_from(3 * PART).unwrap());
    for n in 0..12 {
        let chunk = noise(MIB, n + 50);
        host.fs.write(open.fh, 3 * PART + n * MIB, chunk.clone().into(), false).await.unwrap();
        whole.extend(chunk);
    }
    host.close(open).await.unwrap();
    assert!(host.bucket.inner().get_bytes("site/f").unwrap() == whole);
}

#[tokio::test]
async fn a_failed_close_keeps_the_upload_for_the_next() {
    for side in [Side::Before, Side::After] {
        let (host, open, whole) = written(&bucket()).await;
        host.bucket.fail(Some(Op::Complete), 1, side, lost_reply());
        assert!(matches!(host.fs.flush(open.fh).await, Err(Error::Unavailable(_))));
        host.close(open).await.unwrap();
        assert!(host.bucket.inner().get_bytes("site/f").unwrap() == whole, "{side:?}");
        assert_eq!((host.bucket.inner().uploads_open(), host.lost()), (0, 0));
    }
    // A part that fails is still here, and goes again.
    let (host, open, whole) = written(&bucket()).await;
    host.bucket.fail(Some(Op::Part), 1, Side::Before, lost_reply());
    assert!(host.fs.flush(open.fh).await.is_err());
    host.close(open).await.unwrap();
    assert!(host.bucket.inner().get_bytes("site/f").unwrap() == whole);
}

#[tokio::test]
async fn what_the_upload_alone_has_is_left_to_the_administrator() {
    let (host, open, _) = written(&bucket()).await;
    host.bucket.outage(Some(lost_reply()));
    host.close(open).await.unwrap_err();
    host.bucket.heal();
    assert_eq!((host.lost(), host.bucket.inner().uploads_open()), (1, 1));
    let files = std::fs::read_dir(host.dir.join("lost+found")).unwrap().map(|entry| entry.unwrap().path());
    let note = files.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "parts")).unwrap();
    let note: serde_json::Value = serde_json::from_slice(&std::fs::read(note).unwrap()).unwrap();
    assert_eq!(note["key"], "site/f");
    assert!(note["parts"].as_array().unwrap().len() >= 5, "{note}");
    // The next mount leaves it alone, too.
    assert_eq!(host.fs.abort_leftovers().await.unwrap(), 0);
    assert!(matches!(host.stat("f").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_stream_that_is_renamed_or_unlinked_is_whole_or_gone() {
    let (host, open, whole) = written(&bucket()).await;
    host.rename("f", "g").await.unwrap();
    host.fs.write(open.fh, 5, b("after"), false).await.unwrap();
    host.close(open).await.unwrap();
    let mut renamed = whole.clone();
    renamed[5..10].copy_from_slice(b"after");
    assert!(host.bucket.inner().get_bytes("site/g").unwrap() == renamed);
    assert_eq!(host.bucket.inner().keys(), ["site/g"]);

    let (host, open, whole) = written(&bucket()).await;
    host.mkdir("d").await.unwrap();
    host.rename("f", "d/f").await.unwrap();
    host.close(open).await.unwrap();
    assert!(host.read("d/f").await.unwrap() == whole);

    let (host, open, _) = written(&bucket()).await;
    host.unlink("f").await.unwrap();
    host.fs.write(open.fh, SIZE, b("more"), false).await.unwrap();
    host.close(open).await.unwrap();
    assert_eq!((host.bucket.inner().keys().len(), host.bucket.inner().uploads_open(), host.lost()), (0, 0, 0));
}

#[tokio::test]
async fn a_stream_below_a_renamed_directory_is_whole() {
    let host = Host::with(&bucket(), FsOptions { staging_size: Some(0), ..options() });
    host.mkdir("d").await.unwrap();
    let open = host.open("d/f", TRUNCATE).await.unwrap();
    let whole = noise(5 * PART, 9);
    for (at, chunk) in (0..).zip(whole.chunks(1 << 20)) {
        host.fs.write(open.fh, at * MIB, Bytes::copy_from_slice(chunk), false).await.unwrap();
    }
    host.rename("d", "e").await.unwrap();
    host.close(open).await.unwrap();
    assert!(host.bucket.inner().get_bytes("site/e/f").unwrap() == whole);
    assert!(host.bucket.inner().get_bytes("site/d/f").is_none());
}

#[tokio::test]
async fn a_time_that_is_set_on_a_stream_stays() {
    let (host, open, whole) = written(&bucket()).await;
    let set = SetAttr { mtime: Some(SetTime::At(Time::seconds(7))), ..SetAttr::default() };
    host.fs.setattr(open.id, Some(open.fh), set, host.who()).await.unwrap();
    host.close(open).await.unwrap();
    assert!(host.bucket.inner().get_bytes("site/f").unwrap() == whole);
    for host in [&host, &Host::new(&host.bucket)] {
        assert_eq!(host.stat("f").await.unwrap().attr.mtime.sec, 7);
    }
}

/// The headers of the object were fixed when its first part left. What the writer is shown meanwhile is what all are
/// shown afterwards.
#[tokio::test]
async fn the_time_of_a_stream_does_not_go_back_at_its_close() {
    let bucket = bucket();
    let exact = || FsOptions { mtime_ns: true, ..options() };
    let host = Host::with(&bucket, exact());
    let open = host.open("f", TRUNCATE).await.unwrap();
    let whole = noise(3 * PART, 1);
    let mut times = Vec::new();
    for (at, chunk) in (0..).zip(whole.chunks(1 << 20)) {
        host.fs.write(open.fh, at * MIB, Bytes::copy_from_slice(chunk), false).await.unwrap();
        times.push(host.fs.getattr(open.id, host.who()).await.unwrap().0.attr.mtime);
    }
    assert!(times.is_sorted(), "{times:?}");
    host.close(open).await.unwrap();
    for host in [&host, &Host::with(&bucket, exact())] {
        assert_eq!(Some(&host.stat("f").await.unwrap().attr.mtime), times.last());
    }
}

#[tokio::test]
async fn a_full_disk_lets_parts_go_before_it_refuses() {
    let bucket = bucket();
    let mut host = Host::new(&bucket);
    // The floor is above all that is free: there is room for nothing.
    let floor = CacheOptions { dir: host.dir.join("full"), size: Some(1 << 30), min_free: Some(u64::MAX / 2) };
    let contents = Contents::open(Arc::clone(&bucket), &floor, tokio::runtime::Handle::current()).unwrap();
    let open = host.open("f", TRUNCATE).await.unwrap();
    let whole = noise(5 * PART, 3);
    for (at, chunk) in (0..).zip(whole.chunks(1 << 20)) {
        host.fs.write(open.fh, at * MIB, Bytes::copy_from_slice(chunk), false).await.unwrap();
    }
    Arc::get_mut(&mut host.fs).expect("nobody else has it").contents = contents;
    let full = host.fs.write(open.fh, 5 * PART, b("x"), false).await;
    assert!(matches!(full, Err(Error::NoSpace)), "{full:?}");
    assert!(on_disk(&host.dir.join("staging")) <= 2 * PART + MIB, "the first part, and what is no whole one");
    // Without what did not fit it is a file again.
    let fits = SetAttr { size: Some(5 * PART), ..SetAttr::default() };
    host.fs.setattr(open.id, Some(open.fh), fits, host.who()).await.unwrap();
    host.close(open).await.unwrap();
    assert!(bucket.inner().get_bytes("site/f").unwrap() == whole);
}

/// The bytes are in the bucket by then: whoever replaces or deletes them before their attributes follow does so after
/// the close, as far as anybody can tell, and has attributes of its own.
#[tokio::test]
async fn attributes_that_follow_leave_alone_what_another_made_of_the_name() {
    for replaced in [false, true] {
        let (host, open, _) = written(&bucket()).await;
        let host = Arc::new(host);
        let set = SetAttr { mtime: Some(SetTime::At(Time::seconds(7))), ..SetAttr::default() };
        host.fs.setattr(open.id, Some(open.fh), set, host.who()).await.unwrap();
        let mut held = host.bucket.hold(Op::Head, Side::Before);
        let closing = tokio::spawn({
            let host = Arc::clone(&host);
            async move { host.close(open).await }
        });
        held.wait_arrived().await;
        let other = Host::new(&host.bucket);
        if replaced {
            host.bucket.inner().put_foreign("site/f", &b"theirs"[..], Headers::default());
        } else {
            host.bucket.inner().delete_foreign("site/f");
        }
        held.release();
        closing.await.unwrap().expect("what was written was in the bucket");
        if replaced {
            assert_ne!(other.stat("f").await.unwrap().attr.mtime.sec, 7);
        }
        for host in [&*host, &other] {
            assert_eq!(host.read("f").await.ok().as_deref(), replaced.then_some(&b"theirs"[..]));
        }
        assert_eq!(host.lost(), 0);
    }
}
