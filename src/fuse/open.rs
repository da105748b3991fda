//! Opening, creating and releasing files.

use std::{
    ffi::{OsStr, OsString},
    sync::Arc,
};

use fuser::{FileHandle, ReplyCreate, ReplyEmpty, ReplyEntry, ReplyOpen, Request};

use super::{
    call::{Call, Edge},
    decode,
    files::Answer,
    reply,
};
use crate::{
    error::Result,
    fs::types::{Caller, Fh, Found, OpenMode, Opened},
    store::Store,
};

/// A name to be made, its permission bits, and who makes it.
#[derive(Debug)]
pub(super) struct New {
    pub(super) name: OsString,
    pub(super) mode: u32,
    pub(super) caller: Caller,
}

impl New {
    /// The kernel took the umask off already.
    pub(super) fn of(req: &Request, name: &OsStr, mode: u32) -> Self {
        Self { name: name.to_owned(), mode: mode & decode::PERMISSIONS, caller: decode::caller(req) }
    }
}

pub(super) fn open<S: Store>(edge: &Arc<Edge<S>>, call: Call, mode: OpenMode, caller: Caller, reply: ReplyOpen) {
    let (fs, late, edge_) = (Arc::clone(&edge.fs), Arc::clone(edge), Arc::clone(edge));
    edge.calls.change(
        call,
        reply,
        async move { fs.open(call.node, mode, caller).await },
        move |opened| late.give_up(opened.fh),
        move |reply, opened| {
            let fh = FileHandle(opened.fh.0);
            match edge_.files.open(&opened, |file| reply.open_backing(file)) {
                Answer::Plain(flags) => reply.opened(fh, flags),
                Answer::Through(flags, id) => reply.opened_passthrough(fh, flags, &id),
            }
        },
    );
}

pub(super) fn create<S: Store>(edge: &Arc<Edge<S>>, call: Call, new: New, mode: OpenMode, reply: ReplyCreate) {
    let (fs, late, edge_) = (Arc::clone(&edge.fs), Arc::clone(edge), Arc::clone(edge));
    edge.calls.change(
        call,
        reply,
        async move { fs.create(call.node, &new.name, new.mode, mode, new.caller).await },
        move |(found, opened): (Found, Opened)| {
            late.fs.forget(found.id, 1);
            late.give_up(opened.fh);
        },
        move |reply, (found, opened)| {
            let (fh, ttl, attr) = (FileHandle(opened.fh.0), reply::common_ttl(&found), reply::node_attr(&found));
            match edge_.files.open(&opened, |file| reply.open_backing(file)) {
                Answer::Plain(flags) => reply.created(&ttl, &attr, reply::GENERATION, fh, flags),
                Answer::Through(flags, id) => {
                    reply.created_passthrough(&ttl, &attr, reply::GENERATION, fh, flags, &id);
                }
            }
        },
    );
}

/// mknod(2) of a regular file: one that is in the bucket when this returns, and open nowhere.
pub(super) fn make<S: Store>(edge: &Arc<Edge<S>>, call: Call, new: New, reply: ReplyEntry) {
    let fs = Arc::clone(&edge.fs);
    let work = async move {
        let mode = OpenMode { write: true, exclusive: true, ..OpenMode::default() };
        let (found, opened) = fs.create(call.node, &new.name, new.mode, mode, new.caller).await?;
        let stored = fs.flush(opened.fh).await;
        fs.release(opened.fh).await;
        stored.inspect_err(|_| fs.forget(found.id, 1))?;
        Result::Ok(found)
    };
    edge.calls.change(call, reply, work, edge.forgetting(), reply::entry);
}

/// The mode of the node is free again only after `fs` let go of the file.
pub(super) fn release<S: Store>(edge: &Arc<Edge<S>>, call: Call, fh: Fh, reply: ReplyEmpty) {
    let (fs, edge_) = (Arc::clone(&edge.fs), Arc::clone(edge));
    let work = async move {
        let _counted = Counted { edge: edge_, fh };
        fs.release(fh).await;
        Ok(())
    };
    edge.calls.wait(call, reply, work, reply::empty);
}

/// Counts a file down, whatever became of its release.
struct Counted<S: Store> {
    edge: Arc<Edge<S>>,
    fh: Fh,
}

impl<S: Store> Drop for Counted<S> {
    fn drop(&mut self) {
        self.edge.files.close(self.fh);
    }
}

impl<S: Store> Edge<S> {
    /// Undoes the lookup of a node that was made too late for its caller.
    pub(super) fn forgetting(&self) -> impl FnOnce(Found) + Send + 'static {
        let fs = Arc::clone(&self.fs);
        move |found| fs.forget(found.id, 1)
    }

    /// Releases a file that the kernel never heard of.
    fn give_up(&self, fh: Fh) {
        let fs = Arc::clone(&self.fs);
        self.calls.run(async move { fs.release(fh).await });
    }
}
