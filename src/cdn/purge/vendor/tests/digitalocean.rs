//! The CDN of DigitalOcean Spaces as it is published: token, paths, and how many of them in which time.

use std::{collections::BTreeSet, time::Instant};

use serde_json::json;

use super::{
    drive::{Drive, Window, drain, header, list, said, slower, waits_for_its_secret},
    *,
};
use crate::cdn::purge::vendor::digitalocean::DigitalOcean;

const SECRET: &str = "dop_v1_secret";
const ENDPOINT: &str = "19f06b6a-3ace-4315-b086-499a0e521b76";

fn vendor() -> Vendor {
    Vendor::DigitalOcean(DigitalOcean { api: "https://api.digitalocean.com".to_owned(), endpoint: ENDPOINT.to_owned() })
}

struct Fake {
    calls: Window,
    paths: Window,
    /// Paths in a request.
    most: usize,
    /// A purge, and when it is done.
    busy_with: Option<(String, Instant)>,
    done: BTreeSet<String>,
    busy: usize,
}

impl Default for Fake {
    fn default() -> Self {
        let (calls, paths) = (Window::new(5, 10), Window::new(50, 20));
        Self { calls, paths, most: 50, busy_with: None, done: BTreeSet::new(), busy: 0 }
    }
}

impl Fake {
    fn slower(&mut self, after: Duration) -> Response {
        self.busy += 1;
        slower(after, &json!({ "id": "too_many_requests", "message": "API Rate limit exceeded." }))
    }

    fn answer(&mut self, request: &Request, now: Instant) -> Response {
        if header(request, "authorization") != format!("Bearer {SECRET}") {
            return said(401, &json!({ "id": "Unauthorized", "message": "Unable to authenticate you" }));
        }
        if let Err(after) = self.calls.take(1, now) {
            return self.slower(after);
        }
        let url = format!("https://api.digitalocean.com/v2/cdn/endpoints/{ENDPOINT}/cache");
        if (request.method, &request.url) != ("DELETE", &url) {
            return said(
                404,
                &json!({ "id": "not_found", "message": "The resource you requested could not be found." }),
            );
        }
        let is_path = |path: &str| !path.is_empty() && !path.starts_with('/') && !path.contains("://");
        let is_fine = |path: &String| is_path(path) && !path[..path.len() - 1].contains('*');
        let files = list(request, "files").filter(|files| files.len() <= self.most && files.iter().all(is_fine));
        let Some(files) = files else {
            return said(422, &json!({ "id": "unprocessable_entity", "message": "files" }));
        };
        // Two that are the same cannot be under way at once.
        if self.busy_with.as_ref().is_some_and(|(body, until)| *body == request.body && now < *until) {
            return self.slower(Duration::from_secs(1));
        }
        if let Err(after) = self.paths.take(files.len(), now) {
            return self.slower(after);
        }
        self.busy_with = Some((request.body.clone(), now + Duration::from_secs(1)));
        self.done.extend(files);
        Response { status: 204, ..Response::default() }
    }
}

/// 300 objects, at two URLs each, from hosts that may know of each other.
fn purged(hosts: &mut [Drive], fake: &mut Fake) {
    for n in 0..300 {
        let count = hosts.len();
        hosts[n % count].add(object(&format!("site/{}/{n}.png", n % 40)));
    }
    drain(hosts, |request, now| fake.answer(request, now));
    assert_eq!(fake.done.len(), 600);
}

#[test]
fn digitalocean_gets_paths_without_their_slash() {
    let expect = format!(
        r#"DELETE https://api.digitalocean.com/v2/cdn/endpoints/{ENDPOINT}/cache {{"files":["site/a.png","images/a.png","site/d/*","images/d/*"]}}"#
    );
    assert_eq!(sent(&vendor(), &[object("site/a.png"), below("site/d/")]), [expect]);
    assert!(sent(&vendor(), &[Target::Everything])[0].ends_with(r#" {"files":["*"]}"#));
    judged(&vendor(), 204, "", "Done");
    judged(&vendor(), 429, r#"{"id":"too_many_requests"}"#, "Busy(Some(7s)");
    judged(&vendor(), 404, "", "Refused");
    judged(&vendor(), 401, "", "Refused");
    judged(&vendor(), 422, "", "Bad");
    judged(&vendor(), 500, "", "Failed");
}

#[test]
fn digitalocean_is_asked_no_more_than_it_takes() {
    let mut fake = Fake::default();
    purged(&mut [Drive::new(vendor(), SECRET, 1)], &mut fake);
    assert_eq!(fake.busy, 0);
    // Three hosts that know of each other.
    let mut fake = Fake::default();
    let mut hosts = [1, 2, 3].map(|seed| {
        let mut host = Drive::new(vendor(), SECRET, seed);
        host.common.hosts = 3;
        host.renewed()
    });
    purged(&mut hosts, &mut fake);
    assert_eq!(fake.busy, 0);
}

#[test]
fn digitalocean_says_when_to_come_again_and_nothing_is_lost() {
    let mut fake = Fake::default();
    purged(&mut [1, 2].map(|seed| Drive::new(vendor(), SECRET, seed)), &mut fake);
    assert!(fake.busy > 0, "two hosts that each take all are told so");
}

#[test]
fn digitalocean_takes_fewer_at_once_than_it_says_and_all_are_purged() {
    let mut fake = Fake { most: 7, ..Fake::default() };
    purged(&mut [Drive::new(vendor(), SECRET, 1)], &mut fake);
}

#[test]
fn digitalocean_keeps_its_purges_while_the_token_is_wrong() {
    let mut fake = Fake::default();
    waits_for_its_secret(vendor(), SECRET, |request, now| fake.answer(request, now));
    assert_eq!(fake.done.len(), 2);
}

#[test]
fn what_digitalocean_does_not_take_is_refused_by_its_fake() {
    let right = vendor().requests(&common(), &batch(Class::Urls, &[object("site/a")]), &Secret::new(SECRET)).remove(0);
    let now = crate::clock::now();
    let with = |files: &[&str]| Request { body: json!({ "files": files }).to_string(), ..right.clone() };
    let status = |request: &Request| Fake::default().answer(request, now).status;
    assert_eq!(status(&right), 204);
    for wrong in [with(&["/a"]), with(&["a*b"]), with(&["https://a/b"]), with(&[]), with(&["a"; 51])] {
        assert_eq!(status(&wrong), 422, "{}", wrong.body);
    }
    assert_eq!(status(&Request { method: "POST", ..right.clone() }), 404);
    assert_eq!(status(&Request { headers: right.headers[..1].to_vec(), ..right.clone() }), 422);
    let mut fake = Fake::default();
    let twice = [0, 0, 2].map(|later| fake.answer(&right, now + Duration::from_secs(later)).status);
    assert_eq!(twice, [204, 429, 204]);
}
