//! The interfaces of vendors that want a key with each request, held to what these publish: DigitalOcean Spaces, bunny.net,
//! Fastly and `KeyCDN`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::edge::{Asked, State, TOKEN};

/// The endpoint of DigitalOcean.
pub(super) const ENDPOINT: &str = "19f06b6a-3ace-4315-b086-499a0e521b76";
/// The pull zone of bunny.net, and the zone of `KeyCDN`.
pub(super) const NUMBER: &str = "12345";
/// The service of Fastly.
pub(super) const SERVICE: &str = "SU1Z0isxPaozGVKXdv0eY";

type Said = (u16, String, Vec<u8>);

fn said(status: u16, body: &str) -> Said {
    (status, String::new(), body.as_bytes().to_vec())
}

fn busy(body: &str) -> Said {
    (429, "retry-after: 1\r\n".to_owned(), body.as_bytes().to_vec())
}

fn header<'a>(asked: &'a Asked, name: &str) -> &'a str {
    asked.headers.get(name).map_or("", String::as_str)
}

/// Whether it is for one of these, and not for the edge.
pub(super) fn is_call(asked: &Asked) -> bool {
    let own = ["/v2/cdn/", "/purge?", "/purge/", "/pullzone/", "/service/", "/zones/purge"];
    own.iter().any(|start| asked.target.starts_with(start))
}

pub(super) fn answer(asked: &Asked, state: &mut State, address: &str) -> Said {
    match asked.target.split('/').nth(1).unwrap_or_default() {
        "v2" => digitalocean(asked, state),
        "zones" => keycdn(asked, state, address),
        "service" | "purge" => fastly(asked, state, address),
        _ => bunny(asked, state, address),
    }
}

/// The one list of a body.
fn list(asked: &Asked, field: &str) -> Option<Vec<String>> {
    let body: serde_json::Map<String, Value> = serde_json::from_slice(&asked.body).ok()?;
    let all = body.get(field).filter(|_| body.len() == 1)?.as_array()?;
    let all: Option<Vec<String>> = all.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    all.filter(|all| !all.is_empty() && header(asked, "content-type") == "application/json")
}

/// `DELETE /v2/cdn/endpoints/{id}/cache`: paths without their slash, of which one may end in a star.
fn digitalocean(asked: &Asked, state: &mut State) -> Said {
    if header(asked, "authorization") != format!("Bearer {TOKEN}") {
        return said(401, r#"{"id":"Unauthorized","message":"Unable to authenticate you"}"#);
    }
    if (&*asked.method, &*asked.target) != ("DELETE", &format!("/v2/cdn/endpoints/{ENDPOINT}/cache")) {
        return said(404, r#"{"id":"not_found"}"#);
    }
    let fine = |files: &Vec<String>| files.len() <= 50 && files.iter().all(|file| !file.starts_with('/'));
    let Some(files) = list(asked, "files").filter(fine) else { return said(422, r#"{"id":"unprocessable_entity"}"#) };
    if !state.may() {
        return busy(r#"{"id":"too_many_requests"}"#);
    }
    for file in &files {
        match file.strip_suffix('*') {
            Some(start) => state.forget(|target| target.starts_with(&format!("/{start}"))),
            None => state.forget(|target| target == format!("/{file}")),
        }
    }
    state.note(format!("digitalocean {}", files.join(" ")));
    said(204, "")
}

/// `POST /purge?url=...`, one URL; with a star it is a prefix.
fn bunny(asked: &Asked, state: &mut State, address: &str) -> Said {
    if header(asked, "accesskey") != TOKEN {
        return said(401, "{}");
    }
    let query = asked.target.strip_prefix("/purge?url=").filter(|_| asked.method == "POST");
    let Some(url) = query.and_then(|query| query.split('&').next()) else { return said(404, "{}") };
    let url = percent_encoding::percent_decode_str(url).decode_utf8_lossy();
    let Some(path) = url.strip_prefix(address) else { return said(400, r#"{"ErrorKey":"url"}"#) };
    if !state.may() {
        return busy("{}");
    }
    match path.strip_suffix('*') {
        Some(start) => state.forget(|target| target.starts_with(start)),
        None => state.forget(|target| target == path),
    }
    state.note(format!("bunny {path}"));
    said(204, "")
}

/// `POST /purge/{host/path}` and `POST /service/{id}/purge_all`
fn fastly(asked: &Asked, state: &mut State, address: &str) -> Said {
    if header(asked, "fastly-key") != TOKEN {
        return said(401, r#"{"msg":"Provided credentials are missing or invalid"}"#);
    }
    let host = address.trim_start_matches("http://");
    let path = asked.target.strip_prefix("/purge/").and_then(|url| url.strip_prefix(host));
    let all = asked.target == format!("/service/{SERVICE}/purge_all");
    if asked.method != "POST" || (path.is_none() && !all) {
        return said(404, r#"{"msg":"Record not found"}"#);
    }
    if !state.may() {
        return busy(r#"{"msg":"Rate limit exceeded"}"#);
    }
    state.forget(|target| all || path == Some(target));
    state.note(format!("fastly {}", path.unwrap_or("everything")));
    said(200, r#"{"status":"ok","id":"108-1391560174-974124"}"#)
}

/// `DELETE /zones/purgeurl/{id}.json`, `GET /zones/purge/{id}.json`
fn keycdn(asked: &Asked, state: &mut State, address: &str) -> Said {
    if header(asked, "authorization") != format!("Basic {}", STANDARD.encode(format!("{TOKEN}:"))) {
        return said(401, r#"{"status":"error"}"#);
    }
    let host = address.trim_start_matches("http://");
    let all = (&*asked.method, &*asked.target) == ("GET", &format!("/zones/purge/{NUMBER}.json"));
    if !all && (&*asked.method, &*asked.target) != ("DELETE", &format!("/zones/purgeurl/{NUMBER}.json")) {
        return said(404, r#"{"status":"error"}"#);
    }
    let urls = if all { Some(Vec::new()) } else { list(asked, "urls") };
    let paths = urls
        .and_then(|urls| urls.iter().map(|url| url.strip_prefix(host).map(str::to_owned)).collect::<Option<Vec<_>>>());
    let Some(paths) = paths else { return said(400, r#"{"status":"error"}"#) };
    if !state.may() {
        return busy(r#"{"status":"error","error_message":"Rate limit exceeded"}"#);
    }
    state.forget(|target| all || paths.iter().any(|path| path == target));
    state.note(format!("keycdn {}", if all { "everything".to_owned() } else { paths.join(" ") }));
    said(200, r#"{"status":"success","description":"Cache has been cleared for URL(s)."}"#)
}
