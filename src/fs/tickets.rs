//! What the requests of one system call leave for each other.
//!
//! open(2) comes as a LOOKUP for each name of its path, perhaps a GETATTR, and an OPEN; all of them name the thread. The
//! OPEN needs no question of its own if the LOOKUP asked one. It means the name that was looked up, which may be
//! another node's since. And after an OPEN that failed as stale the kernel walks the path again, asking for every name,
//! and comes back once (fs/namei.c, `do_file_open`: `LOOKUP_REVAL`).
//!
//! A thread makes one system call at a time, so there is one slot for each, and whatever shows that another call has
//! begun empties it: an answer must never serve a call that began after it was asked for. Nothing shows it when a call
//! is given up between two requests (a signal); so an answer is short-lived as well.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use lru::LruCache;

use super::{
    lock, lru,
    types::{Found, NodeId},
};
use crate::{freshness::serves, model::key::Name};

/// More threads than a small host has in system calls at once.
const LEN: usize = 4096;

/// How long an answer waits for the OPEN of the system call that began with its LOOKUP. Far longer than that takes, far
/// shorter than anybody's patience.
const AGE: Duration = Duration::from_millis(500);

/// The same for the GETATTR between the two (the kernel checks permissions) or after the LOOKUP of a stat(2). Shorter,
/// because it leaves the answer, and an fstat(2) of the same thread looks just like it.
const GLANCE_AGE: Duration = Duration::from_millis(50);

/// A name in its directory.
pub(super) type Place = (NodeId, Name);

/// By thread. Zero are all threads that the mount's PID namespace does not know (`fuse_req.pid`, include/uapi/linux/fuse.h):
/// of them nobody knows who comes back.
#[derive(Debug)]
pub(super) struct Tickets(Mutex<LruCache<u32, Slot>>);

#[derive(Debug, Default)]
struct Slot {
    /// What the last lookup found.
    found: Option<Looked>,
    back: Option<Back>,
}

#[derive(Clone, Copy, Debug)]
struct Looked {
    id: NodeId,
    /// The hash of its key.
    ino: u64,
    /// When the lookup began that asked the bucket; `None` if it did not ask.
    asked: Option<Instant>,
    when: Instant,
}

/// An OPEN failed as stale.
#[derive(Debug)]
struct Back {
    /// What it was about; `None` if it has no name any more, or the walk to it failed.
    place: Option<Place>,
    since: Instant,
    /// What that name is, asked for when the OPEN failed.
    now: Option<NodeId>,
}

/// What the OPEN of a system call finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket {
    /// The hash of the key that the node had when its name was looked up.
    pub(super) ino: Option<u64>,
    /// An earlier request of this call asked what the name is.
    pub(super) asked: bool,
    /// When that request began, if it is known that it was this call's: what was asked for since serves this call.
    pub(super) began: Option<Instant>,
    /// It came back already: if it is stale this time, the system call fails.
    pub(super) again: bool,
}

impl Tickets {
    pub(super) fn new() -> Self {
        Self(Mutex::new(lru(LEN)))
    }

    /// No answer serves any more; who comes back after a stale open is still known.
    pub(super) fn void(&self) {
        for (_, slot) in lock(&self.0).iter_mut() {
            slot.found = None;
            slot.back.iter_mut().for_each(|back| back.now = None);
        }
    }

    /// A lookup found a node, by a question (then `asked` is when the lookup began) or without one. `leads` says whether
    /// a place is the name that was looked up or may be below it.
    pub(super) fn found(
        &self,
        tid: u32,
        found: &Found,
        asked: Option<Instant>,
        now: Instant,
        leads: impl FnOnce(&Place) -> bool,
    ) {
        let mut slots = lock(&self.0);
        let slot = slots.get_or_insert_mut(tid, Slot::default);
        slot.found = Some(Looked { id: found.id, ino: found.stat.ino, asked, when: now });
        // A walk to somewhere else belongs to another system call.
        let place = slot.back.as_ref().and_then(|back| back.place.as_ref());
        if place.is_some_and(|place| !leads(place)) {
            slot.back = None;
        }
    }

    /// A lookup failed, and with it the system call. If it was stale, the kernel comes back.
    pub(super) fn failed(&self, tid: u32, stale: bool, now: Instant) {
        let mut slots = lock(&self.0);
        let again = slots.pop(&tid).is_some_and(|slot| slot.back.is_some());
        drop(slots);
        if stale && !again {
            self.comes_back(tid, None, None, now);
        }
    }

    /// Whether this lookup is that of an open that just failed as stale, so that its answer is here already.
    pub(super) fn reopens(&self, tid: u32, id: NodeId, now: Instant) -> bool {
        let slots = lock(&self.0);
        let back = slots.peek(&tid).and_then(|slot| slot.back.as_ref());
        back.is_some_and(|back| back.now == Some(id) && serves(back.since, now, AGE))
    }

    /// Whether the lookup of this system call asked already.
    pub(super) fn glances(&self, tid: u32, id: NodeId, now: Instant) -> bool {
        let slots = lock(&self.0);
        slots.peek(&tid).is_some_and(|slot| {
            let asked = slot.found.filter(|found| found.asked.is_some() && found.id == id).map(|found| found.when);
            // Asking again for an open that comes back would bring another version, without its bytes.
            let back = slot.back.as_ref().filter(|back| back.now == Some(id)).map(|back| back.since);
            asked.is_some_and(|when| serves(when, now, GLANCE_AGE)) || back.is_some_and(|since| serves(since, now, AGE))
        })
    }

    /// The OPEN or OPENDIR of a node, the last request of a system call.
    pub(super) fn take(&self, tid: u32, id: NodeId, place: Option<&Place>, now: Instant) -> Ticket {
        let Some(slot) = lock(&self.0).pop(&tid) else { return Ticket::default() };
        let found = slot.found.filter(|found| found.id == id && serves(found.when, now, AGE));
        let back = slot
            .back
            .filter(|back| serves(back.since, now, AGE) && (back.place.is_none() || back.place.as_ref() == place));
        Ticket {
            ino: found.map(|found| found.ino),
            asked: found.is_some_and(|found| found.asked.is_some())
                || back.as_ref().is_some_and(|back| back.now == Some(id)),
            began: found.and_then(|found| found.asked).filter(|_| tid != 0),
            again: back.is_some(),
        }
    }

    /// That OPEN failed as stale for the first time; what the name is was asked for since.
    pub(super) fn comes_back(&self, tid: u32, place: Option<Place>, now: Option<NodeId>, since: Instant) {
        if tid != 0 {
            lock(&self.0).put(tid, Slot { found: None, back: Some(Back { place, since, now }) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        fs::types::Stat,
        model::attr::{Attr, Kind, Time},
    };

    const ID: NodeId = NodeId(7);

    fn place(name: &str) -> Place {
        (NodeId::ROOT, Name::from_key(name).unwrap())
    }

    /// A lookup by thread 1 of `name`.
    fn look(tickets: &Tickets, name: &str, id: NodeId, asked: bool, now: Instant) {
        let time = Time::seconds(0);
        let (kind, mode) = (Kind::File, 0o644);
        let attr = Attr { kind, size: 0, mtime: time, atime: time, ctime: time, mode, uid: 0, gid: 0, rdev: 0 };
        let stat = Stat { ino: 70, nlink: 1, attr };
        let found = Found { id, stat, attr_ttl: Duration::ZERO, entry_ttl: Duration::ZERO };
        tickets.found(1, &found, asked.then_some(now), now, |to| *to == place(name));
    }

    fn open(tickets: &Tickets, name: &str, now: Instant) -> Ticket {
        tickets.take(1, ID, Some(&place(name)), now)
    }

    #[test]
    fn the_open_takes_what_its_lookup_asked_once() {
        let (tickets, now) = (Tickets::new(), crate::clock::now());
        look(&tickets, "f", ID, true, now);
        assert!(tickets.glances(1, ID, now) && !tickets.glances(1, ID, now + GLANCE_AGE));
        assert_eq!(open(&tickets, "f", now), Ticket { ino: Some(70), asked: true, began: Some(now), again: false });
        assert_eq!(open(&tickets, "f", now), Ticket::default());
        look(&tickets, "f", ID, true, now);
        assert_eq!(open(&tickets, "f", now + AGE), Ticket::default());
        look(&tickets, "f", ID, true, now);
        assert_eq!(tickets.take(2, ID, Some(&place("f")), now), Ticket::default(), "another thread");
        look(&tickets, "g", NodeId(8), true, now);
        assert_eq!(open(&tickets, "f", now), Ticket::default(), "the last lookup was about something else");
        look(&tickets, "f", ID, true, now);
        look(&tickets, "f", ID, false, now);
        assert_eq!(open(&tickets, "f", now), Ticket { ino: Some(70), ..Ticket::default() }, "another call began");
    }

    #[test]
    fn what_was_fetched_for_a_return_serves_that_return_only() {
        let (tickets, now) = (Tickets::new(), crate::clock::now());
        let back = || tickets.comes_back(1, Some(place("f")), Some(ID), now);
        back();
        assert!(tickets.reopens(1, ID, now) && tickets.glances(1, ID, now));
        look(&tickets, "f", ID, false, now);
        assert!(tickets.glances(1, ID, now), "the kernel checks permissions");
        assert_eq!(open(&tickets, "f", now), Ticket { ino: Some(70), asked: true, began: None, again: true });
        assert_eq!(open(&tickets, "f", now), Ticket::default(), "the next call");
        back();
        look(&tickets, "g", NodeId(8), false, now);
        assert!(!tickets.reopens(1, ID, now), "another name is another call");
        back();
        assert_eq!(open(&tickets, "g", now), Ticket::default(), "so is its open");
        back();
        tickets.failed(1, false, now);
        assert!(!tickets.reopens(1, ID, now), "the call came back and failed");
        back();
        assert!(!tickets.reopens(1, ID, now + AGE), "it never came back");
        assert_eq!(open(&tickets, "f", now + AGE), Ticket::default());
    }

    #[test]
    fn a_stale_walk_comes_back_once_too() {
        let (tickets, now) = (Tickets::new(), crate::clock::now());
        tickets.failed(1, true, now);
        look(&tickets, "g", NodeId(8), false, now);
        assert_eq!(open(&tickets, "f", now), Ticket { again: true, ..Ticket::default() });
        tickets.failed(1, true, now);
        tickets.failed(1, true, now);
        assert!(!open(&tickets, "f", now).again, "it failed for good");
    }

    #[test]
    fn what_is_forgotten_serves_nobody_and_who_comes_back_is_known() {
        let (tickets, now) = (Tickets::new(), crate::clock::now());
        tickets.comes_back(1, Some(place("f")), Some(ID), now);
        look(&tickets, "f", ID, true, now);
        tickets.void();
        assert!(!tickets.reopens(1, ID, now) && !tickets.glances(1, ID, now));
        assert_eq!(open(&tickets, "f", now), Ticket { again: true, ..Ticket::default() });
    }

    /// Else one process would get what another one asked for.
    #[test]
    fn threads_without_a_number_do_not_come_back() {
        let (tickets, now) = (Tickets::new(), crate::clock::now());
        tickets.comes_back(0, Some(place("f")), Some(ID), now);
        assert!(!tickets.reopens(0, ID, now));
    }
}
