//! What the options say about visitors and the CDN that they come through.

use super::*;

#[test]
fn an_outage_has_two_ways_and_a_file_to_look_at() {
    let urls = "cdn_url=https://cdn.example.org,site_url=https://www.example.org/pictures/";
    let parse = |more: &str| try_parse("site:/images", &format!("{urls},{more}"), &root(), Unknown::Refuse);
    let outage = parse("cdn_probe=/a logo.png,cdn_map=map,cdn_reload=nginx -s reload").unwrap().options.outage.unwrap();
    assert_eq!(outage.key, Key::new("images/a logo.png"));
    assert_eq!(outage.url, "https://cdn.example.org/images/a%20logo.png");
    assert_eq!(outage.bases.cdn, "https://cdn.example.org/images");
    assert_eq!(outage.bases.site, "https://www.example.org/pictures");
    assert_eq!(outage.map.as_deref(), Some(Path::new("/home/me/map")));
    assert_eq!((outage.rules.down_after, outage.rules.up_after), (3, 5));
    assert_eq!(outage.interval.as_secs() + outage.rules.hold.as_secs(), 70);
    assert!(parse("").unwrap().options.outage.is_none());
    let refused = |more: &str| parse(more).unwrap_err().to_string();
    assert_eq!(refused("cdn_map=map"), "cdn_map needs cdn_probe");
    assert_eq!(refused("cdn_probe=a.png,cdn_reload=true"), "cdn_reload needs cdn_map: nothing else changes");
    for path in ["a/", "../a.png", ".originfs/a", "/"] {
        assert!(refused(&format!("cdn_probe={path}")).contains("expected the path of a file in the mount"), "{path}");
    }
    assert!(refused("cdn_probe=.htaccess").contains("not for the public"));
    let alone = try_parse("site", "cdn_url=https://cdn.example.org,cdn_probe=a", &root(), Unknown::Refuse);
    assert!(alone.unwrap_err().to_string().contains("needs cdn_url and site_url"));
}

#[test]
fn what_the_public_may_read() {
    let public = |options: &str, path: &str| {
        let fs = good(options).options.fs;
        fs.headers.is_public(&Key::new(path))
    };
    assert!(public("", "a.jpg") && public("acl=public-read", "a.jpg") && public("exposure=public", "a.jpg"));
    assert!(!public("exposure=private", "a.jpg") && !public("", "index.php") && !public("private=x/**:y", "y/a.jpg"));
    bad("site", "private=[", "option private: pattern \"[\": invalid range pattern");
    bad("site", "exposure=private,acl=public-read", "exposure=private and acl=public-read exclude each other");
    let at = |mountpoint: &str, options: &str| {
        let words = words::split(options).unwrap();
        let mountpoint = Path::new(mountpoint);
        let parsed = parse(&Request { source: "site", mountpoint, words: &words, unknown: Unknown::Refuse }, &root());
        parsed.map(|parsed| parsed.options)
    };
    let photo = Key::new("a.jpg");
    let moodle = "/var/moodledata/filedir";
    assert!(!at(moodle, "").unwrap().fs.headers.is_public(&photo), "Moodle asks who may");
    assert!(at(moodle, "").unwrap().s3.withheld.is_all());
    assert!(at(moodle, "exposure=public,acl=public-read").unwrap().fs.headers.is_public(&photo));
    let refused = at(moodle, "acl=public-read").unwrap_err().to_string();
    assert!(refused.contains("filedir private; exposure=public says that this one is not"), "{refused}");
    let uploads = at("/srv/wp-content/uploads", "").unwrap();
    assert!(!uploads.fs.headers.is_public(&Key::new("woocommerce_uploads/a.pdf")));
    assert!(uploads.fs.headers.is_public(&photo) && !uploads.s3.withheld.covers(&photo));
    assert!(uploads.s3.withheld.covers(&Key::new(".htaccess")));
}

#[test]
fn headers_by_option_and_by_file() {
    let dir = std::env::temp_dir().join(format!("originfs-headers-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let cached = |options: &str, path: &str| {
        let parsed = good(options);
        let mut headers = crate::store::Headers::default();
        parsed.options.fs.headers.dress(&mut headers, &Key::new(path), 1, b"x");
        (headers.cache_control, parsed.warnings.len())
    };
    assert_eq!(cached("cache_control=no-store", "a.png"), (Some("no-store".into()), 0));
    assert_eq!(cached("cache_control=none", "a.png"), (None, 0));
    assert_eq!(cached("cache_control=none", "a.sql"), (Some("private, no-cache".into()), 0));
    let toml = dir.join("rules.toml");
    std::fs::write(&toml, "[[rule]]\nnames = ['*.png']\ncache_control = 'max-age=9'\n").unwrap();
    assert_eq!(
        cached(&format!("headers={},cache_control=no-store", toml.display()), "a.png").0,
        Some("max-age=9".into())
    );
    let s3fs = dir.join("ahbe.conf");
    std::fs::write(&s3fs, ".png Cache-Control max-age=8\n.png X-Odd 1\n").unwrap();
    assert_eq!(cached(&format!("ahbe_conf={}", s3fs.display()), "a.png"), (Some("max-age=8".into()), 1));
    std::fs::write(&toml, "[[rule]]\n").unwrap();
    let wrong = format!("headers={}: rule 1: it sets no header", toml.display());
    bad("site", &format!("headers={}", toml.display()), &wrong);
    let err = try_parse("site", "headers=/nonexistent", &root(), Unknown::Refuse).unwrap_err().to_string();
    assert!(err.starts_with("headers=/nonexistent: No such file"), "{err}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn urls_of_both_families() {
    let options =
        "cdn_url=https://cdn.example.org;https://old.example.org/{path},site_url=https://www.example.org/images/";
    let urls = try_parse("site:/up", options, &root(), Unknown::Refuse).unwrap().options.fs.urls;
    let expect = ["https://cdn.example.org/up/a", "https://old.example.org/a", "https://www.example.org/images/a"]
        .map(str::to_owned);
    assert_eq!(urls.all(&Key::new("up/a"), &[]), expect);
    bad("site", "cdn_url=cdn.example.org", "cdn_url: \"cdn.example.org\" has no https:// at its start");
}
