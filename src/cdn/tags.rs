//! Cache tags: what an object belongs to, in its metadata, so that a CDN can forget all of it at once. Pure.
//!
//! `x-amz-meta-cache-tag` is what `CloudFront` reads of an S3 origin by itself; for others one rule makes their header of
//! it. A tag is the name of the site or the directory from there, each with those around it.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The metadatum that carries them.
pub const NAME: &str = "cache-tag";

/// Tags of one object at most (`CloudFront`, "Invalidate by tag").
const COUNT_MAX: usize = 50;
/// Bytes of one tag at most (`KeyCDN` and Akamai; others take more).
const TAG_MAX: usize = 128;
/// Bytes of all of them at most (bunny.net, `CDN-Tag`). S3 has 2 KiB for all metadata.
const ALL_MAX: usize = 1024;
/// Hexadecimal digits that stand for the end of a longer tag.
const HASH_LEN: usize = 16;

/// The tags of an object at `path`, from the mount point: `site,site/2026,site/2026/11`. Deeper directories than there is
/// room for have none.
pub fn of(site: &str, path: &str) -> String {
    let ends = path.match_indices('/').map(|(at, _)| at);
    let mut all = of_directory(site, "");
    for tag in ends.map(|end| of_directory(site, &path[..end])).take(COUNT_MAX - 1) {
        if all.len() + 1 + tag.len() > ALL_MAX {
            break;
        }
        all.push(',');
        all.push_str(&tag);
    }
    all
}

/// The tag of a directory, from the mount point and without a slash at its end. Tags have no case (`CloudFront`), no comma,
/// and nothing but visible ASCII.
pub fn of_directory(site: &str, dir: &str) -> String {
    let whole = if dir.is_empty() { site.to_owned() } else { format!("{site}/{dir}") };
    let mut tag = String::new();
    for byte in whole.to_lowercase().bytes() {
        if byte.is_ascii_graphic() && byte != b',' && byte != b'%' {
            tag.push(char::from(byte));
        } else {
            write!(tag, "%{byte:02x}").expect("strings take everything");
        }
    }
    if tag.len() > TAG_MAX {
        let digest = Sha256::digest(tag.as_bytes());
        tag.truncate(TAG_MAX - HASH_LEN - 1);
        tag.push('~');
        for byte in &digest[..HASH_LEN / 2] {
            write!(tag, "{byte:02x}").expect("strings take everything");
        }
    }
    tag
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_belongs_to_every_directory_around_it() {
        assert_eq!(of("example.org", "a.png"), "example.org");
        assert_eq!(
            of("Example.org", "2026/Caf\u{e9},x/a.png"),
            "example.org,example.org/2026,example.org/2026/caf%c3%a9%2cx"
        );
    }

    #[test]
    fn long_directories_stay_apart() {
        let [one, two] = ["a", "b"].map(|end| of_directory("s", &format!("{}{end}", "x".repeat(200))));
        assert!(one != two && one.len() == TAG_MAX && two.len() == TAG_MAX);
    }

    proptest! {
        #[test]
        fn tags_are_within_what_every_cdn_takes(site in "[a-z.]{1,20}", path in "\\PC{0,300}") {
            let all = of(&site, &path);
            prop_assert!(all.len() <= ALL_MAX && all.bytes().all(|b| b.is_ascii_graphic()));
            let tags: Vec<_> = all.split(',').collect();
            prop_assert!(tags.len() <= COUNT_MAX && tags.iter().all(|tag| tag.len() <= TAG_MAX));
            for dir in path.match_indices('/').map(|(at, _)| &path[..at]).take(3) {
                prop_assert!(tags.contains(&&*of_directory(&site, dir)));
            }
        }
    }
}
