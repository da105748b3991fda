//! One request of the kernel: who answers it, how long that may take, what is logged.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use fuser::{BackingId, Errno, INodeNo};
use tokio::{runtime::Handle, time::timeout};

use super::{files::Files, held::Held, init::Kernel, reply::Refuse};
use crate::{
    error::{Error, Result},
    fs::{Fs, types::NodeId},
    store::Store,
};

/// What all requests share.
#[derive(Debug)]
pub(super) struct Edge<S: Store> {
    pub(super) fs: Arc<Fs<S>>,
    pub(super) files: Files<BackingId>,
    pub(super) kernel: Kernel,
    pub(super) xattr: bool,
    pub(super) calls: Calls,
}

/// Where requests wait that memory cannot answer.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) runtime: Handle,
    /// How long a request may take whose work is bounded.
    pub(super) limit: Duration,
    /// Where they wait.
    pub(super) held: Held,
}

/// Work that has begun on the kernel's thread.
enum Begun<F: Future> {
    Done(F::Output),
    Panicked,
    /// It waits for something; whoever polls it next is woken.
    Waits(Pin<Box<F>>),
}

/// What is asked, and of which node; for the log. The one place that sees every request begin and end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    op: &'static str,
    pub(super) node: NodeId,
    /// The other directory of a rename.
    also: Option<NodeId>,
}

impl Call {
    pub(super) fn new(op: &'static str, node: INodeNo) -> Self {
        Self { op, node: NodeId(node.0), also: None }
    }

    /// It concerns this node too.
    pub(super) fn and(self, also: NodeId) -> Self {
        Self { also: Some(also), ..self }
    }

    fn nodes(self) -> [NodeId; 2] {
        [self.node, self.also.unwrap_or(self.node)]
    }

    /// Runs `handler` on the kernel's thread. A panic ends the request, not the thread: the reply that the handler
    /// drops answers `EIO`.
    pub(super) fn inline(self, handler: impl FnOnce()) {
        // Nothing of the handler's is seen after a panic, but for locks, and those are poisoned.
        if catch_unwind(AssertUnwindSafe(handler)).is_err() {
            log::error!("{} of node {:#x}: panicked", self.op, self.node.0);
        }
    }

    /// Answers.
    pub(super) fn answer<T, R: Refuse>(self, reply: R, answer: Result<T>, send: impl FnOnce(R, T)) {
        match answer {
            Ok(value) => send(reply, value),
            Err(err) => reply.refuse(self.errno(&err)),
        }
    }

    /// The errno for `err`. `EIO` tells the caller nothing, so the log tells the rest.
    pub(super) fn errno(self, err: &Error) -> Errno {
        let errno = err.errno();
        if errno == libc::EIO {
            log::error!("{} of node {:#x}: {err}", self.op, self.node.0);
        } else if self.op == "lookup" && errno == libc::ENOENT {
            // The most usual answer of all.
            log::trace!("{} of node {:#x}: {err}", self.op, self.node.0);
        } else {
            log::debug!("{} of node {:#x}: {err}", self.op, self.node.0);
        }
        Errno::from_i32(errno)
    }

    fn late(self, limit: Duration) -> Error {
        Error::unavailable(format!("{} took more than {} s", self.op, limit.as_secs()))
    }
}

impl Calls {
    /// Begins `work` on the kernel's thread. Most of it needs nothing that is not in memory, and is done with that: waking
    /// another thread for it costs ten times as much.
    fn begin<F: Future>(&self, work: F) -> Begun<F> {
        let _runtime = self.runtime.enter();
        let mut work = Box::pin(work);
        let mut context = Context::from_waker(Waker::noop());
        // Nothing of it is seen after a panic, but for locks, and those are poisoned.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context))) {
            Ok(Poll::Ready(done)) => Begun::Done(done),
            Ok(Poll::Pending) => Begun::Waits(work),
            Err(_) => Begun::Panicked,
        }
    }

    /// What came of `work`, or the rest of it.
    fn attempt<T, F: Future<Output = Result<T>>>(&self, work: F) -> std::result::Result<Result<T>, Pin<Box<F>>> {
        match self.begin(work) {
            Begun::Done(done) => Ok(done),
            Begun::Panicked => Ok(Err(Error::unavailable("panicked"))),
            Begun::Waits(work) => Err(work),
        }
    }

    /// Answers with what `work` finds. At the limit `work` is dropped, so it must change nothing.
    pub(super) fn ask<T: Send + 'static, R: Refuse>(
        &self,
        call: Call,
        reply: R,
        work: impl Future<Output = Result<T>> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
    ) {
        let work = match self.attempt(work) {
            Ok(done) => return call.answer(reply, done, send),
            Err(work) => work,
        };
        let (limit, hold) = (self.limit, self.held.hold(call.nodes()));
        self.runtime.spawn(async move {
            let answer = timeout(limit, work).await.unwrap_or_else(|_| Err(call.late(limit)));
            call.answer(reply, answer, send);
            drop(hold);
        });
    }

    /// Answers with what `work` did. At the limit the caller gets `EIO`, because the outcome is unknown; `work` goes
    /// on, and what it gives then goes to `undo`.
    pub(super) fn change<T: Send + 'static, R: Refuse>(
        &self,
        call: Call,
        reply: R,
        work: impl Future<Output = Result<T>> + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
    ) {
        let work = match self.attempt(work) {
            Ok(done) => return call.answer(reply, done, send),
            Err(work) => work,
        };
        let (limit, hold) = (self.limit, self.held.hold(call.nodes()));
        self.runtime.spawn(async move {
            let mut working = tokio::spawn(work);
            let Ok(done) = timeout(limit, &mut working).await else {
                reply.refuse(call.errno(&call.late(limit)));
                drop(hold);
                if let Ok(Ok(value)) = working.await {
                    undo(value);
                }
                return;
            };
            call.answer(reply, done.unwrap_or_else(|panic| Err(Error::unavailable(panic))), send);
            drop(hold);
        });
    }

    /// Answers when `work` is done, however long that takes: moving bytes takes what it takes, and each request to the
    /// bucket has a deadline of its own.
    pub(super) fn wait<T: Send + 'static, R: Refuse>(
        &self,
        call: Call,
        reply: R,
        work: impl Future<Output = Result<T>> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
    ) {
        match self.attempt(work) {
            Ok(done) => call.answer(reply, done, send),
            Err(work) => self.wait_aside(call, reply, work, send),
        }
    }

    /// As [`Self::wait`], for work that may keep its thread for long: none of it is done on the kernel's.
    pub(super) fn wait_aside<T: Send + 'static, R: Refuse>(
        &self,
        call: Call,
        reply: R,
        work: impl Future<Output = Result<T>> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
    ) {
        let hold = self.held.hold(call.nodes());
        self.runtime.spawn(async move {
            // In a task of its own, so that a panic is logged with its operation.
            let done = tokio::spawn(work).await;
            call.answer(reply, done.unwrap_or_else(|panic| Err(Error::unavailable(panic))), send);
            drop(hold);
        });
    }

    /// Runs `work`, which answers by itself if anybody waits for an answer.
    pub(super) fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Begun::Waits(work) = self.begin(work) {
            self.runtime.spawn(work);
        }
    }
}

/// `undo` for work that leaves nothing behind.
pub(super) fn nothing<T>(_: T) {}

#[cfg(test)]
mod tests {
    use tokio::{
        sync::oneshot::{Receiver, Sender, channel},
        time::sleep,
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A reply whose receiver sees what the kernel would: the answer, an errno, or nothing (which fuser makes `EIO`).
    struct Reply(Sender<Result<u32, i32>>);

    impl Refuse for Reply {
        fn refuse(self, errno: Errno) {
            self.0.send(Err(errno.code())).unwrap();
        }
    }

    fn reply() -> (Reply, Receiver<Result<u32, i32>>) {
        let (sender, receiver) = channel();
        (Reply(sender), receiver)
    }

    fn calls() -> (Calls, Call) {
        (Calls { runtime: Handle::current(), limit: LIMIT, held: Held::default() }, Call::new("test", INodeNo(7)))
    }

    fn send(reply: Reply, value: u32) {
        reply.0.send(Ok(value)).unwrap();
    }

    async fn after(pause: Duration, value: u32) -> Result<u32> {
        sleep(pause).await;
        Ok(value)
    }

    #[tokio::test(start_paused = true)]
    async fn answers_in_time_arrive() {
        let (calls, call) = calls();
        let ((ask, asked), (change, changed)) = (reply(), reply());
        calls.ask(call, ask, after(LIMIT / 2, 1), send);
        calls.change(call, change, after(LIMIT / 2, 2), |_| panic!("it was in time"), send);
        assert_eq!((asked.await.unwrap(), changed.await.unwrap()), (Ok(1), Ok(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_without_answer_ends_with_eio() {
        let (calls, call) = calls();
        let (ask, asked) = reply();
        calls.ask(call, ask, std::future::pending(), send);
        assert_eq!(asked.await.unwrap(), Err(libc::EIO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_change_goes_on_and_is_undone() {
        let (calls, call) = calls();
        let ((change, changed), (undo, undone)) = (reply(), channel());
        calls.change(call, change, after(LIMIT * 2, 3), |value| undo.send(value).unwrap(), send);
        assert_eq!(changed.await.unwrap(), Err(libc::EIO));
        assert_eq!(undone.await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_takes_what_it_takes() {
        let (calls, call) = calls();
        let (wait, waited) = reply();
        calls.wait(call, wait, after(LIMIT * 100, 4), send);
        assert_eq!(waited.await.unwrap(), Ok(4));
    }

    #[tokio::test]
    async fn a_panic_is_an_eio_to_its_caller_alone() {
        let (calls, call) = calls();
        let ((change, changed), (wait, waited), (ask, asked)) = (reply(), reply(), reply());
        calls.change(call, change, async { panic!("on purpose") }, |()| (), |_, ()| ());
        calls.wait(call, wait, async { panic!("on purpose") }, |_, ()| ());
        calls.ask(call, ask, async { panic!("on purpose") }, |_, ()| ());
        for answer in [changed, waited, asked] {
            assert_eq!(answer.await.unwrap(), Err(libc::EIO));
        }
        let ((change, changed), (wait, waited), (ask, asked)) = (reply(), reply(), reply());
        let later = || async {
            tokio::task::yield_now().await;
            panic!("on purpose")
        };
        calls.change(call, change, later(), |()| (), |_, ()| ());
        calls.wait(call, wait, later(), |_, ()| ());
        calls.ask(call, ask, later(), |_, ()| ());
        assert_eq!((changed.await.unwrap(), waited.await.unwrap()), (Err(libc::EIO), Err(libc::EIO)));
        assert!(asked.await.is_err(), "the reply is dropped, which is an EIO");
        let (next, answered) = reply();
        call.inline(|| panic!("on purpose"));
        calls.ask(call, next, after(Duration::ZERO, 5), send);
        assert_eq!(answered.await.unwrap(), Ok(5));
    }

    #[test]
    fn what_waits_for_nothing_is_answered_by_the_kernels_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Nobody runs what is spawned.
        let (calls, call) = (
            Calls { runtime: runtime.handle().clone(), limit: LIMIT, held: Held::default() },
            Call::new("test", INodeNo(7)),
        );
        let ((change, mut changed), (wait, mut waited), (ask, mut asked)) = (reply(), reply(), reply());
        calls.change(call, change, async { Ok(1) }, |_| panic!("it was in time"), send);
        calls.wait(call, wait, async { Ok(2) }, send);
        calls.ask(call, ask, async { Err(Error::NotFound) }, send);
        let answers = [&mut changed, &mut waited, &mut asked].map(|answer| answer.try_recv().unwrap());
        assert_eq!(answers, [Ok(1), Ok(2), Err(libc::ENOENT)]);
    }

    #[tokio::test]
    async fn errors_have_their_errno() {
        let (_, call) = calls();
        let (answer, answered) = reply();
        call.answer(answer, Err(Error::NotEmpty), send);
        assert_eq!(answered.await.unwrap(), Err(libc::ENOTEMPTY));
    }
}
