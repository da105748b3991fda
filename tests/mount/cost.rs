//! What a mount writes down of its requests is what the server was asked.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
};

use serde_json::Value;

use crate::harness::{Bucket, Kind, Mount, eventually, noise, run};

const OP_A: [&str; 7] = [
    "PutObject",
    "CopyObject",
    "ListObjectsV2",
    "CreateMultipartUpload",
    "UploadPart",
    "CompleteMultipartUpload",
    "ListMultipartUploads",
];
const OP_B: [&str; 2] = ["GetObject", "HeadObject"];

/// How often each operation was asked of the server, since it was told to forget.
fn admin(endpoint: &str, method: &str) -> Value {
    let host = endpoint.trim_start_matches("http://");
    let mut server = TcpStream::connect(host).unwrap();
    write!(server, "{method} /_admin/log HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).unwrap();
    let body = text.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or_default()
}

fn sum(counts: &Value, names: &[&str]) -> u64 {
    names.iter().filter_map(|name| counts[name].as_u64()).sum()
}

fn ledger(mount: &Mount) -> PathBuf {
    let own = fs::read_dir(mount.cache_dir()).unwrap().next().unwrap().unwrap();
    own.path().join("usage.jsonl")
}

#[test]
fn the_ledger_has_what_the_server_was_asked() {
    let Some(bucket) = Bucket::alone().filter(|bucket| bucket.server.kind == Kind::Dev) else { return };
    let mount = bucket.mount_with("freshness=strict");
    let status = || {
        let (_, said) = run([env!("CARGO_BIN_EXE_originfs"), "status", "--json", mount.dir().to_str().unwrap()]);
        serde_json::from_str::<Value>(&said).unwrap()
    };
    // What finds out about the server is not counted.
    eventually("the mount has found out all about the server", || mount.log().contains("read after write: yes"));
    let before = status();
    let calls =
        |names: &[&str]| names.iter().filter_map(|name| before["requests"][name]["calls"].as_u64()).sum::<u64>();
    let (a, b) = (calls(&OP_A), calls(&OP_B));
    let (bytes_in, bytes_out) = (&before["traffic"]["bytes_in"], &before["traffic"]["bytes_out"]);
    let (bytes_in, bytes_out) = (bytes_in.as_u64().unwrap(), bytes_out.as_u64().unwrap());
    admin(&bucket.server.endpoint, "DELETE");

    for n in 0..5 {
        mount.write(&format!("{n}.jpg"), noise(10_000, n));
    }
    fs::rename(mount.path("0.jpg"), mount.path("5.jpg")).unwrap();
    fs::remove_file(mount.path("1.jpg")).unwrap();
    assert_eq!(fs::read_dir(mount.dir()).unwrap().count(), 4);
    for _ in 0..3 {
        assert_eq!(mount.read("2.jpg").len(), 10_000);
    }
    assert_eq!(mount.stop(), 0);
    let counts = admin(&bucket.server.endpoint, "GET")["counts"].clone();
    let text = fs::read_to_string(ledger(&mount)).unwrap();
    // Two lines if that was at midnight.
    let days: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let noted = |field: &str| days.iter().map(|day| day[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!(noted("class_a") - a, sum(&counts, &OP_A), "{counts}");
    assert_eq!(noted("class_b") - b, sum(&counts, &OP_B), "{counts}");
    assert!(sum(&counts, &OP_A) >= 7, "it did ask: {counts}");
    assert_eq!(noted("bytes_out") - bytes_out, 50_000);
    assert!(noted("bytes_in") - bytes_in <= 10_000, "what it wrote it does not fetch");
}

#[test]
fn what_is_replaced_soon_is_seen_and_advice_follows() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("freshness=strict");
    fs::create_dir(mount.path("css")).unwrap();
    for n in 0..12 {
        mount.write("css/a.css", noise(100, n));
        mount.write("css/new.css", noise(100, n));
        fs::rename(mount.path("css/new.css"), mount.path("css/b.css")).unwrap();
        mount.write(&format!("{n}.jpg"), noise(100, n));
    }
    assert_eq!(fs::metadata(mount.path("none.jpg")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    // Its metadata are no version.
    let touched = fs::File::open(mount.path("0.jpg")).unwrap();
    touched.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    drop(touched);
    let point = mount.dir().to_str().unwrap().to_owned();
    let ours = mount.cache_dir();
    assert_eq!(mount.stop(), 0);
    let mount = bucket.mount_with(&format!("freshness=strict,dir={point},cache_dir={}", ours.display()));
    let words = [env!("CARGO_BIN_EXE_originfs"), "cost", "--vendor=aws", "--ttl", "--json", &point];
    let (code, said) = run(words);
    assert_eq!(code, 0, "{said}");
    let told: Value = serde_json::from_str(&said).unwrap();
    assert!(told["usage"]["absent"].as_u64().unwrap() > 0, "{said}");
    assert_eq!((&told["ttl"]["days"], &told["ttl"]["purged"]), (&0.into(), &false.into()));
    let class = |names: &str| {
        let all = told["ttl"]["classes"].as_array().unwrap();
        all.iter().find(|class| class["names"] == names).unwrap_or_else(|| panic!("no {names}: {said}")).clone()
    };
    // Each rename brings a version to its new name: 12 of a, 12 of new, 12 of b; 11 of a and of b are replaced, and
    // of new none.
    let css = class("css/**/*.css");
    let replaced = css["replaced"].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>();
    assert_eq!((&css["came"], replaced, &css["max_age"]), (&36.into(), 22, &0.into()), "{css}");
    let jpg = class("/*.jpg");
    assert_eq!((&jpg["came"], &jpg["max_age"]), (&12.into(), &Value::Null), "too little is known: {jpg}");
    drop(mount);
}
