//! Writes.

use std::sync::Arc;

use bytes::Bytes;
use fuser::ReplyWrite;

use super::{
    call::{Call, Edge},
    reply,
};
use crate::{fs::types::Fh, store::Store};

/// Bytes above which a write is not done on the kernel's thread: it goes to a file, and if the disk is behind, the kernel
/// has the writer wait for that (`balance_dirty_pages`, mm/page-writeback.c), while others could be answered.
const INLINE_MAX: usize = 64 << 10;

/// Takes `data` in at its offset, or at the end of the file.
pub(super) fn write<S: Store>(
    edge: &Arc<Edge<S>>,
    call: Call,
    fh: Fh,
    (offset, data, append): (u64, &[u8], bool),
    reply: ReplyWrite,
) {
    let (fs, data) = (Arc::clone(&edge.fs), Bytes::copy_from_slice(data));
    let aside = data.len() > INLINE_MAX;
    let work = async move { fs.write(fh, offset, data, append).await };
    if aside {
        edge.calls.wait_aside(call, reply, work, reply::written);
    } else {
        edge.calls.wait(call, reply, work, reply::written);
    }
}
