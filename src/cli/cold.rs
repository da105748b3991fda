//! `originfs cold`.

use std::{
    borrow::Cow,
    ffi::OsString,
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read as _, Write},
    path::{Path, PathBuf},
};

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
        access::{Line, Of, Read, decoded, parse},
        cold::{Access, OBJECTS_MAX, Proposal, lifecycle},
        day::Day,
        price::{Price, vendor_of},
    },
    model::key::Key,
    store::{List, Store as _, s3::S3Store},
};

/// The longest line of a log in bytes; more of it is skipped.
const LINE_MAX: u64 = 64 << 10;

#[derive(Debug, clap::Args)]
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
        help = "An access log of S3, CloudFront, Cloudflare or nginx, not compressed; - is the input; may be given more \
                than once"
    )]
    logs: Vec<PathBuf>,
    /// Whose prices [default: by the endpoint]
    #[arg(long, value_name = "NAME")]
    vendor: Option<String>,
    /// TOML with other prices
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Write the proposal as put-bucket-lifecycle-configuration takes it; nothing is applied
    #[arg(long, conflicts_with = "json")]
    lifecycle: bool,
    /// The configuration that the bucket has, of which rules of others are taken over
    #[arg(long, value_name = "FILE", requires = "lifecycle")]
    keep: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) fn command(args: &[OsString], command: &ColdArgs, out: &mut impl Write) -> Result<(), Failure> {
    let Meant { options, .. } = meant::meant(args, &command.place)?;
    let vendor = command.vendor.as_deref().or_else(|| vendor_of(options.s3.endpoint.as_deref()));
    let vendor = vendor.ok_or_else(|| Failure::usage("nobody here knows the prices of the endpoint: say --vendor"))?;
    let price = price(command.prices.as_deref(), vendor)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::system)?;
    let mut access = runtime.block_on(objects(&options))?;
    for path in &command.logs {
        let wrong = |err: io::Error| Failure::usage(format!("{}: {err}", path.display()));
        let unknown = if path.as_os_str() == "-" {
            take(io::stdin().lock(), &options.fs.urls, &mut access)
        } else {
            File::open(path).and_then(|file| take(BufReader::new(file), &options.fs.urls, &mut access))
        };
        match unknown.map_err(wrong)? {
            0 => {}
            count => complain(&format!("{}: {count} lines of an unknown form", path.display())),
        }
    }
    if access.logged_days() < command.days {
        let days = access.logged_days();
        return Err(Failure::usage(format!("the logs are of {days} days: what was read before is not in them")));
    }
    let proposal = access.propose(command.days, Day::of(clock::wall().sec), &price);
    let proposal = proposal.ok_or_else(|| Failure::usage(format!("{} has no cheaper class", price.name)))?;
    let text = match (command.lifecycle, command.json) {
        (true, _) => serde_json::to_string_pretty(&configuration(&proposal, &price, command.keep.as_deref())?),
        (_, true) => serde_json::to_string_pretty(&proposal),
        _ => Ok(text(&proposal, &price)),
    };
    match writeln!(out, "{}", text.map_err(Failure::system)?) {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
    }
}

fn configuration(proposal: &Proposal, price: &Price, keep: Option<&Path>) -> Result<serde_json::Value, Failure> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("{}: {why}", keep.map_or_else(String::new, |path| path.display().to_string())))
    };
    let others = keep.map(|path| {
        let text = std::fs::read(path).map_err(|err| wrong(&err))?;
        serde_json::from_slice(&text).map_err(|err| wrong(&err))
    });
    let minimum = price.cold.as_ref().map_or(0, |cold| cold.minimum_kib);
    lifecycle(proposal, minimum, others.transpose()?.as_ref()).map_err(|why| wrong(&why))
}

/// All objects of the mount.
async fn objects(options: &Options) -> Result<Access, Failure> {
    let store = S3Store::connect(&options.bucket, &options.s3).await.map_err(Failure::mount)?;
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

/// Reads a log; gives the lines that nobody understands.
fn take(mut log: impl BufRead, urls: &Mapper, access: &mut Access) -> io::Result<u64> {
    let (mut unknown, mut line) = (0, Vec::new());
    loop {
        line.clear();
        if (&mut log).take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(unknown);
        }
        if !line.ends_with(b"\n") && line.len() as u64 == LINE_MAX {
            skip_line(&mut log)?;
        }
        match parse(&String::from_utf8_lossy(&line)) {
            Line::Read(read) => note(&read, urls, access),
            Line::Other(day) => access.logged(day),
            Line::Nothing => {}
            Line::Unknown => unknown += 1,
        }
    }
}

/// To its end, whatever is in it.
fn skip_line(log: &mut impl BufRead) -> io::Result<()> {
    loop {
        let some = log.fill_buf()?;
        let (len, end) = match some.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (some.len(), some.is_empty()),
        };
        log.consume(len);
        if end {
            return Ok(());
        }
    }
}

fn note(read: &Read<'_>, urls: &Mapper, access: &mut Access) {
    let day = read.day;
    access.logged(day);
    match &read.of {
        Of::Path(path) => {
            let path = decoded(path).unwrap_or_default();
            urls.keys(&path).any(|key| access.read(&key, day));
        }
        Of::Key(raw) => {
            let once = decoded(raw).unwrap_or_default();
            let twice = decoded(&once).map(Cow::into_owned);
            // Before a CDN the path may be that in the mount.
            let any = |text: &str, access: &mut Access| {
                access.read(text, day) || urls.keys(&format!("/{text}")).any(|key| access.read(&key, day))
            };
            if !any(&once, access)
                && let Some(twice) = twice
            {
                any(&twice, access);
            }
        }
    }
}

fn text(proposal: &Proposal, price: &Price) -> String {
    let Proposal { class, days, logged_days, objects, bytes, cold_objects, cold_bytes, rules, saved } = proposal;
    let bytes = render::bytes(*bytes);
    let mut lines = vec![
        format!("{objects} files, {bytes}; logs of {logged_days} days"),
        format!("older than {days} days and not read in them: {cold_objects} files, {}", render::bytes(*cold_bytes)),
        format!("as {class} after {days} days, at the prices of {} ({}, {}):", price.name, price.date, price.source),
    ];
    lines.extend(rules.iter().map(|rule| {
        let (size, fees) = (render::bytes(rule.bytes), rule.transition + rule.reads);
        format!(
            "  {}: {} files, {size}: saves ${:.2} in a year, less ${fees:.2} of fees",
            rule.prefix, rule.objects, rule.saved
        )
    }));
    lines.push(match rules.len() {
        0 => "nothing pays for the fees".to_owned(),
        count => format!("${saved:.2} in the first year with {count} rules; --lifecycle writes them"),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cdn::url::{Base, Family},
        cost::price::prices,
        model::key::Prefix,
    };

    fn urls() -> Mapper {
        let cdn = Base::parse("https://cdn.example.org", Family::Cdn).unwrap();
        let site = Base::parse("https://www.example.org/pictures", Family::Site).unwrap();
        Mapper::new(Prefix::parse("images").unwrap(), vec![cdn, site])
    }

    /// One line of each form.
    const LOGS: &str = "\
0a b [22/Nov/2026:00:00:38 +0000] 192.0.2.3 r 3E57 REST.GET.OBJECT images/a%2520b.png \"GET /b/images/a%20b.png HTTP/1.1\" 200 - 1 1 7 6 \"-\" \"x\" -
#Fields: date time
2026-11-22\t21:02:31\tLAX1\t392\t192.0.2.1\tGET\tx.cloudfront.net\t/images/a%20b.png\t200\t-
{\"ClientRequestMethod\":\"GET\",\"ClientRequestURI\":\"/images/a%20b.png?v=1\",\"EdgeResponseStatus\":200,\"EdgeStartTimestamp\":\"2026-11-22T21:02:31Z\"}
192.0.2.1 - - [01/Sep/2026:23:30:00 +0000] \"GET /pictures/a%20b.png HTTP/1.1\" 200 9 \"-\" \"x\"
what is this
";

    #[test]
    fn each_log_finds_its_file() {
        let mut access = Access::default();
        let today: Day = "2026-11-22".parse().unwrap();
        assert!(access.object("images/a b.png", 200_000_000_000, Day(0)));
        assert!(access.object("images/old/b.mp4", 200_000_000_000, Day(0)));
        let long = format!("{}\n", "x".repeat(200_000));
        let all = format!("{long}{LOGS}");
        assert_eq!(take(BufReader::new(all.as_bytes()), &urls(), &mut access).unwrap(), 2);
        assert_eq!(access.logged_days(), 83);
        let price = prices(None).unwrap()["aws"].clone();
        let proposal = access.propose(80, today, &price).unwrap();
        assert_eq!((proposal.objects, proposal.cold_objects), (2, 1));
        // Four reads in 83 days are 18 in a year, each of which costs $2.
        let expect = "\
2 files, 372.5 GiB; logs of 83 days
older than 80 days and not read in them: 1 files, 186.2 GiB
as STANDARD_IA after 80 days, at the prices of Amazon S3, Standard, us-east-1 (2026-11-21, aws.amazon.com/s3/pricing):
  images/old/: 1 files, 186.2 GiB: saves $25.20 in a year, less $0.00 of fees
$25.20 in the first year with 1 rules; --lifecycle writes them";
        assert_eq!(text(&proposal, &price), expect);
        let all = configuration(&proposal, &price, None).unwrap();
        assert_eq!(all["Rules"][0]["Filter"]["And"]["Prefix"], "images/old/");
    }
}
