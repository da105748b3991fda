//! Fastly as it is published: key, hosts and paths, what may be soft, and how many in an hour.

use std::{collections::BTreeSet, time::Instant};

use percent_encoding::percent_decode_str;
use serde_json::json;

use super::{
    drive::{Drive, Window, drain, header, said, slower, waits_for_its_secret},
    *,
};
use crate::cdn::purge::{rate::Refill, vendor::fastly::Fastly};

const SECRET: &str = "fastly-secret";

fn vendor(soft: bool) -> Vendor {
    let api = "https://api.fastly.com".to_owned();
    Vendor::Fastly(Fastly { api, service: Some("s".to_owned()), soft })
}

struct Fake {
    urls: Window,
    keys: Window,
    done: BTreeSet<String>,
    soft: usize,
    busy: usize,
}

impl Default for Fake {
    fn default() -> Self {
        let window = || Window::new(100_000, 3600);
        Self { urls: window(), keys: window(), done: BTreeSet::new(), soft: 0, busy: 0 }
    }
}

impl Fake {
    fn answer(&mut self, request: &Request, now: Instant) -> Response {
        let msg = |status, msg: &str| said(status, &json!({ "msg": msg }));
        if header(request, "fastly-key") != SECRET {
            return msg(401, "Provided credentials are missing or invalid");
        }
        let Some(path) = request.url.strip_prefix("https://api.fastly.com/").filter(|_| request.method == "POST")
        else {
            return msg(404, "Record not found");
        };
        let soft = match header(request, "fastly-soft-purge") {
            "" => false,
            "1" => true,
            _ => return msg(400, "Bad request"),
        };
        let hosts = ["cdn.example.com", "www.example.com"];
        let (counter, what) = if let Some(url) = path.strip_prefix("purge/") {
            if !url.split_once('/').is_some_and(|(host, _)| hosts.contains(&host)) {
                return msg(403, "You are not allowed to purge this domain");
            }
            (&mut self.urls, url.to_owned())
        } else if path == "service/s/purge_all" {
            if soft {
                return msg(400, "purge_all cannot be soft");
            }
            (&mut self.keys, "*".to_owned())
        } else if let Some(key) = path.strip_prefix("service/s/purge/") {
            let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
            if key.is_empty() || key.len() > 1024 {
                return msg(400, "Bad surrogate key");
            }
            (&mut self.keys, format!("#{key}"))
        } else {
            return msg(404, "Record not found");
        };
        if let Err(after) = counter.take(1, now) {
            self.busy += 1;
            return slower(after, &json!({ "msg": "Rate limit exceeded" }));
        }
        self.soft += usize::from(soft);
        self.done.insert(what);
        said(200, &json!({ "status": "ok", "id": "108-1391560174-974124" }))
    }
}

#[test]
fn fastly_gets_hosts_and_paths() {
    let start = "POST https://api.fastly.com";
    let expect = ["cdn.example.com/site/a.png", "www.example.com/images/a.png"];
    assert_eq!(sent(&vendor(false), &[object("site/a.png")]), expect.map(|url| format!("{start}/purge/{url} ")));
    assert_eq!(sent(&vendor(false), &[tag("a b")]), [format!("{start}/service/s/purge/a%20b ")]);
    assert_eq!(sent(&vendor(true), &[Target::Everything]), [format!("{start}/service/s/purge_all ")]);
    judged(&vendor(false), 200, r#"{"status":"ok","id":"1"}"#, "Done");
    judged(&vendor(false), 200, r#"{"status":"error"}"#, "Failed");
    judged(&vendor(false), 429, "", "Busy(Some(7s)");
    judged(&vendor(false), 401, "", "Refused");
}

#[test]
fn fastly_is_asked_softly_where_that_is_wanted() {
    for soft in [false, true] {
        let mut hosts = [Drive::new(vendor(soft), SECRET, 1)];
        let mut fake = Fake::default();
        for target in [object("site/a"), tag("example.org/2026"), Target::Everything] {
            hosts[0].add(target);
        }
        drain(&mut hosts, |request, now| fake.answer(request, now));
        assert_eq!(fake.done.len(), 4);
        assert_eq!(fake.soft, if soft { 3 } else { 0 }, "all but everything");
    }
}

#[test]
fn fastly_says_when_to_come_again_and_nothing_is_lost() {
    let mut hosts = [1, 2].map(|seed| Drive::new(vendor(false), SECRET, seed));
    let mut fake = Fake::default();
    // Others of the account had nearly all of this hour.
    fake.urls.take(99_000, hosts[0].now).unwrap();
    for n in 0..1000 {
        hosts[n % 2].add(object(&format!("site/{}/{n}.png", n % 40)));
    }
    drain(&mut hosts, |request, now| fake.answer(request, now));
    assert_eq!(fake.done.len(), 2000);
    assert!(fake.busy > 0, "they are told so");
}

#[test]
fn fastly_is_asked_no_more_in_an_hour_than_it_takes() {
    let rates = vendor(false).contract(&common()).rates;
    for (class, most) in [(Class::Urls, 100_000.0), (Class::Tags, 100_000.0), (Class::Everything, 1000.0)] {
        let hourly = |rate: &Rate| match rate.refill {
            Refill::Steady(per_second) => rate.burst + per_second * 3600.0,
            Refill::After(_) => rate.burst,
        };
        assert!(rates[&class].iter().all(|rate| hourly(rate) <= most), "{class:?}");
    }
}

#[test]
fn fastly_keeps_its_purges_while_the_key_is_wrong() {
    let mut fake = Fake::default();
    waits_for_its_secret(vendor(false), SECRET, |request, now| fake.answer(request, now));
    assert_eq!(fake.done.len(), 2);
}

#[test]
fn what_fastly_does_not_take_is_refused_by_its_fake() {
    let right = vendor(false).requests(&common(), &batch(Class::Urls, &[object("site/a")]), &Secret::new(SECRET));
    let now = crate::clock::now();
    let at = |url: &str| Request { url: format!("https://api.fastly.com/{url}"), ..right[0].clone() };
    let status = |request: &Request| Fake::default().answer(request, now).status;
    assert_eq!(status(&right[0]), 200);
    assert_eq!(status(&at("purge/https://cdn.example.com/site/a")), 403);
    assert_eq!(status(&at("purge/other.example/a")), 403);
    assert_eq!(status(&at("service/other/purge/a")), 404);
    assert_eq!(status(&at(&format!("service/s/purge/{}", "a".repeat(1025)))), 400);
    assert_eq!(status(&Request { method: "PURGE", ..right[0].clone() }), 404);
    let mut soft = at("service/s/purge_all");
    soft.headers.push(("fastly-soft-purge", "1".to_owned()));
    assert_eq!(status(&soft), 400);
}
