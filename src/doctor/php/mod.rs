//! PHP: what its settings keep in memory or put into a mount.

mod settings;
#[cfg(test)]
mod tests;

use std::path::Path;

use super::{
    files::{self, Files},
    finding::{Finding, about, of_host},
};
pub use settings::{Php, read};

/// Seconds for which PHP may believe where a path leads: its own default.
const REALPATH_MAX: u64 = 120;
/// Seconds between looks at a script of PHP: opcache's own default is 2.
const REVALIDATE_MAX: u64 = 60;

/// Why directories of PHP itself do not belong into a mount.
const BUSY: &str = "these files are written all the time and belong to this host: each of them becomes a request to the \
                    bucket, and others may read them there";

/// All checks of one installation of PHP against all mounts.
pub fn judge(php: &Php, files: &impl Files, mounts: &[(&Path, &str)], code: &[&Path]) -> Vec<Finding> {
    let mut findings = vec![opcache(php, code), realpath(php)];
    for &(mount, subject) in mounts {
        findings.extend(inside(php, files, mount, subject));
    }
    findings
}

/// `code`: mounts that hold PHP code.
fn opcache(php: &Php, code: &[&Path]) -> Finding {
    let on = of_host("opcache");
    let name = &php.name;
    if php.is("opcache.enable") == Some(false) {
        return on.ok(format!("{name}: opcache is off"));
    }
    let Some(code) = code.first() else {
        return on.ok(format!("{name}: no mount holds code, so no setting of opcache matters"));
    };
    if php.is("opcache.validate_timestamps") == Some(false) {
        return on.warning(
            format!("{name}: opcache.validate_timestamps=0, and {} holds code", code.display()),
            "code that another webserver updates is never seen here before PHP is restarted",
            format!("opcache.validate_timestamps=1 in {}, or keep code out of mounts", php.file.display()),
        );
    }
    let age = php.number("opcache.revalidate_freq").unwrap_or(2);
    if age > REVALIDATE_MAX {
        return on.warning(
            format!("{name}: opcache.revalidate_freq={age}, and {} holds code", code.display()),
            "code that another webserver updates is seen that many seconds later",
            format!("opcache.revalidate_freq=2 in {}, or keep code out of mounts", php.file.display()),
        );
    }
    on.ok(format!("{name}: opcache looks at code again after {age} s"))
}

fn realpath(php: &Php) -> Finding {
    let on = of_host("realpath-cache");
    let name = &php.name;
    let age = php.number("realpath_cache_ttl").unwrap_or(REALPATH_MAX);
    if age > REALPATH_MAX {
        return on.warning(
            format!("{name}: realpath_cache_ttl={age}"),
            "each worker of PHP believes for that many seconds where a path led, also after another webserver renamed a \
             directory or a deployment turned a link",
            format!("realpath_cache_ttl={REALPATH_MAX} (the default) or less in {}", php.file.display()),
        );
    }
    on.ok(format!("{name}: realpath_cache_ttl={age}"))
}

/// Directories of PHP itself that lie in a mount.
fn inside(php: &Php, files: &impl Files, mount: &Path, subject: &str) -> Vec<Finding> {
    let named = ["opcache.file_cache", "upload_tmp_dir", "session.save_path", "sys_temp_dir"];
    let mut findings = Vec::new();
    for setting in named {
        // `N;MODE;PATH` of sessions.
        let path = php.text(setting).and_then(|text| text.rsplit(';').next()).unwrap_or_default();
        let path = Path::new(path);
        if !path.is_absolute() || !files::real(files, path).starts_with(mount) {
            continue;
        }
        let check = if setting == "opcache.file_cache" { "opcache" } else { "php-directories" };
        let on = about(check, subject);
        findings.push(on.failure(
            format!("{}: {setting} is {}, in this mount", php.name, path.display()),
            if setting == "opcache.file_cache" {
                "compiled code would be shared: whoever writes to the bucket runs code here"
            } else {
                BUSY
            },
            format!("{setting} outside of the mount, as below /var/lib/php, in {}", php.file.display()),
        ));
    }
    findings
}
