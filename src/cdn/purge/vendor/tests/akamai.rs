//! Akamai as it is published: signature, body, and its buckets of tokens.

use std::{
    collections::{BTreeSet, HashSet},
    time::Instant,
};

use super::{
    drive::{Drive, header},
    sign::edgegrid,
    *,
};
use crate::cdn::purge::{
    rate::{Size, Tokens},
    vendor::akamai::{Akamai, Network},
};

const SECRET: &str = "[default]\nhost = akab-x.purge.akamaiapis.net\nclient_token = akab-c\nclient_secret = c2VjcmV0=\naccess_token = akab-a\nmax-body = 131072\n";
const HOST: &str = "https://akab-x.purge.akamaiapis.net";

fn akamai(api: Option<&str>) -> Akamai {
    Akamai { api: api.map(str::to_owned), network: Network::Production, delete: false, cpcode: Some(12_345) }
}

struct Fake {
    requests: Tokens,
    objects: Tokens,
    nonces: HashSet<String>,
    done: BTreeSet<String>,
    busy: usize,
}

impl Fake {
    fn new(now: Instant) -> Self {
        let requests = Tokens::new(Rate::requests(100.0, 50.0), now);
        let objects = Tokens::new(Rate::items(10_000.0, 200.0), now);
        Self { requests, objects, nonces: HashSet::new(), done: BTreeSet::new(), busy: 0 }
    }

    fn problem(status: u16, kind: &str, title: &str, detail: &str) -> Response {
        let body = serde_json::json!({ "type": kind, "title": title, "detail": detail, "httpStatus": status });
        Response { status, retry_after: None, body: body.to_string() }
    }

    fn answer(&mut self, request: &Request, seconds: i64, now: Instant) -> Response {
        let authentication = "https://problems.purge.akamaiapis.net/-/pep-authn/request-error";
        let value = header(request, "authorization");
        let part = |name: &str| value.split(';').find_map(|part| part.trim().strip_prefix(name)).unwrap_or_default();
        if !self.nonces.insert(part("nonce=").to_owned()) {
            return Self::problem(400, authentication, "Bad request", "Invalid nonce");
        }
        let nonce = u128::from_str_radix(&part("nonce=").replace('-', ""), 16).unwrap();
        let keys = edgegrid::keys(SECRET).unwrap();
        let stamp = Stamp { seconds, nonce };
        if edgegrid::authorization(&keys, &request.url, &request.body, 131_072, stamp).unwrap() != value {
            return Self::problem(401, authentication, "Not authorized", "The signature does not match");
        }
        if (request.method, request.url.as_str()) != ("POST", &format!("{HOST}/ccu/v3/invalidate/url/production")) {
            return Self::problem(404, "", "Not found", "");
        }
        if request.body.len() > 50_000 {
            return Self::problem(413, "", "Request entity too large", "");
        }
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap_or_default();
        let objects: Option<Vec<&str>> =
            body["objects"].as_array().and_then(|all| all.iter().map(serde_json::Value::as_str).collect());
        let Some(objects) = objects.filter(|all| !all.is_empty() && header(request, "content-type").contains("json"))
        else {
            return Self::problem(400, "", "Bad request", "objects");
        };
        let size = Size { requests: 1, items: objects.len() };
        if self.requests.wait(size, now).or(self.objects.wait(size, now)).is_some() {
            self.busy += 1;
            return Self::problem(429, "", "URL Rate Limit exceeded", "");
        }
        self.requests.take(size, now);
        self.objects.take(size, now);
        self.done.extend(objects.into_iter().map(str::to_owned));
        let body =
            r#"{"httpStatus":201,"estimatedSeconds":5,"purgeId":"p","supportId":"s","detail":"Request accepted"}"#;
        Response { status: 201, retry_after: None, body: body.to_owned() }
    }
}

#[test]
fn akamai_gets_urls_tags_or_a_cp_code() {
    let vendor = Vendor::Akamai(akamai(Some(HOST)));
    let start = format!("POST {HOST}/ccu/v3/invalidate");
    let urls = r#"{"objects":["https://cdn.example.com/site/a%20b.png","https://www.example.com/images/a%20b.png"]}"#;
    assert_eq!(sent(&vendor, &[object("site/a b.png")]), [format!("{start}/url/production {urls}")]);
    assert_eq!(sent(&vendor, &[tag("a"), tag("b")]), [format!(r#"{start}/tag/production {{"objects":["a","b"]}}"#)]);
    assert_eq!(sent(&vendor, &[Target::Everything]), [format!(r#"{start}/cpcode/production {{"objects":[12345]}}"#)]);
    let other = Akamai { network: Network::Staging, delete: true, cpcode: None, ..akamai(Some(HOST)) };
    let other = Vendor::Akamai(other);
    assert!(sent(&other, &[object("site/a")])[0].starts_with(&format!("POST {HOST}/ccu/v3/delete/url/staging ")));
    let can = |vendor: &Vendor, target: &Target| vendor.contract(&common()).can(target);
    assert!(can(&vendor, &Target::Everything) && !can(&vendor, &below("site/d/")));
    assert!(!can(&other, &Target::Everything));
}

#[test]
fn akamais_answers() {
    let vendor = Vendor::Akamai(akamai(None));
    judged(&vendor, 201, r#"{"httpStatus":201,"purgeId":"p"}"#, "Done");
    judged(&vendor, 200, "<html>", "Failed");
    judged(&vendor, 429, r#"{"title":"URL Rate Limit exceeded"}"#, "Busy(Some(7s), \"429 URL Rate");
    let response = Response { status: 429, ..Response::default() };
    assert_eq!(vendor.verdict(&response), Verdict::Busy(Some(Duration::from_secs(5)), "429".to_owned()));
    judged(&vendor, 507, "", "Busy");
    judged(
        &vendor,
        403,
        r#"{"title":"unauthorized arl","detail":"http://a/"}"#,
        "Refused(\"403 unauthorized arl: http",
    );
    judged(&vendor, 401, "", "Refused");
    judged(&vendor, 400, r#"{"title":"bad URL hostname"}"#, "Bad");
    // A wrong clock is no fault of a URL.
    let skewed = r#"{"type":"https://problems.purge.akamaiapis.net/-/pep-authn/request-error","title":"Bad request","detail":"Invalid timestamp"}"#;
    judged(&vendor, 400, skewed, "Refused(\"400 Bad request: Invalid timestamp");
    judged(&vendor, 413, "", "Bad");
    judged(&vendor, 503, "", "Busy");
    judged(&vendor, 504, "", "Failed");
}

#[test]
fn a_secret_of_akamai_says_where_its_api_is() {
    let vendor = Vendor::Akamai(akamai(None));
    let mut drive = Drive::new(vendor.clone(), SECRET, 1);
    drive.add(object("site/a"));
    drive.sleep();
    let mut fake = Fake::new(drive.now);
    let mut statuses = Vec::new();
    drive.step(|request, seconds, now| {
        let other = Request { body: request.body.replace("site/a", "site/b"), ..request.clone() };
        statuses.push(Fake::new(now).answer(&other, seconds, now).status);
        statuses.push(Fake::new(now).answer(request, seconds + 1, now).status);
        let answer = fake.answer(request, seconds, now);
        statuses.push(answer.status);
        Some(answer)
    });
    assert_eq!(statuses, [401, 401, 201]);
    let request = Request { method: "POST", url: "/ccu".to_owned(), headers: vec![], body: String::new() };
    let secret = Secret::new("client_token = a\nclient_secret = hidden\naccess_token = c");
    let err = vendor.signed(request, &secret, Stamp { seconds: 0, nonce: 0 }).unwrap_err();
    assert!(err.contains("host is missing") && !err.contains("hidden"), "{err}");
}

/// 20,000 URLs, from two hosts that do not know of each other.
#[test]
fn akamai_gets_no_more_than_it_takes_and_nothing_is_lost() {
    let one = |seed| Drive::new(Vendor::Akamai(akamai(None)), SECRET, seed);
    let mut hosts = [one(1), one(2)];
    let mut fake = Fake::new(hosts[0].now);
    for n in 0..10_000 {
        // Long names: a body is full before it has as many objects as it may.
        hosts[n % 2].add(object(&format!("site/{n}/{}x", "long-".repeat(n % 40))));
    }
    loop {
        // In the order of time, as the vendor sees them.
        let at = hosts.iter().map(|host| host.lane.wake(host.now));
        let Some((n, _)) = at.enumerate().filter_map(|(n, at)| Some((n, at?))).min_by_key(|(_, at)| *at) else { break };
        hosts[n].sleep();
        hosts[n].step(|request, seconds, now| Some(fake.answer(request, seconds, now)));
    }
    assert!(hosts.iter().all(|host| host.lane.is_idle() && host.lane.dead().next().is_none()));
    assert_eq!(fake.done.len(), 20_000);
    assert!(fake.busy > 0, "two hosts that each take all are told so");
    // One that is alone, or knows of the others, is told nothing.
    let mut alone = one(3);
    let mut fake = Fake::new(alone.now);
    for n in 0..10_000 {
        alone.add(object(&format!("site/{n}/{}x", "long-".repeat(n % 40))));
    }
    while alone.sleep() {
        alone.step(|request, seconds, now| Some(fake.answer(request, seconds, now)));
    }
    assert_eq!((fake.done.len(), fake.busy), (20_000, 0));
}
