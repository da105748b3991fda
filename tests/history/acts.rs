//! One operation each, by plain system calls, with its times and what came of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    event::{Act, At, Event, How, Outcome, Stat, Written, now},
    value::{Id, Seen, record, understand},
};

/// A file that is longer is not appended to: its end is far from its head by then.
const APPEND_MAX: u64 = 64 << 10;

fn errno(err: &io::Error) -> i32 {
    err.raw_os_error().expect("an error of the kernel")
}

fn outcome<T>(result: io::Result<T>) -> Outcome<T> {
    result.map_err(|err| errno(&err))
}

/// A process at work on one mount.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) by: u32,
    pub(crate) host: u8,
    pub(crate) dir: PathBuf,
    /// Writes so far.
    pub(crate) seq: u32,
}

/// How a value is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) how: How,
    /// Bytes.
    pub(crate) len: usize,
    /// write(2) calls.
    pub(crate) pieces: usize,
    pub(crate) fsync: bool,
    /// Seconds since 1970 to set before the close.
    pub(crate) mtime: Option<i64>,
}

/// A write that is under way.
struct Going {
    opened: At,
    from: At,
    to: At,
    size: u64,
    mtime: i64,
}

impl Actor {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn event(&self, path: &str, begin: At, act: Act) -> Event {
        let (by, host, path) = (self.by, Some(self.host), path.to_owned());
        Event { by, host, path, begin, end: now(), act }
    }

    /// A name in the same directory that nobody else uses.
    fn private(&self, path: &str, what: &str) -> String {
        let name = format!("{what}.{}.{}", self.by, self.seq);
        path.rsplit_once('/').map_or_else(|| name.clone(), |(dir, _)| format!("{dir}/{name}"))
    }

    /// `None`: the file was too long to append to.
    pub(crate) fn write(&mut self, path: &str, plan: Plan) -> Option<Event> {
        self.seq += 1;
        let id = Id { by: self.by, seq: self.seq };
        let bytes = record(id, plan.len);
        let begin = now();
        let mut going = Going { opened: begin, from: begin, to: begin, size: plan.len as u64, mtime: 0 };
        let result = match plan.how {
            How::Replace | How::ReplaceOpen => self.replace(path, &bytes, plan, &mut going),
            _ => self.in_place(path, &bytes, plan, &mut going),
        };
        let outcome = match outcome(result) {
            Ok(false) => return None,
            Ok(true) => Ok(()),
            Err(errno) => Err(errno),
        };
        let Going { opened, from, to, size, mtime } = going;
        // What failed before its time was known may show any.
        let mtime = if mtime == 0 { (i64::MIN, i64::MAX) } else { (mtime, mtime) };
        let written = Written { id, how: plan.how, from, to, opened, size, mtime, outcome };
        // A rename is all that the name sees of a replacement.
        let begin = if matches!(plan.how, How::Replace | How::ReplaceOpen) { opened } else { begin };
        Some(self.event(path, begin, Act::Write(written)))
    }

    fn in_place(&self, path: &str, bytes: &[u8], plan: Plan, going: &mut Going) -> io::Result<bool> {
        let (append, truncate) = (plan.how == How::Append, plan.how == How::Truncate);
        let mut options = OpenOptions::new();
        options.append(append).write(!append).read(plan.how == How::InPlace);
        options.create(truncate || append).truncate(truncate);
        let mut file = options.open(self.path(path))?;
        going.opened = now();
        if append && file.metadata()?.len() > APPEND_MAX {
            return Ok(false);
        }
        pour(&mut file, bytes, plan.pieces)?;
        if plan.how == How::InPlace {
            file.set_len(bytes.len() as u64)?;
        }
        finish(file, plan, going)?;
        Ok(true)
    }

    fn replace(&self, path: &str, bytes: &[u8], plan: Plan, going: &mut Going) -> io::Result<bool> {
        let temporary = self.path(&self.private(path, "tmp"));
        let mut options = OpenOptions::new();
        // An exclusive name is in the bucket from its open on, so the rename would bring the content there and not the
        // close: that the two are apart is what `ReplaceOpen` is for.
        let exclusive = plan.how == How::Replace;
        options.write(true).create_new(exclusive).create(true).truncate(!exclusive);
        let mut file = options.open(&temporary)?;
        let result = (|| {
            pour(&mut file, bytes, plan.pieces)?;
            if plan.how == How::ReplaceOpen {
                going.opened = now();
                fs::rename(&temporary, self.path(path))?;
                finish(file, plan, going)?;
            } else {
                finish(file, plan, going)?;
                (going.opened, going.from) = (now(), now());
                fs::rename(&temporary, self.path(path))?;
                going.to = now();
            }
            Ok(true)
        })();
        if result.is_err() {
            // A rename that failed may leave it; nobody else looks at it.
            fs::remove_file(&temporary).unwrap_or_default();
        }
        result
    }

    pub(crate) fn read(&self, path: &str) -> Event {
        let begin = now();
        let file = match File::open(self.path(path)) {
            Ok(file) => file,
            Err(err) => return self.event(path, begin, Act::Read { opened: now(), seen: Err(errno(&err)) }),
        };
        let opened = now();
        let seen = Ok(look(file));
        self.event(path, begin, Act::Read { opened, seen })
    }

    pub(crate) fn stat(&self, path: &str) -> Event {
        let begin = now();
        let stat = fs::symlink_metadata(self.path(path));
        let stat = stat.map(|meta| Stat { size: meta.len(), mtime: meta.mtime() });
        self.event(path, begin, Act::Stat(outcome(stat)))
    }

    pub(crate) fn stat_dir(&self, path: &str) -> Event {
        let begin = now();
        let stat = fs::symlink_metadata(self.path(path)).map(drop);
        self.event(path, begin, Act::StatDir(outcome(stat)))
    }

    pub(crate) fn list(&self, path: &str) -> Event {
        let begin = now();
        let names = fs::read_dir(self.path(path)).and_then(|entries| {
            entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>()
        });
        self.event(path, begin, Act::List(outcome(names)))
    }

    pub(crate) fn unlink(&self, path: &str) -> Event {
        let begin = now();
        let done = fs::remove_file(self.path(path));
        self.event(path, begin, Act::Unlink(outcome(done)))
    }

    pub(crate) fn mkdir(&self, path: &str) -> Event {
        let begin = now();
        let done = fs::create_dir(self.path(path));
        self.event(path, begin, Act::Mkdir(outcome(done)))
    }

    pub(crate) fn rmdir(&self, path: &str) -> Event {
        let begin = now();
        let done = fs::remove_dir(self.path(path));
        self.event(path, begin, Act::Rmdir(outcome(done)))
    }

    /// Takes a file to a name of our own, and tells what was taken.
    pub(crate) fn move_away(&mut self, path: &str) -> Event {
        self.seq += 1;
        let mine = self.path(&self.private(path, "mine"));
        let begin = now();
        let done = outcome(fs::rename(self.path(path), &mine));
        let mut event = self.event(path, begin, Act::MoveAway(Err(0)));
        let seen = done.and_then(|()| outcome(File::open(&mine).map(look)));
        fs::remove_file(&mine).unwrap_or_default();
        event.act = Act::MoveAway(seen);
        event
    }

    /// Moves one name of a pair to the other; nobody else does. Not an event: only what listings show of it counts.
    pub(crate) fn swing(&self, from: &str, to: &str) -> bool {
        fs::rename(self.path(from), self.path(to)).is_ok()
    }
}

fn pour(file: &mut File, bytes: &[u8], pieces: usize) -> io::Result<()> {
    bytes.chunks(bytes.len().div_ceil(pieces)).try_for_each(|piece| file.write_all(piece))
}

/// The time and size as they will be; then everything goes to the bucket.
fn finish(file: File, plan: Plan, going: &mut Going) -> io::Result<()> {
    if let Some(sec) = plan.mtime {
        file.set_modified(UNIX_EPOCH + Duration::from_secs(sec.unsigned_abs()))?;
    }
    let meta = file.metadata()?;
    (going.size, going.mtime) = (meta.len(), meta.mtime());
    going.from = now();
    if plan.fsync {
        file.sync_all()?;
        going.to = now();
        return Ok(nix::unistd::close(file)?);
    }
    let closed = nix::unistd::close(file);
    going.to = now();
    Ok(closed?)
}

fn look(mut file: File) -> Seen {
    let mut bytes = Vec::new();
    let size = match file.metadata() {
        Ok(meta) => meta.len(),
        Err(err) => return Seen::Gone { errno: errno(&err), size: 0 },
    };
    if let Err(err) = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)) {
        return Seen::Gone { errno: errno(&err), size };
    }
    if bytes.len() as u64 != size {
        return Seen::Torn(format!("fstat says {size}, and there are {} bytes: {:?}", bytes.len(), understand(&bytes)));
    }
    understand(&bytes)
}

/// What other processes of the same host must not do at the same time: write the same file in parts.
#[derive(Debug)]
pub(crate) struct Alone(#[expect(dead_code, reason = "held")] nix::fcntl::Flock<File>);

impl Alone {
    pub(crate) fn wait(dir: &Path, path: &str) -> Self {
        let name = dir.join(path.replace('/', "-"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(name).unwrap();
        Self(nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive).map_err(|(_, err)| err).unwrap())
    }
}
