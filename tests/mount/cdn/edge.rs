//! A cache before a bucket that everybody may read, which forgets nothing by itself unless it has habits: a stale answer
//! stays stale until it is purged. With the interfaces of several vendors, held to what these publish.

mod cloudflare;
mod kept;

use std::{
    collections::{HashMap, HashSet},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

pub(super) use cloudflare::TagRule;
pub(super) use kept::{Habits, Variant};
use kept::{Kept, Look};
use originfs::{cdn::url::Token, clock, model::version::ETag};

use super::{keyed, signed};
use crate::harness::eventually;

/// Zone and token of the API.
pub(super) const ZONE: &str = "0123456789abcdef0123456789abcdef";
pub(super) const TOKEN: &str = "a-token-that-is-secret";
/// Requests by prefix, tag and the like at once, and in a second: less than any plan, so that tests meet the limit.
const BURST: f64 = 4.0;
const RATE: f64 = 4.0;
/// The same of URLs, in requests of some.
const URLS: f64 = 200.0;
/// Items are remembered of a vendor's calls.
const LOG_MAX: usize = 10_000;

/// An answer, as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: String,
    pub(super) body: Vec<u8>,
    /// Of an object: `x-amz-meta-cache-tag` as the bucket sends it.
    pub(super) tags: String,
}

impl Answer {
    /// The version in the URL of what it has, if it has something.
    pub(super) fn token(&self) -> Option<Token> {
        (!self.etag.is_empty()).then(|| Token::of_etag(&ETag::new(&self.etag)))
    }
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
    /// 429, come back in a second.
    Busy,
    /// The connection breaks, and nothing is purged.
    Drops,
    /// No answer comes and nothing is purged, until it does something else.
    Hangs,
}

/// On a port of its own, until the test process ends.
#[derive(Clone, Debug)]
pub(super) struct Edge(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: String,
    /// `http://host:port/bucket`
    origin: String,
    habits: Habits,
    state: Mutex<State>,
    /// It broke in another way.
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    kept: Kept,
    broken: Option<Broken>,
    tokens: Option<(f64, Instant)>,
    urls: Option<(f64, Instant)>,
    /// The rule by which headers of the bucket become tags; without one nothing has any.
    tag_rule: Option<TagRule>,
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
        Self::with(origin, Habits::default())
    }

    pub(super) fn with(origin: &str, habits: Habits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (origin, state, changed) = (origin.to_owned(), Mutex::default(), Condvar::new());
        let edge = Self(Arc::new(Shared { address, origin, habits, state, changed }));
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
        self.0.changed.notify_all();
    }

    /// From now on what it fetches has tags.
    pub(super) fn tag_by(&self, rule: TagRule) {
        self.state().tag_rule = Some(rule);
    }

    /// All that it would show without asking the bucket, when no fetch is under way any more.
    pub(super) fn kept(&self) -> Vec<(Variant, Answer)> {
        eventually("its fetches end", || self.state().kept.is_quiet());
        self.state().kept.all()
    }

    /// The calls of its interfaces since the last time.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    /// What a visitor gets by a scheme, from a page of `origin`, and for how long the edge has had it; `None`: the bucket
    /// was asked for it.
    pub(super) fn look(&self, scheme: &'static str, target: &str, origin: &str) -> (Answer, Option<Duration>) {
        let variant = Variant { scheme, target: target.to_owned(), origin: origin.to_owned() };
        let now = clock::now();
        let mut state = self.state();
        let look = state.kept.look(&variant, now);
        let age = state.kept.since(&variant).map(|since| now.saturating_duration_since(since));
        drop(state);
        match look {
            Look::Shown(answer) => (answer, age),
            Look::Ask(Some(answer)) => {
                let edge = self.clone();
                thread::spawn(move || edge.fetch(variant));
                (answer, age)
            }
            Look::Ask(None) => (self.fetch(variant), None),
        }
    }

    /// What the bucket has at a path now.
    pub(super) fn behind(&self, path: &str) -> Answer {
        fetch(&format!("{}{path}", self.0.origin)).unwrap()
    }

    /// Asks the bucket. What it said may be old already when it is kept.
    fn fetch(&self, variant: Variant) -> Answer {
        let begun = clock::now();
        let answer = self.behind(variant.target.split('?').next().unwrap_or_default());
        let lag = self.state().kept.lag(&self.0.habits);
        let (edge, kept) = (self.clone(), answer.clone());
        let keep = move || edge.state().kept.put(variant, &kept, begun, clock::now(), &edge.0.habits);
        if lag.is_zero() {
            keep();
        } else {
            thread::spawn(move || {
                thread::sleep(lag);
                keep();
            });
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
            let is_call = !matches!(&*asked.method, "GET" | "HEAD") || keyed::is_call(&asked);
            match broken.filter(|_| is_call) {
                Some(Broken::Drops) => return Ok(()),
                Some(Broken::Hangs) => {
                    let same = |state: &mut State| state.broken == Some(Broken::Hangs);
                    drop(self.0.changed.wait_while(self.state(), same).unwrap());
                    return Ok(());
                }
                _ => {}
            }
            let (status, head, body) = match (broken, asked.method.as_str()) {
                (_, "GET" | "HEAD") if !is_call => {
                    let origin = asked.headers.get("origin").cloned().unwrap_or_default();
                    let (answer, age) = self.look("http", &asked.target, &origin);
                    let age = age.map_or_else(String::new, |age| format!("age: {}\r\n", age.as_secs()));
                    let body = if asked.method == "HEAD" { Vec::new() } else { answer.body };
                    (answer.status, format!("etag: {}\r\n{age}", answer.etag), body)
                }
                (Some(Broken::Fails), _) => (500, String::new(), b"try again".to_vec()),
                (Some(Broken::Busy), _) => (429, "retry-after: 1\r\n".to_owned(), b"slower".to_vec()),
                (Some(Broken::Forbids), _) => (403, String::new(), b"{\"success\":false}".to_vec()),
                (_, "PURGE") => self.purge(&asked),
                (_, "POST") if asked.target.starts_with("/2020-05-31/") => {
                    signed::cloudfront(&asked, &mut self.state())
                }
                (_, "POST") if asked.target.starts_with("/ccu/") => {
                    signed::akamai(&asked, &mut self.state(), &self.0.address)
                }
                _ if keyed::is_call(&asked) => keyed::answer(&asked, &mut self.state(), &self.0.address),
                (_, "POST") => cloudflare::purge(&asked, &mut self.state(), &self.0.address),
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
        let gone = match asked.target.strip_suffix('*') {
            Some(start) => state.kept.forget(|variant| variant.target.starts_with(start)),
            None => state.kept.forget(|variant| variant.target == asked.target),
        };
        state.note(format!("PURGE {}", asked.target));
        (if gone { 200 } else { 412 }, String::new(), Vec::new())
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
        take(&mut self.tokens, 1.0, BURST, RATE)
    }

    /// Takes as many of those for URLs.
    fn may_urls(&mut self, count: usize) -> bool {
        take(&mut self.urls, f64::from(u32::try_from(count).unwrap()), URLS, URLS)
    }

    /// All variants of what has one of these paths, with their queries.
    pub(super) fn forget(&mut self, gone: impl Fn(&str) -> bool) {
        self.kept.forget(|variant| gone(&variant.target));
    }
}

fn take(bucket: &mut Option<(f64, Instant)>, count: f64, burst: f64, rate: f64) -> bool {
    let now = clock::now();
    let (left, at) = bucket.unwrap_or((burst, now));
    let left = (left + (now - at).as_secs_f64() * rate).min(burst);
    let enough = left >= count;
    *bucket = Some((if enough { left - count } else { left }, now));
    enough
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
    let header = |wanted: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        let found = lines
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim().to_owned())
            .next();
        found.filter(|_| status == 200).unwrap_or_default()
    };
    let (etag, tags) = (header("etag"), header("x-amz-meta-cache-tag"));
    Ok(Answer { status, etag, body: if status == 200 { raw.split_off(end + 4) } else { Vec::new() }, tags })
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
