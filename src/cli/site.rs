//! What a deployment says, and what the host has that it says it of: for `plan` and `apply`.

use std::{
    env, fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Failure, place};
use crate::{
    adopt::note::Note,
    apps::plan::{Facts, Wish},
    config::file::one_line,
    mount,
};

/// Where the same is said that otherwise comes from the environment.
const FILE: &str = "/etc/originfs/site.toml";

/// The file, and over it the environment. Without a name it may be absent.
pub(super) fn wish(file: Option<&Path>, host: &Host) -> Result<Wish, Failure> {
    let usual = host.outside(Path::new(FILE));
    let path = file.unwrap_or(&usual);
    let about = |why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", path.display()));
    let mut wish = match fs::read_to_string(path) {
        Ok(text) => toml::from_str::<Wish>(&text).map_err(|err| about(&one_line(&err.to_string())))?,
        Err(err) if err.kind() == ErrorKind::NotFound && file.is_none() => Wish::default(),
        Err(err) => return Err(about(&err)),
    };
    if wish.s3_secret_key.is_some() {
        let mode = fs::metadata(path).map_err(|err| about(&err))?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(about(&format!(
                "it has keys, and others may read it (mode {:04o}): chmod 0600",
                mode & 0o7777
            )));
        }
    }
    environment(&mut wish);
    Ok(wish)
}

fn environment(wish: &mut Wish) {
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
    } = wish;
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
}

/// A host, as a tree of files: this one, or an image of one in a directory. Paths that are asked for are those of a
/// process for which the tree is `/`.
#[derive(Debug)]
pub(super) struct Host {
    /// Canonical.
    root: PathBuf,
}

impl Host {
    pub(super) fn at(root: Option<&Path>) -> Result<Self, Failure> {
        let root = root.unwrap_or(Path::new("/"));
        let canonical = root.canonicalize();
        Ok(Self { root: canonical.map_err(|err| Failure::usage(format!("{}: {err}", root.display())))? })
    }

    /// Whether it is the host that this process runs on.
    pub(super) fn is_this(&self) -> bool {
        self.root == Path::new("/")
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The path under which this process finds `path`, links followed as in the tree.
    pub(super) fn outside(&self, path: &Path) -> PathBuf {
        place::below(&self.root, &place::within(&self.root, path))
    }
}

impl Facts for Host {
    fn exists(&self, path: &Path) -> bool {
        self.outside(path).exists()
    }

    fn names(&self, path: &Path) -> Vec<String> {
        let entries = fs::read_dir(self.outside(path)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    fn text(&self, path: &Path) -> Option<String> {
        fs::read_to_string(self.outside(path)).ok()
    }

    fn real(&self, path: &Path) -> PathBuf {
        place::within(&self.root, path)
    }

    fn mounted(&self, path: &Path) -> Option<String> {
        mount::kind_at(&self.outside(path)).ok().flatten()
    }

    fn adopted(&self, path: &Path) -> Option<String> {
        Note::read(&self.outside(path)).map(|note| note.source)
    }

    fn group_of(&self, user: &str) -> Option<u32> {
        let users = self.outside(Path::new("/etc/passwd"));
        match fs::read_to_string(users) {
            Ok(text) if !self.is_this() => group_in(&text, user),
            // Users of this host may be in a directory service, too.
            _ => nix::unistd::User::from_name(user).ok().flatten().map(|user| user.gid.as_raw()),
        }
    }
}

/// The group of a user in the text of /etc/passwd (passwd(5)).
fn group_in(text: &str, user: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(2)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_those_of_the_tree() {
        let text = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34::/var/www:/bin/false\nodd\n";
        assert_eq!(group_in(text, "www-data"), Some(34));
        assert_eq!(group_in(text, "www"), None);
        assert_eq!(group_in(text, "odd"), None);
    }
}
