//! One rule: for which objects it is, and which headers it sets. Pure.

use std::sync::Arc;

use glob::Pattern;
use regex_lite::Regex;

use crate::model::patterns::List;

/// Letters of a hash in a name: eight hexadecimal digits are what bundlers write at least, 64 are SHA-256.
const HASH_LEN: std::ops::RangeInclusive<usize> = 8..=64;
/// Letters of the hash that Drupal gives its aggregates: SHA-256 in base64url.
const DRUPAL_HASH_LEN: usize = 43;
/// Letters of the SHA-1 that Moodle names files by.
const MOODLE_HASH_LEN: usize = 40;

/// What a rule may ask of an object.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// From the mount point.
    pub path: &'a str,
    /// By its name, without parameters.
    pub content_type: &'a str,
    /// Bytes.
    pub size: u64,
    pub hashed: bool,
    /// The public may read it.
    pub public: bool,
}

/// Headers for some objects. Without a condition it is for all.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub names: Option<List>,
    /// About the path, with a slash at its start.
    pub regex: Option<Arc<Regex>>,
    /// What the path ends in.
    pub suffix: Option<String>,
    pub types: Vec<Pattern>,
    /// Bytes, both ends included.
    pub min_size: Option<u64>,
    pub max_size: Option<u64>,
    pub hashed: Option<bool>,
    /// It is for what the public may read, alone.
    pub public: bool,
    /// `None`: the header is not sent.
    pub set: Vec<(Field, Option<String>)>,
}

/// A header that a bucket keeps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Field {
    ContentType,
    CacheControl,
    ContentDisposition,
    ContentEncoding,
    ContentLanguage,
    Expires,
    /// `x-amz-meta-NAME`.
    User(String),
}

impl Field {
    /// The header of that name, in any case. `None`: a bucket does not keep it, or it is not for others to set.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "content-type" => Self::ContentType,
            "cache-control" => Self::CacheControl,
            "content-disposition" => Self::ContentDisposition,
            "content-encoding" => Self::ContentEncoding,
            "content-language" => Self::ContentLanguage,
            "expires" => Self::Expires,
            other => {
                let name = other.strip_prefix("x-amz-meta-").filter(|name| !name.is_empty())?;
                // Attributes of the file, and the name of the write.
                let ours = ["mode", "uid", "gid", "mtime", "atime", "ctime", "rdev", "op"].contains(&name);
                (!ours).then(|| Self::User(name.to_owned()))?
            }
        })
    }
}

/// Whether a header can carry the text.
pub fn is_value(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
}

impl Rule {
    pub fn applies(&self, facts: &Facts<'_>) -> bool {
        let Facts { path, content_type, size, hashed, public } = *facts;
        self.names.as_ref().is_none_or(|names| names.covers(path))
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(&format!("/{path}")))
            && self.suffix.as_ref().is_none_or(|suffix| path.ends_with(&**suffix))
            && (self.types.is_empty() || self.types.iter().any(|pattern| pattern.matches(content_type)))
            && self.min_size.is_none_or(|min| min <= size)
            && self.max_size.is_none_or(|max| size <= max)
            && self.hashed.is_none_or(|wanted| wanted == hashed)
            && (public || !self.public)
    }

    /// Whether it is the same for an object of `size` bytes as for every larger one.
    pub fn is_settled(&self, size: u64) -> bool {
        self.min_size.is_none_or(|min| min <= size) && self.max_size.is_none_or(|max| max < size)
    }
}

/// Whether a name says that it was made of the content: `app.3f2a9c1b.js`, Drupal's `css_HASH.css`, and the files of Moodle.
/// A date or a word is no hash, though all its letters could be digits of one.
pub fn is_hashed(path: &str) -> bool {
    let mut names = path.rsplit('/');
    let name = names.next().unwrap_or_default();
    if is_of_moodle(name, names.next(), names.next()) || is_of_drupal(name) {
        return true;
    }
    let mut parts = name.rsplit('.').skip(1);
    // Of `app.HASH.min.js` and of `app.HASH.js`, but not of `HASH.js`: nobody knows what that is.
    let near = [parts.next(), parts.next()];
    let stem_left = [near[1].is_some(), parts.next().is_some()];
    near.into_iter().zip(stem_left).any(|(part, left)| left && part.is_some_and(is_hex_hash))
}

fn is_hex_hash(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    HASH_LEN.contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && (1..text.len()).contains(&digits)
}

fn is_of_drupal(name: &str) -> bool {
    let hash = |start, end| name.strip_prefix(start).and_then(|rest: &str| rest.strip_suffix(end));
    let hash = hash("css_", ".css").or_else(|| hash("js_", ".js"));
    hash.is_some_and(|hash| {
        hash.len() == DRUPAL_HASH_LEN && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

/// `ab/cd/abcd...`
fn is_of_moodle(name: &str, second: Option<&str>, first: Option<&str>) -> bool {
    name.len() == MOODLE_HASH_LEN
        && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && first == Some(&name[..2])
        && second == Some(&name[2..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_names() {
        let moodle = "0c/f7/0cf7bdb09f9e5a4d0a6f2b1d2c3e4f5061728394";
        let drupal = "css/css_0pRl9M2-yPOvxSM0A1sCrMrX2bn6z9v_kq3jS7e1xYZ.css";
        for path in ["a/app.3f2a9c1b.js", "app.3f2a9c1b.min.css", moodle, &format!("filedir/{moodle}"), drupal] {
            assert!(is_hashed(path), "{path}");
        }
        for path in [
            "photo.jpg",
            "photo.20261122.jpg",
            "photo-3f2a9c1b.jpg",
            "3f2a9c1b.jpg",
            "a.facade.jpg",
            "a.deadbeef.jpg",
            "a.3f2a9c1.js",
            "a.3F2A9C1B.js",
            "My.Holiday2026.jpg",
            "css_short.css",
            "0c/f8/0cf7bdb09f9e5a4d0a6f2b1d2c3e4f5061728394",
            "",
        ] {
            assert!(!is_hashed(path), "{path}");
        }
    }

    #[test]
    fn only_what_a_bucket_keeps_can_be_set() {
        assert_eq!(Field::parse("Cache-CONTROL"), Some(Field::CacheControl));
        assert_eq!(Field::parse("X-Amz-Meta-Own"), Some(Field::User("own".to_owned())));
        for name in ["x-amz-meta-", "x-amz-meta-mode", "x-amz-meta-op", "x-amz-acl", "Access-Control-Allow-Origin"] {
            assert_eq!(Field::parse(name), None, "{name}");
        }
        assert!(is_value("a, b=\"c\"") && !is_value("") && !is_value("a\nb") && !is_value("\u{e9}") && !is_value(" a"));
    }

    #[test]
    fn all_conditions_must_hold() {
        let rule = Rule {
            names: Some(List::parse("2026/**").unwrap()),
            types: vec![Pattern::new("image/*").unwrap()],
            min_size: Some(10),
            max_size: Some(20),
            hashed: Some(false),
            public: true,
            ..Rule::default()
        };
        let facts = Facts { path: "2026/11/a.png", content_type: "image/png", size: 10, hashed: false, public: true };
        assert!(rule.applies(&facts) && rule.applies(&Facts { size: 20, ..facts }));
        for other in [
            Facts { path: "2025/a.png", ..facts },
            Facts { content_type: "video/mp4", ..facts },
            Facts { size: 9, ..facts },
            Facts { size: 21, ..facts },
            Facts { hashed: true, ..facts },
            Facts { public: false, ..facts },
        ] {
            assert!(!rule.applies(&other), "{other:?}");
        }
        assert_eq!([9, 10, 20, 21].map(|size| rule.is_settled(size)), [false, false, false, true]);
    }
}
