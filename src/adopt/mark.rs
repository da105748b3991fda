//! What an ETag says of the bytes of an object.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _};

use md5::{Digest as _, Md5};
use sha2::Sha256;

use crate::{model::version::ETag, store::Body};

/// Bytes that are read at a time.
const STEP: usize = 256 << 10;

/// An ETag, in 20 bytes, so that one can be kept for each of many files.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Mark {
    sum: [u8; 16],
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Kind {
    /// It looks like the MD5 sum of the bytes. Under KMS encryption it is none.
    Sum,
    /// It looks like the sum of the sums of so many parts.
    Parts(u32),
    /// It says nothing; `sum` is one of the ETag itself.
    Opaque,
}

impl Mark {
    pub fn of(etag: &ETag) -> Self {
        let text = etag.unquoted();
        let (sum, parts) = text.split_once('-').map_or((text, None), |(sum, parts)| (sum, Some(parts)));
        let kind = match parts.map(str::parse) {
            None => Some(Kind::Sum),
            Some(Ok(parts)) => Some(Kind::Parts(parts)),
            Some(Err(_)) => None,
        };
        match (unhex(sum), kind) {
            (Some(sum), Some(kind)) => Self { sum, kind },
            _ => Self { sum: half(&Sha256::digest(text)), kind: Kind::Opaque },
        }
    }

    /// Of bytes that were sent as one.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self { sum: Md5::digest(bytes).into(), kind: Kind::Sum }
    }

    /// What the bytes of `file` must have for this to be theirs: `None` if nothing can tell. `parts` are those in which
    /// we would send it.
    pub fn of_file(self, file: &File, size: u64, parts: &[Range<u64>]) -> io::Result<Option<Self>> {
        match self.kind {
            Kind::Sum => Ok(Some(Self { sum: md5(file, 0..size)?, kind: Kind::Sum })),
            Kind::Parts(count) if u32::try_from(parts.len()) == Ok(count) => {
                let mut sums = Md5::new();
                for part in parts {
                    sums.update(md5(file, part.clone())?);
                }
                Ok(Some(Self { sum: sums.finalize().into(), kind: self.kind }))
            }
            Kind::Parts(_) | Kind::Opaque => Ok(None),
        }
    }
}

/// SHA-256 of the first `size` bytes of a file.
pub fn sha256(file: &File, size: u64) -> io::Result<[u8; 32]> {
    let mut sum = Sha256::new();
    read(file, 0..size, |bytes| sum.update(bytes))?;
    Ok(sum.finalize().into())
}

pub fn sha256_of_bytes(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SHA-256 of a body.
pub async fn sha256_of(mut body: Body) -> crate::error::Result<[u8; 32]> {
    let mut sum = Sha256::new();
    while let Some(chunk) = body.next().await {
        sum.update(&chunk?);
    }
    Ok(sum.finalize().into())
}

fn md5(file: &File, range: Range<u64>) -> io::Result<[u8; 16]> {
    let mut sum = Md5::new();
    read(file, range, |bytes| sum.update(bytes))?;
    Ok(sum.finalize().into())
}

/// All bytes of a range, or as many as there are.
fn read(file: &File, range: Range<u64>, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; STEP];
    let mut at = range.start;
    while at < range.end {
        let want = usize::try_from(range.end - at).unwrap_or(STEP).min(STEP);
        let got = file.read_at(&mut buffer[..want], at)?;
        if got == 0 {
            break;
        }
        each(&buffer[..got]);
        at += got as u64;
    }
    Ok(())
}

fn half(sum: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&sum[..16]);
    half
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut sum = [0; 16];
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in sum.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(name: &str, bytes: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!("originfs-mark-{name}-{}", std::process::id()));
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all(bytes).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn a_sum_is_recognised_with_and_without_quotes() {
        let mark = Mark::of(&ETag::new("\"900150983cd24fb0d6963f7d28e17f72\""));
        assert_eq!(mark, Mark::of_bytes(b"abc"));
        assert_eq!(mark, Mark::of(&ETag::new("900150983CD24FB0D6963F7D28E17F72")));
        assert_eq!(mark.of_file(&file("sum", b"abc"), 3, &[]).unwrap(), Some(mark));
        assert_ne!(mark.of_file(&file("other", b"abd"), 3, &[]).unwrap(), Some(mark));
    }

    #[test]
    fn parts_are_recognised_if_they_are_ours() {
        // md5(md5("ab") + md5("c"))
        let sums = [Md5::digest("ab"), Md5::digest("c")].concat();
        let text: String = Md5::digest(&sums).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let mark = Mark::of(&ETag::new(&format!("\"{text}-2\"")));
        let file = file("parts", b"abc");
        assert_eq!(mark.of_file(&file, 3, &[0..2, 2..3]).unwrap(), Some(mark));
        assert_ne!(mark.of_file(&file, 3, &[0..1, 1..3]).unwrap(), Some(mark));
        assert_eq!(mark.of_file(&file, 3, &[0..3]).unwrap(), None);
    }

    #[test]
    fn what_says_nothing_is_told_apart_all_the_same() {
        let [a, b] = ["\"3858f62230ac3c915f300c664312c63f-x\"", "\"weird\""].map(|text| Mark::of(&ETag::new(text)));
        assert_ne!(a, b);
        assert_eq!(a.of_file(&file("opaque", b"abc"), 3, &[]).unwrap(), None);
        assert_eq!(size_of::<Mark>(), 24);
    }
}
