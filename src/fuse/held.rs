//! Nodes at which requests wait for the bucket.
//!
//! Whoever made such a request may hold a lock of the kernel until it is answered: that of the directory for a name in it,
//! those of pages for a read. A notification that needs the same lock waits in the kernel without an end to it, and if
//! this process is killed meanwhile, it stays (its thread cannot be killed there, keeps the connection open, and nobody is
//! left to answer). So notifications wait here instead, until nobody holds anything.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use crate::{clock, fs::types::NodeId};

/// How long a notification waits for a moment in which no request waits at its node. Then it is enough that all have been
/// answered that waited when it came: at a node that many use there may never be such a moment.
const QUIET: Duration = Duration::from_millis(500);
/// How soon somebody who waits notices that the mount ends.
const TICK: Duration = Duration::from_millis(100);

/// The requests that wait. As many as the kernel sends.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Requests by node, in the order in which they came.
    nodes: HashMap<NodeId, BTreeSet<u64>>,
}

/// One request that waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    held: Held,
    nodes: [NodeId; 2],
    number: u64,
}

impl Held {
    /// Notes that a request waits at `nodes`, which may be one.
    pub(super) fn hold(&self, nodes: [NodeId; 2]) -> Hold {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        for node in nodes {
            state.nodes.entry(node).or_default().insert(number);
        }
        Hold { held: self.clone(), nodes, number }
    }

    /// Returns when no request waits at `node`, or none that waited when this was called and [`QUIET`] is over, or not
    /// `armed` any more.
    pub(super) fn wait(&self, node: NodeId, armed: impl Fn() -> bool) {
        let mut state = self.state();
        let (mark, begin) = (state.next, clock::now());
        while armed() && !state.is_free(node, mark, begin, clock::now()) {
            state = self.0.1.wait_timeout(state, TICK).expect("nothing panics while it holds this lock").0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    /// Whether somebody who came at `begin`, before request `mark`, waited long enough.
    fn is_free(&self, node: NodeId, mark: u64, begin: Instant, now: Instant) -> bool {
        let oldest = self.nodes.get(&node).and_then(BTreeSet::first);
        oldest.is_none_or(|oldest| *oldest >= mark && now.saturating_duration_since(begin) >= QUIET)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.held.state();
        for node in self.nodes {
            let Some(numbers) = state.nodes.get_mut(&node) else { continue };
            numbers.remove(&self.number);
            if numbers.is_empty() {
                state.nodes.remove(&node);
            }
        }
        drop(state);
        self.held.0.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(7);

    /// Whether it is free for somebody who came with the request `mark`, so long after.
    fn is_free(held: &Held, mark: u64, after: Duration) -> bool {
        let begin = clock::now();
        held.state().is_free(NODE, mark, begin, begin + after)
    }

    #[test]
    fn a_request_that_hangs_is_waited_for_and_later_ones_for_a_while() {
        let held = Held::default();
        let other = held.hold([NodeId(8), NodeId(9)]);
        assert!(is_free(&held, 1, Duration::ZERO), "it waits elsewhere");
        let first = held.hold([NODE; 2]);
        assert!(!is_free(&held, 2, Duration::from_hours(1)), "it was there before");
        let later = held.hold([NODE; 2]);
        drop(first);
        assert!(!is_free(&held, 2, QUIET / 2));
        assert!(is_free(&held, 2, QUIET), "there may always be another");
        drop(later);
        assert!(is_free(&held, 2, Duration::ZERO));
        drop(other);
        assert!(held.state().nodes.is_empty(), "nothing is left");
    }

    #[test]
    fn who_waits_goes_on_with_the_last_answer() {
        let held = Held::default();
        let (request, waiter) = (held.hold([NODE; 2]), held.clone());
        let waits = std::thread::spawn(move || waiter.wait(NODE, || true));
        assert!(!waits.is_finished());
        drop(request);
        waits.join().unwrap();
        let _another = held.hold([NODE; 2]);
        held.wait(NODE, || false);
    }
}
