//! Moodle: files named after their content (`file_system_filedir.php`).

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{Cost, MINUTE, OPEN, Php, pair, seen_on};
use crate::harness::{Bucket, noise, refused};

const DIR: &str = "fd/2b";
const HASH: &str = "fd/2b/fd2b37";

/// `add_file_from_path`
fn add(php: &Php<'_>, bytes: &[u8]) {
    if php.exists(HASH) {
        assert_eq!(php.size(HASH), bytes.len() as u64);
        return;
    }
    php.mkdir("fd");
    php.mkdir(DIR);
    let temporary = format!("{HASH}.tmp");
    assert!(!php.exists(&temporary));
    php.put(&temporary, bytes, 8192);
    assert!(php.get(&temporary, usize::MAX) == bytes);
    php.rename(&temporary, HASH);
    php.chmod(HASH, 0o666);
    assert!(!php.exists(&temporary));
}

#[test]
fn a_new_file_is_written_once_and_never_read_back() {
    let Some(bucket) = Bucket::fresh() else { return };
    for (options, body) in [(MINUTE, noise(50_000, 1)), (OPEN, noise(60_000, 2))] {
        let (a, wire, b) = pair(&bucket, options);
        refused(fs::metadata(b.path(HASH)), Errno::ENOENT);
        let php = Php::on(&a);
        add(&php, &body);
        let cost = Cost::of(&wire);
        seen_on(&b, HASH, &body);
        refused(fs::metadata(b.path(format!("{HASH}.tmp"))), Errno::ENOENT);
        // Two directories and the temporary file; the rename is HEAD, COPY, DELETE.
        let written = Cost { put: 3, copy: 1, delete: 1, ..Cost::default() };
        if options == MINUTE {
            assert_eq!(cost, Cost { list: 1, check: 1, ..written });
        } else {
            assert_eq!(Cost { list: 0, check: 0, ..cost }, written);
            let questions = php.opens.get() + php.absent.get() + 4;
            assert!(cost.asks() <= questions, "{cost:?} for {questions}");
        }
        add(&php, &body);
        assert!(Cost::of(&wire).asks() <= 1, "a duplicate is only looked at");
        for name in [HASH, DIR, "fd"] {
            let gone = if name == HASH { fs::remove_file(a.path(name)) } else { fs::remove_dir(a.path(name)) };
            gone.unwrap();
        }
    }
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

/// `add_file_from_string`: `file_put_contents` with `LOCK_EX`.
#[test]
fn content_written_under_a_lock_is_one_put() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("other", b"");
    let (a, wire, b) = pair(&bucket, MINUTE);
    for text in ["one", "a longer one", "two"] {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(a.path("locked")).unwrap();
        let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, err)| err).unwrap();
        file.set_len(0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        drop(file);
        let cost = Cost::of(&wire);
        assert_eq!((cost.put, cost.copy, cost.get, cost.check), (1, 0, 0, 0), "{cost:?}");
        assert!(cost.list <= 1);
        seen_on(&b, "locked", text.as_bytes());
    }
}
