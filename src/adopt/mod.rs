//! What a directory holds goes into the bucket; later the local copy goes, when every file of it is proven there.
//!
//! Both work in rounds. A round lists the bucket, walks the directory, compares each name with the listing, and uploads
//! what is missing. The bucket is the only memory: a run that was killed is continued by the next one, or by another
//! host. The round that finds nothing to do is the proof.
//!
//! - [`tree`]: the directory, reached without its path. [`walk`]: what is in it, and where it belongs.
//! - [`shelf`]: what the bucket has. [`mark`]: what an ETag says of bytes.
//! - [`send`]: one name, with what is to be sent of it in `matter`. [`round`]: all of them. [`release`]: the end of the
//!   local copy.
//! - [`note`]: what is left in the directory, so that a mount may cover it.

pub mod mark;
mod matter;
pub mod meter;
pub mod note;
pub mod release;
pub mod report;
pub mod round;
pub mod send;
pub mod shelf;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod walk;

use std::{collections::HashMap, fmt, sync::Arc};

use crate::{
    config::FsOptions,
    error::Result,
    model::{attr::Time, key::Prefix},
    store::{Store, probe::Conditional},
    upload::multipart::Lanes,
};
use meter::Meter;
use report::Report;
use send::Known;
use tree::Tree;

/// Rounds until a directory that changes all the time is given up: the first uploads, the second verifies, and more are
/// for what came meanwhile.
const ROUNDS: u32 = 6;

/// What the bucket has for the files of a directory, by the hash of their paths.
pub type Seen = HashMap<u64, Known>;

/// What is done about a name that is not in the bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Work {
    /// It is told.
    Look,
    /// It is uploaded.
    Adopt,
    /// It is told; and a file counts as there only if its bytes were read and will not change unseen.
    Prove,
}

/// A directory on its way into a bucket.
pub struct Adopter<S> {
    pub store: Arc<S>,
    pub tree: Arc<Tree>,
    pub options: FsOptions,
    pub prefix: Prefix,
    pub conditional: Conditional,
    pub lanes: Arc<Lanes>,
    /// Where the bucket has other bytes, ours replace them.
    pub overwrite: bool,
    /// What has not changed here since then was adopted before. If the bucket does not have it, somebody deleted it
    /// there, and it does not come back.
    pub since: Option<Time>,
    /// Different on each host; see [`walk::Walk::seed`].
    pub seed: u64,
}

impl<S> fmt::Debug for Adopter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adopter").field("tree", &self.tree).finish_non_exhaustive()
    }
}

impl<S: Store> Adopter<S> {
    /// Uploads what is missing, in rounds, until one finds everything in the bucket. Conflicts are told and left. Fails
    /// only if the bucket cannot be listed or the directory not be read; what was uploaded before stays.
    pub async fn adopt(self: &Arc<Self>, seen: &mut Seen, meter: &Arc<Meter>) -> Result<Report> {
        let mut total = Report::default();
        let (mut phase, mut idle_before) = ("uploading", false);
        for _ in 0..ROUNDS {
            let round = self.round(Work::Adopt, phase, seen, meter).await?;
            let (uploaded, bytes) = (total.uploaded + round.uploaded, total.uploaded_bytes + round.uploaded_bytes);
            let directories = total.directories + round.directories;
            let idle = round.uploaded + round.directories == 0;
            total = Report { uploaded, uploaded_bytes: bytes, directories, ..round };
            let open = total.changing.count + total.failed.count;
            total.verified = idle && open == 0 && total.stopped.is_none();
            // What cannot be uploaded in two rounds gets no third.
            if total.stopped.is_some() || idle && (open == 0 || idle_before) {
                break;
            }
            (phase, idle_before) = ("verifying", idle);
        }
        Ok(total)
    }

    /// Tells what [`Self::adopt`] would do, or with [`Work::Prove`] whether every file is in the bucket.
    pub async fn look(self: &Arc<Self>, work: Work, seen: &mut Seen, meter: &Arc<Meter>) -> Result<Report> {
        let phase = if work == Work::Prove { "verifying" } else { "comparing" };
        let mut report = self.round(work, phase, seen, meter).await?;
        report.verified = report.stopped.is_none();
        Ok(report)
    }
}
