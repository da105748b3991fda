//! `originfs cost`.

mod ttl;

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Failure, job::Host, render, status};
use crate::{
    clock, config,
    cost::{
        bill::{self, Bill, Month},
        day::Day,
        ledger::{self, Ledger, Usage},
        price::{Price, prices, vendor_of},
    },
    telemetry::control,
};
use ttl::Ttl;

#[derive(Debug, clap::Args)]
pub(super) struct CostArgs {
    /// A mount point, or anything below it
    dir: Option<PathBuf>,
    /// Whose prices [default: by the endpoint]: aws, r2, digitalocean, linode, or one of --prices
    #[arg(long, value_name = "NAME")]
    vendor: Option<String>,
    /// TOML with other prices, in the form that docs/CDN.md shows
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// What the bucket holds, such as 120G; storage is left out without it
    #[arg(long, value_name = "SIZE", value_parser = size)]
    stored: Option<u64>,
    /// Show how long caches may keep files, by how soon they were replaced so far
    #[arg(long)]
    ttl: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

fn size(text: &str) -> Result<u64, String> {
    config::bytes(text).ok_or_else(|| "expected a size such as 120G".to_owned())
}

/// All that there is to tell.
#[derive(Debug, Serialize)]
struct Told<'a> {
    mountpoint: &'a str,
    source: &'a str,
    vendor: &'a str,
    prices_of: &'a str,
    prices_from: &'a str,
    #[serde(flatten)]
    month: Month,
    /// `None`: nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<Ttl>,
}

pub(super) fn command(command: &CostArgs, out: &mut impl Write) -> Result<(), Failure> {
    let target = Host::current()?.target(command.dir.as_deref(), &[])?;
    let mount = control::ask(&target.socket, status::ANSWER_WAIT).map_err(Failure::system)?;
    let vendor = match &command.vendor {
        Some(vendor) => vendor.as_str(),
        None => vendor_of(mount.mount.endpoint.as_deref()).ok_or_else(|| {
            let endpoint = mount.mount.endpoint.as_deref().unwrap_or_default();
            Failure::usage(format!("nobody here knows the prices of {endpoint}: say --vendor, or --prices with it"))
        })?,
    };
    let price = price(command.prices.as_deref(), vendor)?;
    let path = Path::new(&mount.cache.dir).join(ledger::FILE);
    let ledger = Ledger::load(&path).map_err(|err| Failure::system(format!("{}: {err}", path.display())))?;
    let today = Day::of(clock::wall().sec);
    let told = Told {
        mountpoint: &mount.mount.mountpoint,
        source: &mount.mount.source,
        vendor: &price.name,
        prices_of: &price.date,
        prices_from: &price.source,
        month: bill::month(&ledger, today, command.stored, &price),
        ttl: command.ttl.then(|| ttl::known(Path::new(&mount.cache.dir), today, &mount.purging)).transpose()?,
    };
    let text = if command.json { serde_json::to_string_pretty(&told).map_err(Failure::system)? } else { text(&told) };
    match writeln!(out, "{text}") {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
    }
}

pub(super) fn price(own: Option<&Path>, vendor: &str) -> Result<Price, Failure> {
    let shown = own.map_or(String::new(), |path| format!("{}: ", path.display()));
    let own = own.map(fs::read_to_string).transpose().map_err(|err| Failure::usage(format!("{shown}{err}")))?;
    let mut all = prices(own.as_deref()).map_err(|why| Failure::usage(format!("{shown}{why}")))?;
    let names = all.keys().cloned().collect::<Vec<_>>().join(", ");
    all.remove(vendor).ok_or_else(|| Failure::usage(format!("no prices of {vendor}; there are: {names}")))
}

fn text(told: &Told<'_>) -> String {
    let Month { month, days, usage, now, projected, saved_by_cache } = &told.month;
    let (year, number, _) = month.civil();
    let mut lines = vec![
        format!("{} on {}: {}", told.source, told.mountpoint, told.vendor),
        format!("  prices of {} ({}), in US dollars; of what this host asked for", told.prices_of, told.prices_from),
        format!("  {:<34} {:>10} {:>12}", format!("{year}-{number:02}, {days} days of it"), "so far", "whole month"),
    ];
    let mut line = |what: String, cost: fn(&Bill) -> Option<f64>| {
        if let (Some(now), Some(whole)) = (cost(now), cost(projected)) {
            lines.push(format!("  {what:<34} {now:>10.2} {whole:>12.2}"));
        }
    };
    line(format!("{} writes and listings", usage.class_a), |bill| Some(bill.class_a));
    line(format!("{} reads", usage.class_b), |bill| Some(bill.class_b));
    line(format!("{} fetched", render::bytes(usage.bytes_in)), |bill| Some(bill.egress));
    line("storage".to_owned(), |bill| bill.storage);
    line("all".to_owned(), |bill| Some(bill.total));
    lines.push(format!("  {:<34} {:>10} {saved_by_cache:>12.2}", "saved by the cache, about", ""));
    if usage.absent > 0 {
        lines.push(format!("  among them {} questions about names that are not there", usage.absent));
    }
    if usage.purges > 0 {
        let Usage { purges, purged, .. } = usage;
        lines.push(format!(
            "  {purges} requests to CDNs, which purged {purged} URLs, paths or prefixes: not in the sums"
        ));
    }
    lines.extend(told.ttl.iter().map(Ttl::text));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_as_people_read_it() {
        let mut ledger = Ledger::default();
        let today: Day = "2026-11-03".parse().unwrap();
        let usage = Usage {
            class_a: 3_000,
            class_b: 60_000,
            gets: 30_000,
            bytes_in: 30_000_000_000,
            cache_hits: 90_000,
            absent: 70,
            purges: 3,
            purged: 40,
            ..Usage::default()
        };
        ledger.add("2026-11-01".parse().unwrap(), usage);
        let price = price(None, "aws").unwrap();
        let told = |stored| Told {
            mountpoint: "/m",
            source: "site:/a",
            vendor: &price.name,
            prices_of: &price.date,
            prices_from: &price.source,
            month: bill::month(&ledger, today, stored, &price),
            ttl: None,
        };
        let expect = "\
site:/a on /m: Amazon S3, Standard, us-east-1
  prices of 2026-11-21 (aws.amazon.com/s3/pricing), in US dollars; of what this host asked for
  2026-11, 3 days of it                  so far  whole month
  3000 writes and listings                 0.01         0.15
  60000 reads                              0.02         0.24
  27.9 GiB fetched                         2.70        27.00
  storage                                  2.30         2.30
  all                                      5.04        29.69
  saved by the cache, about                            81.36
  among them 70 questions about names that are not there
  3 requests to CDNs, which purged 40 URLs, paths or prefixes: not in the sums";
        assert_eq!(text(&told(Some(100_000_000_000))), expect);
        assert!(!text(&told(None)).contains("storage"));
        let json = serde_json::to_value(told(None)).unwrap();
        assert_eq!((&json["month"], &json["usage"]["class_a"]), (&"2026-11-01".into(), &3_000.into()));
        assert!(super::price(None, "nobody").is_err());
    }
}
