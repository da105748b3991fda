//! `originfs apply`: does what `originfs plan` shows, as far as it is not done yet.
//!
//! Everything is checked before anything is changed. Then: the buckets, the directories and files of each mount, who mounts
//! them at boot, and the mounts. A run that was interrupted is finished by the next.

mod boot;
mod buckets;
mod files;
mod mounting;
mod prepare;
mod report;

use std::io::{ErrorKind, Write};

use super::{
    ApplyArgs, Failure,
    site::{self, Host},
};
use crate::apps::plan;
use files::Files;
use prepare::Job;
use report::Report;

/// Where the configuration of each mount is.
const DIRECTORY: &str = "/etc/originfs";

/// Who mounts when the host starts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Boot {
    #[default]
    Auto,
    /// Lines of /etc/fstab
    Fstab,
    /// originfs@.service
    Systemd,
    /// Somebody else
    None,
}

pub(super) fn command(command: &ApplyArgs, out: &mut impl Write) -> Result<(), Failure> {
    let host = Host::at(command.root.as_deref())?;
    let plan = plan::plan(&site::wish(command.file.as_deref(), &host)?, &host).map_err(Failure::usage)?;
    let job = Job::prepare(&plan, &host)?;
    let files = Files { host: &host, dry_run: command.dry_run };
    // Two runs at once would undo each other's lines.
    let lock = files.lock()?;
    let mut report = Report::new(command.dry_run, &plan);
    run(&job, &files, command, &mut report);
    drop(lock);
    let text = if command.json { report.json().map_err(Failure::system)? } else { report.text() };
    match writeln!(out, "{}", text.trim_end()) {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => return Err(Failure::system(err)),
        _ => {}
    }
    report.failure().map_or(Ok(()), |message| Err(Failure::mount(message)))
}

/// Nothing of this host is changed if a bucket cannot be used.
fn run(job: &Job<'_>, files: &Files<'_>, command: &ApplyArgs, report: &mut Report) {
    if buckets::ready(job, command.dry_run, report).is_err() {
        return;
    }
    for mount in &job.mounts {
        files.directory(&mount.plan.directory, report);
        files.configuration(mount, report);
    }
    let boot = boot::choose(command.boot, files.host);
    boot::apply(boot, job, files, report);
    if !command.no_mount {
        mounting::mount(boot, job, files, report);
    }
}
