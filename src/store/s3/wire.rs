//! Small pieces of the S3 protocol that the SDK leaves to its users. Pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::model::key::Key;

/// Everything but the unreserved characters of RFC 3986 and the slash.
const KEY_ESCAPES: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// `Content-MD5` (RFC 1864).
pub(super) fn content_md5(body: &[u8]) -> String {
    STANDARD.encode(Md5::digest(body))
}

/// `x-amz-copy-source`.
pub(super) fn copy_source(bucket: &str, key: &Key) -> String {
    format!("{bucket}/{}", utf8_percent_encode(key.as_str(), KEY_ESCAPES))
}

/// A key or prefix of a listing with `encoding-type=url`, where a plus is a space. `None`: not UTF-8.
pub(super) fn decode_key(raw: &str) -> Option<String> {
    let spaced: Vec<u8> = raw.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).decode_utf8().ok().map(Into::into)
}

/// Whether an XML document can name this key: XML 1.0 has no form at all for most control characters (section 2.2).
pub(super) fn fits_xml(key: &Key) -> bool {
    let fits = |c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    key.as_str().chars().all(fits)
}

/// `Content-Range: bytes FIRST-LAST/SIZE`: where the bytes begin, and how many the whole object has.
pub(super) fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes")?.trim_start_matches([' ', '=']).split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, size.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn md5_of_nothing() {
        assert_eq!(content_md5(b""), "1B2M2Y8AsgTpgAmY7PhCfg==");
    }

    #[test]
    fn listed_keys() {
        assert_eq!(decode_key("a+b%2Bc%20d%2Fe").as_deref(), Some("a b+c d/e"));
        assert_eq!(decode_key("100%").as_deref(), Some("100%"));
        assert_eq!(decode_key("caf%E9"), None);
    }

    #[test]
    fn copy_sources_keep_slashes() {
        assert_eq!(copy_source("b", &Key::new("a b/c+d/\u{e9}?")), "b/a%20b/c%2Bd/%C3%A9%3F");
    }

    #[test]
    fn keys_in_xml() {
        assert!(fits_xml(&Key::new("a b/\u{e9}\n<&>\u{1f600}")));
        assert!(!fits_xml(&Key::new("a\u{1}")) && !fits_xml(&Key::new("\u{ffff}")));
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5, 100)));
        assert_eq!(content_range("bytes */100"), None);
        assert_eq!(content_range("bytes 5-9/*"), None);
        assert_eq!(content_range(""), None);
    }

    proptest! {
        #[test]
        fn any_key_survives_a_listing(key in "\\PC{0,40}") {
            let listed = utf8_percent_encode(&key, KEY_ESCAPES).to_string().replace("%20", "+");
            prop_assert_eq!(decode_key(&listed), Some(key));
        }
    }
}
