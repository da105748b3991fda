//! What vendors publish, as requests and answers to the letter.

mod akamai;
mod bunny;
mod cloudfront;
mod digitalocean;
mod drive;
mod fastly;
mod keycdn;

use super::*;
use crate::{
    cdn::{
        purge::{lane::Waiting, rate::Size, target::Target, versions::Versions},
        url::{Base, Family, Mapper},
    },
    model::key::Prefix,
};

fn common() -> Common {
    let base = Base::parse("https://cdn.example.com", Family::Cdn).unwrap();
    let site = Base::parse("https://www.example.com/images", Family::Site).unwrap();
    Common {
        urls: Urls::new(Mapper::new(Prefix::parse("site").unwrap(), vec![base, site]), false),
        root: "site/".into(),
        hosts: 1,
        collapse_at: 50,
        everything: false,
        repurge_after: None,
    }
}

fn batch(class: Class, targets: &[Target]) -> Batch {
    let since = crate::clock::now();
    let member = |target: &Target| Waiting {
        target: target.clone(),
        versions: Versions::default(),
        ids: Vec::new(),
        since,
        twice: false,
    };
    Batch { number: 1, class, size: Size::default(), members: targets.iter().map(member).collect() }
}

fn object(key: &str) -> Target {
    Target::Object(key.into())
}

fn below(dir: &str) -> Target {
    Target::Below(dir.into())
}

fn tag(tag: &str) -> Target {
    Target::Tag(tag.into())
}

/// Method, URL and body of each request for some targets, which go in one batch.
fn sent(vendor: &Vendor, targets: &[Target]) -> Vec<String> {
    let common = common();
    let contract = vendor.contract(&common);
    let class = contract.class(&targets[0]);
    assert!(targets.iter().all(|target| contract.class(target) == class && contract.can(target)));
    let requests = vendor.requests(&common, &batch(class, targets), &Secret::new("secret\n"));
    let items = targets.iter().map(|target| contract.weight(target, &Versions::default()).items).sum::<usize>();
    assert!(requests.len() <= items.div_ceil(contract.most(class)), "more requests than are paid for");
    for request in &requests {
        assert!(!format!("{request:?}").contains("secret"));
    }
    requests.iter().map(|request| format!("{} {} {}", request.method, request.url, request.body)).collect()
}

#[track_caller]
fn judged(vendor: &Vendor, status: u16, body: &str, expect: &str) {
    let response = Response { status, retry_after: Some(Duration::from_secs(7)), body: body.to_owned() };
    let verdict = format!("{:?}", vendor.verdict(&response));
    assert!(verdict.starts_with(expect), "{status} {body}: {verdict}");
}

fn cloudflare(queries: bool) -> Vendor {
    Vendor::Cloudflare(cloudflare::Cloudflare {
        api: "https://api".to_owned(),
        zone: "z".to_owned(),
        plan: cloudflare::Plan::Free,
        origins: vec!["https://www.example.com".to_owned()],
        queries,
    })
}

#[test]
fn cloudflare_is_asked_by_files_prefixes_and_tags() {
    let vendor = cloudflare(false);
    let start = "POST https://api/zones/z/purge_cache ";
    let origin = r#""headers":{"Origin":"https://www.example.com"}"#;
    let (cdn, www) = ("https://cdn.example.com/site/a.png", "https://www.example.com/images/a.png");
    let files = format!(r#"{{"files":[{{{origin},"url":"{cdn}"}},"{cdn}",{{{origin},"url":"{www}"}},"{www}"]}}"#);
    assert_eq!(sent(&vendor, &[object("site/a.png")]), [format!("{start}{files}")]);
    let prefixes = r#"{"prefixes":["cdn.example.com/site/2026/11","www.example.com/images/2026/11"]}"#;
    assert_eq!(sent(&vendor, &[below("site/2026/11/")]), [format!("{start}{prefixes}")]);
    assert_eq!(sent(&vendor, &[tag("a"), tag("b")]), [format!(r#"{start}{{"tags":["a","b"]}}"#)]);
    assert_eq!(sent(&vendor, &[Target::Everything]), [format!(r#"{start}{{"purge_everything":true}}"#)]);
    let prefixes = r#"{"prefixes":["cdn.example.com/site/a.png","www.example.com/images/a.png"]}"#;
    assert_eq!(sent(&cloudflare(true), &[object("site/a.png")]), [format!("{start}{prefixes}")]);
    let many: Vec<Target> = (0..10).map(|n| object(&format!("site/{n}"))).collect();
    assert_eq!(sent(&vendor, &many).len(), 2, "40 items, 30 in a request");
}

#[test]
fn cloudflares_answers() {
    let vendor = cloudflare(false);
    judged(&vendor, 200, r#"{"success":true,"errors":[],"messages":[],"result":{"id":"1"}}"#, "Done");
    judged(&vendor, 200, r#"{"success":false,"errors":[{"code":1012,"message":"x"}]}"#, "Failed");
    judged(&vendor, 200, "<html>", "Failed");
    judged(&vendor, 429, "", "Busy(Some(7s)");
    judged(&vendor, 403, "", "Refused");
    judged(&vendor, 400, r#"{"success":false,"errors":[{"code":1014}]}"#, "Bad");
    judged(&vendor, 502, "", "Failed");
}

#[test]
fn edges_of_ones_own_get_paths_and_hosts() {
    let edge = |below| Vendor::Edge(edge::Edge { address: "http://10.0.0.1:6081".to_owned(), below });
    let vendor = edge(edge::Below::Star);
    let expect = ["PURGE http://10.0.0.1:6081/site/a.png ", "PURGE http://10.0.0.1:6081/images/a.png "];
    assert_eq!(sent(&vendor, &[object("site/a.png")]), expect);
    let expect = ["PURGE http://10.0.0.1:6081/site/d/* ", "PURGE http://10.0.0.1:6081/images/d/* "];
    assert_eq!(sent(&vendor, &[below("site/d/")]), expect);
    let requests =
        edge(edge::Below::Ban).requests(&common(), &batch(Class::Prefixes, &[below("site/d.e/")]), &Secret::default());
    let ban = [("host", "cdn.example.com".to_owned()), ("x-ban-url", r"^/site/d\.e/".to_owned())];
    assert_eq!((requests[0].method, &requests[0].headers[..]), ("BAN", &ban[..]));
    for (status, expect) in [(200, "Done"), (204, "Done"), (404, "Done"), (412, "Done"), (405, "Refused")] {
        judged(&vendor, status, "", expect);
    }
    assert!(!edge(edge::Below::Never).contract(&common()).can(&below("site/")));
}

#[test]
fn a_webhook_is_told_all_of_it_at_once() {
    let vendor = Vendor::Webhook(webhook::Webhook { url: "http://127.0.0.1:1/purge".to_owned() });
    let told = sent(&vendor, &[object("site/a.png"), below("site/d/"), tag("t")]);
    let urls = r#"["https://cdn.example.com/site/a.png","https://www.example.com/images/a.png"]"#;
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(&format!(r#"{{"key":"site/a.png","urls":{urls}}}"#)), "{told:?}");
    assert!(told[0].contains(r#""tags":["t"]"#) && told[0].contains(r#""key":"site/d/""#), "{told:?}");
}

#[test]
fn a_program_reads_a_line_for_each() {
    let targets = [object("site/a \u{e4}.jpg"), below("site/d/"), tag("t"), Target::Everything];
    let vendor = Vendor::Command(command::Command { words: vec!["purge".to_owned()] });
    let common = common();
    let contract = vendor.contract(&common);
    assert!(targets.iter().all(|target| contract.can(target)));
    let input = command::Command::input(&common, &batch(Class::Urls, &targets));
    let lines: Vec<serde_json::Value> = input.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["key"], "site/a \u{e4}.jpg");
    assert_eq!(lines[0]["urls"][0], "https://cdn.example.com/site/a%20%C3%A4.jpg");
    assert_eq!((&lines[1]["directory"], &lines[2]["tag"]), (&"site/d/".into(), &"t".into()));
    assert_eq!((&lines[3]["everything"], lines.len()), (&true.into(), 4));
    for (code, expect) in [(0, "Done"), (65, "Bad"), (77, "Refused"), (78, "Refused"), (75, "Failed"), (255, "Failed")]
    {
        let verdict = vendor.verdict(&Response { status: code, ..Response::default() });
        assert!(format!("{verdict:?}").starts_with(expect), "{code}: {verdict:?}");
    }
}
