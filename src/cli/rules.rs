//! `originfs cdn rules`.

use std::{
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use clap::{Subcommand, ValueEnum as _};

use super::{Failure, asked, place};
use crate::{
    cdn::{
        purge::{driver::Outside as _, setup, vendor::cloudflare::Plan},
        rules::{Area, MONTH, Rules, Wishes, apache, apply, cloudflare, cloudfront, cors, nginx, terraform, varnish},
        url::{Base, Family},
    },
    config::{
        self, Options, Unknown,
        cdn::Cdn,
        parse::{self, Host, Request},
        words::{self, Word},
    },
    doctor::{files::Disk, targets},
    mount,
    store::s3,
};

/// What stands for the origin's own headers.
const ORIGIN: &str = "origin";

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Write the rules, for a file
    Emit(EmitArgs),
    /// Put the rules into a zone of the vendor; rules of others stay as they are
    Apply(ApplyArgs),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Format {
    CloudflareJson,
    Terraform,
    Cloudfront,
    Nginx,
    Varnish,
    Apache,
    S3Cors,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
enum Applier {
    Cloudflare,
}

#[derive(Debug, clap::Args)]
pub(super) struct EmitArgs {
    /// The language of the rules
    #[arg(long, value_enum)]
    format: Format,
    #[command(flatten)]
    wish: WishArgs,
    /// nginx, Varnish: the webserver of the site, as `http://HOST[:PORT]`
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// nginx: address and port to listen on
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// nginx, Varnish: who may purge, an address or a network; may be given more than once [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    purger: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
    /// Whose zone it is
    #[arg(long, value_enum)]
    vendor: Applier,
    #[command(flatten)]
    wish: WishArgs,
    /// Show what would change, and change nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct WishArgs {
    /// Directories that fstab or /etc/originfs has, or files of mounts (config=FILE); all that is configured without
    #[arg(value_name = "DIR|FILE")]
    mounts: Vec<PathBuf>,
    /// Cloudflare, Terraform, cloudfront: what the rules are called, so that others of the same zone are told from them
    /// [default: the first host]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Cloudflare, Terraform: plan of the zone (free, pro, business, enterprise) [default: that of the table cdn, else free]
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// How long caches keep files: 31d, or origin [default: 31d where a table cdn has them purged, else origin]
    #[arg(long, value_name = "TIME")]
    edge_ttl: Option<String>,
    /// How long browsers keep files without a version in their URLs: 5m, or origin
    #[arg(long, value_name = "TIME", default_value = ORIGIN)]
    browser_ttl: String,
    /// Let pages of all hosts use the files (fonts, canvas) [default: where a table cdn has origins]
    #[arg(long)]
    cors: bool,
    /// Where fstab and /etc/originfs are
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// A mount, as far as rules are concerned.
struct Meant {
    options: Options,
    cdn: Vec<Cdn>,
}

pub(super) fn command(command: &RulesCommand, out: &mut impl Write) -> Result<(), Failure> {
    let text = match command {
        RulesCommand::Emit(args) => emit(args)?,
        RulesCommand::Apply(args) => apply(args)?,
    };
    match out.write_all(text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
    }
}

fn emit(args: &EmitArgs) -> Result<String, Failure> {
    let vendor = match args.format {
        Format::CloudflareJson | Format::Terraform => "cloudflare",
        Format::Cloudfront => "cloudfront",
        Format::Nginx | Format::Varnish => "http",
        Format::Apache | Format::S3Cors => "",
    };
    useless(args)?;
    let meant = meant(&args.wish)?;
    let mut rules = rules(&args.wish, vendor, &meant)?;
    if let Some(origin) = &args.origin {
        let base = Base::parse(origin, Family::Site).map_err(|err| Failure::usage(format!("--origin: {err}")))?;
        rules.wishes.origin = Some(base.origin().to_owned());
    }
    rules.wishes.listen.clone_from(&args.listen);
    rules.wishes.purgers.clone_from(&args.purger);
    let plain = |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b".:/[]_-".contains(&b));
    if let Some(odd) = args.listen.iter().chain(&args.purger).find(|text| !plain(text)) {
        return Err(Failure::usage(format!("{odd:?} is no address")));
    }
    let name = named(&args.wish, &rules)?;
    let text = match args.format {
        Format::CloudflareJson => cloudflare::emit(&rules, &name, plan(&args.wish, &meant)?),
        Format::Terraform => terraform::emit(&rules, &name, plan(&args.wish, &meant)?),
        Format::Cloudfront => cloudfront::emit(&rules, &name),
        Format::Nginx => nginx::emit(&rules),
        Format::Varnish => varnish::emit(&rules),
        Format::Apache => apache::emit(&rules),
        Format::S3Cors => cors::emit(&rules, &origins(&meant)),
    };
    text.map_err(Failure::usage)
}

/// Fails if an option is given that means nothing to the format: whoever gave it believes that it does something.
fn useless(args: &EmitArgs) -> Result<(), Failure> {
    use Format::{CloudflareJson, Cloudfront, Nginx, Terraform, Varnish};
    let options = [
        ("--origin", args.origin.is_some(), &[Nginx, Varnish][..]),
        ("--listen", args.listen.is_some(), &[Nginx]),
        ("--purger", !args.purger.is_empty(), &[Nginx, Varnish]),
        ("--plan", args.wish.plan.is_some(), &[CloudflareJson, Terraform]),
        ("--name", args.wish.name.is_some(), &[CloudflareJson, Terraform, Cloudfront]),
    ];
    let name = |format: &Format| format.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned());
    match options.into_iter().find(|(_, given, formats)| *given && !formats.contains(&args.format)) {
        None => Ok(()),
        Some((option, _, formats)) => {
            let useful = formats.iter().map(name).collect::<Vec<_>>().join(", ");
            let format = name(&args.format);
            Err(Failure::usage(format!("{option} means nothing to --format {format}: it is for {useful}")))
        }
    }
}

fn apply(args: &ApplyArgs) -> Result<String, Failure> {
    let Applier::Cloudflare = args.vendor;
    let meant = meant(&args.wish)?;
    let rules = rules(&args.wish, "cloudflare", &meant)?;
    let (name, plan) = (named(&args.wish, &rules)?, plan(&args.wish, &meant)?);
    let phases = cloudflare::phases(&rules, &name, plan).map_err(Failure::usage)?;
    let tables: Vec<&Cdn> = tables(&meant, "cloudflare").collect();
    let Some(first) = tables.first() else {
        return Err(Failure::usage(
            "no [[cdn]] with vendor = \"cloudflare\" in the files of these mounts says which zone it is",
        ));
    };
    if tables.iter().any(|table| table.zone != first.zone) {
        return Err(Failure::usage("these mounts are in several zones: name those of one at a time"));
    }
    let (api, id) = setup::zone_of_cloudflare(first).map_err(Failure::usage)?;
    let place = first.place().map_err(Failure::usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(Failure::system)?;
    let outside = mount::cdn::outside(place);
    let zone = apply::Zone { api, id, plan, secret: outside.secret(0).map_err(Failure::usage)? };
    let own = cloudflare::own(&name);
    let mut done = Vec::new();
    for phase in &phases {
        let applied = runtime.block_on(apply::phase(&outside, &zone, phase, &own, args.dry_run));
        done.push(applied.map_err(|why| Failure::system(format!("{}: {why}", phase.title)))?);
    }
    if args.json {
        return Ok(serde_json::to_string_pretty(&done).map_err(Failure::system)? + "\n");
    }
    Ok(done.iter().map(|applied| told(applied, args.dry_run)).collect())
}

fn told(applied: &apply::Applied, dry_run: bool) -> String {
    let phase = &applied.phase;
    let mut lines: Vec<String> = applied.changes.iter().map(|change| format!("  {change}")).collect();
    lines.insert(
        0,
        match (&applied.unseen, applied.changes.len(), dry_run) {
            (Some(why), ..) => format!("{phase}: whether rules of ours are left there is not known: {why}"),
            (None, 0, _) => format!("{phase}: nothing to change"),
            (None, count, true) => format!("{phase}: {count} would change"),
            (None, count, false) => format!("{phase}: {count} changed"),
        },
    );
    lines.extend((applied.conflicts > 0).then(|| {
        format!("  somebody else changed the rules meanwhile ({} times): theirs are kept", applied.conflicts)
    }));
    lines.join("\n") + "\n"
}

fn tables<'a>(meant: &'a [Meant], vendor: &'a str) -> impl Iterator<Item = &'a Cdn> {
    meant.iter().flat_map(|meant| &meant.cdn).filter(move |cdn| cdn.vendor == vendor)
}

fn plan(args: &WishArgs, meant: &[Meant]) -> Result<Plan, Failure> {
    let of_table = tables(meant, "cloudflare").find_map(|cdn| cdn.plan.as_deref());
    setup::plan_of(args.plan.as_deref().or(of_table)).map_err(Failure::usage)
}

fn named(args: &WishArgs, rules: &Rules) -> Result<String, Failure> {
    let name = args.name.clone().unwrap_or_else(|| cloudflare::name(rules));
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain && !name.is_empty() { Ok(name) } else { Err(Failure::usage("--name: letters, digits and _ alone")) }
}

fn ttl(what: &str, text: &str) -> Result<Option<u32>, Failure> {
    if text == ORIGIN {
        return Ok(None);
    }
    let time = config::duration(text).and_then(|time| u32::try_from(time.as_secs()).ok()).filter(|time| *time > 0);
    time.map(Some)
        .ok_or_else(|| Failure::usage(format!("--{what}={text}: expected a time such as 5m or 31d, or origin")))
}

/// Whose pages load fonts and draw images, as any table says.
fn origins(meant: &[Meant]) -> Vec<String> {
    meant.iter().flat_map(|meant| &meant.cdn).flat_map(|cdn| cdn.origins.0.clone()).collect()
}

/// The rules for the directories of these mounts, at the hosts of this vendor.
fn rules(args: &WishArgs, vendor: &str, meant: &[Meant]) -> Result<Rules, Failure> {
    let mut areas = Vec::new();
    for Meant { options, cdn } in meant {
        let own: Vec<&Cdn> = cdn.iter().filter(|cdn| cdn.vendor == vendor).collect();
        let mut bases = setup::bases(&own).map_err(Failure::usage)?;
        if bases.is_empty() {
            bases = options.fs.urls.bases().to_vec();
        }
        let bucket = bucket(options)?;
        let tag = options.fs.headers.tag();
        let of = Area::of(&options.fs.urls, &bases, &options.s3.withheld, &bucket);
        areas.extend(of.into_iter().map(|area| Area { tag: tag.clone(), ..area }));
    }
    if areas.is_empty() {
        return Err(Failure::usage(
            "none of these mounts has a URL: say site_url= or cdn_url=, or base or site of [[cdn]]",
        ));
    }
    let purged = tables(meant, vendor).next().is_some();
    let edge = match &args.edge_ttl {
        Some(text) => ttl("edge-ttl", text)?,
        None => purged.then_some(MONTH),
    };
    let cors = args.cors || tables(meant, vendor).any(|cdn| !cdn.origins.0.is_empty());
    let browser = ttl("browser-ttl", &args.browser_ttl)?;
    Ok(Rules { areas, wishes: Wishes { edge, browser, cors, ..Wishes::default() } })
}

/// The URL of the mounted part of the bucket, with a slash at its end.
fn bucket(options: &Options) -> Result<String, Failure> {
    let url = s3::public_url(&options.bucket, &options.s3);
    let base = Base::parse(&url, Family::Cdn).map_err(|err| Failure::usage(format!("endpoint: {err}")))?;
    let urls = options.fs.urls.at(&base).below(&crate::model::key::Key::new(""));
    Ok(urls.into_iter().next().unwrap_or_default())
}

/// The mounts that are named, or all that are configured and have a URL.
fn meant(args: &WishArgs) -> Result<Vec<Meant>, Failure> {
    let configured = targets::configured(&Disk::new(&args.root));
    let known = |target: &targets::Target| -> Result<Meant, Failure> {
        let dir = target.dir.as_deref().unwrap_or(Path::new("/"));
        let words = words::split(&target.options).map_err(Failure::usage)?;
        read(&target.source, dir, &words, target.cdn.clone())
    };
    if args.mounts.is_empty() {
        let all = configured.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        return Ok(all
            .into_iter()
            .filter(|meant| !meant.options.fs.urls.bases().is_empty() || !meant.cdn.is_empty())
            .collect());
    }
    let mut all = Vec::new();
    for path in &args.mounts {
        if path.is_file() {
            let text = path.to_str().ok_or_else(|| Failure::usage("the name of the file is no text"))?;
            let asked = asked::complete(None, None, vec![Word::new("config", text)])?;
            all.push(read(&asked.source, &asked.dir, &asked.words, asked.cdn)?);
            continue;
        }
        let dir = place::resolve(path).unwrap_or_else(|_| path.clone());
        let is_it = |target: &&targets::Target| target.dir.as_ref().is_some_and(|point| *point == dir || point == path);
        let target = configured.iter().find(is_it).ok_or_else(|| {
            Failure::usage(format!("neither fstab nor /etc/originfs has a mount of {}", path.display()))
        })?;
        all.push(known(target)?);
    }
    Ok(all)
}

fn read(source: &str, dir: &Path, words: &[Word], cdn: Vec<Cdn>) -> Result<Meant, Failure> {
    let request = Request { source, mountpoint: dir, words, unknown: Unknown::Warn };
    let parsed = parse::parse(&request, &Host::current()).map_err(Failure::usage)?;
    Ok(Meant { options: parsed.options, cdn })
}
