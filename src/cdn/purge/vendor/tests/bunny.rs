//! bunny.net as it is published: key, one URL in a request, and a bucket of tokens for each kind.

use std::{collections::BTreeSet, time::Instant};

use percent_encoding::percent_decode_str;
use serde_json::json;

use super::{
    drive::{Drive, drain, header, said, slower, waits_for_its_secret},
    *,
};
use crate::cdn::purge::{
    rate::{Size, Tokens},
    vendor::bunny::Bunny,
};

const SECRET: &str = "6c9bb1b1-secret";

fn vendor() -> Vendor {
    Vendor::Bunny(Bunny { api: "https://api.bunny.net".to_owned(), zone: Some("7".to_owned()) })
}

struct Fake {
    exact: Tokens,
    prefix: Tokens,
    done: BTreeSet<String>,
    busy: usize,
}

impl Fake {
    fn new(now: Instant) -> Self {
        let (exact, prefix) = (Rate::requests(120.0, 5.0), Rate::requests(20.0, 0.5));
        Self { exact: Tokens::new(exact, now), prefix: Tokens::new(prefix, now), done: BTreeSet::new(), busy: 0 }
    }

    fn bad(why: &str) -> Response {
        said(400, &json!({ "ErrorKey": "validation_error", "Field": "Url", "Message": why }))
    }

    fn answer(&mut self, request: &Request, now: Instant) -> Response {
        if header(request, "accesskey") != SECRET {
            return said(401, &json!({ "Message": "Authorization has been denied for this request." }));
        }
        let Some(call) = request.url.strip_prefix("https://api.bunny.net/").filter(|_| request.method == "POST") else {
            return said(404, &json!({}));
        };
        let what = match call.split_once('?') {
            None if call == "pullzone/7/purgeCache" => {
                let body: serde_json::Value = serde_json::from_str(&request.body).unwrap_or_default();
                let tag = body["CacheTag"].as_str().filter(|_| header(request, "content-type") == "application/json");
                let Some(tag) = tag else { return Self::bad("CacheTag") };
                format!("#{tag}")
            }
            Some(("purge", query)) => {
                let mut url = None;
                for pair in query.split('&') {
                    match pair.split_once('=') {
                        Some(("url", text)) => url = percent_decode_str(text).decode_utf8().ok(),
                        Some(("async" | "exactPath", "true" | "false")) => {}
                        _ => return Self::bad(pair),
                    }
                }
                let whole = |url: &std::borrow::Cow<'_, str>| url.starts_with("https://") || url.starts_with("http://");
                let Some(url) = url.filter(whole) else { return Self::bad("url") };
                url.into_owned()
            }
            _ => return said(404, &json!({})),
        };
        let one = Size { requests: 1, items: 1 };
        let is_exact = !what.contains('*') && !what.ends_with('/') && !what.starts_with('#');
        let tokens = if is_exact { &mut self.exact } else { &mut self.prefix };
        if let Some(until) = tokens.wait(one, now) {
            self.busy += 1;
            let after = Duration::from_secs((until - now).as_millis().div_ceil(1000).try_into().unwrap());
            return slower(after, &json!({ "Message": "Too Many Requests" }));
        }
        tokens.take(one, now);
        self.done.insert(what);
        Response { status: 204, ..Response::default() }
    }
}

/// 200 objects and 30 directories, at two URLs each.
fn purged(hosts: &mut [Drive], fake: &mut Fake) {
    let count = hosts.len();
    for n in 0..200 {
        hosts[n % count].add(object(&format!("site/{}/{n}.png", n % 40)));
    }
    for n in 0..30 {
        hosts[n % count].add(below(&format!("site/moved-{n}/")));
    }
    drain(hosts, |request, now| fake.answer(request, now));
    assert_eq!(fake.done.len(), 460);
}

#[test]
fn bunny_gets_one_url_at_a_time() {
    let all = sent(&vendor(), &[object("site/a.png")]);
    let expect = "POST https://api.bunny.net/purge?url=https%3A%2F%2Fcdn%2Eexample%2Ecom%2Fsite%2Fa%2Epng&async=true&exactPath=true ";
    assert_eq!((all[0].as_str(), all.len()), (expect, 2));
    let expect = "POST https://api.bunny.net/purge?url=https%3A%2F%2Fcdn%2Eexample%2Ecom%2Fsite%2Fd%2F%2A&async=true ";
    assert_eq!(sent(&vendor(), &[below("site/d/")])[0], expect);
    let expect = r#"POST https://api.bunny.net/pullzone/7/purgeCache {"CacheTag":"a"}"#;
    assert_eq!(sent(&vendor(), &[tag("a")]), [expect]);
    judged(&vendor(), 201, "", "Done");
    judged(&vendor(), 429, "", "Busy(Some(7s)");
    judged(&vendor(), 401, "", "Refused");
}

#[test]
fn bunny_is_asked_no_more_than_it_takes() {
    let mut hosts = [Drive::new(vendor(), SECRET, 1)];
    let mut fake = Fake::new(hosts[0].now);
    purged(&mut hosts, &mut fake);
    assert_eq!(fake.busy, 0);
    let mut hosts = [1, 2, 3].map(|seed| {
        let mut host = Drive::new(vendor(), SECRET, seed);
        host.common.hosts = 3;
        host.renewed()
    });
    let mut fake = Fake::new(hosts[0].now);
    purged(&mut hosts, &mut fake);
    assert_eq!(fake.busy, 0);
}

#[test]
fn bunny_says_when_to_come_again_and_nothing_is_lost() {
    let mut hosts = [1, 2].map(|seed| Drive::new(vendor(), SECRET, seed));
    let mut fake = Fake::new(hosts[0].now);
    purged(&mut hosts, &mut fake);
    assert!(fake.busy > 0, "two hosts that each take all are told so");
}

#[test]
fn bunny_keeps_its_purges_while_the_key_is_wrong() {
    let mut fake = Fake::new(crate::clock::now());
    waits_for_its_secret(vendor(), SECRET, |request, now| fake.answer(request, now));
    assert_eq!(fake.done.len(), 2);
}

#[test]
fn what_bunny_does_not_take_is_refused_by_its_fake() {
    let requests = |target: Target| {
        let class = vendor().contract(&common()).class(&target);
        vendor().requests(&common(), &batch(class, &[target]), &Secret::new(SECRET)).remove(0)
    };
    let now = crate::clock::now();
    let status = |request: &Request| Fake::new(now).answer(request, now).status;
    let (url, tag) = (requests(object("site/a")), requests(tag("t")));
    assert_eq!((status(&url), status(&tag)), (204, 204));
    assert_eq!(status(&Request { url: "https://api.bunny.net/purge?url=site%2Fa".to_owned(), ..url.clone() }), 400);
    assert_eq!(status(&Request { method: "DELETE", ..url.clone() }), 404);
    assert_eq!(status(&Request { body: String::new(), ..tag }), 400);
}
