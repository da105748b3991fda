//! The calls that the bucket has not answered yet.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use super::status::Call;
use crate::{clock, store::op::Op};

/// All calls in flight. There are as many as the callers allow themselves; this adds no bound.
#[derive(Debug, Default)]
pub struct Inflight {
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    next: u64,
    /// In the order in which they began.
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    op: Op,
    key: Arc<str>,
    began: Instant,
}

impl Inflight {
    /// Notes a call until the guard is dropped.
    pub fn enter(self: &Arc<Self>, op: Op, key: &str) -> Flight {
        let key: Arc<str> = Arc::from(key);
        let began = clock::now();
        let mut calls = self.lock();
        let id = calls.next;
        calls.next += 1;
        calls.open.insert(id, Open { op, key, began });
        Flight { all: Arc::clone(self), id }
    }

    /// The oldest `max` calls and their ages at `now`, the oldest first.
    pub fn list(&self, now: Instant, max: usize) -> Vec<Call> {
        let calls = self.lock();
        let oldest = calls.open.values().take(max);
        oldest
            .map(|open| Call {
                operation: open.op.name().to_owned(),
                key: open.key.to_string(),
                age_ms: u64::try_from(now.saturating_duration_since(open.began).as_millis()).unwrap_or(u64::MAX),
            })
            .collect()
    }

    pub fn len(&self) -> usize {
        self.lock().open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().expect("nothing panics while it is held")
    }
}

/// One call in flight; dropping it ends it, also when the caller was cancelled.
#[derive(Debug)]
#[must_use = "the call ends when this is dropped"]
pub struct Flight {
    all: Arc<Inflight>,
    id: u64,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.all.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn calls_are_listed_by_age_until_they_end() {
        let inflight = Arc::new(Inflight::default());
        let first = inflight.enter(Op::Head, "a");
        let second = inflight.enter(Op::Get, "b");
        let later = clock::now() + Duration::from_secs(5);

        let list = inflight.list(later, 10);
        assert_eq!(list.iter().map(|call| call.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(list.iter().all(|call| call.age_ms >= 5_000 && call.age_ms < 60_000), "{list:?}");
        assert_eq!(inflight.list(later, 1).len(), 1);

        drop(first);
        assert_eq!(inflight.list(later, 10)[0].operation, "GetObject");
        drop(second);
        assert!(inflight.is_empty());
    }
}
