//! One file of an outbox.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{Due, Id};
use crate::cdn::{
    purge::versions::{MOST, Versions},
    url::Token,
};

/// Hexadecimal digits of a line's sum: 32 bits of SHA-256, enough to tell a torn line.
const SUM: usize = 8;
const EXTENSION: &str = "purge";
/// After the number of a record of which versions follow: whether it is known what came of it.
const UNSURE: char = ':';
const SURE: char = '!';

pub(super) enum Line<'a> {
    Due(Id, &'a str),
    Versions(Id, Versions),
    Done(Id),
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// Numbers of its records: from, and the last one; 0 if there are none.
    first: Id,
    pub(super) last: Id,
    pub(super) pending: u64,
    pub(super) bytes: u64,
}

impl Segment {
    /// A new one, whose name is on the disk.
    pub(super) fn create(dir: &Path, number: u64) -> io::Result<(Self, File)> {
        let path = dir.join(format!("{number:012}.{EXTENSION}"));
        let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&path)?;
        File::open(dir)?.sync_all()?;
        Ok((Self { path, first: 0, last: 0, pending: 0, bytes: 0 }, file))
    }

    /// What a file says, and what is pending in it. Lines that are torn say nothing.
    pub(super) fn read(path: PathBuf) -> io::Result<(Self, Vec<Due>)> {
        let mut raw = Vec::new();
        File::open(&path)?.read_to_end(&mut raw)?;
        let mut segment = Self { path, first: 0, last: 0, pending: 0, bytes: raw.len() as u64 };
        let mut due = BTreeMap::new();
        for line in raw.split(|byte| *byte == b'\n') {
            match parse(line) {
                Some(Line::Due(id, key)) => {
                    segment.first = if segment.first == 0 { id } else { segment.first.min(id) };
                    segment.last = segment.last.max(id);
                    due.insert(id, (key, Versions::default().unsure()));
                }
                Some(Line::Versions(id, versions)) => {
                    if let Some((_, known)) = due.get_mut(&id) {
                        *known = versions;
                    }
                }
                Some(Line::Done(id)) => drop(due.remove(&id)),
                None => {}
            }
        }
        segment.pending = due.len() as u64;
        Ok((segment, due.into_iter().map(|(id, (key, versions))| Due { id, key: plain(key), versions }).collect()))
    }

    /// `count` records from `first` are about to be written.
    pub(super) fn add(&mut self, first: Id, count: u64, bytes: u64) {
        self.first = if self.first == 0 { first } else { self.first };
        self.last = first + count - 1;
        self.pending += count;
        self.bytes += bytes;
    }

    pub(super) fn holds(&self, id: Id) -> bool {
        self.first != 0 && (self.first..=self.last).contains(&id)
    }

    /// Each id is given once.
    pub(super) fn done(&mut self, ids: &[Id]) -> io::Result<()> {
        self.pending = self.pending.saturating_sub(ids.len() as u64);
        let lines: String = ids.iter().map(|id| text(&Line::Done(*id))).collect();
        self.append(&lines)
    }

    /// What is said of its records later.
    pub(super) fn append(&self, lines: &str) -> io::Result<()> {
        OpenOptions::new().append(true).open(&self.path)?.write_all(lines.as_bytes())
    }
}

/// The number in the name of a segment.
pub(super) fn number(path: &Path) -> Option<u64> {
    path.extension().filter(|ext| *ext == EXTENSION)?;
    path.file_stem()?.to_str()?.parse().ok()
}

/// A line with its end.
pub(super) fn text(line: &Line<'_>) -> String {
    let plain = match line {
        Line::Due(id, key) => format!("{id} {}", key.replace('\\', "\\\\").replace('\n', "\\n")),
        Line::Versions(id, versions) => {
            let tokens: Vec<_> = versions.tokens(MOST).iter().map(Token::as_str).collect();
            format!("{id}{}{}", if versions.unsure { UNSURE } else { SURE }, tokens.join(","))
        }
        Line::Done(id) => id.to_string(),
    };
    format!("{:08x} {plain}\n", sum(plain.as_bytes()))
}

/// What a line says, with its key as it is written.
fn parse(line: &[u8]) -> Option<Line<'_>> {
    let (sum_of, plain) = line.split_at_checked(SUM)?;
    let plain = plain.strip_prefix(b" ")?;
    let told = u32::from_str_radix(str::from_utf8(sum_of).ok()?, 16).ok()?;
    if told != sum(plain) {
        return None;
    }
    let plain = str::from_utf8(plain).ok()?;
    match plain.split_once(' ') {
        Some((id, key)) => Some(Line::Due(id.parse().ok()?, key)),
        None => Some(match plain.split_once([UNSURE, SURE]) {
            Some((id, tokens)) => {
                let mut versions = Versions::of(tokens.split(',').filter_map(Token::parse));
                versions.unsure = plain[id.len()..].starts_with(UNSURE);
                Line::Versions(id.parse().ok()?, versions)
            }
            None => Line::Done(plain.parse().ok()?),
        }),
    }
}

/// A key as it was before [`text`].
fn plain(written: &str) -> Arc<str> {
    if !written.contains('\\') {
        return Arc::from(written);
    }
    let (mut key, mut chars) = (String::with_capacity(written.len()), written.chars());
    while let Some(c) = chars.next() {
        key.push(match c {
            '\\' if chars.next() == Some('n') => '\n',
            c => c,
        });
    }
    Arc::from(key)
}

fn sum(plain: &[u8]) -> u32 {
    let digest = Sha256::digest(plain);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}
