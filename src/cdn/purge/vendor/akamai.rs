//! Akamai: Fast Purge, `POST /ccu/v3/{invalidate|delete}/{url|tag|cpcode}/{network}`.
//! <https://techdocs.akamai.com/purge-cache/reference/api>
//!
//! A purge is accepted here, and reaches all edges about five seconds later.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Common, Request, Response, Secret, by_status, said,
    sign::{Stamp, edgegrid},
};
use crate::cdn::purge::{
    rate::Rate,
    target::{Batch, Class, Contract, Target, Verdict},
    versions::Versions,
};

/// Bytes of a body; more is refused.
const BODY: usize = 50_000;
/// Bytes of it around the list: a name, brackets and a brace, with room.
const AROUND: usize = 100;
/// Objects in a request. The vendor says only how long a body may be.
const BATCH: usize = 500;
/// What to wait after a 429 that says no time, as the reference has it.
const WAIT: Duration = Duration::from_secs(5);
/// All requests of the account.
const API: Rate = Rate::requests(100.0, 50.0);

/// Where content is purged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Network {
    Production,
    Staging,
}

#[derive(Clone, Debug)]
pub struct Akamai {
    /// `https://akab-....purge.akamaiapis.net`, without a slash at its end. `None`: the `host` of the secret.
    pub api: Option<String>,
    pub network: Network,
    /// Edges drop what is purged. Otherwise they ask the origin whether it changed, and keep it while that is away.
    pub delete: bool,
    /// The CP code, for everything.
    pub cpcode: Option<u64>,
}

impl Akamai {
    pub(super) fn contract(&self, common: &Common) -> Contract {
        Contract {
            batch: BATCH,
            bytes: BODY - AROUND,
            tags: true,
            whole: self.cpcode.is_some(),
            rates: common.rates(&[
                (Class::Urls, &[API, Rate::items(10_000.0, 12_000.0 / 60.0)]),
                (Class::Tags, &[API, Rate::items(5_000.0, 500.0 / 60.0)]),
                (Class::Everything, &[API, Rate::items(300.0, 30.0 / 60.0)]),
            ]),
            ..common.contract()
        }
    }

    pub(super) fn requests(&self, common: &Common, batch: &Batch) -> Vec<Request> {
        let of = |(target, versions): (&Target, &Versions)| match target {
            Target::Object(key) => common.urls.all(key, versions).into_iter().map(Value::from).collect(),
            Target::Tag(tag) => vec![json!(&**tag)],
            Target::Everything => self.cpcode.iter().map(|code| json!(code)).collect(),
            Target::Below(_) => Vec::new(),
        };
        let objects: Vec<Value> = batch.items().flat_map(of).collect();
        let by = match batch.class {
            Class::Urls | Class::Prefixes => "url",
            Class::Tags => "tag",
            Class::Everything => "cpcode",
        };
        let action = if self.delete { "delete" } else { "invalidate" };
        let network = match self.network {
            Network::Production => "production",
            Network::Staging => "staging",
        };
        let request = |objects: &[Value]| Request {
            method: "POST",
            url: format!("{}/ccu/v3/{action}/{by}/{network}", self.api.as_deref().unwrap_or_default()),
            headers: vec![("content-type", "application/json".to_owned())],
            body: json!({ "objects": objects }).to_string(),
        };
        objects.chunks(BATCH).map(request).collect()
    }
}

/// The request with its signature, which is good for half a minute.
pub(super) fn signed(mut request: Request, secret: &Secret, stamp: Stamp) -> Result<Request, String> {
    let keys = edgegrid::keys(secret.expose())?;
    if request.url.starts_with('/') {
        let host = keys.get("host").map_err(|why| format!("{why}, and there is no api"))?;
        let host = host.trim_start_matches("https://").trim_end_matches('/');
        request.url = format!("https://{host}{}", request.url);
    }
    let value = edgegrid::authorization(&keys, &request.url, &request.body, edgegrid::BODY, stamp)?;
    request.headers.push(("authorization", value));
    Ok(request)
}

pub(super) fn verdict(response: &Response) -> Verdict {
    let body = serde_json::from_str::<Value>(&response.body).unwrap_or_default();
    let accepted = body["httpStatus"].as_u64() == Some(201);
    // Bad tokens and a wrong clock are 400, as is a URL that makes no sense; the type of the problem tells which.
    let authentication = body["type"].as_str().is_some_and(|kind| kind.contains("/pep-authn/"));
    match response.status {
        201 if accepted => Verdict::Done,
        200..300 => Verdict::Failed(said(response)),
        400 if authentication => Verdict::Refused(detail(response, &body)),
        // 507: its own queue is full.
        429 | 507 => Verdict::Busy(Some(response.retry_after.unwrap_or(WAIT)), detail(response, &body)),
        // What the client may not purge is a matter of its rights for a host, not of one URL.
        401 | 403 => Verdict::Refused(detail(response, &body)),
        _ => by_status(response),
    }
}

/// What a problem says for people (RFC 9457), without addresses of ours.
fn detail(response: &Response, body: &Value) -> String {
    match (body["title"].as_str(), body["detail"].as_str()) {
        (None, None) => said(response),
        (title, detail) => {
            let text = [title, detail].into_iter().flatten().collect::<Vec<_>>().join(": ");
            said(&Response { body: text, ..response.clone() })
        }
    }
}
