//! What an upload requires of the bucket, so that no host replaces what it does not know.

use super::{Fs, known};
use crate::{
    config::Conflict,
    error::{Error, Result},
    model::{attr::Attr, key::Key, version::Version},
    store::{
        Headers, Object, Require, Store,
        operation::{OPERATION, operation_id},
        probe::Support,
    },
    upload::dirty::Dirty,
};

/// Names of unanswered writes that are remembered of one file: one for each failed fsync, and who goes on beyond that
/// has a bucket that never answers.
const UNANSWERED_MAX: usize = 64;

/// How often an upload that is refused for what is there begins again, because what is there is its own.
pub(super) const TRIES: u32 = 3;

/// What must be at the key of an upload.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    expect: Expect,
    /// The server honours the condition; else a look right before the write has to do.
    enforced: bool,
    /// A look comes first although the server honours the condition.
    looks: bool,
    /// A refusal is `EEXIST`, as `O_EXCL` and `RENAME_NOREPLACE` say, and no conflict.
    exclusive: bool,
    /// Names of all writes that may be the one that made what is there.
    pub(super) sent: Vec<String>,
}

#[derive(Clone, Debug)]
enum Expect {
    /// Whatever it is.
    Anything,
    Nothing,
    Version(Version),
}

/// What a look after a refusal showed.
enum Verdict {
    /// An earlier attempt arrived in truth.
    Ours(Version),
    /// What was expected: it was something else that was refused.
    AsExpected,
    /// Somebody else's.
    Foreign(Option<Version>),
}

impl Guard {
    pub(super) fn any(&self) -> bool {
        matches!(self.expect, Expect::Anything)
    }

    /// Nothing may be there, and no earlier attempt can have made anything.
    pub(super) fn is_fresh_name(&self) -> bool {
        matches!(self.expect, Expect::Nothing) && self.enforced && self.sent.is_empty()
    }

    pub(super) fn is_refusal(&self, err: &Error) -> bool {
        !self.any() && matches!(err, Error::Exists | Error::Stale | Error::NotFound)
    }
}

impl<S: Store> Fs<S> {
    /// What the upload of `dirty` over `version` requires; `parts`: at the end of a multipart upload.
    pub(super) fn guard(&self, dirty: &Dirty, version: Option<&Version>, parts: bool) -> Guard {
        let known = self.conditional();
        let absent = if parts { known.complete } else { known.absent };
        let same = if parts && !known.complete.works() { Support::Unknown } else { known.version };
        let detect = self.options.conflict == Conflict::Detect;
        let (expect, enforced) = match version {
            _ if dirty.exclusive && (absent.works() || detect) => (Expect::Nothing, absent.works()),
            _ if dirty.exclusive || dirty.moved || !detect => (Expect::Anything, true),
            None => (Expect::Nothing, absent.works()),
            Some(version) => (Expect::Version(version.clone()), same.works() && !version.etag.unquoted().is_empty()),
        };
        // That the end of a multipart upload minds an ETag is not tried at mount; next to its parts a look costs little.
        let looks = parts && matches!(expect, Expect::Version(_));
        Guard { expect, enforced, looks, exclusive: dirty.exclusive, sent: dirty.unanswered.clone() }
    }

    /// The condition to send; looks first where the server cannot be relied on.
    pub(super) async fn require(&self, key: &Key, guard: &Guard) -> Result<Require> {
        if (!guard.enforced || guard.looks)
            && let Verdict::Foreign(there) = self.verdict(key, guard).await?
        {
            return Err(refusal(guard, there.as_ref()));
        }
        Ok(match &guard.expect {
            Expect::Nothing if guard.enforced => Require::Absent,
            Expect::Version(version) if guard.enforced => Require::Version(version.etag.clone()),
            _ => Require::Anything,
        })
    }

    /// After a failed write: `Ok` if it is to be tried again, with the guard as it is then; else why not.
    pub(super) async fn appeal(&self, key: &Key, guard: &mut Guard, err: Error) -> Result<()> {
        if !guard.is_refusal(&err) {
            return Err(err);
        }
        match self.verdict(key, guard).await? {
            Verdict::AsExpected => {}
            Verdict::Ours(version) => {
                guard.expect = Expect::Version(version);
                guard.enforced = self.conditional().version.works();
                guard.exclusive = false;
            }
            Verdict::Foreign(there) => return Err(refusal(guard, there.as_ref())),
        }
        Ok(())
    }

    async fn verdict(&self, key: &Key, guard: &Guard) -> Result<Verdict> {
        let there = match self.store.head(key).await {
            Ok(object) => Some(object),
            Err(Error::NotFound) => None,
            Err(err) => return Err(err),
        };
        let expected = match (&guard.expect, &there) {
            (Expect::Anything, _) | (Expect::Nothing, None) => true,
            (Expect::Version(version), Some(object)) => version.same_content(&object.version),
            _ => false,
        };
        let ours = |object: &Object| object.operation.as_ref().is_some_and(|name| guard.sent.contains(name));
        Ok(match there {
            Some(object) if ours(&object) => Verdict::Ours(object.version),
            _ if expected => Verdict::AsExpected,
            there => Verdict::Foreign(there.map(|object| object.version)),
        })
    }

    /// The headers of a new object, with a name for its write.
    pub(super) fn named_headers(&self, key: &Key, attr: &Attr, head: &[u8]) -> Headers {
        let mut headers = known::new_headers(&self.options, key, attr, head);
        headers.user.insert(OPERATION.to_owned(), operation_id());
        headers
    }
}

/// Remembers the writes of an upload that failed, the newest of them.
pub(super) fn remember(dirty: &mut Dirty, mut sent: Vec<String>) {
    sent.drain(..sent.len().saturating_sub(UNANSWERED_MAX));
    dirty.unanswered = sent;
}

fn refusal(guard: &Guard, there: Option<&Version>) -> Error {
    if guard.exclusive {
        return Error::Exists;
    }
    let base = match &guard.expect {
        Expect::Version(version) => format!("these bytes were written over ETag {}", version.etag.unquoted()),
        Expect::Nothing | Expect::Anything => "these bytes are of a new file".to_owned(),
    };
    let there = match there {
        Some(version) => {
            format!("the bucket has ETag {}, {} bytes", version.etag.unquoted(), version.size)
        }
        None => "the bucket has no such object any more".to_owned(),
    };
    Error::Conflict(format!("another host or client changed it meanwhile: {there}; {base}").into())
}
