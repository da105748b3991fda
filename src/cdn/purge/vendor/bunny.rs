//! bunny.net: `POST /purge?url=`, one URL in a request; one that ends in a star is all that begins with it.
//! <https://docs.bunny.net/reference/purgepublic_indexpost>

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{Common, Request, Secret};
use crate::cdn::purge::{
    rate::Rate,
    target::{Batch, Class, Contract, Target},
    versions::Versions,
};

#[derive(Clone, Debug)]
pub struct Bunny {
    /// `https://api.bunny.net`, without a slash at its end.
    pub api: String,
    /// The number of the pull zone, for tags.
    pub zone: Option<String>,
}

impl Bunny {
    pub(super) fn contract(&self, common: &Common) -> Contract {
        // Of the account: at once, and per second.
        let (exact, below) = (&[Rate::requests(120.0, 5.0)], &[Rate::requests(20.0, 0.5)]);
        Contract {
            prefixes: true,
            tags: self.zone.is_some(),
            rates: common.rates(&[
                (Class::Urls, exact),
                (Class::Prefixes, below),
                (Class::Tags, below),
                (Class::Everything, below),
            ]),
            ..common.contract()
        }
    }

    pub(super) fn requests(&self, common: &Common, batch: &Batch, secret: &Secret) -> Vec<Request> {
        let below = |dir: &str| -> Vec<Request> {
            common.urls.below(dir).iter().map(|url| self.purge(&format!("{url}*"), "", secret)).collect()
        };
        let of = |(target, versions): (&Target, &Versions)| match target {
            Target::Object(key) => {
                common.urls.all(key, versions).iter().map(|url| self.purge(url, "&exactPath=true", secret)).collect()
            }
            Target::Below(dir) => below(dir),
            Target::Everything => below(&common.root),
            Target::Tag(tag) => vec![Request {
                url: format!("{}/pullzone/{}/purgeCache", self.api, self.zone.as_deref().unwrap_or_default()),
                body: json!({ "CacheTag": &**tag }).to_string(),
                ..self.purge("", "", secret)
            }],
        };
        batch.items().flat_map(of).collect()
    }

    fn purge(&self, url: &str, more: &str, secret: &Secret) -> Request {
        let url = utf8_percent_encode(url, NON_ALPHANUMERIC);
        Request {
            method: "POST",
            url: format!("{}/purge?url={url}&async=true{more}", self.api),
            headers: vec![("accesskey", secret.expose().to_owned()), ("content-type", "application/json".to_owned())],
            body: String::new(),
        }
    }
}
