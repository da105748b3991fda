//! `originfs mount`, and the same for mount(8).

use std::{
    env,
    ffi::OsString,
    fmt::Display,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{Failure, HelperArgs, MountArgs, asked, background, cdn, complain, place, remount};
use crate::{
    config::{
        Options, Unknown,
        parse::{self, Host, Parsed, Request},
        words::{self, Word},
    },
    mount::{self, AUTOMOUNT},
    telemetry::{
        logging::{self, To},
        ready::Ready,
    },
};

/// Set in the process that serves a mount in the background.
const BACKGROUND: &str = "ORIGINFS_BACKGROUND";
/// How long the parent waits: a boot may take this long until the network is there. systemd's own limit for a mount is
/// shorter, 90 s, so there it decides.
const READY_WAIT: Duration = Duration::from_mins(5);
/// For a child of mount(8) without PATH: where fusermount3 and credential processes are.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn command<E: Display>(
    args: &[OsString],
    command: &MountArgs,
    mut words: Vec<Word>,
    mount: impl FnOnce(Options, Ready) -> Result<(), E>,
) -> Result<(), Failure> {
    add(&mut words, &command.options)?;
    if command.foreground {
        words.push(Word::flag("foreground"));
    }
    let asked = asked::complete(command.source.as_deref(), command.dir.as_deref(), words)?;
    let mut parsed = prepare(&asked.source, &asked.dir, &asked.words, Unknown::Refuse)?;
    parsed.options.cdn = asked.cdn;
    cdn::check(&parsed.options)?;
    serve(args, parsed, mount)
}

pub(super) fn helper<E: Display>(
    args: &[OsString],
    command: &HelperArgs,
    mut words: Vec<Word>,
    mount: impl FnOnce(Options, Ready) -> Result<(), E>,
) -> Result<(), Failure> {
    if command.namespace.is_some() {
        return Err(Failure::usage("-N is not supported, use nsenter(1)"));
    }
    add(&mut words, &command.options)?;
    let asked = asked::complete_line(&command.source, &command.dir, words)?;
    if asked.words.iter().any(|word| word.name == "remount") {
        return remount::command(&asked);
    }
    let unknown = if command.sloppy { Unknown::Warn } else { Unknown::Refuse };
    let mut parsed = prepare(&asked.source, &asked.dir, &asked.words, unknown)?;
    parsed.options.cdn = asked.cdn;
    cdn::check(&parsed.options)?;
    if command.fake {
        warn(&parsed.warnings);
        return Ok(());
    }
    serve(args, parsed, mount)
}

pub(super) fn add(words: &mut Vec<Word>, lists: &[String]) -> Result<(), Failure> {
    for list in lists {
        words.extend(words::split(list).map_err(Failure::usage)?);
    }
    Ok(())
}

pub(super) fn prepare(source: &str, dir: &Path, words: &[Word], unknown: Unknown) -> Result<Parsed, Failure> {
    let mountpoint = mountpoint(dir)?;
    let request = Request { source, mountpoint: &mountpoint, words, unknown };
    parse::parse(&request, &Host::current()).map_err(Failure::usage)
}

pub(super) fn mountpoint(dir: &Path) -> Result<PathBuf, Failure> {
    let wrong = |why: &dyn Display| Failure::usage(format!("cannot mount on {}: {why}", dir.display()));
    let resolved = place::resolve(dir).map_err(|err| wrong(&err))?;
    if mount::kind_at(&resolved).is_ok_and(|kind| kind.as_deref() == Some(AUTOMOUNT)) {
        // Looking there would wait for this very mount.
        return Ok(resolved);
    }
    match fs::metadata(&resolved) {
        Ok(metadata) if !metadata.is_dir() => Err(wrong(&"not a directory")),
        // What a killed daemon leaves behind; the mount deals with it.
        Err(err) if err.raw_os_error() != Some(libc::ENOTCONN) => Err(wrong(&err)),
        _ => Ok(resolved),
    }
}

/// Serves the mount in this process, or starts the one that does.
fn serve<E: Display>(
    args: &[OsString],
    parsed: Parsed,
    mount: impl FnOnce(Options, Ready) -> Result<(), E>,
) -> Result<(), Failure> {
    if env::var_os(BACKGROUND).is_some() {
        return serve_background(parsed, mount);
    }
    let wanted = environment(&parsed.env);
    if parsed.options.mount.foreground && !wanted.is_empty() {
        // Setting variables is not safe once there are threads, and libraries may start some: begin again with them.
        let err = again(args)?.envs(wanted).exec();
        return Err(Failure::system(format!("cannot start again: {err}")));
    }
    warn(&parsed.warnings);
    if !parsed.options.mount.foreground {
        let mut command = again(args)?;
        command.env(BACKGROUND, "1").envs(wanted);
        return background::start(command, READY_WAIT);
    }
    run(parsed.options, Ready::foreground(), To::Stderr, &[], mount)
}

/// This process was started by [`background::start`].
fn serve_background<E: Display>(
    parsed: Parsed,
    mount: impl FnOnce(Options, Ready) -> Result<(), E>,
) -> Result<(), Failure> {
    // No file system of the host may be kept busy by us.
    env::set_current_dir("/").map_err(|err| Failure::system(format!("chdir /: {err}")))?;
    run(parsed.options, Ready::background(), To::Syslog, &parsed.warnings, mount)
}

fn run<E: Display>(
    options: Options,
    ready: Ready,
    otherwise: To,
    warnings: &[String],
    mount: impl FnOnce(Options, Ready) -> Result<(), E>,
) -> Result<(), Failure> {
    let to = options.mount.log_file.clone().map_or(otherwise, To::File);
    logging::init(&to, options.mount.debug).map_err(|err| Failure::system(format!("cannot start the log: {err}")))?;
    for warning in warnings {
        log::warn!("{warning}");
    }
    mount(options, ready).map_err(|err| {
        if to != To::Stderr {
            // The terminal may be gone.
            log::error!("{err}");
        }
        Failure::mount(err)
    })
}

/// Tells whoever typed the options.
pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        complain(&format!("warning: {warning}"));
    }
}

/// The variables that are not yet as they should be: those asked for, and what mount(8) leaves out under systemd.
pub(super) fn environment(wanted: &[(String, String)]) -> Vec<(String, OsString)> {
    let mut all: Vec<(String, OsString)> =
        wanted.iter().map(|(name, value)| (name.clone(), OsString::from(value))).collect();
    all.retain(|(name, value)| env::var_os(name).as_ref() != Some(value));
    let missing = |name: &str| env::var_os(name).is_none() && !wanted.iter().any(|(other, _)| other == name);
    if missing("PATH") {
        all.push(("PATH".to_owned(), OsString::from(PATH)));
    }
    if missing("HOME")
        && let Ok(Some(user)) = nix::unistd::User::from_uid(nix::unistd::geteuid())
    {
        all.push(("HOME".to_owned(), user.dir.into_os_string()));
    }
    all
}

/// This very command line again.
pub(super) fn again(args: &[OsString]) -> Result<Command, Failure> {
    let program = env::current_exe().map_err(|err| Failure::system(format!("cannot find this program: {err}")))?;
    let mut command = Command::new(program);
    if let [name, rest @ ..] = args {
        command.arg0(name).args(rest);
    }
    Ok(command)
}
