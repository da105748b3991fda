//! What caches in front of a mount are told once: which paths they keep and for how long, what they never keep, and the
//! headers that no bucket can send. One model, from the configuration of mounts; a module for each language. Pure.

pub mod apache;
pub mod apply;
pub mod cloudflare;
pub mod cloudfront;
pub mod cors;
mod glob;
pub mod merge;
pub mod nginx;
pub mod terraform;
#[cfg(test)]
mod tests;
pub mod varnish;

use glob::Spelling;

use super::{
    policy,
    url::{Base, Family, Mapper},
};
use crate::model::{key::Key, withheld::Withheld};

/// Of a URL with a version in it, in a browser as in a cache: other bytes have another URL.
pub const YEAR: u32 = 31_536_000;
/// In a cache that is told what changes; a purge that was lost ends with it.
pub const MONTH: u32 = 2_678_400;
/// A 404 in a cache of one's own: an upload elsewhere that no mount knows of shows after that.
const ABSENT: u32 = 10;
/// Cache-Control with which browsers keep a versioned URL.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// The same of other files, where the origin is a webserver and has nothing to say: no purge reaches browsers.
const SHORT: &str = "public, max-age=300, stale-while-revalidate=86400, stale-if-error=604800";
/// What lets pages of other hosts use a file although they demand that of all they load (Cross-Origin-Embedder-Policy);
/// for hosts of a bucket alone, whose files are for others' pages.
const CROSS_ORIGIN: &str = "cross-origin";
/// For what a browser would run with the rights of the host: nothing in it runs.
const SANDBOX: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";
/// A version in a URL, see [`super::url::Token`].
const TOKEN: &str = "[0-9a-f]{12}";

/// The directories of one site or of several, and how caches treat them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rules {
    pub areas: Vec<Area>,
    pub wishes: Wishes,
}

/// What is the same for all directories.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Wishes {
    /// Seconds that a cache keeps files; `None`: as the origin says.
    pub edge: Option<u32>,
    /// Seconds that a browser keeps files without a version in the URL; `None`: as the origin says.
    pub browser: Option<u32>,
    /// Pages of other hosts may load fonts and draw images.
    pub cors: bool,
    /// Where the cache gets what it lacks, if not where the mount says: `http://host:port`.
    pub origin: Option<String>,
    /// Where a cache of one's own listens.
    pub listen: Option<String>,
    /// Addresses that may purge a cache of one's own.
    pub purgers: Vec<String>,
}

/// One directory at one host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Area {
    /// `scheme://host[:port]`
    pub origin: String,
    pub host: String,
    /// Percent-encoded, with a slash at both ends.
    pub path: String,
    pub family: Family,
    /// URL of the mounted part of the bucket, with a slash at its end: the origin where there is no site.
    pub bucket: String,
    /// Nothing of it is public.
    pub private: bool,
    pub withheld: Vec<Pattern>,
    /// The tag of all its objects, which carry those of their directories, too (`cache_tags`).
    pub tag: Option<String>,
}

/// Names that caches do not keep.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pattern {
    pub text: String,
    /// For paths from the mount point, and not for names at any depth.
    pub rooted: bool,
}

/// Rules that cannot be made.
pub type Refused = String;

impl Area {
    /// The directories that a mount is at: one for each of its bases, in each spelling. `bucket`: the URL of its bucket.
    pub fn of(urls: &Mapper, bases: &[Base], withheld: &Withheld, bucket: &str) -> Vec<Self> {
        let patterns = |text: &str, rooted| Pattern { text: text.to_owned(), rooted };
        let patterns: Vec<Pattern> =
            withheld.patterns().rooted().map(|(text, rooted)| patterns(text, rooted)).collect();
        let mut all = Vec::new();
        for base in bases {
            for url in urls.at(base).below(&Key::new("")) {
                let path = url.strip_prefix(base.origin()).unwrap_or("/").to_owned();
                all.push(Self {
                    origin: base.origin().to_owned(),
                    host: base.host().to_owned(),
                    path,
                    family: base.family(),
                    bucket: bucket.to_owned(),
                    private: withheld.is_all(),
                    withheld: patterns.clone(),
                    tag: None,
                });
            }
        }
        all
    }

    /// The host without its port.
    fn name(&self) -> &str {
        without_port(&self.host)
    }

    /// The path with its encoding undone.
    fn decoded(&self) -> String {
        percent_encoding::percent_decode_str(&self.path).decode_utf8_lossy().into_owned()
    }

    /// An expression for the part of a path below the directory that is not public, for `^PATH` before it. Letters are to
    /// be compared in any case.
    fn hidden(&self, spelling: Spelling) -> String {
        let of = |rooted| {
            let own = self.withheld.iter().filter(move |pattern| pattern.rooted == rooted);
            own.map(|pattern| glob::regex(&pattern.text, spelling)).collect::<Vec<_>>().join("|")
        };
        let (names, paths) = (of(false), of(true));
        match (names.is_empty(), paths.is_empty()) {
            _ if self.private => String::new(),
            (true, true) => "(?!)".to_owned(),
            (false, true) => format!("(?:.*/)?(?:{names})(?:/|$)"),
            (true, false) => format!("(?:{paths})(?:/|$)"),
            (false, false) => format!("(?:(?:.*/)?(?:{names})|{paths})(?:/|$)"),
        }
    }
}

impl Rules {
    /// Directories of a bucket that the public may read.
    fn shared(&self) -> impl Iterator<Item = &Area> {
        self.areas.iter().filter(|area| area.family == Family::Cdn && !area.private)
    }

    /// The hosts, each once, in their order.
    fn hosts(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for area in &self.areas {
            if !all.contains(&&*area.host) {
                all.push(&area.host);
            }
        }
        all
    }

    /// The directories of a host; the longest come first, so that the first that fits is the nearest.
    fn at(&self, host: &str) -> Vec<&Area> {
        let mut all: Vec<&Area> = self.areas.iter().filter(|area| area.host == host).collect();
        all.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then(a.path.cmp(&b.path)));
        all.dedup_by(|a, b| a.path == b.path);
        all
    }

    fn edge(&self) -> u32 {
        self.wishes.edge.unwrap_or(MONTH)
    }

    /// Where a cache of one's own gets the files of `area`.
    fn origin<'a>(&'a self, area: &'a Area) -> Result<&'a str, Refused> {
        match (&self.wishes.origin, area.family) {
            (Some(origin), Family::Site) => Ok(origin),
            (None, Family::Site) => {
                Err(format!("where is the webserver of {}? Say --origin http://HOST[:PORT]", area.host))
            }
            (_, Family::Cdn) => Ok(&area.bucket),
        }
    }
}

fn has_port(host: &str) -> bool {
    without_port(host).len() < host.len()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Endings of names whose bytes act in a browser.
fn active() -> Vec<&'static str> {
    let mut all: Vec<&str> = policy::ACTIVE.into_iter().chain(["svg", "svgz"]).collect();
    all.sort_unstable();
    all
}

/// The head of generated text, where lines after a hash are comments.
fn head() -> String {
    HEAD.map(|line| format!("# {line}\n")).concat()
}

/// What stands there, in lines.
const HEAD: [&str; 2] = [
    "Made by `originfs cdn rules emit`. Changes are lost when it is made anew; what it is made of",
    "is the configuration of the mounts: site_url, cdn_url, private, exposure.",
];
