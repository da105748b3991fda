//! Everything that can be wrong is found here, before anything is changed.

use std::{fs, io::ErrorKind, path::Path};

use super::{
    super::{Failure, site::Host},
    DIRECTORY,
};
use crate::{
    apps::{
        fstab,
        plan::{self, Plan},
        service,
    },
    config::{
        Keys, Options, Unknown,
        file::File,
        parse::{self, Request},
    },
};

/// A plan whose options and names were found good.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan,
    pub(super) mounts: Vec<Ready<'a>>,
    /// `None`: credentials come from elsewhere.
    pub(super) keys: Option<&'a Keys>,
}

/// One mount, as it will be written down.
#[derive(Debug)]
pub(super) struct Ready<'a> {
    pub(super) plan: &'a plan::Mount,
    /// What the mount will read in its file.
    pub(super) options: Options,
    pub(super) configuration: String,
    /// The text of the file with the keys.
    pub(super) passwd: Option<String>,
}

impl Ready<'_> {
    /// The configuration file, as a path in the tree.
    pub(super) fn file(&self) -> std::path::PathBuf {
        Path::new(DIRECTORY).join(format!("{}.toml", self.plan.unit))
    }

    /// What leads the unit to it.
    pub(super) fn environment(&self) -> std::path::PathBuf {
        Path::new(DIRECTORY).join(format!("{}.env", self.plan.unit))
    }

    /// The file with the keys, beside it.
    pub(super) fn passwd_name(&self) -> String {
        passwd_name(self.plan)
    }

    /// Whether nothing in the directory would be hidden.
    pub(super) fn is_clear(&self) -> bool {
        self.plan.mounted || self.plan.holds == 0
    }
}

fn passwd_name(mount: &plan::Mount) -> String {
    format!("{}.passwd", mount.unit)
}

impl<'a> Job<'a> {
    pub(super) fn prepare(plan: &'a Plan, host: &Host) -> Result<Self, Failure> {
        let keys = keys(&plan.keys).map_err(Failure::usage)?;
        let mut mounts = Vec::new();
        for mount in &plan.mounts {
            mounts.push(ready(mount, plan, keys, host)?);
        }
        check_fstab(plan, host)?;
        Ok(Self { plan, mounts, keys })
    }
}

/// Both keys, none of which breaks the lines of a `passwd_file`, or none.
fn keys(keys: &Keys) -> Result<Option<&Keys>, String> {
    let given = [("S3_ACCESS_KEY", &keys.access), ("S3_SECRET_KEY", &keys.secret)];
    if given.iter().all(|(_, value)| value.is_empty()) {
        return Ok(None);
    }
    for (name, value) in given {
        if value.is_empty() {
            return Err(format!("{name} is missing beside the other key"));
        }
        if value.contains(|c: char| c == ':' || c == '#' || c.is_whitespace() || c.is_control()) {
            return Err(format!("{name} has a character that no key has: a colon, a #, or white space"));
        }
    }
    Ok(Some(keys))
}

fn ready<'a>(mount: &'a plan::Mount, plan: &Plan, keys: Option<&Keys>, host: &Host) -> Result<Ready<'a>, Failure> {
    let passwd = passwd_name(mount);
    let configuration = service::configuration(mount, &plan.webroot, keys.map(|_| passwd.as_str()));
    let configuration = configuration.map_err(Failure::usage)?;
    let base = host.outside(Path::new(DIRECTORY));
    let file = File::parse(&configuration).map_err(Failure::system)?;
    // Only its directory counts: it has no rules of its own.
    let mut words = file.words(&base.join("mount.toml")).map_err(Failure::usage)?;
    // Users of a tree need not be users here.
    words.retain(|word| host.is_this() || !["uid", "gid"].contains(&word.name.as_str()));
    let mountpoint = host.outside(&mount.directory);
    let request = Request { source: &mount.source, mountpoint: &mountpoint, words: &words, unknown: Unknown::Refuse };
    let parsed = parse::parse(&request, &parse::Host::current());
    let options = parsed.map_err(|err| Failure::usage(format!("OPTIONS: {err}")))?.options;
    check_owner(&base, mount)?;
    let passwd = keys.map(|keys| format!("{}:{}\n", keys.access, keys.secret));
    Ok(Ready { plan: mount, options, configuration, passwd })
}

/// What somebody else wrote is not replaced.
fn check_owner(base: &Path, mount: &plan::Mount) -> Result<(), Failure> {
    for end in ["toml", "env"] {
        let path = base.join(format!("{}.{end}", mount.unit));
        match fs::read_to_string(&path) {
            Ok(text) if !text.starts_with(service::MARK) => {
                return Err(Failure::usage(format!(
                    "{} was not written by apply: move it away, or leave {} out of DIRECTORIES_TO_MOUNT",
                    path.display(),
                    mount.directory.display()
                )));
            }
            Err(err) if err.kind() != ErrorKind::NotFound => {
                return Err(Failure::usage(format!("{}: {err}", path.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A directory that another line of fstab mounts would be mounted twice.
fn check_fstab(plan: &Plan, host: &Host) -> Result<(), Failure> {
    let path = host.outside(Path::new("/etc/fstab"));
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(()),
        Err(err) => return Err(Failure::usage(format!("{}: {err}", path.display()))),
    };
    let about = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let others = fstab::others(&text, &plan.webroot).map_err(about)?;
    let twice = plan.mounts.iter().find(|mount| others.contains(&mount.directory));
    twice.map_or(Ok(()), |mount| {
        Err(about(format!("a line that apply did not write mounts {}: remove it", mount.directory.display())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_in_pairs_and_are_never_shown() {
        let pair = |access: &str, secret: &str| Keys { access: access.to_owned(), secret: secret.to_owned() };
        assert!(keys(&pair("", "")).unwrap().is_none());
        assert!(keys(&pair("AK", "a/b+c=")).unwrap().is_some());
        for (bad, part) in [
            (pair("AK", ""), "S3_SECRET_KEY is missing"),
            (pair("", "hush"), "S3_ACCESS_KEY is missing"),
            (pair("AK", "hu:sh"), "S3_SECRET_KEY has a character"),
            (pair("A K", "hush"), "S3_ACCESS_KEY has a character"),
        ] {
            let err = keys(&bad).unwrap_err();
            assert!(err.contains(part) && !err.contains("hu"), "{err}");
        }
    }
}
