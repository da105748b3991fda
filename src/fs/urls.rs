//! Where the public reads a file.

use serde::{Deserialize, Serialize};

use super::{Fs, known};
use crate::{
    cdn::url::{Family, Token},
    error::{Error, Result},
    store::Store,
};

/// One file, as the bucket has it now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Urls {
    /// From the root of the mount.
    pub path: String,
    pub key: String,
    /// Whether the public may read it, as far as it is up to the mount.
    pub public: bool,
    /// On the CDN, if there is one and the file is public.
    pub cdn: Option<String>,
    /// On the site, if its URL is known and the file is public.
    pub site: Option<String>,
    /// In the bucket itself, for those whom it lets read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The same for anybody, for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
    /// What follows the bytes; the same on every host.
    pub version: String,
    pub etag: String,
    /// Bytes.
    pub size: u64,
    pub content_type: Option<String>,
}

impl<S: Store> Fs<S> {
    /// The URLs of a file. The bucket is asked: what it does not have yet has no version that anybody could read, and
    /// fails with `NotFound`. Those in the bucket itself are of the store's knowledge, and not filled in here.
    pub async fn urls(&self, path: &str) -> Result<Urls> {
        let key = self.key_of(path)?;
        let object = self.store.head(&key).await?;
        if !known::is_file(&self.options, &object) {
            return Err(Error::Invalid);
        }
        let public = self.options.headers.is_public(&key);
        // What is private has none.
        let url = |family| self.options.urls.url(&key, family).filter(|_| public);
        Ok(Urls {
            path: self.path_of(&key),
            public,
            cdn: url(Family::Cdn),
            site: url(Family::Site),
            origin: None,
            signed: None,
            version: Token::of(&object.version).to_string(),
            etag: object.version.etag.unquoted().to_owned(),
            size: object.version.size,
            content_type: object.headers.content_type,
            key: key.as_str().to_owned(),
        })
    }
}
