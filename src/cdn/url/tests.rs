use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::*;
use crate::model::version::ETag;

fn base(text: &str, family: Family) -> Base {
    Base::parse(text, family).unwrap()
}

/// A mount of `site/` behind a CDN, on a site that shows it as /images.
fn mapper() -> Mapper {
    let bases = vec![
        base("https://www.example.org/images/", Family::Site),
        base("https://cdn.example.org", Family::Cdn),
        base("https://old.example.org/assets", Family::Cdn),
    ];
    Mapper::new(Prefix::parse("site").unwrap(), bases)
}

fn version(etag: &str) -> Version {
    Version { etag: ETag::new(etag), modified: Some(1), size: 3 }
}

#[test]
fn both_families_have_their_urls() {
    let key = Key::new("site/2026/a b+c.png");
    let mapper = mapper();
    assert_eq!(mapper.url(&key, Family::Cdn).unwrap(), "https://cdn.example.org/site/2026/a%20b%2Bc.png");
    assert_eq!(mapper.url(&key, Family::Site).unwrap(), "https://www.example.org/images/2026/a%20b%2Bc.png");
    assert_eq!(mapper.public(&key), mapper.url(&key, Family::Cdn));
    let site = Mapper::new(Prefix::default(), vec![base("http://a/b", Family::Site)]);
    assert_eq!(site.public(&Key::new("x")).unwrap(), "http://a/b/x");
    assert_eq!(Mapper::default().public(&Key::new("x")), None);
}

#[test]
fn a_base_says_what_follows_it() {
    let key = Key::new("site/x");
    let of = |text, family| Mapper::new(Prefix::parse("site").unwrap(), vec![base(text, family)]).public(&key).unwrap();
    assert_eq!(of("https://pull.example.org/{path}", Family::Cdn), "https://pull.example.org/x");
    assert_eq!(of("https://pull.example.org/a{path}", Family::Cdn), "https://pull.example.org/a/x");
    assert_eq!(of("https://www.example.org/bucket/{key}", Family::Site), "https://www.example.org/bucket/site/x");
}

#[test]
fn what_is_no_file_of_the_mount_has_no_url() {
    let mapper = mapper();
    for key in ["other/a", "site/", "site/dir/", "site/.originfs/view", "site/.originfs", "site", ""] {
        assert_eq!(mapper.public(&Key::new(key)), None, "{key}");
        assert_eq!(mapper.all(&Key::new(key), &[]), [""; 0], "{key}");
    }
    assert!(mapper.public(&Key::new("site/.originfs2/a")).is_some());
}

#[test]
fn a_cache_may_have_every_base_spelling_and_token() {
    let token = Token::of(&version("\"0123456789abcdef0123456789abcdef\""));
    let mapper = Mapper::new(Prefix::default(), vec![base("https://c", Family::Cdn), base("http://s/i", Family::Site)]);
    assert_eq!(
        mapper.all(&Key::new("d/a(1).png"), &[token]),
        [
            "https://c/d/a%281%29.png",
            "https://c/d/a%281%29.png?v=0123456789ab",
            "https://c/d/a(1).png",
            "https://c/d/a(1).png?v=0123456789ab",
            "http://s/i/d/a%281%29.png",
            "http://s/i/d/a%281%29.png?v=0123456789ab",
            "http://s/i/d/a(1).png",
            "http://s/i/d/a(1).png?v=0123456789ab",
        ]
    );
    assert_eq!(mapper.all(&Key::new("d/a.png"), &[]), ["https://c/d/a.png", "http://s/i/d/a.png"]);
    assert_eq!(mapper.below(&Key::new("d (1)")).len(), 4);
    assert_eq!(mapper.below(&Key::new("d/")), ["https://c/d/", "http://s/i/d/"]);
    assert_eq!(mapper.below(&Key::new("")), ["https://c/", "http://s/i/"]);
}

#[test]
fn below_the_mount_is_all_of_it() {
    let all =
        ["https://www.example.org/images/", "https://cdn.example.org/site/", "https://old.example.org/assets/site/"];
    for key in ["", "site", "site/"] {
        assert_eq!(mapper().below(&Key::new(key)), all, "{key:?}");
    }
    assert_eq!(mapper().below(&Key::new("other")), [""; 0]);
    assert_eq!(mapper().below(&Key::new("site/.originfs")), [""; 0]);
}

#[test]
fn bases_are_brought_to_one_form() {
    let one = base("HTTPS://CDN.Example.org:443/a%20b/", Family::Cdn);
    assert_eq!((one.origin(), one.host()), ("https://cdn.example.org", "cdn.example.org"));
    assert_eq!(one, base("https://cdn.example.org/a%20b", Family::Cdn));
    assert_eq!(base("http://[::1]:8080", Family::Site).host(), "[::1]:8080");
}

#[test]
fn what_is_no_base_is_named() {
    for (text, part) in [
        ("cdn.example.org", "no https://"),
        ("ftp://cdn.example.org", "neither https nor http"),
        ("https:///a", "names no host"),
        ("https://user@host/", "names no host"),
        ("https://m\u{fc}nchen.example/", "names no host"),
        ("https://a/b c", "must encode"),
        ("https://a/b?c=d", "must encode"),
        ("https://a/b#c", "must encode"),
        ("https://a//b", "empty or a dotted part"),
        ("https://a/../b", "empty or a dotted part"),
    ] {
        let err = Base::parse(text, Family::Cdn).unwrap_err().to_string();
        assert!(err.contains(part), "{err}");
    }
}

#[test]
fn a_token_follows_the_bytes() {
    let md5 = "9e107d9d372bb6826bd81d3542a419d6";
    let plain = Token::of(&version(&format!("\"{md5}\"")));
    assert_eq!(plain.as_str(), "9e107d9d372b");
    // Without quotes, and with another Last-Modified.
    assert_eq!(Token::of(&Version { modified: None, ..version(md5) }), plain);
    assert_eq!(Token::of(&version(&md5.to_uppercase())), plain);
    assert_eq!(Token::of(&version(&format!("\"{md5}-3\""))), plain);
    let odd = Token::of(&version("W/\"x\""));
    assert_eq!(Token::parse(odd.as_str()), Some(odd));
    for text in ["", "9E107D9D372B", "9e107d9d372", "9e107d9d372bb", "9e107d9d372g"] {
        assert_eq!(Token::parse(text), None, "{text}");
    }
}

#[test]
fn a_token_is_a_parameter() {
    let token = Token::parse("0123456789ab").unwrap();
    assert_eq!(versioned("https://a/b", &token), "https://a/b?v=0123456789ab");
    assert_eq!(versioned("https://a/b?c=d", &token), "https://a/b?c=d&v=0123456789ab");
}

#[test]
fn the_other_scheme() {
    assert_eq!(other_scheme("https://a/b").as_deref(), Some("http://a/b"));
    assert_eq!(other_scheme("http://a/b").as_deref(), Some("https://a/b"));
    assert_eq!(other_scheme("//a/b"), None);
}

proptest! {
    /// Whatever the name, a server that decodes the path of the URL finds the key, and nothing in it means anything else.
    #[test]
    fn every_name_comes_back(names in prop::collection::vec("[^/\\x00]{1,12}", 1..4)) {
        let key = Key::new(&format!("site/{}", names.join("/")));
        prop_assume!(names.iter().all(|name| Name::from_key(name).is_some()) && names[0] != CONTROL);
        for url in mapper().all(&key, &[]) {
            prop_assert!(url.is_ascii());
            let path = url.split_once("://").unwrap().1.split_once('/').unwrap().1;
            prop_assert!(!path.contains(['?', '#', ' ', '"', '<', '>', '\\']) && !path.contains(char::is_control), "{}", url);
            let decoded = percent_decode_str(path).decode_utf8().unwrap().into_owned();
            let end = key.as_str().strip_prefix("site/").unwrap();
            prop_assert!(decoded.ends_with(&format!("/{end}")), "{} {}", url, key);
        }
        let strict = mapper().public(&key).unwrap();
        prop_assert!(!strict.contains('+'));
    }

    #[test]
    fn every_byte_of_a_base_is_judged(text in "\\PC{0,30}|https?://[!-~]{0,20}") {
        if let Ok(base) = Base::parse(&text, Family::Cdn) {
            prop_assert!(base.origin().starts_with("http") && !base.host().is_empty());
        }
    }
}
