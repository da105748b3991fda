//! The questions to the bucket. What is written for them is below the control prefix, and deleted again.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{answer, probed, skew};
use crate::{
    clock,
    config::{CredentialSource, Options, S3Options},
    doctor::{
        exposure::{self, Access, Expected, Known, Opened},
        finding::{Finding, about},
    },
    error::{Error, Result},
    model::key::{CONTROL, Key},
    store::{
        Get, Headers, List, Require, Store,
        probe::{
            Conditional,
            depth::{ReadAfterWrite, probe_deeper},
            probe,
        },
        s3::S3Store,
    },
};

/// A server that does not answer within this is away, for somebody who waits at a terminal.
const PATIENCE: Duration = Duration::from_secs(10);
/// Attempts of one request.
const ATTEMPTS: u32 = 3;
/// How long the crowd of requests of the probe may take.
const DEPTH_LIMIT: Duration = Duration::from_secs(45);

/// Asks all that there is to ask about the bucket of a mount.
pub async fn ask(subject: &str, options: &Options, expected: &Expected) -> Vec<Finding> {
    let s3 = S3Options { timeout: options.s3.timeout.min(PATIENCE), retries: ATTEMPTS, ..options.s3.clone() };
    let store = match S3Store::connect(&options.bucket, &s3).await {
        Ok(store) => store,
        Err(err) => {
            return vec![about("endpoint", subject).failure(
                err.to_string(),
                "it makes no sense as an endpoint",
                "correct endpoint=",
            )];
        }
    };
    let prefix = options.prefix.as_str();
    let checked = store.check(prefix).await;
    let place = format!("region {} at {}", store.region(), store.endpoint());
    let mut findings = answer(subject, &checked, &place);
    if checked.is_err() {
        return findings;
    }
    let token = S3Store::token();
    let absent = Key::new(&format!("{prefix}{CONTROL}/doctor-{token}-none"));
    let server = store.server_time(&absent).await;
    findings.push(skew(subject, server.map(|at| clock::wall().sec - at)));
    let (found, seen) = conditions(&store, options, &token).await;
    if !options.fs.read_only {
        findings.extend(probed(subject, found, seen));
    }
    findings.extend(open_to_all(subject, &store, &s3, options, expected, &token).await);
    findings
}

async fn conditions(store: &S3Store, options: &Options, token: &str) -> (Conditional, ReadAfterWrite) {
    if options.fs.read_only {
        return (Conditional::default(), ReadAfterWrite::Unknown);
    }
    let prefix = options.prefix.as_str();
    let basic = probe(store, prefix, token).await;
    let shared = Arc::new(store.clone());
    let deeper = timeout(DEPTH_LIMIT, probe_deeper(&shared, prefix, token, basic)).await;
    deeper.unwrap_or((basic, ReadAfterWrite::Unknown))
}

/// What somebody without credentials may do.
async fn open_to_all(
    subject: &str,
    store: &S3Store,
    s3: &S3Options,
    options: &Options,
    expected: &Expected,
    token: &str,
) -> Vec<Finding> {
    if s3.credentials == CredentialSource::Unsigned {
        return vec![about("exposure", subject).skipped("the mount itself has no credentials")];
    }
    let nobody = S3Options { credentials: CredentialSource::Unsigned, acl: None, requester_pays: false, ..s3.clone() };
    let nobody = match S3Store::connect(&options.bucket, &nobody).await {
        Ok(nobody) => nobody,
        Err(err) => return vec![about("exposure", subject).skipped(err.to_string())],
    };
    let prefix = options.prefix.as_str();
    let own = Key::new(&format!("{prefix}{CONTROL}/doctor-{token}"));
    let foreign = Key::new(&format!("{prefix}{CONTROL}/doctor-{token}-written"));
    let made = !options.fs.read_only && put(store, &own).await.is_ok();
    let mut opened = Opened { list: list(&nobody, prefix).await, ..Opened::default() };
    if made {
        opened.read.push((own.to_string(), read(&nobody, &own).await));
    }
    // What is there already may have an ACL of its own.
    if let Some(key) = first(store, prefix, |_| true).await {
        opened.read.push((key.to_string(), read(&nobody, &key).await));
    }
    if !options.fs.read_only {
        opened.write = match put(&nobody, &foreign).await {
            Ok(()) => Access::Yes,
            Err(err) => refusal(&err),
        };
    }
    let mut known = Vec::new();
    for pattern in &expected.patterns {
        let below = format!("{prefix}{}", exposure::fixed(pattern));
        let fits = |key: &str| exposure::covers(pattern, key.strip_prefix(prefix).unwrap_or(key));
        if let Some(key) = first(store, &below, fits).await {
            known.push(Known { pattern: pattern.clone(), access: read(&nobody, &key).await, key: key.to_string() });
        }
    }
    let written: &[&Key] = if options.fs.read_only { &[] } else { &[&own, &foreign] };
    for &key in written {
        if let Err(err) = store.delete(key, Require::Anything).await {
            log::debug!("the probe could not delete {key}: {err}");
        }
    }
    exposure::judge(subject, &opened, &known, expected)
}

async fn put(store: &S3Store, key: &Key) -> Result<()> {
    store.put(key, bytes::Bytes::from_static(b"originfs"), &Headers::default(), Require::Anything).await.map(drop)
}

async fn read(store: &S3Store, key: &Key) -> Access {
    match store.get(key, Get { range: Some(0..1), ..Get::default() }).await {
        Ok(_) => Access::Yes,
        Err(err) => refusal(&err),
    }
}

async fn list(store: &S3Store, prefix: &str) -> Access {
    match store.list(List { prefix: prefix.to_owned(), max: 1, ..List::default() }).await {
        Ok(_) => Access::Yes,
        Err(err) => refusal(&err),
    }
}

/// Some servers deny that there is anything rather than say that it is forbidden.
fn refusal(err: &Error) -> Access {
    match err {
        Error::Denied | Error::NotFound => Access::No,
        other => Access::Unknown(other.to_string()),
    }
}

/// An object with bytes that `fits`, of the first page of a listing.
async fn first(store: &S3Store, prefix: &str, fits: impl Fn(&str) -> bool) -> Option<Key> {
    let page = store.list(List { prefix: prefix.to_owned(), ..List::default() }).await.ok()?;
    let mut entries = page.entries.into_iter().filter(|entry| entry.version.size > 0 && fits(entry.key.as_str()));
    entries.find(|entry| !entry.key.as_str().contains(&format!("{CONTROL}/"))).map(|entry| entry.key)
}
