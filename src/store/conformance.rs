//! One list of checks for every [`Store`]: what the trait promises, tried against a real or a fake bucket.
//!
//! Servers differ. What one does not keep is a named [`Quirks`] field; without quirks the checks are as strict as S3.

mod conditions;
mod keys;
mod listing;
mod multipart;
mod objects;
mod quirks;

pub use quirks::Quirks;

use std::{
    fmt::{self, Debug, Write},
    panic::Location,
    pin::Pin,
    task::Poll,
};

use bytes::Bytes;

use super::{Body, Get, Got, Headers, List, Object, Require, Store, Stored};
use crate::{
    error::{Error, Result},
    model::key::Key,
};

/// Panics with the name and reason of every check that failed. Everything is written below `prefix`, which must be
/// empty, short (at most 100 bytes, ends in `/`) and the caller's own; nothing is left there.
pub async fn conforms<S: Store>(store: &S, prefix: &str, quirks: &Quirks) {
    let bench = Bench { store, prefix, quirks };
    let mut report = Report::default();
    objects::all(&bench, &mut report).await;
    conditions::all(&bench, &mut report).await;
    listing::all(&bench, &mut report).await;
    keys::all(&bench, &mut report).await;
    multipart::all(&bench, &mut report).await;
    report.add("everything can be removed again", bench.clean().await);
    assert!(report.failed == 0, "{} of {} checks failed:\n{}", report.failed, report.checks, report.lines);
}

/// The outcome of all checks.
#[derive(Debug, Default)]
struct Report {
    checks: usize,
    failed: usize,
    lines: String,
}

impl Report {
    fn add(&mut self, name: &str, outcome: Checked) {
        self.checks += 1;
        if let Err(Failure(reason)) = outcome {
            self.failed += 1;
            writeln!(self.lines, "  {name}: {reason}").expect("a String takes everything");
        }
    }
}

type Checked<T = ()> = std::result::Result<T, Failure>;

/// Why a check failed, with the place in the check.
struct Failure(String);

impl Failure {
    #[track_caller]
    fn new(reason: impl fmt::Display) -> Self {
        let at = Location::caller();
        Self(format!("{reason} ({}:{})", at.file(), at.line()))
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(err: Error) -> Self {
        Self::new(format_args!("unexpected error: {err}"))
    }
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "most callers have a value at hand")]
fn same<T: Debug + PartialEq<U>, U: Debug>(what: &str, got: T, want: U) -> Checked {
    if got == want { Ok(()) } else { Err(Failure::new(format_args!("{what}: got {got:?}, want {want:?}"))) }
}

/// The call must fail, and with an error that `fits`.
#[track_caller]
fn fails<T: Debug>(what: &str, got: Result<T>, fits: fn(&Error) -> bool) -> Checked {
    match got {
        Err(err) if fits(&err) => Ok(()),
        Err(err) => Err(Failure::new(format_args!("{what}: the wrong error, {err:?}"))),
        Ok(done) => Err(Failure::new(format_args!("{what}: succeeded with {done:?}"))),
    }
}

fn not_found(err: &Error) -> bool {
    matches!(err, Error::NotFound)
}

fn exists(err: &Error) -> bool {
    matches!(err, Error::Exists)
}

fn stale(err: &Error) -> bool {
    matches!(err, Error::Stale)
}

/// S3 answers 404 to `If-Match` on a key that is gone, some servers 412.
fn gone(err: &Error) -> bool {
    matches!(err, Error::NotFound | Error::Stale)
}

/// The server understood and said no: neither "absent" nor "don't know".
fn refused(err: &Error) -> bool {
    !matches!(err, Error::NotFound | Error::Unavailable(_))
}

/// What the checks work with.
struct Bench<'a, S> {
    store: &'a S,
    prefix: &'a str,
    quirks: &'a Quirks,
}

impl<S: Store> Bench<'_, S> {
    fn key(&self, name: &str) -> Key {
        Key::new(&format!("{}{name}", self.prefix))
    }

    async fn put(&self, name: &str, body: &'static [u8]) -> Result<Stored> {
        self.put_if(name, body, Require::Anything).await
    }

    async fn put_if(&self, name: &str, body: &'static [u8], require: Require) -> Result<Stored> {
        self.store.put(&self.key(name), Bytes::from_static(body), &Headers::default(), require).await
    }

    /// Head and bytes of a whole object.
    async fn get(&self, name: &str) -> Result<(Object, Bytes)> {
        self.get_part(name, Get::default()).await
    }

    /// Head and bytes of what was asked for; 304 is an error here.
    async fn get_part(&self, name: &str, get: Get) -> Result<(Object, Bytes)> {
        match self.store.get(&self.key(name), get).await? {
            Got::Bytes(object, body) => Ok((object, Body::collect(body).await?)),
            Got::Same { .. } => Err(Error::unavailable("304 without If-None-Match")),
        }
    }

    /// Keys and common prefixes below a name, all pages, without the bench's prefix.
    async fn list(&self, list: List) -> Result<(Vec<String>, Vec<String>)> {
        let mut list = List { prefix: format!("{}{}", self.prefix, list.prefix), ..list };
        let strip = |key: &Key| key.as_str().strip_prefix(self.prefix).unwrap_or("?").to_owned();
        let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
        loop {
            let page = self.store.list(list.clone()).await?;
            keys.extend(page.entries.iter().map(|entry| strip(&entry.key)));
            prefixes.extend(page.prefixes.iter().map(strip));
            match page.next {
                Some(next) => list.token = Some(next),
                None => return Ok((keys, prefixes)),
            }
        }
    }

    /// Removes every object and upload below the prefix.
    async fn clean(&self) -> Checked {
        for upload in self.store.uploads(self.prefix).await? {
            self.store.abort(&upload).await?;
        }
        loop {
            let page = self.store.list(List { prefix: self.prefix.to_owned(), ..List::default() }).await?;
            let keys: Vec<Key> = page.entries.into_iter().map(|entry| entry.key).collect();
            if keys.is_empty() {
                return same("uploads left", self.store.uploads(self.prefix).await?, vec![]);
            }
            let failed = self.store.delete_many(&keys).await?;
            if let Some((key, err)) = failed.into_iter().next() {
                return Err(Failure::new(format_args!("{key:?} stays: {err}")));
            }
        }
    }
}

/// Runs futures at the same time on this task; gives their results in order.
async fn together<F: Future + Send>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F::Output: Send,
{
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, slot) in running.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *slot = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{faulty::Faulty, memory::MemoryStore};

    #[tokio::test]
    async fn memory_conforms() {
        let store = MemoryStore::new();
        conforms(&store, "check/", &Quirks::default()).await;
        assert_eq!(store.keys(), [""; 0]);
        assert_eq!(store.uploads_open(), 0);
    }

    #[tokio::test]
    async fn memory_conforms_behind_an_idle_faulty() {
        conforms(&Faulty::new(MemoryStore::new()), "check/", &Quirks::default()).await;
    }

    #[tokio::test]
    #[should_panic(expected = "checks failed")]
    async fn a_store_that_lies_does_not_conform() {
        let store = Faulty::new(MemoryStore::new());
        // The reply of one write is replaced by a refusal: some check must see it.
        store.fail(Some(crate::store::op::Op::Put), 3, crate::store::faulty::Side::After, Error::Denied);
        conforms(&store, "check/", &Quirks::default()).await;
    }
}
