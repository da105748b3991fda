//! Multipart uploads: parts in any order, copied parts, conditions, abort.

use bytes::{Bytes, BytesMut};

use super::{
    Bench, Checked, Report, conditions::other_etag, exists, fails, not_found, objects::pattern, refused, same, stale,
};
use crate::store::{Headers, PART_MIN, Part, Require, Store, Upload};

pub(super) async fn all<S: Store>(bench: &Bench<'_, S>, report: &mut Report) {
    report.add("parts in any order make one object", assemble(bench).await);
    report.add("a part can be sent again", resend(bench).await);
    report.add("an abort leaves nothing", abort(bench).await);
    report.add("uploads are listed until they end", uploads(bench).await);
    report.add("wrong parts are refused", wrong_parts(bench).await);
    report.add("parts copied from an object", part_copy(bench).await);
    if !bench.quirks.small_parts {
        report.add("a small part before the last is refused", small_parts(bench).await);
    }
    if !bench.quirks.complete_require_ignored {
        report.add("an upload completes under a condition", conditions(bench).await);
    }
}

/// A part of the smallest size.
fn full_part() -> Bytes {
    pattern(usize::try_from(PART_MIN).expect("5 MiB"))
}

async fn begin<S: Store>(bench: &Bench<'_, S>, name: &str) -> Checked<Upload> {
    Ok(bench.store.begin(&bench.key(name), &Headers::default()).await?)
}

async fn assemble<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let user = [("mtime".to_owned(), "1700000000".to_owned())].into();
    let headers = Headers { content_type: Some("image/png".to_owned()), user, ..Headers::default() };
    let key = bench.key("mp/assembled+ 1");
    let upload = bench.store.begin(&key, &headers).await?;
    same("key of the upload", &upload.key, &key)?;
    let tail = bench.store.part(&upload, 3, Bytes::from_static(b"tail")).await?;
    let first = bench.store.part(&upload, 1, full_part()).await?;
    let second = bench.store.part(&upload, 2, full_part().slice(1..).into_iter().chain([7]).collect()).await?;
    same("number and size of a part", (tail.number, tail.size), (3, 4))?;
    fails("HEAD before it is complete", bench.store.head(&key).await, not_found)?;
    let stored = bench.store.complete(&upload, &[first, second, tail], Require::Anything).await?;
    let (object, bytes) = bench.get("mp/assembled+ 1").await?;
    same("size", object.version.size, 2 * PART_MIN + 4)?;
    same("version", object.version.same_content(&stored), true)?;
    same("headers", object.headers, headers)?;
    let mut want = BytesMut::from(&full_part()[..]);
    want.extend_from_slice(&full_part()[1..]);
    want.extend_from_slice(b"\x07tail");
    same("bytes", bytes == want, true)
}

async fn resend<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let upload = begin(bench, "mp/resend").await?;
    bench.store.part(&upload, 1, Bytes::from_static(b"old")).await?;
    let part = bench.store.part(&upload, 1, Bytes::from_static(b"new")).await?;
    bench.store.complete(&upload, &[part], Require::Anything).await?;
    same("bytes", &bench.get("mp/resend").await?.1[..], b"new")
}

async fn abort<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let upload = begin(bench, "mp/abort").await?;
    let part = bench.store.part(&upload, 1, Bytes::from_static(b"x")).await?;
    bench.store.abort(&upload).await?;
    bench.store.abort(&upload).await?;
    let late = bench.store.part(&upload, 2, Bytes::from_static(b"x")).await;
    fails("a part after the abort", late, not_found)?;
    fails("complete after the abort", bench.store.complete(&upload, &[part], Require::Anything).await, not_found)?;
    fails("HEAD", bench.store.head(&bench.key("mp/abort")).await, not_found)
}

async fn uploads<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let prefix = format!("{}mp/listed", bench.prefix);
    let (one, two) = (begin(bench, "mp/listed").await?, begin(bench, "mp/listed &+/2").await?);
    let sorted = |mut found: Vec<Upload>| {
        found.sort_by(|a, b| a.key.cmp(&b.key));
        found
    };
    same("two uploads", sorted(bench.store.uploads(&prefix).await?), [one.clone(), two.clone()])?;
    bench.store.abort(&one).await?;
    let part = bench.store.part(&two, 1, Bytes::from_static(b"x")).await?;
    same("one upload", bench.store.uploads(&prefix).await?, std::slice::from_ref(&two))?;
    bench.store.complete(&two, &[part], Require::Anything).await?;
    same("no upload", bench.store.uploads(&prefix).await?, [])
}

async fn wrong_parts<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let upload = begin(bench, "mp/wrong").await?;
    let part = bench.store.part(&upload, 1, Bytes::from_static(b"x")).await?;
    let other = Part { etag: other_etag(), ..part.clone() };
    fails("another ETag", bench.store.complete(&upload, &[other], Require::Anything).await, refused)?;
    let unsent = Part { number: 2, ..part.clone() };
    fails("a part not sent", bench.store.complete(&upload, &[unsent], Require::Anything).await, refused)?;
    fails("HEAD", bench.store.head(&bench.key("mp/wrong")).await, not_found)?;
    bench.store.complete(&upload, &[part], Require::Anything).await?;
    Ok(())
}

async fn part_copy<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let from = bench.key("mp/copy from");
    let body: Bytes = full_part().into_iter().chain(*b"more").collect();
    let source = bench.store.put(&from, body.clone(), &Headers::default(), Require::Anything).await?;
    let upload = begin(bench, "mp/copied").await?;
    if !bench.quirks.part_source_ignored {
        let other = bench.store.part_copy(&upload, 1, &from, 0..PART_MIN, &other_etag()).await;
        fails("the source at another version", other, stale)?;
    }
    let first = bench.store.part_copy(&upload, 1, &from, 1..PART_MIN + 1, &source.etag).await?;
    same("size of the copied part", first.size, PART_MIN)?;
    let tail = bench.store.part(&upload, 2, Bytes::from_static(b"tail")).await?;
    bench.store.complete(&upload, &[first, tail], Require::Anything).await?;
    let bytes = bench.get("mp/copied").await?.1;
    let split = body.len() - 3;
    same("bytes copied", bytes.slice(..split - 1) == body.slice(1..split), true)?;
    same("bytes behind", &bytes[split - 1..], b"tail")
}

async fn small_parts<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let upload = begin(bench, "mp/small").await?;
    let first = bench.store.part(&upload, 1, Bytes::from_static(b"abc")).await?;
    let second = bench.store.part(&upload, 2, Bytes::from_static(b"def")).await?;
    fails("complete", bench.store.complete(&upload, &[first, second], Require::Anything).await, refused)?;
    bench.store.abort(&upload).await?;
    Ok(())
}

async fn conditions<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let old = bench.put("mp/if", b"old").await?.etag;
    let upload = begin(bench, "mp/if").await?;
    let parts = [bench.store.part(&upload, 1, Bytes::from_static(b"new")).await?];
    fails("if absent", bench.store.complete(&upload, &parts, Require::Absent).await, exists)?;
    let other = bench.store.complete(&upload, &parts, Require::Version(other_etag())).await;
    fails("at another version", other, stale)?;
    same("bytes", &bench.get("mp/if").await?.1[..], b"old")?;
    // S3 keeps an upload whose condition failed; some servers end it, so another one is begun.
    bench.store.abort(&upload).await?;
    let upload = begin(bench, "mp/if").await?;
    let parts = [bench.store.part(&upload, 1, Bytes::from_static(b"new")).await?];
    bench.store.complete(&upload, &parts, Require::Version(old)).await?;
    same("bytes", &bench.get("mp/if").await?.1[..], b"new")
}
