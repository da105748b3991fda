//! The host itself: what its kernel can do for a mount, and what walks through all its files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    files::{self, Files},
    finding::{Finding, of_host},
    targets::Target,
};

/// Since this version the kernel reads cached files itself.
const PASSTHROUGH: (u32, u32) = (6, 9);

/// Kernel and fuse.
pub fn kernel(files: &impl Files) -> Vec<Finding> {
    let on = of_host("kernel");
    let release = files.read(Path::new("/proc/sys/kernel/osrelease")).unwrap_or_default();
    let release = release.trim();
    let known = files.read(Path::new("/proc/filesystems")).unwrap_or_default();
    // The module comes by itself when the device is opened.
    let fuse = known.lines().any(|line| line.split_whitespace().last() == Some("fuse"))
        || files.exists(Path::new("/dev/fuse"));
    let kernel = match version(release) {
        _ if !known.is_empty() && !fuse => on.failure(
            format!("Linux {release} has no fuse"),
            "without it nothing can be mounted",
            "modprobe fuse (a container needs its host to allow /dev/fuse)",
        ),
        None => on.skipped("the version of the kernel is not known"),
        Some(version) if version >= PASSTHROUGH => on.ok(format!("Linux {release} reads cached files itself")),
        Some(_) => on.ok(format!(
            "Linux {release}; from {}.{} on it would read cached files itself",
            PASSTHROUGH.0, PASSTHROUGH.1
        )),
    };
    let programs = ["/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3"];
    let fuse3 = of_host("fuse3");
    let fuse3 = if programs.iter().any(|path| files.exists(Path::new(path))) {
        fuse3.ok("fusermount3 is installed")
    } else {
        fuse3.ok("fusermount3 is not installed, which only users other than root need")
    };
    vec![kernel, fuse3]
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether updatedb(8) stays out of mounts.
pub fn updatedb(files: &impl Files) -> Finding {
    let on = of_host("updatedb");
    let path = Path::new("/etc/updatedb.conf");
    let Some(text) = files.read(path) else { return on.ok("this host has no updatedb") };
    let pruned = text.lines().filter_map(|line| line.trim().strip_prefix("PRUNEFS")).any(|value| {
        let words = value.split(|c: char| c.is_whitespace() || "=\"".contains(c));
        words.into_iter().any(|word| word.eq_ignore_ascii_case("fuse.originfs"))
    });
    if pruned {
        return on.ok("updatedb leaves mounts out");
    }
    on.warning(
        "updatedb walks through mounts",
        "once a day every webserver lists the whole bucket",
        "sed -i 's/^PRUNEFS *= *\"/&fuse.originfs /' /etc/updatedb.conf",
    )
}

/// A user by which web servers or PHP work.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    /// It runs PHP, which writes; a web server alone reads.
    pub writes: bool,
}

/// Who runs PHP where nothing says so: Debian, Fedora, Arch, Alpine, openSUSE.
const USERS: [&str; 5] = ["www-data", "apache", "http", "nginx", "wwwrun"];

/// The users that exist, each once: those of PHP, or the one that the distribution has, and then those of web servers.
pub fn users(files: &impl Files, php: &[String], web: &[String]) -> Vec<User> {
    let passwd = files.read(Path::new("/etc/passwd")).unwrap_or_default();
    let all: Vec<User> = passwd.lines().filter_map(user).collect();
    let find = |name: &str| all.iter().find(|user| user.name == name).cloned();
    let mut found: Vec<User> = Vec::new();
    let usual = USERS.map(str::to_owned);
    let usual = usual.iter().find(|name| find(name).is_some());
    let writers = if php.iter().any(|name| find(name).is_some()) {
        php
    } else {
        usual.map(std::slice::from_ref).unwrap_or_default()
    };
    for (name, writes) in writers.iter().map(|name| (name, true)).chain(web.iter().map(|name| (name, false))) {
        if found.iter().all(|user| user.name != *name) {
            found.extend(find(name).map(|user| User { writes, ..user }));
        }
    }
    found
}

/// `NAME:PASSWORD:UID:GID:...` (passwd(5)).
fn user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    Some(User { name, uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()?, writes: true })
}

/// The mounts that hold code: a webroot as a whole, or a directory around an `index.php`.
pub fn with_code(files: &impl Files, targets: &[Target], roots: &[PathBuf]) -> Vec<PathBuf> {
    let dirs = targets.iter().filter_map(|target| target.dir.clone()).map(|dir| files::real(files, &dir));
    let real: Vec<PathBuf> = roots.iter().map(|root| files::real(files, root)).collect();
    let ends = ["wp-content", "wp-content/plugins", "wp-content/themes"];
    dirs.filter(|dir| real.iter().any(|root| root.starts_with(dir)) || ends.iter().any(|end| dir.ends_with(end)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{files::Fixture, finding::Verdict},
        *,
    };

    #[test]
    fn kernels() {
        let with = |release: &str, filesystems: &str| {
            let files = Fixture::new(&[("/proc/sys/kernel/osrelease", release), ("/proc/filesystems", filesystems)]);
            kernel(&files).remove(0)
        };
        let fuse = "nodev\tsysfs\n\text4\nnodev\tfuse\n";
        assert!(with("6.12.9-amd64\n", fuse).message.ends_with("reads cached files itself"));
        assert!(with("6.1.0-18-amd64\n", fuse).message.contains("from 6.9 on"));
        assert_eq!(with("6.12.9\n", "nodev\tsysfs\n").verdict, Verdict::Failure);
        assert_eq!(with("", "").verdict, Verdict::Skipped);
        assert_eq!(version("10.0-rc1"), Some((10, 0)));
    }

    #[test]
    fn scanners_are_kept_out() {
        let with = |text: &str| updatedb(&Fixture::new(&[("/etc/updatedb.conf", text)])).verdict;
        assert_eq!(updatedb(&Fixture::default()).verdict, Verdict::Ok);
        assert_eq!(with("PRUNE_BIND_MOUNTS=\"yes\"\nPRUNEFS=\"NFS afs fuse.sshfs\"\n"), Verdict::Warning);
        assert_eq!(with("PRUNEFS = \"NFS fuse.originfs afs\"\n"), Verdict::Ok);
        assert_eq!(with("# PRUNEFS=\"fuse.originfs\"\n"), Verdict::Warning);
    }

    #[test]
    fn the_users_of_web_servers() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\nnginx:x:101:102::/:/bin/false\n";
        let files = Fixture::new(&[("/etc/passwd", passwd)]);
        let names = |php: &[&str], web: &[&str]| {
            let [php, web] = [php, web].map(|list| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
            users(&files, &php, &web).into_iter().map(|user| (user.name, user.uid, user.writes)).collect::<Vec<_>>()
        };
        let (www_data, nginx) = ("www-data".to_owned(), "nginx".to_owned());
        assert_eq!(names(&[], &[]), [(www_data.clone(), 33, true)]);
        assert_eq!(names(&["nginx", "nginx", "nobody"], &["nginx"]), [(nginx.clone(), 101, true)]);
        assert_eq!(names(&["nobody"], &["nginx", "www-data"]), [(www_data, 33, true), (nginx, 101, false)]);
        assert!(users(&Fixture::default(), &[], &[]).is_empty());
    }

    #[test]
    fn mounts_that_hold_code() {
        let targets = ["/var/www", "/srv/wp-content", "/var/www/html/uploads"]
            .map(|dir| Target { dir: Some(dir.into()), ..Target::default() });
        let code = with_code(&Fixture::default(), &targets, &["/var/www/html".into()]);
        assert_eq!(code, [Path::new("/var/www"), Path::new("/srv/wp-content")]);
    }
}
