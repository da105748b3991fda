//! Fastly: `POST /purge/{host/path}` for a URL, `POST /service/{id}/purge/{key}` for a surrogate key,
//! `POST /service/{id}/purge_all` for everything.
//! <https://www.fastly.com/documentation/reference/api/purging/>

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Common, Request, Response, Secret, by_status, said};
use crate::cdn::purge::{
    rate::Rate,
    target::{Batch, Class, Contract, Target, Verdict},
    urls::Form,
    versions::Versions,
};

/// 100,000 in an hour, for URLs and for keys each; the burst is among them.
const HOURLY: Rate = Rate::requests(1000.0, 99_000.0 / 3600.0);
/// Other calls that change something: 1000 in an hour.
const OTHERS: Rate = Rate::requests(100.0, 900.0 / 3600.0);

#[derive(Clone, Debug)]
pub struct Fastly {
    /// `https://api.fastly.com`, without a slash at its end.
    pub api: String,
    /// The service, for keys and for everything.
    pub service: Option<String>,
    /// What is purged is stale, and shown once more while the origin is asked or away. Otherwise it is gone.
    pub soft: bool,
}

impl Fastly {
    pub(super) fn contract(&self, common: &Common) -> Contract {
        Contract {
            urls: common.urls.formed(Form::Host),
            tags: self.service.is_some(),
            whole: self.service.is_some(),
            rates: common.rates(&[(Class::Urls, &[HOURLY]), (Class::Tags, &[HOURLY]), (Class::Everything, &[OTHERS])]),
            ..common.contract()
        }
    }

    pub(super) fn requests(&self, common: &Common, batch: &Batch, secret: &Secret) -> Vec<Request> {
        let urls = common.urls.formed(Form::Host);
        let service = self.service.as_deref().unwrap_or_default();
        let of = |(target, versions): (&Target, &Versions)| match target {
            Target::Object(key) => urls
                .all(key, versions)
                .iter()
                .map(|url| self.post(&format!("purge/{url}"), self.soft, secret))
                .collect(),
            Target::Tag(tag) => {
                let tag = utf8_percent_encode(tag, NON_ALPHANUMERIC);
                vec![self.post(&format!("service/{service}/purge/{tag}"), self.soft, secret)]
            }
            // This one cannot be soft.
            Target::Everything => vec![self.post(&format!("service/{service}/purge_all"), false, secret)],
            Target::Below(_) => Vec::new(),
        };
        batch.items().flat_map(of).collect()
    }

    fn post(&self, path: &str, soft: bool, secret: &Secret) -> Request {
        let mut headers = vec![("fastly-key", secret.expose().to_owned()), ("accept", "application/json".to_owned())];
        headers.extend(soft.then(|| ("fastly-soft-purge", "1".to_owned())));
        Request { method: "POST", url: format!("{}/{path}", self.api), headers, body: String::new() }
    }
}

pub(super) fn verdict(response: &Response) -> Verdict {
    let status = serde_json::from_str::<Value>(&response.body).ok();
    let status = status.as_ref().and_then(|body| body["status"].as_str());
    match (response.status, status) {
        (200, Some("ok")) => Verdict::Done,
        (200, _) => Verdict::Failed(said(response)),
        _ => by_status(response),
    }
}
