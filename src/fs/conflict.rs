//! What becomes of a file whose object somebody else replaced: the bucket's version stays, and no byte is lost.

use std::sync::Arc;

use super::{Fs, file::File};
use crate::{
    config::Conflict,
    error::{Error, Result},
    store::Store,
};

impl<S: Store> Fs<S> {
    /// The upload of a file was refused for what the bucket has: the name shows that at the next look, and who has the
    /// file open keeps what is here. The caller holds the file's turn.
    pub(super) async fn give_way(&self, file: &Arc<File>, refused: &Result<()>) {
        let Err(err) = refused else { return };
        if file.lost_to().is_some() {
            return;
        }
        let name = self.name_of(file);
        file.lose_to(err.clone());
        log::error!("{name} is not uploaded: {err}");
        let mut state = file.state.write().await;
        if let Some(dirty) = &mut state.dirty
            && let Err(io) = dirty.staging.write_down(&err.to_string())
        {
            log::error!("{name}: its bytes are in memory alone: {io}");
        }
        let mut tree = self.tree();
        if let Some(key) = tree.key(file.id) {
            self.orphan(&mut tree, file.id, &key);
        }
    }

    /// What it means that the rest of a file that was changed in part cannot be had.
    pub(super) fn base_gone(&self, err: Error) -> Error {
        match err {
            Error::Stale | Error::NotFound if self.options.conflict == Conflict::Detect => {
                let why = "another host or client replaced or removed it, and the rest of it with that";
                Error::Conflict(why.into())
            }
            err => err,
        }
    }
}

/// Why a file without its name cannot be uploaded.
pub(super) fn lost(file: &File) -> Error {
    let seen = "another host or client replaced or removed it while it was open here";
    file.lost_to().unwrap_or_else(|| Error::Conflict(seen.into()))
}
