//! What somebody without credentials may do with the objects of a mount, and whether that is meant so.
//!
//! No option says whether a mount is public. What must be private is known from the applications
//! ([`crate::apps::preset`]), and from an ACL that the mount was given.

use std::path::Path;

use super::finding::{Finding, about};
use crate::apps::preset;

/// Whether a request without credentials got through.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Access {
    Yes,
    No,
    /// Neither; why.
    Unknown(String),
    #[default]
    Untried,
}

/// What got through.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Opened {
    /// Objects that were asked for, by key.
    pub read: Vec<(String, Access)>,
    pub list: Access,
    pub write: Access,
}

/// An object that a private pattern covers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    pub pattern: String,
    pub key: String,
    pub access: Access,
}

/// What should be.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Expected {
    /// All of the mount is private, and who says so.
    pub private: Option<String>,
    /// Below the mount these are private.
    pub patterns: Vec<String>,
    /// Objects are written for everybody to read.
    pub public: bool,
}

impl Expected {
    /// From the directory that is mounted, as applications name it, and the ACL of the mount.
    pub fn of(dir: Option<&Path>, acl: Option<&str>) -> Self {
        let mut expected = Self { public: acl.is_some_and(|acl| acl.starts_with("public-")), ..Self::default() };
        if acl == Some("private") {
            expected.private = Some("acl=private".to_owned());
        }
        let Some((app, rule)) = dir.and_then(preset::of) else { return expected };
        for &pattern in rule.private {
            if pattern == "**" {
                expected.private = Some(format!("{} of {app}", rule.directory));
            } else {
                expected.patterns.push(pattern.to_owned());
            }
        }
        expected
    }
}

/// The part of a pattern before its first wildcard: where to look for a key that it covers.
pub fn fixed(pattern: &str) -> &str {
    pattern.split(['*', '?', '[']).next().unwrap_or_default()
}

/// Whether a pattern covers a key, from the mount on.
pub fn covers(pattern: &str, key: &str) -> bool {
    glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(key))
}

const CLOSE: &str = "take s3:GetObject of everybody out of the policy of the bucket, no acl=public-read in the options, and \
                     block public access in the console of the provider";

/// Judges what got through.
pub fn judge(subject: &str, opened: &Opened, known: &[Known], expected: &Expected) -> Vec<Finding> {
    let mut findings = vec![reading(subject, opened, expected)];
    let patterns = about("private-files", subject);
    for found in known {
        findings.push(match &found.access {
            Access::Yes => patterns.failure(
                format!("everybody may read {}, which {} says is private", found.key, found.pattern),
                "the application keeps what customers or visitors sent there, and believes that nobody else can read it",
                format!(
                    "deny s3:GetObject for everybody below {} in the policy of the bucket",
                    fixed(&found.pattern).trim_end_matches('/')
                ),
            ),
            Access::Unknown(why) => patterns.skipped(format!("{}: {why}", found.pattern)),
            Access::No | Access::Untried => patterns.ok(format!("{} is private", found.pattern)),
        });
    }
    for pattern in expected.patterns.iter().filter(|pattern| known.iter().all(|found| found.pattern != **pattern)) {
        findings.push(patterns.skipped(format!("{pattern}: there is no object to try")));
    }
    let listing = about("exposure-list", subject);
    findings.push(match &opened.list {
        Access::Yes if expected.private.is_some() => {
            listing.failure("everybody may list this private mount", LIST_WHY, LIST_FIX)
        }
        Access::Yes => listing.warning("everybody may list the bucket", LIST_WHY, LIST_FIX),
        Access::No => listing.ok("nobody lists it without credentials"),
        Access::Unknown(why) => listing.skipped(why.clone()),
        Access::Untried => listing.skipped("not tried"),
    });
    let writing = about("anonymous-write", subject);
    findings.push(match &opened.write {
        Access::Yes => writing.failure(
            "everybody may write to the bucket",
            "whoever knows its name replaces the files of the site, and fills it at your cost",
            "take s3:PutObject of everybody out of the policy and ACL of the bucket (a condition on the Referer is none)",
        ),
        Access::No => writing.ok("nobody writes without credentials"),
        Access::Unknown(why) => writing.skipped(why.clone()),
        Access::Untried => writing.skipped("not tried on a read-only mount"),
    });
    findings
}

const LIST_WHY: &str = "names of all files are told, also of those that nobody links to";
const LIST_FIX: &str =
    "take s3:ListBucket of everybody out of the policy and ACL of the bucket; a CDN needs s3:GetObject alone";

fn reading(subject: &str, opened: &Opened, expected: &Expected) -> Finding {
    let on = about("exposure", subject);
    let readable = opened.read.iter().find(|(_, access)| *access == Access::Yes);
    let closed = opened.read.iter().find(|(_, access)| *access == Access::No);
    match (readable, closed, &expected.private) {
        (Some((key, _)), _, Some(private)) => on.failure(
            format!("everybody may read {key}, and this mount is private ({private})"),
            "whoever guesses or is told a key has the file",
            CLOSE,
        ),
        (Some(_), _, None) => on.ok("everybody may read objects, as behind a CDN"),
        (None, Some((key, _)), None) if expected.public => on.warning(
            format!("objects are written with a public ACL, and nobody may read {key}"),
            "a CDN that asks the bucket without credentials answers 403",
            "allow ACLs on the bucket (object ownership), or s3:GetObject by its policy",
        ),
        (None, Some(_), _) => on.ok("nobody reads objects without credentials"),
        (None, None, _) => match opened.read.iter().find_map(|(_, access)| match access {
            Access::Unknown(why) => Some(why.clone()),
            _ => None,
        }) {
            Some(why) => on.skipped(why),
            None => on.skipped("there is no object to try"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    const ALL: [&str; 3] = ["exposure", "exposure-list", "anonymous-write"];

    fn verdict(findings: &[Finding], check: &str) -> Verdict {
        findings.iter().find(|finding| finding.check == check).unwrap().verdict
    }

    #[track_caller]
    fn check(read: Access, list: Access, write: Access, expected: &Expected, expect: [Verdict; 3]) {
        let opened = Opened { read: vec![("k".into(), read)], list, write };
        let findings = judge("/m", &opened, &[], expected);
        assert_eq!(ALL.map(|check| verdict(&findings, check)), expect, "{opened:?}");
    }

    #[test]
    fn what_got_through_is_judged_by_what_should() {
        use Access::{No, Unknown, Untried, Yes};
        use Verdict::{Failure, Ok, Skipped, Warning};
        let open = Expected::default();
        let private = Expected { private: Some("moodledata/filedir of moodle".into()), ..Expected::default() };
        let public = Expected { public: true, ..Expected::default() };
        check(No, No, No, &open, [Ok, Ok, Ok]);
        check(Yes, No, No, &open, [Ok, Ok, Ok]);
        check(Yes, Yes, No, &open, [Ok, Warning, Ok]);
        check(No, No, Yes, &open, [Ok, Ok, Failure]);
        check(No, No, No, &private, [Ok, Ok, Ok]);
        check(Yes, No, No, &private, [Failure, Ok, Ok]);
        check(No, Yes, No, &private, [Ok, Failure, Ok]);
        check(No, No, No, &public, [Warning, Ok, Ok]);
        check(Yes, No, Untried, &public, [Ok, Ok, Skipped]);
        check(Unknown("away".into()), Unknown("away".into()), Unknown("away".into()), &private, [Skipped; 3]);
    }

    #[test]
    fn one_readable_object_is_enough() {
        let private = Expected::of(Some(Path::new("/srv/moodledata/filedir")), None);
        let read = vec![("a".to_owned(), Access::No), ("b".to_owned(), Access::Yes)];
        let findings = judge("/m", &Opened { read, ..Opened::default() }, &[], &private);
        assert_eq!(verdict(&findings, "exposure"), Verdict::Failure);
        assert!(findings[0].message.contains("read b"));
    }

    #[test]
    fn private_patterns_are_those_of_the_application() {
        let of = |dir: &str, acl| Expected::of(Some(Path::new(dir)), acl);
        assert!(of("/srv/moodledata/filedir", None).private.unwrap().contains("moodle"));
        assert_eq!(of("/var/www/html/images", None), Expected::default());
        assert!(of("/var/www/html/wp-content/uploads", None).patterns.contains(&"woocommerce_uploads/**".to_owned()));
        assert!(of("/var/www/html/sites/default/files", None).patterns.contains(&"private/**".to_owned()));
        assert!(of("/x", Some("public-read")).public && of("/x", Some("private")).private.is_some());
        assert_eq!((fixed("woocommerce_uploads/**"), fixed("backup*/**")), ("woocommerce_uploads/", "backup"));
        assert!(covers("backup*/**", "backup-1/a/b.zip") && !covers("woocommerce_uploads/**", "woo/a"));
    }

    #[test]
    fn a_private_file_that_everybody_reads_is_a_failure() {
        let expected = Expected::of(Some(Path::new("/w/wp-content/uploads")), None);
        let known = |access| {
            vec![Known { pattern: "woocommerce_uploads/**".into(), key: "woocommerce_uploads/a.pdf".into(), access }]
        };
        let private = |access| {
            let findings = judge("/m", &Opened::default(), &known(access), &expected);
            verdict(&findings, "private-files")
        };
        assert_eq!(private(Access::Yes), Verdict::Failure);
        assert_eq!(private(Access::No), Verdict::Ok);
        let none = judge("/m", &Opened::default(), &[], &expected);
        assert!(
            none.iter()
                .filter(|finding| finding.check == "private-files")
                .all(|finding| finding.verdict == Verdict::Skipped)
        );
    }
}
