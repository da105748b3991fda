//! `originfs plan`: what a deployment's variables mean on this host. Nothing is changed.

use std::{
    env, fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use super::{Failure, PlanArgs};
use crate::{
    apps::plan::{self, Facts, Plan, Wish},
    mount,
};

/// Where the same is said that otherwise comes from the environment.
const FILE: &str = "/etc/originfs/site.toml";

pub(super) fn command(command: &PlanArgs, out: &mut impl Write) -> Result<(), Failure> {
    let plan = plan::plan(&wish(command.file.as_deref())?, &Host).map_err(Failure::usage)?;
    let text = if command.json { serde_json::to_string_pretty(&plan).map_err(Failure::system)? } else { text(&plan) };
    match writeln!(out, "{}", text.trim_end()) {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
    }
}

/// The file, and over it the environment.
fn wish(file: Option<&Path>) -> Result<Wish, Failure> {
    let path = file.unwrap_or(Path::new(FILE));
    let mut wish: Wish = match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|err| {
            let line = err.to_string().lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" ");
            Failure::usage(format!("{}: {line}", path.display()))
        })?,
        Err(err) if err.kind() == ErrorKind::NotFound && file.is_none() => Wish::default(),
        Err(err) => return Err(Failure::usage(format!("{}: {err}", path.display()))),
    };
    let Wish {
        application,
        webroot,
        website_url,
        directories_to_mount,
        s3_access_key,
        s3_secret_key,
        s3_host_base,
        s3_location,
        bucket,
        layout,
        owner,
        options,
    } = &mut wish;
    for (name, value) in [
        ("APPLICATION", application),
        ("WEBSITE_URL", website_url),
        ("DIRECTORIES_TO_MOUNT", directories_to_mount),
        ("S3_ACCESS_KEY", s3_access_key),
        ("S3_SECRET_KEY", s3_secret_key),
        ("S3_HOST_BASE", s3_host_base),
        ("S3_LOCATION", s3_location),
        ("BUCKET", bucket),
        ("LAYOUT", layout),
        ("OWNER", owner),
        ("OPTIONS", options),
    ] {
        if let Some(text) = env::var(name).ok().filter(|text| !text.trim().is_empty()) {
            *value = Some(text);
        }
    }
    if let Some(path) = env::var_os("WEBROOT").filter(|path| !path.is_empty()) {
        *webroot = Some(path.into());
    }
    Ok(wish)
}

/// This host.
struct Host;

impl Facts for Host {
    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn names(&self, path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn real(&self, path: &Path) -> PathBuf {
        // What does not exist yet is below something that does.
        let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
        there.map_or_else(|| path.to_owned(), |(above, real)| real.join(path.strip_prefix(above).unwrap_or(path)))
    }

    fn mounted(&self, path: &Path) -> Option<String> {
        mount::kind_at(path).ok().flatten()
    }

    fn group_of(&self, user: &str) -> Option<u32> {
        nix::unistd::User::from_name(user).ok().flatten().map(|user| user.gid.as_raw())
    }
}

fn text(plan: &Plan) -> String {
    let mut lines = Vec::new();
    lines.push(format!("application  {}", plan.application.unwrap_or("not known")));
    lines.push(format!("webroot      {}", plan.webroot.display()));
    lines.push(format!("service      {}", plan.endpoint.as_deref().unwrap_or("AWS")));
    lines.push(format!("buckets      {}", plan.buckets.join(", ")));
    lines.push(format!("owner        {}", plan.owner));
    for mount in &plan.mounts {
        lines.push(String::new());
        lines.push(mount.directory.display().to_string());
        lines.push(format!("  from       {}", mount.source));
        lines.push(format!("  options    {}", mount.options));
        lines.push(format!("  unit       originfs@{}.service", mount.unit));
        lines.push(format!("  now        {}", state(mount)));
        if !mount.private.is_empty() {
            lines.push(format!("  private    {}", mount.private.join(" ")));
        }
    }
    for (word, list) in [("ignored", &plan.ignored), ("warning", &plan.warnings)] {
        if !list.is_empty() {
            lines.push(String::new());
        }
        lines.extend(list.iter().map(|line| format!("{word}: {line}")));
    }
    lines.join("\n")
}

fn state(mount: &plan::Mount) -> String {
    match (mount.mounted, mount.holds) {
        (true, _) => "mounted".to_owned(),
        (false, 0) => "empty or absent".to_owned(),
        (false, names) => format!("holds {names} names, which go into the bucket first"),
    }
}
