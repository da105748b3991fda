//! `originfs cold`.

mod apply;
mod logs;

use std::{
    ffi::OsString,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;
use tokio::runtime::Builder;

use super::{
    Failure, complain,
    cost::price,
    meant::{self, Meant, Place},
    render,
};
use crate::{
    cdn::url::Mapper,
    clock,
    config::Options,
    cost::{
        cold::{Access, OBJECTS_MAX, Proposal, lifecycle},
        day::Day,
        price::{Cold, Price, vendor_of},
        reads::{FILE, Record},
    },
    model::key::Key,
    store::{List, Store as _, s3::S3Store},
};

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct ColdArgs {
    #[command(flatten)]
    place: Place,
    /// What was not read for so long is cold
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    #[arg(
        long = "log",
        value_name = "FILE",
        required = true,
        help = "An access log of S3, CloudFront, Cloudflare or nginx, not compressed; - is the input, s3://BUCKET/PREFIX \
                all objects whose keys begin so; may be given more than once"
    )]
    logs: Vec<PathBuf>,
    #[arg(
        long = "reads",
        value_name = "FILE",
        help = "What another host read: the file of that name in the cache directory of its mount; may be given more \
                than once. That of this host is taken by itself"
    )]
    reads: Vec<PathBuf>,
    /// As if it were that day: for logs of former times
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    today: Option<Day>,
    /// Whose prices [default: by the endpoint]
    #[arg(long, value_name = "NAME")]
    vendor: Option<String>,
    /// TOML with other prices
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Write the proposal as put-bucket-lifecycle-configuration takes it; nothing is applied
    #[arg(long, conflicts_with_all = ["json", "apply"])]
    lifecycle: bool,
    /// The configuration that the bucket has, of which rules of others are taken over
    #[arg(long, value_name = "FILE", requires = "lifecycle")]
    keep: Option<PathBuf>,
    /// Put the proposal into the bucket's lifecycle configuration; rules of others stay as they are
    #[arg(long)]
    apply: bool,
    /// Show what --apply would change, and change nothing
    #[arg(short = 'n', long, requires = "apply")]
    dry_run: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// All that there is to tell.
#[derive(Debug, Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    proposal: &'a Proposal,
    /// Whose reads are known, beside the logs.
    hosts: Vec<Host>,
    /// `None`: nobody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<String>>,
    dry_run: bool,
}

/// What one host read.
#[derive(Debug, Serialize)]
struct Host {
    record: PathBuf,
    /// Reads of days before are not in it.
    since: Day,
}

pub(super) fn command(args: &[OsString], command: &ColdArgs, out: &mut impl Write) -> Result<(), Failure> {
    let Meant { options, .. } = meant::meant(args, &command.place)?;
    let vendor = command.vendor.as_deref().or_else(|| vendor_of(options.s3.endpoint.as_deref()));
    let vendor = vendor.ok_or_else(|| Failure::usage("nobody here knows the prices of the endpoint: say --vendor"))?;
    let price = price(command.prices.as_deref(), vendor)?;
    let cheaper = || Failure::usage(format!("{} has no cheaper class", price.name));
    let cold = price.cold.as_ref().ok_or_else(cheaper)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::system)?;
    let store = runtime.block_on(S3Store::connect(&options.bucket, &options.s3)).map_err(Failure::mount)?;
    let mut access = runtime.block_on(objects(&store, &options))?;
    for name in &command.logs {
        let taken = runtime.block_on(logs::take(name, &options.s3, &options.fs.urls, &mut access));
        match taken.map_err(Failure::usage)? {
            0 => {}
            count => complain(&format!("{}: {count} lines of an unknown form", name.display())),
        }
    }
    if access.logged_days() < command.days {
        let days = access.logged_days();
        return Err(Failure::usage(format!("the logs are of {days} days: what was read before is not in them")));
    }
    let hosts = hosts(&options.cache.dir.join(FILE), &command.reads, &mut access)?;
    let today = command.today.unwrap_or_else(|| Day::of(clock::wall().sec));
    let proposal = access.propose(command.days, today, &price).ok_or_else(cheaper)?;
    let changes = if command.apply {
        let root = options.prefix.as_str();
        Some(runtime.block_on(apply::apply(&store, &proposal, cold, root, command.dry_run))?)
    } else {
        None
    };
    let told = Told { proposal: &proposal, hosts, changes, dry_run: command.dry_run };
    let text = match (command.lifecycle, command.json) {
        (true, _) => {
            let keep = command.keep.as_deref();
            serde_json::to_string_pretty(&configuration(&proposal, cold, keep, options.prefix.as_str())?)
        }
        (_, true) => serde_json::to_string_pretty(&told),
        _ => Ok(text(&told, &price, cold, today)),
    };
    match writeln!(out, "{}", text.map_err(Failure::system)?) {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
    }
}

fn day(text: &str) -> Result<Day, String> {
    text.parse().map_err(|()| "expected a day such as 2026-11-22".to_owned())
}

fn configuration(
    proposal: &Proposal,
    cold: &Cold,
    keep: Option<&Path>,
    root: &str,
) -> Result<serde_json::Value, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("{}: {why}", keep.map_or_else(String::new, |path| path.display().to_string())))
    };
    let others = keep.map(|path| {
        let text = std::fs::read(path).map_err(|err| wrong(&err))?;
        serde_json::from_slice(&text).map_err(|err| wrong(&err))
    });
    lifecycle(proposal, cold.minimum_kib, others.transpose()?.as_ref(), root).map_err(|why| wrong(&why))
}

/// All objects of the mount.
async fn objects(store: &S3Store, options: &Options) -> Result<Access, Failure> {
    let mut access = Access::default();
    let mut token = None;
    loop {
        let list = List { prefix: options.prefix.as_str().to_owned(), token, ..List::default() };
        let page = store.list(list).await.map_err(Failure::mount)?;
        for entry in page.entries.iter().filter(|entry| is_file(&options.fs.urls, &entry.key)) {
            let modified = Day::of(entry.version.modified.unwrap_or_default());
            if !access.object(entry.key.as_str(), entry.version.size, modified) {
                let message = format!("more than {OBJECTS_MAX} objects: give a part of the bucket (prefix=)");
                return Err(Failure::usage(message));
            }
        }
        token = page.next;
        if token.is_none() {
            return Ok(access);
        }
    }
}

fn is_file(urls: &Mapper, key: &Key) -> bool {
    !key.is_marker() && urls.path(key).is_some()
}

/// Counts what hosts read: this one, if it has a record, and those of `others`.
fn hosts(own: &Path, others: &[PathBuf], access: &mut Access) -> Result<Vec<Host>, Failure> {
    let mut hosts = Vec::new();
    for path in [own].into_iter().chain(others.iter().map(PathBuf::as_path)) {
        let wrong = |err: std::io::Error| Failure::usage(format!("{}: {err}", path.display()));
        let Some(record) = Record::open(path).map_err(wrong)? else {
            if path == own {
                continue;
            }
            return Err(wrong(ErrorKind::NotFound.into()));
        };
        hosts.push(Host { record: path.to_owned(), since: record.since() });
        for entry in record {
            access.recorded(entry.map_err(wrong)?);
        }
    }
    Ok(hosts)
}

fn text(told: &Told<'_>, price: &Price, cold: &Cold, today: Day) -> String {
    let Proposal { class, days, logged_days, objects, bytes, cold_objects, cold_bytes, rules, saved } = told.proposal;
    let bytes = render::bytes(*bytes);
    let mut lines = vec![format!("{objects} files, {bytes}; logs of {logged_days} days")];
    lines.extend(told.hosts.iter().map(|host| {
        let late = today.0.saturating_sub(host.since.0) < i32::try_from(*days).unwrap_or(i32::MAX);
        let late = if late { "; what was read before is in the logs alone" } else { "" };
        format!("reads of a host since {} ({}){late}", host.since, host.record.display())
    }));
    lines.push("of no other host is it known what it read from its cache (--reads)".to_owned());
    lines.push(format!(
        "older than {days} days and not read in them: {cold_objects} files, {}",
        render::bytes(*cold_bytes)
    ));
    lines.push(format!(
        "as {class} after {days} days, at the prices of {} ({}, {}):",
        price.name, price.date, price.source
    ));
    lines.extend(rules.iter().map(|rule| {
        let (size, fees) = (render::bytes(rule.bytes), rule.transition + rule.reads);
        format!(
            "  {}: {} files, {size}: saves ${:.2} in a year, less ${fees:.2} of fees (moving ${:.2}, reads ${:.2})",
            rule.prefix, rule.objects, rule.saved, rule.transition, rule.reads
        )
    }));
    lines.push(match rules.len() {
        0 => "nothing pays for the fees".to_owned(),
        count => format!("${saved:.2} in the first year with {count} rules"),
    });
    if !rules.is_empty() {
        let Cold { minimum_days, minimum_kib, .. } = cold;
        let smaller = if *minimum_kib > 0 { format!("; below {minimum_kib} KiB nothing moves") } else { String::new() };
        lines
            .push(format!("what goes or is replaced within {minimum_days} days is billed for {minimum_days}{smaller}"));
    }
    match (&told.changes, told.dry_run) {
        (None, _) if rules.is_empty() => {}
        (None, _) => {
            lines
                .push("nothing is changed: --apply puts the rules into the bucket, --lifecycle writes them".to_owned());
        }
        (Some(changes), dry_run) => {
            let so = if dry_run { "would be changed" } else { "changed" };
            lines.push(format!("lifecycle configuration, {so}:"));
            lines.extend(changes.iter().map(|line| format!("  {line}")));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::price::prices;

    #[test]
    fn people_read_what_it_costs_and_what_is_not_known() {
        let today: Day = "2026-11-22".parse().unwrap();
        let mut access = Access::default();
        assert!(access.object("images/a.png", 200_000_000_000, Day(0)));
        assert!(access.object("images/old/b.mp4", 200_000_000_000, Day(0)));
        access.logged(Day(today.0 - 82));
        access.logged(today);
        for _ in 0..4 {
            access.read("images/a.png", today);
        }
        let price = prices(None).unwrap()["aws"].clone();
        let proposal = access.propose(80, today, &price).unwrap();
        let host = |since| Host { record: "/c/reads".into(), since };
        let mut told = Told {
            proposal: &proposal,
            hosts: vec![host("2026-08-01".parse().unwrap()), host("2026-11-01".parse().unwrap())],
            changes: None,
            dry_run: false,
        };
        let expect = "\
2 files, 372.5 GiB; logs of 83 days
reads of a host since 2026-08-01 (/c/reads)
reads of a host since 2026-11-01 (/c/reads); what was read before is in the logs alone
of no other host is it known what it read from its cache (--reads)
older than 80 days and not read in them: 1 files, 186.2 GiB
as STANDARD_IA after 80 days, at the prices of Amazon S3, Standard, us-east-1 (2026-11-21, aws.amazon.com/s3/pricing):
  images/old/: 1 files, 186.2 GiB: saves $25.20 in a year, less $0.00 of fees (moving $0.00, reads $0.00)
$25.20 in the first year with 1 rules
what goes or is replaced within 30 days is billed for 30; below 128 KiB nothing moves
nothing is changed: --apply puts the rules into the bucket, --lifecycle writes them";
        let cold = price.cold.as_ref().unwrap();
        assert_eq!(text(&told, &price, cold, today), expect);
        told.changes = Some(vec!["+ images/old/".to_owned()]);
        told.dry_run = true;
        assert!(
            text(&told, &price, cold, today).ends_with("lifecycle configuration, would be changed:\n  + images/old/")
        );
        let all = configuration(&proposal, cold, None, "").unwrap();
        assert_eq!(all["Rules"][0]["Filter"]["And"]["Prefix"], "images/old/");
    }
}
