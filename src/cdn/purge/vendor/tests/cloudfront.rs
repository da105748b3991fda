//! `CloudFront` as it is published: signature, shape, references, and what may be in progress.

use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};

use super::{
    drive::{Drive, header},
    sign::sigv4,
    *,
};
use crate::cdn::purge::vendor::cloudfront::CloudFront;

const SECRET: &str = "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG\n";

fn vendor(queries: bool) -> Vendor {
    let api = "https://cloudfront.amazonaws.com".to_owned();
    Vendor::CloudFront(CloudFront { api, distribution: "E1".to_owned(), queries, budget: 1_000_000 })
}

/// Items of a body, and its reference.
fn read(body: &str) -> Option<(Vec<String>, String)> {
    let rest = body.strip_prefix(r#"<InvalidationBatch xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/">"#)?;
    let rest = rest.strip_suffix("</CallerReference></InvalidationBatch>")?;
    let (paths, reference) = rest.split_once("<CallerReference>")?;
    let paths = paths.strip_prefix("<Paths><Quantity>")?.strip_suffix("</Path></Items></Paths>")?;
    let (quantity, paths) = paths.split_once("</Quantity><Items><Path>")?;
    let items: Vec<String> = paths.split("</Path><Path>").map(|path| path.replace("&#38;", "&")).collect();
    (quantity == items.len().to_string() && !reference.is_empty()).then(|| (items, reference.to_owned()))
}

#[derive(Default)]
struct Fake {
    /// Items by reference.
    known: HashMap<String, Vec<String>>,
    /// When it ends, paths and paths with a star.
    progress: Vec<(Instant, usize, usize)>,
    /// How long one is in progress.
    lasts: Duration,
    done: BTreeSet<String>,
    paid: usize,
    too_many: usize,
}

impl Fake {
    fn error(status: u16, code: &str) -> Response {
        let body = format!(
            "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Error>\
             <Type>Sender</Type><Code>{code}</Code><Message>About it.</Message></Error></ErrorResponse>"
        );
        Response { status, retry_after: None, body }
    }

    fn answer(&mut self, request: &Request, seconds: i64, now: Instant) -> Response {
        if !is_signed(request, seconds) {
            return Self::error(403, "SignatureDoesNotMatch");
        }
        let url = "https://cloudfront.amazonaws.com/2020-05-31/distribution/E1/invalidation";
        if (request.method, request.url.as_str()) != ("POST", url) {
            return Self::error(404, "NoSuchDistribution");
        }
        let Some((items, reference)) = read(&request.body) else { return Self::error(400, "MalformedXML") };
        if !items.iter().all(|item| is_fine(item)) {
            return Self::error(400, "InvalidArgument");
        }
        match self.known.get(&reference) {
            Some(known) if *known == items => return Response { status: 201, ..Response::default() },
            Some(_) => return Self::error(400, "InvalidationBatchAlreadyExists"),
            None => {}
        }
        self.progress.retain(|(end, ..)| *end > now);
        let stars = items.iter().filter(|item| item.ends_with('*')).count();
        let plain = items.len() - stars;
        let sum = |of: fn(&(Instant, usize, usize)) -> usize| self.progress.iter().map(of).sum::<usize>();
        if sum(|one| one.1) + plain > 3000 || sum(|one| one.2) + stars > 15 {
            self.too_many += 1;
            return Self::error(400, "TooManyInvalidationsInProgress");
        }
        self.progress.push((now + self.lasts, plain, stars));
        self.paid += items.len();
        self.done.extend(items.iter().cloned());
        self.known.insert(reference, items);
        Response { status: 201, ..Response::default() }
    }

    fn purged(&self, path: &str) -> bool {
        let below = |item: &String| item.strip_suffix('*').is_some_and(|start| path.starts_with(start));
        self.done.contains(path) || self.done.iter().any(below)
    }
}

/// A path or tag that the reference lets through.
fn is_fine(item: &str) -> bool {
    let path = item.strip_suffix('*').unwrap_or(item);
    let plain = |b: u8| b.is_ascii_graphic() && !b"\"<>#{}|\\^[]`*".contains(&b);
    if let Some(tag) = item.strip_prefix('#') {
        return (1..=256).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    }
    path.starts_with('/') && item.len() <= 4000 && path.bytes().all(plain)
}

/// Signed with the secret, for now.
fn is_signed(request: &Request, seconds: i64) -> bool {
    let keys = sigv4::keys(SECRET).unwrap();
    let own = ["authorization", "x-amz-date", "x-amz-security-token"];
    let headers: Vec<_> = request.headers.iter().filter(|(name, _)| !own.contains(name)).cloned().collect();
    let (_, host, path) = crate::cdn::purge::urls::parts(&request.url);
    let content = sigv4::Content { method: request.method, path, headers: &headers, body: &request.body };
    let signer = sigv4::Signer { keys: &keys, region: "us-east-1", service: "cloudfront" };
    let expect = signer.headers(content, Stamp { seconds, nonce: 0 }).unwrap();
    header(request, "host") == host
        && expect.iter().all(|(name, value)| header(request, name) == value)
        && header(request, "authorization").contains("SignedHeaders=content-type;host;x-amz-date,")
}

#[test]
fn cloudfront_gets_paths_as_it_wants_them() {
    let items = |vendor: &Vendor, targets: &[Target]| {
        let all = sent(vendor, targets);
        let all = all.iter().map(|text| read(text.splitn(3, ' ').last().unwrap()).unwrap().0);
        let all: Vec<Vec<String>> = all.collect();
        assert!(all.iter().flatten().all(|item| is_fine(item)), "{all:?}");
        all
    };
    let plain = vendor(false);
    assert_eq!(items(&plain, &[object("site/a b.png")]), [["/site/a%20b.png", "/images/a%20b.png"]]);
    // Only one of two spellings is right, and which one depends on who made the link.
    assert_eq!(
        items(&plain, &[object("site/[~*&].png")])[0][..2],
        ["/site/%5B%7E%2A%26%5D.png", "/site/%5B~%2A%26%5D.png"]
    );
    assert_eq!(items(&plain, &[below("site/d/")]), [["/site/d/*", "/images/d/*"]]);
    assert_eq!(items(&plain, &[tag("a"), tag("b&c")]), [["#a", "#b&c"]]);
    assert_eq!(items(&plain, &[Target::Everything]), [["/*"]]);
    assert_eq!(items(&vendor(true), &[object("site/a.png")]), [["/site/a.png*", "/images/a.png*"]]);
    let many: Vec<Target> = (0..400).map(|n| object(&format!("site/{n}"))).collect();
    assert_eq!(items(&plain, &many).iter().map(Vec::len).collect::<Vec<_>>(), [300, 300, 200]);
    let many: Vec<Target> = (0..20).map(|n| below(&format!("site/{n}/"))).collect();
    assert!(items(&plain, &many).iter().all(|items| items.len() <= 15), "more could never be in progress");
}

#[test]
fn cloudfront_is_asked_twice_for_the_same_batch_and_anew_for_the_next() {
    let common = common();
    let reference = |number: u64, keys: &[&str]| {
        let targets: Vec<Target> = keys.iter().map(|key| object(key)).collect();
        let batch = Batch { number, ..batch(Class::Urls, &targets) };
        read(&vendor(false).requests(&common, &batch, &Secret::new(SECRET))[0].body).unwrap().1
    };
    assert_eq!(reference(1, &["site/a"]), reference(1, &["site/a"]));
    assert_ne!(reference(1, &["site/a"]), reference(2, &["site/a"]));
    assert_ne!(reference(1, &["site/a"]), reference(1, &["site/b"]));
    // Two runs on the same paths: the second purge is no repetition of the first.
    let number = |seed: u64| {
        let mut drive = Drive::new(vendor(false), SECRET, seed);
        drive.add(object("site/a"));
        drive.sleep();
        let mut seen = String::new();
        drive.step(|request, _, _| {
            seen = read(&request.body).unwrap().1;
            None
        });
        seen
    };
    assert_ne!(number(12_345), number(67_890));
}

#[test]
fn cloudfronts_answers() {
    let vendor = vendor(false);
    judged(&vendor, 201, "<Invalidation><Status>InProgress</Status></Invalidation>", "Done");
    for (status, code, expect) in [
        (400, "TooManyInvalidationsInProgress", "Busy(Some(7s)"),
        (400, "Throttling", "Busy"),
        (400, "InvalidArgument", "Bad(\"400 InvalidArgument About it."),
        (413, "BatchTooLarge", "Bad"),
        (400, "MissingBody", "Bad"),
        (400, "InconsistentQuantities", "Bad"),
        (400, "InvalidationBatchAlreadyExists", "Bad"),
        (403, "AccessDenied", "Refused"),
        (403, "SignatureDoesNotMatch", "Refused"),
        (403, "InvalidClientTokenId", "Refused"),
        (403, "ExpiredToken", "Refused"),
        (400, "ExpiredToken", "Refused"),
        (400, "RequestExpired", "Refused"),
        (404, "NoSuchDistribution", "Refused"),
        (500, "InternalFailure", "Failed"),
        (503, "ServiceUnavailable", "Busy"),
    ] {
        judged(&vendor, status, &Fake::error(status, code).body, expect);
    }
    judged(&vendor, 502, "<html>", "Failed(\"502");
    let said = "<Code>SignatureDoesNotMatch</Code><Message>It does not match.\n\nx-amz-security-token:hidden</Message>";
    let response = Response { status: 403, retry_after: None, body: said.to_owned() };
    let verdict = format!("{:?}", vendor.verdict(&response));
    assert!(verdict.contains("It does not match.") && !verdict.contains("hidden"), "{verdict}");
}

#[test]
fn a_secret_that_cloudfront_cannot_use_is_told_and_not_shown() {
    let vendor = vendor(false);
    let request = || Request { method: "POST", url: "https://a/b".to_owned(), headers: vec![], body: String::new() };
    let stamp = Stamp { seconds: 0, nonce: 0 };
    let err = vendor.signed(request(), &Secret::new("AKIDEXAMPLE:hidden"), stamp).unwrap_err();
    assert!(err.contains("aws_access_key_id") && !err.contains("hidden"), "{err}");
    let token = format!("{SECRET}aws_session_token = of-a-role\n");
    let signed = vendor.signed(request(), &Secret::new(&token), stamp).unwrap();
    assert_eq!(header(&signed, "x-amz-security-token"), "of-a-role");
    assert!(header(&signed, "authorization").contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"));
}

/// 6,000 paths and 40 crowds of another 20 objects each, and every tenth answer is lost.
#[track_caller]
fn everything_is_purged(lasts: u64) -> Fake {
    let mut fake = Fake { lasts: Duration::from_secs(lasts), ..Fake::default() };
    let mut drive = Drive::new(vendor(false), SECRET, 99);
    drive.common.collapse_at = 10;
    drive.lane = crate::cdn::purge::lane::Lane::new(drive.vendor.contract(&drive.common), drive.now, 99);
    let single = (0..3000).map(|n| format!("site/{}/{n}", n % 500));
    let keys: Vec<String> = single.chain((0..800).map(|n| format!("site/crowd{}/{n}", n % 40))).collect();
    for key in &keys {
        drive.add(object(key));
    }
    let mut calls = 0;
    while drive.sleep() {
        drive.step(|request, seconds, now| {
            calls += 1;
            let answer = fake.answer(request, seconds, now);
            (calls % 10 > 0).then_some(answer)
        });
    }
    assert!(drive.lane.is_idle() && drive.lane.dead().next().is_none(), "{:?}", drive.lane.tally());
    for url in keys.iter().flat_map(|key| drive.common.urls.formed(crate::cdn::purge::urls::Form::Unsafe).of(key)) {
        assert!(fake.purged(&url), "{url}");
    }
    // What is sent again is the same invalidation, and counted once.
    assert_eq!((fake.paid, drive.lane.tally().paid), (6000 + 80, 6000 + 80));
    fake
}

#[test]
fn no_more_is_in_progress_at_cloudfront_than_may_be() {
    assert_eq!(everything_is_purged(60).too_many, 0);
    // Slower than is thought: it is told so, and waits.
    assert!(everything_is_purged(200).too_many > 0);
}

#[test]
fn what_was_changed_on_the_way_is_no_request_of_ours() {
    let mut drive = Drive::new(vendor(false), SECRET, 5);
    drive.add(object("site/a"));
    drive.sleep();
    let mut statuses = Vec::new();
    drive.step(|request, seconds, now| {
        let other = Request { body: request.body.replace("site/a", "site/b"), ..request.clone() };
        statuses.push(Fake::default().answer(&other, seconds, now).status);
        statuses.push(Fake::default().answer(request, seconds + 1, now).status);
        statuses.push(Fake::default().answer(request, seconds, now).status);
        None
    });
    assert_eq!(statuses, [403, 403, 201]);
}
