//! `originfs doctor` through a CDN that misbehaves in one way after the other.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::harness::{Bucket, fresh_dir, run};

/// What an edge does wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Nothing,
    Stale,
    /// Under the URL of the version alone.
    StaleVersion,
    NoHeaders,
    /// Without the policy for what acts in browsers.
    NoPolicy,
    /// Pages of other hosts may not use fonts.
    NoCors,
    OtherType,
    Cookie,
    ShowsPrivate,
    Lists,
    /// A page for whatever is not there.
    Answers,
    TakesWrites,
    Refuses,
}

/// Before a bucket that everybody may read; hides what is private, as it should.
struct Edge {
    address: String,
    fault: Arc<Mutex<Fault>>,
}

impl Edge {
    fn before(origin: &str, writes: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let fault = Arc::new(Mutex::new(Fault::Nothing));
        let (current, origin, writes) = (Arc::clone(&fault), origin.to_owned(), Arc::new(writes));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (fault, origin, writes) = (*current.lock().unwrap(), origin.clone(), Arc::clone(&writes));
                thread::spawn(move || serve(&client, &origin, fault, &*writes));
            }
        });
        Self { address, fault }
    }

    fn be(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

/// One request, then the end: whoever asks again connects again.
fn serve(client: &TcpStream, origin: &str, fault: Fault, writes: &impl Fn(&str)) {
    let mut from = BufReader::new(client.try_clone().unwrap());
    let (mut line, mut len, mut page) = (String::new(), 0, false);
    from.read_line(&mut line).unwrap_or_default();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    loop {
        let mut header = String::new();
        if from.read_line(&mut header).unwrap_or_default() < 3 {
            break;
        }
        if let Some(text) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            len = text.trim().parse().unwrap_or(0);
        }
        page |= header.to_ascii_lowercase().starts_with("origin:");
    }
    let mut body = vec![0; len];
    from.read_exact(&mut body).unwrap_or_default();
    let (status, mut headers, body) = answer(method, target, origin, fault, writes);
    if page && fault != Fault::NoCors {
        headers.push_str("access-control-allow-origin: *\r\n");
    }
    let head =
        format!("HTTP/1.1 {status} Said\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    { client }.write_all(&[head.as_bytes(), &body].concat()).unwrap_or_default();
}

fn answer(method: &str, target: &str, origin: &str, fault: Fault, writes: &impl Fn(&str)) -> (u16, String, Vec<u8>) {
    let none = |status| (status, String::new(), Vec::new());
    if method == "PUT" {
        if fault == Fault::TakesWrites {
            writes(target.trim_start_matches('/'));
            return none(200);
        }
        return none(405);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if path.ends_with('/') || query.contains("list") {
        let listing = b"<?xml version=\"1.0\"?><ListBucketResult></ListBucketResult>".to_vec();
        return if fault == Fault::Lists { (200, String::new(), listing) } else { none(404) };
    }
    if target.contains("/.") && fault != Fault::ShowsPrivate {
        return none(404);
    }
    if fault == Fault::Refuses {
        return none(403);
    }
    let (mut status, mut headers, mut body) = fetch(&format!("{origin}{path}"));
    match fault {
        Fault::Answers if status == 404 => (status, body) = (200, b"welcome".to_vec()),
        Fault::StaleVersion if query.starts_with("v=") => body = b"what was there before".to_vec(),
        Fault::Stale => body = b"what was there before".to_vec(),
        Fault::OtherType => headers = headers.replace("content-type: image/png", "content-type: text/html"),
        Fault::Cookie => headers.push_str("set-cookie: session=1\r\n"),
        _ => {}
    }
    if fault != Fault::NoHeaders {
        headers.push_str("x-content-type-options: nosniff\r\n");
    }
    if path.ends_with("/z.svg") && fault != Fault::NoPolicy {
        headers.push_str("content-security-policy: default-src 'none'; sandbox\r\n");
    }
    (status, headers, body)
}

fn fetch(url: &str) -> (u16, String, Vec<u8>) {
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut server = TcpStream::connect(host).unwrap();
    write!(server, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut raw = Vec::new();
    server.read_to_end(&mut raw).unwrap();
    let end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&raw[..end]).to_ascii_lowercase();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let kept = lines.filter(|line| line.starts_with("content-type:") || line.starts_with("cache-control:"));
    let headers = kept.map(|line| format!("{line}\r\n")).collect::<Vec<_>>().concat();
    (status, headers, raw.split_off(end + 4))
}

#[test]
fn doctor_finds_what_a_cdn_does_wrong() {
    let Some(bucket) = Bucket::public_part() else { return };
    let bucket = Arc::new(Mutex::new(bucket));
    let origin = bucket.lock().unwrap().url();
    let (taking, written) = (Arc::clone(&bucket), Arc::new(Mutex::new(Vec::new())));
    let noting = Arc::clone(&written);
    let edge = Edge::before(&origin, move |key| {
        taking.lock().unwrap().put(key, b"anybody's");
        noting.lock().unwrap().push(key.to_owned());
    });
    let mount = bucket.lock().unwrap().mount_with(&format!("cdn_url={}/{{path}}", edge.address));
    for name in ["a.png", "b.png", "c.png", "d.png", "y.woff2", "z.svg"] {
        mount.write(name, name);
    }
    mount.write(".env", "secret");
    let root = fresh_dir();
    fs::create_dir_all(root.join("proc/self")).unwrap();
    fs::write(root.join("proc/self/mountinfo"), fs::read_to_string("/proc/self/mountinfo").unwrap()).unwrap();
    let of = |check: &str| {
        let dir = mount.dir().to_str().unwrap();
        let program = env!("CARGO_BIN_EXE_originfs");
        let (_, said) = run([program, "doctor", "--json", "--root", root.to_str().unwrap(), dir]);
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|err| panic!("{err}: {said}"));
        let all = report["findings"].as_array().unwrap().clone();
        let found = all.into_iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("no {check} in {said}"))
    };
    for (fault, check, verdict, part) in [
        (Fault::Nothing, "cdn-reach", "ok", "answers"),
        (Fault::Nothing, "cdn-stale", "ok", "3 files"),
        (Fault::Nothing, "cdn-headers", "ok", "3 files"),
        (Fault::Nothing, "cdn-private", "ok", "2 files"),
        (Fault::Nothing, "cdn-absent", "ok", ""),
        (Fault::Nothing, "cdn-listing", "ok", ""),
        (Fault::Nothing, "cdn-write", "ok", ""),
        (Fault::Stale, "cdn-stale", "failure", "a.png"),
        (Fault::StaleVersion, "cdn-stale", "failure", "a.png?v="),
        (Fault::NoHeaders, "cdn-headers", "warning", "nosniff"),
        (Fault::NoPolicy, "cdn-headers", "warning", "z.svg: no Content-Security-Policy"),
        (Fault::NoCors, "cdn-headers", "warning", "may not use the font"),
        (Fault::OtherType, "cdn-headers", "warning", "image/png"),
        (Fault::Cookie, "cdn-headers", "warning", "a cookie"),
        (Fault::ShowsPrivate, "cdn-private", "failure", "/.env"),
        (Fault::Answers, "cdn-absent", "failure", "there is no such file"),
        (Fault::Lists, "cdn-listing", "failure", "lists the bucket"),
        (Fault::TakesWrites, "cdn-write", "failure", "everybody may write"),
        (Fault::Refuses, "cdn-reach", "failure", "answers 403"),
    ] {
        edge.be(fault);
        let found = of(check);
        assert_eq!(found["verdict"], verdict, "{fault:?}: {found}");
        assert!(found.to_string().contains(part), "{fault:?}: {part} is not in {found}");
    }
    let (bucket, written) = (bucket.lock().unwrap(), written.lock().unwrap());
    assert!(!written.is_empty());
    for key in written.iter() {
        assert!(key.starts_with(".originfs/") && bucket.see(key).is_none(), "{key} is left");
    }
    assert_eq!(bucket.keys(), [".env", "a.png", "b.png", "c.png", "d.png", "y.woff2", "z.svg"]);
}
