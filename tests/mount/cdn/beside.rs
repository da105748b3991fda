//! What commands change in the bucket beside a mount is purged, too.

use std::{fs, path::Path};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::Signal,
};

use super::{Site, edge::Broken};
use crate::harness::{Kind, eventually, fresh_dir, run, start, store};

const PROGRAM: &str = env!("CARGO_BIN_EXE_originfs");

impl Site {
    /// `originfs WORDS BUCKET DIR` with the options of its mounts.
    fn command(&self, words: &[&str], dir: &Path, cache: &Path) -> Vec<String> {
        let server = self.bucket.server;
        let options = format!(
            "endpoint={},path_style,region=us-east-1,timeout=10s,cache_min_free=256MiB,{},cache_dir={}",
            server.endpoint,
            self.options(),
            cache.display()
        );
        let mut all = vec![
            "env".to_owned(),
            format!("AWS_ACCESS_KEY_ID={}", server.access_key),
            format!("AWS_SECRET_ACCESS_KEY={}", server.secret_key),
            "AWS_EC2_METADATA_DISABLED=true".to_owned(),
            PROGRAM.to_owned(),
        ];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all.extend([self.bucket.source(), dir.to_str().unwrap().to_owned(), "-o".to_owned(), options]);
        all
    }
}

/// Undone also when the test fails.
struct Covered(std::path::PathBuf);

impl Drop for Covered {
    fn drop(&mut self) {
        let (code, said) = run([PROGRAM, "umount", self.0.to_str().unwrap()]);
        if code != 0 {
            println!("{said}");
            umount2(&self.0, MntFlags::MNT_DETACH).unwrap_or_default();
        }
    }
}

/// A visitor was told that a file is not there; then it is adopted. The mount over it has the same CDN.
#[test]
fn what_is_adopted_is_purged_and_the_mount_over_it_purges() {
    let Some(site) = Site::http() else { return };
    let (dir, cache) = (fresh_dir(), fresh_dir());
    store(dir.join("a.jpg"), b"1").unwrap();
    site.shows("a.jpg", None);
    let covered = Covered(dir.clone());
    let (code, said) = run(site.command(&["adopt"], &dir, &cache).iter().map(String::as_str));
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("purges of the CDN"), "{said}");
    site.shows("a.jpg", Some("1"));
    store(dir.join("a.jpg"), b"2").unwrap();
    site.shows("a.jpg", Some("2"));
    drop(covered);
}

/// An edge keeps the headers of an object with its bytes.
#[test]
fn new_headers_are_purged() {
    let Some(site) = Site::cloudflare() else { return };
    let (dir, cache) = (fresh_dir(), fresh_dir());
    site.bucket.put("a.jpg", b"1");
    site.shows("a.jpg", Some("1"));
    let headers = |more: &[&str]| {
        let command = site.command(&[&["headers", "apply"], more].concat(), &dir, &cache);
        let (code, said) = run(command.iter().map(String::as_str));
        assert_eq!(code, 0, "{said}");
    };
    site.edge.calls();
    headers(&["--dry-run"]);
    assert_eq!(site.edge.calls(), [""; 0]);
    headers(&[]);
    let calls = site.edge.calls();
    assert!(calls.iter().any(|call| call.starts_with("files")), "{calls:?}");
    headers(&[]);
    assert_eq!(site.edge.calls(), [""; 0], "nothing changed");
}

/// What the public may not see any more an edge must not show, either.
#[test]
fn another_acl_is_purged() {
    let Some(site) = Site::cloudflare() else { return };
    if site.bucket.server.kind != Kind::Dev {
        return println!("skipped: only the development server keeps every ACL");
    }
    let (dir, cache) = (fresh_dir(), fresh_dir());
    site.bucket.put_with("a.jpg", b"1", |put| {
        put.content_type("image/jpeg").cache_control("max-age=7").acl("public-read".into())
    });
    let command = site.command(&["headers", "apply", "-o", "private=*.jpg"], &dir, &cache);
    let (code, said) = run(command.iter().map(String::as_str));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("got the ACL: a.jpg: private\n"), "{said}");
    assert_eq!(site.bucket.see("a.jpg").unwrap().cache_control.as_deref(), Some("max-age=7"), "no copy");
    let calls = site.edge.calls();
    assert!(calls.iter().any(|call| call.starts_with("files")), "{calls:?}");
}

/// Killed while the vendor is away: the mount on the same cache directory finds what is to be purged.
#[test]
fn what_a_killed_command_did_not_purge_the_mount_does() {
    let Some(site) = Site::cloudflare() else { return };
    let mount = site.mount();
    site.bucket.put("a.jpg", b"1");
    site.edge.break_it(Some(Broken::Fails));
    let cache = mount.cache_dir();
    let command = start(site.command(&["headers", "apply"], mount.dir(), &cache).iter().map(String::as_str));
    eventually("it has done its work", || site.bucket.see("a.jpg").unwrap().cache_control.is_some());
    // Beyond the answer, which a kill may come before.
    let outbox = || {
        let own = fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
        own.join("purges.headers").exists()
    };
    assert!(outbox(), "it waits for the vendor");
    command.signal(Signal::SIGKILL);
    command.wait();
    site.edge.calls();
    site.edge.break_it(None);
    eventually("the mount purges it", || site.edge.calls().iter().any(|call| call.starts_with("files")));
    eventually("and nothing is left of it", || !outbox());
}
