//! Renames out of the bucket: the bytes come here, wholly and durably; then the object goes.

use std::{fs::File as OsFile, os::unix::fs::FileExt, sync::Arc};

use super::super::{
    Fs,
    file::{File, State},
    known::{self, Known},
    rename::End,
    send::STEP,
    types::RenameMode,
};
use crate::{
    cache::Readahead,
    clock,
    error::{Error, Result},
    freshness::listing::Is,
    local::{Change, Placed, Scratch, told_io},
    model::{
        attr::{Attr, Kind},
        version::Version,
    },
    store::{Require, Store, metadata},
    upload::dirty::Piece,
};

/// How often a rename starts again because somebody else changed the source meanwhile.
const TRIES: u32 = 3;

/// What has come here.
struct Taken {
    /// `None` for a symlink.
    own: Option<OsFile>,
    scratch: Scratch,
    attr: Attr,
    /// What has to go from the bucket, if anything is there.
    goes: Goes,
}

enum Goes {
    Nothing,
    Anything,
    Version(Version),
}

impl<S: Store> Fs<S> {
    /// The caller holds the turn of `file`, and of `over` if that is a file of the bucket.
    pub(in crate::fs) async fn take(
        &self,
        file: &Arc<File>,
        over: Option<&Arc<File>>,
        from: &End,
        to: &End,
        mode: RenameMode,
    ) -> Result<()> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let foreign = over.is_some_and(|over| !self.is_own(over.id));
        let [leaves, comes] = [&from.key, &to.key].map(|key| self.fences.raise(key));
        // Held until it is here: what is sent meanwhile would be for a name that goes.
        let mut stream = file.stream.lock().await;
        if self.is_away(file).await {
            // Some of its bytes are nowhere but in the parts of an upload: that ends first.
            drop(stream);
            self.upload_in_turn(file).await?;
            stream = file.stream.lock().await;
            if self.is_away(file).await {
                return Err(Error::unavailable("it is written faster than it can be fetched"));
            }
        }
        if let Some(stream) = stream.take() {
            stream.abort(&*self.store).await;
        }
        let mut state = file.state.write().await;
        let taken = self.fetch_whole(file, &mut state, from).await?;
        if let Some(own) = &taken.own {
            let own = own.try_clone().map_err(told_io)?;
            let synced = tokio::task::spawn_blocking(move || own.sync_all().map_err(told_io)).await;
            synced.unwrap_or_else(|panic| Err(Error::unavailable(panic)))?;
        }
        let placed = self.place_here(&taken, here.path(&to.key), mode)?;
        let gone = match self.remove_taken(from, &taken.goes).await {
            Ok(gone) => gone,
            Err(err) => {
                let _turn = here.disk.turn();
                placed.undo();
                return Err(err);
            }
        };
        let turn = here.disk.turn();
        drop(placed);
        state.own = taken.own.map(Arc::new);
        (state.version, state.content, state.tried) = (None, None, false);
        if let Some(dirty) = state.dirty.take() {
            dirty.staging.discard();
        }
        file.set_dirty(false);
        if let Some(node) = self.tree().get_mut(file.id) {
            node.payload.own = true;
            node.payload.pages = None;
            node.payload.known = Known { version: None, attr: taken.attr, asked: Some(clock::now()) };
        }
        self.move_node(file.id, from, to);
        drop((turn, state));
        if gone {
            leaves.made(Is::Absent);
        }
        if foreign {
            self.remove_foreign(to, comes).await;
        } else {
            comes.unused();
        }
        Ok(())
    }

    async fn fetch_whole(&self, file: &File, state: &mut State, from: &End) -> Result<Taken> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        if state.dirty.is_some() {
            let goes = if state.may_be_there() { Goes::Anything } else { Goes::Nothing };
            let attr = self.tree().get(file.id).ok_or(Error::Stale)?.payload.known.attr;
            let (own, scratch) = here.disk.scratch()?;
            self.copy_dirty(state, &own).await?;
            return Ok(Taken { own: Some(own), scratch, attr, goes });
        }
        for _ in 0..TRIES {
            let object = self.store.head(&from.key).await?;
            let attr = known::file_attr(&self.options, &object);
            if attr.kind.is_special() {
                return Err(Error::NotPermitted);
            }
            let version = object.version.clone();
            // Who has another version open keeps that, and finds the new one under the name.
            if state.version.as_ref().is_some_and(|known| !known.same_content(&version)) {
                return Err(Error::Stale);
            }
            let content = self.contents.get(&from.key, &version);
            let ahead = Arc::new(Readahead::default());
            if attr.kind == Kind::Symlink {
                let stored = metadata::read(&object.headers.user).symlink_target;
                let target = match stored {
                    Some(target) => target.into(),
                    None => self.contents.read(&content, 0..version.size, &ahead).await?,
                };
                let scratch = here.disk.scratch_symlink(super::shift::target(&target)?)?;
                return Ok(Taken { own: None, scratch, attr, goes: Goes::Version(version) });
            }
            let (own, scratch) = here.disk.scratch()?;
            let mut at = 0;
            let copied = loop {
                if at >= version.size {
                    break Ok(());
                }
                let step = at..version.size.min(at + STEP);
                match self.contents.read(&content, step.clone(), &ahead).await {
                    Ok(bytes) => own.write_all_at(&bytes, at).map_err(told_io)?,
                    Err(err) => break Err(err),
                }
                at = step.end;
            };
            match copied {
                Ok(()) => return Ok(Taken { own: Some(own), scratch, attr, goes: Goes::Version(version) }),
                Err(Error::Stale) => {}
                Err(err) => return Err(err),
            }
        }
        Err(Error::Stale)
    }

    async fn copy_dirty(&self, state: &mut State, own: &OsFile) -> Result<()> {
        let dirty = state.dirty.as_ref().ok_or(Error::Stale)?;
        let ahead = Arc::new(Readahead::default());
        own.set_len(dirty.size).map_err(told_io)?;
        for piece in dirty.pieces(0..dirty.size) {
            let range = match &piece {
                Piece::Staged(range) | Piece::Base(range) => range.clone(),
                Piece::Zeros(_) => continue,
                Piece::Away(_) => return Err(Error::unavailable("some of its bytes are in an upload alone")),
            };
            let mut at = range.start;
            while at < range.end {
                let step = at..range.end.min(at + STEP);
                let bytes = match (&piece, &dirty.base) {
                    (Piece::Base(_), Some(base)) => self.contents.read(&base.content, step.clone(), &ahead).await?,
                    _ => dirty.staging.read(step.clone())?,
                };
                own.write_all_at(&bytes, at).map_err(told_io)?;
                at = step.end;
            }
        }
        Ok(())
    }

    fn place_here(&self, taken: &Taken, path: &str, mode: RenameMode) -> Result<Placed<'_>> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        let _turn = here.disk.turn();
        if mode == RenameMode::NoReplace && here.disk.stat(path)?.is_some() {
            return Err(Error::Exists);
        }
        let placed = here.disk.place(&taken.scratch, path)?;
        let dressed = self.dress_taken(path, &taken.attr);
        match dressed {
            Ok(()) => Ok(placed),
            Err(err) => {
                placed.undo();
                Err(err)
            }
        }
    }

    fn dress_taken(&self, path: &str, attr: &Attr) -> Result<()> {
        let here = self.here.as_ref().ok_or(Error::Stale)?;
        if self.options.perms == crate::config::Perms::Stored {
            self.dress(path, attr)?;
        }
        here.disk.change(path, &Change { mtime: Some(attr.mtime), ..Change::default() })
    }

    /// Whether the bucket has nothing at the name any more, as far as it told.
    async fn remove_taken(&self, from: &End, goes: &Goes) -> Result<bool> {
        if matches!(goes, Goes::Nothing) {
            return Ok(false);
        }
        self.keep_parent(from.parent, &from.key).await?;
        match goes {
            Goes::Version(version) => self.delete_if(&from.key, version).await,
            Goes::Anything | Goes::Nothing => self.store.delete(&from.key, Require::Anything).await.map(|()| true),
        }
    }
}
