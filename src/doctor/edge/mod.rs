//! A CDN or a site's cache, asked as a visitor asks it: does it show what the bucket has, with the headers that it should,
//! and nothing that is private?

mod ask;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use ask::ask;

use super::finding::{Finding, about};
use crate::cdn::url::Family;

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
    /// An error is one line.
    fn look(
        &self,
        method: &'static str,
        url: &str,
        body: &'static str,
    ) -> impl Future<Output = Result<Look, String>> + Send;
}

/// A file that everybody may read, in the bucket and at an edge.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub url: String,
    pub bytes: Vec<u8>,
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub seen: Option<Result<Look, String>>,
}

/// What was tried at one base.
#[derive(Clone, Debug)]
pub struct Tried {
    pub base: String,
    pub family: Family,
    pub samples: Vec<Sample>,
    /// URLs of what is private, and whether its bytes came.
    pub private: Vec<(String, Result<bool, String>)>,
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
        listing(subject, tried),
        written(subject, tried),
    ]
}

fn reaches(subject: &str, tried: &Tried) -> Finding {
    let on = about("cdn-reach", subject);
    let Some(sample) = tried.samples.first() else {
        return on.skipped(format!("{}: there is no public file to ask for", tried.base));
    };
    let fix = match tried.family {
        Family::Cdn => "correct cdn_url=, or let the CDN read the bucket (its policy, or acl=public-read)",
        Family::Site => "correct site_url=, and let the webserver serve the directory",
    };
    let why = "pages with this URL show no pictures";
    match &sample.seen {
        Some(Ok(look)) if look.status == 200 => on.ok(format!("{} answers", tried.base)),
        Some(Ok(look)) => {
            on.failure(format!("{} answers {}, and the file is there", sample.url, look.status), why, fix)
        }
        Some(Err(err)) => on.failure(format!("{}: {err}", sample.url), why, fix),
        None => on.skipped("not tried"),
    }
}

/// Samples that came.
fn came(tried: &Tried) -> impl Iterator<Item = (&Sample, &Look)> {
    let of = |sample: &Sample| {
        sample.seen.as_ref().and_then(|seen| seen.as_ref().ok()).is_some_and(|look| look.status == 200)
    };
    tried
        .samples
        .iter()
        .filter(move |sample| of(sample))
        .filter_map(|sample| Some((sample, sample.seen.as_ref()?.as_ref().ok()?)))
}

fn stale(subject: &str, tried: &Tried) -> Finding {
    let on = about("cdn-stale", subject);
    let mut count = 0;
    for (sample, look) in came(tried) {
        count += 1;
        if !sample.bytes.starts_with(&look.body) || look.body.len() != sample.bytes.len() {
            let age = look.headers.get("age").map_or(String::new(), |age| format!(" (age {age} s)"));
            let fix = if tried.purged {
                "originfs cdn status; originfs cdn purge of the file"
            } else {
                "a [[cdn]] table in the file of the mount, so that changes are purged (docs/CDN.md), or versioned URLs"
            };
            return on.failure(format!("{} shows something else than the bucket has{age}", sample.url), STALE_WHY, fix);
        }
    }
    match count {
        0 => on.skipped(format!("{}: no file came", tried.base)),
        count => on.ok(format!("{} shows what the bucket has ({count} files)", tried.base)),
    }
}

fn headers(subject: &str, tried: &Tried) -> Finding {
    let on = about("cdn-headers", subject);
    let bare = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut count = 0;
    for (sample, look) in came(tried) {
        count += 1;
        let seen = |name: &str| look.headers.get(name).map_or("", String::as_str);
        let mut wrong = Vec::new();
        if let Some(wanted) = sample.content_type.as_deref().filter(|wanted| bare(wanted) != bare(seen("content-type")))
        {
            wrong.push(format!("Content-Type is {:?} and not {wanted:?}", seen("content-type")));
        }
        if sample.cache_control.is_some() && seen("cache-control").is_empty() {
            wrong.push("there is no Cache-Control".to_owned());
        }
        if !seen("x-content-type-options").eq_ignore_ascii_case("nosniff") {
            wrong.push("X-Content-Type-Options: nosniff is missing".to_owned());
        }
        if look.headers.contains_key("set-cookie") {
            wrong.push("a cookie comes with it".to_owned());
        }
        if !wrong.is_empty() {
            let fix = "originfs headers apply DIR for what the bucket keeps; originfs cdn rules emit for the rest";
            return on.warning(format!("{}: {}", sample.url, wrong.join("; ")), HEADERS_WHY, fix);
        }
    }
    match count {
        0 => on.skipped(format!("{}: no file came", tried.base)),
        count => on.ok(format!("{} sends the headers that it should ({count} files)", tried.base)),
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
