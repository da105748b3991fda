//! Headers of objects that are there already, brought in line with the policy: object by object, each by a COPY onto
//! itself. What came by other ways than a mount, or before the rules, gets what a mount would have given it.

#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    adopt::{meter::Meter, report},
    cdn::{active, content_type},
    config::FsOptions,
    error::{Error, Result},
    fs::{is_file, keep_mtime},
    model::{
        key::{CONTROL, Key, Prefix},
        version::Version,
    },
    store::{Body, Entry, Get, Got, List, Object, Page, Require, Store},
    upload::{copy::copy_object, multipart::Lanes},
};

/// How often an object is tried that others change meanwhile.
const TRIES: u32 = 3;

/// What is to be done.
pub struct Aligner<S> {
    pub store: Arc<S>,
    pub options: FsOptions,
    pub prefix: Prefix,
    /// The part of it that is meant: what the paths from the mount point begin with.
    pub below: String,
    pub lanes: Lanes,
    /// Replaces what others set, too.
    pub all: bool,
    /// Tells, and changes nothing.
    pub dry_run: bool,
    /// Objects at once.
    pub jobs: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Files that were looked at.
    pub files: u64,
    /// Those that got headers, or would.
    pub changed: report::List,
    /// Those with headers of others that are not as the rules have them, and stay.
    pub kept: report::List,
    pub failed: report::List,
}

/// What became of one object.
enum Outcome {
    Same,
    Changed,
    Kept,
    /// It is no file, or it is gone.
    Nothing,
}

impl<S> fmt::Debug for Aligner<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aligner").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl<S: Store> Aligner<S> {
    /// Looks at every file and gives it what it lacks. Fails if the bucket cannot be listed; what was done stays. A second
    /// run right after finds nothing to do.
    pub async fn run(self: &Arc<Self>, meter: &Meter) -> Result<Report> {
        meter.begin("counting", (0, 0));
        meter.begin("headers", self.count().await?);
        let mut report = Report::default();
        let mut token = None;
        loop {
            let page = self.page(token).await?;
            self.align_all(page.entries, meter, &mut report).await?;
            token = page.next;
            if token.is_none() {
                return Ok(report);
            }
        }
    }

    /// Files, and their bytes.
    async fn count(&self) -> Result<(u64, u64)> {
        let (mut files, mut bytes, mut token) = (0, 0, None);
        loop {
            let page = self.page(token).await?;
            for entry in page.entries.iter().filter(|entry| self.is_meant(&entry.key)) {
                (files, bytes) = (files + 1, bytes + entry.version.size);
            }
            token = page.next;
            if token.is_none() {
                return Ok((files, bytes));
            }
        }
    }

    async fn page(&self, token: Option<String>) -> Result<Page> {
        let prefix = format!("{}{}", self.prefix.as_str(), self.below);
        self.store.list(List { prefix, token, ..List::default() }).await
    }

    async fn align_all(self: &Arc<Self>, entries: Vec<Entry>, meter: &Meter, report: &mut Report) -> Result<()> {
        let mut tasks = JoinSet::new();
        let mut left = entries.into_iter();
        loop {
            while tasks.len() < self.jobs
                && let Some(Entry { key, version }) = left.find(|entry| self.is_meant(&entry.key))
            {
                let this = Arc::clone(self);
                tasks.spawn(async move { (this.align(&key, &version).await, key, version.size) });
            }
            let Some(done) = tasks.join_next().await else { return Ok(()) };
            let (outcome, key, size) = done.map_err(Error::unavailable)?;
            report.add(self.path(&key), outcome);
            meter.done(size);
        }
    }

    fn is_meant(&self, key: &Key) -> bool {
        !key.is_marker() && self.path(key).split('/').next() != Some(CONTROL)
    }

    fn path<'k>(&self, key: &'k Key) -> &'k str {
        key.as_str().strip_prefix(self.prefix.as_str()).unwrap_or(key.as_str())
    }

    async fn align(&self, key: &Key, listed: &Version) -> Result<Outcome> {
        for _ in 0..TRIES {
            let (object, head) = match self.look(key, listed.size).await {
                Err(Error::NotFound) => return Ok(Outcome::Nothing),
                Err(Error::NoPosition) => (self.store.head(key).await?, Vec::new()),
                seen => seen?,
            };
            if !is_file(&self.options, &object) {
                return Ok(Outcome::Nothing);
            }
            let mut headers = object.headers.clone();
            let aligned = self.options.headers.align(&mut headers, key, object.version.size, &head, self.all);
            if !aligned.changed {
                return Ok(if aligned.kept { Outcome::Kept } else { Outcome::Same });
            }
            if self.dry_run {
                return Ok(Outcome::Changed);
            }
            keep_mtime(&self.options, &mut headers, &object);
            let source = (key, &object.version);
            let copied = copy_object(&*self.store, &self.lanes, source, key, headers, Require::Anything).await;
            match copied {
                Ok(_) => return Ok(Outcome::Changed),
                Err(Error::NotFound) => return Ok(Outcome::Nothing),
                Err(Error::Stale) => {}
                Err(err) => return Err(err),
            }
        }
        Err(Error::unavailable("others change it all the time"))
    }

    /// An object with its first bytes, as many as decide: one request.
    async fn look(&self, key: &Key, size: u64) -> Result<(Object, Vec<u8>)> {
        if size == 0 {
            return Ok((self.store.head(key).await?, Vec::new()));
        }
        let name = key.as_str().rsplit('/').next().unwrap_or_default();
        let text = content_type::is_text(content_type::content_type(name));
        let len = if text { content_type::HEAD_LEN } else { active::HEAD_LEN };
        let get = Get { range: Some(0..len as u64), ..Get::default() };
        match self.store.get(key, get).await? {
            Got::Bytes(object, body) => Ok((object, read(body, len).await?)),
            Got::Same { .. } => Err(Error::unavailable("an answer without bytes")),
        }
    }
}

async fn read(mut body: Body, len: usize) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    // A server that knows no ranges sends all of it.
    while head.len() < len
        && let Some(chunk) = body.next().await
    {
        head.extend_from_slice(&chunk?);
    }
    head.truncate(len);
    Ok(head)
}

impl Report {
    fn add(&mut self, path: &str, outcome: Result<Outcome>) {
        self.files += u64::from(!matches!(outcome, Ok(Outcome::Nothing)));
        match outcome {
            Ok(Outcome::Same | Outcome::Nothing) => {}
            Ok(Outcome::Changed) => self.changed.add(path, ""),
            Ok(Outcome::Kept) => self.kept.add(path, ""),
            Err(err) => self.failed.add(path, err.to_string()),
        }
    }
}
