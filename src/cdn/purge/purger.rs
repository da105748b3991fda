//! The purges of one mount: who is told of changes, what is on the disk, and what the lanes have of it.

mod announced;
mod paying;

use std::{
    collections::HashSet,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

pub use announced::Announced;
use tokio::{sync::Notify, time::timeout};

use super::{
    engine::{Engine, Parcel},
    lane::Lane,
    outbox::{Id, Outbox},
    paid::Paid,
    target::{Target, Verdict},
    vendor::{Common, Vendor},
    versions::{Seen, Versions},
};
use crate::{clock, cost::day::Day, model::key::Key};

/// Below it are objects of ours that are no files.
const CONTROL: &str = ".originfs/";
/// How long a write waits for its purge where that is wanted. With the answer of the bucket it must stay below what a
/// request of the kernel may take, or a close would fail of which the bytes are durable.
pub const SYNC_MAX: Duration = Duration::from_secs(3);

/// How soon the file of what was paid is tried again while another process has it, which takes less than a millisecond.
const PAID_RETRY: Duration = Duration::from_millis(50);

/// Between the seeds of two lanes: odd, and without a pattern (2^64 by the golden ratio).
const APART: u64 = 0x9e37_79b9_7f4a_7c15;

/// A vendor as it is configured.
#[derive(Clone, Debug)]
pub struct Station {
    /// As people know it.
    pub name: String,
    pub vendor: Vendor,
    pub common: Common,
}

#[derive(Debug)]
pub struct Purger {
    outbox: Outbox,
    stations: Vec<Station>,
    /// The directory of the bucket that is mounted; ends in a slash or is empty.
    root: Arc<str>,
    state: Mutex<State>,
    /// Versions of objects; `None`: no edge has any in its URLs.
    seen: Option<Mutex<Seen>>,
    /// Somebody has something for the lanes.
    pub(super) poke: Notify,
    /// A vendor answered.
    news: Notify,
    /// Whoever writes waits.
    sync: AtomicBool,
    /// Purges before it is time: a fault for tests that are to find it.
    #[cfg(debug_assertions)]
    hasty: AtomicBool,
}

/// How far a purge is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    Purged,
    Pending,
    /// Some vendor found that it makes no sense.
    Failed,
}

#[derive(Debug)]
struct State {
    engine: Engine,
    paid: Paid,
    /// Records of requests that are not answered yet.
    noted: HashSet<Id>,
    /// The segment of the outbox from which records are to be taken that found no room; `None`: none are left there.
    behind: Option<u64>,
}

impl Purger {
    /// `dir` holds the outbox. What an earlier run left there is purged, too.
    pub fn open(dir: &Path, root: &str, stations: Vec<Station>, seed: u64) -> io::Result<Arc<Self>> {
        let outbox = Outbox::open(dir)?;
        let now = clock::now();
        let lane = |(n, station): (u64, &Station)| {
            Lane::new(station.vendor.contract(&station.common), now, seed.wrapping_add(n.wrapping_mul(APART)))
        };
        let engine = Engine::new((0..).zip(&stations).map(lane).collect());
        let paid = Paid::beside(dir, today());
        let state = Mutex::new(State { engine, paid, noted: HashSet::new(), behind: Some(0) });
        let (poke, news) = (Notify::new(), Notify::new());
        let root = Arc::from(root);
        let versioned = stations.iter().any(|station| station.common.urls.are_versioned());
        let purger = Self {
            outbox,
            stations,
            root,
            state,
            seen: versioned.then(Mutex::default),
            poke,
            news,
            sync: AtomicBool::new(false),
            #[cfg(debug_assertions)]
            hasty: AtomicBool::new(false),
        };
        purger.count(&mut purger.state(), |_| Some(0));
        Ok(Arc::new(purger))
    }

    pub fn stations(&self) -> &[Station] {
        &self.stations
    }

    /// Purges what the outbox in `dir` has, which nobody else has open. All of it is in this one when that ends well.
    pub async fn take_over(self: &Arc<Self>, dir: &Path) -> io::Result<u64> {
        let other = Outbox::open(dir)?;
        let (mut after, mut count) = (0, 0);
        while let Some((number, dues)) = other.pending(after)? {
            let ids: Vec<_> = dues.iter().map(|due| due.id).collect();
            let (keys, versions) = dues.into_iter().map(|due| (due.key, due.versions)).unzip();
            let taken = self.note(keys, versions);
            let last =
                taken.ids().last().ok_or_else(|| io::Error::other("the outbox of the mount cannot be written"))?;
            self.outbox.sync(last).await.map_err(io::Error::other)?;
            taken.pass();
            count += ids.len() as u64;
            other.done(&ids);
            after = number;
        }
        Ok(count)
    }

    fn concerns(&self, key: &Key) -> bool {
        let below = key.as_str().strip_prefix(&*self.root);
        below.is_some_and(|path| !path.is_empty() && !path.ends_with('/') && !path.starts_with(CONTROL))
    }

    /// One version set for each key.
    fn note(self: &Arc<Self>, keys: Vec<Arc<str>>, versions: Vec<Versions>) -> Announced {
        // Nobody may find the records on the disk before it is known that they are under way.
        let mut state = self.state();
        let first = match self.outbox.note_versions(&keys, &versions) {
            Ok(first) => Some(first),
            Err(err) => {
                log::error!("purges are not kept over the end of this process: {err}");
                None
            }
        };
        let announced = Announced { purger: Arc::clone(self), first, keys, versions };
        state.noted.extend(announced.ids());
        announced
    }

    /// What was announced as `id` came to an end, with the versions that edges may have now; `None`: nothing happened.
    fn settled(&self, id: Option<Id>, key: &Arc<str>, versions: Option<Versions>) {
        let mut state = self.state();
        if let Some(id) = id {
            state.noted.remove(&id);
        }
        let Some(versions) = versions else {
            self.outbox.done(id.as_slice());
            return;
        };
        if let Some(id) = id
            && self.seen.is_some()
            && !versions.unsure
        {
            self.outbox.settle(id, &versions);
        }
        // Once something waits on the disk, all that is younger waits behind it.
        if id.is_some() && (state.behind.is_some() || state.engine.is_full()) {
            let before = id.map_or(0, |id| self.outbox.segment_of(id)).saturating_sub(1);
            state.behind = Some(state.behind.map_or(before, |behind| behind.min(before)));
            return;
        }
        let done = state.engine.changed(id, key, &versions, clock::now());
        self.outbox.done(&done);
    }

    /// Takes what found no room before, while there is some.
    pub(super) fn refill(&self) {
        loop {
            let mut state = self.state();
            let State { engine, noted, behind, .. } = &mut *state;
            let Some(after) = behind.filter(|_| engine.has_room()) else { return };
            // Read while nobody can end a record or add one.
            let newest = self.outbox.newest();
            let (number, dues) = match self.outbox.pending(after) {
                Ok(Some(found)) => found,
                Ok(None) => {
                    *behind = None;
                    return;
                }
                Err(err) => {
                    log::error!("purges that wait on the disk cannot be read: {err}");
                    return;
                }
            };
            let now = clock::now();
            for due in dues {
                if !noted.contains(&due.id) && !engine.knows(due.id) {
                    if let Some(mut seen) = self.seen() {
                        seen.recall(&due.key, &due.versions);
                    }
                    let done = engine.changed(Some(due.id), &due.key, &due.versions, now);
                    self.outbox.done(&done);
                }
            }
            *behind = (number < newest).then_some(number);
        }
    }

    /// What is to be sent now.
    pub(super) fn step(&self) -> Vec<Parcel> {
        let mut state = self.state();
        let (now, turns) = (clock::now(), state.paid.turns(today()));
        // Others may have paid since the last look.
        let is_due = |lane: &Lane| turns || lane.wake(now).is_some_and(|at| at <= now);
        let due: Vec<bool> = state.engine.lanes().iter().map(is_due).collect();
        self.count(&mut state, |n| due[n].then_some(0));
        let paused = |engine: &Engine| engine.lanes().iter().map(|lane| lane.paused(now).is_some()).collect::<Vec<_>>();
        let before = paused(&state.engine);
        let (parcels, done) = state.engine.step(now);
        self.outbox.done(&done);
        for ((station, lane), before) in self.stations.iter().zip(state.engine.lanes()).zip(before) {
            if let Some(paused) = lane.paused(now).filter(|_| !before) {
                log::error!("{}: purges wait: {}", station.name, paused.why);
            }
        }
        parcels
    }

    pub(super) fn answered(&self, lane: usize, batch: u64, verdict: Verdict) {
        let mut state = self.state();
        let paid = |state: &State| state.engine.lanes().get(lane).map_or(0, |lane| lane.tally().paid);
        let before = paid(&state);
        let done = state.engine.answered(lane, batch, verdict, clock::now());
        self.outbox.done(&done);
        let more = paid(&state) - before;
        if more > 0 {
            self.count(&mut state, |n| (n == lane).then_some(more));
        }
        drop(state);
        self.news.notify_waiters();
    }

    /// How long nothing is to be done, unless somebody pokes. `None`: for ever.
    pub(super) fn sleep(&self) -> Option<Duration> {
        let (now, state) = (clock::now(), self.state());
        let wake = state.engine.wake(now).map(|at| at.saturating_duration_since(now));
        let owed = state.paid.owes_any().then_some(PAID_RETRY);
        wake.into_iter().chain(owed).min()
    }

    /// Has edges forget what nobody changed here.
    pub fn ask(&self, targets: &[Target]) {
        let mut state = self.state();
        for target in targets {
            // Somebody else may have written it.
            let mut versions = self.versions_of(target);
            versions.unsure = self.seen.is_some();
            state.engine.asked(target, &versions, clock::now());
        }
        drop(state);
        self.poke.notify_one();
    }

    /// The stations that cannot do that.
    pub fn unable(&self, targets: &[Target]) -> Vec<String> {
        let names = self.stations.iter().map(|station| &station.name);
        self.look(|lanes| {
            let all = lanes.iter().zip(names);
            let unable = all.filter(|(lane, _)| !targets.iter().all(|target| lane.can(target)));
            unable.map(|(_, name)| name.clone()).collect()
        })
    }

    /// How far the purge of a key is, of all vendors that of the slowest.
    pub fn progress(&self, key: &str) -> Progress {
        let state = self.state();
        let lanes = state.engine.lanes();
        // What is on the disk alone may be this one.
        if state.behind.is_some() || lanes.iter().any(|lane| lane.has(key)) {
            Progress::Pending
        } else if lanes.iter().any(|lane| lane.gave_up(key)) {
            Progress::Failed
        } else {
            Progress::Purged
        }
    }

    /// From now on whoever writes an object waits for its purge.
    pub fn keep_waiting(&self) {
        self.hurry();
        self.sync.store(true, Ordering::Relaxed);
    }

    /// From now on nothing is purged later than it could be, which costs more where purges are paid for.
    pub fn hurry(&self) {
        let mut state = self.state();
        let done = state.engine.hurry(clock::now());
        self.outbox.done(&done);
        drop(state);
        self.poke.notify_one();
    }

    /// From now on a change is purged when it is announced, and never again: too early. No release build can do that.
    #[cfg(debug_assertions)]
    pub fn be_hasty(&self) {
        self.hasty.store(true, Ordering::Relaxed);
    }

    /// Waits until a key is purged once everywhere, for [`SYNC_MAX`] at most, and no longer where a vendor is in trouble.
    async fn purged(&self, key: &str) {
        let wait = async {
            loop {
                let mut news = std::pin::pin!(self.news.notified());
                // An answer that comes between the look and the wait counts.
                news.as_mut().enable();
                let ends = {
                    let state = self.state();
                    let lanes = state.engine.lanes();
                    let done = !lanes.iter().any(|lane| lane.awaits(key));
                    done || state.behind.is_some() || lanes.iter().any(Lane::is_in_trouble)
                };
                if ends {
                    return;
                }
                news.await;
            }
        };
        if timeout(SYNC_MAX, wait).await.is_err() {
            log::warn!("{key} is in the bucket, and not purged within {} s", SYNC_MAX.as_secs());
        }
    }

    /// Tries again what was paused: somebody says that the reason is gone.
    pub fn resume(&self) {
        self.state().engine.lanes_mut().iter_mut().for_each(Lane::resume);
        self.poke.notify_one();
    }

    /// All that was to be purged is purged, and what that cost is kept.
    pub fn is_drained(&self) -> bool {
        let state = self.state();
        state.engine.is_idle() && state.behind.is_none() && !state.paid.owes_any()
    }

    /// Whether there is anything to wait for until then: an answer, or the end of a pause.
    pub fn moves_before(&self, deadline: Instant) -> bool {
        let now = clock::now();
        let state = self.state();
        let lanes = state.engine.lanes();
        state.behind.is_some()
            || state.paid.owes_any()
            || lanes.iter().any(|lane| lane.is_flying() || lane.wake(now).is_some_and(|at| at < deadline))
    }

    /// Records that are pending, those on the disk too.
    pub fn pending(&self) -> u64 {
        self.outbox.len()
    }

    /// Looks at the lanes in the order of the stations.
    pub fn look<T>(&self, look: impl FnOnce(&[Lane]) -> T) -> T {
        look(self.state().engine.lanes())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }
}

fn today() -> Day {
    Day::of(clock::wall().sec)
}

#[cfg(test)]
mod tests;
