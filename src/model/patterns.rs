//! Where a name lives: in the bucket, or on this host alone.

use std::fmt;

use glob::{MatchOptions, Pattern};

/// Between the patterns of a list; a comma would end the option in a line of fstab.
const SEPARATOR: char = ':';

/// `*`, `?` and `[...]` match no slash.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// Where a name lives. The later ones prevail.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    Bucket,
    /// What is new stays on this host until it is renamed; what the bucket has there is shown.
    Held,
    /// On this host alone. The bucket is not even asked.
    Local,
}

/// Which names are local-only.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Patterns {
    pub local: List,
    pub hold: List,
}

impl Patterns {
    pub fn is_empty(&self) -> bool {
        self.local.0.is_empty() && self.hold.0.is_empty()
    }

    /// Where `path` lives, a path from the root of the mount without a slash at its start. What a pattern says of a
    /// directory holds for all below it.
    pub fn scope(&self, path: &str) -> Scope {
        if self.local.covers(path) {
            Scope::Local
        } else if self.hold.covers(path) {
            Scope::Held
        } else {
            Scope::Bucket
        }
    }
}

/// As the options were written, as far as there are any.
impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = [("local", &self.local), ("hold", &self.hold)].into_iter().filter(|(_, list)| !list.is_empty());
        let texts = given.map(|(name, list)| format!("{name}={}", list.texts().collect::<Vec<_>>().join(":")));
        f.write_str(&texts.collect::<Vec<_>>().join(" "))
    }
}

/// Patterns of one option.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct List(Vec<Glob>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Glob {
    pattern: Pattern,
    /// It is for whole paths, and not for names at any depth.
    rooted: bool,
}

/// A pattern that means nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadPattern {
    pattern: String,
    why: &'static str,
}

impl List {
    /// Patterns with `:` between them. One without a slash is for names at any depth, one with a slash for paths from
    /// the root of the mount. `*` and `?` match no slash, `**` as a whole component any number of components.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        text.split(SEPARATOR).map(Glob::parse).collect::<Result<_, _>>().map(Self)
    }

    /// As they were written.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|glob| glob.pattern.as_str())
    }

    /// The same, and whether each is for whole paths from the root, and not for names at any depth.
    pub fn rooted(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|glob| (glob.pattern.as_str(), glob.rooted))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is about `path`, or about a directory above it.
    pub fn covers(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        !self.0.is_empty() && ends.into_iter().any(|end| self.0.iter().any(|glob| glob.matches(&path[..end])))
    }
}

impl Glob {
    fn parse(text: &str) -> Result<Self, BadPattern> {
        let bad = |why| BadPattern { pattern: text.to_owned(), why };
        let trimmed = text.trim_matches('/');
        let names = || trimmed.split('/');
        if trimmed.is_empty() {
            return Err(bad("it is empty"));
        }
        if names().any(|name| matches!(name, "" | "." | "..")) {
            return Err(bad("it has a component that no path has"));
        }
        let pattern = Pattern::new(trimmed).map_err(|err| bad(err.msg))?;
        // Then there would be no use for a bucket.
        if trimmed == "*" || names().all(|name| name == "**") {
            return Err(bad("it covers everything"));
        }
        Ok(Self { pattern, rooted: text.contains('/') })
    }

    fn matches(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        self.pattern.matches_with(if self.rooted { path } else { name }, OPTIONS)
    }
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pattern {:?}: {}", self.pattern, self.why)
    }
}

impl std::error::Error for BadPattern {}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(local: &str, hold: &str) -> Patterns {
        let list = |text: &str| if text.is_empty() { List::default() } else { List::parse(text).unwrap() };
        Patterns { local: list(local), hold: list(hold) }
    }

    #[track_caller]
    fn check(list: &str, inside: &[&str], outside: &[&str]) {
        let patterns = patterns(list, "");
        for path in inside {
            assert_eq!(patterns.scope(path), Scope::Local, "{list} covers {path}");
        }
        for path in outside {
            assert_eq!(patterns.scope(path), Scope::Bucket, "{list} does not cover {path}");
        }
    }

    #[test]
    fn a_pattern_without_a_slash_is_for_names_at_any_depth() {
        check("*.tmp", &["a.tmp", "x/y/a.tmp", ".tmp", "dir.tmp/below/it"], &["a.tmp2", "tmp", "a/tmp/b", ""]);
        check("php", &["php", "php/twig/a.php", "x/php/a"], &["php2", "xphp", "a/b.php"]);
    }

    #[test]
    fn a_pattern_with_a_slash_is_for_paths_from_the_root() {
        check("/php", &["php", "php/a/b"], &["x/php"]);
        check("php/", &["php", "php/a/b"], &["x/php"]);
        check("a/*.log", &["a/x.log", "a/x.log/b"], &["a/b/x.log", "b/a/x.log", "x.log", "a"]);
        check("a/**/*.log", &["a/x.log", "a/b/c/x.log"], &["x.log", "b/x.log", "a/x.txt"]);
        check("a/**", &["a/x", "a/x/y"], &["a", "b/a/x"]);
        check("**/cache", &["cache", "a/b/cache", "a/cache/x"], &["caches", "a/cache2/x"]);
    }

    #[test]
    fn classes_and_wildcards_match_no_slash() {
        check("a?b/c", &["axb/c"], &["a/b/c"]);
        check("[a-c]?", &["ax", "x/b1"], &["dx", "a", "a/x/y"]);
        check("/x[!y]z", &["xaz"], &["xyz", "x/z"]);
        check("wc-[*]", &["wc-*"], &["wc-a"]);
    }

    #[test]
    fn local_prevails_over_hold() {
        let patterns = patterns("cache:*.log", "*.tmp:cache:build/**");
        let scopes =
            ["cache/a.tmp", "a.tmp", "a.tmp/x.log", "build/a/b", "build", "photo.jpg"].map(|p| patterns.scope(p));
        assert_eq!(scopes, [Scope::Local, Scope::Held, Scope::Local, Scope::Held, Scope::Bucket, Scope::Bucket]);
        assert_eq!(patterns.local.texts().collect::<Vec<_>>(), ["cache", "*.log"]);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for bad in [
            "", "/", "a:", ":a", "a//b", "a/../b", "./a", "[", "[z", "a**", "a/***", "**", "a/b**/c", "**/**", "*",
            "/*",
        ] {
            assert!(List::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(List::parse("a:[b").unwrap_err().to_string(), "pattern \"[b\": invalid range pattern");
    }

    #[test]
    fn no_name_takes_long_to_match() {
        let patterns = patterns("*a*a*a*a*a*a*b", "");
        assert_eq!(patterns.scope(&"a".repeat(255)), Scope::Bucket);
    }
}
