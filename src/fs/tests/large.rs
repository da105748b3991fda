//! Changes in large files: what is sent, what is copied, what is fetched, and what happens where that cannot be.

use proptest::prelude::*;
use tokio::time::timeout;

use super::{faults::at_every_request_of, *};
use crate::{
    fs::types::SetTime,
    model::attr::Time,
    store::{Headers, faulty::Side, memory::Traffic},
};

const MIB: u64 = 1 << 20;

/// Bytes that differ everywhere.
pub(super) fn noise(len: u64, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(usize::try_from(len).unwrap());
    bytes
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

/// `whole` over a bucket that has it, opened for writing; nothing is counted yet.
async fn opened(whole: &[u8]) -> (Host, Open) {
    let host = Host::new(&bucket());
    host.bucket.inner().put_foreign("site/f", whole.to_vec(), Headers::default());
    let open = host.open("f", WRITE).await.unwrap();
    host.bucket.take_calls();
    host.bucket.inner().take_traffic();
    (host, open)
}

fn counts(ops: &[Op], of: Op) -> usize {
    ops.iter().filter(|op| **op == of).count()
}

async fn patch(host: &Host, open: Open, whole: &mut [u8], offset: u64, len: u64) {
    let bytes = noise(len, offset + 1);
    whole[at(offset)..at(offset + len)].copy_from_slice(&bytes);
    host.fs.write(open.fh, offset, bytes.into(), false).await.unwrap();
}

#[track_caller]
fn same(host: &Host, whole: &[u8]) {
    assert!(host.bucket.inner().get_bytes("site/f").unwrap() == whole, "other bytes");
    assert_eq!(host.bucket.inner().uploads_open(), 0);
}

#[tokio::test]
async fn a_small_change_in_a_large_object_moves_only_its_neighbourhood() {
    let mut whole = noise(40 * MIB, 1);
    let (host, open) = opened(&whole).await;
    patch(&host, open, &mut whole, 20 * MIB + 77, 4096).await;
    host.close(open).await.unwrap();
    let (ops, traffic) = (host.requests(), host.bucket.inner().take_traffic());
    assert_eq!([Op::Begin, Op::PartCopy, Op::Part, Op::Complete].map(|op| counts(&ops, op)), [1, 2, 1, 1], "{ops:?}");
    assert_eq!(traffic.sent, PART);
    // The rest of the part, in whole blocks, and the head that tells the type.
    assert!(traffic.fetched <= PART + 3 * MIB, "{traffic:?}");
    same(&host, &whole);
}

#[tokio::test]
async fn truncation_and_append_of_a_large_object_send_next_to_nothing() {
    let mut whole = noise(30 * MIB, 2);
    let (host, open) = opened(&whole).await;
    host.close(open).await.unwrap();
    for size in [23 * MIB + 5, 33 * MIB] {
        host.set("f", SetAttr { size: Some(size), ..SetAttr::default() }).await.unwrap();
        whole.resize(at(size), 0);
        same(&host, &whole);
    }
    let traffic = host.bucket.inner().take_traffic();
    assert_eq!(traffic.sent, 10 * MIB - 5, "what was cut off and came back as zeros");
    for n in 0..3 {
        let open = host.open("f", OpenMode { append: true, ..WRITE }).await.unwrap();
        let line = noise(1000, n + 5);
        host.fs.write(open.fh, 0, line.clone().into(), true).await.unwrap();
        whole.extend_from_slice(&line);
        host.close(open).await.unwrap();
        same(&host, &whole);
    }
    let traffic = host.bucket.inner().take_traffic();
    assert_eq!(traffic, Traffic { sent: 3000, fetched: 0 }, "appends");
}

#[tokio::test]
async fn what_did_not_change_stays_in_the_cache() {
    let mut whole = noise(24 * MIB, 3);
    let (host, open) = opened(&whole).await;
    assert!(host.read("f").await.unwrap() == whole);
    host.bucket.inner().take_traffic();
    patch(&host, open, &mut whole, 10 * MIB, 4096).await;
    host.close(open).await.unwrap();
    assert!(host.read("f").await.unwrap() == whole);
    assert_eq!(host.bucket.inner().take_traffic(), Traffic { sent: PART, fetched: 0 });
    // Of what was never here only the new bytes are.
    let (host, open) = opened(&whole).await;
    patch(&host, open, &mut whole, 3 * MIB, MIB).await;
    host.close(open).await.unwrap();
    host.bucket.inner().take_traffic();
    let open = host.open("f", READ).await.unwrap();
    let bytes = host.fs.read(open.fh, 3 * MIB, 1 << 20).await.unwrap();
    assert!(bytes == whole[at(3 * MIB)..at(4 * MIB)]);
    assert_eq!(host.bucket.inner().take_traffic().fetched, 0);
    assert!(host.read_open(open).await.unwrap() == whole);
}

#[tokio::test]
async fn without_copies_of_ranges_everything_is_sent_and_that_is_remembered() {
    for (op, err) in [(Op::PartCopy, Error::Unsupported), (Op::Complete, Error::Invalid)] {
        let mut whole = noise(20 * MIB, 4);
        let (host, open) = opened(&whole).await;
        patch(&host, open, &mut whole, 6 * MIB, 100).await;
        host.bucket.fail(Some(op), 1, Side::Before, err);
        host.fs.fsync(open.fh).await.unwrap();
        same(&host, &whole);
        host.bucket.take_calls();
        patch(&host, open, &mut whole, 12 * MIB, 100).await;
        host.close(open).await.unwrap();
        assert_eq!(counts(&host.requests(), Op::PartCopy), 0);
        same(&host, &whole);
    }
}

#[tokio::test]
async fn a_base_that_another_host_replaced_is_never_mixed_in() {
    for (heedless, cached) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut whole = noise(20 * MIB, 5);
        let (host, open) = opened(&whole).await;
        if heedless {
            host.bucket.inner().ignore_copy_source();
        }
        if cached {
            assert!(host.read("f").await.unwrap() == whole);
        } else {
            // What is sent is here, what is copied is not.
            for block in [0, 6, 7, 8, 9, 10, 11] {
                host.fs.read(open.fh, block * MIB, 1 << 20).await.unwrap();
            }
        }
        patch(&host, open, &mut whole, 6 * MIB, 100).await;
        let other = noise(20 * MIB, 6);
        host.bucket.inner().put_foreign("site/f", other.clone(), Headers::default());
        let closed = host.close(open).await;
        if cached {
            closed.unwrap();
            same(&host, &whole);
        } else {
            assert!(matches!(closed, Err(Error::Stale)), "{closed:?}");
            same(&host, &other);
            assert_eq!(host.lost(), 1);
        }
    }
}

fn tiny() -> FsOptions {
    FsOptions { part_size: 64 << 10, ..options() }
}

#[tokio::test]
async fn a_change_of_a_large_object_leaves_the_old_or_the_new_one() {
    at_every_request_of(
        &tiny(),
        |bucket| {
            bucket.set_part_min(64 << 10);
            bucket.put_foreign("site/f", noise(2 * MIB, 7), Headers::default());
        },
        |host| async move {
            let open = host.open("f", WRITE).await?;
            let written = host.fs.write(open.fh, MIB, noise(100, 8).into(), false).await;
            let closed = host.close(open).await;
            written.map(drop).and(closed)
        },
        |fresh, done, host| async move {
            let old = noise(2 * MIB, 7);
            let mut new = old.clone();
            new[at(MIB)..at(MIB) + 100].copy_from_slice(&noise(100, 8));
            let content = fresh.read("f").await.unwrap();
            assert!(content == new || content == old && done.is_err(), "a mix, after {done:?}");
            assert!(host.read("f").await.unwrap() == content);
        },
    )
    .await;
}

#[tokio::test]
async fn what_the_store_cannot_hold_is_refused_before_it_is_taken() {
    let bucket = bucket();
    bucket.inner().set_part_min(10);
    bucket.inner().put_foreign("site/big", noise(200_000, 9), Headers::default());
    let host = Host::with(&bucket, FsOptions { part_size: 10, ..options() });
    let limit = 100_000;
    let open = host.open("f", WRITE).await.unwrap();
    let too_large = |done: Result<()>| assert!(matches!(done, Err(Error::TooLarge)), "{done:?}");
    too_large(host.fs.write(open.fh, limit - 1, b("ab"), false).await.map(drop));
    too_large(host.fs.write(open.fh, u64::MAX, b("ab"), false).await.map(drop));
    too_large(host.fs.fallocate(open.fh, limit, 1, 0).await);
    host.close(open).await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/f").unwrap().len(), 0);
    too_large(host.set("f", SetAttr { size: Some(limit + 1), ..SetAttr::default() }).await.map(drop));
    // A base that is larger than what could be sent.
    let open = host.open("big", WRITE).await.unwrap();
    too_large(host.fs.write(open.fh, 5, b("ab"), false).await.map(drop));
    host.close(open).await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/big").unwrap().len(), 200_000);
    host.set("big", SetAttr { size: Some(100), ..SetAttr::default() }).await.unwrap();
    assert_eq!(host.bucket.inner().get_bytes("site/big").unwrap().len(), 100);
}

#[tokio::test]
async fn readers_of_a_large_file_do_not_wait_for_its_upload_nor_behind_its_writers() {
    let host = Arc::new(Host::new(&bucket()));
    host.write("f", b"x").await.unwrap();
    let reader = host.open("f", READ).await.unwrap();
    let writer = host.open("f", WRITE).await.unwrap();
    host.fs.write(writer.fh, 0, noise(PART + 1, 10).into(), false).await.unwrap();
    let mut held = host.bucket.hold(Op::Complete, Side::Before);
    let close = {
        let host = Arc::clone(&host);
        tokio::spawn(async move { host.fs.flush(writer.fh).await })
    };
    held.wait_arrived().await;
    let write = {
        let host = Arc::clone(&host);
        tokio::spawn(async move { host.fs.write(writer.fh, 0, b("later"), false).await })
    };
    tokio::time::sleep(SHORT / 3).await;
    let read = timeout(SHORT, host.fs.read(reader.fh, 0, 3)).await;
    held.release();
    close.await.unwrap().unwrap();
    write.await.unwrap().unwrap();
    assert!(read.expect("the reader waits behind the writer").unwrap() == noise(3, 10));
    host.close(writer).await.unwrap();
    assert_eq!(&host.bucket.inner().get_bytes("site/f").unwrap()[..5], b"later");
}

#[tokio::test]
async fn zeros_and_holes_take_no_room() {
    let host = Host::new(&bucket());
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.write(open.fh, 0, noise(MIB, 11).into(), false).await.unwrap();
    let zero = libc::FALLOC_FL_ZERO_RANGE;
    host.fs.fallocate(open.fh, 1000, 20 << 30, zero).await.unwrap();
    assert!(released::on_disk(&host.dir.join("staging")) <= MIB);
    assert_eq!(host.fs.read(open.fh, 0, 1001).await.unwrap()[999..], [noise(1000, 11)[999], 0]);
    let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    host.fs.fallocate(open.fh, 10 << 30, 20 << 30, hole).await.unwrap();
    host.set_open(open, 6 * MIB).await;
    // Space that is asked for ahead changes nothing.
    host.fs.fallocate(open.fh, 0, 7 * MIB, libc::FALLOC_FL_KEEP_SIZE).await.unwrap();
    host.close(open).await.unwrap();
    let mut whole = noise(1000, 11);
    whole.resize(at(6 * MIB), 0);
    same(&host, &whole);
    assert!(host.read("f").await.unwrap() == whole);
    // Nothing changes, so nothing is sent.
    let open = host.open("f", WRITE).await.unwrap();
    host.fs.fallocate(open.fh, 0, MIB, 0).await.unwrap();
    host.bucket.take_calls();
    host.close(open).await.unwrap();
    assert_eq!(host.requests(), []);
}

impl Host {
    /// ftruncate(2).
    async fn set_open(&self, open: Open, size: u64) {
        let set = SetAttr { size: Some(size), mtime: Some(SetTime::At(Time::seconds(7))), ..SetAttr::default() };
        self.fs.setattr(open.id, Some(open.fh), set, self.who()).await.unwrap();
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write(u64, u64),
    Truncate(u64),
    Zero(u64, u64),
    Append(u64),
    Flush,
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => (0..900_000_u64, 1..40_000_u64).prop_map(|(at, len)| Act::Write(at, len)),
        2 => (0..900_000_u64).prop_map(Act::Truncate),
        1 => (0..900_000_u64, 1..200_000_u64).prop_map(|(at, len)| Act::Zero(at, len)),
        2 => (1..150_000_u64).prop_map(Act::Append),
        1 => Just(Act::Flush),
        2 => Just(Act::Reopen),
    ]
}

/// One file with tiny parts, and what it must be.
async fn run(base: u64, staging_size: Option<u64>, acts: &[Act]) {
    let bucket = bucket();
    bucket.inner().set_part_min(16 << 10);
    let mut model = noise(base, 12);
    bucket.inner().put_foreign("site/f", model.clone(), Headers::default());
    let host = Host::with(&bucket, FsOptions { part_size: 16 << 10, staging_size, ..options() });
    let mut open = host.open("f", if staging_size.is_some() { TRUNCATE } else { WRITE }).await.unwrap();
    if staging_size.is_some() {
        model.clear();
    }
    for (seed, act) in (20..).zip(acts) {
        let size = model.len() as u64;
        let done = match *act {
            Act::Write(at, len) => host.fs.write(open.fh, at, noise(len, seed).into(), false).await.map(drop),
            Act::Append(len) => host.fs.write(open.fh, size, noise(len, seed).into(), false).await.map(drop),
            Act::Truncate(size) => {
                let set = SetAttr { size: Some(size), ..SetAttr::default() };
                host.fs.setattr(open.id, Some(open.fh), set, host.who()).await.map(drop)
            }
            Act::Zero(at, len) => host.fs.fallocate(open.fh, at, len, libc::FALLOC_FL_ZERO_RANGE).await,
            Act::Flush => host.fs.flush(open.fh).await,
            Act::Reopen => {
                let closed = host.close(open).await;
                open = host.open("f", WRITE).await.unwrap();
                closed
            }
        };
        match (done, act) {
            (Ok(()), Act::Write(offset, len) | Act::Zero(offset, len)) => {
                let bytes = if matches!(act, Act::Zero(..)) { vec![0; at(*len)] } else { noise(*len, seed) };
                model.resize(model.len().max(at(offset + len)), 0);
                model[at(*offset)..at(offset + len)].copy_from_slice(&bytes);
            }
            (Ok(()), Act::Append(len)) => model.extend(noise(*len, seed)),
            (Ok(()), Act::Truncate(size)) => model.resize(at(*size), 0),
            (Ok(()), _) => {
                assert!(host.bucket.inner().get_bytes("site/f").unwrap() == model, "in the bucket after {act:?}");
            }
            // What is in the upload alone.
            (Err(Error::Unsupported), Act::Write(..) | Act::Truncate(_) | Act::Zero(..)) if staging_size.is_some() => {}
            (Err(err), _) => panic!("{act:?}: {err:?}"),
        }
        match host.read_open(open).await {
            Ok(read) => assert!(read == model, "after {act:?}"),
            Err(err) => assert!(staging_size.is_some() && matches!(err, Error::Unsupported), "{err:?}"),
        }
    }
    host.close(open).await.unwrap();
    assert!(host.bucket.inner().get_bytes("site/f").unwrap_or_default() == model);
    assert!(host.read("f").await.unwrap() == model);
    assert!(Host::new(&host.bucket).read("f").await.unwrap() == model);
    assert_eq!(host.bucket.inner().uploads_open(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn any_changes_of_a_large_object_make_the_file_of_a_local_disk(
        base in 1..600_000_u64,
        released in any::<bool>(),
        acts in prop::collection::vec(act(), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(base, released.then_some(300_000), &acts));
    }
}
