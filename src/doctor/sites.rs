//! What the checks of all web servers share: document roots, and links on the way to a mount.

use std::path::{Path, PathBuf};

use super::{
    files::{self, Files},
    finding::{Finding, about, quoted},
};

/// The file that is thought to lie in a mount when it is asked who would run it.
pub(super) const PHP_PROBE: &str = "originfs-doctor.php";

/// Why no PHP should run below a mount.
pub(super) const PHP_WHY: &str = "whoever can upload a file, or write to the bucket, runs code on every webserver";

/// A directory that a web server shows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Root {
    pub path: PathBuf,
    /// `FILE:LINE`.
    pub from: String,
}

/// Links on the way to the mount: of the document root, which a deployment may turn to another directory, and of the
/// path that the mount was configured with.
pub fn links(files: &impl Files, roots: &[Root], configured: Option<&Path>, mount: &Path) -> Finding {
    let subject = mount.display().to_string();
    let on = about("links", &subject);
    if let Some(path) = configured.filter(|path| files::real(files, path) != path.components().collect::<PathBuf>()) {
        let real = files::real(files, path);
        return on.warning(
            format!("{} is a link to {}", path.display(), real.display()),
            "systemd refuses a mount point that is reached by a link, and a link that is turned leaves the mount behind",
            format!("name {} in fstab or the unit", quoted(&real.display().to_string())),
        );
    }
    let led = roots.iter().find(|root| {
        let real = files::real(files, &root.path);
        real != root.path.components().collect::<PathBuf>() && mount.starts_with(&real)
    });
    let Some(Root { path, from }) = led else { return on.ok("no link leads to this mount") };
    let real = files::real(files, path);
    let inside = mount.strip_prefix(&real).unwrap_or(Path::new("")).display().to_string();
    on.warning(
        format!("the document root {} is a link to {} ({from})", path.display(), real.display()),
        "a deployment that turns the link to a new directory leaves the mount in the old one: uploads are gone from \
         the site",
        format!(
            "mount outside of the releases, as on /srv/uploads, and let each release link there: ln -s /srv/uploads {}",
            quoted(&real.join(inside).display().to_string())
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::{
        super::{files::Fixture, finding::Verdict},
        *,
    };

    fn files() -> Fixture {
        Fixture::new(&[
            ("/var/www/html", "-> /srv/releases/42"),
            ("/srv/releases/42/uploads/x", ""),
            ("/var/www/plain/uploads/x", ""),
        ])
    }

    fn root(path: &str) -> Root {
        Root { path: path.into(), from: "/etc/nginx/sites-enabled/site:3".into() }
    }

    #[test]
    fn a_root_that_is_a_link_is_told() {
        let roots = [root("/var/www/html")];
        let found = links(&files(), &roots, None, Path::new("/srv/releases/42/uploads"));
        assert_eq!(found.verdict, Verdict::Warning);
        assert!(found.message.contains("/var/www/html is a link to /srv/releases/42"), "{found:?}");
        assert!(found.fix.unwrap().ends_with("/srv/releases/42/uploads"));
        for (root_path, mount) in [("/var/www/plain/", "/var/www/plain/uploads"), ("/var/www/html", "/srv/uploads")] {
            assert_eq!(links(&files(), &[root(root_path)], None, Path::new(mount)).verdict, Verdict::Ok, "{mount}");
        }
    }

    #[test]
    fn a_mount_point_that_is_reached_by_a_link_is_told() {
        let configured = Path::new("/var/www/html/uploads");
        let found = links(&files(), &[], Some(configured), Path::new("/srv/releases/42/uploads"));
        assert_eq!(found.verdict, Verdict::Warning);
        assert!(found.fix.unwrap().contains("/srv/releases/42/uploads"));
        let plain = Path::new("/var/www/plain/uploads");
        assert_eq!(links(&files(), &[], Some(plain), plain).verdict, Verdict::Ok);
    }
}
