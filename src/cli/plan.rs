//! `originfs plan`: what a deployment's variables mean on this host. Nothing is changed.

use std::io::{ErrorKind, Write};

use super::{
    Failure, PlanArgs,
    site::{self, Host},
};
use crate::apps::plan::{self, Plan};

pub(super) fn command(command: &PlanArgs, out: &mut impl Write) -> Result<(), Failure> {
    let host = Host::at(command.root.as_deref())?;
    let plan = plan::plan(&site::wish(command.file.as_deref(), &host)?, &host).map_err(Failure::usage)?;
    let text = if command.json { serde_json::to_string_pretty(&plan).map_err(Failure::system)? } else { text(&plan) };
    match writeln!(out, "{}", text.trim_end()) {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
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
        (false, 0) => "empty, adopted, or absent".to_owned(),
        (false, names) => format!("holds {names} names, which `originfs adopt` puts into the bucket first"),
    }
}
