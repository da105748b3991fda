//! Which headers an object gets, by its name and its first bytes. Pure.
//!
//! What we set can be told from what others set: it is what the policy says of the old name. So a rename gives the object
//! what its new name asks for, and leaves the rest.

pub mod ahbe;
pub mod file;
pub mod rule;
#[cfg(test)]
mod tests;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::rule::{Facts, Field, Rule};
use super::{
    active,
    content_type::{self, UNKNOWN},
    tags,
};
use crate::{
    model::{
        key::{Key, Prefix},
        withheld::Withheld,
    },
    store::Headers,
};

/// For bytes that never change under their name.
const IMMUTABLE: &str = "max-age=31536000, immutable";
/// Short in browsers, which no purge reaches; what is old may be shown while a cache asks, or while the origin is away.
/// Without `s-maxage`, which would forbid exactly that (RFC 9111 section 4.2.4).
const SHORT: &str = "public, max-age=300, stale-while-revalidate=86400, stale-if-error=604800";
/// Every use asks the origin, which knows who may.
const PRIVATE: &str = "private, no-cache";

/// What a server may write without encoding in `filename*` (RFC 5987 section 3.2.1, less what is rarely right).
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Extensions of what browsers run or render with the rights of the host: a download, unless a rule says otherwise.
pub const ACTIVE: [&str; 12] =
    ["htc", "hta", "htm", "html", "mht", "mhtml", "shtml", "swf", "xht", "xhtml", "xml", "xsl"];
/// Packed or not.
const SVG: &str = "image/svg+xml";
/// Extensions that some server runs.
const PROGRAMS: [&str; 9] = ["php", "php3", "php4", "php5", "php7", "phps", "phtml", "pht", "phar"];

/// Whether the public may read what a mount writes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Exposure {
    #[default]
    Public,
    Private,
}

/// What a mount says about headers.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub prefix: Prefix,
    pub exposure: Exposure,
    pub withheld: Withheld,
    /// In their order; of two that set the same header the later one counts.
    pub rules: Vec<Rule>,
    /// Shows an SVG that only draws, instead of having it downloaded.
    pub inline_svg: bool,
    /// The first of the cache tags; `None`: there are none.
    pub site: Option<String>,
}

/// Which headers the objects of a mount get. The default one gives them a type and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Policy(Option<Wishes>);

/// What an object would get.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Wanted {
    content_type: String,
    /// A rule says so.
    typed: bool,
    encoding: Option<String>,
    language: Option<String>,
    cache_control: Option<String>,
    disposition: Option<String>,
    expires: Option<String>,
    /// Of the user's metadata.
    user: Vec<(String, String)>,
}

/// What became of the headers of an object that is there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Aligned {
    /// Some were set.
    pub changed: bool,
    /// Some are other than the policy has them, and stay: somebody set them.
    pub kept: bool,
}

impl Policy {
    pub fn new(wishes: Wishes) -> Self {
        Self(Some(wishes))
    }

    /// The tag that all objects have, as they carry it; `None`: they have none.
    pub fn tag(&self) -> Option<String> {
        self.0.as_ref()?.site.as_deref().map(|site| tags::of_directory(site, ""))
    }

    /// Whether the public may read the object, as far as it is up to us.
    pub fn is_public(&self, key: &Key) -> bool {
        self.0.as_ref().is_none_or(|wishes| wishes.is_public(key))
    }

    /// Puts into the headers of a new object what it is to have. `head`: its first bytes, [`content_type::HEAD_LEN`] of
    /// them or all.
    pub fn dress(&self, headers: &mut Headers, key: &Key, size: u64, head: &[u8]) {
        let wanted = self.wanted(key, size, Some(head), false);
        headers.content_type = Some(wanted.content_type);
        headers.content_encoding = wanted.encoding;
        headers.content_language = wanted.language;
        headers.cache_control = wanted.cache_control;
        headers.content_disposition = wanted.disposition;
        headers.expires = wanted.expires;
        headers.user.extend(wanted.user);
    }

    /// Gives the headers of an object at `from` what it is to have at `to`: a type if the new name tells another, and the
    /// rest where it is ours or not there. `head` as for [`Policy::dress`], if it is at hand.
    pub fn redress(&self, headers: &mut Headers, (from, to): (&Key, &Key), size: u64, head: Option<&[u8]>) {
        let acted = headers.content_disposition.as_deref() == Some(&*attachment(from));
        let was = self.wanted(from, size, None, acted);
        let will = self.wanted(to, size, head, acted);
        let of = |text: &Option<String>| text.as_deref().map_or("", bare).to_owned();
        let (kept, by_name) = (of(&headers.content_type), bare(&will.content_type).to_owned());
        // Whoever gave it another type than its name tells did so on purpose, unless that says nothing.
        let meant = bare(&was.content_type) == by_name && !is_vague(&kept);
        let rule_left = was.typed && was.content_type == headers.content_type.as_deref().unwrap_or_default();
        if by_name != kept && !meant && (by_name != UNKNOWN || will.typed || rule_left || is_program(last(to))) {
            let utf8 = headers.content_type.as_deref().is_some_and(|text| text.ends_with(CHARSET));
            let known = utf8 && head.is_none() && !will.typed;
            headers.content_type =
                Some(if known { content_type::with_charset(&by_name, b"").into_owned() } else { will.content_type });
            headers.content_encoding = will.encoding.or(headers.content_encoding.take());
        }
        if self.0.is_none() {
            return;
        }
        let follow = |kept: &mut Option<String>, was: Option<String>, will: Option<String>| {
            if kept.is_none() || *kept == was {
                *kept = will;
            }
        };
        follow(&mut headers.cache_control, was.cache_control, will.cache_control);
        follow(&mut headers.content_disposition, was.disposition, will.disposition);
        follow(&mut headers.content_language, was.language, will.language);
        follow(&mut headers.expires, was.expires, will.expires);
        for (name, value) in was.user {
            if headers.user.get(&name) == Some(&value) {
                headers.user.remove(&name);
            }
        }
        for (name, value) in will.user {
            headers.user.entry(name).or_insert(value);
        }
    }

    /// Gives the headers of an object that is there what they lack. What somebody else set stays, unless `all`. What a
    /// mount gives this name without any rule, public or private, is ours: so a change of that is followed.
    pub fn align(&self, headers: &mut Headers, key: &Key, size: u64, head: &[u8], all: bool) -> Aligned {
        let wanted = self.wanted(key, size, Some(head), false);
        let before = headers.clone();
        let mut kept = false;
        let mut set = |slot: &mut Option<String>, value: Option<String>, ours: bool| {
            if ours || value.is_some() && (slot.is_none() || all) {
                *slot = value;
            } else if value.is_some() && *slot != value {
                kept = true;
            }
        };
        let vague = headers.content_type.as_deref().is_none_or(|text| {
            let known = bare(text);
            is_vague(known) || known == wanted.content_type || {
                known == bare(&wanted.content_type) && !text.contains(';')
            }
        });
        set(&mut headers.content_type, Some(wanted.content_type), vague);
        set(&mut headers.content_encoding, wanted.encoding, false);
        set(&mut headers.content_language, wanted.language, false);
        let ours = self.is_built_in(headers.cache_control.as_deref(), key);
        set(&mut headers.cache_control, wanted.cache_control, ours);
        let ours = self.0.is_some() && headers.content_disposition.as_deref() == Some(&*attachment(key));
        set(&mut headers.content_disposition, wanted.disposition, ours);
        set(&mut headers.expires, wanted.expires, false);
        for (name, value) in wanted.user {
            // Tags are ours alone, and follow the name.
            let ours = name == tags::NAME;
            let mut slot = headers.user.remove(&name);
            set(&mut slot, Some(value), ours);
            headers.user.extend(slot.map(|value| (name, value)));
        }
        Aligned { changed: *headers != before, kept }
    }

    /// Whether a mount gives that to the name where no rule says another, be it public or private.
    fn is_built_in(&self, value: Option<&str>, key: &Key) -> bool {
        let (Some(wishes), Some(value)) = (&self.0, value) else { return false };
        let hashed = rule::is_hashed(wishes.path(key));
        [true, false].iter().any(|public| value == cache_control(*public, hashed))
    }

    /// Whether no rule depends on whether the object is larger than `size`.
    pub fn is_settled(&self, size: u64) -> bool {
        self.0.as_ref().is_none_or(|wishes| wishes.rules.iter().all(|rule| rule.is_settled(size)))
    }

    /// `acted`: it was found to act, under another name.
    fn wanted(&self, key: &Key, size: u64, head: Option<&[u8]>, acted: bool) -> Wanted {
        let name = last(key);
        let (by_name, encoding) = content_type::headers_for(name);
        let content_type = content_type::with_charset(by_name, head.unwrap_or(b"\xff")).into_owned();
        let mut wanted = Wanted { content_type, encoding: encoding.map(str::to_owned), ..Wanted::default() };
        let Some(wishes) = &self.0 else { return wanted };
        let path = wishes.path(key);
        let public = wishes.is_public(key);
        let facts = Facts { path, content_type: by_name, size, hashed: rule::is_hashed(path), public };
        wanted.cache_control = Some(cache_control(public, facts.hashed));
        if acted || wishes.acts(name, by_name, size, head) {
            wanted.disposition = Some(attachment(key));
        }
        if let Some(site) = &wishes.site {
            wanted.user.push((tags::NAME.to_owned(), tags::of(site, path)));
        }
        for (field, value) in wishes.rules.iter().filter(|rule| rule.applies(&facts)).flat_map(|rule| &rule.set) {
            wanted.set(field, value.clone());
        }
        wanted
    }
}

impl Wishes {
    /// From the mount point.
    fn path<'k>(&self, key: &'k Key) -> &'k str {
        key.as_str().strip_prefix(self.prefix.as_str()).unwrap_or(key.as_str())
    }

    fn is_public(&self, key: &Key) -> bool {
        self.exposure == Exposure::Public && !self.withheld.covers(key)
    }

    fn acts(&self, name: &str, by_name: &str, size: u64, head: Option<&[u8]>) -> bool {
        let extension = extension(name);
        if extension == "svg" && self.inline_svg {
            // Seen whole, or not trusted.
            return !head.is_some_and(|head| head.len() as u64 == size && active::is_inert_svg(head));
        }
        by_name == SVG
            || ACTIVE.contains(&&*extension)
            || PROGRAMS.contains(&&*extension)
            || head.is_some_and(|head| active::acts(head, content_type::is_text(by_name)))
    }
}

fn cache_control(public: bool, hashed: bool) -> String {
    match (public, hashed) {
        (true, true) => format!("public, {IMMUTABLE}"),
        (false, true) => format!("private, {IMMUTABLE}"),
        (true, false) => SHORT.to_owned(),
        (false, false) => PRIVATE.to_owned(),
    }
}

impl Wanted {
    fn set(&mut self, field: &Field, value: Option<String>) {
        match field {
            Field::ContentType => {
                self.typed = value.is_some();
                self.content_type = value.unwrap_or_else(|| UNKNOWN.to_owned());
            }
            Field::CacheControl => self.cache_control = value,
            Field::ContentDisposition => self.disposition = value,
            Field::ContentEncoding => self.encoding = value,
            Field::ContentLanguage => self.language = value,
            Field::Expires => self.expires = value,
            Field::User(name) => {
                self.user.retain(|(known, _)| known != name);
                self.user.extend(value.map(|value| (name.clone(), value)));
            }
        }
    }
}

const CHARSET: &str = "; charset=utf-8";

/// A type without its parameters.
fn bare(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// What programs say that know no type.
fn is_vague(content_type: &str) -> bool {
    content_type.is_empty() || content_type.ends_with("/octet-stream")
}

fn last(key: &Key) -> &str {
    key.as_str().rsplit('/').next().unwrap_or_default()
}

fn extension(name: &str) -> String {
    name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase()
}

fn is_program(name: &str) -> bool {
    PROGRAMS.contains(&&*extension(name))
}

/// What has a browser store the object instead of showing it (RFC 6266). Pictures in pages are shown all the same.
fn attachment(key: &Key) -> String {
    format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(last(key), ATTR_CHAR))
}
