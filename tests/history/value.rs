//! What is written: records that tell who wrote them, so that a read tells exactly which write it saw, and whether
//! it is whole.

use serde::{Deserialize, Serialize};

use crate::harness::noise;

/// One write. Never used twice.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct Id {
    pub(crate) by: u32,
    pub(crate) seq: u32,
}

/// Bytes of a record's head: a mark, the writer, its count, the length of the whole record, and a sum of these three: a
/// file that is written over in place shows parts of two heads. The rest follows from them.
pub(crate) const HEAD: usize = 24;
const MARK: &[u8; 8] = b"originfs";

/// What a reader made of the bytes of a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Seen {
    /// Whole records: the write that began the file, then those that appended to it.
    Whole(Vec<Id>),
    /// Anything else, an empty file included: nobody writes one.
    Torn(String),
    /// The open succeeded, a read failed with this errno; the file had so many bytes.
    Gone { errno: i32, size: u64 },
}

/// A record of `len` bytes, at least [`HEAD`].
pub(crate) fn record(id: Id, len: usize) -> Vec<u8> {
    assert!(len >= HEAD, "a record of {len} bytes");
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(MARK);
    bytes.extend_from_slice(&id.by.to_le_bytes());
    bytes.extend_from_slice(&id.seq.to_le_bytes());
    let short = u32::try_from(len).expect("records are small");
    bytes.extend_from_slice(&short.to_le_bytes());
    bytes.extend(noise(4, seed(id) ^ u64::from(short).rotate_right(16)));
    bytes.extend(noise(len - HEAD, seed(id)));
    bytes
}

fn seed(id: Id) -> u64 {
    u64::from(id.by) << 32 | u64::from(id.seq)
}

/// Which writes these bytes are.
pub(crate) fn understand(bytes: &[u8]) -> Seen {
    let (mut at, mut chain) = (0, Vec::new());
    while at < bytes.len() {
        match one(&bytes[at..]) {
            Ok((id, len)) => {
                chain.push(id);
                at += len;
            }
            Err(what) => return Seen::Torn(format!("{what} at {at} of {}, behind {chain:?}", bytes.len())),
        }
    }
    if chain.is_empty() { Seen::Torn("empty".to_owned()) } else { Seen::Whole(chain) }
}

/// The record at the start of `bytes`, and its length.
fn one(bytes: &[u8]) -> Result<(Id, usize), String> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD) else { return Err("a part of a head".to_owned()) };
    if &head[..8] != MARK {
        return Err(if head == [0; HEAD] { "zeros".to_owned() } else { "no head".to_owned() });
    }
    let four = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let id = Id { by: four(8), seq: four(12) };
    let len = four(16);
    let body = usize::try_from(len).ok().and_then(|len| len.checked_sub(HEAD)).and_then(|len| rest.get(..len));
    let Some(body) = body else { return Err(format!("{} of {len} bytes of {id:?}", bytes.len())) };
    let whole = record(id, HEAD + body.len());
    if head != &whole[..HEAD] {
        return Err("parts of two heads".to_owned());
    }
    if body != &whole[HEAD..] {
        return Err(format!("other bytes in {id:?} of {len}"));
    }
    Ok((id, HEAD + body.len()))
}

mod tests {
    use super::*;

    const A: Id = Id { by: 1, seq: 7 };
    const B: Id = Id { by: 2, seq: 7 };

    #[test]
    fn whole_records_are_understood() {
        assert_eq!(understand(&record(A, 100)), Seen::Whole(vec![A]));
        assert_eq!(understand(&[record(A, HEAD), record(B, 5000)].concat()), Seen::Whole(vec![A, B]));
    }

    #[test]
    fn anything_else_is_torn() {
        let (a, b) = (record(A, 100), record(B, 200));
        let mixed = [&a[..60], &b[60..]].concat();
        let zeros = [&a[..60], &[0; 40]].concat();
        let behind = [&a[..], &[0; 40]].concat();
        for bytes in [&a[..99], &a[..10], &b[..100], &mixed, &zeros, &behind, &[], &[0; 100]] {
            assert!(matches!(understand(bytes), Seen::Torn(_)), "{:?}", understand(bytes));
        }
    }

    #[test]
    fn parts_of_two_heads_are_no_record() {
        let (old, new) = (record(A, HEAD), record(Id { by: 2, seq: 8 }, HEAD + 3));
        for cut in 9..HEAD {
            let seen = understand(&[&new[..cut], &old[cut..]].concat());
            assert!(matches!(seen, Seen::Torn(_)), "{cut}: {seen:?}");
        }
    }
}
