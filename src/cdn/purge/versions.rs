//! Under which versions in their URLs edges may have objects: those that were handed out. Pure.

use std::{num::NonZeroUsize, sync::Arc};

use lru::LruCache;

use crate::cdn::url::Token;

/// Versions of an object of which the URLs are purged: the one before a change, the one after it, and one more, which an
/// old page may still name.
pub const MOST: usize = 3;

/// Keys of which the versions are remembered: at about 300 bytes each, 6 MB.
const KEYS_MAX: usize = 20_000;

/// What is known of the versions of one object.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Versions {
    /// Each once, the youngest last; [`MOST`] at most.
    tokens: Vec<Token>,
    /// It is not known which one the bucket has now.
    pub unsure: bool,
}

impl Versions {
    /// Those of a record; what is beyond [`MOST`] is forgotten, the oldest first.
    pub fn of(tokens: impl IntoIterator<Item = Token>) -> Self {
        let mut versions = Self::default();
        tokens.into_iter().for_each(|token| versions.add(token));
        versions
    }

    /// The same, and it is not known which one the bucket has now.
    #[must_use]
    pub fn unsure(self) -> Self {
        Self { unsure: true, ..self }
    }

    /// This one is the youngest.
    pub fn add(&mut self, token: Token) {
        self.tokens.retain(|known| *known != token);
        if self.tokens.len() == MOST {
            self.tokens.remove(0);
        }
        self.tokens.push(token);
    }

    /// A later change of the same object.
    pub fn follow(&mut self, later: Self) {
        later.tokens.into_iter().for_each(|token| self.add(token));
        self.unsure = later.unsure;
    }

    /// The youngest, `most` at most.
    pub fn tokens(&self, most: usize) -> &[Token] {
        &self.tokens[self.tokens.len().saturating_sub(most)..]
    }
}

/// What the bucket told of versions, of the keys that it told of last.
#[derive(Debug)]
pub struct Seen(LruCache<Arc<str>, Versions>);

impl Default for Seen {
    fn default() -> Self {
        Self(LruCache::new(NonZeroUsize::new(KEYS_MAX).expect("it is not 0")))
    }
}

impl Seen {
    pub fn add(&mut self, key: &str, token: Token) {
        match self.0.get_mut(key) {
            Some(versions) => versions.add(token),
            None => drop(self.0.put(Arc::from(key), Versions::of([token]))),
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains(key)
    }

    pub fn of(&self, key: &str) -> Versions {
        self.0.peek(key).cloned().unwrap_or_default()
    }

    /// What a record has of a key that nobody has told of since.
    pub fn recall(&mut self, key: &Arc<str>, versions: &Versions) {
        if !self.has(key) {
            self.0.put(Arc::clone(key), Versions { unsure: false, ..versions.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token::parse(&text.repeat(12)).unwrap()
    }

    #[test]
    fn the_youngest_are_kept_each_once() {
        let mut versions = Versions::of(["a", "b", "a"].map(token));
        assert_eq!(versions.tokens(MOST), ["b", "a"].map(token));
        assert_eq!(versions.tokens(1), [token("a")]);
        assert_eq!(versions.tokens(0), []);
        versions.follow(Versions { unsure: true, ..Versions::of(["c", "d"].map(token)) });
        assert_eq!((versions.tokens(MOST), versions.unsure), (&["a", "c", "d"].map(token)[..], true));
        versions.follow(Versions::of([token("a")]));
        assert_eq!((versions.tokens(9), versions.unsure), (&["c", "d", "a"].map(token)[..], false));
    }

    #[test]
    fn what_was_seen_is_bounded() {
        let mut seen = Seen::default();
        seen.add("a", token("a"));
        seen.add("a", token("b"));
        assert_eq!(seen.of("a"), Versions::of(["a", "b"].map(token)));
        (0..KEYS_MAX).for_each(|n| seen.add(&n.to_string(), token("c")));
        assert!(!seen.has("a") && seen.has("0"));
        seen.recall(&"0".into(), &Versions::of([token("d")]));
        assert_eq!(seen.of("0"), Versions::of([token("c")]));
        seen.recall(&"x".into(), &Versions::of([token("d")]));
        assert_eq!((seen.of("x"), seen.of("y")), (Versions::of([token("d")]), Versions::default()));
    }
}
