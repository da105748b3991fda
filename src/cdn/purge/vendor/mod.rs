//! Those who are asked to purge, each as pure functions: the requests of a batch, their signature where there is one, and
//! what an answer means.

pub mod akamai;
pub mod bunny;
pub mod cloudflare;
pub mod cloudfront;
pub mod command;
pub mod digitalocean;
pub mod edge;
pub mod fastly;
pub mod keycdn;
pub mod sign;
pub mod webhook;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use sign::Stamp;

use super::{
    rate::Rate,
    target::{Batch, Class, Contract, Rounds, Target, Verdict},
    urls::Urls,
    versions::Versions,
};

/// One HTTP request. Its text is for nobody's eyes: headers hold secrets.
#[derive(Clone, Eq, PartialEq)]
pub struct Request {
    pub method: &'static str,
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

/// The answer to one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Response {
    pub status: u16,
    /// How long to wait, as the answer said.
    pub retry_after: Option<Duration>,
    pub body: String,
}

/// A secret that is never shown.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What all vendors have in common, of a mount.
#[derive(Clone, Debug)]
pub struct Common {
    pub urls: Urls,
    /// The directory of the bucket that is mounted; ends in a slash or is empty.
    pub root: Arc<str>,
    /// Hosts that share the account.
    pub hosts: u32,
    pub collapse_at: usize,
    pub everything: bool,
    pub repurge_after: Option<Duration>,
}

impl Common {
    /// The URLs of what is to be purged, for people.
    pub fn urls_of(&self, target: &Target, versions: &Versions) -> Vec<String> {
        let below = |dir: &str| self.urls.below(dir).into_iter().map(|url| url + "*").collect();
        match target {
            Target::Object(key) => self.urls.all(key, versions),
            Target::Below(dir) => below(dir),
            Target::Tag(_) => Vec::new(),
            Target::Everything => below(&self.root),
        }
    }

    /// A contract of one URL per request and no limits, to be made that of a vendor.
    fn contract(&self) -> Contract {
        Contract {
            batch: 1,
            below: usize::MAX,
            bytes: usize::MAX,
            urls: self.urls.clone(),
            variants: 1,
            prefixes: false,
            whole: false,
            tags: false,
            mixed: false,
            collapse_at: self.collapse_at,
            root: Arc::clone(&self.root),
            everything: self.everything,
            parallel: 4,
            rates: BTreeMap::new(),
            rounds: self.repurge_after.map_or(Rounds::Once, Rounds::Twice),
            budget: None,
        }
    }

    fn rates(&self, rates: &[(Class, &[Rate])]) -> BTreeMap<Class, Vec<Rate>> {
        let shared = |rates: &[Rate]| rates.iter().map(|rate| rate.shared(self.hosts)).collect();
        rates.iter().map(|(class, rates)| (*class, shared(rates))).collect()
    }
}

/// A vendor with its account.
#[derive(Clone, Debug)]
pub enum Vendor {
    Edge(edge::Edge),
    Cloudflare(cloudflare::Cloudflare),
    CloudFront(cloudfront::CloudFront),
    DigitalOcean(digitalocean::DigitalOcean),
    Bunny(bunny::Bunny),
    Fastly(fastly::Fastly),
    KeyCdn(keycdn::KeyCdn),
    Akamai(akamai::Akamai),
    Webhook(webhook::Webhook),
    Command(command::Command),
}

impl Vendor {
    pub fn contract(&self, common: &Common) -> Contract {
        match self {
            Self::Edge(vendor) => vendor.contract(common),
            Self::Cloudflare(vendor) => vendor.contract(common),
            Self::CloudFront(vendor) => vendor.contract(common),
            Self::DigitalOcean(_) => digitalocean::DigitalOcean::contract(common),
            Self::Bunny(vendor) => vendor.contract(common),
            Self::Fastly(vendor) => vendor.contract(common),
            Self::KeyCdn(_) => keycdn::KeyCdn::contract(common),
            Self::Akamai(vendor) => vendor.contract(common),
            Self::Webhook(_) => webhook::Webhook::contract(common),
            Self::Command(_) => command::Command::contract(common),
        }
    }

    /// The requests of a batch, in order; the batch is done when each of them is. A program is sent none, it is run.
    pub fn requests(&self, common: &Common, batch: &Batch, secret: &Secret) -> Vec<Request> {
        match self {
            Self::Edge(vendor) => vendor.requests(common, batch, secret),
            Self::Cloudflare(vendor) => vendor.requests(common, batch, secret),
            Self::CloudFront(vendor) => vendor.requests(common, batch),
            Self::DigitalOcean(vendor) => vendor.requests(common, batch, secret),
            Self::Bunny(vendor) => vendor.requests(common, batch, secret),
            Self::Fastly(vendor) => vendor.requests(common, batch, secret),
            Self::KeyCdn(vendor) => vendor.requests(common, batch, secret),
            Self::Akamai(vendor) => vendor.requests(common, batch),
            Self::Webhook(vendor) => vendor.requests(common, batch, secret),
            Self::Command(_) => Vec::new(),
        }
    }

    /// A request as it is sent now, at `stamp`, which is of this one alone. It is not kept for later: vendors
    /// that want a signature take it for half a minute. Fails, in one line and without secrets, if the secret is not
    /// what the vendor hands out.
    pub fn signed(&self, request: Request, secret: &Secret, stamp: Stamp) -> Result<Request, String> {
        match self {
            Self::CloudFront(_) => cloudfront::signed(request, secret, stamp),
            Self::Akamai(_) => akamai::signed(request, secret, stamp),
            _ => Ok(request),
        }
    }

    /// Origins of pages of which it keeps variants.
    pub fn origins(&self) -> &[String] {
        match self {
            Self::Cloudflare(vendor) => &vendor.origins,
            _ => &[],
        }
    }

    /// The name under which it is counted what a month's purges cost. `None`: they cost nothing.
    pub fn account(&self) -> Option<String> {
        match self {
            Self::CloudFront(vendor) => Some(format!("cloudfront {}", vendor.distribution)),
            _ => None,
        }
    }

    pub fn verdict(&self, response: &Response) -> Verdict {
        match self {
            Self::Edge(_) => edge::verdict(response),
            Self::Cloudflare(_) => cloudflare::verdict(response),
            Self::CloudFront(_) => cloudfront::verdict(response),
            Self::Fastly(_) => fastly::verdict(response),
            Self::KeyCdn(_) => keycdn::verdict(response),
            Self::Akamai(_) => akamai::verdict(response),
            Self::Command(_) => command::verdict(response),
            Self::DigitalOcean(_) | Self::Bunny(_) | Self::Webhook(_) => by_status(response),
        }
    }
}

/// What statuses mean wherever a vendor says nothing else (RFC 9110, RFC 6585).
fn by_status(response: &Response) -> Verdict {
    let why = said(response);
    match response.status {
        200..300 => Verdict::Done,
        429 => Verdict::Busy(response.retry_after, why),
        503 if response.retry_after.is_some() => Verdict::Busy(response.retry_after, why),
        401 | 403 | 404 | 405 => Verdict::Refused(why),
        400 | 413 | 414 | 422 => Verdict::Bad(why),
        _ => Verdict::Failed(why),
    }
}

/// Status and the beginning of what was said, on one line.
fn said(response: &Response) -> String {
    /// Bytes of an answer that people get to see.
    const SAID_MAX: usize = 200;
    let plain: String = response.body.chars().filter(|c| !c.is_control()).take(SAID_MAX).collect();
    format!("{} {plain}", response.status).trim().to_owned()
}

#[cfg(test)]
mod tests;
