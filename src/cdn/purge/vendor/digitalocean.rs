//! The CDN of DigitalOcean Spaces: `DELETE /v2/cdn/endpoints/{id}/cache` with up to 50 paths, of which one may end in a
//! star. <https://docs.digitalocean.com/reference/api/digitalocean/#operation/cdn_purge_cache>

use std::time::Duration;

use serde_json::json;

use super::{Common, Request, Secret};
use crate::cdn::purge::{
    rate::Rate,
    target::{Batch, Class, Contract, Target},
    urls::Form,
    versions::Versions,
};

/// Paths in a request.
const BATCH: usize = 50;
/// The same in 20 seconds.
const PATHS: Rate = Rate::items(50.0, 0.0).within(Duration::from_secs(20));
/// All calls about endpoints, of the account: five in ten seconds.
const CALLS: Rate = Rate::requests(5.0, 0.0).within(Duration::from_secs(10));

#[derive(Clone, Debug)]
pub struct DigitalOcean {
    /// `https://api.digitalocean.com`, without a slash at its end.
    pub api: String,
    /// The identifier of the endpoint.
    pub endpoint: String,
}

impl DigitalOcean {
    pub(super) fn contract(common: &Common) -> Contract {
        Contract {
            // No more than a host has tokens for, of those that share the account.
            batch: (BATCH / common.hosts.clamp(1, 50) as usize).max(1),
            urls: common.urls.formed(Form::Path),
            prefixes: true,
            mixed: true,
            // The same purge must not be under way twice.
            parallel: 1,
            rates: common.rates(&[(Class::Urls, &[CALLS, PATHS]), (Class::Everything, &[CALLS])]),
            ..common.contract()
        }
    }

    pub(super) fn requests(&self, common: &Common, batch: &Batch, secret: &Secret) -> Vec<Request> {
        let urls = common.urls.formed(Form::Path);
        let below = |dir: &str| urls.below(dir).into_iter().map(|path| path + "*").collect();
        let paths = |(target, versions): (&Target, &Versions)| match target {
            Target::Object(key) => urls.all(key, versions),
            Target::Below(dir) => below(dir),
            Target::Everything => vec!["*".to_owned()],
            Target::Tag(_) => Vec::new(),
        };
        let files: Vec<String> =
            batch.items().flat_map(paths).map(|path| path.trim_start_matches('/').to_owned()).collect();
        let request = |files: &[String]| Request {
            method: "DELETE",
            url: format!("{}/v2/cdn/endpoints/{}/cache", self.api, self.endpoint),
            headers: vec![
                ("authorization", format!("Bearer {}", secret.expose())),
                ("content-type", "application/json".to_owned()),
            ],
            body: json!({ "files": files }).to_string(),
        };
        files.chunks(BATCH).map(request).collect()
    }
}
