//! A cache before a bucket that everybody may read, which forgets nothing by itself: a stale answer stays stale until it
//! is purged. With the interfaces of several vendors, held to what these publish.

use std::{
    collections::{HashMap, HashSet},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::signed;

/// Zone and token of the API.
pub(super) const ZONE: &str = "0123456789abcdef0123456789abcdef";
pub(super) const TOKEN: &str = "a-token-that-is-secret";
/// Items in a request, as on most plans.
const BATCH: usize = 30;
/// Requests by prefix at once, and in a second: less than any plan, so that tests meet the limit.
const BURST: f64 = 4.0;
const RATE: f64 = 4.0;
/// Items are remembered of a vendor's calls.
const LOG_MAX: usize = 10_000;

/// An answer, as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// What a vendor does instead of working.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Broken {
    /// 500, and nothing is purged.
    Fails,
    /// It purges, and the answer is lost.
    Mute,
    /// 403.
    Forbids,
}

/// On a port of its own, until the test process ends.
#[derive(Clone, Debug)]
pub(super) struct Edge(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: String,
    /// `http://host:port/bucket`
    origin: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// By host, path with its query, and `Origin`: what Cloudflare's default key is made of.
    kept: HashMap<(String, String), Answer>,
    broken: Option<Broken>,
    tokens: Option<(f64, Instant)>,
    calls: Vec<String>,
    /// Of invalidations: what was in them.
    pub(super) references: HashMap<String, Vec<String>>,
    pub(super) nonces: HashSet<String>,
}

/// A request as it came.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Edge {
    pub(super) fn before(origin: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let edge = Self(Arc::new(Shared { address, origin: origin.to_owned(), state: Mutex::default() }));
        let accepting = edge.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let edge = accepting.clone();
                // A connection that breaks ends its thread and nothing else.
                thread::spawn(move || edge.serve(&client).unwrap_or_default());
            }
        });
        edge
    }

    pub(super) fn address(&self) -> &str {
        &self.0.address
    }

    pub(super) fn break_it(&self, broken: Option<Broken>) {
        self.state().broken = broken;
    }

    /// The calls of its interfaces since the last time.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    /// What a visitor gets, from a page of `origin`.
    pub(super) fn get(&self, target: &str, origin: &str) -> Answer {
        let key = (target.to_owned(), origin.to_owned());
        if let Some(kept) = self.state().kept.get(&key) {
            return kept.clone();
        }
        let path = target.split('?').next().unwrap_or_default();
        let answer = fetch(&format!("{}{path}", self.0.origin)).unwrap();
        // 404 is kept, too: vendors do that for minutes.
        if matches!(answer.status, 200 | 404) {
            self.state().kept.insert(key, answer.clone());
        }
        answer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut from = BufReader::new(client.try_clone()?);
        while let Some(asked) = read(&mut from)? {
            let broken = self.state().broken;
            let (status, head, body) = match (broken, asked.method.as_str()) {
                (_, "GET" | "HEAD") => {
                    let origin = asked.headers.get("origin").cloned().unwrap_or_default();
                    let answer = self.get(&asked.target, &origin);
                    let body = if asked.method == "HEAD" { Vec::new() } else { answer.body };
                    (answer.status, String::new(), body)
                }
                (Some(Broken::Fails), _) => (500, String::new(), b"try again".to_vec()),
                (Some(Broken::Forbids), _) => (403, String::new(), b"{\"success\":false}".to_vec()),
                (_, "PURGE") => self.purge(&asked),
                (_, "POST") if asked.target.starts_with("/2020-05-31/") => {
                    signed::cloudfront(&asked, &mut self.state())
                }
                (_, "POST") if asked.target.starts_with("/ccu/") => {
                    signed::akamai(&asked, &mut self.state(), &self.0.address)
                }
                (_, "POST") => self.api(&asked),
                _ => (405, String::new(), Vec::new()),
            };
            if broken == Some(Broken::Mute) {
                return Ok(());
            }
            let len = body.len();
            let head = format!("HTTP/1.1 {status} Said\r\n{head}content-length: {len}\r\n\r\n");
            (&*client).write_all(&[head.as_bytes(), &body].concat())?;
        }
        Ok(())
    }

    /// As `ngx_cache_purge`: a path with what varies, or all below one with a star; 412 for what was not kept.
    fn purge(&self, asked: &Asked) -> (u16, String, Vec<u8>) {
        let mut state = self.state();
        let before = state.kept.len();
        match asked.target.strip_suffix('*') {
            Some(start) => state.kept.retain(|(target, _), _| !target.starts_with(start)),
            None => state.kept.retain(|(target, _), _| *target != asked.target),
        }
        let gone = before > state.kept.len();
        state.note(format!("PURGE {}", asked.target));
        (if gone { 200 } else { 412 }, String::new(), Vec::new())
    }

    /// `POST /zones/{zone}/purge_cache`
    fn api(&self, asked: &Asked) -> (u16, String, Vec<u8>) {
        let no = |status, why: &str| {
            let body = format!(r#"{{"success":false,"errors":[{{"code":1,"message":"{why}"}}]}}"#);
            (status, String::new(), body.into_bytes())
        };
        if asked.target != format!("/zones/{ZONE}/purge_cache") {
            return no(404, "no such zone");
        }
        if asked.headers.get("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return no(403, "authentication error");
        }
        let Ok(Value::Object(body)) = serde_json::from_slice(&asked.body) else { return no(400, "not JSON") };
        let mut fields = body.iter();
        let (Some((field, Value::Array(items))), None) = (fields.next(), fields.next()) else {
            return no(400, "exactly one list");
        };
        if items.is_empty() || items.len() > BATCH {
            return no(400, "1014: 1 to 30 items");
        }
        let mut state = self.state();
        if field == "prefixes" && !state.may() {
            let (_, _, body) = no(429, "rate limit");
            return (429, "retry-after: 1\r\n".to_owned(), body);
        }
        for item in items {
            let done = match field.as_str() {
                "files" => state.forget_file(&self.0.address, item),
                "prefixes" => state.forget_below(&self.0.address, item),
                _ => false,
            };
            if !done {
                return no(400, "an item makes no sense");
            }
        }
        state.note(format!("{field} {}", items.len()));
        (200, String::new(), br#"{"success":true,"errors":[],"messages":[],"result":{"id":"1"}}"#.to_vec())
    }
}

impl State {
    pub(super) fn note(&mut self, call: String) {
        if self.calls.len() < LOG_MAX {
            self.calls.push(call);
        }
    }

    /// Takes a token.
    pub(super) fn may(&mut self) -> bool {
        let now = originfs::clock::now();
        let (left, at) = self.tokens.unwrap_or((BURST, now));
        let left = (left + (now - at).as_secs_f64() * RATE).min(BURST);
        self.tokens = Some((if left >= 1.0 { left - 1.0 } else { left }, now));
        left >= 1.0
    }

    /// All variants of what has one of these paths, with their queries.
    pub(super) fn forget(&mut self, gone: impl Fn(&str) -> bool) {
        self.kept.retain(|(target, _), _| !gone(target));
    }

    /// One URL, as it is, with one `Origin` or none: other variants stay.
    fn forget_file(&mut self, base: &str, item: &Value) -> bool {
        let (url, origin) = match item {
            Value::String(url) => (url.as_str(), ""),
            Value::Object(item) => match (&item["url"], &item["headers"]["Origin"]) {
                (Value::String(url), Value::String(origin)) => (url.as_str(), origin.as_str()),
                _ => return false,
            },
            _ => return false,
        };
        let Some(target) = url.strip_prefix(base) else { return false };
        self.kept.remove(&(target.to_owned(), origin.to_owned()));
        true
    }

    /// Host and path, without a scheme.
    fn forget_below(&mut self, base: &str, item: &Value) -> bool {
        let host = base.trim_start_matches("http://");
        let Some(start) = item.as_str().and_then(|item| item.strip_prefix(host)) else { return false };
        self.kept.retain(|(target, _), _| !target.starts_with(start));
        true
    }
}

pub(super) fn fetch(url: &str) -> io::Result<Answer> {
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut server = TcpStream::connect(host)?;
    server.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(server, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut raw = Vec::new();
    server.read_to_end(&mut raw)?;
    let end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Answer { status, body: if status == 200 { raw.split_off(end + 4) } else { Vec::new() } })
}

pub(super) fn read(from: &mut BufReader<TcpStream>) -> io::Result<Option<Asked>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let len = headers.get("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
    let mut body = vec![0; len];
    from.read_exact(&mut body)?;
    Ok(Some(Asked { method, target, headers, body }))
}
