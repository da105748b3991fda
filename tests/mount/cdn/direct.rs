//! The bucket itself as the public reads it, and purges by a program or a server of one's own.

use std::{
    fs,
    io::{self, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use super::{
    Site,
    edge::{Asked, TOKEN, fetch, read},
};
use crate::harness::{Bucket, Kind, eventually, fresh_dir, run, words_of};

#[test]
fn a_signed_url_lets_anybody_read_and_a_plain_one_does_not() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let url = |words: &[&str], name: &str| {
        let path = mount.path(name);
        let program = [env!("CARGO_BIN_EXE_originfs"), "url"];
        let (code, said) = run(program.iter().chain(words).copied().chain([path.to_str().unwrap()]));
        assert_eq!(code, 0, "{said}");
        said.trim().to_owned()
    };
    for name in ["a b+\u{e4}.txt", ".env"] {
        mount.write(name, name);
        let signed = fetch(&url(&["--signed", "5m"], name)).unwrap();
        assert_eq!((signed.status, signed.body), (200, name.as_bytes().to_vec()));
        let plain = url(&["--origin"], name);
        assert!(plain.starts_with(&bucket.server.endpoint) && !plain.contains('?'), "{plain}");
        if bucket.server.kind == Kind::Dev {
            assert_eq!(fetch(&plain).unwrap().status, 403);
        }
    }
}

/// Their headers are right already, or somebody else's, so nothing is copied for them.
#[test]
fn what_is_there_is_opened_and_closed_to_the_public() {
    let Some(bucket) = Bucket::alone() else { return };
    let mount = bucket.mount();
    for name in ["a.jpg", "b.jpg", ".env", "private.csv"] {
        mount.write(name, name);
    }
    bucket.put_with("theirs.bin", b"theirs", |put| {
        put.content_type("application/octet-stream").cache_control("max-age=7")
    });
    let seen = || {
        let status = |name| fetch(&format!("{}/{name}", bucket.url())).unwrap().status;
        ["a.jpg", "b.jpg", ".env", "private.csv", "theirs.bin"].map(status)
    };
    let apply = |words: &[&str], options: &str| {
        let words = [&["headers", "apply"], words].concat();
        let (code, said) = run(words_of(&bucket, &words, &fresh_dir(), options).iter().map(String::as_str));
        assert_eq!(code, 0, "{said}");
        said
    };
    bucket.server.admin("DELETE", "log", "");
    let open = "acl=public-read,private=*.csv";
    assert!(apply(&["--dry-run"], open).contains("3 would get the ACL, 1 keep others"));
    assert_eq!(seen(), [403; 5]);
    let said = apply(&[], open);
    assert!(said.contains("got the ACL: b.jpg: public-read\n") && said.contains("3 got the ACL"), "{said}");
    assert_eq!(seen(), [200, 200, 403, 403, 200]);
    assert!(!apply(&[], open).contains("ACL"), "a second run finds nothing to do");
    // `private.csv` got other headers, of which the copy carried the ACL that it has.
    assert_eq!(bucket.server.count("CopyObject"), 1);
    // All ours are copied, because of their headers; what keeps those of somebody else is closed all the same.
    let said = apply(&[], "exposure=private");
    assert!(said.contains("got the ACL: theirs.bin: private\n") && said.contains("3 got the ACL"), "{said}");
    assert_eq!(seen(), [403; 5]);
    assert_eq!(bucket.see("theirs.bin").unwrap().cache_control.as_deref(), Some("max-age=7"));
    assert_eq!(bucket.see("a.jpg").unwrap().cache_control.as_deref(), Some("private, no-cache"));
}

#[test]
fn urls_are_told_to_people_and_to_programs() {
    let Some(bucket) = Bucket::fresh() else { return };
    let base = "https://cdn.example.org";
    let mount = bucket.mount_with(&format!("cdn_url={base}/{{path}},site_url=https://www.example.org/images"));
    for name in ["a b.png", ".env"] {
        mount.write(name, "12345");
    }
    let url = |words: &[&str], name: &str| {
        let path = mount.path(name);
        run([env!("CARGO_BIN_EXE_originfs"), "url"].iter().chain(words).copied().chain([path.to_str().unwrap()]))
    };
    let plain = (0, format!("{base}/a%20b.png\n"));
    assert_eq!((url(&[], "a b.png"), url(&["--plain"], "a b.png")), (plain.clone(), plain));
    for other in [&["--versioned"][..], &["--site"], &["--origin"], &["--signed", "5m"]] {
        let (code, said) = url(&[&["--plain"], other].concat(), "a b.png");
        assert!(code != 0 && said.contains("cannot be used with"), "{said}");
    }
    let all = |words: &[&str], name: &str| {
        let (code, said) = url(&[&["--json"], words].concat(), name);
        assert_eq!(code, 0, "{said}");
        let all: Value = serde_json::from_str(&said).unwrap_or_else(|err| panic!("{err}: {said}"));
        assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
        all[0].clone()
    };
    let told = all(&[], "a b.png");
    let path = mount.path("a b.png");
    for (field, expect) in [
        ("path", "a b.png".to_owned()),
        ("key", bucket.key("a b.png")),
        ("cdn", format!("{base}/a%20b.png")),
        ("site", "https://www.example.org/images/a%20b.png".to_owned()),
        ("content_type", "image/png".to_owned()),
    ] {
        let seen = told[field].as_str().unwrap();
        assert!(seen == expect || field == "path" && path.ends_with(seen), "{field}: {told}");
    }
    let (_, versioned) = url(&["--versioned"], "a b.png");
    assert_eq!(versioned.trim(), format!("{base}/a%20b.png?v={}", told["version"].as_str().unwrap()));
    assert_eq!((&told["public"], &told["size"]), (&true.into(), &5.into()));
    assert!(told["etag"].as_str().is_some_and(|etag| !etag.is_empty()), "{told}");
    assert!(told["origin"].as_str().unwrap().starts_with(&bucket.server.endpoint), "{told}");
    // What is private has no URL but one with a signature.
    let told = all(&["--signed", "5m"], ".env");
    assert_eq!((&told["public"], &told["cdn"], &told["site"]), (&false.into(), &Value::Null, &Value::Null));
    assert!(told["signed"].as_str().unwrap().contains("X-Amz-Signature="), "{told}");
}

/// The script that OPERATIONS.md gives, as cron runs it.
#[test]
fn prometheus_reads_what_a_mount_does_and_what_is_purged() {
    let Some(site) = Site::http() else { return };
    let mount = site.mount();
    mount.write("a.jpg", "12345");
    eventually("it is purged", || super::run(&mount, &["status"]).1.contains(": 0 changes to be purged"));
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).unwrap();
    let (_, script) = document.split_once("```sh\n#!/bin/sh\n# The directory that node_exporter").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    let dir = fresh_dir();
    let file = dir.join("collect");
    fs::write(&file, format!("#{script}")).unwrap();
    let (code, said) = run(["sh", file.to_str().unwrap(), dir.to_str().unwrap()]);
    assert_eq!((code, said.as_str()), (0, ""));
    let directory = originfs::telemetry::control::directory().unwrap();
    let socket = originfs::telemetry::control::path(&directory, mount.dir());
    let text =
        fs::read_to_string(dir.join(format!("originfs-{}.prom", socket.file_stem().unwrap().display()))).unwrap();
    let edge = site.edge.address().trim_start_matches("http://");
    let at = format!("{{mountpoint=\"{}\"", mount.dir().display());
    for expect in [
        format!("originfs_requests_total{at},operation=\"PutObject\"}} 1\n"),
        format!("originfs_sent_bytes_total{at}}} 5\n"),
        format!("originfs_cdn_purges_pending{at}}} 0\n"),
        // The plain URL, and that with its version.
        format!("originfs_cdn_purge_items_total{at},vendor=\"http {edge}\",table=\"1\"}} 2\n"),
        format!("originfs_cdn_purge_done_total{at},vendor=\"http {edge}\",table=\"1\"}} 1\n"),
        // It waits for others for a quarter of a second at least.
        format!("originfs_cdn_purge_latency_seconds_total{at},vendor=\"http {edge}\",table=\"1\"}} "),
    ] {
        assert!(text.contains(&expect), "{expect} is not in {text}");
    }
    let ask = ["curl", "-si", "--unix-socket", socket.to_str().unwrap(), "http://localhost/v1/metrics"];
    let (_, said) = run(ask);
    assert!(said.starts_with("HTTP/1.1 200 OK") && said.contains("content-type: text/plain; version=0.0.4"), "{said}");
}

#[test]
fn a_program_of_ones_own_is_told() {
    let vendor =
        "vendor = 'command'\ncommand = ['/bin/sh', '-c', 'cat >>DIR/told; [ ! -e DIR/fails ]']\nrepurge_after = 0\n";
    let Some(site) = Site::new(vendor) else { return };
    let mount = site.mount();
    let told = || fs::read_to_string(site.dir.join("told")).unwrap_or_default();
    mount.write("a b.jpg", "1");
    eventually("it is told", || told().contains("a%20b.jpg"));
    let line: Value = serde_json::from_str(told().lines().next().unwrap()).unwrap();
    assert!(line["key"].as_str().unwrap().ends_with("a b.jpg"), "{line}");
    fs::write(site.dir.join("fails"), "").unwrap();
    mount.write("b.jpg", "1");
    eventually("it is told again after it failed", || told().matches("/b.jpg").count() > 1);
    fs::remove_file(site.dir.join("fails")).unwrap();
    eventually("nothing is left", || super::run(&mount, &["status"]).1.contains(": 0 changes to be purged"));
}

/// A server of one's own that keeps what it is told, and says what it is to say. On a port until the process ends.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<(u16, Vec<Asked>)>>);

impl Hook {
    /// With its address.
    fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let hook = Self::default();
        let accepting = hook.clone();
        hook.says(200);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let hook = accepting.clone();
                // A connection that breaks ends its thread and nothing else.
                thread::spawn(move || hook.serve(&client).unwrap_or_default());
            }
        });
        (hook, address)
    }

    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut from = BufReader::new(client.try_clone()?);
        while let Some(asked) = read(&mut from)? {
            let mut told = self.0.lock().unwrap();
            told.1.push(asked);
            write!(&*client, "HTTP/1.1 {} Said\r\ncontent-length: 0\r\n\r\n", told.0)?;
        }
        Ok(())
    }

    fn says(&self, status: u16) {
        self.0.lock().unwrap().0 = status;
    }

    /// How often it was told of a URL that ends so.
    fn times(&self, end: &str) -> usize {
        self.0.lock().unwrap().1.iter().filter(|asked| urls(asked).iter().any(|url| url.ends_with(end))).count()
    }
}

fn urls(asked: &Asked) -> Vec<String> {
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    let objects = body["objects"].as_array().unwrap().iter();
    objects.flat_map(|object| object["urls"].as_array().unwrap()).map(|url| url.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_webhook_of_ones_own_is_told() {
    let (hook, address) = Hook::start();
    let table = format!("vendor = 'webhook'\napi = '{address}/purge'\ntoken_file = 'token'\nrepurge_after = 0\n");
    let Some(site) = Site::new(&table) else { return };
    let mount = site.mount();
    mount.write("a b.jpg", "1");
    eventually("it is told", || hook.times("/a%20b.jpg") == 1);
    {
        let told = hook.0.lock().unwrap();
        let asked = &told.1[0];
        assert_eq!((&*asked.method, &*asked.target), ("POST", "/purge"));
        assert_eq!(asked.headers["content-type"], "application/json");
        assert_eq!(asked.headers["authorization"], format!("Bearer {TOKEN}"));
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        assert!(body["objects"][0]["key"].as_str().unwrap().ends_with("a b.jpg"), "{body}");
        assert_eq!((&body["everything"], &body["tags"]), (&false.into(), &Value::Array(Vec::new())));
    }
    hook.says(500);
    mount.write("b.jpg", "1");
    eventually("it is told again after it failed", || hook.times("/b.jpg") > 1);
    hook.says(200);
    let status = || super::run(&mount, &["status"]).1;
    eventually("nothing is left", || status().contains(": 0 changes to be purged"));
    // What makes no sense to it is given up, and nothing else is.
    hook.says(422);
    mount.write("c.jpg", "1");
    eventually("it is given up", || status().contains("c.jpg"));
    hook.says(200);
    mount.write("d.jpg", "1");
    eventually("it goes on", || hook.times("/d.jpg") == 1 && status().contains(": 0 changes to be purged"));
    assert!(!status().contains(TOKEN) && !mount.log().contains(TOKEN), "nobody shows the secret");
    assert_eq!(mount.stop(), 0);
}

#[test]
fn rules_in_the_file_of_a_mount_are_followed() {
    let rule = "[[rule]]\nnames = ['*.pdf']\ncache_control = 'no-store'\n";
    let Some(site) = Site::new(&format!("vendor = 'exoscale'\n{rule}")) else { return };
    let mount = site.mount();
    for (name, expect) in [("a.pdf", "no-store"), ("a.jpg", "public, max-age=300")] {
        mount.write(name, "1");
        let sent = site.bucket.see(name).unwrap().cache_control.unwrap();
        assert!(sent.starts_with(expect), "{name}: {sent}");
    }
    drop(mount);
    // What is said beside the file counts in its place.
    let own = site.dir.join("own.toml");
    fs::write(&own, rule.replace("no-store", "no-cache")).unwrap();
    let mount = site.bucket.mount_with(&format!("{},headers={}", site.options(), own.display()));
    mount.write("b.pdf", "1");
    assert_eq!(site.bucket.see("b.pdf").unwrap().cache_control.as_deref(), Some("no-cache"));
}
