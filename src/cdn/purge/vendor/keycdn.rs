//! `KeyCDN`: `DELETE /zones/purgeurl/{zone}.json` and `/zones/purgetag/{zone}.json`. <https://www.keycdn.com/api>

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
const CALLS: Rate = Rate::requests(20.0, 20.0 / 60.0);

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
            bytes: BYTES,
            urls: common.urls.formed(Form::Host),
            tags: true,
            parallel: 1,
            rates: common.rates(&[(Class::Urls, &[CALLS]), (Class::Tags, &[CALLS])]),
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
        let (call, field) = if batch.class == Class::Tags { ("purgetag", "tags") } else { ("purgeurl", "urls") };
        let request = |items: &[String]| Request {
            method: "DELETE",
            url: format!("{}/zones/{call}/{}.json", self.api, self.zone),
            headers: vec![
                ("authorization", format!("Basic {}", STANDARD.encode(format!("{}:", secret.expose())))),
                ("content-type", "application/json".to_owned()),
            ],
            body: json!({ field: items }).to_string(),
        };
        items.chunks(BATCH).map(request).collect()
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
