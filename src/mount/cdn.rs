//! The purges of a mount: their disk, their secrets and their way to the vendors.

mod verify;
mod world;

#[cfg(debug_assertions)]
use std::env;
use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

pub(super) use verify::Edges;
pub use world::{Visited, visit};
use world::{World, seed};

use super::MountError;
use crate::{
    cdn::purge::{
        driver::Outside,
        lane::Lane,
        purger::{Progress, Purger},
        setup::{self, Planned},
        target::Target,
    },
    clock,
    config::{Options, cdn::Place},
    model::key::Key,
    store::{Store, s3::S3Store},
    telemetry::{
        status,
        upkeep::{Purge, Purged},
    },
};

/// Bytes of an answer that are looked at: those to purges are small everywhere, and 300 rules of 4 KiB are the most that
/// a zone has.
const ANSWER_BYTES: usize = 4 << 20;
/// What can be purged gets so long at the end of a mount, which has 90 s for all; the rest is purged by the next one.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long an edge may take that is looked at.
const COMPARE_MAX: Duration = Duration::from_secs(10);
/// Between looks at it.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// Where the outbox is, in the cache directory of the mount.
pub(super) const OUTBOX: &str = "purges";

/// Set for the test that must find what goes wrong then.
#[cfg(debug_assertions)]
const HASTY: &str = "ORIGINFS_TEST_HASTY_PURGES";

/// The purges of a mount that has a CDN, and the task that does them.
pub(super) fn open<S: Store>(options: &Options, bucket: Arc<S>) -> Result<Option<Arc<Purger>>, MountError> {
    open_at(options, &options.cache.dir.join(OUTBOX), Arc::new(OnceLock::from(bucket)))
}

/// The same with the outbox in `dir`, and a bucket that may come later.
pub(super) fn open_at<S: Store>(
    options: &Options,
    dir: &Path,
    bucket: Arc<OnceLock<Arc<S>>>,
) -> Result<Option<Arc<Purger>>, MountError> {
    if options.cdn.is_empty() {
        return Ok(None);
    }
    if options.fs.read_only {
        log::warn!(
            "nothing is purged: the mount is read-only, and its [[cdn]] tables say only where its files are read"
        );
        return Ok(None);
    }
    for why in setup::deaf(&options.cdn) {
        log::warn!("{why}");
    }
    let wrong = |why: String| MountError::Path(dir.to_owned(), why);
    let planned = setup::stations(&options.cdn, &options.prefix, &options.fs.urls).map_err(wrong)?;
    if planned.is_empty() {
        return Ok(None);
    }
    let stations = planned.iter().map(|planned| planned.station.clone()).collect();
    let purger = Purger::open(dir, options.prefix.as_str(), stations, seed());
    let purger = purger.map_err(|err| wrong(err.to_string()))?;
    for Planned { station, .. } in &planned {
        log::info!("{} forgets what changes here", station.name);
    }
    #[cfg(debug_assertions)]
    if env::var_os(HASTY).is_some() {
        log::error!("{HASTY} is set: purges come too early, and edges will show what is old");
        purger.be_hasty();
    }
    if purger.pending() > 0 {
        log::info!("{} purges of an earlier run are made up for", purger.pending());
    }
    let world = World::new(planned.into_iter().map(|planned| planned.place).collect(), bucket);
    drop(tokio::spawn(crate::cdn::purge::driver::run(Arc::clone(&purger), Arc::new(world))));
    Ok(Some(purger))
}

/// Waits for what is to be purged yet, but not for long.
pub(super) async fn drain(purger: Arc<Purger>) {
    // What would come later is left for the next mount all the same, which may be long in coming.
    purger.hurry();
    let deadline = clock::now() + DRAIN_MAX;
    while !purger.is_drained() && purger.moves_before(deadline) && clock::now() < deadline {
        tokio::time::sleep(DRAIN_STEP).await;
    }
    if !purger.is_drained() {
        log::warn!("{} purges are left for the next mount", purger.pending());
    }
}

/// Requests to vendors since the mount began, and what they were about.
pub(super) fn tally(purger: &Purger) -> (u64, u64) {
    purger.look(|lanes| {
        let tallies = lanes.iter().map(Lane::tally);
        tallies.fold((0, 0), |(requests, items), tally| (requests + tally.requests, items + tally.items))
    })
}

/// What `status` shows of each vendor.
pub(super) fn report(purger: &Purger) -> Vec<status::Purging> {
    let now = clock::now();
    let line = |lane: &Lane, name: &str| {
        let tally = lane.tally().clone();
        status::Purging {
            vendor: name.to_owned(),
            waiting: lane.waiting() as u64,
            oldest_s: lane.oldest().map(|since| now.saturating_duration_since(since).as_secs()),
            requests: tally.requests,
            items: tally.items,
            errors: tally.errors,
            given_up: tally.dead,
            done: tally.done,
            latency_ms: u64::try_from(tally.latency.as_millis()).unwrap_or(u64::MAX),
            paid: lane.budget().map(|_| tally.paid),
            budget: lane.budget(),
            paused: lane.paused(now).map(|paused| paused.why.clone()),
            last_error: tally.last_error,
            dead: lane.dead().map(|dead| format!("{}: {}", dead.target, dead.why)).collect(),
        }
    };
    let stations = purger.stations().iter();
    purger.look(|lanes| lanes.iter().zip(stations).map(|(lane, station)| line(lane, &station.name)).collect())
}

/// The way to APIs for a command that is no mount; `place` is where the secret of the station 0 is.
pub fn outside(place: Place) -> impl Outside {
    World::<S3Store>::new(vec![place], Arc::default())
}

/// The value of `user.cdn.state`.
pub(super) fn word(progress: Progress) -> &'static str {
    match progress {
        Progress::Purged => "purged",
        Progress::Pending => "pending",
        Progress::Failed => "failed",
    }
}

/// What is said where there is no CDN.
pub(super) const NONE: &str = "this mount has no [[cdn]] in its file";

/// Has the vendors forget what an administrator names.
pub(super) fn purge(
    purger: Option<&Purger>,
    wish: &Purge,
    key_of: impl Fn(&str) -> Result<Key, String>,
) -> Result<Purged, String> {
    let purger = purger.ok_or(NONE)?;
    let mut targets = Vec::new();
    for path in &wish.paths {
        let key = key_of(path)?;
        targets.push(if wish.below {
            Target::Below(Arc::from(key.marker().as_str()))
        } else {
            Target::Object(Arc::from(key.as_str()))
        });
    }
    targets.extend(wish.tags.iter().map(|tag| Target::Tag(Arc::from(tag.as_str()))));
    targets.extend(wish.everything.then_some(Target::Everything));
    let mut done = Purged { unable: purger.unable(&targets), ..Purged::default() };
    for station in purger.stations().iter().filter(|station| !done.unable.contains(&station.name)) {
        done.vendors.push(station.name.clone());
        let urls = |target| station.common.urls_of(target, &purger.versions_of(target));
        for url in targets.iter().flat_map(urls) {
            if !done.urls.contains(&url) {
                done.urls.push(url);
            }
        }
    }
    if !wish.dry_run {
        if wish.resume {
            purger.resume();
        }
        purger.ask(&targets);
    }
    Ok(done)
}

/// An error with its causes.
pub(super) fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
