//! The CDN of a mount, as `[[cdn]]` tables of its file say it. Secrets are never in them, only where they are.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Error;

/// One table. What a vendor does not use, it refuses.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cdn {
    /// `http`, `cloudflare`, ...
    pub vendor: String,
    /// URLs that the keys of the bucket are appended to; `{path}` at the end: the path in the mount. With neither these nor
    /// `site`, those of the mount (`cdn_url`, `site_url`).
    pub base: Texts,
    /// URLs that the path in the mount is appended to: the site's own, where a cache stands before it.
    pub site: Texts,
    /// Addresses of one's own caches: `http://host[:port]`.
    pub edges: Texts,
    /// A program that purges, by its whole path, and its arguments.
    pub command: Texts,
    /// How one's own caches forget a directory: `never`, `star` or `ban`.
    pub below: Option<String>,
    /// Zone, distribution, endpoint or pull zone.
    pub zone: Option<String>,
    pub plan: Option<String>,
    /// Base URL of the vendor's API, if it is not the usual one.
    pub api: Option<String>,
    /// Where the secret is.
    pub token_file: Option<PathBuf>,
    pub token_env: Option<String>,
    pub token_credential: Option<String>,
    /// Origins of pages that load fonts or draw images on a canvas.
    pub origins: Texts,
    /// Where content is purged, at a vendor that has more than one network.
    pub network: Option<String>,
    /// What edges do with what is purged, where they can do either: `invalidate` or `delete`.
    pub action: Option<String>,
    /// Items in a month at most, where they cost money.
    pub budget: Option<u64>,
    /// Also forget what has a query.
    pub queries: bool,
    /// Also forget the URLs with a version, of the versions that an object had last.
    pub versions: Option<bool>,
    /// The edge keeps http and https apart.
    pub schemes: Option<bool>,
    /// Hosts that share the account.
    pub hosts: Option<u32>,
    /// More objects of one directory than that become the directory.
    pub collapse_at: Option<usize>,
    /// Seconds after which what changed is purged again; 0: never.
    pub repurge_after: Option<u64>,
    /// A whole mount may be purged at once because much of it changed.
    pub everything: bool,
}

/// One text, or several.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "OneOrMany")]
pub struct Texts(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Texts {
    fn from(texts: OneOrMany) -> Self {
        match texts {
            OneOrMany::One(text) => Self(vec![text]),
            OneOrMany::Many(texts) => Self(texts),
        }
    }
}

/// Where a secret is. It is read when it is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    Nowhere,
    File(PathBuf),
    Variable(String),
    /// A credential of the unit (systemd.exec(5)).
    Credential(String),
}

impl Cdn {
    /// Paths of the table are relative to the directory of the file.
    #[must_use]
    pub fn resolved(mut self, dir: &Path) -> Self {
        self.token_file = self.token_file.map(|path| dir.join(path));
        self
    }

    pub fn place(&self) -> Result<Place, Error> {
        match (&self.token_file, &self.token_env, &self.token_credential) {
            (None, None, None) => Ok(Place::Nowhere),
            (Some(path), None, None) => Ok(Place::File(path.clone())),
            (None, Some(name), None) => Ok(Place::Variable(name.clone())),
            (None, None, Some(name)) if !name.is_empty() && !name.contains('/') => Ok(Place::Credential(name.clone())),
            (None, None, Some(_)) => Err(Error::new("cdn: token_credential: expected the name of a credential")),
            _ => {
                Err(Error::new("cdn: only one of token_file, token_env and token_credential says where the secret is"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::File;

    #[test]
    fn tables_are_read_with_the_rest_of_a_file() {
        let text = "source = 'site'\n[options]\nuid = 33\n[[cdn]]\nvendor = 'http'\nbase = 'https://a.example'\nedges = ['http://10.0.0.1', 'http://10.0.0.2']\n[[cdn]]\nvendor = 'cloudflare'\ntoken_file = 'token'\n";
        let file = File::parse(text).unwrap();
        assert_eq!(file.cdn.len(), 2);
        assert_eq!(file.cdn[0].base.0, ["https://a.example"]);
        assert_eq!(file.cdn[0].edges.0.len(), 2);
        let place = file.cdn[1].clone().resolved(Path::new("/etc/originfs")).place().unwrap();
        assert_eq!(place, Place::File("/etc/originfs/token".into()));
    }

    #[test]
    fn a_secret_in_the_file_is_refused() {
        let err = File::parse("[[cdn]]\nvendor = 'cloudflare'\ntoken = 'abc'\n").unwrap_err().to_string();
        assert!(err.contains("unknown field `token`"), "{err}");
        let both = Cdn { token_env: Some("A".to_owned()), token_credential: Some("b".to_owned()), ..Cdn::default() };
        assert!(both.place().is_err());
    }
}
