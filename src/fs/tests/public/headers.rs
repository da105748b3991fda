//! Headers that the bucket keeps for caches and browsers: set by rule, and never lost.

use super::super::*;
use crate::{
    cdn::policy::{Exposure, Policy, Wishes, file},
    fs::types::SetTime,
    model::{attr::Time, withheld::Withheld},
    store::{Headers, faulty::Side},
};

const LONG: &str = "public, max-age=31536000, immutable";

/// A public mount with these rules.
fn with(rules: &str, perms: Perms) -> FsOptions {
    let prefix = Prefix::parse("site").unwrap();
    let rules = if rules.is_empty() { Vec::new() } else { file::parse(rules).unwrap() };
    let withheld = Withheld::some(prefix.clone(), ["secret/**"]).unwrap();
    let site = Some("example.org".to_owned());
    let wishes = Wishes { prefix, exposure: Exposure::Public, withheld, rules, inline_svg: false, site };
    FsOptions { headers: Arc::new(Policy::new(wishes)), perms, ..options() }
}

fn public() -> FsOptions {
    with("", Perms::Uniform)
}

/// What somebody else set, all of it.
fn theirs() -> Headers {
    let text = |text: &str| Some(text.to_owned());
    Headers {
        content_type: text("text/x-own; charset=latin1"),
        cache_control: text("max-age=7"),
        content_disposition: text("inline"),
        content_encoding: text("br"),
        content_language: text("de"),
        expires: text("Thu, 01 Dec 2033 16:00:00 GMT"),
        storage_class: text("STANDARD_IA"),
        redirect: text("/elsewhere"),
        user: [("own", "kept"), ("cache-tag", "mine"), ("mtime", "77")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .into(),
    }
}

impl Host {
    fn headers(&self, path: &str) -> Headers {
        self.bucket.inner().object(&format!("site/{path}")).unwrap().headers
    }

    /// Content-Type, Cache-Control and Content-Disposition.
    fn told(&self, path: &str) -> [String; 3] {
        let headers = self.headers(path);
        [headers.content_type, headers.cache_control, headers.content_disposition].map(Option::unwrap_or_default)
    }

    fn tag(&self, path: &str) -> Option<String> {
        self.headers(path).user.get("cache-tag").cloned()
    }
}

#[tokio::test]
async fn what_is_written_gets_the_headers_of_its_name_and_bytes() {
    let host = Host::with(&bucket(), public());
    host.mkdir("secret").await.unwrap();
    host.write("app.3f2a9c1b.js", b"1").await.unwrap();
    host.write("a.jpg", b"<script>1</script>").await.unwrap();
    host.write("secret/a.png", b"\x89PNG").await.unwrap();
    assert_eq!(host.told("app.3f2a9c1b.js"), ["text/javascript; charset=utf-8", LONG, ""]);
    let [kind, cached, download] = host.told("a.jpg");
    assert_eq!((kind.as_str(), download.as_str()), ("image/jpeg", "attachment; filename*=UTF-8''a.jpg"));
    assert!(cached.starts_with("public, max-age=300,"), "{cached}");
    assert_eq!(host.told("secret/a.png"), ["image/png", "private, no-cache", ""]);
    assert_eq!(host.tag("secret/a.png").as_deref(), Some("example.org,example.org/secret"));
    assert_eq!(host.told("secret/"), ["application/x-directory", "", ""]);
    assert_eq!(host.stat("app.3f2a9c1b.js").await.unwrap().attr.size, 1);
}

#[tokio::test]
async fn an_upload_in_parts_gets_them_too() {
    let rules = "[[rule]]\nmin_size = '12MiB'\ncache_control = 'no-store'\n";
    let host = Host::with(&bucket(), with(rules, Perms::Uniform));
    for (path, size, expect) in [("a.js", 11 << 20, "public, max-age=300"), ("b.js", 12 << 20, "no-store")] {
        // Written piece by piece, so that its parts go before its size is known.
        let open = host.open(path, TRUNCATE).await.unwrap();
        for at in (0..size).step_by(1 << 20) {
            host.fs.write(open.fh, at, vec![b'x'; 1 << 20].into(), false).await.unwrap();
        }
        host.close(open).await.unwrap();
        let [kind, cached, _] = host.told(path);
        assert!(kind == "text/javascript; charset=utf-8" && cached.starts_with(expect), "{path}: {kind}, {cached}");
    }
}

#[tokio::test]
async fn a_start_that_changes_while_parts_are_on_their_way_counts() {
    let host = Host::with(&bucket(), public());
    let open = host.open("a.bin", TRUNCATE).await.unwrap();
    for at in (0..11 << 20).step_by(1 << 20) {
        host.fs.write(open.fh, at, vec![b'x'; 1 << 20].into(), false).await.unwrap();
    }
    host.put(open, "<script>1</script>").await;
    host.close(open).await.unwrap();
    assert_eq!(host.told("a.bin")[2], "attachment; filename*=UTF-8''a.bin");
    assert!(host.bucket.inner().get_bytes("site/a.bin").unwrap().starts_with(b"<script>1</script>xx"));
}

#[tokio::test]
async fn a_copy_gets_the_headers_of_its_own_name() {
    let bucket = bucket();
    bucket.inner().put_foreign("site/a.jpg", &b"<script>1</script>"[..], theirs());
    let host = Host::with(&bucket, public());
    let (from, to) = (host.open("a.jpg", READ).await.unwrap(), host.open("b.png", TRUNCATE).await.unwrap());
    host.fs.copy_file_range((from.fh, 0), (to.fh, 0), 1 << 30).await.unwrap();
    host.close(to).await.unwrap();
    host.close(from).await.unwrap();
    let [kind, cached, download] = host.told("b.png");
    assert_eq!((kind.as_str(), download.as_str()), ("image/png", "attachment; filename*=UTF-8''b.png"));
    assert!(cached.starts_with("public"), "{cached}");
}

#[tokio::test]
async fn a_rename_sets_them_anew() {
    let host = Host::with(&bucket(), public());
    host.mkdir("secret").await.unwrap();
    host.write("a.tmp", b"body{}").await.unwrap();
    host.rename("a.tmp", "a.3f2a9c1b.css").await.unwrap();
    assert_eq!(host.told("a.3f2a9c1b.css"), ["text/css; charset=utf-8", LONG, ""]);
    host.rename("a.3f2a9c1b.css", "secret/a.html").await.unwrap();
    let download = "attachment; filename*=UTF-8''a.html";
    assert_eq!(host.told("secret/a.html"), ["text/html; charset=utf-8", "private, no-cache", download]);
    assert_eq!(host.tag("secret/a.html").as_deref(), Some("example.org,example.org/secret"));
}

#[tokio::test]
async fn the_rename_of_a_directory_sets_what_follows_the_path() {
    let host = Host::with(&bucket(), public());
    host.mkdir("open").await.unwrap();
    host.write("open/a.png", b"x").await.unwrap();
    host.bucket.inner().put_foreign("site/open/b.png", &b"y"[..], theirs());
    host.rename("open", "secret").await.unwrap();
    assert_eq!(host.told("secret/a.png"), ["image/png", "private, no-cache", ""]);
    assert_eq!(host.tag("secret/a.png").as_deref(), Some("example.org,example.org/secret"));
    assert_eq!(host.headers("secret/b.png"), theirs());
}

#[tokio::test]
async fn a_rename_that_was_killed_ends_with_them() {
    for n in 1.. {
        assert!(n < 40, "a rename makes no end of requests");
        let host = Arc::new(Host::with(&bucket(), public()));
        host.mkdir("open").await.unwrap();
        host.write("open/a.png", b"x").await.unwrap();
        host.write("open/b.png", b"y").await.unwrap();
        let bucket = Arc::clone(&host.bucket);
        let mut stopped = bucket.stop_at(n, Side::After);
        let acting = Arc::clone(&host);
        let mut rename = tokio::spawn(async move { acting.rename("open", "secret").await });
        let done = tokio::select! {
            done = &mut rename => Some(done.unwrap()),
            () = stopped.wait() => None,
        };
        if done.is_none() {
            rename.abort();
            rename.await.unwrap_err();
        }
        bucket.heal();
        let host = Arc::into_inner(host).expect("the rename has ended").killed();
        host.fs.recover_renames().await;
        for name in ["a.png", "b.png"] {
            let moved = bucket.inner().object(&format!("site/secret/{name}")).is_some();
            let (dir, expect) = if moved { ("secret", "private") } else { ("open", "public") };
            let cached = &host.told(&format!("{dir}/{name}"))[1];
            assert!(cached.starts_with(expect), "{n}: {name}: {cached}");
        }
        if done.is_some() {
            break;
        }
    }
}

#[tokio::test]
async fn chmod_and_touch_lose_no_header_of_anybody() {
    for perms in [Perms::Uniform, Perms::Stored] {
        let bucket = bucket();
        bucket.inner().put_foreign("site/theirs.png", &b"x"[..], theirs());
        let host = Host::with(&bucket, with("", perms));
        host.write("ours.html", b"<p>").await.unwrap();
        let before = [host.headers("theirs.png"), host.headers("ours.html")];
        let time = Some(SetTime::At(Time::seconds(1_000)));
        for set in [
            SetAttr { mode: Some(0o600), ..SetAttr::default() },
            SetAttr { mtime: time, ..SetAttr::default() },
            SetAttr { uid: Some(7), gid: Some(8), ..SetAttr::default() },
        ] {
            for path in ["theirs.png", "ours.html"] {
                host.set(path, set).await.unwrap();
            }
        }
        for (path, before) in ["theirs.png", "ours.html"].into_iter().zip(before) {
            let mut after = host.headers(path);
            assert_ne!(after, before, "{path} got a time");
            for name in ["mode", "uid", "gid", "mtime", "atime", "ctime", "op"] {
                after.user.remove(name);
            }
            let mut expect = before;
            expect.user.retain(|name, _| after.user.contains_key(name));
            assert_eq!(after, expect, "{path} {perms:?}");
            assert!(after.user.contains_key("cache-tag"), "{path}");
        }
    }
}
