//! Whether a mount is there before what writes into it, at boot.

use std::path::{Path, PathBuf};

use super::{
    files::{self, Files},
    finding::{About, Finding, about, quoted},
    tables::Line,
    targets::Target,
};
use crate::apps::service;

/// Where units are, the first counting most (systemd.unit(5)).
const DIRS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Units of web servers and of PHP.
const WEB: [&str; 7] = [
    "php*-fpm.service",
    "php-fpm*.service",
    "nginx.service",
    "apache2.service",
    "httpd.service",
    "lighttpd.service",
    "caddy.service",
];

const WHY: &str = "uploads of the first seconds go to the directory below, where no other server sees them, and vanish \
                   when the mount comes";

/// Judges the order of a boot for one target.
pub fn order(files: &impl Files, target: &Target) -> Finding {
    let subject = target.subject();
    let on = about("order", &subject);
    let Some(dir) = &target.dir else { return on.skipped("no directory") };
    if !DIRS.iter().any(|dir| files.exists(Path::new(dir))) {
        return on.skipped("this host has no systemd");
    }
    let web = enabled_web_units(files);
    match (target.unit(), &target.fstab) {
        (Some(unit), _) => of_service(files, &unit, &web, on),
        (None, Some(line)) => of_fstab(files, line, &web, on),
        (None, None) => on.warning(
            "nothing mounts it at boot: neither fstab nor a service has it",
            WHY,
            format!("a service originfs@{}.service, or a line in /etc/fstab", service::instance(dir)),
        ),
    }
}

fn of_service(files: &impl Files, unit: &str, web: &[String], on: About<'_>) -> Finding {
    let template = unit.split_once('@').map_or(unit.to_owned(), |(name, _)| format!("{name}@.service"));
    let own = [read(files, &template), read(files, unit)].concat();
    if own.is_empty() {
        return on.failure(
            format!("{unit} has settings, and there is no {template}"),
            "without the unit nothing mounts it",
            "install the unit of originfs, then: systemctl daemon-reload",
        );
    }
    let started = wanted(files, unit)
        || web.iter().any(|name| list(&read(files, name), &["Wants", "Requires"]).iter().any(|other| other == unit));
    if !started {
        return on.warning(format!("{unit} is not started at boot"), WHY, format!("systemctl enable {}", quoted(unit)));
    }
    let before = list(&own, &["Before"]);
    let late: Vec<&String> = web
        .iter()
        .filter(|name| {
            !before.contains(name) && !list(&read(files, name), &["After"]).iter().any(|other| other == unit)
        })
        .collect();
    let Some(first) = late.first() else { return on.ok(format!("{unit} comes before {}", named(web))) };
    on.warning(
        format!("{} may start before {unit}", join(&late)),
        WHY,
        format!("systemctl edit {first}, with:\n[Unit]\nAfter={unit}"),
    )
}

fn of_fstab(files: &impl Files, line: &Line, web: &[String], on: About<'_>) -> Finding {
    let fix = |option: &str| format!("add {option} to its options in {}", line.from);
    if line.option("x-systemd.automount").is_some() {
        return on.ok("an automount: whoever comes first waits for it");
    }
    if line.option("noauto").is_some() {
        return on.warning(format!("{} has noauto", line.from), WHY, fix("x-systemd.automount, or remove noauto:"));
    }
    if line.option("_netdev").is_none() {
        return on.warning(
            format!("{} has no _netdev", line.from),
            "systemd takes it for a local disk and mounts it before there is a network",
            fix("_netdev"),
        );
    }
    let before: Vec<&str> =
        line.options.split(',').filter_map(|option| option.strip_prefix("x-systemd.before=")).collect();
    let own = format!("{}.mount", service::instance(&line.dir));
    let waits = |name: &String| {
        let unit = read(files, name);
        let after = list(&unit, &["After"]);
        // Without nofail the mount is part of remote-fs.target; with it, it comes when it comes (systemd.mount(5)).
        let target = line.option("nofail").is_none() && after.iter().any(|other| other == "remote-fs.target");
        let needs = list(&unit, &["RequiresMountsFor", "WantsMountsFor"]);
        target
            || before.contains(&name.as_str())
            || after.contains(&own)
            || needs.iter().any(|path| Path::new(path).starts_with(&line.dir))
    };
    let late: Vec<&String> = web.iter().filter(|name| !waits(name)).collect();
    if late.is_empty() {
        return on.ok(format!("it comes before {}", named(web)));
    }
    let options: Vec<String> = late.iter().map(|name| format!("x-systemd.before={name}")).collect();
    on.warning(format!("{} may start before it ({})", join(&late), line.from), WHY, fix(&options.join(",")))
}

fn named(web: &[String]) -> String {
    if web.is_empty() { "every web server (none is started at boot)".to_owned() } else { web.join(", ") }
}

fn join(names: &[&String]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Units of web servers that are started at boot.
fn enabled_web_units(files: &impl Files) -> Vec<String> {
    let mut names = Vec::new();
    for (dir, pattern) in DIRS.iter().flat_map(|dir| WEB.iter().map(move |pattern| (dir, pattern))) {
        for path in files::glob(files, &Path::new(dir).join(pattern)) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let masked = files.link(&path).is_some_and(|target| target == Path::new("/dev/null"));
            if !masked && !names.contains(&name) && wanted(files, &name) {
                names.push(name);
            }
        }
    }
    names
}

/// Whether something that is started at boot pulls the unit in.
fn wanted(files: &impl Files, unit: &str) -> bool {
    let kinds = ["*.wants", "*.requires"];
    let dirs = DIRS.iter().flat_map(|dir| kinds.iter().map(move |kind| Path::new(dir).join(kind)));
    dirs.flat_map(|pattern| files::glob(files, &pattern)).any(|dir| files.names(&dir).iter().any(|name| name == unit))
}

/// The lines of a unit and its drop-ins.
fn read(files: &impl Files, unit: &str) -> Vec<String> {
    let paths = DIRS.iter().map(|dir| Path::new(dir).join(unit));
    let main = paths.filter(|path| files.exists(path)).take(1);
    let drop_ins: Vec<PathBuf> =
        DIRS.iter().flat_map(|dir| files::glob(files, &Path::new(dir).join(format!("{unit}.d/*.conf")))).collect();
    let texts = main.chain(drop_ins).filter_map(|path| files.read(&path));
    texts.flat_map(|text| text.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The words of list settings; an empty one takes back what came before, which for these few counts too little to ask.
fn list(lines: &[String], names: &[&str]) -> Vec<String> {
    let settings = lines.iter().filter_map(|line| line.split_once('='));
    let values = settings.filter(|(name, _)| names.contains(&name.trim())).map(|(_, value)| value);
    values.flat_map(|value| value.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{files::Fixture, finding::Verdict, targets::configured},
        *,
    };

    const UNIT: &str =
        "[Unit]\nAfter=network-online.target\nBefore=php8.2-fpm.service \\\n  nginx.service\n[Service]\nType=notify\n";

    /// A Debian host with nginx and php-fpm.
    fn debian() -> Fixture {
        Fixture::new(&[
            (
                "/lib/systemd/system/nginx.service",
                "[Unit]\nAfter=network-online.target remote-fs.target nss-lookup.target\n",
            ),
            ("/lib/systemd/system/php8.2-fpm.service", "[Unit]\nDescription=x\nAfter=network.target\n"),
            ("/lib/systemd/system/apache2.service", "[Unit]\nAfter=network.target\n"),
            ("/etc/systemd/system/multi-user.target.wants/nginx.service", "-> /lib/systemd/system/nginx.service"),
            (
                "/etc/systemd/system/multi-user.target.wants/php8.2-fpm.service",
                "-> /lib/systemd/system/php8.2-fpm.service",
            ),
        ])
    }

    fn fstab(files: Fixture, options: &str) -> Finding {
        let files = files.with("/etc/fstab", &format!("site /srv/a originfs {options} 0 0\n"));
        order(&files, &configured(&files)[0])
    }

    fn service(files: Fixture) -> Finding {
        let files = files.with("/etc/originfs/srv-a.env", "SOURCE=site\n");
        order(&files, &configured(&files)[0])
    }

    #[test]
    fn lines_of_fstab() {
        for (options, expect, part) in [
            ("_netdev,x-systemd.automount", Verdict::Ok, "automount"),
            ("_netdev,noauto", Verdict::Warning, "noauto"),
            ("defaults", Verdict::Warning, "_netdev"),
            ("_netdev", Verdict::Warning, "php8.2-fpm.service may start"),
            ("_netdev,nofail,x-systemd.before=php8.2-fpm.service", Verdict::Warning, "nginx.service may start"),
            ("_netdev,x-systemd.before=php8.2-fpm.service", Verdict::Ok, "before"),
            (
                "_netdev,nofail,x-systemd.before=php8.2-fpm.service,x-systemd.before=nginx.service",
                Verdict::Ok,
                "nginx.service, ",
            ),
        ] {
            let found = fstab(debian(), options);
            assert_eq!(found.verdict, expect, "{found:?}");
            assert!(found.message.contains(part) || options.contains("nofail") && expect == Verdict::Ok, "{found:?}");
        }
        let needs = debian()
            .with("/etc/systemd/system/php8.2-fpm.service.d/mount.conf", "[Unit]\nRequiresMountsFor=/srv/a/2026\n");
        assert_eq!(fstab(needs, "_netdev").verdict, Verdict::Ok);
    }

    #[test]
    fn services() {
        let template = |text: &str| debian().with("/etc/systemd/system/originfs@.service", text);
        let enabled =
            |files: Fixture| files.with("/etc/systemd/system/multi-user.target.wants/originfs@srv-a.service", "x");
        assert_eq!(service(debian()).verdict, Verdict::Failure);
        assert!(service(template(UNIT)).message.contains("not started at boot"));
        let found = service(enabled(template(UNIT)));
        assert_eq!(found.verdict, Verdict::Ok, "{found:?}");
        let found = service(enabled(template("[Unit]\nBefore=nginx.service\n")));
        assert_eq!(found.message, "php8.2-fpm.service may start before originfs@srv-a.service");
        let after = enabled(template("[Unit]\nBefore=nginx.service\n"))
            .with("/etc/systemd/system/php8.2-fpm.service.d/a.conf", "[Unit]\nAfter=originfs@srv-a.service\n");
        assert_eq!(service(after).verdict, Verdict::Ok);
    }

    #[test]
    fn what_nothing_mounts_and_what_has_no_systemd() {
        let by_hand = Target { source: "site".into(), dir: Some("/srv/a".into()), ..Target::default() };
        assert_eq!(order(&debian(), &by_hand).verdict, Verdict::Warning);
        assert_eq!(order(&Fixture::default(), &by_hand).verdict, Verdict::Skipped);
    }
}
