//! One request of the kernel: who answers it, how long that may take, what is logged.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use fuser::{BackingId, Errno, INodeNo};
use tokio::{runtime::Handle, time::timeout};

use super::{files::Files, init::Kernel, reply::Refuse};
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
    runtime: Handle,
    limit: Duration,
}

/// What is asked, and of which node; for the log. The one place that sees every request begin and end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    op: &'static str,
    pub(super) node: NodeId,
}

impl Call {
    pub(super) fn new(op: &'static str, node: INodeNo) -> Self {
        Self { op, node: NodeId(node.0) }
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
        } else {
            log::trace!("{} of node {:#x}: {err}", self.op, self.node.0);
        }
        Errno::from_i32(errno)
    }

    fn late(self, limit: Duration) -> Error {
        Error::unavailable(format!("{} took more than {} s", self.op, limit.as_secs()))
    }
}

impl<S: Store> Edge<S> {
    /// `limit`: how long a request may take whose work is bounded.
    pub(super) fn new(fs: Arc<Fs<S>>, kernel: Kernel, xattr: bool, runtime: Handle, limit: Duration) -> Self {
        Self { fs, files: Files::new(kernel.clone()), kernel, xattr, runtime, limit }
    }

    /// Answers with what `work` finds. At the limit `work` is dropped, so it must change nothing.
    pub(super) fn ask<T: Send + 'static, R: Refuse>(
        &self,
        call: Call,
        reply: R,
        work: impl Future<Output = Result<T>> + Send + 'static,
        send: impl FnOnce(R, T) + Send + 'static,
    ) {
        let limit = self.limit;
        self.runtime.spawn(async move {
            let answer = timeout(limit, work).await.unwrap_or_else(|_| Err(call.late(limit)));
            call.answer(reply, answer, send);
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
        let limit = self.limit;
        self.runtime.spawn(async move {
            let mut working = tokio::spawn(work);
            let Ok(done) = timeout(limit, &mut working).await else {
                reply.refuse(call.errno(&call.late(limit)));
                if let Ok(Ok(value)) = working.await {
                    undo(value);
                }
                return;
            };
            call.answer(reply, done.unwrap_or_else(|panic| Err(Error::unavailable(panic))), send);
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
        self.runtime.spawn(async move {
            // In a task of its own, so that a panic is logged with its operation.
            let done = tokio::spawn(work).await;
            call.answer(reply, done.unwrap_or_else(|panic| Err(Error::unavailable(panic))), send);
        });
    }

    /// Runs `work` whose answer nobody waits for.
    pub(super) fn later(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }
}

/// `undo` for work that leaves nothing behind.
pub(super) fn nothing<T>(_: T) {}
