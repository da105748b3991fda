//! The mounts that are not there yet.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    path::Path,
    process::{Command, Stdio},
};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{
    super::site::Host,
    Boot,
    boot::systemctl,
    files::Files,
    prepare::{Job, Ready},
    report::{Report, State},
};
use crate::telemetry::control;

pub(super) fn mount(boot: Boot, job: &Job<'_>, files: &Files<'_>, report: &mut Report) {
    for mount in &job.mounts {
        let shown = mount.plan.directory.display().to_string();
        if mount.plan.mounted {
            let point = files.host.outside(&mount.plan.directory);
            if is_older(&point, &files.host.outside(&mount.file())) {
                report.note(State::Unchanged, "mount", shown, restart(boot, mount));
            } else {
                report.add(State::Unchanged, "mount", shown);
            }
        } else if !mount.is_clear() {
            let note = format!(
                "it holds {} names that the mount would hide: `originfs adopt --no-mount {shown}` puts them into the bucket, \
                 then apply again",
                mount.plan.holds
            );
            report.note(State::Failed, "mount", shown, note);
        } else if files.dry_run {
            report.add(State::Mounted, "mount", shown);
        } else {
            bring_up(boot, mount, files.host, report);
        }
    }
}

fn bring_up(boot: Boot, mount: &Ready<'_>, host: &Host, report: &mut Report) {
    let shown = mount.plan.directory.display().to_string();
    if boot == Boot::Systemd && host.is_this() {
        if systemctl(host, &["start", &format!("originfs@{}.service", mount.plan.unit)], report) {
            report.add(State::Mounted, "mount", shown);
        }
        return;
    }
    match start(mount, host) {
        Ok(None) => report.add(State::Mounted, "mount", shown),
        Ok(Some(said)) => report.note(State::Failed, "mount", shown, said),
        Err(err) => report.note(State::Failed, "mount", shown, err.to_string()),
    }
}

/// Runs `originfs mount`; gives what it says if it fails.
fn start(mount: &Ready<'_>, host: &Host) -> io::Result<Option<String>> {
    // Not a pipe: the process of the mount keeps it, and its end would never be read.
    let mut said = File::from(memfd_create("stderr", MFdFlags::MFD_CLOEXEC).map_err(io::Error::from)?);
    let mut config = OsString::from("--config=");
    config.push(host.outside(&mount.file()));
    let status = Command::new(env::current_exe()?)
        .arg("mount")
        .arg(&mount.plan.source)
        .arg(host.outside(&mount.plan.directory))
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said.try_clone()?)
        .status()?;
    if status.success() {
        return Ok(None);
    }
    let mut text = String::new();
    said.rewind()?;
    said.read_to_string(&mut text)?;
    let last = text.lines().last().unwrap_or("it failed and said nothing");
    Ok(Some(last.trim_start_matches("originfs: ").to_owned()))
}

/// Whether the configuration was changed after the mount began, which made its socket then.
fn is_older(point: &Path, configuration: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let socket = control::directory().ok().map(|sockets| control::path(&sockets, point));
    matches!((socket.and_then(|socket| changed(&socket)), changed(configuration)), (Some(began), Some(at)) if at > began)
}

fn restart(boot: Boot, mount: &Ready<'_>) -> String {
    let how = match boot {
        Boot::Systemd => format!("systemctl restart originfs@{}.service", mount.plan.unit),
        _ => format!("originfs umount {}, and apply again", mount.plan.directory.display()),
    };
    format!("it has the options of before: {how}")
}
