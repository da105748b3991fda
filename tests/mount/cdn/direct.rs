//! The bucket itself as the public reads it, and purges by a program of one's own.

use std::fs;

use serde_json::Value;

use super::{Site, edge::fetch};
use crate::harness::{Bucket, Kind, eventually, run};

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
