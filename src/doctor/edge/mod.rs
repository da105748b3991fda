//! A CDN or a site's cache, asked as a visitor asks it: does it show what the bucket has, with the headers that it should,
//! and nothing that is private?

mod ask;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use ask::ask;

use super::finding::{Finding, about};
use crate::cdn::{content_type, policy, url::Family};

/// An answer.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Look {
    pub status: u16,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    /// Its beginning, or all of it.
    pub body: Vec<u8>,
}

/// Somebody without credentials, at the network.
pub trait Visitor: Send + Sync {
    /// `page`: the origin of the page that wants it, if one does. An error is one line.
    fn look(
        &self,
        method: &'static str,
        url: &str,
        body: &'static str,
        page: Option<&str>,
    ) -> impl Future<Output = Result<Look, String>> + Send;
}

/// What is expected of an answer beside the bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Class {
    /// It acts in a browser.
    Active,
    /// Browsers ask for it as for something of another host.
    Font,
    Image,
    #[default]
    Other,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::Active, Self::Font, Self::Image, Self::Other];

    /// By the name alone, as caches tell it.
    pub fn of(name: &str) -> Self {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
        let by_name = content_type::content_type(name);
        if policy::ACTIVE.contains(&&*extension) || by_name == "image/svg+xml" {
            Self::Active
        } else if by_name.starts_with("font/") || by_name == "application/vnd.ms-fontobject" {
            Self::Font
        } else if by_name.starts_with("image/") {
            Self::Image
        } else {
            Self::Other
        }
    }
}

/// A file that everybody may read, in the bucket and at an edge.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub url: String,
    pub class: Class,
    pub bytes: Vec<u8>,
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub seen: Option<Result<Look, String>>,
    /// The URL that names its version.
    pub versioned: Option<(String, Result<Look, String>)>,
    /// The origin of a page, and what came for it; `None`: not tried.
    pub page: Option<(String, Result<Look, String>)>,
}

/// What was tried at one base.
#[derive(Clone, Debug)]
pub struct Tried {
    pub base: String,
    pub family: Family,
    pub samples: Vec<Sample>,
    /// URLs of what is private, and whether its bytes came.
    pub private: Vec<(String, Result<bool, String>)>,
    /// The URL of a file that is not there, and the status that came; `None`: not tried.
    pub absent: Option<(String, Result<u16, String>)>,
    /// A listing came; `None`: not tried.
    pub listing: Option<Result<bool, String>>,
    /// What was put there without credentials is in the bucket; `None`: not tried.
    pub written: Option<Result<bool, String>>,
    /// Who purges this base, if anybody does.
    pub purged: bool,
}

const STALE_WHY: &str = "visitors see a file that is no more, until the cache forgets it by itself";
const HEADERS_WHY: &str = "browsers guess types and keep files as they like; what acts in a browser acts with the rights of \
                           the site";

/// Judges what was seen at a base.
pub fn judge(subject: &str, tried: &Tried) -> Vec<Finding> {
    vec![
        reaches(subject, tried),
        stale(subject, tried),
        headers(subject, tried),
        private(subject, tried),
        absent(subject, tried),
        listing(subject, tried),
        written(subject, tried),
    ]
}

fn reaches(subject: &str, tried: &Tried) -> Finding {
    let on = about("cdn-reach", subject);
    if tried.samples.is_empty() {
        return on.skipped(format!("{}: there is no public file to ask for", tried.base));
    }
    let fix = match tried.family {
        Family::Cdn => "correct cdn_url=, or let the CDN read the bucket (its policy, or acl=public-read)",
        Family::Site => "correct site_url=, and let the webserver serve the directory",
    };
    let why = "pages with this URL show no pictures";
    let mut count = 0;
    for (url, seen) in tried.samples.iter().flat_map(Sample::looks) {
        count += 1;
        match seen {
            Ok(look) if look.status == 200 => {}
            Ok(look) => return on.failure(format!("{url} answers {}, and the file is there", look.status), why, fix),
            Err(err) => return on.failure(format!("{url}: {err}"), why, fix),
        }
    }
    if count == 0 { on.skipped("not tried") } else { on.ok(format!("{} answers", tried.base)) }
}

impl Sample {
    /// The URLs under which it was asked for.
    fn looks(&self) -> impl Iterator<Item = (&str, &Result<Look, String>)> {
        let plain = self.seen.iter().map(|seen| (self.url.as_str(), seen));
        plain.chain(self.versioned.iter().map(|(url, seen)| (url.as_str(), seen)))
    }
}

/// Samples that came, under their plain URL or that of their version.
fn came(tried: &Tried) -> impl Iterator<Item = (&Sample, &str, &Look)> {
    let all = tried.samples.iter().flat_map(|sample| sample.looks().map(move |(url, seen)| (sample, url, seen)));
    all.filter_map(|(sample, url, seen)| Some((sample, url, seen.as_ref().ok().filter(|look| look.status == 200)?)))
}

fn stale(subject: &str, tried: &Tried) -> Finding {
    let on = about("cdn-stale", subject);
    let mut count = 0;
    for (sample, url, look) in came(tried) {
        count += u64::from(url == sample.url);
        if !sample.bytes.starts_with(&look.body) || look.body.len() != sample.bytes.len() {
            let age = look.headers.get("age").map_or(String::new(), |age| format!(" (age {age} s)"));
            let fix = if tried.purged {
                "originfs cdn status; originfs cdn purge of the file"
            } else {
                "a [[cdn]] table in the file of the mount, so that changes are purged (docs/CDN.md), or versioned URLs"
            };
            return on.failure(format!("{url} shows something else than the bucket has{age}"), STALE_WHY, fix);
        }
    }
    match count {
        0 => on.skipped(format!("{}: no file came", tried.base)),
        count => on.ok(format!("{} shows what the bucket has ({count} files)", tried.base)),
    }
}

fn headers(subject: &str, tried: &Tried) -> Finding {
    let on = about("cdn-headers", subject);
    let mut count = 0;
    for (sample, url, look) in came(tried) {
        count += u64::from(url == sample.url);
        let wrong = wrong_headers(sample, look);
        if !wrong.is_empty() {
            let fix = "originfs headers apply DIR for what the bucket keeps; originfs cdn rules emit for the rest";
            return on.warning(format!("{url}: {}", wrong.join("; ")), HEADERS_WHY, fix);
        }
    }
    match count {
        0 => on.skipped(format!("{}: no file came", tried.base)),
        count => on.ok(format!("{} sends the headers that it should ({count} files)", tried.base)),
    }
}

fn wrong_headers(sample: &Sample, look: &Look) -> Vec<String> {
    let bare = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let seen = |name: &str| look.headers.get(name).map_or("", String::as_str);
    let mut wrong = Vec::new();
    if let Some(wanted) = sample.content_type.as_deref().filter(|wanted| bare(wanted) != bare(seen("content-type"))) {
        wrong.push(format!("Content-Type is {:?} and not {wanted:?}", seen("content-type")));
    }
    if sample.cache_control.is_some() && seen("cache-control").is_empty() {
        wrong.push("there is no Cache-Control".to_owned());
    }
    if !seen("x-content-type-options").eq_ignore_ascii_case("nosniff") {
        wrong.push("X-Content-Type-Options: nosniff is missing".to_owned());
    }
    if sample.class == Class::Active && !keeps_scripts_out(seen("content-security-policy")) {
        wrong.push("no Content-Security-Policy keeps scripts in it from running".to_owned());
    }
    if let Some((page, Ok(look))) = &sample.page {
        let allowed = look.headers.get("access-control-allow-origin").map_or("", String::as_str);
        if allowed != "*" && allowed != page {
            wrong.push(format!("Access-Control-Allow-Origin is {allowed:?}: pages of {page} may not use the font"));
        }
    }
    if look.headers.contains_key("set-cookie") {
        wrong.push("a cookie comes with it".to_owned());
    }
    wrong
}

/// Whether a browser runs nothing of what comes with this Content-Security-Policy (CSP level 3, sections 6.1 and 6.3).
fn keeps_scripts_out(policy: &str) -> bool {
    let directive = |name: &str| {
        let mut all = policy.split(';').map(str::split_whitespace);
        all.find_map(|mut words| words.next().filter(|word| word.eq_ignore_ascii_case(name)).map(|_| words))
    };
    let sandboxed = directive("sandbox").is_some_and(|mut words| !words.any(|word| word == "allow-scripts"));
    sandboxed || directive("script-src").or_else(|| directive("default-src")).is_some_and(|words| words.eq(["'none'"]))
}

fn absent(subject: &str, tried: &Tried) -> Finding {
    let on = about("cdn-absent", subject);
    let why =
        "caches keep that answer: a file that comes later stays hidden behind it, and names of others may be in it";
    let fix = "let the origin answer 404 (or 403) there: no error document with another status, no listing, no rule that \
               answers in its place";
    match &tried.absent {
        Some((_, Ok(403 | 404 | 410))) => on.ok(format!("{} has nothing where there is no file", tried.base)),
        Some((url, Ok(status @ 200..300))) => {
            on.failure(format!("{url} answers {status}, and there is no such file"), why, fix)
        }
        Some((url, Ok(status))) => on.warning(format!("{url} answers {status}, and there is no such file"), why, fix),
        Some((url, Err(err))) => on.skipped(format!("{url}: {err}")),
        None => on.skipped("not tried"),
    }
}

fn private(subject: &str, tried: &Tried) -> Finding {
    let on = about("cdn-private", subject);
    let shown = tried.private.iter().find(|(_, got)| *got == Ok(true));
    let unknown = tried.private.iter().find_map(|(url, got)| got.as_ref().err().map(|why| format!("{url}: {why}")));
    match (shown, unknown) {
        (Some((url, _)), _) => on.failure(
            format!("everybody may read {url}, which is private"),
            "the application believes that nobody can, and caches keep copies",
            "refuse these names at the cache (originfs cdn rules emit) and in the policy of the bucket",
        ),
        (None, Some(why)) => on.skipped(why),
        (None, None) if tried.private.is_empty() => {
            on.skipped(format!("{}: there is nothing private to ask for", tried.base))
        }
        (None, None) => on.ok(format!("{} shows nothing private ({} files)", tried.base, tried.private.len())),
    }
}

fn listing(subject: &str, tried: &Tried) -> Finding {
    let on = about("cdn-listing", subject);
    match &tried.listing {
        Some(Ok(true)) => on.failure(
            format!("{} lists the bucket", tried.base),
            "names of all files are told, also of those that nobody links to",
            "take s3:ListBucket of everybody out of the policy and ACL of the bucket; a CDN needs s3:GetObject alone",
        ),
        Some(Ok(false)) => on.ok(format!("{} lists nothing", tried.base)),
        Some(Err(why)) => on.skipped(why.clone()),
        None => on.skipped("not tried"),
    }
}

fn written(subject: &str, tried: &Tried) -> Finding {
    let on = about("cdn-write", subject);
    match &tried.written {
        Some(Ok(true)) => on.failure(
            format!("everybody may write through {}", tried.base),
            "whoever knows the URL replaces the files of the site",
            "let the cache pass on GET and HEAD alone, and take the right to write out of the policy of the bucket",
        ),
        Some(Ok(false)) => on.ok(format!("nobody writes through {}", tried.base)),
        Some(Err(why)) => on.skipped(why.clone()),
        None => on.skipped("not tried on a read-only mount"),
    }
}
