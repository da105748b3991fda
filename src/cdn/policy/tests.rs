use super::*;

fn prefix() -> Prefix {
    Prefix::parse("site").unwrap()
}

fn wishes() -> Wishes {
    let withheld = Withheld::some(prefix(), ["secret/**"]).unwrap();
    Wishes { prefix: prefix(), withheld, ..Wishes::default() }
}

fn rules(text: &str) -> Policy {
    Policy::new(Wishes { rules: file::parse(text).unwrap(), ..wishes() })
}

/// A new object of that name, and the key it has.
fn dressed(policy: &Policy, path: &str, bytes: &[u8]) -> (Headers, Key) {
    let (mut headers, key) = (Headers::default(), Key::new(&format!("site/{path}")));
    policy.dress(&mut headers, &key, bytes.len() as u64, bytes);
    (headers, key)
}

fn cache_control(policy: &Policy, path: &str) -> Option<String> {
    dressed(policy, path, b"x").0.cache_control
}

fn disposition(policy: &Policy, path: &str, bytes: &[u8]) -> Option<String> {
    dressed(policy, path, bytes).0.content_disposition
}

#[test]
fn without_a_policy_there_is_a_type_and_no_more() {
    let (headers, key) = dressed(&Policy::default(), "a.html", b"<html>");
    let expect = Headers { content_type: Some("text/html; charset=utf-8".to_owned()), ..Headers::default() };
    assert_eq!(headers, expect);
    assert!(Policy::default().is_public(&key));
}

#[test]
fn each_class_has_its_cache_control() {
    let public = Policy::new(wishes());
    let private = Policy::new(Wishes { exposure: Exposure::Private, ..wishes() });
    for (path, open, closed) in [
        ("2026/11/photo.jpg", SHORT, PRIVATE),
        ("manual.pdf", SHORT, PRIVATE),
        ("photo.20261122.jpg", SHORT, PRIVATE),
        ("app.3f2a9c1b.js", "public, max-age=31536000, immutable", "private, max-age=31536000, immutable"),
        ("secret/a.jpg", PRIVATE, PRIVATE),
        ("dump.SQL", PRIVATE, PRIVATE),
        (".htaccess", PRIVATE, PRIVATE),
        ("index.php", PRIVATE, PRIVATE),
    ] {
        assert_eq!(cache_control(&public, path).as_deref(), Some(open), "{path}");
        assert_eq!(cache_control(&private, path).as_deref(), Some(closed), "{path}");
        assert_eq!(public.is_public(&Key::new(&format!("site/{path}"))), open.starts_with("public"), "{path}");
        assert!(!private.is_public(&Key::new(&format!("site/{path}"))), "{path}");
    }
}

#[test]
fn what_acts_in_a_browser_is_a_download() {
    let policy = Policy::new(wishes());
    for (path, bytes) in [
        ("a.html", &b""[..]),
        ("a.SVG", b"<svg/>"),
        ("a.svgz", b"\x1f\x8b\x08"),
        ("a.svg.gz", b"\x1f\x8b\x08"),
        ("a.xml", b""),
        ("a.swf", b""),
        ("a.php", b"<?php"),
        ("a.phar", b""),
        ("a.jpg", b"<script>alert(1)</script>"),
        ("a.gif", b"GIF89a\x01\x00<script>alert(1)</script>"),
        ("a.txt", b"<!doctype html><p>"),
        ("readme", b"<html>"),
    ] {
        let name = path.rsplit('/').next().unwrap();
        assert_eq!(disposition(&policy, path, bytes), Some(format!("attachment; filename*=UTF-8''{name}")), "{path}");
    }
    for (path, bytes) in [
        ("a.jpg", &b"\xff\xd8\xff\xe0\0\x10JFIF"[..]),
        ("a.txt", b"Use <script> so."),
        ("a.css", b"a{}"),
        ("a.js", b"1"),
    ] {
        assert_eq!(disposition(&policy, path, bytes), None, "{path}");
    }
    let odd = disposition(&policy, "d/\u{e9} \"x\";.html", b"").unwrap();
    assert_eq!(odd, "attachment; filename*=UTF-8''%C3%A9%20%22x%22%3B.html");
    assert_eq!(dressed(&policy, "a.php", b"<?php").0.content_type.as_deref(), Some(UNKNOWN));
}

#[test]
fn an_svg_that_only_draws_may_be_shown() {
    let policy = Policy::new(Wishes { inline_svg: true, ..wishes() });
    assert_eq!(disposition(&policy, "a.svg", b"<svg><path d='M0 0'/></svg>"), None);
    assert!(disposition(&policy, "a.svg", b"<svg onload='x'/>").is_some());
    let (mut headers, key) = (Headers::default(), Key::new("site/a.svg"));
    policy.dress(&mut headers, &key, 100_000, b"<svg>");
    assert!(headers.content_disposition.is_some(), "nobody saw the rest");
    assert!(disposition(&policy, "a.svgz", b"\x1f\x8b").is_some());
}

#[test]
fn packed_svg_is_told_and_archives_are_not() {
    let policy = Policy::new(wishes());
    let of = |path| dressed(&policy, path, b"\x1f\x8b").0;
    assert_eq!(of("a.svgz").content_encoding.as_deref(), Some("gzip"));
    assert_eq!(of("a.svgz").content_type.as_deref(), Some("image/svg+xml"));
    for path in ["a.gz", "a.tgz", "a.tar.gz"] {
        assert_eq!(of(path).content_encoding, None, "{path}");
    }
}

#[test]
fn of_two_rules_the_later_one_counts() {
    let policy = rules(
        "[[rule]]\ncache_control = 'max-age=1'\n[[rule]]\nnames = ['*.pdf']\ncache_control = 'max-age=2'\ncontent_disposition \
         = 'inline'\n[[rule]]\nnames = ['old/**']\ncache_control = 'none'\n[[rule]]\ntypes = \
         ['text/html']\ncontent_disposition = 'none'\n",
    );
    assert_eq!(cache_control(&policy, "a.jpg").as_deref(), Some("max-age=1"));
    assert_eq!(cache_control(&policy, "a.pdf").as_deref(), Some("max-age=2"));
    assert_eq!(cache_control(&policy, "old/a.pdf"), None);
    assert_eq!(disposition(&policy, "a.pdf", b"").as_deref(), Some("inline"));
    assert_eq!(disposition(&policy, "a.html", b""), None);
}

#[test]
fn tags_are_in_the_metadata() {
    let policy = Policy::new(Wishes { site: Some("example.org".to_owned()), ..wishes() });
    let (headers, _) = dressed(&policy, "2026/a.jpg", b"");
    assert_eq!(headers.user.get("cache-tag").map(String::as_str), Some("example.org,example.org/2026"));
}

#[track_caller]
fn renamed(policy: &Policy, from: &str, bytes: &[u8], to: &str) -> Headers {
    let (mut headers, from) = dressed(policy, from, bytes);
    policy.redress(&mut headers, (&from, &Key::new(&format!("site/{to}"))), bytes.len() as u64, None);
    headers
}

#[test]
fn a_rename_gives_what_the_new_name_asks_for() {
    let policy = Policy::new(Wishes { site: Some("s".to_owned()), ..wishes() });
    for (from, to, bytes) in [
        ("upload.part", "2026/photo.jpg", &b"\xff\xd8"[..]),
        ("a.css", "b.txt", b"a{}"),
        ("a.html", "b.jpg.html", b""),
        ("photo.jpg", "secret/photo.jpg", b""),
        ("secret/photo.jpg", "photo.jpg", b""),
        ("a.jpg", "app.3f2a9c1b.js", b"\xff"),
        ("a.svgz", "b.svgz", b"\x1f\x8b"),
        ("a.jpg", "a.php", b"\xff"),
    ] {
        assert_eq!(renamed(&policy, from, bytes, to), dressed(&policy, to, bytes).0, "{from} to {to}");
    }
    // What was found out from the bytes is not forgotten with the name.
    let acting = renamed(&policy, "a.jpg", b"<script>", "b.png");
    assert_eq!(acting.content_disposition.as_deref(), Some("attachment; filename*=UTF-8''b.png"));
    // A name that tells no type says nothing against the one that there is.
    assert_eq!(renamed(&policy, "a.png", b"", "a").content_type.as_deref(), Some("image/png"));
}

#[test]
fn a_rename_leaves_what_others_set() {
    let policy = Policy::new(Wishes { site: Some("s".to_owned()), ..wishes() });
    let theirs = Headers {
        content_type: Some("text/x-own".to_owned()),
        cache_control: Some("max-age=7".to_owned()),
        content_disposition: Some("attachment; filename=\"b.zip\"".to_owned()),
        content_encoding: Some("br".to_owned()),
        content_language: Some("de".to_owned()),
        expires: Some("Thu, 01 Dec 2033 16:00:00 GMT".to_owned()),
        user: [("cache-tag", "mine"), ("own", "x")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..Headers::default()
    };
    let mut headers = theirs.clone();
    policy.redress(&mut headers, (&Key::new("site/a.tmp"), &Key::new("site/secret/b")), 1, None);
    assert_eq!(headers, theirs);
    policy.redress(&mut headers, (&Key::new("site/secret/b"), &Key::new("site/b.png")), 1, None);
    assert_eq!(headers, Headers { content_type: Some("image/png".to_owned()), ..theirs });
}

#[test]
fn rules_follow_a_rename() {
    let policy = rules("[[rule]]\nnames = ['a/**']\ncontent_type = 'text/x-a'\ncontent_language = 'de'\n");
    assert_eq!(renamed(&policy, "a/x", b"\xff", "b/x"), dressed(&policy, "b/x", b"\xff").0);
    assert_eq!(renamed(&policy, "b/x", b"\xff", "a/x"), dressed(&policy, "a/x", b"\xff").0);
}

#[test]
fn what_lacks_headers_gets_them() {
    let policy = Policy::new(wishes());
    let key = Key::new("site/a.css");
    let mut bare = Headers { content_type: Some("binary/octet-stream".to_owned()), ..Headers::default() };
    let aligned = policy.align(&mut bare, &key, 3, b"a{}", false);
    assert_eq!(aligned, Aligned { changed: true, kept: false });
    assert_eq!(bare, dressed(&policy, "a.css", b"a{}").0);
    assert_eq!(policy.align(&mut bare, &key, 3, b"a{}", false), Aligned::default());
    let theirs = Headers {
        content_type: Some("text/x-own".to_owned()),
        cache_control: Some("max-age=7".to_owned()),
        ..Headers::default()
    };
    let mut headers = theirs.clone();
    assert_eq!(policy.align(&mut headers, &key, 3, b"a{}", false), Aligned { changed: false, kept: true });
    assert_eq!(headers, theirs);
    assert_eq!(policy.align(&mut headers, &key, 3, b"a{}", true), Aligned { changed: true, kept: false });
    assert_eq!(headers, dressed(&policy, "a.css", b"a{}").0);
    let mut plain = Headers { content_type: Some("text/css".to_owned()), ..headers.clone() };
    assert!(policy.align(&mut plain, &key, 3, b"a{}", false).changed);
    assert_eq!(plain, headers);
}

#[test]
fn a_mount_that_becomes_private_or_public_is_followed_by_what_is_there() {
    let public = Policy::new(wishes());
    let private = Policy::new(Wishes { exposure: Exposure::Private, ..wishes() });
    for path in ["a.jpg", "app.3f2a9c1b.js", "a.svg"] {
        for (before, after) in [(&public, &private), (&private, &public)] {
            let ((mut headers, key), expect) = (dressed(before, path, b"x"), dressed(after, path, b"x").0);
            assert_eq!(
                after.align(&mut headers, &key, 1, b"x", false),
                Aligned { changed: true, kept: false },
                "{path}"
            );
            assert_eq!(headers, expect, "{path}");
        }
    }
    // Bundlers write that, too: of a name that is none of ours it is theirs.
    let (mut headers, key) = dressed(&public, "index-BsUdYqYE.js", b"x");
    headers.cache_control = Some("public, max-age=31536000, immutable".to_owned());
    assert_eq!(private.align(&mut headers, &key, 1, b"x", false), Aligned { changed: false, kept: true });
    let shown = Policy::new(Wishes { inline_svg: true, ..wishes() });
    let picture = b"<svg xmlns='http://www.w3.org/2000/svg'/>";
    let (mut headers, key) = dressed(&public, "a.svg", picture);
    assert!(headers.content_disposition.is_some());
    shown.align(&mut headers, &key, picture.len() as u64, picture, false);
    assert_eq!(headers.content_disposition, None);
}

#[test]
fn a_rule_about_size_is_settled_beyond_it() {
    let policy = rules("[[rule]]\nmin_size = '1MiB'\ncache_control = 'no-store'\n");
    assert_eq!([1, 1 << 20].map(|size| policy.is_settled(size)), [false, true]);
    assert!(Policy::default().is_settled(0));
}
