//! Cloudflare: `POST /zones/{zone}/purge_cache`, by files, prefixes or tags, exactly one of them in a request.
//! <https://developers.cloudflare.com/api/resources/cache/methods/purge/>

use serde_json::{Value, json};

use super::{Common, Request, Response, Secret, by_status, said};
use crate::cdn::purge::{
    rate::Rate,
    target::{Batch, Class, Contract, Target, Verdict},
    urls::Form,
    versions::Versions,
};

/// Items in a request on every plan but Enterprise.
pub const BATCH: usize = 30;

/// What a zone pays for, and so how often it may purge. Limits are of the account, for all its zones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Plan {
    Free,
    Pro,
    Business,
    Enterprise,
}

impl Plan {
    /// URLs: at once, and per second.
    fn files(self) -> Rate {
        let urls = match self {
            Self::Free => 800.0,
            Self::Pro | Self::Business => 1500.0,
            Self::Enterprise => 3000.0,
        };
        Rate::items(urls, urls)
    }

    /// Requests by prefix, tag or for everything.
    fn others(self) -> Rate {
        match self {
            Self::Free => Rate::requests(25.0, 5.0 / 60.0),
            Self::Pro => Rate::requests(25.0, 5.0),
            Self::Business => Rate::requests(50.0, 10.0),
            Self::Enterprise => Rate::requests(500.0, 50.0),
        }
    }
}

/// All calls of the API, per account: 1200 in five minutes.
const API: Rate = Rate::requests(1200.0, 4.0);

#[derive(Clone, Debug)]
pub struct Cloudflare {
    /// `https://api.cloudflare.com/client/v4`, without a slash at its end.
    pub api: String,
    pub zone: String,
    pub plan: Plan,
    /// Origins of pages that load fonts and canvas images: `Origin` is in the default cache key, so each is a variant.
    pub origins: Vec<String>,
    /// Objects are purged as prefixes, which takes along what has a query.
    pub queries: bool,
}

impl Cloudflare {
    pub(super) fn contract(&self, common: &Common) -> Contract {
        let others = &[self.plan.others(), API][..];
        let files = if self.queries { others } else { &[self.plan.files(), API] };
        let (urls, variants) = if self.queries {
            (common.urls.formed(Form::Host), 1)
        } else {
            (common.urls.clone(), 1 + self.origins.len())
        };
        Contract {
            batch: BATCH,
            urls,
            variants,
            prefixes: true,
            tags: true,
            rates: common.rates(&[
                (Class::Urls, files),
                (Class::Prefixes, others),
                (Class::Tags, others),
                (Class::Everything, others),
            ]),
            ..common.contract()
        }
    }

    pub(super) fn requests(&self, common: &Common, batch: &Batch, secret: &Secret) -> Vec<Request> {
        let (field, items) = match batch.class {
            Class::Urls if !self.queries => {
                ("files", batch.items().flat_map(|item| self.files(common, item)).collect())
            }
            Class::Urls | Class::Prefixes => {
                ("prefixes", batch.targets().flat_map(|target| below(common, target)).collect())
            }
            Class::Tags => {
                ("tags", batch.targets().map(|target| json!(target.to_string().trim_start_matches('#'))).collect())
            }
            Class::Everything => return vec![self.request(&json!({ "purge_everything": true }), secret)],
        };
        let items: Vec<Value> = items;
        items.chunks(BATCH).map(|items| self.request(&json!({ field: items }), secret)).collect()
    }

    fn files(&self, common: &Common, (target, versions): (&Target, &Versions)) -> Vec<Value> {
        let Target::Object(key) = target else { return Vec::new() };
        let mut files = Vec::new();
        for url in common.urls.all(key, versions) {
            files.extend(self.origins.iter().map(|origin| json!({ "url": url, "headers": { "Origin": origin } })));
            files.push(json!(url));
        }
        files
    }

    fn request(&self, body: &Value, secret: &Secret) -> Request {
        Request {
            method: "POST",
            url: format!("{}/zones/{}/purge_cache", self.api, self.zone),
            headers: vec![
                ("authorization", format!("Bearer {}", secret.expose())),
                ("content-type", "application/json".to_owned()),
            ],
            body: body.to_string(),
        }
    }
}

/// Host and path, without the slash of a directory.
fn below(common: &Common, target: &Target) -> Vec<Value> {
    let urls = common.urls.formed(Form::Host);
    let all = match target {
        Target::Object(key) => urls.of(key),
        Target::Below(dir) => urls.below(dir),
        Target::Tag(_) | Target::Everything => Vec::new(),
    };
    all.iter().map(|url| json!(url.trim_end_matches('/'))).collect()
}

/// A 200 may say `"success":false`, and says nothing of whether anything was cached.
pub(super) fn verdict(response: &Response) -> Verdict {
    let success = serde_json::from_str::<Value>(&response.body).ok().and_then(|body| body["success"].as_bool());
    match (response.status, success) {
        (200, Some(true)) => Verdict::Done,
        (200, _) => Verdict::Failed(said(response)),
        _ => by_status(response),
    }
}
