//! What becomes of bytes that cannot be uploaded: an administrator finds them, or nobody wants them.

use std::{path::Path, sync::Arc};

use super::{
    Fs, Payload,
    file::{File, State},
};
use crate::{
    error::Error,
    model::{key::Key, tree::Tree},
    store::Store,
    upload::multipart::Stream,
};

impl<S: Store> Fs<S> {
    /// Puts everything dirty where an administrator finds it, without asking the bucket; for the very end.
    pub async fn keep_all(&self, reason: &Error) -> Vec<(String, Error)> {
        let mut kept = Vec::new();
        for file in self.locals() {
            let name = self.name_of(&file);
            // Whoever has it is not waited for.
            let stream = file.stream.try_lock().ok().and_then(|mut stream| stream.take());
            let mut state = file.state.write().await;
            if self.keep(&file, &mut state, stream, reason) {
                kept.push((name, reason.clone()));
            }
        }
        kept
    }

    /// The last opener goes, and the file could not be uploaded: the bytes go where an administrator finds them, and the
    /// name shows the bucket again. `false`: somebody opened it meanwhile, and may have better luck.
    pub(super) async fn keep_lost(&self, file: &Arc<File>, err: &Error) -> bool {
        let mut stream = file.stream.lock().await;
        let mut state = file.state.write().await;
        if self.tree().get(file.id).is_some_and(|node| node.opens > 1) {
            return false;
        }
        let away = state.dirty.as_ref().is_some_and(|dirty| !dirty.away.is_empty());
        // The upload may have the only copy.
        if !away && let Some(stream) = stream.take() {
            stream.abort(&*self.store).await;
        }
        // The whole file is worth more than what was written of it, where the rest is still at hand.
        if let (Some(dirty), Error::Conflict(_), false) = (&mut state.dirty, err, away)
            && let Err(gone) = self.materialize(dirty).await
        {
            log::warn!("{}: only what was written can be kept: {gone}", dirty.staging.key());
        }
        self.keep(file, &mut state, stream.take(), err);
        drop((state, stream));
        self.sweep().await;
        true
    }

    /// Whether there was something to keep.
    fn keep(&self, file: &Arc<File>, state: &mut State, stream: Option<Stream>, err: &Error) -> bool {
        let Some(mut dirty) = state.dirty.take() else { return false };
        file.set_dirty(false);
        let stub = dirty.stub.take();
        let nothing_there = state.version.is_none() || stub.is_some();
        let (key, unwanted) = {
            let mut tree = self.tree();
            let key = tree.key(file.id);
            let former = file.former();
            let node = tree.get_mut(file.id);
            let unwanted = node.as_ref().is_some_and(|node| node.place.is_none() && former.is_none());
            if let Some(node) = node {
                node.payload.known.asked = None;
                node.payload.pages = None;
            }
            (key, unwanted)
        };
        let away = dirty.away.len();
        if unwanted {
            dirty.staging.discard(); // unlinked: nobody wants it
            return false;
        }
        if let Some(stub) = stub {
            self.stubs.abandon(stub);
        }
        let name = key.as_ref().map_or(dirty.staging.key(), Key::as_str).to_owned();
        match dirty.staging.keep(dirty.size, &err.to_string()) {
            Ok(path) => {
                log::error!("{name} could not be uploaded ({err}); its bytes are in {}", path.display());
                if let Some(stream) = stream.filter(|_| away > 0) {
                    leave(&name, stream, &path, away);
                }
            }
            Err(io) => log::error!("{name} could not be uploaded ({err}), and its bytes not be kept: {io}"),
        }
        if let Some(key) = key.filter(|_| nothing_there) {
            self.orphan(&mut self.tree(), file.id, &key);
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
        self.drop_stream(file).await;
        let mut state = file.state.write().await;
        if let Some(mut dirty) = state.dirty.take() {
            if let Some(stub) = dirty.stub.take() {
                self.stubs.done(stub.noted());
            }
            dirty.staging.discard();
        }
        file.set_dirty(false);
        true
    }
}

/// Some bytes were released to the bucket: they are in an unfinished upload there, for as long as nobody ends it.
fn leave(name: &str, stream: Stream, kept: &Path, away: u64) {
    let note = kept.with_extension("parts");
    let id = stream.upload.id.clone();
    match stream.leave(&note) {
        Ok(()) => log::error!(
            "{name}: {away} bytes of it are not there, but in the upload {id}, which is left in the bucket; {} tells \
             how to complete it",
            note.display()
        ),
        Err(err) => log::error!("{name}: {away} bytes of it are in the upload {id} of the bucket alone ({err})"),
    }
}
