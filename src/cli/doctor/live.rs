//! Mounts that run: what their processes were started with, what they say, and their cache directories.

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Parser as _;
use nix::sys::statvfs::statvfs;

use super::super::{
    Cli, Command, argv,
    asked::{self, Asked},
};
use crate::{
    config::{Options, words},
    doctor::{
        files::Files,
        finding::{Finding, about},
        space::{self, Left},
        tables,
        targets::{Target, written},
    },
    telemetry::{control, status::Status},
};

/// A mount answers from memory; one that does not within this is stuck.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// One that is mounted, perhaps by a process that is gone.
#[derive(Debug)]
pub(super) struct Live {
    /// Where the kernel says it is.
    pub(super) dir: PathBuf,
    pub(super) target: Target,
    pub(super) status: Option<Status>,
}

/// All mounts of ours that the kernel has.
pub(super) fn find(files: &impl Files) -> Vec<Live> {
    let sockets = control::directory().ok();
    let mounts = tables::mounted(files).into_iter().filter(tables::Line::is_ours);
    let mut all: Vec<Live> = Vec::new();
    for line in mounts {
        let dir = line.dir;
        if all.iter().any(|live| live.dir == dir) {
            continue;
        }
        let status = sockets.as_ref().and_then(|sockets| control::ask(&control::path(sockets, &dir), ANSWER_WAIT).ok());
        let known = status.as_ref().and_then(|status| of_process(status.mount.pid));
        let mut target = known.unwrap_or(Target { source: line.source, ..Target::default() });
        target.dir = Some(dir.clone());
        all.push(Live { dir, target, status });
    }
    all
}

/// What a process was started with, as far as this user may know.
fn of_process(pid: u32) -> Option<Target> {
    let split = |name: &str| -> Option<Vec<OsString>> {
        let bytes = fs::read(format!("/proc/{pid}/{name}")).ok()?;
        let parts = bytes.split(|&byte| byte == 0).filter(|part| !part.is_empty());
        Some(parts.map(|part| OsString::from_vec(part.to_owned())).collect())
    };
    let arranged = argv::arrange(&split("cmdline")?).ok()?;
    let command = Cli::try_parse_from(arranged.args).ok()?.command;
    let mut all = arranged.words;
    let mut add = |lists: &[String]| -> Option<()> {
        for list in lists {
            all.extend(words::split(list).ok()?);
        }
        Some(())
    };
    let asked = match &command {
        Command::Mount(command) => {
            add(&command.options)?;
            asked::complete(command.source.as_deref(), command.dir.as_deref(), all)
        }
        Command::Helper(command) => {
            add(&command.options)?;
            asked::complete_line(&command.source, &command.dir, all)
        }
        _ => return None,
    };
    let Asked { source, words: all, cdn, .. } = asked.ok()?;
    let env = split("environ").unwrap_or_default().into_iter().filter_map(|variable| {
        let (name, value) = variable.to_str()?.split_once('=')?;
        (name != "ORIGINFS_BACKGROUND").then(|| (name.to_owned(), value.to_owned()))
    });
    let options = all.iter().map(written).collect::<Vec<_>>().join(",");
    Some(Target { source, options, env: env.collect(), process: Some(pid), cdn, ..Target::default() })
}

/// The permission bits of a file of this host.
pub(super) fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o7777)
}

/// The cache directory of a target.
pub(super) fn cache(target: &Target, options: &Options, status: Option<&Status>) -> Vec<Finding> {
    let subject = target.subject();
    let dir = status.map_or_else(|| options.cache.dir.clone(), |status| PathBuf::from(&status.cache.dir));
    let mut findings = Vec::new();
    if let Some(disk) = dir.ancestors().find_map(disk) {
        findings.push(space::space(&subject, &dir, &disk, options.cache.size, options.cache.min_free));
    }
    let left = left(&dir);
    findings.extend(space::leftovers(&subject, &dir, left, status.is_some(), &target.mount_command()));
    findings
}

/// Whether the kernel reads cached files itself; no fault if not.
pub(super) fn passthrough(subject: &str, status: &Status) -> Finding {
    let on = about("passthrough", subject);
    match (&status.passthrough.why, status.passthrough.on) {
        (_, true) => on.ok("the kernel reads cached files itself"),
        (why, false) => on.ok(format!("off: {}", why.as_deref().unwrap_or("not known why"))),
    }
}

fn disk(dir: &Path) -> Option<space::Disk> {
    let numbers = statvfs(dir).ok()?;
    let kinds = [(nix::sys::statfs::TMPFS_MAGIC, "tmpfs")];
    let kind = nix::sys::statfs::statfs(dir).ok()?.filesystem_type();
    let kind = kinds.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| (*name).to_owned());
    let bytes = |blocks: u64| blocks.saturating_mul(numbers.fragment_size());
    Some(space::Disk { total: bytes(numbers.blocks()), free: bytes(numbers.blocks_available()), kind })
}

fn left(dir: &Path) -> Left {
    let names = |part: &str| -> Vec<String> {
        let entries = fs::read_dir(dir.join(part)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let ends = |part: &str, end: &str| names(part).iter().filter(|name| name.ends_with(end)).count();
    let broken = ends("renames", ".broken");
    let pending = ends("staging", ".data") + names("uploads").len() + names("renames").len() - broken;
    Left { lost: ends("lost+found", ".data"), broken, pending }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cache_directory_holds_is_counted() {
        let dir = std::env::temp_dir().join(format!("originfs-doctor-left-{}", std::process::id()));
        for name in [
            "lost+found/1.data",
            "lost+found/1.meta",
            "renames/2.broken",
            "renames/3",
            "staging/4.data",
            "staging/4.meta",
            "uploads/5",
        ] {
            fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
            fs::write(dir.join(name), "").unwrap();
        }
        assert_eq!(left(&dir), Left { lost: 1, broken: 1, pending: 3 });
        assert_eq!(left(&dir.join("none")), Left::default());
        fs::remove_dir_all(dir).unwrap();
    }
}
