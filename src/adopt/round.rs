//! One round: everything in the directory against one listing of the bucket.

use std::sync::Arc;

use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
};

use super::{
    Adopter, Seen, Work,
    meter::Meter,
    report::Report,
    send::Outcome,
    shelf::{Shelf, hash},
    walk::{Item, Walk, What},
};
use crate::{
    config::Perms,
    error::{Error, Result},
    store::Store,
};

/// Names in work at once: what one host may ask of a bucket without being told to slow down.
const PARALLEL: usize = 16;
/// Names that wait: the walk is faster than the bucket, and each is about 300 bytes.
const QUEUE: usize = 1_000;
/// Failures of the bucket in a row after which there is no use in going on: each has been retried already.
const FAILURES_MAX: usize = 2 * PARALLEL;

/// What became of one name.
struct Done {
    path: String,
    /// Bytes of the object; `None` of a directory.
    bytes: Option<u64>,
    outcome: Outcome,
}

/// What a round has come to.
struct Ledger<'a> {
    report: Report,
    seen: &'a mut Seen,
    failures: usize,
}

impl<S: Store> Adopter<S> {
    pub(super) async fn round(
        self: &Arc<Self>,
        work: Work,
        phase: &'static str,
        seen: &mut Seen,
        meter: &Arc<Meter>,
    ) -> Result<Report> {
        meter.begin(phase, self.count().await?);
        let listing = Arc::new(Shelf::list(&*self.store, &self.prefix).await?);
        let (items, mut queue) = mpsc::channel(QUEUE);
        let (walk, tree, told) = (self.walk(), Arc::clone(&self.tree), Arc::clone(&listing));
        let walk = spawn_blocking(move || walk.run(&tree, &told, |item| items.blocking_send(item).is_ok()));
        let mut ledger = Ledger { report: Report::default(), seen, failures: 0 };
        let (mut tasks, mut more) = (JoinSet::new(), true);
        loop {
            while more && tasks.len() < PARALLEL {
                match queue.recv().await {
                    Some(item) => self.begin(work, item, &listing, &mut ledger, &mut tasks),
                    None => more = false,
                }
            }
            let Some(done) = tasks.join_next().await else { break };
            let done: Done = done.map_err(Error::unavailable)?;
            meter.done(done.bytes.unwrap_or(0));
            ledger.enter(done);
            more &= ledger.report.stopped.is_none();
        }
        // The walk ends when nobody listens.
        drop(queue);
        walk.await.map_err(Error::unavailable)??;
        Ok(ledger.report)
    }

    fn begin(
        self: &Arc<Self>,
        work: Work,
        item: Item,
        listing: &Shelf,
        ledger: &mut Ledger<'_>,
        tasks: &mut JoinSet<Done>,
    ) {
        let Item { path, what } = item;
        let (report, adopter) = (&mut ledger.report, Arc::clone(self));
        match what {
            What::Local => report.local += 1,
            What::Unfit(why) => report.unfit.add(&path, why),
            What::Taken => report.conflicts.add(&path, "the bucket has a file where this is a directory"),
            What::Dir { marked: false, .. } => {}
            What::Dir { found, marked: true } => {
                // An implicit directory is enough where nothing is kept of it.
                let implied =
                    self.options.perms == Perms::Uniform && listing.is_dir(&path) || listing.get(&path).is_some();
                let there = implied || listing.get(&format!("{path}/")).is_some();
                tasks.spawn(async move {
                    let outcome = adopter.settle_dir(work, &path, found, there).await;
                    Done { path: format!("{path}/"), bytes: None, outcome }
                });
            }
            What::Object(_) if listing.is_dir(&path) => {
                report.conflicts.add(&path, "the bucket has a directory of this name");
            }
            What::Object(found) => {
                let (listed, known) = (listing.get(&path), ledger.seen.get(&hash(&*path)).copied());
                tasks.spawn(async move {
                    let outcome = adopter.settle(work, &path, found, listed, known).await;
                    Done { path, bytes: Some(found.attr.size), outcome }
                });
            }
        }
    }

    /// Files below the directory, and their bytes.
    async fn count(&self) -> Result<(u64, u64)> {
        let (walk, tree) = (self.walk(), Arc::clone(&self.tree));
        let count = move || {
            let (mut files, mut bytes) = (0, 0);
            walk.run(&tree, &Shelf::default(), |item| {
                if let What::Object(found) = item.what {
                    files += 1;
                    bytes += found.attr.size;
                }
                true
            })
            .map(|()| (files, bytes))
        };
        Ok(spawn_blocking(count).await.map_err(Error::unavailable)??)
    }

    pub(super) fn walk(&self) -> Walk {
        Walk { options: self.options.clone(), prefix: self.prefix.clone(), seed: self.seed }
    }
}

impl Ledger<'_> {
    fn enter(&mut self, done: Done) {
        let Done { path, bytes, outcome } = done;
        let report = &mut self.report;
        let failed = matches!(outcome, Outcome::Failed { remote: true, .. });
        self.failures = if failed { self.failures + 1 } else { 0 };
        let (known, sent) = match outcome {
            Outcome::There(known) => (known, None),
            Outcome::Sent(known, sent) => (known, Some(sent)),
            Outcome::Missing(why) => return report.missing.add(&path, why),
            Outcome::Conflict(why) => return report.conflicts.add(&path, why),
            Outcome::Changing(why) => return report.changing.add(&path, why),
            Outcome::Gone => return,
            Outcome::Failed { why, .. } => {
                if self.failures >= FAILURES_MAX {
                    report.stopped.get_or_insert_with(|| format!("the bucket fails again and again: {why}"));
                }
                return report.failed.add(&path, why);
            }
        };
        self.seen.insert(hash(&*path), known);
        match (bytes, sent) {
            (Some(bytes), sent) => {
                report.files += 1;
                report.bytes += sent.unwrap_or(bytes);
                report.uploaded += u64::from(sent.is_some());
                report.uploaded_bytes += sent.unwrap_or(0);
            }
            (None, sent) => report.directories += u64::from(sent.is_some()),
        }
    }
}
