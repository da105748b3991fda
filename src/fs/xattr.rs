//! Extended attributes: what the bucket says of an object, and where the public reads it. Read-only.

use std::{ffi::OsStr, fmt::Write};

use bytes::Bytes;

use super::{Fs, types::NodeId};
use crate::{
    cdn::url::{self, Token},
    error::{Error, Result},
    model::{attr::Kind, key::Key, version::Version},
    store::Store,
};

const KEY: &str = "user.s3.key";
const ETAG: &str = "user.s3.etag";
const MODIFIED: &str = "user.s3.last_modified";
/// Where the public reads it, the same for this version alone, and what tells that from others.
const URL: &str = "user.cdn.url";
const VURL: &str = "user.cdn.vurl";
const VERSION: &str = "user.cdn.version";
/// Whether the CDN knows this version: `purged`, `pending`, `failed`, or `withheld` for what the public may not read.
const STATE: &str = "user.cdn.state";
const WITHHELD: &str = "withheld";

/// How far the purge of a key is, in one word.
pub(super) type Purges = Box<dyn Fn(&Key) -> &'static str + Send + Sync>;

impl<S: Store> Fs<S> {
    /// There is a CDN, of which extended attributes tell. The first one stays.
    pub fn tell_purges(&self, purges: Box<dyn Fn(&Key) -> &'static str + Send + Sync>) {
        drop(self.purges.set(purges));
    }

    pub async fn getxattr(&self, id: NodeId, name: &OsStr) -> Result<Bytes> {
        let name = name.to_str().ok_or(Error::NoAttr)?;
        if ![KEY, ETAG, MODIFIED, URL, VURL, VERSION, STATE].contains(&name) {
            return Err(Error::NoAttr);
        }
        let (key, version) = self.object_of(id)?;
        if [URL, VURL, VERSION, STATE].contains(&name) {
            return self.public(name, &key, version.as_ref()).map(Bytes::from).ok_or(Error::NoAttr);
        }
        if name == KEY {
            return Ok(Bytes::copy_from_slice(key.as_str().as_bytes()));
        }
        let version = version.ok_or(Error::NoAttr)?;
        if name == ETAG {
            return Ok(Bytes::copy_from_slice(version.etag.unquoted().as_bytes()));
        }
        let modified = match version.modified {
            Some(modified) => modified,
            // The answer to our own PUT did not tell it.
            None => self.store.head(&key).await?.version.modified.ok_or(Error::NoAttr)?,
        };
        Ok(Bytes::from(rfc3339(modified)))
    }

    /// Names, each with a NUL at its end.
    pub fn listxattr(&self, id: NodeId) -> Result<Bytes> {
        if self.is_own(id) {
            return Ok(Bytes::new());
        }
        let (key, version) = self.object_of(id)?;
        let mut names = format!("{KEY}\0");
        if version.is_some() {
            write!(names, "{ETAG}\0{MODIFIED}\0").expect("strings take everything");
        }
        for name in [URL, VURL, VERSION, STATE] {
            if self.public(name, &key, version.as_ref()).is_some() {
                write!(names, "{name}\0").expect("strings take everything");
            }
        }
        Ok(names.into())
    }

    /// Of what the bucket has confirmed, and the public may read.
    fn public(&self, name: &str, key: &Key, version: Option<&Version>) -> Option<String> {
        if key.is_marker() || key.as_str().is_empty() {
            return None;
        }
        let urls = &self.options.urls;
        let url = || urls.public(key).filter(|_| self.options.headers.is_public(key));
        match name {
            URL => url(),
            VURL => Some(url::versioned(&url()?, &Token::of(version?))),
            STATE => {
                let (purges, _) = (self.purges.get()?, version?);
                let public = self.options.headers.is_public(key);
                Some(if public { purges(key) } else { WITHHELD }.to_owned())
            }
            _ => Some(Token::of(version?).to_string()),
        }
    }

    fn object_of(&self, id: NodeId) -> Result<(Key, Option<Version>)> {
        let tree = self.tree();
        let node = tree.get(id).filter(|node| !node.payload.own).ok_or(Error::NoAttr)?;
        let key = tree.key(id).ok_or(Error::NoAttr)?;
        let version = node.payload.known.version.clone();
        let dir = node.kind == Kind::Dir && id != NodeId::ROOT;
        Ok((if dir { key.marker() } else { key }, version))
    }
}

/// Seconds since 1970 as RFC 3339 in UTC (the civil calendar from a day count: Howard Hinnant, "chrono-compatible
/// low-level date algorithms").
fn rfc3339(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn dates_are_civil() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_795_302_884), "2026-11-21T23:14:44Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59Z");
    }
}
