//! Which objects a host read, and when last: a record of its own, because no log of anybody tells what a cache answered.
//!
//! A file in the cache directory of the mount, of 12 bytes for each object: the number that its key has as `st_ino`
//! everywhere, so that records of several hosts are about the same objects, and the day. It is read and written in order
//! and never held in memory.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, ErrorKind, Read, Write},
    path::Path,
};

use super::day::Day;

/// The file of a mount, in its cache directory.
pub const FILE: &str = "reads";
/// Objects that it tells of: as many as are looked at when something is proposed. 24 MB.
pub const ENTRIES_MAX: usize = super::cold::OBJECTS_MAX;
/// Days that it goes back: as those of the ledger.
pub const DAYS_MAX: i32 = 400;

/// What the file begins with; then the day since which it is complete.
const MAGIC: [u8; 8] = *b"ofreads1";

/// An object, by number, and the day on which it was read last.
pub type Entry = (u64, Day);

/// A record, from its start to its end.
#[derive(Debug)]
pub struct Record {
    since: Day,
    entries: BufReader<File>,
}

impl Record {
    /// `None`: there is none.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err),
        };
        let mut entries = BufReader::new(file);
        let (mut magic, mut since) = ([0; 8], [0; 4]);
        let head = entries.read_exact(&mut magic).and_then(|()| entries.read_exact(&mut since));
        if head.is_err() || magic != MAGIC {
            return Err(io::Error::new(ErrorKind::InvalidData, "no record of reads"));
        }
        Ok(Some(Self { since: Day(i32::from_le_bytes(since)), entries }))
    }

    /// Since that day no read is missing.
    pub fn since(&self) -> Day {
        self.since
    }
}

impl Iterator for Record {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<io::Result<Entry>> {
        let mut bytes = [0; 12];
        match self.entries.read_exact(&mut bytes) {
            Ok(()) => {
                let (id, day) = bytes.split_at(8);
                let id = u64::from_le_bytes(id.try_into().expect("8 of 12 bytes"));
                let day = i32::from_le_bytes(day.try_into().expect("4 of 12 bytes"));
                Some(Ok((id, Day(day))))
            }
            Err(err) if err.kind() == ErrorKind::UnexpectedEof => None,
            Err(err) => Some(Err(err)),
        }
    }
}

/// Adds `fresh`, in order of numbers, to the record at `path`, which is replaced as a whole; where there is none, it begins
/// on `today`. `complete_since`: reads of days before are missing. What is too old goes, and the oldest of too many.
pub fn add(path: &Path, fresh: &[Entry], today: Day, complete_since: Option<Day>) -> io::Result<()> {
    add_to(path, fresh, today, complete_since, ENTRIES_MAX)
}

fn add_to(path: &Path, fresh: &[Entry], today: Day, complete_since: Option<Day>, most: usize) -> io::Result<()> {
    let since = Record::open(path)?.map_or(today, |record| record.since);
    let oldest = Day(today.0.saturating_sub(DAYS_MAX));
    let mut days = BTreeMap::<Day, usize>::new();
    merged(path, fresh, |(_, day)| {
        *days.entry(day.max(oldest)).or_default() += 1;
        Ok(())
    })?;
    let mut count: usize = days.values().sum();
    let mut floor = oldest;
    while count > most
        && let Some((day, entries)) = days.pop_first()
    {
        count -= entries;
        floor = Day(day.0.saturating_add(1));
    }
    let since = since.max(floor).max(complete_since.unwrap_or(since));
    let new = path.with_extension("new");
    let mut out = BufWriter::new(File::create(&new)?);
    out.write_all(&MAGIC)?;
    out.write_all(&since.0.to_le_bytes())?;
    merged(path, fresh, |(id, day)| {
        if day < floor {
            return Ok(());
        }
        out.write_all(&id.to_le_bytes())?;
        out.write_all(&day.0.to_le_bytes())
    })?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(new, path)
}

/// Calls `each` for every object of the record at `path` or in `fresh`, in order of numbers, with the later day.
fn merged(path: &Path, fresh: &[Entry], mut each: impl FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
    let mut old = Record::open(path)?.into_iter().flatten().peekable();
    let mut fresh = fresh.iter().copied().peekable();
    loop {
        let before = match old.peek() {
            Some(Ok((id, _))) => Some(*id),
            Some(Err(_)) => return old.next().map_or(Ok(()), |entry| entry.map(drop)),
            None => None,
        };
        let entry = match (before, fresh.peek().copied()) {
            (None, None) => return Ok(()),
            (Some(id), Some((other, _))) if id > other => fresh.next(),
            (Some(id), Some((other, _))) if id < other => old.next().transpose()?,
            (Some(_), Some((_, day))) => {
                fresh.next();
                old.next().transpose()?.map(|(id, known)| (id, known.max(day)))
            }
            (Some(_), None) => old.next().transpose()?,
            (None, Some(_)) => fresh.next(),
        };
        if let Some(entry) = entry {
            each(entry)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("originfs-reads-{name}-{}", std::process::id()))
    }

    fn read(path: &Path) -> (i32, Vec<(u64, i32)>) {
        let record = Record::open(path).unwrap().unwrap();
        (record.since().0, record.map(|entry| entry.map(|(id, day)| (id, day.0)).unwrap()).collect())
    }

    fn fresh(entries: &[(u64, i32)]) -> Vec<Entry> {
        entries.iter().map(|(id, day)| (*id, Day(*day))).collect()
    }

    #[test]
    fn each_object_has_its_last_day() {
        let path = file("last");
        assert!(Record::open(&path).unwrap().is_none());
        add(&path, &fresh(&[(5, 1_000), (9, 1_000)]), Day(1_000), None).unwrap();
        add(&path, &fresh(&[(1, 1_002), (9, 1_002), (u64::MAX, 1_001)]), Day(1_002), None).unwrap();
        assert_eq!(read(&path), (1_000, vec![(1, 1_002), (5, 1_000), (9, 1_002), (u64::MAX, 1_001)]));
        // A clock that went back makes nothing older.
        add(&path, &fresh(&[(9, 990)]), Day(1_002), None).unwrap();
        assert_eq!(read(&path).1[2], (9, 1_002));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_missing_is_told() {
        let path = file("missing");
        add(&path, &fresh(&[(1, 100), (2, 101), (3, 101), (4, 102)]), Day(100), None).unwrap();
        add_to(&path, &fresh(&[(5, 103)]), Day(103), None, 2).unwrap();
        assert_eq!(read(&path), (102, vec![(4, 102), (5, 103)]), "three days would be too many");
        add(&path, &[], Day(104), Some(Day(105))).unwrap();
        assert_eq!(read(&path).0, 105);
        add(&path, &fresh(&[(6, 600)]), Day(600), None).unwrap();
        assert_eq!(read(&path), (200, vec![(6, 600)]), "what is older than 400 days goes");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_no_record_is_not_replaced() {
        let path = file("none");
        for text in ["", "ofreads", "something else, and longer"] {
            fs::write(&path, text).unwrap();
            assert_eq!(Record::open(&path).unwrap_err().kind(), ErrorKind::InvalidData, "{text}");
            assert!(add(&path, &fresh(&[(1, 1)]), Day(1), None).is_err());
        }
        fs::remove_file(path).unwrap();
    }
}
