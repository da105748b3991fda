//! The command line: one command per file. Exit codes are those of mount(8).

mod adopt;
mod apply;
mod argv;
mod asked;
mod background;
mod cache;
mod cdn;
mod cold;
mod cost;
mod doctor;
#[cfg(test)]
mod documents;
mod headers;
pub mod help;
mod invalidate;
mod job;
mod manifest;
mod meant;
mod meter;
mod mount;
mod pages;
mod place;
mod plan;
mod progress;
mod remount;
mod render;
mod rules;
mod site;
mod status;
mod umount;
mod url;
mod warm;

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{config::Options, telemetry::ready::Ready};
use argv::Arranged;

#[derive(Debug, Parser)]
#[command(
    name = "originfs",
    version,
    about = "Mounts an S3-compatible bucket over upload directories: one file is one object, the key is the path"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mount a bucket, or a part of it, on a directory
    #[command(after_help = help::options())]
    Mount(MountArgs),
    /// Unmount a directory and wait until its process has ended
    #[command(visible_alias = "unmount")]
    Umount(UmountArgs),
    /// Show what the mounts of this host are doing
    Status(StatusArgs),
    /// Show what the variables of a deployment mean on this host: buckets, mounts, options
    Plan(PlanArgs),
    /// Move what a directory holds into the bucket, then mount the bucket over it
    #[command(after_help = adopt::HELP)]
    Adopt(adopt::AdoptArgs),
    /// Fetch what nobody has asked for yet: attributes and contents, as far as there is room for them
    Warm(WarmArgs),
    /// Show where the public reads files
    Url(url::UrlArgs),
    /// List where the public reads each file, as the bucket has it now; mounted or not
    Manifest(manifest::ManifestArgs),
    /// Headers that the bucket keeps of each file
    #[command(subcommand)]
    Headers(headers::HeadersCommand),
    /// Forget what this host knows of paths and of all below them, so that the bucket is asked again
    Invalidate(InvalidateArgs),
    /// Look after the cache of a mount
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Look after the CDN in front of a mount
    #[command(subcommand)]
    Cdn(cdn::CdnCommand),
    /// Show what the requests of a mount cost: so far, in the whole month, and what the cache saves
    Cost(cost::CostArgs),
    /// Find what nobody reads any more in access logs, and whether a cheaper class of storage pays
    Cold(cold::ColdArgs),
    /// Check this host and its mounts, and say how to mend what is found
    #[command(after_help = doctor::CODES)]
    Doctor(doctor::DoctorArgs),
    /// One check in a process of its own
    #[command(hide = true, name = doctor::PART)]
    DoctorPart,
    /// Do what plan shows: buckets, directories, configuration, mounts; what is there already stays as it is
    Apply(ApplyArgs),
    /// Show the version
    Version,
    /// What mount(8) calls as /sbin/mount.originfs
    #[command(hide = true, name = argv::HELPER)]
    Helper(HelperArgs),
    /// Write the manual pages and the completions of shells, for packages
    #[command(hide = true)]
    Pages(PagesArgs),
}

#[derive(Debug, clap::Args)]
struct MountArgs {
    #[arg(help = "BUCKET, BUCKET:/PREFIX or s3://BUCKET/PREFIX; with --config=FILE it and DIR may be left out")]
    source: Option<String>,
    /// The directory to mount on
    dir: Option<PathBuf>,
    /// Options as in fstab; each can also be written as --NAME=VALUE
    #[arg(short, value_name = "NAME=VALUE,...")]
    options: Vec<String>,
    /// Stay in the foreground
    #[arg(short)]
    foreground: bool,
}

/// As mount(8) calls its helpers (section "EXTERNAL HELPERS").
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "mount(8) has that many flags")]
struct HelperArgs {
    source: String,
    dir: PathBuf,
    #[arg(short)]
    options: Vec<String>,
    /// Tolerate unknown options
    #[arg(short)]
    sloppy: bool,
    /// Check everything but do not mount
    #[arg(short)]
    fake: bool,
    /// There is no mtab to write
    #[arg(short)]
    n: bool,
    #[arg(short)]
    verbose: bool,
    #[arg(short = 'N')]
    namespace: Option<OsString>,
    #[arg(short = 't')]
    kind: Option<OsString>,
}

#[derive(Debug, clap::Args)]
struct UmountArgs {
    /// The directory that is mounted on
    dir: PathBuf,
    /// Detach it now, also while files are open; its process ends when they are closed
    #[arg(short, long)]
    lazy: bool,
    /// Only if its process is gone ("Transport endpoint is not connected"); nothing else is touched
    #[arg(long, conflicts_with = "lazy")]
    dead: bool,
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// A mount point, or anything below it; all mounts without it
    dir: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct PlanArgs {
    /// TOML with the variables in lower case [default: /etc/originfs/site.toml, if it is there]; the environment
    /// overrides it
    file: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
    /// The tree of another host, such as an image that is being made
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ApplyArgs {
    /// TOML with the variables in lower case [default: /etc/originfs/site.toml, if it is there]; the environment
    /// overrides it
    file: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The tree of another host, such as an image that is being made
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Who mounts at boot; auto is systemd where it runs and has originfs@.service, else fstab
    #[arg(long, value_enum, default_value_t)]
    boot: apply::Boot,
    /// Leave it to the next boot to mount
    #[arg(long)]
    no_mount: bool,
}

#[derive(Debug, clap::Args)]
struct WarmArgs {
    /// Paths, or patterns (*, ? and [...] within a name, ** for any directories); everything without
    #[arg(value_name = "PATTERN")]
    patterns: Vec<PathBuf>,
    /// The mount point; patterns begin there then
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// Names and attributes, no contents
    #[arg(long)]
    metadata: bool,
    /// The most bytes in a second; each request counts as 16 KiB more
    #[arg(long, value_name = "SIZE", default_value = "32MiB")]
    rate: String,
    /// The most files at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct InvalidateArgs {
    /// Files or directories
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The mount point; paths begin there then
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Show what is in the cache: size, share that is here, last use
    Ls {
        #[command(flatten)]
        args: CacheArgs,
        /// What comes first: by name, the largest, or the last used
        #[arg(long, value_enum, default_value = "name")]
        sort: Sort,
    },
    /// Compare what is in the cache with the checksums that the bucket tells, and drop what is broken
    Verify(CacheArgs),
    /// Drop what is in the cache and not in use
    Clear(CacheArgs),
}

#[derive(Debug, clap::Args)]
struct CacheArgs {
    /// Paths, or patterns (*, ? and [...] within a name, ** for any directories); everything without
    #[arg(value_name = "PATTERN")]
    patterns: Vec<PathBuf>,
    /// The mount point; patterns begin there then
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Sort {
    Name,
    Size,
    Age,
}

#[derive(Debug, clap::Args)]
struct PagesArgs {
    /// What /usr/share is in the end
    share: PathBuf,
}

/// Why a command ends with something else than success.
#[derive(Debug)]
struct Failure {
    /// As mount(8) defines them.
    code: u8,
    /// One line; `None` if it has been said already.
    message: Option<String>,
}

impl Failure {
    /// Wrong invocation or permissions (1).
    fn usage(message: impl Display) -> Self {
        Self { code: 1, message: Some(message.to_string()) }
    }

    /// The system failed (2).
    fn system(message: impl Display) -> Self {
        Self { code: 2, message: Some(message.to_string()) }
    }

    /// The user ended it (8); they know.
    fn interrupted() -> Self {
        Self { code: 8, message: None }
    }

    /// The mount failed (32).
    fn mount(message: impl Display) -> Self {
        Self { code: 32, message: Some(message.to_string()) }
    }

    /// A part of it is done (64).
    fn partly(message: impl Display) -> Self {
        Self { code: 64, message: Some(message.to_string()) }
    }
}

/// Runs the command line `args`, the program's name first. `mount` serves a mount until it ends; an error of it is one
/// line.
pub fn run<E: Display>(
    args: impl IntoIterator<Item = OsString>,
    mount: impl FnOnce(Options, Ready) -> Result<(), E>,
) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let Err(failure) = dispatch(&args, mount) else { return ExitCode::SUCCESS };
    if let Some(message) = failure.message {
        complain(&message);
    }
    ExitCode::from(failure.code)
}

/// Says one line on stderr. If that is gone there is nobody to tell.
fn complain(message: &str) {
    writeln!(io::stderr(), "originfs: {message}").ok();
}

fn dispatch<E: Display>(args: &[OsString], mount: impl FnOnce(Options, Ready) -> Result<(), E>) -> Result<(), Failure> {
    let Arranged { args: arranged, words } = argv::arrange(args)?;
    let cli = match Cli::try_parse_from(arranged) {
        Ok(cli) => cli,
        // Help and version come as errors that go to stdout.
        Err(err) if !err.use_stderr() => return err.print().map_err(Failure::system),
        // Its code 1 says that there are warnings.
        Err(err) if doctor::is_meant(args) => return Err(Failure::system(first_line(&err))),
        Err(err) => return Err(Failure::usage(first_line(&err))),
    };
    match cli.command {
        Command::Mount(command) => mount::command(args, &command, words, mount),
        Command::Helper(command) => mount::helper(args, &command, words, mount),
        Command::Umount(command) => umount::command(&command),
        Command::Status(command) => status::command(&command, &mut io::stdout().lock()),
        Command::Plan(command) => plan::command(&command, &mut io::stdout().lock()),
        Command::Pages(command) => pages::command(&command),
        Command::Adopt(command) => adopt::command(args, &command, &mut io::stdout().lock()),
        Command::Cache(command) => cache::command(&command, &mut io::stdout().lock()),
        Command::Cdn(command) => cdn::command(&command, &mut io::stdout().lock()),
        Command::Warm(command) => warm::command(&command, &mut io::stdout().lock()),
        Command::Cold(command) => cold::command(args, &command, &mut io::stdout().lock()),
        Command::Cost(command) => cost::command(&command, &mut io::stdout().lock()),
        Command::Url(command) => url::command(&command, &mut io::stdout().lock()),
        Command::Manifest(command) => manifest::command(args, &command, &mut io::stdout().lock()),
        Command::Headers(headers::HeadersCommand::Apply(command)) => {
            headers::command(args, &command, &mut io::stdout().lock())
        }
        Command::Invalidate(command) => invalidate::command(&command, &mut io::stdout().lock()),
        Command::Doctor(command) => doctor::command(&command, &mut io::stdout().lock()),
        Command::DoctorPart => doctor::part(&mut io::stdin().lock(), &mut io::stdout().lock()),
        Command::Apply(command) => apply::command(&command, &mut io::stdout().lock()),
        Command::Version => writeln!(io::stdout(), "originfs {}", env!("CARGO_PKG_VERSION")).map_err(Failure::system),
    }
}

/// What is wrong, without the usage that follows.
fn first_line(err: &clap::Error) -> String {
    let text = err.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    // "the following arguments were not provided:" and their names.
    if first.ends_with(':') { format!("{first} {}", lines.next().unwrap_or_default()) } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
