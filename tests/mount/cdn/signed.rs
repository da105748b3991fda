//! The interfaces of vendors that want each request signed, held to what these publish: `CloudFront` and Akamai.

use std::fmt::Write as _;

use originfs::{
    cdn::purge::vendor::sign::{Stamp, edgegrid, sigv4},
    clock,
};
use serde_json::Value;

use super::edge::{Asked, State};

/// The distribution.
pub(super) const DISTRIBUTION: &str = "E2QWRUHAPOMQZL";
/// The key id and the secret are the vendor's, from its documentation.
pub(super) const AWS: &str = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\naws_session_token = of-a-role\n";
pub(super) const EDGERC: &str = "[default]\nhost = nowhere.invalid\nclient_token = akab-client\nclient_secret = c2VjcmV0=\naccess_token = akab-access\n";

/// Seconds that a signature is good for.
const GOOD: i64 = 30;

type Said = (u16, String, Vec<u8>);

fn said(status: u16, body: &str) -> Said {
    (status, String::new(), body.as_bytes().to_vec())
}

fn header<'a>(asked: &'a Asked, name: &str) -> &'a str {
    asked.headers.get(name).map_or("", String::as_str)
}

/// Whether it is signed as `sign` signs, at one of the last seconds.
fn is_recent(sign: impl Fn(i64) -> bool) -> bool {
    let now = clock::wall().sec;
    (now - GOOD..=now + 1).rev().any(sign)
}

/// `POST /2020-05-31/distribution/{id}/invalidation`
pub(super) fn cloudfront(asked: &Asked, state: &mut State) -> Said {
    let error =
        |status, code| said(status, &format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"));
    if asked.target != format!("/2020-05-31/distribution/{DISTRIBUTION}/invalidation") {
        return error(404, "NoSuchDistribution");
    }
    if !is_recent(|seconds| is_signed_by_aws(asked, seconds)) {
        return error(403, "SignatureDoesNotMatch");
    }
    let Some((items, reference)) = invalidation(&asked.body) else { return error(400, "MalformedXML") };
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"<>{}|\\^[]`*".contains(&b);
    let fine = |item: &String| item.starts_with('/') && item.trim_end_matches('*').bytes().all(plain);
    if !items.iter().all(fine) {
        return error(400, "InvalidArgument");
    }
    match state.references.get(&reference) {
        Some(known) if *known == items => return said(201, "<Invalidation/>"),
        Some(_) => return error(400, "InvalidationBatchAlreadyExists"),
        None => {}
    }
    if !state.may() {
        return error(400, "Throttling");
    }
    let mut call = "invalidation".to_owned();
    for item in &items {
        write!(call, " {item}").unwrap();
        match item.strip_suffix('*') {
            Some(start) => state.forget(|target| target.starts_with(start)),
            None => state.forget(|target| target == item),
        }
    }
    state.note(call);
    state.references.insert(reference, items);
    said(201, "<Invalidation/>")
}

/// Paths of a body, and its reference.
fn invalidation(body: &[u8]) -> Option<(Vec<String>, String)> {
    let body = std::str::from_utf8(body).ok()?;
    let rest = body.strip_prefix(r#"<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">"#)?;
    let (paths, reference) =
        rest.strip_suffix("</CallerReference></InvalidationBatch>")?.split_once("<CallerReference>")?;
    let (quantity, paths) = paths.strip_prefix("<Paths><Quantity>")?.split_once("</Quantity><Items><Path>")?;
    let paths = paths.strip_suffix("</Path></Items></Paths>")?;
    let items: Vec<String> = paths.split("</Path><Path>").map(|path| path.replace("&#38;", "&")).collect();
    (quantity == items.len().to_string() && !reference.is_empty()).then(|| (items, reference.to_owned()))
}

fn is_signed_by_aws(asked: &Asked, seconds: i64) -> bool {
    let keys = sigv4::keys(AWS).unwrap();
    let headers = ["content-type", "host"].map(|name| (name, header(asked, name).to_owned()));
    let body = std::str::from_utf8(&asked.body).unwrap_or_default();
    let content = sigv4::Content { method: &asked.method, path: &asked.target, headers: &headers, body };
    let signer = sigv4::Signer { keys: &keys, region: "us-east-1", service: "cloudfront" };
    let expect = signer.headers(content, Stamp { seconds, nonce: 0 }).unwrap();
    expect.iter().all(|(name, value)| header(asked, name) == value)
}

/// `POST /ccu/v3/invalidate/url/production`
pub(super) fn akamai(asked: &Asked, state: &mut State, address: &str) -> Said {
    let problem = |status: u16, title: &str| said(status, &format!(r#"{{"httpStatus":{status},"title":"{title}"}}"#));
    let value = header(asked, "authorization");
    let nonce = value.split(';').find_map(|part| part.strip_prefix("nonce=")).unwrap_or_default().replace('-', "");
    let keys = edgegrid::keys(EDGERC).unwrap();
    let body = std::str::from_utf8(&asked.body).unwrap_or_default();
    let url = format!("{address}{}", asked.target);
    let signed = |seconds| {
        let stamp = Stamp { seconds, nonce: u128::from_str_radix(&nonce, 16).unwrap_or_default() };
        edgegrid::authorization(&keys, &url, body, 131_072, stamp).unwrap() == value
    };
    if !is_recent(signed) || !state.nonces.insert(nonce.clone()) {
        return problem(401, "Not authorized");
    }
    if asked.target != "/ccu/v3/invalidate/url/production" {
        return problem(404, "Not found");
    }
    if body.len() > 50_000 {
        return problem(413, "Request entity too large");
    }
    let objects = serde_json::from_str::<Value>(body).unwrap_or_default()["objects"].clone();
    let urls: Option<Vec<&str>> = objects.as_array().and_then(|all| all.iter().map(Value::as_str).collect());
    let targets =
        urls.and_then(|urls| urls.into_iter().map(|url| url.strip_prefix(address)).collect::<Option<Vec<_>>>());
    let Some(targets) = targets.filter(|targets| !targets.is_empty()) else { return problem(403, "unauthorized arl") };
    if !state.may() {
        return problem(429, "URL Rate Limit exceeded");
    }
    for target in &targets {
        state.forget(|kept| kept == *target);
    }
    state.note(format!("url {}", targets.len()));
    problem(201, "")
}
