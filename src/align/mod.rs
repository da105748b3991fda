//! Headers of objects that are there already, brought in line with the policy: object by object, each by a COPY onto
//! itself; and their ACLs. What came by other ways than a mount, or before the rules, gets what a mount would have given
//! it.

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
    store::{
        Body, Entry, Get, Got, List, Object, Page, Require, Store,
        acl::{Acls, Readers},
    },
    upload::{copy::copy_object, multipart::Lanes},
};

/// How often an object is tried that others change meanwhile.
const TRIES: u32 = 3;

/// What is to be done.
pub struct Aligner<S, A> {
    pub store: Arc<S>,
    /// The same bucket.
    pub acls: Arc<A>,
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
    /// Those that got another ACL, or would, and which.
    pub acl: report::List,
    /// Those of which nobody could tell whom their ACL lets read: the credentials may not ask.
    pub acl_unknown: report::List,
    pub failed: report::List,
}

/// What became of one object.
struct Done {
    outcome: Outcome,
    access: Access,
}

enum Outcome {
    Same,
    Changed,
    Kept,
    /// It is no file, or it is gone.
    Nothing,
}

/// Who may read it.
enum Access {
    /// As it is to be, as far as that is up to us.
    Right,
    /// Somebody else, and which ACL it is to have.
    Wrong(String, Readers),
    Unknown,
}

impl From<Outcome> for Done {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, access: Access::Right }
    }
}

impl<S, A> fmt::Debug for Aligner<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aligner").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl<S: Store, A: Acls> Aligner<S, A> {
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
            let (done, key, size) = done.map_err(Error::unavailable)?;
            report.add(self.path(&key), done);
            meter.done(size);
        }
    }

    fn is_meant(&self, key: &Key) -> bool {
        !key.is_marker() && self.path(key).split('/').next() != Some(CONTROL)
    }

    fn path<'k>(&self, key: &'k Key) -> &'k str {
        key.as_str().strip_prefix(self.prefix.as_str()).unwrap_or(key.as_str())
    }

    async fn align(&self, key: &Key, listed: &Version) -> Result<Done> {
        match self.try_align(key, listed).await {
            Err(Error::NotFound) => Ok(Outcome::Nothing.into()),
            other => other,
        }
    }

    async fn try_align(&self, key: &Key, listed: &Version) -> Result<Done> {
        for _ in 0..TRIES {
            let (object, head) = match self.look(key, listed.size).await {
                Err(Error::NoPosition) => (self.store.head(key).await?, Vec::new()),
                seen => seen?,
            };
            if !is_file(&self.options, &object) {
                return Ok(Outcome::Nothing.into());
            }
            let access = self.access(key).await?;
            let mut headers = object.headers.clone();
            let aligned = self.options.headers.align(&mut headers, key, object.version.size, &head, self.all);
            if !aligned.changed {
                let outcome = if aligned.kept { Outcome::Kept } else { Outcome::Same };
                return Ok(Done { outcome, access: self.open_or_close(key, access).await? });
            }
            if self.dry_run {
                return Ok(Done { outcome: Outcome::Changed, access });
            }
            keep_mtime(&self.options, &mut headers, &object);
            let source = (key, &object.version);
            // A copy does not take over the ACL of its source: it has the one that it is sent with.
            match copy_object(&*self.store, &self.lanes, source, key, headers, Require::Anything).await {
                Ok(_) => return Ok(Done { outcome: Outcome::Changed, access }),
                Err(Error::Stale) => {}
                Err(err) => return Err(err),
            }
        }
        Err(Error::unavailable("others change it all the time"))
    }

    /// Whether those may read an object who are to: one request, if the mount has a say in it.
    async fn access(&self, key: &Key) -> Result<Access> {
        let Some(acl) = self.acls.wanted(key) else { return Ok(Access::Right) };
        match self.acls.readers(key).await {
            Ok(found) if found == Readers::of_canned(&acl) => Ok(Access::Right),
            Ok(found) => Ok(Access::Wrong(acl, found)),
            // Without ACLs the bucket decides alone.
            Err(Error::Unsupported) => Ok(Access::Right),
            Err(Error::Denied) => Ok(Access::Unknown),
            Err(err) => Err(err),
        }
    }

    /// Gives an object the ACL that it is to have.
    async fn open_or_close(&self, key: &Key, access: Access) -> Result<Access> {
        let Access::Wrong(acl, found) = &access else { return Ok(access) };
        if self.dry_run {
            return Ok(access);
        }
        match self.acls.set_acl(key, acl).await {
            // The store has said so. What others may read they must not read in silence, though.
            Err(Error::Unsupported) if *found == Readers::Owner => Ok(Access::Right),
            set => set.map(|()| access),
        }
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
    fn add(&mut self, path: &str, done: Result<Done>) {
        let Done { outcome, access } = match done {
            Ok(done) => done,
            Err(err) => {
                self.files += 1;
                return self.failed.add(path, err.to_string());
            }
        };
        self.files += u64::from(!matches!(outcome, Outcome::Nothing));
        match outcome {
            Outcome::Same | Outcome::Nothing => {}
            Outcome::Changed => self.changed.add(path, ""),
            Outcome::Kept => self.kept.add(path, ""),
        }
        match access {
            Access::Right => {}
            Access::Wrong(acl, _) => self.acl.add(path, acl),
            Access::Unknown => self.acl_unknown.add(path, ""),
        }
    }
}
