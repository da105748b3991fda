//! Renames that stay here, and what a rename of the bucket's takes along.

use std::{ffi::OsStr, sync::Arc};

use super::super::{
    Fs,
    file::File,
    rename::End,
    types::{NodeId, RenameMode},
};
use crate::{
    error::{Error, Result},
    freshness::{fence::Fence, listing::Is},
    model::{attr::Kind, key::Key, patterns::Scope},
    store::{Require, Store},
};

/// The most local names that the rename of a directory looks through; at a microsecond each, a tenth of a second.
pub(super) const BELOW_MAX: usize = 100_000;

/// Between where and where a rename goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::fs) enum Way {
    /// Inside the bucket.
    Bucket,
    /// Inside the local store.
    Here,
    /// From here into the bucket.
    Give,
    /// From the bucket to here.
    Take,
}

impl<S: Store> Fs<S> {
    pub(in crate::fs) fn way(&self, source: NodeId, to: &Key) -> Way {
        match (self.is_own(source), self.scope(to)) {
            (false, Scope::Bucket) => Way::Bucket,
            (true, Scope::Bucket) => Way::Give,
            (false, _) => Way::Take,
            (true, _) => Way::Here,
        }
    }

    /// A rename inside the local store. What the bucket has under the new name is replaced too.
    pub(in crate::fs) async fn shift(
        &self,
        source: NodeId,
        over: Option<&Arc<File>>,
        from: &End,
        to: &End,
        mode: RenameMode,
    ) -> Result<()> {
        let foreign = over.is_some_and(|over| !self.is_own(over.id));
        let fence = self.fences.raise(&to.key);
        let shifted = self.shift_now(source, from, to, mode);
        if shifted.is_err() || !foreign {
            fence.unused();
            return shifted;
        }
        self.remove_foreign(to, fence).await;
        Ok(())
    }

    fn shift_now(&self, source: NodeId, from: &End, to: &End, mode: RenameMode) -> Result<()> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let _turn = here.disk.turn();
        let [from_path, to_path] = [from, to].map(|end| here.path(&end.key));
        if mode == RenameMode::NoReplace && here.disk.stat(to_path)?.is_some() {
            return Err(Error::Exists);
        }
        here.disk.rename(from_path, to_path)?;
        self.move_node(source, from, to);
        Ok(())
    }

    /// Removes what the bucket has at a name that a local file has got; it would only be hidden.
    pub(super) async fn remove_foreign(&self, end: &End, fence: Fence) {
        let removed = match self.keep_parent(end.parent, &end.key).await {
            Ok(()) => self.store.delete(&end.key, Require::Anything).await,
            Err(err) => Err(err),
        };
        match removed {
            Ok(()) => fence.made(Is::Absent),
            Err(err) => log::warn!("{} stays in the bucket, behind a local file of its name: {err}", end.key),
        }
    }

    /// Before a directory of the bucket is renamed: what is below and lives here must live here afterwards. `EXDEV` if
    /// it does not; mv then copies, and each file goes where its new name belongs.
    pub(in crate::fs) fn check_below(&self, from: &End, to: &End) -> Result<()> {
        let Some(here) = &self.here else { return Ok(()) };
        self.check_empty_here(&to.key)?;
        let (old, new) = (here.path(&from.key), here.path(&to.key));
        let items = here.disk.walk(old, BELOW_MAX)?.ok_or(Error::CrossDevice)?;
        let leaves = items.iter().any(|item| {
            let rest = item.path.strip_prefix(old).unwrap_or_default();
            let frame = item.entry.frame && item.entry.attr.kind == Kind::Dir;
            !frame && self.options.patterns.scope(&format!("{new}{rest}")) == Scope::Bucket
        });
        if leaves { Err(Error::CrossDevice) } else { Ok(()) }
    }

    /// The tree after the rename of a directory, and what is below it here.
    pub(in crate::fs) fn move_dir(&self, source: NodeId, from: &End, to: &End) {
        let Some(here) = &self.here else { return self.move_node(source, from, to) };
        let _turn = here.disk.turn();
        self.move_below(&from.key, &to.key);
        self.move_node(source, from, to);
    }

    /// As [`Fs::move_dir`] for a rename that an earlier run began. What is local-only below the new name is not mixed
    /// with it: somebody made that since.
    pub(in crate::fs) fn catch_up(&self, from: &Key, to: &Key) {
        let Some(here) = &self.here else { return };
        let _turn = here.disk.turn();
        match here.disk.has_any(here.path(to)) {
            Ok(false) => self.move_below(from, to),
            Ok(true) => log::warn!("what is local-only below {from} stays there: {to} has local-only names as well"),
            Err(err) => log::error!("what is local-only below {from} stays there: {err}"),
        }
    }

    /// Needs the turn of the local store.
    fn move_below(&self, from: &Key, to: &Key) {
        let Some(here) = &self.here else { return };
        match here.disk.rename(here.path(from), here.path(to)) {
            Ok(()) | Err(Error::NotFound) => {}
            Err(err) => log::error!("what is local-only below {from} could not be renamed: {err}"),
        }
    }
}

/// What a symlink leads to, as an argument of system calls.
pub(super) fn target(bytes: &[u8]) -> Result<&OsStr> {
    std::str::from_utf8(bytes).map(OsStr::new).map_err(|_| Error::BadName)
}
