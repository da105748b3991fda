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
    for cdn in cdns.iter().filter(|cdn| !is_deaf(&cdn.vendor)) {
        let wrong = |why: String| format!("cdn {}: {why}", cdn.vendor);
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
    let repurge_after = Some(cdn.repurge_after.unwrap_or(REPURGE_AFTER)).filter(|seconds| *seconds > 0);
    Ok(Common {
        urls: Urls::new(Mapper::new(prefix.clone(), bases), cdn.schemes),
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
        ("schemes", cdn.schemes),
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
mod tests {
    use super::*;
    use crate::{cdn::purge::target::Rounds, config::file::File};

    fn planned(text: &str, public: Vec<Base>) -> Result<Vec<Planned>, String> {
        let file = File::parse(text).map_err(|err| err.to_string())?;
        let prefix = Prefix::parse("site").unwrap();
        stations(&file.cdn, &prefix, &Mapper::new(prefix.clone(), public))
    }

    fn plan(text: &str) -> Result<Vec<String>, String> {
        Ok(planned(text, Vec::new())?.into_iter().map(|planned| planned.station.name).collect())
    }

    #[test]
    fn a_table_without_urls_is_about_those_of_the_mount() {
        let public = || {
            vec![
                Base::parse("https://cdn.example", Family::Cdn).unwrap(),
                Base::parse("https://www.example/images", Family::Site).unwrap(),
            ]
        };
        let text = "[[cdn]]\nvendor = 'http'\nedges = 'http://10.0.0.1'\n";
        let all = planned(text, public()).unwrap();
        assert_eq!(
            all[0].station.common.urls.of("site/a"),
            ["https://cdn.example/site/a", "https://www.example/images/a"]
        );
        // One that says any has those alone.
        let all = planned(&format!("{text}base = 'https://other.example'\n"), public()).unwrap();
        assert_eq!(all[0].station.common.urls.of("site/a"), ["https://other.example/site/a"]);
    }

    #[test]
    fn each_edge_is_a_station() {
        let text = "[[cdn]]\nvendor = 'http'\nsite = 'https://a.example/images'\nedges = ['http://10.0.0.1', 'http://10.0.0.2:6081/']\nbelow = 'ban'\n[[cdn]]\nvendor = 'cloudflare'\nbase = 'https://cdn.example'\nzone = 'abc'\ntoken_env = 'TOKEN'\n";
        assert_eq!(plan(text).unwrap(), ["http 10.0.0.1", "http 10.0.0.2:6081", "cloudflare"]);
    }

    #[test]
    fn where_purges_are_paid_for_a_budget_is_kept_and_directories_come_sooner() {
        let text =
            "[[cdn]]\nvendor = 'cloudfront'\nbase = 'https://a.example'\nzone = 'E1'\ntoken_env = 'T'\nhosts = 4\n";
        let contract = |more: &str| {
            let Station { vendor, common, .. } =
                planned(&format!("{text}{more}"), Vec::new()).unwrap().remove(0).station;
            vendor.contract(&common)
        };
        let usual = contract("");
        assert_eq!(
            (usual.budget, usual.collapse_at, usual.rounds),
            (Some(250), 10, Rounds::Late(Duration::from_secs(5)))
        );
        let own = contract("budget = 8000\ncollapse_at = 3\n");
        assert_eq!((own.budget, own.collapse_at), (Some(2000), 3));
        assert_eq!(contract("repurge_after = 0\n").rounds, Rounds::Once);
    }

    #[test]
    fn a_vendor_that_cannot_be_told_is_named_and_no_station() {
        let text = "[[cdn]]\nvendor = 'vultr'\nbase = 'https://a.example'\n";
        assert_eq!(plan(text).unwrap(), [""; 0]);
        let told = deaf(&File::parse(text).unwrap().cdn);
        assert!(told.len() == 1 && told[0].starts_with("vultr") && told[0].contains("versioned URLs"), "{told:?}");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let base = "base = 'https://a.example'";
        for (text, part) in [
            ("vendor = 'http'\nedges = 'http://a'".to_owned(), "expected cdn_url="),
            (format!("vendor = 'http'\n{base}"), "expected edges"),
            (format!("vendor = 'http'\n{base}\nedges = 'http://a'\nzone = 'x'"), "zone: means nothing"),
            (format!("vendor = 'cloudflare'\n{base}\nzone = 'a/b'\ntoken_env = 'T'"), "zone: expected"),
            (format!("vendor = 'cloudflare'\n{base}\nzone = 'a'"), "expected token_file"),
            (format!("vendor = 'akamia'\n{base}"), "unknown vendor"),
            (format!("vendor = 'cloudfront'\n{base}\ntoken_env = 'T'"), "zone: expected"),
            (format!("vendor = 'cloudfront'\n{base}\nzone = 'E1'"), "expected token_file"),
            (format!("vendor = 'cloudfront'\n{base}\nzone = 'E1'\norigins = 'https://a'"), "origins: means nothing"),
            (format!("vendor = 'cloudflare'\n{base}\nzone = 'a'\nbudget = 5"), "budget: means nothing"),
            (format!("vendor = 'akamai'\n{base}\nnetwork = 'test'"), "network: expected"),
            (format!("vendor = 'akamai'\n{base}\naction = 'drop'"), "action: expected"),
            (format!("vendor = 'fastly'\n{base}\naction = 'drop'"), "action: expected"),
            (format!("vendor = 'akamai'\n{base}\nzone = 'x'\ntoken_env = 'T'"), "expected a CP code"),
            (format!("vendor = 'akamai'\n{base}"), "expected token_file"),
            (format!("vendor = 'command'\n{base}\ncommand = 'purge'"), "expected command"),
            (format!("vendor = 'webhook'\n{base}\napi = 'http://a'\ncommand = '/purge'"), "command: means nothing"),
        ] {
            let err = plan(&format!("[[cdn]]\n{text}\n")).unwrap_err();
            assert!(err.contains(part), "{err}");
        }
    }
}
