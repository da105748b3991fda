//! Single objects: bytes, ranges, headers, copies, deletes.

use bytes::Bytes;

use super::{Bench, Checked, Failure, Report, fails, not_found, refused, same};
use crate::{
    error::Error,
    store::{Copy, Get, Got, Headers, Object, PAGE_MAX, Require, Store},
};

pub(super) async fn all<S: Store>(bench: &Bench<'_, S>, report: &mut Report) {
    report.add("what was put is got", round_trip(bench).await);
    report.add("an overwrite replaces bytes and headers", overwrite(bench).await);
    report.add("a missing key is not found", missing(bench).await);
    report.add("ranges", ranges(bench).await);
    report.add("a large body arrives whole", large(bench).await);
    report.add("headers and metadata are kept", headers(bench).await);
    report.add("storage class and redirect are kept", class_and_redirect(bench).await);
    report.add("2 KB of metadata are kept", fat_metadata(bench).await);
    report.add("a copy replaces all headers", copy(bench).await);
    report.add("a copy onto itself changes headers only", copy_onto_itself(bench).await);
    report.add("a delete removes, also what is not there", delete(bench).await);
    report.add("a batch delete of 1000 keys", delete_many(bench).await);
}

/// Every field that all servers keep.
fn full_headers() -> Headers {
    let user = [("mtime", "1700000000.123456789"), ("mode", "33188"), ("with-dash", "two words, and more")];
    Headers {
        content_type: Some("image/x-test; q=1".to_owned()),
        cache_control: Some("public, max-age=31536000, immutable".to_owned()),
        content_disposition: Some("attachment; filename=\"a b.png\"".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        content_language: Some("de".to_owned()),
        expires: Some("Wed, 21 Oct 2035 07:28:00 GMT".to_owned()),
        user: user.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..Headers::default()
    }
}

async fn round_trip<S: Store>(bench: &Bench<'_, S>) -> Checked {
    for (name, body) in [("empty", &b""[..]), ("one", b"1"), ("text", b"some bytes")] {
        let stored = bench.put(name, body).await?;
        same("modified of a PUT", stored.modified, None)?;
        same("size of a PUT", stored.size, body.len() as u64)?;
        let (object, bytes) = bench.get(name).await?;
        same("bytes", &bytes[..], body)?;
        same("HEAD", bench.store.head(&bench.key(name)).await?, object.clone())?;
        same("version of GET", object.version.same_content(&stored), true)?;
        same("quotes of the ETag", object.version.etag.as_str().starts_with('"'), true)?;
        // 2020-09-13: before that no server of ours existed.
        same("Last-Modified is told", object.version.modified.is_some_and(|sec| sec > 1_600_000_000), true)?;
    }
    Ok(())
}

async fn overwrite<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let key = bench.key("over");
    let first = bench.store.put(&key, Bytes::from_static(b"first"), &full_headers(), Require::Anything).await?;
    let second = bench.put("over", b"second").await?;
    same("a new ETag", first.etag == second.etag, false)?;
    let (object, bytes) = bench.get("over").await?;
    same("bytes", &bytes[..], b"second")?;
    same("user metadata", object.headers.user.len(), 0)?;
    same("Cache-Control", object.headers.cache_control, None)
}

async fn missing<S: Store>(bench: &Bench<'_, S>) -> Checked {
    fails("HEAD", bench.store.head(&bench.key("missing")).await, not_found)?;
    fails("GET", bench.get("missing").await, not_found)?;
    let copy = bench.store.copy(&bench.key("missing"), &bench.key("target"), Copy::default()).await;
    fails("COPY", copy, not_found)
}

async fn ranges<S: Store>(bench: &Bench<'_, S>) -> Checked {
    bench.put("range", b"0123456789").await?;
    let part = |range| Get { range: Some(range), ..Get::default() };
    for (range, want) in [(0..10, "0123456789"), (0..1, "0"), (3..7, "3456"), (9..10, "9"), (7..100, "789")] {
        let (object, bytes) = bench.get_part("range", part(range)).await?;
        same("bytes", &bytes[..], want.as_bytes())?;
        same("size of the whole", object.version.size, 10)?;
    }
    for range in [10..11, 50..60] {
        let got = bench.get_part("range", part(range)).await;
        fails("a range behind the end", got, |err| matches!(err, Error::NoPosition))?;
    }
    bench.put("empty", b"").await?;
    let got = bench.get_part("empty", part(0..1)).await;
    fails("a range of nothing", got, |err| matches!(err, Error::NoPosition))
}

async fn large<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let body = pattern(3_000_001);
    bench.store.put(&bench.key("large"), body.clone(), &Headers::default(), Require::Anything).await?;
    let Got::Bytes(object, mut stream) = bench.store.get(&bench.key("large"), Get::default()).await? else {
        return Err(Failure::new("304"));
    };
    same("size", object.version.size, 3_000_001)?;
    let mut at = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        same("a chunk is in place", body.get(at..at + chunk.len()) == Some(&chunk[..]), true)?;
        at += chunk.len();
    }
    same("all chunks", at, body.len())
}

/// Bytes that are not the same anywhere else.
pub(super) fn pattern(len: usize) -> Bytes {
    (0..len).map(|at| u8::try_from((at ^ (at >> 8) ^ (at >> 16)) & 0xff).expect("one byte")).collect()
}

async fn headers<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let key = bench.key("headers");
    bench.store.put(&key, Bytes::from_static(b"x"), &full_headers(), Require::Anything).await?;
    same("HEAD", bench.store.head(&key).await?.headers, full_headers())?;
    same("GET", bench.get("headers").await?.0.headers, full_headers())
}

async fn class_and_redirect<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let key = bench.key("class");
    let mut headers = Headers::default();
    if !bench.quirks.no_storage_class {
        headers.storage_class = Some("STANDARD_IA".to_owned());
    }
    if !bench.quirks.no_redirect {
        headers.redirect = Some("/somewhere/else".to_owned());
    }
    bench.store.put(&key, Bytes::from_static(b"x"), &headers, Require::Anything).await?;
    let kept = bench.store.head(&key).await?.headers;
    same("storage class", kept.storage_class, headers.storage_class)?;
    same("redirect", kept.redirect, headers.redirect)
}

async fn fat_metadata<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let user = [("long".to_owned(), "x".repeat(2040))].into();
    let headers = Headers { user, ..Headers::default() };
    bench.store.put(&bench.key("fat"), Bytes::new(), &headers, Require::Anything).await?;
    same("kept whole", bench.store.head(&bench.key("fat")).await?.headers.user, headers.user)
}

async fn copy<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let (from, to) = (bench.key("copy from"), bench.key("copy/to+%20"));
    bench.store.put(&from, Bytes::from_static(b"content"), &full_headers(), Require::Anything).await?;
    let user = [("new".to_owned(), "1".to_owned())].into();
    let headers = Headers { content_type: Some("text/plain".to_owned()), user, ..Headers::default() };
    let stored = bench.store.copy(&from, &to, Copy { headers: Some(headers.clone()), ..Copy::default() }).await?;
    let Object { version, headers: kept, .. } = bench.store.head(&to).await?;
    same("headers", kept, headers)?;
    same("version", version.same_content(&stored), true)?;
    same("bytes", &bench.get("copy/to+%20").await?.1[..], b"content")?;
    same("source", bench.store.head(&from).await?.headers, full_headers())
}

async fn copy_onto_itself<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let key = bench.key("self");
    let before = bench.store.put(&key, Bytes::from_static(b"content"), &full_headers(), Require::Anything).await?;
    let mut headers = full_headers();
    headers.user.insert("mode".to_owned(), "33152".to_owned());
    let source = Some(before.etag.clone());
    let copy = Copy { headers: Some(headers.clone()), source, ..Copy::default() };
    let after = bench.store.copy(&key, &key, copy).await?;
    same("ETag stays", after.etag.unquoted(), before.etag.unquoted())?;
    let (object, bytes) = bench.get("self").await?;
    same("headers", object.headers, headers)?;
    same("bytes", &bytes[..], b"content")
}

async fn delete<S: Store>(bench: &Bench<'_, S>) -> Checked {
    bench.put("delete", b"x").await?;
    for _ in 0..2 {
        bench.store.delete(&bench.key("delete"), Require::Anything).await?;
        fails("HEAD", bench.store.head(&bench.key("delete")).await, not_found)?;
    }
    let absent = bench.store.delete(&bench.key("delete"), Require::Absent).await;
    fails("a delete of what must be absent makes no sense", absent, refused)
}

async fn delete_many<S: Store>(bench: &Bench<'_, S>) -> Checked {
    for name in ["many/1", "many/a&<>\"' b", "many/2"] {
        bench.put(name, b"x").await?;
    }
    bench.put("many-stays", b"x").await?;
    let names = ["many/1", "many/a&<>\"' b", "many/2"].into_iter().map(|name| bench.key(name));
    let missing = (3..PAGE_MAX).map(|n| bench.key(&format!("many/missing/{n}")));
    let keys: Vec<_> = names.chain(missing).collect();
    let failed = bench.store.delete_many(&keys).await?;
    same("keys that failed", failed.len(), 0)?;
    for key in &keys[..3] {
        fails("HEAD", bench.store.head(key).await, not_found)?;
    }
    bench.store.head(&bench.key("many-stays")).await?;
    same("no keys at all", bench.store.delete_many(&[]).await?.len(), 0)
}
