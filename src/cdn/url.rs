//! The URLs at which the public reads an object, and the token in them that follows its content. Pure.
//!
//! An object may have URLs of two families: one of the CDN that has the bucket as its origin (base and key), and one of
//! the site, which serves the directory that is mounted, itself or through a proxy that caches (base and path). Whether
//! an object may be read by the public at all is decided elsewhere.

use std::{error, fmt};

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::model::{
    key::{CONTROL, Key, Name, Prefix},
    version::{ETag, Version},
};

/// Everything but the unreserved characters (RFC 3986 section 2.3) and the slash. It is the one spelling that no server
/// reads otherwise: S3 takes a plain `+` for a space.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What a browser encodes in the path of a link whose author did not (WHATWG URL, "path percent-encode set"), with `%`,
/// without which it would be another path.
const BROWSER: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'%')
    // It would be a slash.
    .add(b'\\');

/// Characters of a token: 48 bits, and only the versions of one object must differ.
const TOKEN_LEN: usize = 12;

/// Hexadecimal digits of an MD5, which most servers begin an ETag with.
const MD5_LEN: usize = 32;

/// The query parameter that tells versions apart.
const PARAMETER: &str = "v";

/// Who serves a base.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Family {
    /// A CDN, or the bucket itself.
    Cdn,
    /// The site over the mounted directory.
    Site,
}

/// What follows a base.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Rest {
    /// The whole key: the base is the bucket's root.
    Key,
    /// The path from the mount point: the base is that.
    Path,
}

/// The start of URLs: scheme, host, and as much of the path as all of them have.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Base {
    family: Family,
    rest: Rest,
    /// In lower case: scheme, `://`, host, and a port that is not the scheme's own.
    origin: String,
    /// Encoded as it was given; empty, or with a slash at its start and none at its end.
    path: String,
}

/// Text that is no base.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadBase(String);

impl Base {
    /// Parses `https://host/path`. A CDN's is followed by the key, a site's by the path from the mount point; `{key}` or
    /// `{path}` at the end says it otherwise.
    pub fn parse(text: &str, family: Family) -> Result<Self, BadBase> {
        let bad = |why: &str| BadBase(format!("{text:?} {why}"));
        let (text_left, rest) = match (text.strip_suffix("{key}"), text.strip_suffix("{path}"), family) {
            (Some(left), _, _) => (left, Rest::Key),
            (_, Some(left), _) => (left, Rest::Path),
            (_, _, Family::Cdn) => (text, Rest::Key),
            (_, _, Family::Site) => (text, Rest::Path),
        };
        let (scheme, after) = text_left.split_once("://").ok_or_else(|| bad("has no https:// at its start"))?;
        let scheme = scheme.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(bad("is neither https nor http")),
        };
        let at = after.find('/').unwrap_or(after.len());
        let (authority, path) = after.split_at(at);
        let authority = authority.to_ascii_lowercase();
        let authority = authority.strip_suffix(default_port).unwrap_or(&authority);
        if authority.is_empty() || !authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b)) {
            return Err(bad("names no host; one with other letters is written in its ASCII form (xn--)"));
        }
        let path = path.trim_end_matches('/');
        if path.bytes().any(|b| !(b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&b))) {
            return Err(bad("has a character in its path that a URL must encode"));
        }
        if path.split('/').skip(1).any(|name| matches!(name, "" | "." | "..")) {
            return Err(bad("has an empty or a dotted part in its path"));
        }
        Ok(Self { family, rest, origin: format!("{scheme}://{authority}"), path: path.to_owned() })
    }

    /// Scheme and host, as a browser sends it in `Origin`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Host, and port if it is not the scheme's own.
    pub fn host(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, host)| host)
    }

    pub fn family(&self) -> Family {
        self.family
    }

    fn join(&self, key: &str, path: &str, set: &'static AsciiSet) -> String {
        let rest = match self.rest {
            Rest::Key => key,
            Rest::Path => path,
        };
        format!("{}{}/{}", self.origin, self.path, utf8_percent_encode(rest, set))
    }
}

/// Which URLs the objects of one mount have.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mapper {
    prefix: Prefix,
    bases: Vec<Base>,
}

impl Mapper {
    /// Of several bases of one family, URLs that are handed out have the first.
    pub fn new(prefix: Prefix, bases: Vec<Base>) -> Self {
        Self { prefix, bases }
    }

    pub fn bases(&self) -> &[Base] {
        &self.bases
    }

    /// The same mount at one base alone.
    #[must_use]
    pub fn at(&self, base: &Base) -> Self {
        Self { prefix: self.prefix.clone(), bases: vec![base.clone()] }
    }

    /// The path of a key from the mount point. `None`: it is outside of the mount, or ours (`.originfs`).
    pub fn path<'k>(&self, key: &'k Key) -> Option<&'k str> {
        let path = key.as_str().strip_prefix(self.prefix.as_str())?;
        (path.split('/').next() != Some(CONTROL)).then_some(path)
    }

    /// The URL to hand out: that of the first base of a CDN, else of the site. `None`: there is no base, or `key` is no
    /// file of the mount.
    pub fn public(&self, key: &Key) -> Option<String> {
        self.url(key, Family::Cdn).or_else(|| self.url(key, Family::Site))
    }

    /// The same of one family.
    pub fn url(&self, key: &Key, family: Family) -> Option<String> {
        let path = self.file(key)?;
        let base = self.bases.iter().find(|base| base.family == family)?;
        Some(base.join(key.as_str(), path, STRICT))
    }

    /// What URLs of one family begin with: the path from the mount point follows, with a slash before it.
    pub fn base(&self, family: Family) -> Option<String> {
        let base = self.bases.iter().find(|base| base.family == family)?;
        Some(base.join(self.prefix.as_str(), "", STRICT).trim_end_matches('/').to_owned())
    }

    /// The key of a path in the mount. `None`: no file of the mount can have it.
    pub fn key(&self, path: &str) -> Option<Key> {
        let plain = path.split('/').all(|name| Name::from_key(name).is_some());
        let key = Key::new(&format!("{}{path}", self.prefix.as_str()));
        (plain && self.file(&key).is_some()).then_some(key)
    }

    /// Keys that a path of a URL, without its encoding, may mean: of each base that it is below.
    pub fn keys(&self, path: &str) -> impl Iterator<Item = String> {
        self.bases.iter().filter_map(move |base| {
            let start = percent_decode_str(&base.path).decode_utf8_lossy();
            let rest = path.strip_prefix(start.as_ref())?.strip_prefix('/')?;
            Some(match base.rest {
                Rest::Key => rest.to_owned(),
                Rest::Path => format!("{}{rest}", self.prefix.as_str()),
            })
        })
    }

    /// Every URL under which a cache may have the object: of each base, in each spelling, plain and with each of
    /// `tokens`. Each once; none of a directory.
    pub fn all(&self, key: &Key, tokens: &[Token]) -> Vec<String> {
        let Some(path) = self.file(key) else { return Vec::new() };
        let mut urls: Vec<String> = Vec::new();
        for base in &self.bases {
            for set in [STRICT, BROWSER] {
                let plain = base.join(key.as_str(), path, set);
                if !urls.contains(&plain) {
                    let tokened: Vec<_> = tokens.iter().map(|token| versioned(&plain, token)).collect();
                    urls.push(plain);
                    urls.extend(tokened);
                }
            }
        }
        urls
    }

    /// What all URLs below a directory begin with: of each base, in each spelling. They end in a slash. `dir` is a key
    /// with or without a slash at its end; the prefix of the mount, or nothing, is all of the mount.
    pub fn below(&self, dir: &Key) -> Vec<String> {
        let key = if dir.as_str().is_empty() { self.prefix.root() } else { dir.marker() };
        let Some(path) = self.path(&key) else { return Vec::new() };
        let mut urls: Vec<String> = Vec::new();
        for base in &self.bases {
            for set in [STRICT, BROWSER] {
                let url = base.join(key.as_str(), path, set);
                if !urls.contains(&url) {
                    urls.push(url);
                }
            }
        }
        urls
    }

    fn file<'k>(&self, key: &'k Key) -> Option<&'k str> {
        self.path(key).filter(|path| !path.is_empty() && !key.is_marker())
    }
}

/// A version of an object in its URL: another when the bytes are, the same on every host, because all derive it from the
/// ETag alone.
///
/// The ETag of one PUT is made of the bytes, so that the token outlives changes of metadata, and comes back with the
/// bytes. Of a multipart upload it is made of the parts, too: a change of metadata, which is a COPY, may move it. That
/// costs a download, and shows nothing wrong.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Token(String);

impl Token {
    /// The token of what the bucket has confirmed. There is none of bytes that are not in the bucket: a cache would keep
    /// the former ones under it.
    pub fn of(version: &Version) -> Self {
        Self::of_etag(&version.etag)
    }

    /// The same of an ETag that the bucket has told.
    pub fn of_etag(etag: &ETag) -> Self {
        let etag = etag.unquoted();
        let digits = etag.bytes().take_while(u8::is_ascii_hexdigit).count();
        if digits >= MD5_LEN {
            return Self(etag[..TOKEN_LEN].to_ascii_lowercase());
        }
        let digest = Sha256::digest(etag.as_bytes());
        Self(digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(TOKEN_LEN).map(digit).collect())
    }

    /// One that is as long as any, and of no object.
    pub fn placeholder() -> Self {
        Self("-".repeat(TOKEN_LEN))
    }

    /// One that was written down.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.len() == TOKEN_LEN && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        fits.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BadBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for BadBase {}

/// `url` with a token: a cache and a browser take it for another object than that with another token.
pub fn versioned(url: &str, token: &Token) -> String {
    format!("{url}{}{PARAMETER}={token}", if url.contains('?') { '&' } else { '?' })
}

/// The same URL with the other scheme, which caches take for another object. `None`: it has neither.
pub fn other_scheme(url: &str) -> Option<String> {
    match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => Some(format!("http://{rest}")),
        (_, Some(rest)) => Some(format!("https://{rest}")),
        _ => None,
    }
}

fn digit(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).expect("a nibble is one hexadecimal digit")
}

#[cfg(test)]
mod tests;
