//! A store that fails when it is told to: before the effect, after it, in the middle of a body, late, or not yet.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Body, Chunks, Copy, Get, Got, Headers, List, Object, Page, Part, Require, Store, Stored, Upload,
    op::{Call, Op},
};
use crate::{
    error::{Error, Result},
    model::{key::Key, version::ETag},
};

/// Calls that the log keeps, oldest dropped first: at ~100 bytes each, 10 MiB.
const LOG_MAX: usize = 100_000;

/// On which side of the effect something happens to a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The request never arrives.
    Before,
    /// The effect happens and the reply is lost.
    After,
}

/// Passes calls on to a store and breaks them as planned. Plans are made through `&self` at any time; several faults
/// can wait at once, and each strikes one call.
#[derive(Debug)]
pub struct Faulty<S> {
    store: S,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    faults: Vec<Fault>,
    delays: Vec<(Option<Op>, Duration)>,
    outage: Option<Error>,
    stop: Option<Stop>,
    calls: VecDeque<Call>,
}

#[derive(Debug)]
struct Stop {
    /// Calls that still pass.
    left: u64,
    side: Side,
    stopped: watch::Sender<bool>,
}

#[derive(Debug)]
struct Fault {
    /// `None`: any call.
    op: Option<Op>,
    /// Calls that it lets pass before it strikes.
    skip: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Fail(Side, Error),
    /// Bytes of the body that still come.
    Cut(u64),
    Hold(Side, Gate),
}

/// What one call has to go through.
#[derive(Default)]
struct Fate {
    delay: Duration,
    before: Option<Error>,
    after: Option<Error>,
    cut: Option<u64>,
    gates: Vec<(Side, Gate)>,
    /// It never returns.
    stops: Option<(Side, watch::Sender<bool>)>,
}

impl<S> Faulty<S> {
    pub fn new(store: S) -> Self {
        Self { store, plan: Mutex::default() }
    }

    /// The store beneath, past all faults.
    pub fn inner(&self) -> &S {
        &self.store
    }

    /// Fails the `n`-th call from now (1 is the next), of `op` or of any.
    pub fn fail(&self, op: Option<Op>, n: u64, side: Side, err: Error) {
        self.add(op, n, What::Fail(side, err));
    }

    /// Breaks the body of the `n`-th GET from now (1 is the next) after `bytes`.
    pub fn cut(&self, n: u64, bytes: u64) {
        self.add(Some(Op::Get), n, What::Cut(bytes));
    }

    /// Stops the world at the `n`-th call from now (1 is the next), as the bucket sees a process that is killed: that call
    /// and all later ones never return, and only that one may have its effect. Ends with [`Faulty::heal`], for new calls.
    pub fn stop_at(&self, n: u64, side: Side) -> Stopped {
        let (stopped, seen) = watch::channel(false);
        self.plan().stop = Some(Stop { left: n.checked_sub(1).expect("calls are counted from 1"), side, stopped });
        Stopped { seen }
    }

    /// Fails every call before its effect, until `None`.
    pub fn outage(&self, err: Option<Error>) {
        self.plan().outage = err;
    }

    /// Delays every call of `op`, or every call at all; zero ends it.
    pub fn delay(&self, op: Option<Op>, delay: Duration) {
        let mut plan = self.plan();
        plan.delays.retain(|(of, _)| *of != op);
        if !delay.is_zero() {
            plan.delays.push((op, delay));
        }
    }

    /// Holds the next call of `op` until it is released: with [`Side::Before`] it has not reached the store yet, with
    /// [`Side::After`] the store answered and the answer is under way.
    pub fn hold(&self, op: Op, side: Side) -> Held {
        let (arrived, seen) = watch::channel(false);
        let (release, released) = watch::channel(false);
        self.add(Some(op), 1, What::Hold(side, Gate { arrived, released }));
        Held { seen, release }
    }

    /// Forgets all plans. Calls that are held stay held.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.faults.clear();
        plan.delays.clear();
        plan.outage = None;
        plan.stop = None;
    }

    /// Whether some fault has not struck yet.
    pub fn is_armed(&self) -> bool {
        !self.plan().faults.is_empty()
    }

    /// The calls since the last time, failed ones included, and forgets them.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.plan().calls).into()
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("a panic left the plan half-changed")
    }

    fn add(&self, op: Option<Op>, n: u64, what: What) {
        let skip = n.checked_sub(1).expect("calls are counted from 1");
        self.plan().faults.push(Fault { op, skip, what });
    }
}

impl Plan {
    fn enter(&mut self, call: Call) -> Fate {
        let hits = |of: &Option<Op>| of.is_none_or(|of| of == call.op);
        let mut fate = Fate {
            delay: self.delays.iter().filter(|(of, _)| hits(of)).map(|(_, delay)| *delay).sum(),
            before: self.outage.clone(),
            ..Fate::default()
        };
        let mut held = false;
        let due = |fault: &mut Fault| {
            // Holds wait in line: two of them hold two calls.
            let busy = held && matches!(fault.what, What::Hold(..));
            if !hits(&fault.op) || busy {
                return false;
            }
            let strikes = fault.skip == 0;
            fault.skip = fault.skip.saturating_sub(1);
            held |= strikes && matches!(fault.what, What::Hold(..));
            strikes
        };
        if let Some(stop) = &mut self.stop {
            match stop.left {
                0 if *stop.stopped.borrow() => fate.stops = Some((Side::Before, stop.stopped.clone())),
                0 => fate.stops = Some((stop.side, stop.stopped.clone())),
                _ => stop.left -= 1,
            }
            if let Some((_, stopped)) = &fate.stops {
                stopped.send_replace(true);
            }
        }
        for fault in self.faults.extract_if(.., due) {
            match fault.what {
                What::Fail(Side::Before, err) => fate.before = Some(err),
                What::Fail(Side::After, err) => fate.after = Some(err),
                What::Cut(bytes) => fate.cut = Some(bytes),
                What::Hold(side, gate) => fate.gates.push((side, gate)),
            }
        }
        if self.calls.len() == LOG_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(call);
        fate
    }
}

impl<S: Store> Faulty<S> {
    async fn run<T: Send>(&self, op: Op, key: &str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let fate = self.plan().enter(Call::new(op, key));
        self.meet(fate, call).await.map(|(answer, _)| answer)
    }

    async fn meet<T: Send>(
        &self,
        fate: Fate,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<(T, Option<u64>)> {
        if !fate.delay.is_zero() {
            tokio::time::sleep(fate.delay).await;
        }
        pass(&fate.gates, Side::Before).await;
        if matches!(fate.stops, Some((Side::Before, _))) {
            return std::future::pending().await;
        }
        if let Some(err) = fate.before {
            return Err(err);
        }
        let answer = call.await;
        pass(&fate.gates, Side::After).await;
        if fate.stops.is_some() {
            return std::future::pending().await;
        }
        match fate.after {
            Some(err) => Err(err),
            None => answer.map(|answer| (answer, fate.cut)),
        }
    }
}

impl<S: Store> Store for Faulty<S> {
    async fn head(&self, key: &Key) -> Result<Object> {
        self.run(Op::Head, key.as_str(), self.store.head(key)).await
    }

    async fn get(&self, key: &Key, get: Get) -> Result<Got> {
        let fate = self.plan().enter(Call::new(Op::Get, key.as_str()));
        match self.meet(fate, self.store.get(key, get)).await? {
            (Got::Bytes(object, body), Some(left)) => {
                let len = body.left;
                Ok(Got::Bytes(object, Body::new(Cut { body, left }, len)))
            }
            (got, _) => Ok(got),
        }
    }

    async fn list(&self, list: List) -> Result<Page> {
        let prefix = list.prefix.clone();
        self.run(Op::List, &prefix, self.store.list(list)).await
    }

    async fn put(&self, key: &Key, body: Bytes, headers: &Headers, require: Require) -> Result<Stored> {
        self.run(Op::Put, key.as_str(), self.store.put(key, body, headers, require)).await
    }

    async fn copy(&self, from: &Key, to: &Key, copy: Copy) -> Result<Stored> {
        self.run(Op::Copy, to.as_str(), self.store.copy(from, to, copy)).await
    }

    async fn delete(&self, key: &Key, require: Require) -> Result<()> {
        self.run(Op::Delete, key.as_str(), self.store.delete(key, require)).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Result<Vec<(Key, Error)>> {
        self.run(Op::DeleteMany, "", self.store.delete_many(keys)).await
    }

    async fn begin(&self, key: &Key, headers: &Headers) -> Result<Upload> {
        self.run(Op::Begin, key.as_str(), self.store.begin(key, headers)).await
    }

    async fn part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part> {
        self.run(Op::Part, upload.key.as_str(), self.store.part(upload, number, body)).await
    }

    async fn part_copy(
        &self,
        upload: &Upload,
        number: u32,
        from: &Key,
        range: std::ops::Range<u64>,
        source: &ETag,
    ) -> Result<Part> {
        let call = self.store.part_copy(upload, number, from, range, source);
        self.run(Op::PartCopy, upload.key.as_str(), call).await
    }

    async fn complete(&self, upload: &Upload, parts: &[Part], require: Require) -> Result<Stored> {
        self.run(Op::Complete, upload.key.as_str(), self.store.complete(upload, parts, require)).await
    }

    async fn abort(&self, upload: &Upload) -> Result<()> {
        self.run(Op::Abort, upload.key.as_str(), self.store.abort(upload)).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>> {
        self.run(Op::Uploads, prefix, self.store.uploads(prefix)).await
    }
}

/// What a test waits for that stops the world.
#[derive(Debug)]
pub struct Stopped {
    seen: watch::Receiver<bool>,
}

impl Stopped {
    /// Returns when the world has stopped; never, if there are fewer calls.
    pub async fn wait(&mut self) {
        if self.seen.wait_for(|stopped| *stopped).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The side of a test. Dropping it releases the call.
#[derive(Debug)]
pub struct Held {
    seen: watch::Receiver<bool>,
    release: watch::Sender<bool>,
}

impl Held {
    /// Waits until a call is held.
    pub async fn wait_arrived(&mut self) {
        self.seen.wait_for(|arrived| *arrived).await.expect("the plan was forgotten while a test waits for it");
    }

    /// Lets the call go on.
    pub fn release(self) {
        drop(self.release);
    }
}

/// The side of the call.
#[derive(Debug)]
struct Gate {
    arrived: watch::Sender<bool>,
    released: watch::Receiver<bool>,
}

async fn pass(gates: &[(Side, Gate)], side: Side) {
    for (_, gate) in gates.iter().filter(|(of, _)| *of == side) {
        gate.arrived.send_replace(true);
        let mut released = gate.released.clone();
        // The sender never sends: it goes away to release, so the error is the signal.
        drop(released.changed().await);
    }
}

/// A body whose connection breaks.
struct Cut {
    body: Body,
    /// Bytes until then.
    left: u64,
}

impl Chunks for Cut {
    fn poll_chunk(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(Some(Err(Error::unavailable("the connection broke in the middle of the body"))));
        }
        self.body.chunks.as_mut().poll_chunk(cx).map_ok(|mut chunk| {
            let keep = usize::try_from(self.left).unwrap_or(usize::MAX).min(chunk.len());
            chunk.truncate(keep);
            self.left -= keep as u64;
            chunk
        })
    }
}

#[cfg(test)]
mod tests;
