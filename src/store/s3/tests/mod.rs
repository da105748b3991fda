//! What the store makes of answers that real servers give on bad days.

mod acl;
mod check;
mod fake;
mod lifecycle;
mod live;

use std::time::Duration;

use bytes::Bytes;

use self::fake::{Fake, Reply, header, object, options, passwd, refuse, say};
use super::S3Store;
use crate::{
    clock,
    config::{Checksum, CredentialSource},
    error::{Error, Result},
    model::{key::Key, version::ETag},
    store::{
        Copy, Get, Got, Headers, List, Part, Require, Store, Upload,
        probe::{Conditional, Support},
    },
};

const BODY: Bytes = Bytes::from_static(b"hello");

fn key() -> Key {
    Key::new("dir/a b.jpg")
}

async fn put(store: &S3Store, require: Require) -> Result<String> {
    let stored = store.put(&key(), BODY, &Headers::default(), require).await?;
    Ok(stored.etag.as_str().to_owned())
}

async fn read(store: &S3Store, get: Get) -> Result<Bytes> {
    match store.get(&key(), get).await? {
        Got::Bytes(_, body) => body.collect().await,
        Got::Same { .. } => panic!("not asked for"),
    }
}

#[tokio::test]
async fn slow_down_is_tried_again() {
    let fake = Fake::start(vec![refuse("503 Slow Down", "SlowDown", "less"), object("hello")]).await;
    assert_eq!(read(&fake.store().await, Get::default()).await.unwrap(), "hello");
    assert_eq!(fake.seen().len(), 2);
}

#[tokio::test]
async fn slow_down_to_the_end_keeps_its_cause() {
    let slow = refuse("503 Slow Down", "SlowDown", "less");
    let fake = Fake::start(vec![slow.clone(), slow]).await;
    let err = fake.store().await.head(&key()).await.unwrap_err();
    assert!(matches!(err, Error::Unavailable(_)), "{err:?}");
    let err =
        read(&Fake::start(vec![refuse("503 x", "SlowDown", "less"); 2]).await.store().await, Get::default()).await;
    assert_eq!(err.unwrap_err().to_string(), "GetObject: SlowDown: less (HTTP 503), 2 attempts");
}

#[tokio::test]
async fn silence_ends_in_time_and_is_not_absence() {
    let fake = Fake::start(vec![Reply::Stall(String::new()); 9]).await;
    let store = fake.store().await;
    let begun = clock::now();
    for outcome in [store.head(&key()).await.map(drop), read(&store, Get::default()).await.map(drop)] {
        assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    }
    assert!(clock::now() - begun < options(0).timeout * 2 + Duration::from_secs(1));
}

#[tokio::test]
async fn only_404_of_the_key_is_absence() {
    let fake = Fake::start(vec![
        say("404 Not Found", &[], ""),
        refuse("404 Not Found", "NoSuchKey", "gone"),
        refuse("404 Not Found", "NoSuchBucket", "gone"),
        say("404 Not Found", &["Content-Type: text/html"], "<html>nothing here</html>"),
    ])
    .await;
    let store = fake.store().await;
    assert!(matches!(store.head(&key()).await, Err(Error::NotFound)));
    assert!(matches!(read(&store, Get::default()).await, Err(Error::NotFound)));
    let err = read(&store, Get::default()).await.unwrap_err();
    assert_eq!(err.to_string(), "GetObject: no such bucket (NoSuchBucket)");
    assert!(matches!(store.list(List::default()).await, Err(Error::Unavailable(_))), "an empty mount would be a lie");
}

#[tokio::test]
async fn a_body_that_ends_early_goes_on_where_it_broke() {
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"abc\"\r\n\r\n0123".to_owned();
    let rest = say("206 Partial Content", &["ETag: \"abc\"", "Content-Range: bytes 4-9/10"], "456789");
    let fake = Fake::start(vec![Reply::Say(short.clone()), rest]).await;
    assert_eq!(read(&fake.store().await, Get::default()).await.unwrap(), "0123456789");
    let again = &fake.seen()[1];
    assert_eq!(header(again, "range").as_deref(), Some("bytes=4-9"));
    assert_eq!(header(again, "if-match").as_deref(), Some("\"abc\""));

    let fake = Fake::start(vec![Reply::Say(short.clone()), refuse("412 x", "PreconditionFailed", "no")]).await;
    assert!(matches!(read(&fake.store().await, Get::default()).await, Err(Error::Stale)));
    let other = say("206 Partial Content", &["ETag: \"new\"", "Content-Range: bytes 4-9/10"], "456789");
    let fake = Fake::start(vec![Reply::Say(short.clone()), other]).await;
    assert!(matches!(read(&fake.store().await, Get::default()).await, Err(Error::Stale)), "If-Match was ignored");
    let less =
        "HTTP/1.1 206 x\r\nContent-Length: 6\r\nETag: \"abc\"\r\nContent-Range: bytes 4-9/10\r\n\r\n45".to_owned();
    let fake = Fake::start(vec![Reply::Say(short), Reply::Say(less)]).await;
    let err = read(&fake.store().await, Get::default()).await.unwrap_err();
    assert!(err.to_string().ends_with("4 bytes missing"), "{err}");
}

#[tokio::test]
async fn a_body_that_stalls_is_an_error_in_time() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"abc\"\r\n\r\n0123".to_owned();
    let fake = Fake::start(vec![Reply::Stall(head), Reply::Stall(String::new()), Reply::Stall(String::new())]).await;
    let begun = clock::now();
    let err = read(&fake.store().await, Get::default()).await.unwrap_err();
    assert!(matches!(err, Error::Unavailable(_)), "{err:?}");
    assert!(clock::now() - begun < options(0).timeout * 3);
}

#[tokio::test]
async fn ranges_are_checked() {
    let part =
        |range: &str| say("206 Partial Content", &["ETag: \"abc\"", &format!("Content-Range: bytes {range}")], "456");
    let fake =
        Fake::start(vec![part("4-6/100"), part("0-2/100"), object("0123456"), refuse("416 x", "InvalidRange", "no")]);
    let fake = fake.await;
    let store = fake.store().await;
    let get = Get { range: Some(4..7), ..Get::default() };
    let Got::Bytes(object, body) = store.get(&key(), get.clone()).await.unwrap() else { panic!("bytes") };
    assert_eq!((object.version.size, body.collect().await.unwrap()), (100, Bytes::from_static(b"456")));
    assert!(matches!(read(&store, get.clone()).await, Err(Error::Unavailable(_))), "another range");
    assert!(matches!(read(&store, get.clone()).await, Err(Error::Unavailable(_))), "the whole instead of a range");
    assert!(matches!(read(&store, get).await, Err(Error::NoPosition)));
}

#[tokio::test]
async fn unchanged_and_changed() {
    let modified = "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT";
    let fake = Fake::start(vec![
        Reply::Say(format!("HTTP/1.1 304 Not Modified\r\n{modified}\r\nETag: \"abc\"\r\nConnection: close\r\n\r\n")),
        refuse("412 Precondition Failed", "PreconditionFailed", "no"),
    ])
    .await;
    let store = fake.store().await;
    let get = Get { if_none_match: Some(ETag::new("\"abc\"")), ..Get::default() };
    let got = store.get(&key(), get).await.unwrap();
    assert!(matches!(got, Got::Same { modified: Some(1_700_000_000) }), "{got:?}");
    let get = Get { if_match: Some(ETag::new("\"abc\"")), ..Get::default() };
    assert!(matches!(read(&store, get).await, Err(Error::Stale)));
}

#[tokio::test]
async fn an_error_inside_200_is_an_error() {
    let inside = refuse("200 OK", "InternalError", "try again");
    let fake = Fake::start(vec![inside; 6]).await;
    let store = fake.store().await;
    let err = store.copy(&key(), &Key::new("to"), Copy::default()).await.unwrap_err();
    assert_eq!(err.to_string(), "CopyObject: InternalError: try again (HTTP 200), 2 attempts");
    let upload = Upload { key: key(), id: "u".into() };
    let part = Part { number: 1, etag: ETag::new("\"p\""), size: 5, crc32: None };
    let err = store.complete(&upload, &[part], Require::Anything).await.unwrap_err();
    assert!(err.to_string().contains("InternalError"), "{err}");
    let err = store.part_copy(&upload, 1, &key(), 0..5, &ETag::new("\"abc\"")).await.unwrap_err();
    assert!(err.to_string().contains("InternalError"), "{err}");
}

#[tokio::test]
async fn a_refused_repetition_of_our_own_write_is_success() {
    let refused = refuse("412 Precondition Failed", "PreconditionFailed", "exists");
    let fake = Fake::start(vec![Reply::Lose, refused.clone(), Reply::EchoOp]).await;
    assert_eq!(put(&fake.store().await, Require::Absent).await.unwrap(), "\"won\"");
    let fake = Fake::start(vec![refused.clone(), say("200 OK", &["ETag: \"x\"", "x-amz-meta-op: other"], "")]).await;
    assert!(matches!(put(&fake.store().await, Require::Absent).await, Err(Error::Exists)));
    let fake = Fake::start(vec![refused.clone(), say("200 OK", &["ETag: \"x\""], "")]).await;
    assert!(matches!(put(&fake.store().await, Require::Version(ETag::new("\"a\""))).await, Err(Error::Stale)));
    let fake = Fake::start(vec![refused, refuse("403 Forbidden", "AccessDenied", "no")]).await;
    assert!(matches!(put(&fake.store().await, Require::Absent).await, Err(Error::Denied)), "the outcome is not known");
}

#[tokio::test]
async fn an_upload_that_was_completed_before_its_answer_was_lost() {
    let begun =
        say("200 OK", &[], "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>");
    let gone = refuse("404 Not Found", "NoSuchUpload", "gone");
    let fake = Fake::start(vec![begun, Reply::Lose, gone, Reply::EchoOp]).await;
    let store = fake.store().await;
    let upload = store.begin(&key(), &Headers::default()).await.unwrap();
    let part = Part { number: 1, etag: ETag::new("\"p\""), size: 5, crc32: None };
    let stored = store.complete(&upload, &[part], Require::Anything).await.unwrap();
    assert_eq!(stored.etag.as_str(), "\"won\"");
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_is_done() {
    let gone = refuse("404 Not Found", "NoSuchKey", "gone");
    let version = Require::Version(ETag::new("\"a\""));
    let fake = Fake::start(vec![Reply::Lose, gone.clone(), gone]).await;
    let store = fake.store().await;
    store.delete(&key(), version.clone()).await.unwrap();
    assert!(matches!(store.delete(&key(), version).await, Err(Error::NotFound)));
}

#[tokio::test]
async fn conflict_is_tried_until_it_passes() {
    let mut replies = vec![refuse("409 Conflict", "ConditionalRequestConflict", "busy"); 3];
    replies.push(say("200 OK", &["ETag: \"e\""], ""));
    let fake = Fake::start(replies).await;
    assert_eq!(put(&fake.store().await, Require::Absent).await.unwrap(), "\"e\"", "more often than retries=2");
}

#[tokio::test]
async fn what_a_put_sends() {
    let fake = Fake::start(vec![say("200 OK", &["ETag: \"e\""], ""); 3]).await;
    let mut options = options(fake.port);
    options.acl = Some("public-read".into());
    options.storage_class = Some("STANDARD_IA".into());
    options.requester_pays = true;
    let store = S3Store::connect("photos", &options).await.unwrap();
    let mut headers =
        Headers { content_type: Some("image/jpeg".into()), expires: Some("soon".into()), ..Headers::default() };
    headers.user.insert("mtime".into(), "7".into());
    let version = Require::Version(ETag::new("\"abc\""));
    store.put(&key(), BODY, &headers, version.clone()).await.unwrap();
    store.set_conditions(Conditional { version: Support::Unquoted, ..Conditional::default() });
    store.put(&key(), BODY, &headers, version).await.unwrap();
    store.put(&key(), BODY, &headers, Require::Absent).await.unwrap();
    let seen = fake.seen();
    assert!(seen[0].starts_with("PUT /photos/dir/a%20b.jpg"), "{}", seen[0]);
    for (name, value) in [
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
        ("content-type", "image/jpeg"),
        ("expires", "soon"),
        ("if-match", "\"abc\""),
        ("x-amz-acl", "public-read"),
        ("x-amz-meta-mtime", "7"),
        ("x-amz-request-payer", "requester"),
        ("x-amz-storage-class", "STANDARD_IA"),
    ] {
        assert_eq!(header(&seen[0], name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(header(&seen[0], "x-amz-meta-op").map(|op| op.len()), Some(32));
    assert_eq!(header(&seen[0], "x-amz-checksum-crc32"), None);
    assert_eq!(header(&seen[1], "if-match").as_deref(), Some("abc"));
    assert_eq!(header(&seen[2], "if-none-match").as_deref(), Some("*"));
}

#[tokio::test]
async fn crc32_instead_of_md5() {
    let fake = Fake::start(vec![say("200 OK", &["ETag: \"e\""], "")]).await;
    let options = crate::config::S3Options { checksum: Checksum::Crc32, ..options(fake.port) };
    put(&S3Store::connect("photos", &options).await.unwrap(), Require::Anything).await.unwrap();
    let seen = &fake.seen()[0];
    assert_eq!(header(seen, "x-amz-checksum-crc32").as_deref(), Some("NhCmhg=="));
    assert_eq!((header(seen, "content-md5"), header(seen, "x-amz-meta-op")), (None, None));
}

/// A PUT and a part of an upload, as a server sees them that knows who asks.
async fn signed(checksum: Checksum) -> Vec<String> {
    let fake = Fake::start(vec![say("200 OK", &["ETag: \"e\""], ""); 2]).await;
    let path = passwd(&format!("sums-{checksum:?}"), "KEY:secret");
    let credentials = CredentialSource::PasswdFile(path.clone());
    let options = crate::config::S3Options { credentials, checksum, ..options(fake.port) };
    let store = S3Store::connect("photos", &options).await.unwrap();
    put(&store, Require::Anything).await.unwrap();
    store.part(&Upload { key: key(), id: "7".to_owned() }, 3, BODY).await.unwrap();
    std::fs::remove_file(path).unwrap();
    fake.seen()
}

#[tokio::test]
async fn a_body_is_summed_once_and_the_sum_is_signed() {
    for seen in signed(Checksum::Md5).await {
        assert_eq!(header(&seen, "content-md5").as_deref(), Some("XUFAKrxLKna5cZ2REBfFkg=="));
        assert_eq!(header(&seen, "x-amz-content-sha256").as_deref(), Some("UNSIGNED-PAYLOAD"));
        assert!(header(&seen, "authorization").unwrap().contains("content-md5;"), "{seen}");
    }
    for seen in signed(Checksum::Auto).await {
        assert!(header(&seen, "content-md5").is_some(), "nothing is known of the server: {seen}");
    }
    for seen in signed(Checksum::None).await {
        let sum = header(&seen, "x-amz-content-sha256");
        assert_eq!(sum.map(|sum| sum.len()), Some(64), "of the body, in the signature: {seen}");
    }
}

/// What `checksum=auto` becomes at a server that answers the first requests of the probe so.
async fn auto(replies: Vec<Reply>) -> (bool, Option<String>) {
    let answered = replies.len();
    let fake = Fake::start(replies).await;
    let options = crate::config::S3Options { checksum: Checksum::Auto, retries: 1, ..options(fake.port) };
    let store = S3Store::connect("photos", &options).await.unwrap();
    let works = store.probe_sums("", "7").await;
    let asked = fake.seen().len();
    assert!(asked > answered, "its keys are deleted");
    drop(put(&store, Require::Anything).await);
    (works, header(&fake.seen()[asked], "content-md5"))
}

#[tokio::test]
async fn a_server_that_takes_a_wrong_crc_or_none_gets_md5() {
    let (taken, wrong) = (say("200 OK", &["ETag: \"e\""], ""), refuse("400 Bad Request", "BadDigest", "wrong"));
    let md5 = Some("XUFAKrxLKna5cZ2REBfFkg==".to_owned());
    assert_eq!(auto(vec![taken.clone()]).await, (false, md5.clone()), "it does not look at the header");
    assert_eq!(auto(vec![wrong.clone(), wrong.clone()]).await, (false, md5.clone()), "it knows no such header");
    assert_eq!(auto(vec![wrong, taken]).await, (false, md5), "it takes no such uploads in parts");
}

#[tokio::test]
async fn a_condition_that_is_known_to_be_ignored_is_not_sent() {
    let fake = Fake::start(Vec::new()).await;
    let store = fake.store().await;
    store.set_conditions(Conditional { absent: Support::Ignored, ..Conditional::default() });
    assert!(matches!(put(&store, Require::Absent).await, Err(Error::Unsupported)));
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn listed_keys_are_decoded() {
    let xml = "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>\
        <EncodingType>url</EncodingType><Contents><Key>a+b%2B</Key><Size>3</Size><ETag>&quot;e&quot;</ETag>\
        <LastModified>2023-11-14T22:13:20.987Z</LastModified></Contents>\
        <Contents><Key>caf%E9</Key><Size>1</Size></Contents>\
        <CommonPrefixes><Prefix>d+1/</Prefix></CommonPrefixes></ListBucketResult>";
    let endless = "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>";
    let fake = Fake::start(vec![say("200 OK", &[], xml), say("200 OK", &[], endless)]).await;
    let store = fake.store().await;
    let page = store.list(List { delimiter: true, ..List::default() }).await.unwrap();
    assert_eq!(page.entries.len(), 1, "a key that is not UTF-8 is left out");
    assert_eq!(page.entries[0].key.as_str(), "a b+");
    assert_eq!(page.entries[0].version.modified, Some(1_700_000_000));
    assert_eq!((page.prefixes, page.next.as_deref()), (vec![Key::new("d 1/")], Some("t")));
    assert!(fake.seen()[0].contains("encoding-type=url"));
    assert!(matches!(store.list(List::default()).await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn a_batch_delete_carries_an_md5_sum() {
    let xml = "<DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code></Error>\
        <Error><Key>c</Key><Code>InternalError</Code><Message>m</Message></Error>\
        <Error><Key>d</Key><Code>NoSuchKey</Code></Error></DeleteResult>";
    let fake = Fake::start(vec![say("200 OK", &[], xml)]).await;
    let failed = fake.store().await.delete_many(&["a", "b", "c", "d"].map(Key::new)).await.unwrap();
    let failed: Vec<_> = failed.iter().map(|(key, err)| (key.as_str(), err.kind())).collect();
    assert_eq!(failed, [("b", "denied"), ("c", "unavailable")]);
    let seen = &fake.seen()[0];
    let body = seen.split_once("\r\n\r\n").unwrap().1;
    assert_eq!(header(seen, "content-md5"), Some(super::wire::content_md5(body.as_bytes())));
}

#[tokio::test]
async fn rotated_keys_are_read_again_when_the_old_ones_are_refused() {
    let unknown = refuse("403 Forbidden", "InvalidAccessKeyId", "who?");
    let fake = Fake::start(vec![object("hello"), unknown.clone(), object("hello"), unknown]).await;
    let path = passwd("rotate", "OLDKEY:secret");
    let options = crate::config::S3Options { credentials: CredentialSource::PasswdFile(path), ..options(fake.port) };
    let store = S3Store::connect("photos", &options).await.unwrap();
    read(&store, Get::default()).await.unwrap();
    let path = passwd("rotate", "NEWKEY:secret");
    read(&store, Get::default()).await.unwrap();
    let signers: Vec<bool> =
        fake.seen().iter().map(|text| header(text, "authorization").unwrap().contains("NEWKEY")).collect();
    assert_eq!(signers, [false, false, true]);
    let err = read(&store, Get::default()).await.unwrap_err();
    assert!(matches!(err, Error::Unavailable(_)), "refused keys are not a matter of permission: {err:?}");
    assert_eq!(fake.seen().len(), 4, "nothing new to try with");
    std::fs::remove_file(path).unwrap();
}
