//! `KeyCDN`: `DELETE /zones/purgeurl/{zone}.json` and `/zones/purgetag/{zone}.json`, and a GET of `/zones/purge/{zone}.json`
//! for everything. <https://www.keycdn.com/api>

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Common, Request, Response, Secret, by_status, said};
use crate::cdn::purge::{
    rate::Rate,
    target::{Batch, Class, Contract, Target, Verdict},
    urls::Form,
    versions::Versions,
};

/// URLs in a request. The vendor says only that its body ends at 64 KiB.
const BATCH: usize = 100;
const BYTES: usize = 60_000;
/// 20 in a minute.
const CALLS: Rate = Rate::requests(20.0, 0.0).within(Duration::from_mins(1));

#[derive(Clone, Debug)]
pub struct KeyCdn {
    /// `https://api.keycdn.com`, without a slash at its end.
    pub api: String,
    /// The number of the zone.
    pub zone: String,
}

impl KeyCdn {
    pub(super) fn contract(common: &Common) -> Contract {
        Contract {
            batch: BATCH,
            // The list of tags ends at 128 characters, and one tag may have as many.
            below: 1,
            bytes: BYTES,
            urls: common.urls.formed(Form::Host),
            tags: true,
            whole: true,
            parallel: 1,
            rates: common.rates(&[Class::Urls, Class::Tags, Class::Everything].map(|class| (class, &[CALLS][..]))),
            ..common.contract()
        }
    }

    pub(super) fn requests(&self, common: &Common, batch: &Batch, secret: &Secret) -> Vec<Request> {
        let urls = common.urls.formed(Form::Host);
        let texts = |(target, versions): (&Target, &Versions)| match target {
            Target::Object(key) => urls.all(key, versions),
            Target::Tag(tag) => vec![tag.to_string()],
            Target::Below(_) | Target::Everything => Vec::new(),
        };
        let items: Vec<String> = batch.items().flat_map(texts).collect();
        let request = |method, call: &str, body| Request {
            method,
            url: format!("{}/zones/{call}/{}.json", self.api, self.zone),
            headers: vec![
                ("authorization", format!("Basic {}", STANDARD.encode(format!("{}:", secret.expose())))),
                ("content-type", "application/json".to_owned()),
            ],
            body,
        };
        let list = |call, field: &str, count| {
            items.chunks(count).map(|items| request("DELETE", call, json!({ field: items }).to_string())).collect()
        };
        match batch.class {
            Class::Tags => list("purgetag", "tags", 1),
            Class::Everything => vec![request("GET", "purge", String::new())],
            Class::Urls | Class::Prefixes => list("purgeurl", "urls", BATCH),
        }
    }
}

pub(super) fn verdict(response: &Response) -> Verdict {
    let status = serde_json::from_str::<Value>(&response.body).ok();
    match (response.status, status.as_ref().and_then(|body| body["status"].as_str())) {
        (200, Some("success")) => Verdict::Done,
        (200, _) => Verdict::Failed(said(response)),
        _ => by_status(response),
    }
}
