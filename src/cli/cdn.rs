//! `originfs cdn`.

use std::{
    io::{ErrorKind, Write},
    path::PathBuf,
};

use clap::Subcommand;

use super::{
    Failure,
    job::{Ended, Host, Target},
    render, rules, status,
};
use crate::{
    cdn::{outage::SCRIPT, purge::setup},
    clock,
    config::Options,
    telemetry::{
        control,
        status::{Purging, Status},
        upkeep::{Compared, Done, Job, Purge, Purged},
    },
};

#[derive(Debug, Subcommand)]
pub(super) enum CdnCommand {
    /// Show what each vendor has still to forget
    Status(CdnStatusArgs),
    /// Have the CDN forget paths, whoever changed them
    Purge(CdnPurgeArgs),
    /// Rules for caches: what they keep of the mounts, for how long, and what never
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Compare what the edges have of paths with the bucket
    Verify(CdnVerifyArgs),
    /// Write the script for pages that asks the site for what the CDN does not give
    Onerror,
}

#[derive(Debug, clap::Args)]
pub(super) struct CdnStatusArgs {
    /// A mount point, or anything below it
    dir: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct CdnPurgeArgs {
    /// Files; with --below directories
    #[arg(value_name = "PATH", required_unless_present_any = ["tag", "everything", "retry"])]
    paths: Vec<PathBuf>,
    /// The mount point; paths begin there then
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// The paths are directories: all in them
    #[arg(long, visible_alias = "prefix")]
    below: bool,
    /// What has this tag; may be given more than once
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// All that the vendor has of its zone, also what is not of this mount
    #[arg(long, requires = "yes")]
    everything: bool,
    /// Say that everything is meant
    #[arg(long)]
    yes: bool,
    /// Also try at once what waits for credentials, permissions or a budget
    #[arg(long)]
    retry: bool,
    /// Show the URLs, and purge nothing
    #[arg(long)]
    dry_run: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct CdnVerifyArgs {
    /// Files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The mount point; paths begin there then
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Fails if the CDN of a mount cannot be what its file says.
pub(super) fn check(options: &Options) -> Result<(), Failure> {
    setup::stations(&options.cdn, &options.prefix, &options.fs.urls).map(drop).map_err(Failure::usage)
}

pub(super) fn command(command: &CdnCommand, out: &mut impl Write) -> Result<(), Failure> {
    match command {
        CdnCommand::Status(args) => {
            let target = Host::current()?.target(args.dir.as_deref(), &[])?;
            let status = control::ask(&target.socket, status::ANSWER_WAIT).map_err(Failure::system)?;
            say(out, args.json.then_some(&status.purging), || report(&status))
        }
        CdnCommand::Purge(args) => purge(args, out),
        CdnCommand::Rules(command) => rules::command(command, out),
        CdnCommand::Onerror => say(out, None::<&()>, || SCRIPT.trim_end().to_owned()),
        CdnCommand::Verify(args) => {
            let target = Host::current()?.target(args.at.as_deref(), &args.paths)?;
            let Done::Compared(seen) = work(&target, Job::Compare { paths: target.paths.clone() })? else {
                return Err(Failure::system("the mount answered something else"));
            };
            say(out, args.json.then_some(&seen), || seen.iter().map(compared).collect::<Vec<_>>().join("\n"))?;
            match seen.iter().filter(|seen| seen.same == Some(false)).count() {
                0 => Ok(()),
                stale => Err(Failure::partly(format!("{stale} of {} URLs are stale", seen.len()))),
            }
        }
    }
}

fn purge(args: &CdnPurgeArgs, out: &mut impl Write) -> Result<(), Failure> {
    let target = Host::current()?.target(args.at.as_deref(), &args.paths)?;
    let wish = Purge {
        paths: target.paths.clone(),
        below: args.below,
        tags: args.tag.clone(),
        everything: args.everything,
        dry_run: args.dry_run,
        resume: args.retry,
    };
    let Done::Purged(purged) = work(&target, Job::Purge(wish))? else {
        return Err(Failure::system("the mount answered something else"));
    };
    say(out, args.json.then_some(&purged), || told(&purged, args.dry_run))?;
    match &purged.unable[..] {
        [] => Ok(()),
        unable => Err(Failure::partly(format!("not at {}: it cannot do that", unable.join(", ")))),
    }
}

fn work(target: &Target, job: Job) -> Result<Done, Failure> {
    match target.work(job, |_| ())? {
        Ended::Done(done) => Ok(done),
        Ended::Interrupted => Err(Failure::interrupted()),
    }
}

fn say<T: serde::Serialize>(
    out: &mut impl Write,
    json: Option<&T>,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let text = match json {
        Some(value) => serde_json::to_string_pretty(value).map_err(Failure::system)?,
        None => text(),
    };
    match writeln!(out, "{text}") {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
    }
}

fn report(status: &Status) -> String {
    let purges = match status.purging.len() {
        0 => "no [[cdn]] in its file".to_owned(),
        _ => format!("{} changes to be purged", status.purges_pending),
    };
    let mut lines = vec![format!("{}: {purges}", status.mount.mountpoint)];
    lines.extend(status.outage.as_ref().map(|outage| render::outage(outage, clock::wall().sec)));
    status.purging.iter().for_each(|vendor| lines.extend(vendor_lines(vendor)));
    lines.join("\n")
}

/// A line for a vendor, and one for each of its troubles.
pub(super) fn vendor_lines(vendor: &Purging) -> Vec<String> {
    let oldest = vendor.oldest_s.map_or(String::new(), |age| format!(", the oldest for {age} s"));
    let Purging { vendor: name, waiting, items, requests, errors, .. } = vendor;
    let mut lines =
        vec![format!("{name}: {waiting} waiting{oldest}; {items} purged in {requests} requests, {errors} errors")];
    if let (Some(paid), Some(budget)) = (vendor.paid, vendor.budget) {
        lines.push(format!("  {paid} of {budget} paths of this month"));
    }
    if let Some(why) = &vendor.paused {
        lines.push(format!("  paused: {why}"));
    } else if let Some(why) = vendor.last_error.as_ref().filter(|_| vendor.waiting > 0) {
        lines.push(format!("  last error: {why}"));
    }
    lines.extend(vendor.dead.iter().map(|dead| format!("  given up: {dead}")));
    lines
}

fn told(purged: &Purged, dry_run: bool) -> String {
    let would = if dry_run { "would be asked" } else { "asked" };
    let mut lines = purged.urls.clone();
    lines.push(format!("{would}: {}", purged.vendors.join(", ")));
    lines.join("\n")
}

fn compared(seen: &Compared) -> String {
    let from = seen.origin.as_ref().map_or(String::new(), |origin| format!(" from {origin}"));
    let word = match (seen.same, &seen.error) {
        (_, Some(why)) => return format!("?      {}{from}: {why}", seen.url),
        (Some(true), _) => "fresh",
        (Some(false), _) => "STALE",
        (None, _) => "?",
    };
    let age = seen.age.map_or(String::new(), |age| format!(", age {age} s"));
    format!("{word:<6} {}{from} ({}{age})", seen.url, seen.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendor_tells_its_troubles() {
        let vendor = Purging {
            vendor: "cloudfront".to_owned(),
            waiting: 3,
            oldest_s: Some(90),
            requests: 2,
            items: 40,
            errors: 1,
            paid: Some(40),
            budget: Some(1000),
            paused: Some("403 no permission".to_owned()),
            dead: vec!["site/a: 400".to_owned()],
            ..Purging::default()
        };
        let expect = [
            "cloudfront: 3 waiting, the oldest for 90 s; 40 purged in 2 requests, 1 errors",
            "  40 of 1000 paths of this month",
            "  paused: 403 no permission",
            "  given up: site/a: 400",
        ];
        assert_eq!(vendor_lines(&vendor), expect);
    }

    #[test]
    fn an_edge_is_fresh_stale_or_unknown() {
        let url = "https://a.example/x".to_owned();
        let seen = Compared { url, status: 200, age: Some(7), same: Some(false), ..Compared::default() };
        assert_eq!(compared(&seen), "STALE  https://a.example/x (200, age 7 s)");
        let fresh = Compared { same: Some(true), age: None, ..seen };
        assert_eq!(compared(&fresh), "fresh  https://a.example/x (200)");
        let origin = Some("https://b.example".to_owned());
        assert_eq!(compared(&Compared { origin, ..fresh }), "fresh  https://a.example/x from https://b.example (200)");
    }
}
