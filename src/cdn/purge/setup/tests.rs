use super::*;
use crate::{
    cdn::{
        purge::{target::Rounds, versions::Versions},
        url::Token,
    },
    config::file::File,
};

fn planned(text: &str, public: Vec<Base>) -> Result<Vec<Planned>, String> {
    let file = File::parse(text).map_err(|err| err.to_string())?;
    let prefix = Prefix::parse("site").unwrap();
    stations(&file.cdn, &prefix, &Mapper::new(prefix.clone(), public))
}

fn plan(text: &str) -> Result<Vec<String>, String> {
    Ok(planned(text, Vec::new())?.into_iter().map(|planned| planned.station.name).collect())
}

#[test]
fn a_table_without_urls_is_about_those_of_the_mount() {
    let public = || {
        vec![
            Base::parse("https://cdn.example", Family::Cdn).unwrap(),
            Base::parse("https://www.example/images", Family::Site).unwrap(),
        ]
    };
    let text = "[[cdn]]\nvendor = 'http'\nedges = 'http://10.0.0.1'\n";
    let all = planned(text, public()).unwrap();
    assert_eq!(all[0].station.common.urls.of("site/a"), ["https://cdn.example/site/a", "https://www.example/images/a"]);
    // One that says any has those alone.
    let all = planned(&format!("{text}base = 'https://other.example'\n"), public()).unwrap();
    assert_eq!(all[0].station.common.urls.of("site/a"), ["https://other.example/site/a"]);
}

#[test]
fn each_edge_is_a_station() {
    let text = "[[cdn]]\nvendor = 'http'\nsite = 'https://a.example/images'\nedges = ['http://10.0.0.1', 'http://10.0.0.2:6081/']\nbelow = 'ban'\n[[cdn]]\nvendor = 'cloudflare'\nbase = 'https://cdn.example'\nzone = 'abc'\ntoken_env = 'TOKEN'\n";
    assert_eq!(plan(text).unwrap(), ["http 10.0.0.1", "http 10.0.0.2:6081", "cloudflare"]);
}

#[test]
fn where_purges_are_paid_for_a_budget_is_kept_and_directories_come_sooner() {
    let text = "[[cdn]]\nvendor = 'cloudfront'\nbase = 'https://a.example'\nzone = 'E1'\ntoken_env = 'T'\nhosts = 4\n";
    let contract = |more: &str| {
        let Station { vendor, common, .. } = planned(&format!("{text}{more}"), Vec::new()).unwrap().remove(0).station;
        vendor.contract(&common)
    };
    let usual = contract("");
    assert_eq!((usual.budget, usual.collapse_at, usual.rounds), (Some(250), 10, Rounds::Late(Duration::from_secs(5))));
    let own = contract("budget = 8000\ncollapse_at = 3\n");
    assert_eq!((own.budget, own.collapse_at), (Some(2000), 3));
    assert_eq!(contract("repurge_after = 0\n").rounds, Rounds::Once);
}

#[test]
fn a_vendor_that_cannot_be_told_is_named_and_no_station() {
    let text = "[[cdn]]\nvendor = 'vultr'\nbase = 'https://a.example'\n";
    assert_eq!(plan(text).unwrap(), [""; 0]);
    let told = deaf(&File::parse(text).unwrap().cdn);
    assert!(told.len() == 1 && told[0].starts_with("vultr") && told[0].contains("versioned URLs"), "{told:?}");
}

#[test]
fn what_makes_no_sense_is_named() {
    let base = "base = 'https://a.example'";
    for (text, part) in [
        ("vendor = 'http'\nedges = 'http://a'".to_owned(), "expected cdn_url="),
        (format!("vendor = 'http'\n{base}"), "expected edges"),
        (format!("vendor = 'http'\n{base}\nedges = 'http://a'\nzone = 'x'"), "zone: means nothing"),
        (format!("vendor = 'cloudflare'\n{base}\nzone = 'a/b'\ntoken_env = 'T'"), "zone: expected"),
        (format!("vendor = 'cloudflare'\n{base}\nzone = 'a'"), "expected token_file"),
        (format!("vendor = 'akamia'\n{base}"), "unknown vendor"),
        (format!("vendor = 'cloudfront'\n{base}\ntoken_env = 'T'"), "zone: expected"),
        (format!("vendor = 'cloudfront'\n{base}\nzone = 'E1'"), "expected token_file"),
        (format!("vendor = 'cloudfront'\n{base}\nzone = 'E1'\norigins = 'https://a'"), "origins: means nothing"),
        (format!("vendor = 'cloudflare'\n{base}\nzone = 'a'\nbudget = 5"), "budget: means nothing"),
        (format!("vendor = 'akamai'\n{base}\nnetwork = 'test'"), "network: expected"),
        (format!("vendor = 'akamai'\n{base}\naction = 'drop'"), "action: expected"),
        (format!("vendor = 'fastly'\n{base}\naction = 'drop'"), "action: expected"),
        (format!("vendor = 'akamai'\n{base}\nzone = 'x'\ntoken_env = 'T'"), "expected a CP code"),
        (format!("vendor = 'akamai'\n{base}"), "expected token_file"),
        (format!("vendor = 'command'\n{base}\ncommand = 'purge'"), "expected command"),
        (format!("vendor = 'webhook'\n{base}\napi = 'http://a'\ncommand = '/purge'"), "command: means nothing"),
    ] {
        let err = plan(&format!("[[cdn]]\n{text}\n")).unwrap_err();
        assert!(err.contains(part), "{err}");
    }
}

#[test]
fn versions_and_schemes_are_purged_where_they_are_variants() {
    let versions = Versions::of(["a", "b", "c"].map(|digit| Token::parse(&digit.repeat(12)).unwrap()));
    let count = |vendor: &str, more: &str| {
        let text =
            format!("[[cdn]]\nvendor = '{vendor}'\nbase = 'https://a.example'\nzone = 'E1'\ntoken_env = 'T'\n{more}");
        let common = planned(&text, Vec::new()).unwrap().remove(0).station.common;
        common.urls.all("site/x", &versions).len()
    };
    assert_eq!([count("cloudflare", ""), count("cloudflare", "schemes = false\n")], [8, 4]);
    assert_eq!(["versions = false\n", "queries = true\n"].map(|more| count("cloudflare", more)), [2, 2]);
    assert_eq!(["", "versions = false\n", "queries = true\n"].map(|more| count("cloudfront", more)), [3, 1, 1]);
    assert_eq!([count("bunny", ""), count("bunny", "schemes = true\n")], [4, 8]);
}

#[test]
fn a_vendor_that_cannot_be_told_is_told_nothing() {
    for (more, part) in [
        ("zone = '1'", "zone: means nothing"),
        ("token_file = 'a'", "vendor, base and site alone"),
        ("versions = false", "vendor, base and site alone"),
        ("everything = true", "vendor, base and site alone"),
    ] {
        let err = plan(&format!("[[cdn]]\nvendor = 'vultr'\n{more}\n")).unwrap_err();
        assert!(err.starts_with("cdn vultr: ") && err.contains(part), "{err}");
    }
    let file =
        File::parse("[[cdn]]\nvendor = 'vultr'\nbase = 'https://a.example'\n[[cdn]]\nvendor = 'linode'\n").unwrap();
    let prefix = Prefix::parse("site").unwrap();
    let public = Mapper::new(prefix, vec![Base::parse("https://b.example", Family::Cdn).unwrap()]);
    let bases = bases_of_deaf(&file.cdn, &public).unwrap();
    assert_eq!(bases.iter().map(Base::host).collect::<Vec<_>>(), ["a.example", "b.example"]);
}
