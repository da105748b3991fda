//! One request per key at a time, shared by those who may share it.
//!
//! An answer serves only those who asked before its request was sent: a caller that arrives while a request is in
//! flight waits for the *next* one, which it shares with everybody else who arrived meanwhile. Joining the one in
//! flight would let an open that began after somebody's close see what was before that close.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::oneshot;

use crate::error::{Error, Result};

type Send1<T> = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<T>> + Send>> + Send>;

/// Requests in flight, by key, with those who wait for the next. As long as the callers are bounded, so is this.
pub struct Batches<K, T>(Arc<Mutex<HashMap<K, Slot<T>>>>);

struct Slot<T> {
    waiting: Vec<oneshot::Sender<Result<T>>>,
    send: Option<Send1<T>>,
}

impl<K, T> Default for Batches<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, T> fmt::Debug for Batches<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash + Send + 'static, T: Clone + Send + 'static> Batches<K, T> {
    /// The answer to a request for `key` that was sent after this call began. `send` may be used or not: whoever waits
    /// for the same request must mean the same by it. A caller that goes away disturbs nobody.
    pub async fn ask<F, Fut>(&self, key: K, send: F) -> Result<T>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let send: Send1<T> = Box::new(move || Box::pin(send()));
        self.enter(key, reply, send);
        answer.await.unwrap_or_else(|_| Err(Error::unavailable("the request was dropped")))
    }

    fn enter(&self, key: K, reply: oneshot::Sender<Result<T>>, send: Send1<T>) {
        let mut slots = lock(&self.0);
        if let Some(slot) = slots.get_mut(&key) {
            slot.waiting.push(reply);
            slot.send.get_or_insert(send);
            return;
        }
        slots.insert(key.clone(), Slot { waiting: Vec::new(), send: None });
        drop(slots);
        let running = Running { slots: Arc::clone(&self.0), key };
        tokio::spawn(running.run(vec![reply], send));
    }
}

/// The task of one key. Dropping it, also by a panic of the request, frees the key; who waited gets an error.
struct Running<K: Eq + Hash, T> {
    slots: Arc<Mutex<HashMap<K, Slot<T>>>>,
    key: K,
}

impl<K: Clone + Eq + Hash, T: Clone> Running<K, T> {
    async fn run(self, mut waiting: Vec<oneshot::Sender<Result<T>>>, mut send: Send1<T>) {
        loop {
            let answer = send().await;
            for reply in waiting {
                drop(reply.send(answer.clone())); // the caller may be gone
            }
            let mut slots = lock(&self.slots);
            let Some(slot) = slots.get_mut(&self.key) else { return };
            let Some(next) = slot.send.take() else {
                slots.remove(&self.key);
                return;
            };
            waiting = std::mem::take(&mut slot.waiting);
            send = next;
        }
    }
}

impl<K: Eq + Hash, T> Drop for Running<K, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.slots).remove(&self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::patience::eventually;

    struct Server {
        sent: AtomicU32,
        gate: Semaphore,
    }

    impl Server {
        fn new() -> Arc<Self> {
            Arc::new(Self { sent: AtomicU32::new(0), gate: Semaphore::new(0) })
        }

        async fn answer(self: Arc<Self>) -> Result<u32> {
            let number = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
            self.gate.acquire().await.unwrap().forget();
            Ok(number)
        }
    }

    #[tokio::test]
    async fn late_callers_share_the_next_request_and_never_the_one_in_flight() {
        let server = Server::new();
        let batches = Arc::new(Batches::<&str, u32>::default());
        let ask = || {
            let (server, batches) = (Arc::clone(&server), Arc::clone(&batches));
            tokio::spawn(async move { batches.ask("k", || server.answer()).await.unwrap() })
        };
        let first = ask();
        eventually("it is asked", || server.sent.load(Ordering::SeqCst) > 0).await;
        let late: Vec<_> = (0..50).map(|_| ask()).collect();
        let waiting = || lock(&batches.0).get("k").map_or(0, |slot| slot.waiting.len());
        eventually("all wait", || waiting() >= 50).await;
        server.gate.add_permits(2);
        assert_eq!(first.await.unwrap(), 1);
        for caller in late {
            assert_eq!(caller.await.unwrap(), 2);
        }
        assert_eq!(server.sent.load(Ordering::SeqCst), 2);
        assert!(lock(&batches.0).is_empty());
    }

    #[tokio::test]
    async fn a_panicking_request_frees_the_key() {
        let batches = Batches::<&str, u32>::default();
        assert!(batches.ask("k", || async { panic!("on purpose") }).await.is_err());
        assert_eq!(batches.ask("k", || async { Ok(7) }).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_disturbs_nobody() {
        let server = Server::new();
        let batches = Arc::new(Batches::<&str, u32>::default());
        let gone = {
            let (server, batches) = (Arc::clone(&server), Arc::clone(&batches));
            tokio::spawn(async move { batches.ask("k", || server.answer()).await })
        };
        eventually("it is asked", || server.sent.load(Ordering::SeqCst) > 0).await;
        gone.abort();
        server.gate.add_permits(2);
        let asker = Arc::clone(&server);
        assert_eq!(batches.ask("k", || asker.answer()).await.unwrap(), 2);
    }
}
