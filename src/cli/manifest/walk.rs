//! The files of a bucket, page by page: no more than a page is in memory.

use std::{io, sync::Arc};

use tokio::task::JoinSet;

use crate::{
    cdn::{
        manifest::{Line, Writer},
        url::{Family, Token},
    },
    config::FsOptions,
    error::{Error, Result as Answer},
    fs::is_file,
    model::{
        key::{Key, Name},
        patterns::Scope,
        version::Version,
    },
    store::{Entry, List, Object, Store},
};

/// What is listed.
pub(super) struct Walk<'o, S> {
    pub(super) store: Arc<S>,
    pub(super) options: &'o FsOptions,
    /// What keys begin with.
    pub(super) prefix: String,
    pub(super) family: Family,
    /// Each file is asked for.
    pub(super) types: bool,
    /// How many at once.
    pub(super) jobs: usize,
}

/// Why there is no list.
#[derive(Debug)]
pub(super) enum Trouble {
    Bucket(Error),
    /// It cannot be used; in one line.
    Check(String),
    Output(io::Error),
}

impl<S: Store> Walk<'_, S> {
    /// Writes a line for each file that the public may read.
    pub(super) async fn run<W: io::Write>(&self, writer: &mut Writer<W>) -> Result<(), Trouble> {
        let mut token = None;
        loop {
            let list = List { prefix: self.prefix.clone(), token, ..List::default() };
            let page = self.store.list(list).await.map_err(Trouble::Bucket)?;
            let mut entries = page.entries;
            entries.retain(|entry| self.path(&entry.key).is_some());
            for line in self.lines(entries).await.map_err(Trouble::Bucket)? {
                writer.line(&line).map_err(Trouble::Output)?;
            }
            // Whoever reads along need not wait for the end.
            writer.flush().map_err(Trouble::Output)?;
            token = page.next;
            if token.is_none() {
                return Ok(());
            }
        }
    }

    /// The path of a key, if it is that of a file in the mount, which the public may read. What stays on its host is none,
    /// also where the bucket has a key of that name: the mount does not show it.
    fn path<'k>(&self, key: &'k Key) -> Option<&'k str> {
        let path = self.options.urls.path(key)?;
        let is_path = path.split('/').all(|name| Name::from_key(name).is_some());
        let shown = is_path && self.options.patterns.scope(path) == Scope::Bucket;
        (shown && self.options.headers.is_public(key)).then_some(path)
    }

    /// In the order of `entries`.
    async fn lines(&self, entries: Vec<Entry>) -> Answer<Vec<Line>> {
        if !self.types {
            return Ok(entries.iter().filter_map(|entry| self.line(&entry.key, &entry.version, None)).collect());
        }
        let mut seen: Vec<Option<Object>> = Vec::new();
        seen.resize_with(entries.len(), || None);
        let mut tasks = JoinSet::new();
        let mut left = entries.iter().enumerate();
        loop {
            while tasks.len() < self.jobs
                && let Some((at, Entry { key, .. })) = left.next()
            {
                let (store, key) = (Arc::clone(&self.store), key.clone());
                tasks.spawn(async move { (at, store.head(&key).await) });
            }
            let Some(done) = tasks.join_next().await else { break };
            match done.map_err(Error::unavailable)? {
                (at, Ok(object)) => seen[at] = Some(object),
                // It went since the bucket was listed.
                (_, Err(Error::NotFound)) => {}
                (_, Err(err)) => return Err(err),
            }
        }
        let lines = entries.iter().zip(seen).filter_map(|(entry, object)| {
            let object = object.filter(|object| is_file(self.options, object))?;
            self.line(&entry.key, &object.version, object.headers.content_type)
        });
        Ok(lines.collect())
    }

    fn line(&self, key: &Key, version: &Version, content_type: Option<String>) -> Option<Line> {
        let path = self.path(key)?;
        let url = self.options.urls.url(key, self.family)?;
        let line = Line::new(path, key.as_str(), url, &Token::of(version));
        Some(Line { size: version.size, modified: version.modified, content_type, ..line })
    }
}

#[cfg(test)]
mod tests;
