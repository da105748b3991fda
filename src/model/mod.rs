//! Values and decisions: no I/O, no clock, no lock, no log.

pub mod attr;
pub mod extents;
pub mod key;
pub mod patterns;
pub mod rename;
pub mod selection;
pub mod tree;
pub mod version;
pub mod withheld;
