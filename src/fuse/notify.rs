//! Tells the kernel what it should not believe any more, from a thread of its own.
//!
//! The kernel takes locks for a notification that a request in progress may hold, so the thread serves no request,
//! holds no lock of ours, and nobody waits for it; and it begins no notification while such a request waits for the bucket.

use std::{
    ffi::OsStr,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Receiver,
    },
    thread,
};

use fuser::{INodeNo, Notifier};

use super::held::Held;
use crate::fs::types::{Invalidation, NodeId};

/// Stops the notifications when dropped.
#[derive(Debug)]
pub struct Notifying(Arc<AtomicBool>);

impl Notifying {
    /// From now on nothing more is sent. The thread ends with the next value or with the last sender; it is not
    /// waited for, because it may stand behind a request that only an unmount ends.
    pub fn disarm(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for Notifying {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// Starts the thread.
pub fn start(notifier: Notifier, queue: Receiver<Invalidation>, held: Held) -> io::Result<Notifying> {
    let armed = Arc::new(AtomicBool::new(true));
    let handle = Notifying(Arc::clone(&armed));
    thread::Builder::new().name("notify".to_owned()).spawn(move || {
        for stale in queue {
            if let Some(node) = locked(&stale) {
                held.wait(node, || armed.load(Ordering::Acquire));
            }
            if !armed.load(Ordering::Acquire) {
                return;
            }
            if let Err(err) = send(&notifier, &stale) {
                log::debug!("{stale:?} was not taken: {err}");
            }
        }
    })?;
    Ok(handle)
}

/// The node whose locks the kernel takes for it (fs/fuse/dir.c, `fuse_reverse_inval_entry`; fs/fuse/inode.c,
/// `fuse_reverse_inval_inode`).
fn locked(stale: &Invalidation) -> Option<NodeId> {
    match stale {
        Invalidation::Attr(_) | Invalidation::Tell(_) => None,
        Invalidation::Pages(id) => Some(*id),
        Invalidation::Entry { parent, .. } => Some(*parent),
    }
}

fn send(notifier: &Notifier, stale: &Invalidation) -> io::Result<()> {
    match stale {
        // A negative offset drops attributes only. It takes no page lock, and by AUTO_INVAL_DATA the pages follow
        // where the next attributes differ.
        Invalidation::Attr(id) => notifier.inval_inode(INodeNo(id.0), -1, 0),
        Invalidation::Pages(id) => notifier.inval_inode(INodeNo(id.0), 0, 0),
        Invalidation::Tell(told) => {
            told.tell();
            Ok(())
        }
        Invalidation::Entry { parent, name } => notifier.inval_entry(INodeNo(parent.0), OsStr::new(name.as_str())),
    }
}
