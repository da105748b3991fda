//! Who may change which names: many at once, but nobody below a directory that is being renamed.
//!
//! A change of one name shares it with the other changes of that name, which take their turns by the file. The rename of a
//! directory owns all that is below its two names; what happens elsewhere does not meet it. First come, first served: a
//! claim waits for those before it that it cannot be beside, whether they have what they want or wait themselves. So a
//! rename is not put off by uploads that keep coming, nor an upload by renames.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use super::{Fs, Payload, settle::child_key, types::NodeId};
use crate::{
    error::Result,
    model::{
        key::{Key, Name},
        tree::Tree,
    },
    store::Store,
};

/// All claims of a mount.
#[derive(Debug, Default)]
pub(super) struct Claims(Arc<Mutex<Line>>);

/// What somebody may change, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    line: Arc<Mutex<Line>>,
    serial: u64,
}

/// In order of arrival.
#[derive(Debug, Default)]
struct Line {
    serial: u64,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    serial: u64,
    wants: Wants,
    /// Until it is granted.
    grant: Option<oneshot::Sender<()>>,
}

#[derive(Debug)]
enum Wants {
    /// These names, as others may have them too.
    Share(Vec<Key>),
    /// Everything at and below these names, alone.
    Own(Vec<Key>),
}

impl Claims {
    /// Waits until nobody who came before owns one of `keys`, which have no slash at their end.
    pub(super) async fn share(&self, keys: Vec<Key>) -> Claim {
        self.claim(Wants::Share(keys)).await
    }

    /// Waits until nobody who came before has a name at or below one of `trees`, which have no slash at their end.
    pub(super) async fn own(&self, trees: Vec<Key>) -> Claim {
        self.claim(Wants::Own(trees)).await
    }

    /// As [`Claims::share`], if that need not wait.
    pub(super) fn try_share(&self, keys: Vec<Key>) -> Option<Claim> {
        let mut line = lock(&self.0);
        let wants = Wants::Share(keys);
        let free = line.is_free(&wants);
        free.then(|| Claim { line: Arc::clone(&self.0), serial: line.join(wants, None) })
    }

    async fn claim(&self, wants: Wants) -> Claim {
        let (grant, granted) = oneshot::channel();
        let claim = {
            let mut line = lock(&self.0);
            let grant = (!line.is_free(&wants)).then_some(grant);
            Claim { line: Arc::clone(&self.0), serial: line.join(wants, grant) }
        };
        // It was sent, or there was no need to send it. Who stops waiting drops the claim, and with it the place.
        granted.await.unwrap_or_default();
        claim
    }
}

impl Line {
    fn is_free(&self, wants: &Wants) -> bool {
        self.places.iter().all(|place| !place.wants.collide(wants))
    }

    fn join(&mut self, wants: Wants, grant: Option<oneshot::Sender<()>>) -> u64 {
        self.serial += 1;
        self.places.push(Place { serial: self.serial, wants, grant });
        self.serial
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut line = lock(&self.line);
        line.places.retain(|place| place.serial != self.serial);
        for at in 0..line.places.len() {
            let (before, rest) = line.places.split_at_mut(at);
            let place = &mut rest[0];
            if place.grant.is_some() && before.iter().all(|earlier| !earlier.wants.collide(&place.wants)) {
                // An error: it stopped waiting, and its own claim is being dropped.
                place.grant.take().map(|grant| grant.send(()).is_ok());
            }
        }
    }
}

impl Wants {
    fn collide(&self, other: &Self) -> bool {
        let any = |keys: &[Key], trees: &[Key]| keys.iter().any(|key| trees.iter().any(|tree| is_within(key, tree)));
        match (self, other) {
            (Self::Share(_), Self::Share(_)) => false,
            (Self::Share(keys), Self::Own(trees)) | (Self::Own(trees), Self::Share(keys)) => any(keys, trees),
            (Self::Own(some), Self::Own(others)) => any(some, others) || any(others, some),
        }
    }
}

impl<S: Store> Fs<S> {
    /// A share in the name that a node has. What has no name needs none.
    pub(super) async fn share_node(&self, id: NodeId) -> Claim {
        let keys = |tree: &Tree<Payload>| {
            let node = tree.get(id);
            let former = node.filter(|node| node.place.is_none()).and_then(|node| node.payload.file.as_ref()?.former());
            let former = former.and_then(|(parent, name)| child_key(tree, parent, &name).ok());
            Ok(tree.key(id).or(former).into_iter().collect())
        };
        self.share(keys).await.expect("the keys cannot fail")
    }

    /// As [`Fs::share_node`] for a node with a name, if that need not wait: for callers that hold locks of the file.
    pub(super) fn try_share_node(&self, id: NodeId) -> Option<Claim> {
        let key = self.tree().key(id)?;
        let claim = self.names.try_share(vec![key.clone()])?;
        (self.tree().key(id)? == key).then_some(claim)
    }

    /// A share in `name` below `parent`.
    pub(super) async fn share_name(&self, parent: NodeId, name: &Name) -> Result<Claim> {
        self.share(|tree| Ok(vec![child_key(tree, parent, name)?])).await
    }

    /// A share in `keys`, as they are once it is granted: a directory above may have another name by then.
    pub(super) async fn share(&self, keys: impl Fn(&Tree<Payload>) -> Result<Vec<Key>>) -> Result<Claim> {
        loop {
            let wanted = keys(&self.tree())?;
            let claim = self.names.share(wanted.clone()).await;
            if keys(&self.tree())? == wanted {
                return Ok(claim);
            }
        }
    }

    /// As [`Fs::share`], to own all below the directories `keys`.
    pub(super) async fn own(&self, keys: impl Fn(&Tree<Payload>) -> Result<Vec<Key>>) -> Result<Claim> {
        loop {
            let wanted = keys(&self.tree())?;
            let claim = self.names.own(wanted.clone()).await;
            if keys(&self.tree())? == wanted {
                return Ok(claim);
            }
        }
    }
}

fn is_within(key: &Key, tree: &Key) -> bool {
    key.as_str().strip_prefix(tree.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().expect("nothing panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, task::Poll};

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Claim> + Send + 'a>>;

    fn keys(names: &[&str]) -> Vec<Key> {
        names.iter().map(|name| Key::new(name)).collect()
    }

    fn share<'a>(claims: &'a Claims, names: &[&str]) -> Waiting<'a> {
        Box::pin(claims.share(keys(names)))
    }

    fn own<'a>(claims: &'a Claims, names: &[&str]) -> Waiting<'a> {
        Box::pin(claims.own(keys(names)))
    }

    /// The claim, if it is there without waiting any longer.
    async fn had(waiting: &mut Waiting<'_>) -> Option<Claim> {
        std::future::poll_fn(|cx| match waiting.as_mut().poll(cx) {
            Poll::Ready(claim) => Poll::Ready(Some(claim)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn names_are_shared_and_trees_are_not() {
        let claims = Claims::default();
        let first = had(&mut share(&claims, &["a/f"])).await.expect("nobody else is here");
        let second = had(&mut share(&claims, &["a/f", "b"])).await.expect("names are shared");
        let mut rename = own(&claims, &["a", "c"]);
        assert!(had(&mut rename).await.is_none(), "somebody works below it");
        drop(first);
        assert!(had(&mut rename).await.is_none(), "somebody still does");
        drop(second);
        let owned = had(&mut rename).await.expect("all are gone");
        for names in [["a"], ["a/f"], ["c/d/e"]] {
            assert!(had(&mut share(&claims, &names)).await.is_none(), "{names:?}");
        }
        for trees in [["a"], ["a/below"], ["c"]] {
            assert!(had(&mut own(&claims, &trees)).await.is_none(), "{trees:?}");
        }
        drop(owned);
        assert!(had(&mut own(&claims, &["a"])).await.is_some());
    }

    #[tokio::test]
    async fn nothing_elsewhere_waits_for_a_tree() {
        let claims = Claims::default();
        let _owned = had(&mut own(&claims, &["site/a", "site/b"])).await.unwrap();
        assert!(claims.try_share(keys(&["site/a/f"])).is_none() && claims.try_share(keys(&["site/c"])).is_some());
        for names in [["site"], ["site/ab"], ["site/a.txt"], ["other/a"]] {
            assert!(had(&mut share(&claims, &names)).await.is_some(), "{names:?}");
        }
        assert!(had(&mut own(&claims, &["site/c", "site/d"])).await.is_some());
    }

    #[tokio::test]
    async fn a_tree_above_is_no_neighbour() {
        let claims = Claims::default();
        let _inner = had(&mut own(&claims, &["a/b"])).await.unwrap();
        assert!(had(&mut own(&claims, &["a"])).await.is_none());
    }

    #[tokio::test]
    async fn who_comes_later_does_not_overtake() {
        let claims = Claims::default();
        let upload = had(&mut share(&claims, &["a/1"])).await.unwrap();
        let mut rename = own(&claims, &["a", "b"]);
        assert!(had(&mut rename).await.is_none());
        let mut late = share(&claims, &["a/2"]);
        assert!(had(&mut late).await.is_none(), "uploads that keep coming would put off the rename for ever");
        let mut second = own(&claims, &["b", "c"]);
        assert!(had(&mut second).await.is_none());
        drop(upload);
        let renaming = had(&mut rename).await.expect("it was first");
        assert!(had(&mut late).await.is_none() && had(&mut second).await.is_none());
        drop(renaming);
        assert!(had(&mut late).await.is_some(), "a rename after it does not put off the upload");
        assert!(had(&mut second).await.is_some());
    }

    #[tokio::test]
    async fn who_stops_waiting_is_not_waited_for() {
        let claims = Claims::default();
        let upload = had(&mut share(&claims, &["a/1"])).await.unwrap();
        let mut rename = own(&claims, &["a"]);
        assert!(had(&mut rename).await.is_none());
        let mut late = share(&claims, &["a/2"]);
        assert!(had(&mut late).await.is_none());
        drop(rename);
        assert!(had(&mut late).await.is_some());
        drop(upload);
        assert_eq!(lock(&claims.0).places.len(), 0);
    }

    #[tokio::test]
    async fn a_claim_that_nobody_awaited_leaves_with_its_waiter() {
        let claims = Claims::default();
        let first = had(&mut own(&claims, &["a"])).await.unwrap();
        let mut second = own(&claims, &["a"]);
        assert!(had(&mut second).await.is_none());
        drop(first); // grants the second, which is dropped before it hears of it
        drop(second);
        assert!(had(&mut own(&claims, &["a"])).await.is_some());
    }
}
