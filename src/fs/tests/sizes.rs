//! What each request of the kernel costs before it does anything: its future is moved and allocated.

use super::*;
use crate::fs::types::Fh;

/// malloc(3) of glibc serves up to here without a lock, and a copy of it is some nanoseconds.
const SMALL: usize = 1024;

#[tokio::test]
async fn calls_that_memory_answers_carry_nothing_of_those_that_it_does_not() {
    let host = Host::new(&bucket());
    let open = size_of_val(&host.fs.open(NodeId::ROOT, READ, host.who()));
    let release = size_of_val(&host.fs.release(Fh(1)));
    assert!(open <= SMALL && release <= SMALL, "open {open}, release {release} bytes");
}
