//! One name: whether its bytes are in the bucket, and how they get there.

use std::{io, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Adopter, Work,
    mark::{self, Mark},
    matter::{Content, Halt, Matter, blocking},
    shelf::{Listed, hash},
    tree::Found,
};
use crate::{
    clock,
    config::Perms,
    error::{Error, Result},
    fs::{SYMLINK_MODE, blank, new_headers, stamp},
    model::{
        attr::{Attr, Kind, Time},
        key::Key,
        version::Version,
    },
    store::{Get, Got, Require, Store},
    upload::{
        multipart::{Matter as Part, Stream, verify},
        plan,
    },
};

/// How often a name is tried that changes meanwhile, here or in the bucket.
const TRIES: u32 = 3;
/// The pause before a file is looked at again that changed just now.
const PAUSE: Duration = Duration::from_millis(250);
/// Bytes from which a look at the bucket costs less than an upload that is refused.
const LOOK_FROM: u64 = 64 << 10;
/// Bytes at the start of a file that decide its charset.
const HEAD: usize = crate::cdn::content_type::HEAD_LEN;

const DELETED: &str = "it was adopted, and deleted in the bucket since";

/// What became of a name.
#[derive(Debug)]
pub enum Outcome {
    /// The bucket has these bytes.
    There(Known),
    /// It has them now.
    Sent(Known, u64),
    /// It has nothing there, and nothing was to be sent.
    Missing(&'static str),
    Conflict(&'static str),
    /// Somebody writes to it.
    Changing(&'static str),
    /// It is no longer here.
    Gone,
    /// `remote`: the bucket failed, and not this host.
    Failed {
        why: String,
        remote: bool,
    },
}

/// What the bucket had for a file when the file was as this says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Known {
    /// A hash of the file's stamp; `None` if it may have changed since without showing it.
    stamp: Option<u64>,
    pub mark: Mark,
}

impl Known {
    /// `read`: when somebody began to read it.
    fn new(found: &Found, mark: Mark, read: Time) -> Self {
        Self { stamp: found.stamp.is_settled(read).then(|| hash(&found.stamp)), mark }
    }

    pub fn is_of(&self, found: &Found) -> bool {
        self.stamp == Some(hash(&found.stamp))
    }
}

/// What must be at the key.
#[derive(Clone, Copy)]
enum Expect {
    Nothing,
    Was(Mark),
}

impl<S: Store> Adopter<S> {
    /// Compares a name with what the bucket has, and uploads it if that is the work. `known` is of an earlier round.
    pub(super) async fn settle(
        &self,
        work: Work,
        path: &str,
        found: Found,
        mut listed: Option<Listed>,
        known: Option<Known>,
    ) -> Outcome {
        if let (Some(known), Some(listed)) = (known, listed)
            && known.mark == listed.mark
            && known.is_of(&found)
        {
            return Outcome::There(known);
        }
        for _ in 0..TRIES {
            match self.attempt(work, (path, &found), listed, known).await {
                Ok(outcome) | Err(Halt::Outcome(outcome)) => return outcome,
                Err(Halt::Found(version)) => {
                    listed = Some(Listed { size: version.size, mark: Mark::of(&version.etag) });
                }
                Err(Halt::Changed) => tokio::time::sleep(PAUSE).await,
            }
        }
        Outcome::Changing("it is being written")
    }

    /// Gives a directory its object, unless it is there.
    pub(super) async fn settle_dir(&self, work: Work, path: &str, found: Found, there: bool) -> Outcome {
        let key = self.key(path).marker();
        let known = |version: &Version| Known::new(&found, Mark::of(&version.etag), clock::wall());
        if there {
            return Outcome::There(Known { stamp: None, mark: Mark::of_bytes(b"") });
        }
        if self.since.is_some_and(|since| !found.stamp.is_since(since)) {
            return Outcome::Missing(DELETED);
        }
        if work != Work::Adopt {
            return Outcome::Missing("");
        }
        let headers = new_headers(&self.options, &key, &self.attr(&found), b"");
        let require = match self.require(&key, Expect::Nothing, 0, false).await {
            Ok(require) => require,
            Err(Halt::Outcome(outcome)) => return outcome,
            Err(_) => return Outcome::There(Known { stamp: None, mark: Mark::of_bytes(b"") }),
        };
        match self.store.put(&key, Bytes::new(), &headers, require).await {
            Ok(version) => Outcome::Sent(known(&version), 0),
            Err(Error::Exists) => Outcome::There(Known { stamp: None, mark: Mark::of_bytes(b"") }),
            Err(err) => Outcome::Failed { why: err.to_string(), remote: true },
        }
    }

    async fn attempt(
        &self,
        work: Work,
        (path, found): (&str, &Found),
        listed: Option<Listed>,
        known: Option<Known>,
    ) -> Result<Outcome, Halt> {
        let Some(listed) = listed else {
            if known.is_none() && self.since.is_some_and(|since| !found.stamp.is_since(since)) {
                return Ok(Outcome::Missing(DELETED));
            }
            return if work == Work::Adopt { self.send(path, Expect::Nothing).await } else { Ok(Outcome::Missing("")) };
        };
        let matter = self.open(path)?;
        let same = self.same(path, &matter, listed).await?;
        matter.is_unchanged()?;
        if same {
            let now = Known::new(&matter.found, listed.mark, matter.read);
            return match work {
                Work::Prove if !now.is_of(&matter.found) => Err(Halt::Changed),
                Work::Prove if matter.is_written() => Ok(Outcome::Changing("some program has it open for writing")),
                _ => Ok(Outcome::There(now)),
            };
        }
        let ours = known.is_some_and(|known| known.mark == listed.mark);
        match work {
            Work::Adopt if ours || self.overwrite => self.send(path, Expect::Was(listed.mark)).await,
            Work::Look if self.overwrite => Ok(Outcome::Missing("")),
            _ => Ok(Outcome::Conflict("the bucket has other bytes there")),
        }
    }

    /// Whether the object has these bytes. What its ETag cannot tell is read.
    async fn same(&self, path: &str, matter: &Matter, listed: Listed) -> Result<bool, Halt> {
        let size = matter.size();
        if size != listed.size {
            return Ok(false);
        }
        let told = match &matter.content {
            Content::Bytes(bytes) => Some(Mark::of_bytes(bytes)),
            Content::File(file) => {
                let (file, parts) = (Arc::clone(file), self.ranges(size));
                blocking(move || listed.mark.of_file(&file, size, &parts)).await?
            }
        };
        if told == Some(listed.mark) {
            return Ok(true);
        }
        let (object, body) = match self.store.get(&self.key(path), Get::default()).await {
            Ok(Got::Bytes(object, body)) => (object, body),
            Ok(Got::Same { .. }) => return Err(Error::unavailable("an answer without bytes").into()),
            Err(Error::NotFound) => return Err(Halt::Changed),
            Err(err) => return Err(err.into()),
        };
        if Mark::of(&object.version.etag) != listed.mark {
            return Err(Halt::Found(object.version));
        }
        let theirs = mark::sha256_of(body).await?;
        let ours = match &matter.content {
            Content::File(file) => {
                let file = Arc::clone(file);
                blocking(move || mark::sha256(&file, size)).await?
            }
            Content::Bytes(bytes) => mark::sha256_of_bytes(bytes),
        };
        Ok(ours == theirs)
    }

    async fn send(&self, path: &str, expect: Expect) -> Result<Outcome, Halt> {
        let matter = self.open(path)?;
        let (key, size) = (self.key(path), matter.size());
        let version = if size > self.lanes.part_size {
            self.send_parts(&key, &matter, expect).await?
        } else {
            let room = self.lanes.room(size).await;
            let bytes = matter.bytes(0..size).await?;
            matter.is_unchanged()?;
            let headers = new_headers(&self.options, &key, &self.attr(&matter.found), &bytes[..bytes.len().min(HEAD)]);
            let require = self.require(&key, expect, size, false).await?;
            let sent = self.store.put(&key, bytes, &headers, require).await;
            drop(room);
            match sent {
                Ok(version) if version.size == size => version,
                Ok(version) => {
                    return Err(Error::unavailable(format!("{} of {size} bytes arrived", version.size)).into());
                }
                Err(err) => return Err(self.refusal(&key, err).await),
            }
        };
        Ok(Outcome::Sent(Known::new(&matter.found, Mark::of(&version.etag), matter.read), size))
    }

    async fn send_parts(&self, key: &Key, matter: &Matter, expect: Expect) -> Result<Version, Halt> {
        self.require(key, expect, matter.size(), true).await?;
        let head = matter.bytes(0..matter.size().min(HEAD as u64)).await?;
        let attr = self.attr(&matter.found);
        let headers = new_headers(&self.options, key, &attr, &head);
        let mut stream = Stream::begin(&*self.store, &self.lanes, key, &headers, attr).await?;
        match self.stream(key, matter, &mut stream, expect).await {
            Ok(version) => Ok(version),
            Err(halt) => {
                stream.abort(&*self.store).await;
                Err(halt)
            }
        }
    }

    async fn stream(&self, key: &Key, matter: &Matter, stream: &mut Stream, expect: Expect) -> Result<Version, Halt> {
        for (number, range) in (1..).zip(self.ranges(matter.size())) {
            stream.lane(&self.lanes, number).await?;
            let room = self.lanes.room(range.end - range.start).await;
            let bytes = matter.bytes(range.clone()).await?;
            stream.send(&self.store, number, range, Part::Bytes(bytes, room));
        }
        stream.land().await?;
        matter.is_unchanged()?;
        let require = self.require(key, expect, matter.size(), true).await?;
        let former = if let Require::Version(etag) = &require { Some(etag.clone()) } else { None };
        let version = match stream.complete(&*self.store, require).await {
            Ok(version) => Version { size: matter.size(), ..version },
            Err(err) => return Err(self.refusal(key, err).await),
        };
        let object = self.store.head(key).await?;
        verify(&version, stream.operation.as_deref(), former.as_ref(), &object)?;
        Ok(version)
    }

    /// The condition to send. Looks first where the server cannot be relied on, or where a look costs less.
    async fn require(&self, key: &Key, expect: Expect, size: u64, parts: bool) -> Result<Require, Halt> {
        let absent = if parts { self.conditional.complete } else { self.conditional.absent };
        let fresh = if absent.works() { Require::Absent } else { Require::Anything };
        if matches!(expect, Expect::Nothing) && absent.works() && size < LOOK_FROM {
            return Ok(fresh);
        }
        match (self.store.head(key).await, expect) {
            (Err(Error::NotFound), Expect::Nothing) => Ok(fresh),
            (Ok(object), Expect::Was(mark)) if Mark::of(&object.version.etag) == mark => {
                let enforced = self.conditional.version.works() && (!parts || self.conditional.complete.works());
                Ok(if enforced { Require::Version(object.version.etag) } else { Require::Anything })
            }
            (Ok(object), _) => Err(Halt::Found(object.version)),
            (Err(Error::NotFound), Expect::Was(_)) => {
                Err(Halt::Outcome(Outcome::Conflict("it was deleted in the bucket meanwhile")))
            }
            (Err(err), _) => Err(err.into()),
        }
    }

    /// After a refused write: what is there.
    async fn refusal(&self, key: &Key, err: Error) -> Halt {
        if !matches!(err, Error::Exists | Error::Stale | Error::NotFound) {
            return err.into();
        }
        match self.store.head(key).await {
            Ok(object) => Halt::Found(object.version),
            Err(Error::NotFound) => Halt::Changed,
            Err(err) => err.into(),
        }
    }

    fn open(&self, path: &str) -> io::Result<Matter> {
        let read = clock::wall();
        let found = self.tree.look(path)?;
        let (found, content) = match found.attr.kind {
            Kind::File => {
                let (file, found) = self.tree.file(path)?;
                (found, Content::File(Arc::new(file)))
            }
            Kind::Symlink => {
                let target = self.tree.target(path)?.into_encoded_bytes();
                (found, Content::Bytes(target.into()))
            }
            Kind::Dir => return Err(io::Error::from_raw_os_error(libc::ELOOP)),
            _ => (found, Content::Bytes(Bytes::new())),
        };
        Ok(Matter { found, content, read })
    }

    /// As a mount would have written it.
    fn attr(&self, found: &Found) -> Attr {
        let Attr { kind, size, rdev, mtime, .. } = found.attr;
        let attr = match self.options.perms {
            Perms::Uniform => Attr { size, rdev, ..blank(&self.options, kind) }.at(stamp(&self.options, mtime)),
            Perms::Stored => found.attr,
        };
        if kind == Kind::Symlink { Attr { mode: SYMLINK_MODE, ..attr } } else { attr }
    }

    fn key(&self, path: &str) -> Key {
        Key::new(&format!("{}{path}", self.prefix.as_str()))
    }

    /// The parts in which a file of `size` is sent; none if it is one, or too large.
    fn ranges(&self, size: u64) -> Vec<Range<u64>> {
        let steps = plan::grid(size, &self.lanes.limits).unwrap_or_default();
        steps.iter().map(|step| step.range().clone()).collect()
    }
}
