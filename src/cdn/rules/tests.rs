use std::{fs, path::Path};

use super::*;
use crate::{cdn::purge::vendor::cloudflare::Plan, model::key::Prefix};

/// A site with two directories, and a bucket with a host of its own.
fn rules() -> Rules {
    let mount = |prefix: &str, url: &str, family, more: &str, tag: &str| {
        let prefix = Prefix::parse(prefix).unwrap();
        let withheld = Withheld::some(prefix.clone(), (!more.is_empty()).then_some(more)).unwrap();
        let base = Base::parse(url, family).unwrap();
        let bucket = format!("http://127.0.0.1:9000/site-bucket/{}", prefix.as_str());
        let mut areas = Area::of(&Mapper::new(prefix, vec![base.clone()]), &[base], &withheld, &bucket);
        for area in &mut areas {
            area.tag = (!tag.is_empty()).then(|| tag.to_owned());
        }
        areas
    };
    let areas = [
        mount("images", "https://www.example.org/images", Family::Site, "", "example.org"),
        mount("uploads", "https://www.example.org/wp-content/uploads", Family::Site, "woocommerce_uploads/**", ""),
        mount("images", "https://cdn.example.org", Family::Cdn, "", "example.org"),
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
    check("cors.json", &cors::emit(&Rules { wishes: Wishes::default(), ..rules }, &[]).unwrap());
}

#[test]
fn a_phase_without_rules_of_ours_is_left_to_others() {
    let mut rules = rules();
    for area in &mut rules.areas {
        area.tag = None;
    }
    for text in [cloudflare::emit(&rules, "www", Plan::Free), terraform::emit(&rules, "www", Plan::Free)] {
        let text = text.unwrap();
        assert!(text.contains(cloudflare::CACHE) && !text.contains(cloudflare::TAGS), "{text}");
    }
}

#[test]
fn more_tags_than_a_plan_has_rules_are_told() {
    let mut rules = rules();
    let area = rules.areas[0].clone();
    let other = |n: usize| Area { path: format!("/d{n}/"), tag: Some(format!("t{n}")), ..area.clone() };
    rules.areas.extend((0..11).map(other));
    let err = cloudflare::emit(&rules, "www", Plan::Free).unwrap_err();
    assert!(err.contains("cache response rules: the plan has 10"), "{err}");
    assert!(cloudflare::emit(&rules, "www", Plan::Pro).is_ok());
}

#[test]
fn a_bucket_is_told_whose_pages_may_use_it() {
    let mut rules = rules();
    assert!(cors::emit(&rules, &["https://a.example".to_owned()]).unwrap().contains(r#""*""#), "for all");
    rules.wishes.cors = false;
    let some = cors::emit(&rules, &["https://a.example".to_owned()]).unwrap();
    assert!(some.contains("https://a.example") && !some.contains("www.example.org"), "{some}");
    rules.areas.retain(|area| area.family == Family::Cdn);
    assert!(cors::emit(&rules, &[]).unwrap_err().contains("whose pages"));
}
