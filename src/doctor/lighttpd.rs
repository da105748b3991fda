//! lighttpd: its cache of stat(2), and whether it runs PHP below a mount.

use std::path::Path;

use regex_lite::Regex;

use super::{
    files::{self, Files},
    finding::{Finding, about},
    sites::{self, PHP_PROBE, Root},
};

const MAIN: &str = "/etc/lighttpd/lighttpd.conf";
/// Files that include each other.
const DEPTH_MAX: u32 = 16;

/// The lines of lighttpd's configuration that say something, with their places, includes in place.
#[derive(Debug)]
pub struct Lighttpd {
    lines: Vec<(String, String)>,
}

impl Lighttpd {
    /// `None`: it is not installed.
    pub fn read(files: &impl Files) -> Option<Self> {
        let mut lines = Vec::new();
        add(files, Path::new(MAIN), &mut lines, 0)?;
        Some(Self { lines })
    }

    /// The user that it reads files as.
    pub fn user(&self) -> Option<&str> {
        self.value("server.username").map(|(value, _)| value)
    }

    /// The document roots.
    pub fn roots(&self) -> Vec<Root> {
        let all = self.lines.iter().filter_map(|(line, place)| Some((assigned(line, "server.document-root")?, place)));
        all.map(|(path, place)| Root { path: path.into(), from: place.clone() }).collect()
    }

    /// Whether what other hosts did is seen.
    pub fn stat_cache(&self, subject: &str) -> Finding {
        let on = about("lighttpd-stat-cache", subject);
        match self.value("server.stat-cache-engine") {
            None => on.ok("server.stat-cache-engine is simple (by default)"),
            Some(("simple" | "disable", place)) => on.ok(format!("server.stat-cache-engine fits ({place})")),
            Some((engine, place)) => on.warning(
                format!("server.stat-cache-engine is {engine} ({place})"),
                "it waits for events of this host, and what another webserver does makes none: old sizes and ETags are \
                 served for long",
                "in lighttpd.conf: server.stat-cache-engine = \"simple\"",
            ),
        }
    }

    /// Whether a PHP file that somebody uploads is run.
    pub fn php(&self, files: &impl Files, mount: &Path, subject: &str) -> Option<Finding> {
        let on = about("php-execution", subject);
        let roots = self.roots().into_iter().map(|root| files::real(files, &root.path));
        let inside = roots.into_iter().find_map(|root| mount.strip_prefix(root).ok().map(Path::to_owned))?;
        let url = format!("/{}", inside.join(PHP_PROBE).display());
        let runs = self.lines.iter().find(|(line, _)| {
            (line.contains(".php\"") || line.contains("php-"))
                && ["fastcgi.", "cgi.assign", "fcgi"].iter().any(|word| line.contains(word))
                || line.trim_start().starts_with("\".php\"") && line.contains("=>")
        });
        let Some((_, place)) = runs else { return Some(on.ok("lighttpd runs no PHP")) };
        if let Some(rule) = self.denied(&url) {
            return Some(on.ok(format!("lighttpd: PHP files are refused ({rule})")));
        }
        let directory = url.rsplit_once('/').map_or("", |(dir, _)| dir);
        Some(on.warning(
            format!("lighttpd runs PHP files in this mount ({place})"),
            sites::PHP_WHY,
            format!("in lighttpd.conf: $HTTP[\"url\"] =~ \"^{directory}/\" {{ url.access-deny = ( \".php\", \".phtml\", \".phar\" ) }}"),
        ))
    }

    /// The condition on the URL below which PHP files are refused.
    fn denied(&self, url: &str) -> Option<&str> {
        let mut conditions: Vec<bool> = Vec::new();
        for (line, place) in &self.lines {
            if line.contains('{') {
                let pattern = line.split_once("$HTTP[\"url\"]").and_then(|(_, rest)| rest.split('"').nth(1));
                let pattern = pattern.map(|text| Regex::new(text).is_ok_and(|pattern| pattern.is_match(url)));
                conditions.push(pattern.unwrap_or(false));
            }
            let holds = !conditions.is_empty() && conditions.iter().all(|&condition| condition);
            if holds
                && line.contains("url.access-deny")
                && (line.contains("\".php\"") || line.contains("( \"\" )") || line.contains("(\"\")"))
            {
                return Some(place);
            }
            if line.contains('}') {
                conditions.pop();
            }
        }
        None
    }

    fn value(&self, name: &str) -> Option<(&str, &str)> {
        self.lines.iter().rev().find_map(|(line, place)| Some((assigned(line, name)?, place.as_str())))
    }
}

/// The text that a line gives to a variable.
fn assigned<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.trim_start().strip_prefix(name)?.trim_start();
    let rest = rest.strip_prefix(":=").or_else(|| rest.strip_prefix('='))?;
    Some(rest.trim().trim_matches('"'))
}

fn add(files: &impl Files, path: &Path, lines: &mut Vec<(String, String)>, depth: u32) -> Option<()> {
    let text = files.read(path)?;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line
            .split_once('#')
            .filter(|(before, _)| before.matches('"').count() % 2 == 0)
            .map_or(line, |(text, _)| text);
        let include = line.trim().strip_prefix("include ").map(|rest| rest.trim().trim_matches('"'));
        // Debian's script does no more than this.
        let include = if line.contains("include-conf-enabled") { Some("conf-enabled/*.conf") } else { include };
        match include.filter(|_| depth < DEPTH_MAX) {
            Some(pattern) => {
                for path in files::glob(files, &Path::new("/etc/lighttpd").join(pattern)) {
                    add(files, &path, lines, depth + 1);
                }
            }
            None if line.trim().is_empty() => {}
            None => lines.push((line.to_owned(), format!("{}:{number}", path.display()))),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{files::Fixture, finding::Verdict},
        *,
    };

    /// As Debian installs it, shortened.
    const DEBIAN: &str = "server.modules = (\n\t\"mod_access\",\n)\nserver.document-root        = \"/var/www/html\"\nserver.username             = \"www-data\"\n# server.stat-cache-engine = \"fam\"\nurl.access-deny             = ( \"~\", \".inc\" )\ninclude \"/etc/lighttpd/conf-enabled/*.conf\"\n";
    const FASTCGI: &str =
        "fastcgi.server += ( \".php\" =>\n\t((\n\t\t\"socket\" => \"/run/php/php8.2-fpm.sock\",\n\t))\n)\n";

    fn debian(more: &str) -> Fixture {
        Fixture::new(&[
            ("/etc/lighttpd/lighttpd.conf", &format!("{DEBIAN}{more}")),
            ("/etc/lighttpd/conf-enabled/15-fastcgi-php-fpm.conf", FASTCGI),
        ])
    }

    #[test]
    fn the_cache_of_stat() {
        for (more, expect) in [
            ("", Verdict::Ok),
            ("server.stat-cache-engine = \"simple\"\n", Verdict::Ok),
            ("server.stat-cache-engine = \"disable\"\n", Verdict::Ok),
            ("server.stat-cache-engine = \"inotify\"\n", Verdict::Warning),
            ("server.stat-cache-engine=\"fam\" # old\n", Verdict::Warning),
        ] {
            let lighttpd = Lighttpd::read(&debian(more)).unwrap();
            assert_eq!(lighttpd.stat_cache("host").verdict, expect, "{more}");
            assert_eq!(lighttpd.user(), Some("www-data"));
        }
        assert!(Lighttpd::read(&Fixture::default()).is_none());
    }

    #[test]
    fn who_runs_an_uploaded_php_file() {
        let deny = "$HTTP[\"url\"] =~ \"^/images/\" {\n url.access-deny = ( \".php\" )\n}\n";
        for (files, expect) in [
            (debian(""), Verdict::Warning),
            (debian(deny), Verdict::Ok),
            (debian(&deny.replace("images", "files")), Verdict::Warning),
            (debian("").with("/etc/lighttpd/conf-enabled/15-fastcgi-php-fpm.conf", ""), Verdict::Ok),
        ] {
            let found = Lighttpd::read(&files).unwrap().php(&files, Path::new("/var/www/html/images"), "x").unwrap();
            assert_eq!(found.verdict, expect, "{found:?}");
        }
        let files = debian("");
        assert_eq!(Lighttpd::read(&files).unwrap().php(&files, Path::new("/srv/data"), "x"), None);
    }
}
