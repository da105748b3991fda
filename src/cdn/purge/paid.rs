//! What was paid for by the piece this month, by the mount and the commands of a host together: a file beside their
//! outboxes, which outlives each of them.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::cost::day::Day;

/// Its name, in the directory that the outboxes are in.
const FILE: &str = "paid.json";

#[derive(Debug)]
pub struct Paid {
    path: PathBuf,
    /// The first day of the month that was looked at last.
    month: Day,
    /// Counted while another process had the file, by account: not in it yet.
    owed: BTreeMap<String, u64>,
}

#[derive(Default, Deserialize, Serialize)]
struct Sums {
    month: Day,
    items: BTreeMap<String, u64>,
}

impl Paid {
    /// That beside the outbox in `outbox`.
    pub fn beside(outbox: &Path, today: Day) -> Self {
        Self { path: outbox.with_file_name(FILE), month: today.month(), owed: BTreeMap::new() }
    }

    /// Whether a new month has begun since the last time.
    pub fn turns(&mut self, today: Day) -> bool {
        let month = today.month();
        let turns = std::mem::replace(&mut self.month, month) != month;
        if turns {
            self.owed.clear();
        }
        turns
    }

    /// Something of it is not in the file yet.
    pub fn owes(&self, account: &str) -> bool {
        self.owed.contains_key(account)
    }

    /// The same of any account.
    pub fn owes_any(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Adds items to those of an account; gives all of this month. A file that was torn by a power loss counts as empty.
    /// `None`: another process has the file just now, for which nobody waits here; what is added goes with the next one.
    pub fn add(&mut self, account: &str, items: u64) -> io::Result<Option<u64>> {
        let items = items.saturating_add(self.owed.remove(account).unwrap_or(0));
        let mut file = self.open()?;
        // Others on this host count in it, too. It is let go with the file.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(err)) => return Err(err),
            Err(TryLockError::WouldBlock) => {
                if items > 0 {
                    self.owed.insert(account.to_owned(), items);
                }
                return Ok(None);
            }
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut sums: Sums = serde_json::from_str(&text).unwrap_or_default();
        if sums.month != self.month {
            sums = Sums { month: self.month, items: BTreeMap::new() };
        }
        let sum = sums.items.entry(account.to_owned()).or_default();
        *sum = sum.saturating_add(items);
        let sum = *sum;
        if items > 0 {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(serde_json::to_string(&sums)?.as_bytes())?;
        }
        Ok(Some(sum))
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_counted_by_account_and_kept() {
        let dir = std::env::temp_dir().join(format!("originfs-paid-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let outbox = dir.join("purges");
        let (november, december) = (Day::new(2026, 11, 30).unwrap(), Day::new(2026, 12, 1).unwrap());
        let mut paid = Paid::beside(&outbox, november);
        let add = |paid: &mut Paid, account, items| paid.add(account, items).unwrap().expect("nobody else has it");
        assert_eq!((add(&mut paid, "a", 3), add(&mut paid, "b", 1), add(&mut paid, "a", 2)), (3, 1, 5));
        let mut other = Paid::beside(&outbox, november);
        assert_eq!((add(&mut other, "a", 0), paid.turns(november), paid.turns(december)), (5, false, true));
        assert_eq!((add(&mut paid, "a", 0), paid.turns(december), add(&mut paid, "a", 7)), (0, false, 7));
        std::fs::write(dir.join(FILE), "{\"mon").unwrap();
        assert_eq!(add(&mut paid, "a", 1), 1);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
