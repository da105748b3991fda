//! The development server, started as a process and driven through the store of a real bucket.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use originfs::{
    config::{Checksum, CredentialSource, S3Options},
    error::{Error, Result},
    model::{key::Key, withheld::Withheld},
    store::{
        Get, Got, Headers, List, Object, Require, Store,
        conformance::{Quirks, conforms},
        s3::S3Store,
    },
};

/// A directory of this test process; removed when it is dropped.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("originfs-dev-s3-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A running server with the bucket `test`, and `open` that everyone may read.
struct Server {
    child: Child,
    address: String,
    passwd: PathBuf,
}

impl Server {
    fn start(dir: &Path) -> Self {
        let passwd = dir.join("passwd");
        fs::write(&passwd, "key:secret\n").unwrap();
        fs::set_permissions(&passwd, fs::Permissions::from_mode(0o600)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_originfs-dev-s3"))
            .args(["--listen", "127.0.0.1:0", "--access-key", "key", "--secret-key", "secret"])
            .args(["--bucket", "test", "--public-read", "open", "--data"])
            .arg(dir.join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").expect("the address of a ready server").to_owned();
        Self { child, address, passwd }
    }

    async fn store(&self, bucket: &str) -> S3Store {
        let options = S3Options {
            endpoint: Some(format!("http://{}", self.address)),
            region: Some("us-east-1".to_owned()),
            path_style: Some(true),
            credentials: CredentialSource::PasswdFile(self.passwd.clone()),
            checksum: Checksum::Auto,
            storage_class: None,
            acl: None,
            withheld: Withheld::default(),
            sse: None,
            sse_kms_key_id: None,
            requester_pays: false,
            retries: 1,
            timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(5),
        };
        S3Store::connect(bucket, &options).await.unwrap()
    }

    /// Status and body of a request without a signature.
    fn plain(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn admin(&self, method: &str, what: &str, body: &str) -> serde_json::Value {
        let (status, answer) = self.plain(method, &format!("/_admin/{what}"), body);
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str(&answer).unwrap()
    }

    fn rule(&self, json: &str) {
        self.admin("POST", "faults", json);
    }

    fn requests(&self, op: &str) -> u64 {
        self.admin("GET", "log", "")["counts"][op].as_u64().unwrap_or(0)
    }

    /// Waits until the server has such a request.
    async fn wait_for(&self, op: &str) {
        let seen = async {
            while self.requests(op) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen).await.expect("a request that was sent");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn put(store: &S3Store, key: &str, body: &'static [u8]) -> Result<()> {
    store.put(&Key::new(key), Bytes::from_static(body), &Headers::default(), Require::Anything).await.map(drop)
}

async fn get(store: &S3Store, key: &str) -> Result<(Object, Bytes)> {
    match store.get(&Key::new(key), Get::default()).await? {
        Got::Bytes(object, body) => Ok((object, body.collect().await?)),
        Got::Same { .. } => panic!("304 without a condition"),
    }
}

fn unknown<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(Error::Unavailable(_)))
}

#[tokio::test]
async fn it_conforms_and_leaves_no_file() {
    let dir = Dir::new();
    let server = Server::start(&dir.0);
    let store = server.store("test").await;
    conforms(&store, "check/", &Quirks::default()).await;
    // The same with a CRC-32 of every body and part, which the server was seen to verify.
    assert!(store.probe_sums("", &S3Store::token()).await);
    conforms(&store, "check/", &Quirks::default()).await;
    for part in ["data", "meta", "uploads"] {
        assert_eq!(fs::read_dir(dir.0.join("data/test").join(part)).unwrap().count(), 0, "{part}");
    }
}

#[tokio::test]
async fn objects_and_uploads_outlive_a_kill() {
    let dir = Dir::new();
    let server = Server::start(&dir.0);
    let store = server.store("test").await;
    put(&store, "a/b\u{1}", b"old").await.unwrap();
    put(&store, "a/b\u{1}", b"kept").await.unwrap();
    let before = get(&store, "a/b\u{1}").await.unwrap();
    let upload = store.begin(&Key::new("big"), &Headers::default()).await.unwrap();
    let part = store.part(&upload, 1, Bytes::from_static(b"part")).await.unwrap();
    server.signal(Signal::SIGKILL);
    drop(server);

    let server = Server::start(&dir.0);
    let store = server.store("test").await;
    assert_eq!(get(&store, "a/b\u{1}").await.unwrap(), before);
    store.complete(&upload, &[part], Require::Absent).await.unwrap();
    assert_eq!(&get(&store, "big").await.unwrap().1[..], b"part");
}

/// Bytes: more than all buffers between a file and its reader hold.
const BIG: usize = 24 << 20;

#[tokio::test]
async fn a_reader_keeps_the_version_that_it_opened() {
    let dir = Dir::new();
    let server = Server::start(&dir.0);
    let store = server.store("test").await;
    let old = Bytes::from(vec![b'o'; BIG]);
    store.put(&Key::new("k"), old.clone(), &Headers::default(), Require::Anything).await.unwrap();
    let Got::Bytes(_, mut body) = store.get(&Key::new("k"), Get::default()).await.unwrap() else { panic!("304") };
    let first = body.next().await.unwrap().unwrap();
    put(&store, "k", b"new").await.unwrap();
    let rest = body.collect().await.unwrap();
    assert_eq!([first, rest].concat(), old);
    assert_eq!(&get(&store, "k").await.unwrap().1[..], b"new");
}

#[tokio::test]
async fn rules_break_requests_on_the_side_they_say() {
    let dir = Dir::new();
    let server = Server::start(&dir.0);
    let store = server.store("test").await;
    for (action, effect) in [
        (r#"{"fail": {"status": 503, "side": "before"}}"#, false),
        (r#"{"fail": {"status": 500, "side": "after"}}"#, true),
        (r#"{"drop": "before"}"#, false),
        (r#"{"drop": "after"}"#, true),
    ] {
        server.rule(&format!(r#"{{"op": "PutObject", "skip": 1, "times": 1, "action": {action}}}"#));
        put(&store, "first", b"x").await.unwrap();
        assert!(unknown(&put(&store, "second", b"x").await), "{action}");
        let there = store.head(&Key::new("second")).await;
        assert_eq!(there.is_ok(), effect, "{action}: {there:?}");
        store.delete(&Key::new("second"), Require::Anything).await.unwrap();
        put(&store, "third", b"x").await.unwrap();
    }
    assert_eq!(server.requests("PutObject"), 12);
    assert_eq!(server.admin("GET", "faults", ""), serde_json::json!([]));
}

#[tokio::test]
async fn a_body_is_cut() {
    let dir = Dir::new();
    let server = Server::start(&dir.0);
    let store = server.store("test").await;
    put(&store, "k", b"0123456789").await.unwrap();
    server.rule(r#"{"op": "GetObject", "times": 1, "action": {"cut": 4}}"#);
    assert!(unknown(&get(&store, "k").await));
    get(&store, "k").await.unwrap();
}

#[tokio::test]
async fn lies_are_told_where_a_rule_says_so() {
    let dir = Dir::new();
    let server = Server::start(&dir.0);
    let (store, other) = (server.store("test").await, server.store("open").await);
    let lie = |op: &str, times: u32, lie: &str| {
        server.rule(&format!(r#"{{"op": "{op}", "bucket": "test", "times": {times}, "action": {{"lie": "{lie}"}}}}"#));
    };
    put(&store, "k", b"first version").await.unwrap();
    lie("PutObject", 1, "lost");
    put(&other, "k", b"other bucket").await.unwrap();
    put(&store, "k", b"never there!!").await.unwrap();
    assert_eq!(&get(&store, "k").await.unwrap().1[..], b"first version");
    put(&store, "k", b"second change").await.unwrap();
    lie("GetObject", 1, "mixed");
    assert_eq!(&get(&store, "k").await.unwrap().1[..], b"first  change");
    lie("GetObject", 1, "stale");
    assert_eq!(&get(&store, "k").await.unwrap().1[..], b"first version");
    assert_eq!(&get(&store, "k").await.unwrap().1[..], b"second change");
    put(&store, "new", b"x").await.unwrap();
    lie("HeadObject", 1, "stale");
    assert!(matches!(store.head(&Key::new("new")).await, Err(Error::NotFound)));
    store.delete(&Key::new("k"), Require::Anything).await.unwrap();
    lie("ListObjectsV2", 1, "stale");
    let list = || async { store.list(List::default()).await.unwrap().entries.into_iter().map(|entry| entry.key) };
    assert_eq!(list().await.collect::<Vec<_>>(), [Key::new("k")]);
    assert_eq!(list().await.collect::<Vec<_>>(), [Key::new("new")]);
    assert_eq!(&get(&other, "k").await.unwrap().1[..], b"other bucket");
}

#[tokio::test]
async fn a_rule_can_strike_one_in_so_many() {
    let dir = Dir::new();
    let server = Server::start(&dir.0);
    let store = server.store("test").await;
    server
        .rule(r#"{"op": "PutObject", "every": 3, "times": 2, "action": {"fail": {"status": 500, "side": "before"}}}"#);
    let mut failed = Vec::new();
    for n in 0..8 {
        failed.extend(put(&store, "k", b"x").await.is_err().then_some(n));
    }
    assert_eq!(failed, [0, 3]);
}

#[tokio::test]
async fn a_frozen_request_goes_on_when_the_rules_go() {
    let dir = Dir::new();
    let server = Server::start(&dir.0);
    let store = server.store("test").await;
    server.rule(r#"{"op": "PutObject", "prefix": "fro", "times": 1, "action": "freeze"}"#);
    let other = server.store("test").await;
    let frozen = tokio::spawn(async move { put(&other, "frozen", b"x").await });
    server.wait_for("PutObject").await;
    put(&store, "free", b"x").await.unwrap();
    assert!(matches!(store.head(&Key::new("frozen")).await, Err(Error::NotFound)));
    assert!(!frozen.is_finished());
    server.admin("DELETE", "faults", "");
    frozen.await.unwrap().unwrap();
    store.head(&Key::new("frozen")).await.unwrap();
}

#[tokio::test]
async fn only_objects_of_open_buckets_are_read_without_a_signature() {
    let dir = Dir::new();
    let server = Server::start(&dir.0);
    put(&server.store("open").await, "k", b"everyone's").await.unwrap();
    put(&server.store("test").await, "k", b"ours").await.unwrap();
    assert_eq!(server.plain("GET", "/open/k", ""), (200, "everyone's".to_owned()));
    for (method, path) in [("GET", "/test/k"), ("GET", "/open"), ("PUT", "/open/k"), ("DELETE", "/open/k")] {
        assert_eq!(server.plain(method, path, "").0, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn sigterm_lets_a_request_end() {
    let dir = Dir::new();
    let mut server = Server::start(&dir.0);
    let store = server.store("test").await;
    server.rule(r#"{"op": "PutObject", "action": {"latency": 500}}"#);
    let late = tokio::spawn(async move { put(&store, "late", b"x").await });
    server.wait_for("PutObject").await;
    server.signal(Signal::SIGTERM);
    late.await.unwrap().unwrap();
    assert!(server.child.wait().unwrap().success());
}
