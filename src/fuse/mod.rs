//! The kernel's side of a mount: decodes FUSE requests, calls [`Fs`](crate::fs::Fs), answers.
//!
//! Cost is counted in round trips to the bucket and thread switches, so what memory can answer is answered on the
//! kernel's own request thread; everything that may wait is one task that owns the reply. No lock is held over an
//! answer, no handler waits for the thread that sends invalidations, and a panic is an `EIO` to one caller.
//!
//! - [`iomode`]: which way the bytes of an open file go, as a pure table.
//! - [`init`]: what is asked of the kernel, and what it granted.
//! - [`notify`]: tells the kernel what it should not believe any more.

mod adapter;
mod call;
mod decode;
mod dir;
mod files;
pub mod held;
pub mod init;
pub mod iomode;
pub mod notify;
mod open;
mod reply;
mod write;

pub use adapter::Adapter;
