//! What PHP applications do, call by call as it was seen of them, with the requests counted that each thing costs, and
//! what another host sees right after.
//!
//! `freshness=60s` is what a site chooses that can wait a minute for other hosts' files; `open` is the default.

mod calls;
mod drupal;
mod joomla;
mod large;
mod moodle;
mod php;
mod presets;
mod serving;
mod wordpress;

use std::{
    cell::Cell,
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::PathBuf,
};

use nix::unistd::{AccessFlags, access};

use crate::harness::{Bucket, Mount, Wire};

/// Nothing is asked twice within a minute; what this host does not know may be a minute old.
const MINUTE: &str = "freshness=60s";
/// The default; attributes of known names are not the matter here, and the machine may be slow.
const OPEN: &str = "freshness=open,stat_ttl=60s";

/// Requests by what they are for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Cost {
    put: usize,
    copy: usize,
    delete: usize,
    list: usize,
    /// HEAD, and GET that brings no bytes if nothing changed.
    check: usize,
    get: usize,
    other: usize,
}

impl Cost {
    fn of(wire: &Wire) -> Self {
        let mut cost = Self::default();
        for request in wire.take_seen() {
            let count = match &*request.method {
                "PUT" if request.copies => &mut cost.copy,
                "PUT" => &mut cost.put,
                "DELETE" => &mut cost.delete,
                "HEAD" => &mut cost.check,
                "GET" if request.target.contains("list-type=2") => &mut cost.list,
                "GET" if request.conditional => &mut cost.check,
                "GET" => &mut cost.get,
                _ => &mut cost.other,
            };
            *count += 1;
        }
        cost
    }

    /// Requests that only ask.
    fn asks(self) -> usize {
        self.list + self.check
    }
}

/// One webserver's PHP, and how often it opened something or looked for what is not there.
struct Php<'a> {
    mount: &'a Mount,
    opens: Cell<usize>,
    absent: Cell<usize>,
}

impl<'a> Php<'a> {
    fn on(mount: &'a Mount) -> Self {
        Self { mount, opens: Cell::new(0), absent: Cell::new(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mount.path(name)
    }

    /// `file_exists`: access(2), and stat(2) if that succeeds.
    fn exists(&self, name: &str) -> bool {
        let there = access(&self.path(name), AccessFlags::F_OK).is_ok() && fs::metadata(self.path(name)).is_ok();
        if !there {
            self.absent.set(self.absent.get() + 1);
        }
        there
    }

    /// `filesize`
    #[track_caller]
    fn size(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).unwrap().len()
    }

    /// stat(2) of what may not be there.
    fn stat(&self, name: &str, follow: bool) {
        let stat = if follow { fs::metadata(self.path(name)) } else { fs::symlink_metadata(self.path(name)) };
        if stat.is_err() {
            self.absent.set(self.absent.get() + 1);
        }
    }

    fn opened(&self) {
        self.opens.set(self.opens.get() + 1);
    }

    /// `fopen` with mode `w`: a new file is looked for first, by the kernel.
    #[track_caller]
    fn create(&self, name: &str) -> File {
        self.opened();
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(self.path(name)).unwrap();
        file.metadata().unwrap();
        file
    }

    /// `file_put_contents`, in pieces of so many bytes.
    #[track_caller]
    fn put(&self, name: &str, bytes: &[u8], piece: usize) {
        let mut file = self.create(name);
        bytes.chunks(piece).for_each(|piece| file.write_all(piece).unwrap());
        nix::unistd::close(file).unwrap();
    }

    /// `file_get_contents`, or the first bytes as `getimagesize` reads them.
    #[track_caller]
    fn get(&self, name: &str, at_most: usize) -> Vec<u8> {
        self.opened();
        let file = File::open(self.path(name)).unwrap();
        file.metadata().unwrap();
        let mut bytes = Vec::new();
        file.take(at_most as u64).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[track_caller]
    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[track_caller]
    fn mkdir(&self, name: &str) {
        if !self.exists(name) {
            self.absent.set(self.absent.get() + 1); // mkdir(2) looks for it once more
            fs::create_dir(self.path(name)).unwrap();
            self.chmod(name, 0o755);
        }
    }

    #[track_caller]
    fn unlink(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// `rename`: the kernel looks for the new name.
    #[track_caller]
    fn rename(&self, from: &str, to: &str) {
        self.absent.set(self.absent.get() + 1);
        fs::rename(self.path(from), self.path(to)).unwrap();
    }
}

/// A webserver whose requests are counted, and another one of the same bucket that always asks.
fn pair(bucket: &Bucket, options: &str) -> (Mount, Wire, Mount) {
    let (a, wire) = bucket.wired(options);
    let b = bucket.mount();
    wire.take_seen();
    (a, wire, b)
}

/// A file that was just closed on one host is there on the other by every way of asking.
#[track_caller]
fn seen_on(other: &Mount, name: &str, bytes: &[u8]) {
    assert_eq!(other.stat(name).len(), bytes.len() as u64, "{name}");
    assert!(other.read(name) == bytes, "{name} reads otherwise");
    let (dir, last) = name.rsplit_once('/').unwrap_or(("", name));
    assert!(crate::harness::names(other.path(dir)).contains(&last.to_owned()), "{name} is not listed");
}
