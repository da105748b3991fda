//! Which paths a command is about.

use glob::{MatchOptions, Pattern};

/// A name is matched whole, and nothing in it is special.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// Paths from the root of a mount, by patterns. What is chosen of a directory is chosen of all below it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selection(Vec<Vec<Part>>);

/// What one component of a pattern is for.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    /// `**`: any number of components.
    Any,
    /// As it is written, or as a glob.
    Name(String, Option<Pattern>),
}

impl Selection {
    /// Paths or globs: `*`, `?` and `[...]` match no slash, `**` as a whole component any number of components. A name
    /// that is written with such characters means itself, too. None at all choose everything. `None` for `.` and `..`.
    pub fn parse(patterns: &[String]) -> Option<Self> {
        let parse = |pattern: &String| pattern.split('/').filter(|part| !part.is_empty()).map(Part::parse).collect();
        let mut all = patterns.iter().map(parse).collect::<Option<Vec<Vec<Part>>>>()?;
        if all.is_empty() {
            all.push(Vec::new());
        }
        Some(Self(all))
    }

    /// Whether `path` is chosen, by itself or by a directory above it.
    pub fn covers(&self, path: &str) -> bool {
        self.0.iter().any(|pattern| matches!(walk(pattern, path), Walk::Covered))
    }

    /// Whether anything at or below the directory `dir` may be chosen.
    pub fn reaches(&self, dir: &str) -> bool {
        self.0.iter().any(|pattern| !matches!(walk(pattern, dir), Walk::Left))
    }
}

impl Part {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "." | ".." => None,
            "**" => Some(Self::Any),
            text => Some(Self::Name(text.to_owned(), Pattern::new(text).ok())),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Name(text, glob) => {
                text == name || glob.as_ref().is_some_and(|glob| glob.matches_with(name, OPTIONS))
            }
        }
    }
}

/// Where a path leads in a pattern.
enum Walk {
    /// To its end, at or above the path.
    Covered,
    /// On the way to it.
    On,
    /// Away from it.
    Left,
}

/// All places in the pattern are followed at once, so that no name takes long.
fn walk(pattern: &[Part], path: &str) -> Walk {
    let mut at = vec![false; pattern.len() + 1];
    at[0] = true;
    skip(pattern, &mut at);
    for name in path.split('/').filter(|part| !part.is_empty()) {
        if at[pattern.len()] {
            return Walk::Covered;
        }
        let mut next = vec![false; pattern.len() + 1];
        for (place, part) in pattern.iter().enumerate().filter(|(place, _)| at[*place]) {
            if part.matches(name) {
                let stays = usize::from(*part != Part::Any);
                next[place + stays] = true;
            }
        }
        at = next;
        skip(pattern, &mut at);
    }
    match at.iter().position(|here| *here) {
        _ if at[pattern.len()] => Walk::Covered,
        Some(_) => Walk::On,
        None => Walk::Left,
    }
}

/// `**` may be for no component at all.
fn skip(pattern: &[Part], at: &mut [bool]) {
    for (place, part) in pattern.iter().enumerate() {
        if at[place] && *part == Part::Any {
            at[place + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(patterns: &[&str], covered: &[&str], on: &[&str], left: &[&str]) {
        let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
        let selection = Selection::parse(&patterns).unwrap();
        for path in covered {
            assert!(selection.covers(path) && selection.reaches(path), "{patterns:?} cover {path}");
        }
        for path in on {
            assert!(!selection.covers(path) && selection.reaches(path), "{patterns:?} lead through {path}");
        }
        for path in left {
            assert!(!selection.covers(path) && !selection.reaches(path), "{patterns:?} do not reach {path}");
        }
    }

    #[test]
    fn no_pattern_is_everything() {
        check(&[], &["", "a", "a/b"], &[], &[]);
        check(&["/"], &["", "a"], &[], &[]);
    }

    #[test]
    fn a_path_is_all_below_it() {
        check(&["2026/05"], &["2026/05", "2026/05/a.jpg"], &["", "2026"], &["2025", "2026/06", "x/2026/05"]);
        check(&["a", "b/c/"], &["a/x", "b/c"], &["", "b"], &["c", "b/d"]);
    }

    #[test]
    fn globs_stay_in_their_component() {
        check(&["20*/*.jpg"], &["2026/a.jpg", "2026/a.jpg/b"], &["", "2026"], &["x", "2026/05/a.jpg", "2026/a.png"]);
        check(&["**/*.jpg"], &["a.jpg", "a/b/c.jpg"], &["", "a", "a/b"], &[]);
        check(&["a/**/x"], &["a/x", "a/b/c/x"], &["", "a", "a/b"], &["b", "x"]);
    }

    #[test]
    fn a_name_means_itself_too() {
        check(&["a[1].jpg"], &["a[1].jpg", "a1.jpg"], &[""], &["a2.jpg"]);
        check(&["[", "x**"], &["[", "x**"], &[""], &["a", "xa"]);
        assert_eq!(Selection::parse(&["a/../b".to_owned()]), None);
    }

    #[test]
    fn no_name_takes_long_to_match() {
        check(&["**/**/**/**/**/**/**/b"], &[], &[&"a/".repeat(500)], &[]);
    }
}
