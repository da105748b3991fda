//! Who mounts at boot: lines of fstab, or instances of `originfs@.service`. Never both.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    super::site::Host,
    Boot, DIRECTORY,
    files::Files,
    prepare::{Job, Ready},
    report::{Report, State},
};
use crate::{
    apps::{fstab, plan::Facts as _, service},
    config::file::File,
};

/// As units keep their settings; what is in it leads to the configuration.
const ENVIRONMENT_MODE: u32 = 0o600;
const FSTAB: &str = "/etc/fstab";
/// Where units are looked for (systemd.unit(5), "Unit File Load Path"), as far as packages and administrators use it.
const UNITS: [&str; 4] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const TEMPLATE: &str = "originfs@.service";
/// What systemd leaves for others to find out that it runs (`sd_booted(3)`).
const RUNNING: &str = "/run/systemd/system";
/// In an image nothing runs.
const INSTALLED: &str = "/usr/lib/systemd/systemd";
/// What mount(8) calls.
const HELPERS: [&str; 2] = ["/sbin/mount.originfs", "/usr/sbin/mount.originfs"];

/// Decides what `auto` is.
pub(super) fn choose(boot: Boot, host: &Host) -> Boot {
    if boot != Boot::Auto {
        return boot;
    }
    let runs = host.exists(Path::new(if host.is_this() { RUNNING } else { INSTALLED }));
    let known = UNITS.iter().any(|dir| host.exists(&Path::new(dir).join(TEMPLATE)));
    if runs && known { Boot::Systemd } else { Boot::Fstab }
}

pub(super) fn apply(boot: Boot, job: &Job<'_>, files: &Files<'_>, report: &mut Report) {
    if boot == Boot::None {
        return;
    }
    lines(boot, job, files, report);
    for mount in &job.mounts {
        let environment = mount.environment();
        // What is not clear would be refused at boot.
        let wanted = boot == Boot::Systemd && mount.is_clear();
        if wanted {
            let text = service::environment(mount.plan, &mount.file());
            files.file(&environment, &text, ENVIRONMENT_MODE, report);
        }
        switch(&mount.plan.unit, wanted, files, report);
        if !wanted {
            files.remove(&environment, report);
        }
    }
    for unit in leftovers(job, files.host) {
        drop_leftover(&unit, files, report);
    }
}

/// The site's part of fstab: with systemd it has none.
fn lines(boot: Boot, job: &Job<'_>, files: &Files<'_>, report: &mut Report) {
    let path = files.host.outside(Path::new(FSTAB));
    let old = fs::read_to_string(&path).unwrap_or_default();
    let clear = job.mounts.iter().filter(|mount| boot == Boot::Fstab && mount.is_clear());
    let wanted: Vec<String> = clear.map(line).collect();
    if boot == Boot::Fstab && !HELPERS.iter().any(|path| files.host.exists(Path::new(path))) {
        report.warnings.push(format!("mount(8) needs {0}: ln -s PATH_OF_ORIGINFS {0}", HELPERS[0]));
    }
    let new = match fstab::with(&old, &job.plan.webroot, &wanted) {
        Ok(new) => new,
        Err(why) => return report.note(State::Failed, "file", FSTAB, why),
    };
    if new == old && wanted.is_empty() {
        return;
    }
    let mode = fs::metadata(&path).map_or(0o644, |metadata| std::os::unix::fs::MetadataExt::mode(&metadata) & 0o7777);
    files.file(Path::new(FSTAB), &new, mode, report);
    if new != old && !files.dry_run && files.host.is_this() && Path::new(RUNNING).exists() {
        // Its units are made of the lines.
        systemctl(files.host, &["daemon-reload"], report);
    }
}

fn line(mount: &Ready<'_>) -> String {
    fstab::line(&mount.plan.source, &mount.plan.directory, &mount.file())
}

/// Enables or disables an instance, unless it is so.
fn switch(instance: &str, on: bool, files: &Files<'_>, report: &mut Report) {
    let unit = format!("originfs@{instance}.service");
    if is_enabled(&unit, files.host) == on {
        if on {
            report.add(State::Unchanged, "unit", unit);
        }
        return;
    }
    let (verb, state) = if on { ("enable", State::Enabled) } else { ("disable", State::Disabled) };
    if files.dry_run || systemctl(files.host, &[verb, &unit], report) {
        report.add(state, "unit", unit);
    }
}

/// Some target wants it (systemctl(1), "enable").
fn is_enabled(unit: &str, host: &Host) -> bool {
    let entries = fs::read_dir(host.outside(Path::new(UNITS[0]))).into_iter().flatten().flatten();
    let wants = entries.filter(|entry| Path::new(&entry.file_name()).extension().is_some_and(|end| end == "wants"));
    wants.into_iter().any(|entry| fs::symlink_metadata(entry.path().join(unit)).is_ok())
}

/// Whether it succeeded; the report has the cause if not.
pub(super) fn systemctl(host: &Host, args: &[&str], report: &mut Report) -> bool {
    let mut command = Command::new("systemctl");
    if !host.is_this() {
        command.arg("--root").arg(host.root());
    }
    let cause = match command.args(args).output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
        Err(err) => err.to_string(),
    };
    report.note(State::Failed, "unit", args.join(" "), format!("systemctl: {cause}"));
    false
}

/// Instances that an earlier run made for this site, and that it does not have any more.
fn leftovers(job: &Job<'_>, host: &Host) -> Vec<String> {
    let directory = host.outside(Path::new(DIRECTORY));
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter_map(|entry| {
            let instance = entry.file_name().to_str()?.strip_suffix(".toml")?.to_owned();
            let text = fs::read_to_string(entry.path()).ok()?;
            let ours = text.starts_with(service::MARK)
                && File::parse(&text).ok()?.site.as_deref() == Some(job.plan.webroot.as_path());
            let wanted = job.mounts.iter().any(|mount| mount.plan.unit == instance);
            (ours && !wanted).then_some(instance)
        })
        .collect();
    found.sort();
    found
}

/// A mount that nobody wants any more is not made at boot. While it is there it is left alone, with its keys.
fn drop_leftover(instance: &str, files: &Files<'_>, report: &mut Report) {
    switch(instance, false, files, report);
    let base = PathBuf::from(DIRECTORY);
    let file = base.join(format!("{instance}.toml"));
    let directory = File::read(&files.host.outside(&file)).ok().and_then(|file| file.directory);
    if let Some(directory) = directory.filter(|directory| files.host.mounted(directory).is_some()) {
        let shown = directory.display();
        let note = format!("DIRECTORIES_TO_MOUNT does not have it any more: originfs umount {shown}, and apply again");
        return report.note(State::Unchanged, "mount", shown.to_string(), note);
    }
    files.remove(&file, report);
    for end in ["passwd", "env"] {
        files.remove(&base.join(format!("{instance}.{end}")), report);
    }
}
