//! rename of files and symlinks: the object is copied, then the old key deleted; never neither, and never a mix.

use std::{ffi::OsStr, sync::Arc};

use super::{
    Fs, Payload,
    claims::Claim,
    file::File,
    known::{self, Known},
    local::Way,
    names::parse,
    settle::child_key,
    types::{NodeId, RenameMode},
};
use crate::{
    clock,
    error::{Error, Result},
    freshness::listing::Is,
    model::{
        attr::Kind,
        key::{Key, Name},
        rename::Extent,
        tree::Tree,
        version::Version,
    },
    store::{Headers, Require, SINGLE_MAX, Store},
    upload::{
        copy::copy_object,
        journal::{Draft, Head, Journal},
    },
};

/// How often a rename starts again because somebody else changed the source meanwhile.
const TRIES: u32 = 3;

/// One end of a rename.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) parent: NodeId,
    pub(super) name: Name,
    pub(super) key: Key,
}

impl<S: Store> Fs<S> {
    pub async fn rename(&self, from: (NodeId, &OsStr), to: (NodeId, &OsStr), mode: RenameMode) -> Result<()> {
        let from = (from.0, parse(from.0, from.1)?);
        let to = (to.0, parse(to.0, to.1)?);
        let source = self.held(from.0, &from.1).await?;
        if from == to {
            return Ok(());
        }
        let (kind, target) = self.check_rename(source, &to, mode)?;
        let keys = |tree: &Tree<Payload>| {
            let keys = [&from, &to].map(|(parent, name)| child_key(tree, *parent, name));
            keys.into_iter().collect::<Result<Vec<Key>>>()
        };
        if mode == RenameMode::NoReplace {
            let key = child_key(&self.tree(), to.0, &to.1)?;
            if self.is_taken(to.0, &to.1, &key).await? {
                return Err(Error::Exists);
            }
        }
        if kind == Kind::Dir {
            // No change below the directory may be on its way to a name that goes.
            let _claim = self.own(keys).await?;
            if self.tree().child(from.0, &from.1) != Some(source) {
                return Err(Error::Stale);
            }
            let (_, target) = self.check_rename(source, &to, mode)?;
            let (from, to) = (&self.end(from)?, &self.end(to)?);
            return match self.way(source, &to.key) {
                Way::Bucket => self.rename_dir(source, from, to, target, mode).await,
                Way::Here => self.shift(source, None, from, to, mode).await,
                Way::Give => self.give_dir(source, from, to).await,
                // Rare, and mv does it file by file.
                Way::Take => Err(Error::CrossDevice),
            };
        }
        let file = self.pin(source)?.ok_or(Error::Stale)?;
        let over = match target.map(|target| self.pin(target)).transpose() {
            Ok(over) => over.flatten(),
            Err(_) => None, // gone meanwhile
        };
        let done = match self.share(keys).await {
            Ok(claim) => self.rename_pinned(claim, &file, over.as_ref(), (from, to), mode).await,
            Err(err) => Err(err),
        };
        for file in over.iter().chain([&file]) {
            self.let_go(file).await;
        }
        done
    }

    /// What the source is, and the node at the target, if what the tree knows of them allows the rename.
    fn check_rename(&self, source: NodeId, to: &(NodeId, Name), mode: RenameMode) -> Result<(Kind, Option<NodeId>)> {
        let tree = self.tree();
        let kind = tree.get(source).ok_or(Error::NotFound)?.kind;
        if tree.is_below(to.0, source) {
            return Err(Error::Invalid);
        }
        let target = tree.child(to.0, &to.1);
        if let Some(node) = target.and_then(|id| tree.get(id)) {
            match (kind, node.kind, mode) {
                (_, _, RenameMode::NoReplace) => return Err(Error::Exists),
                (Kind::Dir, Kind::Dir, _) => {}
                (Kind::Dir, _, _) => return Err(Error::NotDir),
                (_, Kind::Dir, _) => return Err(Error::IsDir),
                _ => {}
            }
        }
        Ok((kind, target))
    }

    async fn rename_pinned(
        &self,
        _claim: Claim,
        file: &Arc<File>,
        over: Option<&Arc<File>>,
        (from, to): ((NodeId, Name), (NodeId, Name)),
        mode: RenameMode,
    ) -> Result<()> {
        let (from, to) = (&self.end(from)?, &self.end(to)?);
        let mut both: Vec<&Arc<File>> = over.into_iter().chain([file]).collect();
        both.sort_by_key(|file| file.id);
        let mut turns = Vec::new();
        for file in both {
            turns.push(file.turn.lock().await);
        }
        if let Some(over) = over {
            // Readers here who have the target open keep it; writers lose it.
            self.secure(over, &to.key).await;
            self.drop_stream(over).await;
        }
        match self.way(file.id, &to.key) {
            Way::Bucket => {}
            Way::Here => return self.shift(file.id, over, from, to, mode).await,
            Way::Give => return self.give(file, from, to, mode).await,
            Way::Take => return self.take(file, over, from, to, mode).await,
        }
        if file.is_dirty() {
            return self.rename_dirty(file, from, to, mode).await;
        }
        let former = over.and_then(|over| self.tree().get(over.id)?.payload.known.age());
        self.rename_clean(file, from, to, mode).await?;
        self.told_turn(&to.key, former);
        Ok(())
    }

    fn end(&self, (parent, name): (NodeId, Name)) -> Result<End> {
        let key = child_key(&self.tree(), parent, &name)?;
        Ok(End { parent, name, key })
    }

    /// A file that is not uploaded, or not as it is now: only the name changes here, and what the bucket has under
    /// the old one goes. It is uploaded at once if it was there, so that no host misses it between the two.
    async fn rename_dirty(&self, file: &Arc<File>, from: &End, to: &End, mode: RenameMode) -> Result<()> {
        // Held until the name is the new one: what is sent meanwhile would be for the old one.
        let mut stream = file.stream.lock().await;
        if self.is_away(file).await {
            drop(stream);
            self.upload_in_turn(file).await?;
            return self.rename_clean(file, from, to, mode).await;
        }
        let fence = self.fences.raise(&from.key);
        if let Some(stream) = stream.take() {
            stream.abort(&*self.store).await; // it is for the old key
        }
        let (uploaded, standing) = {
            let mut state = file.state.write().await;
            let uploaded = state.may_be_there();
            state.tried = false;
            let standing = state.dirty.as_ref().map(|dirty| (dirty.exclusive, dirty.moved));
            if let Some(dirty) = &mut state.dirty {
                dirty.renamed(mode == RenameMode::NoReplace);
            }
            (uploaded, standing)
        };
        self.move_node(file.id, from, to);
        drop(stream);
        if let Some(node) = self.tree().get_mut(file.id) {
            node.payload.known.attr = known::changed(&self.options, node.payload.known.attr, clock::wall());
        }
        // Only the bucket can tell whether no host has the new name.
        let ask = mode == RenameMode::NoReplace && self.conditional().absent.works();
        if !(uploaded || ask) {
            fence.unused();
            return Ok(());
        }
        if let Err(err) = self.upload_in_turn(file).await {
            self.move_node(file.id, to, from);
            let mut state = file.state.write().await;
            state.tried |= uploaded;
            if let (Some(dirty), Some(standing)) = (&mut state.dirty, standing) {
                (dirty.exclusive, dirty.moved) = standing;
            }
            return Err(err);
        }
        if !uploaded {
            return Ok(());
        }
        self.keep_parent(from.parent, &from.key).await?;
        self.store.delete(&from.key, Require::Anything).await?;
        self.forget_name(from);
        fence.made(Is::Absent);
        Ok(())
    }

    /// What was seen of the old name while it still was in the bucket.
    fn forget_name(&self, from: &End) {
        let mut tree = self.tree();
        self.forget_key(&from.key);
        if let Some(seen) = tree.child(from.parent, &from.name)
            && !self.has_local(&tree, seen)
        {
            self.orphan(&mut tree, seen, &from.key);
        }
    }

    async fn rename_clean(&self, file: &Arc<File>, from: &End, to: &End, mode: RenameMode) -> Result<()> {
        let [leaves, comes] = [&from.key, &to.key].map(|key| self.fences.raise(key));
        let exclusive = mode == RenameMode::NoReplace;
        for _ in 0..TRIES {
            let object = self.store.head(&from.key).await?;
            let attr = known::changed(&self.options, known::file_attr(&self.options, &object), clock::wall());
            let head = self.head_at_hand(&from.key, &object.version);
            let mut headers = known::renamed_headers(&self.options, &object, (&from.key, &to.key), head.as_deref());
            known::keep_times(&self.options, &mut headers, &attr);
            let can =
                if object.version.size > SINGLE_MAX { self.conditional().complete } else { self.conditional().copy };
            let require = if exclusive && can.works() { Require::Absent } else { Require::Anything };
            // Before the journal, so that who ends the rename needs no more than to delete.
            if !stays_below(&from.key, &to.key) {
                self.keep_parent(from.parent, &from.key).await?;
            }
            let mut journal = self.write_down(from, to, &object.version, &headers).await;
            let asked = clock::now();
            let source_version = (&from.key, &object.version);
            let copied = copy_object(&*self.store, &self.lanes, source_version, &to.key, headers, require).await;
            let version = match copied {
                Ok(version) => version,
                Err(err) => {
                    journal.into_iter().for_each(Journal::end);
                    if matches!(err, Error::Stale) {
                        continue;
                    }
                    return Err(err);
                }
            };
            if let Some(journal) = &mut journal
                && let Err(err) = journal.copied(0, &object.version, &version)
            {
                log::debug!("the journal of the rename of {}: {err}", from.key);
            }
            // Before the old key goes: who reads on gets the bytes under the new one.
            self.contents.moved((&from.key, &object.version), (&to.key, &version));
            let deleted = self.delete_if(&from.key, &object.version).await;
            // After a failure both names remain, and the caller knows.
            journal.into_iter().for_each(Journal::end);
            let gone = deleted?;
            self.move_node(file.id, from, to);
            let known = Known::made(&self.options, version.clone(), attr, asked);
            self.renamed(file, &object.version, known).await;
            comes.made(Is::File(version));
            if gone {
                leaves.made(Is::Absent);
            }
            return Ok(());
        }
        Err(Error::Stale)
    }

    /// Writes down that a file is going to be renamed. Without a journal both names may remain if this process is killed,
    /// which is no reason to refuse.
    async fn write_down(&self, from: &End, to: &End, source: &Version, headers: &Headers) -> Option<Journal> {
        let head = Head {
            extent: Extent::Object,
            from: from.key.clone(),
            to: to.key.clone(),
            over: false,
            headers: Some(headers.clone()),
        };
        let begun = match Draft::new(&self.renames.dir, head) {
            Ok(mut draft) => match draft.plan(&from.key, source) {
                Ok(()) => draft.begin().await,
                Err(err) => Err(err),
            },
            Err(err) => Err(err),
        };
        begun.inspect_err(|err| log::warn!("{} is renamed without a journal: {err}", from.key)).ok()
    }

    /// A file has its new name. `was`: what was copied.
    async fn renamed(&self, file: &Arc<File>, was: &Version, known: Known) {
        let mut state = file.state.write().await;
        let same = state.version.as_ref().is_some_and(|known| known.same_content(was));
        if same {
            state.version.clone_from(&known.version);
        }
        if let Some(node) = self.tree().get_mut(file.id).filter(|node| !node.payload.is_local())
            && (same || node.opens <= 1)
        {
            // The kernel may still have those of a version before.
            let pages = node.payload.pages.take().filter(|pages| same && pages.same_content(was));
            node.payload.pages = pages.and_then(|_| known.version.clone());
            node.payload.known = known;
        }
    }

    /// The key goes only if it is still what was copied: another host may have written it anew. Whether it is gone.
    pub(super) async fn delete_if(&self, key: &Key, version: &Version) -> Result<bool> {
        let condition = self.conditional().delete.works().then(|| Require::Version(version.etag.clone()));
        match self.store.delete(key, condition.unwrap_or_default()).await {
            Err(Error::Stale | Error::NotFound) => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// The tree after a rename: the target is an orphan, the node has its name.
    pub(super) fn move_node(&self, id: NodeId, from: &End, to: &End) {
        let mut tree = self.tree();
        for end in [from, to] {
            self.forget_key(&end.key);
        }
        if let Some(target) = tree.child(to.parent, &to.name).filter(|&target| target != id) {
            if let Some(node) = tree.get_mut(target) {
                node.payload.known.attr = known::changed(&self.options, node.payload.known.attr, clock::wall());
                if let Some(file) = node.payload.file.as_ref() {
                    file.forget_former();
                }
            }
            drop(tree.detach(target));
        }
        if tree.get(id).is_some() && tree.get(to.parent).is_some() {
            tree.rename(id, to.parent, to.name.clone());
        }
    }
}

/// Whether what is renamed stays below the directory that it is in, which then does not go with its old name.
fn stays_below(from: &Key, to: &Key) -> bool {
    let dir = from.as_str().rfind('/').map_or("", |end| &from.as_str()[..=end]);
    to.as_str().starts_with(dir)
}
