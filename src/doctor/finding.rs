//! One outcome of one check.

use serde::{Deserialize, Serialize};

/// How a check ended; the later, the worse.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// It could not be decided; the message says why.
    Skipped,
    /// It works, and somebody will be sorry.
    Warning,
    /// A promise does not hold, or the mount does not work.
    Failure,
}

/// What one check found about one subject.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The name of the check, which stays the same from version to version.
    pub check: String,
    /// A mount point, a source, or `host`.
    pub subject: String,
    pub verdict: Verdict,
    /// One line.
    pub message: String,
    /// Why it matters: one line, where something is to be done.
    pub why: Option<String>,
    /// A command, or lines for a file, where something is to be done.
    pub fix: Option<String>,
}

/// Makes the findings of one check about one subject.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    pub check: &'static str,
    pub subject: &'a str,
}

/// The subject of what concerns all mounts.
pub const HOST: &str = "host";

/// A check that concerns all mounts.
pub fn of_host(check: &'static str) -> About<'static> {
    About { check, subject: HOST }
}

/// A check about one mount or source.
pub fn about<'a>(check: &'static str, subject: &'a str) -> About<'a> {
    About { check, subject }
}

impl About<'_> {
    pub fn ok(self, message: impl Into<String>) -> Finding {
        self.finding(Verdict::Ok, message.into(), None)
    }

    pub fn skipped(self, message: impl Into<String>) -> Finding {
        self.finding(Verdict::Skipped, message.into(), None)
    }

    pub fn warning(self, message: impl Into<String>, why: &str, fix: impl Into<String>) -> Finding {
        self.finding(Verdict::Warning, message.into(), Some((why, fix.into())))
    }

    pub fn failure(self, message: impl Into<String>, why: &str, fix: impl Into<String>) -> Finding {
        self.finding(Verdict::Failure, message.into(), Some((why, fix.into())))
    }

    fn finding(self, verdict: Verdict, message: String, advice: Option<(&str, String)>) -> Finding {
        let (why, fix) = advice.map(|(why, fix)| (why.to_owned(), fix)).unzip();
        Finding { check: self.check.to_owned(), subject: self.subject.to_owned(), verdict, message, why, fix }
    }
}

/// Quotes a path or word for a shell, where it needs that.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expect) in [("/a/b-c", "/a/b-c"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'")] {
            assert_eq!(quoted(word), expect);
        }
    }

    #[test]
    fn a_finding_that_asks_for_something_says_why_and_how() {
        let finding = about("order", "/m").warning("a", "b", "c");
        assert_eq!((finding.why.as_deref(), finding.fix.as_deref()), (Some("b"), Some("c")));
        assert_eq!(of_host("kernel").ok("fine").why, None);
        assert!(Verdict::Ok < Verdict::Skipped && Verdict::Warning < Verdict::Failure);
    }
}
