//! What a journal says, line by line.

use std::io::{self, BufRead, ErrorKind};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    model::version::{ETag, Version},
    store::Headers,
};

/// Hexadecimal digits of a line's sum: 64 bits of SHA-256.
pub(super) const SUM: usize = 16;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    Rename { of: Of, from: String, to: String, over: bool, headers: Option<Headers> },
    Plan(Planned),
    Planned(u64),
    Copied(Copied),
    Deleting,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Of {
    Object,
    Tree,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Planned {
    /// What follows the two keys.
    pub(super) rest: String,
    pub(super) version: Written,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Copied {
    pub(super) n: u64,
    pub(super) source: Written,
    pub(super) copy: Written,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Written {
    etag: String,
    size: u64,
    modified: Option<i64>,
}

impl From<&Version> for Written {
    fn from(version: &Version) -> Self {
        Self { etag: version.etag.as_str().to_owned(), size: version.size, modified: version.modified }
    }
}

impl From<Written> for Version {
    fn from(written: Written) -> Self {
        Self { etag: ETag::new(&written.etag), size: written.size, modified: written.modified }
    }
}

/// The next line; `at` is the position after it. Fails with `InvalidData` where its sum is not its own.
pub(super) fn next(lines: &mut impl BufRead, raw: &mut Vec<u8>, at: &mut u64) -> io::Result<Option<Line>> {
    raw.clear();
    let len = lines.read_until(b'\n', raw)?;
    if len == 0 {
        return Ok(None);
    }
    *at += len as u64;
    let torn = || broken("a line is torn");
    let line = raw.strip_suffix(b"\n").ok_or_else(torn)?;
    let (sum_of, json) = line.split_at_checked(SUM).ok_or_else(torn)?;
    let json = json.strip_prefix(b" ").filter(|json| sum(json).as_bytes() == sum_of).ok_or_else(torn)?;
    serde_json::from_slice(json).map(Some).map_err(|err| io::Error::new(ErrorKind::InvalidData, err))
}

pub(super) fn text(line: &Line) -> String {
    let json = serde_json::to_string(line).expect("plain values always serialize");
    format!("{} {json}\n", sum(json.as_bytes()))
}

fn sum(json: &[u8]) -> String {
    let mut first = [0; SUM / 2];
    first.copy_from_slice(&Sha256::digest(json)[..SUM / 2]);
    format!("{:016x}", u64::from_be_bytes(first))
}

pub(super) fn broken(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}
