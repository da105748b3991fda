//! All vendors of a mount together: a change is done when it is done everywhere. Pure.

use std::{collections::HashMap, sync::Arc, time::Instant};

use super::{
    lane::{Effect, Lane},
    outbox::Id,
    target::{Batch, Target, Verdict},
    versions::Versions,
};

/// Changes that are kept in memory; what is beyond waits on the disk. At about 400 bytes each, 20 MiB for a vendor.
const ROOM: usize = 50_000;

/// A batch for one of the lanes.
#[derive(Debug)]
pub struct Parcel {
    pub lane: usize,
    pub batch: Batch,
}

#[derive(Debug)]
pub struct Engine {
    lanes: Vec<Lane>,
    /// In how many lanes a record is still open.
    open: HashMap<Id, usize>,
}

impl Engine {
    pub fn new(lanes: Vec<Lane>) -> Self {
        Self { lanes, open: HashMap::new() }
    }

    /// A key changed, of which edges may have these versions; `id`: its record, which may have been lost. Gives the records that are superfluous now.
    ///
    /// It takes the rounds of each vendor: an edge may have been told of the old object, or that there is none, just before
    /// it changed, and keep that after a purge that comes at once.
    pub fn changed(&mut self, id: Option<Id>, key: &Arc<str>, versions: &Versions, now: Instant) -> Vec<Id> {
        if let Some(id) = id {
            self.open.insert(id, self.lanes.len());
        }
        let mut gone = Vec::new();
        for lane in &mut self.lanes {
            gone.extend(lane.add_versions(Target::Object(Arc::clone(key)), versions.clone(), id, true, now));
        }
        self.close(gone)
    }

    /// From now on somebody waits for purges: see [`Lane::hurry`]. Gives the records that are superfluous now.
    pub fn hurry(&mut self, now: Instant) -> Vec<Id> {
        let gone = self.lanes.iter_mut().flat_map(|lane| lane.hurry(now)).collect();
        self.close(gone)
    }

    /// Somebody wants it gone, wherever that can be done.
    pub fn asked(&mut self, target: &Target, versions: &Versions, now: Instant) {
        for lane in self.lanes.iter_mut().filter(|lane| lane.can(target)) {
            lane.add_versions(target.clone(), versions.clone(), None, false, now);
        }
    }

    /// What is to be sent now, and the records that are done.
    pub fn step(&mut self, now: Instant) -> (Vec<Parcel>, Vec<Id>) {
        let (mut parcels, mut done) = (Vec::new(), Vec::new());
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            for effect in lane.step(now) {
                match effect {
                    Effect::Send(batch) => parcels.push(Parcel { lane: number, batch }),
                    Effect::Done(ids) => done.extend(ids),
                }
            }
        }
        (parcels, self.close(done))
    }

    /// What became of a batch. Gives the records that are done.
    pub fn answered(&mut self, lane: usize, batch: u64, verdict: Verdict, now: Instant) -> Vec<Id> {
        let Some(lane) = self.lanes.get_mut(lane) else { return Vec::new() };
        let mut done = Vec::new();
        for effect in lane.answered(batch, verdict, now) {
            match effect {
                Effect::Done(ids) => done.extend(ids),
                Effect::Send(_) => {}
            }
        }
        self.close(done)
    }

    /// Those that no lane has any more.
    fn close(&mut self, ids: Vec<Id>) -> Vec<Id> {
        let mut done = Vec::new();
        for id in ids {
            match self.open.get_mut(&id) {
                Some(left) if *left > 1 => *left -= 1,
                Some(_) => {
                    self.open.remove(&id);
                    done.push(id);
                }
                None => {}
            }
        }
        done
    }

    /// When [`Self::step`] has something to do.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
        self.lanes.iter().filter_map(|lane| lane.wake(now)).min()
    }

    pub fn is_full(&self) -> bool {
        self.open.len() >= ROOM
    }

    /// There is room for what waits on the disk.
    pub fn has_room(&self) -> bool {
        self.open.len() < ROOM / 2
    }

    pub fn knows(&self, id: Id) -> bool {
        self.open.contains_key(&id)
    }

    pub fn is_idle(&self) -> bool {
        self.lanes.iter().all(Lane::is_idle)
    }

    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    pub fn lanes_mut(&mut self) -> &mut [Lane] {
        &mut self.lanes
    }
}
