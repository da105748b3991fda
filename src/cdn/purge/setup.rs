//! What a mount's file says of its CDN, as [`Station`]s.

use std::{sync::Arc, time::Duration};

use super::{
    purger::Station,
    urls::Urls,
    vendor::{
        Common, Vendor,
        akamai::{Akamai, Network},
        bunny::Bunny,
        cloudflare::{Cloudflare, Plan},
        cloudfront::{self, CloudFront},
        command::Command,
        digitalocean::DigitalOcean,
        edge::{Below, Edge},
        fastly::Fastly,
        keycdn::KeyCdn,
        webhook::Webhook,
    },
    versions,
};
use crate::{
    cdn::url::{Base, Family, Mapper},
    config::cdn::{Cdn, Place},
    model::key::Prefix,
};

/// So many objects of one directory become the directory.
const COLLAPSE_AT: usize = 50;
/// The same where a directory costs as much as one of them.
const COLLAPSE_PAID: usize = 10;
/// Versions of an object that are purged with it where each is paid for: the one before a change, and the one after it.
const VERSIONS_PAID: usize = 2;
/// A fetch that was under way while an object was replaced has ended by then.
const REPURGE_AFTER: u64 = 5;

const CLOUDFLARE_API: &str = "https://api.cloudflare.com/client/v4";

const VENDORS: &str = "http, cloudflare, cloudfront, digitalocean, bunny, fastly, keycdn, akamai, webhook, command";

/// Vendors that cannot be told what changed, or only in a way that helps nobody.
const DEAF: [(&str, &str); 3] = [
    ("vultr", "it purges the whole zone, once in six hours"),
    ("exoscale", "its API has no purge"),
    ("linode", "it has no CDN of its own"),
];

/// A station, and where its secret is.
#[derive(Clone, Debug)]
pub struct Planned {
    pub station: Station,
    pub place: Place,
}

/// All stations of a mount of `prefix`: each edge of one's own is one. A table that says no URLs is about `public`, those
/// of the mount. An error is one line.
pub fn stations(cdns: &[Cdn], prefix: &Prefix, public: &Mapper) -> Result<Vec<Planned>, String> {
    let mut all = Vec::new();
    for cdn in cdns {
        let wrong = |why: String| format!("cdn {}: {why}", cdn.vendor);
        if is_deaf(&cdn.vendor) {
            only_urls(cdn).map_err(wrong)?;
            continue;
        }
        let place = cdn.place().map_err(|err| wrong(err.to_string()))?;
        let common = common(cdn, prefix, public).map_err(wrong)?;
        let vendors = vendors(cdn, &place).map_err(wrong)?;
        for (name, vendor) in vendors {
            let station = Station { name, vendor, common: common.clone() };
            all.push(Planned { station, place: place.clone() });
        }
    }
    Ok(all)
}

/// Refuses what a table says of purges, where there are none.
fn only_urls(cdn: &Cdn) -> Result<(), String> {
    refuse(cdn, &[])?;
    let rest = Cdn { vendor: cdn.vendor.clone(), base: cdn.base.clone(), site: cdn.site.clone(), ..Cdn::default() };
    if *cdn == rest {
        return Ok(());
    }
    Err("it is told nothing of what changes, so its table has vendor, base and site alone".to_owned())
}

fn is_deaf(vendor: &str) -> bool {
    DEAF.iter().any(|(name, _)| *name == vendor)
}

/// One line for each vendor that cannot be told what changes.
pub fn deaf(cdns: &[Cdn]) -> Vec<String> {
    let known = cdns.iter().filter_map(|cdn| DEAF.iter().find(|(name, _)| *name == cdn.vendor));
    known
        .map(|(name, why)| {
            format!("{name} is not told what changes: {why}. Use versioned URLs (originfs url --versioned)")
        })
        .collect()
}

/// What is before keys and paths at the vendors that cannot be told what changes. A table that says no URLs is about
/// `public`, those of the mount.
pub fn bases_of_deaf(cdns: &[Cdn], public: &Mapper) -> Result<Vec<Base>, String> {
    let tables: Vec<&Cdn> = cdns.iter().filter(|cdn| is_deaf(&cdn.vendor)).collect();
    let mut all = bases(&tables)?;
    if tables.iter().any(|cdn| cdn.base.0.is_empty() && cdn.site.0.is_empty()) {
        all.extend(public.bases().iter().cloned());
    }
    Ok(all)
}

/// The URLs before keys and paths that tables say.
pub fn bases(cdns: &[&Cdn]) -> Result<Vec<Base>, String> {
    let mut bases = Vec::new();
    for cdn in cdns {
        for (texts, family) in [(&cdn.base, Family::Cdn), (&cdn.site, Family::Site)] {
            for text in &texts.0 {
                bases.push(Base::parse(text, family).map_err(|err| format!("cdn {}: {err}", cdn.vendor))?);
            }
        }
    }
    Ok(bases)
}

/// API and zone of a table about Cloudflare.
pub fn zone_of_cloudflare(cdn: &Cdn) -> Result<(String, String), String> {
    let api = cdn.api.as_deref().unwrap_or(CLOUDFLARE_API).trim_end_matches('/').to_owned();
    if cdn.place().map_err(|err| err.to_string())? == Place::Nowhere {
        return Err("cdn cloudflare: expected token_file, token_env or token_credential".to_owned());
    }
    zone(cdn).map(|zone| (api, zone)).map_err(|why| format!("cdn cloudflare: {why}"))
}

fn common(cdn: &Cdn, prefix: &Prefix, public: &Mapper) -> Result<Common, String> {
    let mut bases = Vec::new();
    for (texts, family) in [(&cdn.base, Family::Cdn), (&cdn.site, Family::Site)] {
        for text in &texts.0 {
            bases.push(Base::parse(text, family).map_err(|err| err.to_string())?);
        }
    }
    if bases.is_empty() {
        bases = public.bases().to_vec();
    }
    if bases.is_empty() {
        return Err(
            "expected cdn_url= or site_url= of the mount, or a base (URL before the key) or a site (URL before the \
                    path in the mount) of its own"
                .to_owned(),
        );
    }
    // Cloudflare has the scheme in its key; a site that answers http with a redirect loses nothing by it.
    let schemes = cdn.schemes.unwrap_or(cdn.vendor == "cloudflare");
    let versions = match (cdn.versions.unwrap_or(true), cdn.queries) {
        // A prefix or a star takes them along.
        (false, _) | (_, true) => 0,
        _ if cdn.vendor == "cloudfront" => VERSIONS_PAID,
        _ => versions::MOST,
    };
    let repurge_after = Some(cdn.repurge_after.unwrap_or(REPURGE_AFTER)).filter(|seconds| *seconds > 0);
    Ok(Common {
        urls: Urls::new(Mapper::new(prefix.clone(), bases), schemes).versioned(versions),
        root: Arc::from(prefix.as_str()),
        hosts: cdn.hosts.unwrap_or(1),
        collapse_at: cdn.collapse_at.unwrap_or(if cdn.vendor == "cloudfront" { COLLAPSE_PAID } else { COLLAPSE_AT }),
        everything: cdn.everything,
        repurge_after: repurge_after.map(Duration::from_secs),
    })
}

fn vendors(cdn: &Cdn, place: &Place) -> Result<Vec<(String, Vendor)>, String> {
    match cdn.vendor.as_str() {
        "http" => {
            refuse(cdn, &["edges", "below"])?;
            let below = match cdn.below.as_deref() {
                None | Some("never") => Below::Never,
                Some("star") => Below::Star,
                Some("ban") => Below::Ban,
                Some(other) => return Err(format!("below: expected never, star or ban, not {other}")),
            };
            let edges = &cdn.edges.0;
            if edges.is_empty() {
                return Err("expected edges: the address of each cache, such as http://10.0.0.1:6081".to_owned());
            }
            edges.iter().map(|address| edge(address, below)).collect()
        }
        "webhook" => {
            refuse(cdn, &["api"])?;
            let url = cdn.api.clone().ok_or("expected api: the URL that is told")?;
            // Where it leads is the administrator's business, but it must lead somewhere.
            Base::parse(&url, Family::Site).map_err(|err| err.to_string())?;
            Ok(vec![("webhook".to_owned(), Vendor::Webhook(Webhook { url }))])
        }
        "command" => {
            refuse(cdn, &["command"])?;
            let words = cdn.command.0.clone();
            match words.first() {
                Some(program) if program.starts_with('/') => {}
                _ => return Err("expected command: the whole path of a program, and its arguments".to_owned()),
            }
            Ok(vec![("command".to_owned(), Vendor::Command(Command { words }))])
        }
        "" => Err(format!("expected a vendor: {VENDORS}")),
        other => Ok(vec![(other.to_owned(), service(cdn, place)?)]),
    }
}

/// Those that have an API, and so an account.
fn service(cdn: &Cdn, place: &Place) -> Result<Vendor, String> {
    let api = |usual: &str| cdn.api.as_deref().unwrap_or(usual).trim_end_matches('/').to_owned();
    let optional = || cdn.zone.is_some().then(|| zone(cdn)).transpose();
    let vendor = match cdn.vendor.as_str() {
        "cloudflare" => {
            refuse(cdn, &["zone", "plan", "api", "origins", "queries", "schemes", "hosts"])?;
            Vendor::Cloudflare(Cloudflare {
                api: api(CLOUDFLARE_API),
                zone: zone(cdn)?,
                plan: plan_of(cdn.plan.as_deref())?,
                origins: cdn.origins.0.clone(),
                queries: cdn.queries,
            })
        }
        "cloudfront" => {
            refuse(cdn, &["zone", "api", "queries", "hosts", "budget"])?;
            Vendor::CloudFront(CloudFront {
                api: api("https://cloudfront.amazonaws.com"),
                distribution: zone(cdn)?,
                queries: cdn.queries,
                budget: cdn.budget.unwrap_or(cloudfront::FREE),
            })
        }
        "digitalocean" => {
            refuse(cdn, &["zone", "api", "hosts"])?;
            Vendor::DigitalOcean(DigitalOcean { api: api("https://api.digitalocean.com"), endpoint: zone(cdn)? })
        }
        "bunny" => {
            refuse(cdn, &["zone", "api", "hosts", "schemes"])?;
            Vendor::Bunny(Bunny { api: api("https://api.bunny.net"), zone: optional()? })
        }
        "fastly" => {
            refuse(cdn, &["zone", "api", "hosts", "action"])?;
            let soft = invalidates(cdn, false)?;
            Vendor::Fastly(Fastly { api: api("https://api.fastly.com"), service: optional()?, soft })
        }
        "keycdn" => {
            refuse(cdn, &["zone", "api", "hosts"])?;
            Vendor::KeyCdn(KeyCdn { api: api("https://api.keycdn.com"), zone: zone(cdn)? })
        }
        "akamai" => {
            refuse(cdn, &["zone", "api", "schemes", "hosts", "network", "action"])?;
            Vendor::Akamai(Akamai {
                api: cdn.api.is_some().then(|| api("")),
                network: match cdn.network.as_deref() {
                    None | Some("production") => Network::Production,
                    Some("staging") => Network::Staging,
                    Some(other) => return Err(format!("network: expected production or staging, not {other}")),
                },
                delete: !invalidates(cdn, true)?,
                cpcode: cdn
                    .zone
                    .as_ref()
                    .map(|zone| zone.parse())
                    .transpose()
                    .map_err(|_| "zone: expected a CP code")?,
            })
        }
        _ => return Err(format!("unknown vendor: expected one of {VENDORS}")),
    };
    if *place == Place::Nowhere {
        return Err("expected token_file, token_env or token_credential".to_owned());
    }
    Ok(vendor)
}

/// Whether edges may show what is purged while the origin is asked or away.
fn invalidates(cdn: &Cdn, usual: bool) -> Result<bool, String> {
    match cdn.action.as_deref() {
        None => Ok(usual),
        Some("invalidate") => Ok(true),
        Some("delete") => Ok(false),
        Some(other) => Err(format!("action: expected invalidate or delete, not {other}")),
    }
}

/// A plan of Cloudflare by its name; the smallest one if nobody says.
pub fn plan_of(name: Option<&str>) -> Result<Plan, String> {
    match name {
        None | Some("free") => Ok(Plan::Free),
        Some("pro") => Ok(Plan::Pro),
        Some("business") => Ok(Plan::Business),
        Some("enterprise") => Ok(Plan::Enterprise),
        Some(other) => Err(format!("plan: expected free, pro, business or enterprise, not {other}")),
    }
}

fn edge(address: &str, below: Below) -> Result<(String, Vendor), String> {
    let base = Base::parse(address, Family::Site).map_err(|err| err.to_string())?;
    let edge = Edge { address: base.origin().to_owned(), below };
    Ok((format!("http {}", base.host()), Vendor::Edge(edge)))
}

/// Only what may stand in the path of a URL.
fn zone(cdn: &Cdn) -> Result<String, String> {
    let zone = cdn.zone.clone().unwrap_or_default();
    let plain = zone.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if zone.is_empty() || !plain { Err("zone: expected its identifier".to_owned()) } else { Ok(zone) }
}

/// Fails if something is said that the vendor has no use for: it would not do what it seems to.
fn refuse(cdn: &Cdn, used: &[&str]) -> Result<(), String> {
    let said = [
        ("edges", !cdn.edges.0.is_empty()),
        ("command", !cdn.command.0.is_empty()),
        ("below", cdn.below.is_some()),
        ("zone", cdn.zone.is_some()),
        ("plan", cdn.plan.is_some()),
        ("api", cdn.api.is_some()),
        ("origins", !cdn.origins.0.is_empty()),
        ("queries", cdn.queries),
        ("schemes", cdn.schemes.is_some()),
        ("hosts", cdn.hosts.is_some()),
        ("network", cdn.network.is_some()),
        ("action", cdn.action.is_some()),
        ("budget", cdn.budget.is_some()),
    ];
    match said.iter().find(|(name, is)| *is && !used.contains(name)) {
        Some((name, _)) => Err(format!("{name}: means nothing to this vendor")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
