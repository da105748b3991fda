//! `/_admin/`: breaks the server and tells what it was asked. Only for the loopback interface, without a signature.
//!
//! - `GET /_admin/log`: `{"counts": {"GetObject": 3, ..}, "requests": [{"number", "op", "bucket", "key", "status"}]}`
//! - `GET /_admin/counts`: the first of them alone, for who asks often.
//! - `DELETE /_admin/log`: forgets both.
//! - `POST /_admin/faults`: adds a rule, `{"op"?, "bucket"?, "prefix"?, "skip"?, "times"?, "every"?, "action"}`.
//!   Actions: `{"latency": ms}`, `{"fail": {"status": 503, "side": "before"}}`, `{"drop": "after"}`,
//!   `{"blackhole": "before"}`, `"freeze"`, `{"cut": bytes}`, `{"lie": "stale"}` (or `"lost"`, `"mixed"`). Without
//!   `times` it lasts.
//! - `GET /_admin/faults`: the rules. `DELETE /_admin/faults`: removes them, what is frozen goes on.

use std::{net::SocketAddr, pin::Pin};

use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
};
use s3s::Body;
use serde::Serialize;

use crate::faults::{Faults, Rule};

/// No bucket can be named so.
const PATH: &str = "/_admin/";
/// Bytes of a rule; the longest key and all words fit several times.
const RULE_MAX: usize = 16 << 10;

pub(crate) fn is_for(req: &Request<Incoming>) -> bool {
    req.uri().path().starts_with(PATH)
}

pub(crate) async fn answer(faults: &Faults, peer: SocketAddr, req: Request<Incoming>) -> Response<Body> {
    if !peer.ip().is_loopback() {
        return reply(StatusCode::FORBIDDEN, &"only from this machine");
    }
    let what = req.uri().path().trim_start_matches(PATH).to_owned();
    match (req.method().clone(), &*what) {
        (Method::GET, "log") => reply(StatusCode::OK, &faults.log()),
        (Method::GET, "counts") => reply(StatusCode::OK, &faults.counts()),
        (Method::DELETE, "log") => {
            faults.clear_log();
            reply(StatusCode::OK, &"cleared")
        }
        (Method::GET, "faults") => reply(StatusCode::OK, &faults.rules()),
        (Method::DELETE, "faults") => {
            faults.clear();
            reply(StatusCode::OK, &"cleared")
        }
        (Method::POST, "faults") => match read(req.into_body()).await.and_then(|body| parse(&body)) {
            Ok(rule) => {
                faults.add(rule);
                reply(StatusCode::OK, &"added")
            }
            Err(reason) => reply(StatusCode::BAD_REQUEST, &reason),
        },
        _ => reply(StatusCode::NOT_FOUND, &"no such thing here"),
    }
}

fn parse(body: &[u8]) -> Result<Rule, String> {
    serde_json::from_slice(body).map_err(|err| err.to_string())
}

async fn read(mut body: Incoming) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|err| err.to_string())?;
        all.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if all.len() > RULE_MAX {
            return Err("the rule is too long".to_owned());
        }
    }
    Ok(all)
}

fn reply(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let json = serde_json::to_string(value).expect("our own types have a JSON form");
    let mut response = Response::new(Body::from(json + "\n"));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}
