//! Questions to the bucket about one name: from where the answer may come, and what is best asked.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Fs,
    known::{Answer, Known, Seen},
};
use crate::{
    cache::SMALL,
    clock,
    error::Result,
    freshness::{
        listing::{Is, Listing},
        views::place,
    },
    model::{
        attr::Kind,
        key::{Key, Name},
        version::Version,
    },
    store::Store,
};

/// What is known of the name already, which decides what to ask first. No answer depends on its being right, but for
/// [`Hint::Listed`].
#[derive(Clone, Debug)]
pub(super) enum Hint {
    /// Nor is there a listing of its directory.
    Cold,
    Unknown,
    /// By some listing that may be old.
    Absent,
    /// With its version, if all that is known of it is sure.
    File(Option<Version>),
    /// With the version of its marker.
    Dir(Option<Version>),
    /// A directory, by a listing that is young enough to be believed.
    Listed,
}

impl Hint {
    pub(super) fn of(kind: Kind, known: &Known) -> Self {
        match kind {
            Kind::Dir => Self::Dir(known.version.clone()),
            _ => Self::File(known.version.clone().filter(|_| known.asked.is_some())),
        }
    }
}

/// What a view makes of a question.
enum Viewed {
    Answer(Answer),
    Ask(Hint),
}

impl<S: Store> Fs<S> {
    /// What is at `key`: from a view of its directory, if that may answer, else as [`Fs::look_now`].
    pub(super) async fn look(&self, key: Key, hint: Hint) -> Result<Answer> {
        match self.view(&key, hint).await? {
            Viewed::Answer(answer) => Ok(answer),
            Viewed::Ask(hint) => self.look_now(key, hint).await,
        }
    }

    /// What the bucket holds at `key`. The request is sent after this call began; it may be shared.
    pub(super) async fn look_now(&self, key: Key, hint: Hint) -> Result<Answer> {
        let place = place(&key);
        let member = self.crowds.join(place.as_ref().map_or("", |(dir, _)| dir.as_str()));
        let hint = match (&place, hint) {
            (Some((dir, name)), hint) if member.is_crowded() => match read(&*self.line.page(dir).await?, name, hint) {
                Viewed::Answer(answer) => return Ok(self.with_frames(&key, answer)),
                Viewed::Ask(hint) => hint,
            },
            (Some((dir, name)), Hint::Unknown) => self.guess(dir, name),
            (_, hint) => hint,
        };
        self.ask_about(&key, hint).await
    }

    /// As [`Fs::look_now`], of this one name alone.
    pub(super) async fn ask_about(&self, key: &Key, hint: Hint) -> Result<Answer> {
        let (line, asking, absent) = (self.line.clone(), key.clone(), Arc::clone(&self.absent));
        let answer = self.looks.ask(key.clone(), move || async move {
            let (asked, wall) = (clock::now(), clock::wall().sec);
            let seen = line.seen(&asking, hint).await?;
            if matches!(seen, Seen::Absent) {
                absent.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Answer { asked, wall, seen })
        });
        Ok(self.with_frames(key, answer.await?))
    }

    /// As [`Fs::look`], for a file of `version` that is about to be read. If a small one is here already, its new bytes
    /// come along should it have changed; if it is not, it is fetched meanwhile.
    pub(super) async fn look_to_read(&self, key: Key, version: &Version) -> Result<Answer> {
        let content = self.contents.get(&key, version);
        if version.size > SMALL || version.size == 0 {
            return self.look(key, Hint::File(Some(version.clone()))).await;
        }
        if !self.contents.is_here(&content) {
            let contents = Arc::clone(&self.contents);
            // Whoever reads shares this, and hears what becomes of it.
            tokio::spawn(async move { drop(contents.complete(&content).await) });
            return self.look(key, Hint::File(Some(version.clone()))).await;
        }
        // Without a time to compare, a 304 would not tell whether the metadata are the same.
        if version.modified.is_none() {
            return self.look(key, Hint::File(None)).await;
        }
        match self.view(&key, Hint::File(Some(version.clone()))).await? {
            Viewed::Answer(answer) => Ok(answer),
            Viewed::Ask(_) => self.look_and_fetch(key, Some(version.clone())).await,
        }
    }

    /// What the bucket holds at `key`, with its bytes unless they are those of `here`.
    pub(super) async fn look_and_fetch(&self, key: Key, here: Option<Version>) -> Result<Answer> {
        let (line, contents) = (self.line.clone(), Arc::clone(&self.contents));
        let asking = key.clone();
        let answer = self.looks.ask(key.clone(), move || async move {
            let (asked, wall) = (clock::now(), clock::wall().sec);
            let seen = line.fetch(&contents, &asking, here.as_ref()).await?;
            Ok(Answer { asked, wall, seen })
        });
        Ok(self.with_frames(&key, answer.await?))
    }

    /// Under a freshness of some age: what a view that is young enough says. For a name of which nothing is known the
    /// directory is listed if there is none, because its neighbours will be asked for as well. Not more of it than one
    /// page.
    async fn view(&self, key: &Key, hint: Hint) -> Result<Viewed> {
        if self.options.freshness.open_age().is_zero() {
            return Ok(Viewed::Ask(hint));
        }
        let Some((dir, name)) = place(key) else { return Ok(Viewed::Ask(hint)) };
        let unknown = matches!(hint, Hint::Unknown);
        let view = match self.line.young(&dir, clock::now()) {
            Some(view) => view,
            None if !unknown => return Ok(Viewed::Ask(hint)),
            None if self.views.get(&dir).is_some_and(|view| view.is_long()) => return Ok(Viewed::Ask(Hint::Absent)),
            None => self.line.page(&dir).await?,
        };
        Ok(match read(&view, &name, hint) {
            Viewed::Ask(Hint::Dir(None)) if unknown => Viewed::Ask(Hint::Listed),
            Viewed::Ask(Hint::Unknown) if view.is_long() => Viewed::Ask(Hint::Absent),
            Viewed::Answer(answer) => Viewed::Answer(self.with_frames(key, answer)),
            asks @ Viewed::Ask(_) => asks,
        })
    }

    /// What is best asked about a name of which nothing is known.
    fn guess(&self, dir: &Key, name: &Name) -> Hint {
        let Some(view) = self.views.get(dir) else { return Hint::Cold };
        match view.is(name) {
            Some(Is::Absent) => Hint::Absent,
            Some(Is::File(_)) => Hint::File(None),
            Some(Is::Dir) => Hint::Dir(None),
            None => Hint::Unknown,
        }
    }
}

/// What a listing that may be believed answers. It tells no attributes, so of what is there it only knows whether it is
/// still the same.
fn read(listing: &Listing, name: &Name, hint: Hint) -> Viewed {
    let seen = match (listing.is(name), &hint) {
        (Some(Is::Absent), _) => Seen::Absent,
        (Some(Is::File(listed)), Hint::File(Some(known))) if listed.same(known) => Seen::Same(known.clone()),
        (Some(Is::File(_)), Hint::Unknown) => return Viewed::Ask(Hint::File(None)),
        (Some(Is::Dir), Hint::Unknown) => return Viewed::Ask(Hint::Dir(None)),
        _ => return Viewed::Ask(hint),
    };
    Viewed::Answer(Answer { asked: listing.asked, wall: listing.wall, seen })
}
