use std::{fs, path::Path};

use super::*;
use crate::{cdn::purge::vendor::cloudflare::Plan, model::key::Prefix};

/// A site with two directories, and a bucket with a host of its own.
fn rules() -> Rules {
    let mount = |prefix: &str, url: &str, family, more: &str| {
        let prefix = Prefix::parse(prefix).unwrap();
        let withheld = Withheld::some(prefix.clone(), (!more.is_empty()).then_some(more)).unwrap();
        let base = Base::parse(url, family).unwrap();
        let bucket = format!("http://127.0.0.1:9000/site-bucket/{}", prefix.as_str());
        Area::of(&Mapper::new(prefix, vec![base.clone()]), &[base], &withheld, &bucket)
    };
    let areas = [
        mount("images", "https://www.example.org/images", Family::Site, ""),
        mount("uploads", "https://www.example.org/wp-content/uploads", Family::Site, "woocommerce_uploads/**"),
        mount("images", "https://cdn.example.org", Family::Cdn, ""),
    ];
    let wishes = Wishes {
        edge: Some(MONTH),
        cors: true,
        origin: Some("http://127.0.0.1:8080".to_owned()),
        listen: Some("127.0.0.1:8081".to_owned()),
        purgers: vec!["127.0.0.1".to_owned(), "10.0.0.0/8".to_owned()],
        ..Wishes::default()
    };
    Rules { areas: areas.concat(), wishes }
}

/// `ORIGINFS_WRITE_GOLDEN=1` writes what is made now, to be read before it is committed.
#[track_caller]
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cdn/rules/golden").join(name);
    if std::env::var_os("ORIGINFS_WRITE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap_or_default(), "{name}");
}

#[test]
fn each_format_is_as_it_was_read_and_found_right() {
    let rules = rules();
    check("cloudflare.json", &cloudflare::emit(&rules, "www", Plan::Free).unwrap());
    check("terraform.tf", &terraform::emit(&rules, "www", Plan::Free).unwrap());
    check("cloudfront.json", &cloudfront::emit(&rules, "www").unwrap());
    check("nginx.conf", &nginx::emit(&rules).unwrap());
    check("varnish.vcl", &varnish::emit(&rules).unwrap());
    check("apache.conf", &apache::emit(&rules).unwrap());
}
