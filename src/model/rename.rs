//! A rename as steps, and what may be deleted when it ends or was interrupted. Pure.
//!
//! S3 has no rename: every object is copied, and when all copies are there the old keys are deleted. Two things may be
//! in the way of that: the process ends in the middle, or somebody else changes either tree meanwhile. The rule for both:
//! an object is deleted only while another one that is known to be its equal is there, and only if it is still what it was
//! when that was made. So whatever a step does or leaves out, no content that was closed is without a name, and nothing
//! newer is ever overwritten or deleted.
//!
//! - **Interrupted while copying**: the copies are taken back ([`take_back`]). No old key has gone by then, so whoever
//!   used the old names went on doing so, and the rename was reported as failed, or its caller has ended as well; finishing
//!   it later would take files away from those who put them there since. A copy whose source is not what was copied any
//!   more stays: it may be the last of its content.
//! - **Interrupted while deleting**: finished ([`delete_source`]). Some old keys are gone, so this is the shorter way to one
//!   tree. An old key whose copy is not what was copied any more stays, for the same reason.
//! - **A single object**: finished if its copy is there, else nothing is to do: the copy may have replaced an object, which
//!   cannot be undone.

use crate::model::{
    key::Key,
    version::{ETag, Version},
};

/// What a rename is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// One object.
    Object,
    /// All below a directory, and its marker.
    Tree,
}

/// The rename of one object, itself or as a part of its directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    pub from: Key,
    pub to: Key,
    /// What is to be copied, or was.
    pub source: Version,
    /// The copy, if its making was confirmed.
    pub copy: Option<Version>,
}

/// What happens to an object at one of the two keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It goes, if it still has this ETag.
    Delete(ETag),
    /// It is gone already, or was never there.
    Absent,
    /// It stays, and why.
    Keep(&'static str),
}

/// The key that `key` at or below `from` has at or below `to`.
pub fn moved(key: &Key, from: &Key, to: &Key) -> Key {
    let rest = key.as_str().strip_prefix(from.as_str()).unwrap_or_default();
    Key::new(&format!("{to}{rest}"))
}

/// Whether `now` is still what `then` was. A time that only one of them tells proves nothing.
pub fn is_unchanged(then: &Version, now: &Version) -> bool {
    let touched = then.modified.zip(now.modified).is_some_and(|(then, now)| then != now);
    then.same_content(now) && !touched
}

/// At the end of a rename whose copies are all there, with what the source is `now`. `copy` is what is at the target, and
/// is only asked for by a rename that was interrupted: to one that was not, a change of the target is later than itself.
pub fn delete_source(step: &Step, now: Option<&Version>, copy: Option<Option<&Version>>) -> Verdict {
    let Some(now) = now else { return Verdict::Absent };
    let Some(made) = &step.copy else { return Verdict::Keep("it was not copied") };
    if !is_unchanged(&step.source, now) {
        return Verdict::Keep("it has changed since it was copied");
    }
    match copy {
        Some(None) => Verdict::Keep("its copy is gone"),
        Some(Some(copy)) if !copy.same_content(made) => Verdict::Keep("its copy was changed"),
        _ => Verdict::Delete(now.etag.clone()),
    }
}

/// When a rename is given up: what becomes of what is at the target of `step` now. `alike`: it has the headers and the
/// metadata that the copy got.
pub fn take_back(step: &Step, source: Option<&Version>, target: Option<&Version>, alike: bool) -> Verdict {
    let Some(target) = target else { return Verdict::Absent };
    match source {
        None => Verdict::Keep("its source is gone"),
        Some(source) if !is_unchanged(&step.source, source) => Verdict::Keep("its source has changed"),
        Some(_) if !is_copy(step, target, alike) => Verdict::Keep("it is another's"),
        Some(_) => Verdict::Delete(target.etag.clone()),
    }
}

/// Whether what is at the target is the copy of `step`. Without a confirmation only an ETag that survives a copy tells:
/// that of a multipart object does not.
pub fn is_copy(step: &Step, target: &Version, alike: bool) -> bool {
    alike && target.same_content(step.copy.as_ref().unwrap_or(&step.source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(etag: &str, modified: Option<i64>) -> Version {
        Version { etag: ETag::new(etag), modified, size: 1 }
    }

    fn step(copy: Option<&str>) -> Step {
        let source = version("old", Some(7));
        Step { from: Key::new("a/f"), to: Key::new("b/f"), source, copy: copy.map(|etag| version(etag, None)) }
    }

    fn deleted(etag: &str) -> Verdict {
        Verdict::Delete(ETag::new(etag))
    }

    #[test]
    fn keys_move_with_their_directory() {
        let [from, to] = ["site/a", "site/b/c"].map(Key::new);
        for (key, expect) in [("site/a", "site/b/c"), ("site/a/", "site/b/c/"), ("site/a/x//y", "site/b/c/x//y")] {
            assert_eq!(moved(&Key::new(key), &from, &to), Key::new(expect));
        }
    }

    #[test]
    fn a_source_goes_only_unchanged() {
        let step = step(Some("new"));
        let check = |now: Option<Version>| delete_source(&step, now.as_ref(), None);
        assert_eq!(check(Some(version("old", Some(7)))), deleted("old"));
        assert_eq!(check(Some(version("old", None))), deleted("old"));
        assert_eq!(check(None), Verdict::Absent);
        assert!(matches!(check(Some(version("other", Some(7)))), Verdict::Keep(_)), "other bytes");
        assert!(matches!(check(Some(version("old", Some(8)))), Verdict::Keep(_)), "the same bytes, written again");
        let never = Step { copy: None, ..step.clone() };
        assert!(matches!(delete_source(&never, Some(&never.source), None), Verdict::Keep(_)));
    }

    #[test]
    fn after_a_crash_a_source_goes_only_with_its_copy_in_place() {
        let step = step(Some("new"));
        let check = |copy: Option<Version>| delete_source(&step, Some(&step.source), Some(copy.as_ref()));
        assert_eq!(check(Some(version("new", Some(99)))), deleted("old"));
        assert!(matches!(check(None), Verdict::Keep(_)));
        assert!(matches!(check(Some(version("foreign", None))), Verdict::Keep(_)));
    }

    #[test]
    fn a_copy_is_taken_back_only_if_it_is_ours_and_its_source_is_there() {
        let [known, unknown] = [step(Some("new")), step(None)];
        let old = version("old", Some(7));
        let check = |step: &Step, source: Option<&Version>, target: &str, alike| {
            take_back(step, source, Some(&version(target, Some(9))), alike)
        };
        assert_eq!(check(&known, Some(&old), "new", true), deleted("new"));
        assert_eq!(check(&unknown, Some(&old), "old", true), deleted("old"));
        assert_eq!(take_back(&known, Some(&old), None, false), Verdict::Absent);
        for verdict in [
            check(&known, Some(&old), "old", true),
            check(&known, Some(&old), "new", false),
            check(&known, None, "new", true),
            check(&known, Some(&version("old", Some(8))), "new", true),
            check(&unknown, Some(&old), "new", true),
            check(&unknown, Some(&old), "old", false),
        ] {
            assert!(matches!(verdict, Verdict::Keep(_)), "{verdict:?}");
        }
    }
}
