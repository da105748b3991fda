//! `KeyCDN` as it is published: key, URLs without a scheme, the length of a body and of a list of tags, a body that says
//! whether it worked, and how many calls in a minute.

use std::{collections::BTreeSet, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    drive::{Drive, Window, drain, header, list, said, slower, waits_for_its_secret},
    *,
};
use crate::cdn::purge::vendor::keycdn::KeyCdn;

const SECRET: &str = "sk_prod_secret";

fn vendor() -> Vendor {
    Vendor::KeyCdn(KeyCdn { api: "https://api.keycdn.com".to_owned(), zone: "7".to_owned() })
}

struct Fake {
    calls: Window,
    /// Bytes of a body.
    bytes: usize,
    /// Every so many calls it says 200 and that it did not work.
    fails: usize,
    count: usize,
    done: BTreeSet<String>,
    busy: usize,
}

impl Default for Fake {
    fn default() -> Self {
        let calls = Window::new(20, 60);
        Self { calls, bytes: 65_536, fails: usize::MAX, count: 0, done: BTreeSet::new(), busy: 0 }
    }
}

impl Fake {
    fn answer(&mut self, request: &Request, now: Instant) -> Response {
        let error = |status, why: &str| said(status, &json!({ "status": "error", "error_message": why }));
        if header(request, "authorization") != format!("Basic {}", STANDARD.encode(format!("{SECRET}:"))) {
            return error(401, "Authentication failed");
        }
        if let Err(after) = self.calls.take(1, now) {
            self.busy += 1;
            return slower(after, &json!({ "status": "error", "error_message": "Rate limit exceeded" }));
        }
        if request.body.len() > self.bytes {
            return error(413, "Request Entity Too Large");
        }
        let items = match (request.method, request.url.strip_prefix("https://api.keycdn.com/zones/")) {
            ("DELETE", Some("purgeurl/7.json")) => {
                let hosts = ["cdn.example.com/", "www.example.com/"];
                let fine = |url: &String| hosts.iter().any(|host| url.starts_with(host));
                list(request, "urls").filter(|urls| urls.iter().all(fine))
            }
            ("DELETE", Some("purgetag/7.json")) => {
                let len = |tags: &Vec<String>| tags.join(",").len();
                list(request, "tags").filter(|tags| len(tags) <= 128)
            }
            ("GET", Some("purge/7.json")) if request.body.is_empty() => Some(vec!["*".to_owned()]),
            _ => return error(404, "Not found"),
        };
        let Some(items) = items else { return error(400, "Bad request") };
        self.count += 1;
        if self.count.is_multiple_of(self.fails) {
            return error(200, "Cache has not been cleared");
        }
        self.done.extend(items);
        said(200, &json!({ "status": "success", "description": "Cache has been cleared for URL(s)." }))
    }
}

/// 3000 objects, at two URLs each.
fn purged(hosts: &mut [Drive], fake: &mut Fake) {
    for n in 0..3000 {
        let count = hosts.len();
        hosts[n % count].add(object(&format!("site/{n}/{}x", "long-".repeat(n % 40))));
    }
    drain(hosts, |request, now| fake.answer(request, now));
    assert_eq!(fake.done.len(), 6000);
}

#[test]
fn keycdn_gets_urls_without_a_scheme() {
    let start = "DELETE https://api.keycdn.com/zones";
    let urls = r#"{"urls":["cdn.example.com/site/a.png","www.example.com/images/a.png"]}"#;
    assert_eq!(sent(&vendor(), &[object("site/a.png")]), [format!("{start}/purgeurl/7.json {urls}")]);
    let tags = ["a", "b"].map(|tag| format!(r#"{start}/purgetag/7.json {{"tags":["{tag}"]}}"#));
    assert_eq!(sent(&vendor(), &[tag("a"), tag("b")]), tags);
    assert_eq!(sent(&vendor(), &[Target::Everything]), ["GET https://api.keycdn.com/zones/purge/7.json "]);
    judged(&vendor(), 200, r#"{"status":"success","description":"x"}"#, "Done");
    judged(&vendor(), 200, r#"{"status":"error","description":"x"}"#, "Failed");
    judged(&vendor(), 429, "", "Busy(Some(7s)");
    judged(&vendor(), 413, "", "Bad");
    judged(&vendor(), 401, "", "Refused");
}

#[test]
fn keycdn_is_asked_no_more_than_it_takes() {
    let mut fake = Fake::default();
    purged(&mut [Drive::new(vendor(), SECRET, 1)], &mut fake);
    assert_eq!(fake.busy, 0);
    // Tags go one by one: a list of them ends at 128 characters.
    let mut hosts = [Drive::new(vendor(), SECRET, 1)];
    let long = |n: usize| format!("{n:03}{}", "t".repeat(125));
    for n in 0..50 {
        hosts[0].add(tag(&long(n)));
    }
    let mut fake = Fake::default();
    drain(&mut hosts, |request, now| fake.answer(request, now));
    assert_eq!((fake.done.len(), fake.busy), (50, 0));
}

#[test]
fn keycdn_says_when_to_come_again_and_nothing_is_lost() {
    // What it says in a body counts, too.
    let mut fake = Fake { fails: 5, ..Fake::default() };
    purged(&mut [1, 2].map(|seed| Drive::new(vendor(), SECRET, seed)), &mut fake);
    assert!(fake.busy > 0, "two hosts that each take all are told so");
}

#[test]
fn keycdn_takes_less_at_once_than_it_says_and_all_are_purged() {
    let mut fake = Fake { bytes: 6000, ..Fake::default() };
    purged(&mut [Drive::new(vendor(), SECRET, 1)], &mut fake);
}

#[test]
fn keycdn_keeps_its_purges_while_the_key_is_wrong() {
    let mut fake = Fake::default();
    waits_for_its_secret(vendor(), SECRET, |request, now| fake.answer(request, now));
    assert_eq!(fake.done.len(), 2);
}

#[test]
fn what_keycdn_does_not_take_is_refused_by_its_fake() {
    let right = vendor().requests(&common(), &batch(Class::Urls, &[object("site/a")]), &Secret::new(SECRET)).remove(0);
    let now = crate::clock::now();
    let with = |field: &str, items: &[&str]| Request {
        url: format!("https://api.keycdn.com/zones/{}/7.json", if field == "urls" { "purgeurl" } else { "purgetag" }),
        body: json!({ field: items }).to_string(),
        ..right.clone()
    };
    let status = |request: &Request| Fake::default().answer(request, now).status;
    assert_eq!((status(&right), status(&with("tags", &["a", "b"]))), (200, 200));
    assert_eq!(status(&with("urls", &["https://cdn.example.com/site/a"])), 400);
    assert_eq!(status(&with("tags", &["t"; 100])), 400);
    assert_eq!(status(&with("urls", &vec!["cdn.example.com/a-long-name-of-a-file.png"; 2000])), 413);
    assert_eq!(status(&Request { method: "POST", ..right }), 404);
}
