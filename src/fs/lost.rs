//! What becomes of bytes that cannot be uploaded: an administrator finds them, or nobody wants them.

use std::sync::Arc;

use super::{
    Fs, Payload,
    file::{File, State},
};
use crate::{
    error::Error,
    model::{key::Key, tree::Tree},
    store::Store,
};

impl<S: Store> Fs<S> {
    /// Puts everything dirty where an administrator finds it, without asking the bucket; for the very end.
    pub async fn keep_all(&self, reason: &Error) -> Vec<(String, Error)> {
        let mut kept = Vec::new();
        for file in self.locals() {
            let name = self.name_of(&file);
            let mut state = file.state.write().await;
            if self.keep(&file, &mut state, reason) {
                kept.push((name, reason.clone()));
            }
        }
        kept
    }

    /// The last opener goes, and the file could not be uploaded: the bytes go where an administrator finds them, and the
    /// name shows the bucket again. `false`: somebody opened it meanwhile, and may have better luck.
    pub(super) async fn keep_lost(&self, file: &Arc<File>, err: &Error) -> bool {
        let mut state = file.state.write().await;
        if self.tree().get(file.id).is_some_and(|node| node.opens > 1) {
            return false;
        }
        if let Some(stream) = state.dirty.as_mut().and_then(|dirty| dirty.stream.take()) {
            stream.abort(&*self.store).await;
        }
        self.keep(file, &mut state, err);
        true
    }

    /// Whether there was something to keep.
    fn keep(&self, file: &Arc<File>, state: &mut State, err: &Error) -> bool {
        let Some(dirty) = state.dirty.take() else { return false };
        file.set_dirty(false);
        let mut tree = self.tree();
        let key = tree.key(file.id);
        let former = file.former();
        if let Some(node) = tree.get_mut(file.id) {
            node.payload.known.asked = None;
            node.payload.pages = None;
            if node.place.is_none() && former.is_none() {
                dirty.staging.discard(); // unlinked: nobody wants it
                return false;
            }
        }
        let name = key.as_ref().map_or("a file without a name", Key::as_str);
        match dirty.staging.keep(dirty.size, &err.to_string()) {
            Ok(path) => log::error!("{name} could not be uploaded ({err}); its bytes are in {}", path.display()),
            Err(io) => log::error!("{name} could not be uploaded ({err}), and its bytes not be kept: {io}"),
        }
        if let Some(key) = key.filter(|_| state.version.is_none()) {
            self.orphan(&mut tree, file.id, &key);
            file.forget_former();
        }
        true
    }

    /// Drops what was written to a file that was unlinked here. Whether it was.
    pub(super) async fn discard(&self, file: &Arc<File>) -> bool {
        let unlinked = |tree: &Tree<Payload>| tree.get(file.id).is_none_or(|node| node.place.is_none());
        if file.former().is_some() || !unlinked(&self.tree()) {
            return false;
        }
        let mut state = file.state.write().await;
        if let Some(mut dirty) = state.dirty.take() {
            if let Some(stream) = dirty.stream.take() {
                stream.abort(&*self.store).await;
            }
            dirty.staging.discard();
        }
        file.set_dirty(false);
        true
    }
}
