//! What was just written, on its way from memory to the disk: close(2) does not wait for the cache.
//!
//! A content that waits here is whole for everybody: it is read from memory, and who needs its file has it written at
//! once. If the process dies first, the bytes are in the bucket and are fetched when somebody wants them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::runtime::Handle;

use super::{content::Content, space::Space};

/// Bytes that may wait here; beyond, who writes waits for the disk. As much as staging holds in memory.
const WAITING_MAX: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Shelf {
    space: Arc<Space>,
    line: Mutex<Line>,
    /// Held while one is taken off and written: the end of the mount waits for it.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Line {
    /// Oldest first, with the bytes that are reserved for them. Being here keeps them from being evicted.
    waiting: VecDeque<(Arc<Content>, u64)>,
    bytes: u64,
    /// A thread is on it.
    served: bool,
}

impl Shelf {
    pub(super) fn new(space: &Arc<Space>) -> Self {
        Self { space: Arc::clone(space), line: Mutex::default(), turn: Mutex::default() }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("nothing panics while it holds this lock")
    }

    /// `bytes` are reserved for `content`, which has them in memory.
    pub(super) fn put(self: &Arc<Self>, runtime: &Handle, content: &Arc<Content>, bytes: u64) {
        let mut line = self.line();
        if line.bytes + bytes > WAITING_MAX {
            drop(line);
            return self.write(content, bytes);
        }
        line.waiting.push_back((Arc::clone(content), bytes));
        line.bytes += bytes;
        if std::mem::replace(&mut line.served, true) {
            return;
        }
        drop(line);
        let own = Arc::clone(self);
        runtime.spawn_blocking(move || own.clear());
    }

    /// Writes all that wait, and waits for what is being written.
    pub(super) fn clear(&self) {
        loop {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((content, bytes)) = self.line().next() else { return };
            self.write(&content, bytes);
        }
    }

    /// Nothing is taken off until the guard goes.
    #[cfg(test)]
    pub(super) fn stop(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap()
    }

    fn write(&self, content: &Arc<Content>, bytes: u64) {
        content.settle();
        if content.is_kept() {
            self.space.finished(content);
        }
        self.space.landed(bytes);
    }
}

impl Line {
    fn next(&mut self) -> Option<(Arc<Content>, u64)> {
        let next = self.waiting.pop_front();
        match &next {
            Some((_, bytes)) => self.bytes -= bytes,
            None => self.served = false,
        }
        next
    }
}
