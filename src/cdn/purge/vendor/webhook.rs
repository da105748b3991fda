//! Anybody else: a POST of what changed, to an address of one's own, which purges however it wants.
//!
//! ```json
//! {"objects": [{"key": "site/a.jpg", "urls": ["https://..."]}], "directories": [..], "tags": [..], "everything": false}
//! ```
//!
//! A status of 200 to 299 ends it; 400, 413 and 422 mean that an item makes no sense.

use serde_json::{Value, json};

use super::{Common, Request, Secret};
use crate::cdn::purge::target::{Batch, Contract, Target};

/// URLs in a request: as many as a script can pass on.
const BATCH: usize = 100;

#[derive(Clone, Debug)]
pub struct Webhook {
    pub url: String,
}

impl Webhook {
    pub(super) fn contract(common: &Common) -> Contract {
        Contract { batch: BATCH, prefixes: true, tags: true, mixed: true, ..common.contract() }
    }

    /// One, whatever the number of URLs of an object.
    pub(super) fn requests(&self, common: &Common, batch: &Batch, secret: &Secret) -> Vec<Request> {
        let (mut objects, mut directories, mut tags) = (Vec::<Value>::new(), Vec::<Value>::new(), Vec::new());
        let mut everything = false;
        for (target, versions) in batch.items() {
            match target {
                Target::Object(key) => objects.push(json!({ "key": &**key, "urls": common.urls.all(key, versions) })),
                Target::Below(dir) => directories.push(json!({ "key": &**dir, "urls": common.urls.below(dir) })),
                Target::Tag(tag) => tags.push(tag.to_string()),
                Target::Everything => everything = true,
            }
        }
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if !secret.expose().is_empty() {
            headers.push(("authorization", format!("Bearer {}", secret.expose())));
        }
        let body = json!({ "objects": objects, "directories": directories, "tags": tags, "everything": everything });
        vec![Request { method: "POST", url: self.url.clone(), headers, body: body.to_string() }]
    }
}
