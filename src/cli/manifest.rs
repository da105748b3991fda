//! `originfs manifest`.

mod walk;
mod whole;

use std::{
    ffi::OsString,
    io::{self, BufWriter, ErrorKind, Write},
    path::PathBuf,
    sync::Arc,
};

use tokio::runtime::Builder;

use super::{
    Failure,
    meant::{self, Meant, Place},
};
use crate::{
    cdn::{
        manifest::{self, Writer},
        url::Family,
    },
    config::Options,
    store::s3::S3Store,
};
use walk::{Trouble, Walk};
use whole::Whole;

#[derive(Debug, clap::Args)]
pub(super) struct ManifestArgs {
    #[command(flatten)]
    place: Place,
    /// Only what begins with this, from the mount point
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    prefix: String,
    /// How it is written: all of each file in a line, or a URL for each path
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// URLs on the site, not on the CDN
    #[arg(long)]
    site: bool,
    /// Where a file has one URL (json, php, urls), the one without its version
    #[arg(long)]
    plain: bool,
    /// Ask for the Content-Type of each file, too: a request for each
    #[arg(long)]
    types: bool,
    /// The most files asked for at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..=128))]
    jobs: u8,
    /// Replace this file, as a whole and at the end
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
enum Format {
    /// A line of JSON for each file
    #[default]
    Jsonl,
    /// One object of JSON, path to URL
    Json,
    /// The same for PHP's include
    Php,
    /// Fields with tabs between
    Tsv,
    /// URLs alone
    Urls,
}

impl From<Format> for manifest::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Jsonl => Self::Lines,
            Format::Json => Self::Json,
            Format::Php => Self::Php,
            Format::Tsv => Self::Tsv,
            Format::Urls => Self::Urls,
        }
    }
}

pub(super) fn command(args: &[OsString], command: &ManifestArgs, out: &mut impl Write) -> Result<(), Failure> {
    let Meant { options, .. } = meant::meant(args, &command.place)?;
    let family = family(&options, command.site)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::system)?;
    let Some(path) = &command.output else {
        return match runtime.block_on(write(&options, command, family, BufWriter::new(out))) {
            // Whoever read it has seen enough.
            Err(Trouble::Output(err)) if err.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.map(drop).map_err(|trouble| failure(trouble, "")),
        };
    };
    let shown = format!("{}: ", path.display());
    let wrong = |err: io::Error| Failure::system(format!("{shown}{err}"));
    let whole = Whole::begin(path).map_err(wrong)?;
    let written = runtime.block_on(write(&options, command, family, BufWriter::new(whole)));
    let (whole, files) = written.map_err(|trouble| failure(trouble, &shown))?;
    let whole = whole.into_inner().map_err(|err| wrong(err.into_error()))?;
    whole.keep().map_err(wrong)?;
    writeln!(out, "{files} files in {}", path.display()).map_err(Failure::system)
}

/// Which URLs are handed out. An error says what the mount lacks for it.
fn family(options: &Options, site: bool) -> Result<Family, Failure> {
    if options.s3.withheld.is_all() {
        return Err(Failure::usage("nothing of this mount is for the public (exposure=private)"));
    }
    let urls = &options.fs.urls;
    let (family, option) = match (site, urls.base(Family::Cdn)) {
        (false, Some(_)) => (Family::Cdn, "cdn_url"),
        (false, None) => (Family::Site, "cdn_url"),
        (true, _) => (Family::Site, "site_url"),
    };
    match urls.base(family) {
        Some(_) => Ok(family),
        None => Err(Failure::usage(format!("the mount does not know its URL: say it with {option}="))),
    }
}

/// Writes the list, and gives how many files are in it.
async fn write<W: Write>(
    options: &Options,
    command: &ManifestArgs,
    family: Family,
    out: W,
) -> Result<(W, u64), Trouble> {
    let store = S3Store::connect(&options.bucket, &options.s3).await.map_err(Trouble::Bucket)?;
    store.check(options.prefix.as_str()).await.map_err(|err| Trouble::Check(err.to_string()))?;
    let mut writer = Writer::begin(out, command.format.into(), command.plain).map_err(Trouble::Output)?;
    let walk = Walk {
        store: Arc::new(store),
        options: &options.fs,
        prefix: format!("{}{}", options.prefix.as_str(), command.prefix.trim_start_matches('/')),
        family,
        types: command.types,
        jobs: command.jobs.into(),
    };
    walk.run(&mut writer).await?;
    writer.end().map_err(Trouble::Output)
}

fn failure(trouble: Trouble, output: &str) -> Failure {
    match trouble {
        Trouble::Bucket(err) => Failure::mount(err),
        Trouble::Check(why) => Failure::mount(why),
        Trouble::Output(err) => Failure::system(format!("{output}{err}")),
    }
}
