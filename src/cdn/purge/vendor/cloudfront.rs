//! `CloudFront`: `POST /2020-05-31/distribution/{id}/invalidation` with paths, of which one may end in a star, and tags.
//! <https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_CreateInvalidation.html>
//!
//! A purge is accepted here, and reaches all edges some seconds later.

use std::{collections::HashSet, fmt::Write as _};

use sha2::{Digest as _, Sha256};

use super::{
    Common, Request, Response, Secret, by_status,
    sign::{self, Stamp, sigv4},
};
use crate::cdn::purge::{
    rate::Rate,
    target::{Batch, Class, Contract, Rounds, Target, Verdict},
    urls::{Form, parts},
    versions::Versions,
};

/// Where it is signed for, wherever the bucket is.
const REGION: &str = "us-east-1";
const SERVICE: &str = "cloudfront";
/// How long an invalidation is in progress, in seconds, with a good margin: nobody publishes it.
const LASTS: f64 = 60.0;
/// Of the 3,000 paths and tags of a distribution that may be in progress, half go at once; the other half may follow while
/// those are.
const PATHS: Rate = Rate::items(1500.0, 1500.0 / LASTS);
/// The same of the 15 paths with a star, which are counted by themselves.
const STARRED: Rate = Rate::items(7.0, 8.0 / LASTS);
/// Paths with a star in a request: as many as go at once.
const STARS: usize = 7;
/// Paths in a request: enough to be few requests, and few enough to find one at fault soon.
const BATCH: usize = 300;
/// Paths in a month that cost nothing, of an account.
pub const FREE: u64 = 1000;
/// Bytes of a reason that people get to see.
const SAID_MAX: usize = 200;

#[derive(Clone, Debug)]
pub struct CloudFront {
    /// `https://cloudfront.amazonaws.com`, without a slash at its end.
    pub api: String,
    /// The identifier of the distribution.
    pub distribution: String,
    /// Objects are purged with a star, which takes along what has a query.
    pub queries: bool,
    /// Paths in a month, of all hosts.
    pub budget: u64,
}

impl CloudFront {
    pub(super) fn contract(&self, common: &Common) -> Contract {
        let (paths, stars) = (&[PATHS][..], &[STARRED][..]);
        Contract {
            batch: if self.queries { STARS } else { BATCH },
            below: STARS,
            urls: common.urls.formed(Form::Unsafe),
            prefixes: true,
            tags: true,
            rates: common.rates(&[
                (Class::Urls, if self.queries { stars } else { paths }),
                (Class::Prefixes, stars),
                (Class::Tags, paths),
                (Class::Everything, stars),
            ]),
            rounds: common.repurge_after.map_or(Rounds::Once, Rounds::Late),
            budget: Some(self.budget / u64::from(common.hosts.max(1))),
            ..common.contract()
        }
    }

    pub(super) fn requests(&self, common: &Common, batch: &Batch) -> Vec<Request> {
        let urls = common.urls.formed(Form::Unsafe);
        let star = |paths: Vec<String>| paths.into_iter().map(|path| path + "*").collect();
        let of = |(target, versions): (&Target, &Versions)| match target {
            Target::Object(key) if self.queries => star(urls.of(key)),
            Target::Object(key) => urls.all(key, versions),
            Target::Below(dir) => star(urls.below(dir)),
            Target::Tag(tag) => vec![format!("#{tag}")],
            Target::Everything => vec!["/*".to_owned()],
        };
        let mut seen = HashSet::new();
        let items: Vec<String> = batch.items().flat_map(of).filter(|item| seen.insert(item.clone())).collect();
        items.chunks(self.contract(common).most(batch.class)).map(|items| self.request(batch, items)).collect()
    }

    fn request(&self, batch: &Batch, items: &[String]) -> Request {
        let paths = items.iter().map(|item| escaped(item)).collect::<Vec<_>>().join("</Path><Path>");
        let body = format!(
            "<InvalidationBatch xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>{}</Quantity>\
             <Items><Path>{paths}</Path></Items></Paths><CallerReference>{}</CallerReference></InvalidationBatch>",
            items.len(),
            reference(batch, items)
        );
        Request {
            method: "POST",
            url: format!("{}/2020-05-31/distribution/{}/invalidation", self.api, self.distribution),
            headers: vec![("content-type", "application/xml".to_owned())],
            body,
        }
    }
}

/// Of a batch that is sent again, it is the same, and so is the invalidation, which is paid for once. Of the next batch
/// with the same paths it is another: or the vendor would do nothing.
fn reference(batch: &Batch, items: &[String]) -> String {
    let mut hash = Sha256::new();
    hash.update(batch.number.to_be_bytes());
    for item in items {
        hash.update(item.as_bytes());
        hash.update([0]);
    }
    // 128 bits, as of a UUID.
    format!("originfs-{}", sign::hex(&hash.finalize()[..16]))
}

/// The request with its signature.
pub(super) fn signed(mut request: Request, secret: &Secret, stamp: Stamp) -> Result<Request, String> {
    let keys = sigv4::keys(secret.expose())?;
    let url = request.url.clone();
    let (_, host, path) = parts(&url);
    request.headers.push(("host", host.to_owned()));
    let signer = sigv4::Signer { keys: &keys, region: REGION, service: SERVICE };
    let (headers, body) = (&request.headers, &request.body);
    let added = signer.headers(sigv4::Content { method: request.method, path, headers, body }, stamp)?;
    request.headers.extend(added);
    Ok(request)
}

/// Text of an XML element.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '<' | '>' => write!(escaped, "&#{};", u32::from(c)).expect("a string takes everything"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Statuses say little here, codes say what is meant (`Common Errors` and `API_CreateInvalidation` of the reference).
pub(super) fn verdict(response: &Response) -> Verdict {
    let code = element(&response.body, "Code").unwrap_or_default();
    // What AWS says of a signature goes on with all that was signed, a session token too.
    let message = element(&response.body, "Message").unwrap_or_default().lines().next().unwrap_or_default();
    let message: String = message.chars().filter(|c| !c.is_control()).take(SAID_MAX).collect();
    let why = format!("{} {code} {message}", response.status).trim().to_owned();
    match (response.status, code) {
        (200..300, _) => Verdict::Done,
        (
            _,
            "TooManyInvalidationsInProgress"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "TooManyRequestsException"
            | "SlowDown",
        ) => Verdict::Busy(response.retry_after, why),
        // The signature, the clock, the account: nothing of the paths.
        (
            400,
            "IncompleteSignature"
            | "RequestExpired"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "OptInRequired"
            | "InvalidClientTokenId"
            | "UnrecognizedClientException"
            | "MissingAuthenticationToken",
        ) => Verdict::Refused(why),
        _ => match by_status(response) {
            Verdict::Busy(after, _) => Verdict::Busy(after, why),
            Verdict::Refused(_) => Verdict::Refused(why),
            Verdict::Bad(_) => Verdict::Bad(why),
            Verdict::Failed(_) | Verdict::Done => Verdict::Failed(why),
        },
    }
}

/// What the first element of that name has in it.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}
