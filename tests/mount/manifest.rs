//! The list of all files and their URLs, as programs take it.

use std::fs;

use serde_json::Value;

use crate::harness::{Bucket, fresh_dir, run, words_of};

const OPTIONS: &str = "cdn_url=https://cdn.example.org,private=invoices/**,hold=*.part";

/// `originfs manifest` with the options of the mount; gives its exit code and what it said.
fn manifest(bucket: &Bucket, more: &[&str]) -> (i32, String) {
    let dir = fresh_dir();
    let words = words_of(bucket, &[&["manifest"], more].concat(), &dir, OPTIONS);
    run(words.iter().map(String::as_str))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_manifest_says_of_each_file_what_url_says_and_needs_no_mount() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with(&format!("freshness=strict,{OPTIONS}"));
    fs::create_dir_all(mount.path("2026/11")).unwrap();
    fs::create_dir(mount.path("invoices")).unwrap();
    for name in ["2026/11/a b.jpg", "logo+.png", "invoices/7.pdf", ".htaccess", "x.php"] {
        mount.write(name, name);
    }
    let names = ["2026/11/a b.jpg", "logo+.png"].map(|name| mount.path(name).to_str().unwrap().to_owned());
    let [photo, logo] = &names;
    let (code, said) = run([env!("CARGO_BIN_EXE_originfs"), "url", "--json", photo, logo]);
    assert_eq!(code, 0, "{said}");
    let urls: Vec<Value> = serde_json::from_str(&said).unwrap();
    assert_eq!(mount.stop(), 0);

    let (code, said) = manifest(&bucket, &["--types"]);
    assert_eq!(code, 0, "{said}");
    let mut all = lines(&said);
    // Not every server lists in the order of the bytes.
    all.sort_by_key(|line| line["path"].as_str().unwrap().to_owned());
    assert_eq!(all.len(), 2, "{said}");
    for (line, url) in all.iter().zip(&urls) {
        let fields = [("path", "path"), ("key", "key"), ("url", "cdn"), ("version", "version"), ("size", "size")];
        for (ours, theirs) in fields.into_iter().chain([("type", "content_type")]) {
            assert_eq!(line[ours], url[theirs], "{line}\n{url}");
        }
        let versioned = format!("{}?v={}", url["cdn"].as_str().unwrap(), url["version"].as_str().unwrap());
        assert_eq!(line["versioned"], versioned.as_str());
    }
    let (_, said) = manifest(&bucket, &["--prefix", "2026/", "--format", "urls", "--plain"]);
    assert_eq!(said.trim_end(), urls[0]["cdn"].as_str().unwrap());
}

#[test]
fn a_new_version_has_another_url_in_the_next_manifest_and_nobody_reads_half_of_one() {
    let Some(bucket) = Bucket::fresh() else { return };
    let file = fresh_dir().join("manifest.json");
    let output = ["--format", "json", "--output", file.to_str().unwrap()];
    let read = || serde_json::from_str::<Value>(&fs::read_to_string(&file).unwrap()).unwrap();
    bucket.put("a.css", b"1");
    let (code, said) = manifest(&bucket, &output);
    assert_eq!((code, said.starts_with("1 files in ")), (0, true), "{said}");
    let first = read();
    bucket.put("a.css", b"2");
    bucket.put("b.css", b"1");
    assert_eq!(manifest(&bucket, &output).0, 0);
    let second = read();
    assert_ne!(first["a.css"], second["a.css"]);
    assert!(second["a.css"].as_str().unwrap().contains("/a.css?v=") && second["b.css"].is_string(), "{second}");
    // A bucket that is not there changes nothing.
    let Some(absent) = Bucket::absent() else { return };
    assert_eq!(manifest(&absent, &output).0, 32);
    assert_eq!(read(), second);
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn a_manifest_of_what_has_no_url_is_refused() {
    let Some(bucket) = Bucket::fresh() else { return };
    let refused = |options: &str, why: &str| {
        let words = words_of(&bucket, &["manifest"], &fresh_dir(), options);
        let (code, said) = run(words.iter().map(String::as_str));
        assert!(code == 1 && said.contains(why), "{code} {said}");
    };
    refused("", "say it with cdn_url=");
    refused("cdn_url=https://cdn.example.org,exposure=private", "nothing of this mount is for the public");
}
