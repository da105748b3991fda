//! Apache httpd: what its configuration does with a mount.

mod parse;
#[cfg(test)]
mod tests;

use std::path::Path;

use regex_lite::RegexBuilder;

use super::{
    files::{self, Files},
    finding::{Finding, about},
    sites::{self, PHP_PROBE, Root},
};
use parse::Directive;

/// The main files of Debian and of Red Hat, and where relative includes start.
const MAINS: [(&str, &str); 2] =
    [("/etc/apache2/apache2.conf", "/etc/apache2"), ("/etc/httpd/conf/httpd.conf", "/etc/httpd")];

/// The configuration of Apache.
#[derive(Debug)]
pub struct Apache {
    main: Vec<Directive>,
    /// The value of `APACHE_RUN_USER`, which Debian sets outside of the configuration.
    run_user: Option<String>,
}

impl Apache {
    /// `None`: it is not installed.
    pub fn read(files: &impl Files) -> Option<Self> {
        let main = MAINS.iter().find_map(|(path, base)| parse::read(files, Path::new(path), Path::new(base)))?;
        let variables = files.read(Path::new("/etc/apache2/envvars")).unwrap_or_default();
        let mut lines = variables.lines().filter_map(|line| line.trim().strip_prefix("export APACHE_RUN_USER="));
        Some(Self { main, run_user: lines.next_back().map(str::to_owned) })
    }

    /// The user that it reads files as.
    pub fn user(&self) -> Option<String> {
        let user = self.main.iter().rfind(|directive| directive.is("User"))?.args.first()?;
        if user.starts_with('$') { self.run_user.clone() } else { Some(user.clone()) }
    }

    /// The document roots.
    pub fn roots(&self) -> Vec<Root> {
        let mut roots = Vec::new();
        collect(&self.main, &mut roots);
        roots
    }

    /// `EnableMMAP` and `EnableSendfile` as they are for files in the mount.
    pub fn maps(&self, files: &impl Files, mount: &Path, subject: &str) -> Vec<Finding> {
        let on = about("apache-mmap", subject);
        if !self.serves(files, mount) {
            return vec![on.ok("Apache serves nothing of this mount")];
        }
        let value = |name: &str| {
            let sections = self.sections(files, mount);
            let all = self.main.iter().chain(virtual_hosts(&self.main)).chain(sections.into_iter().flatten());
            let set = all.filter(|directive| directive.is(name)).last()?;
            Some((set.args.first()?.eq_ignore_ascii_case("on"), set.place.clone()))
        };
        let fix =
            |name: &str| format!("in the configuration of Apache:\n<Directory {subject}>\n  {name} Off\n</Directory>");
        let (mapped, place) = value("EnableMMAP").unwrap_or((true, "by default".to_owned()));
        let mmap = if mapped {
            on.warning(
                format!("Apache maps files of this mount into memory ({place})"),
                "a mapped file that another webserver replaces by a shorter one kills the process that sends it \
                 (SIGBUS), and is never checked for being fresh",
                fix("EnableMMAP"),
            )
        } else {
            on.ok(format!("EnableMMAP is off ({place})"))
        };
        let on = about("apache-sendfile", subject);
        let sendfile = match value("EnableSendfile") {
            Some((true, place)) => on.warning(
                format!("Apache sends files of this mount by sendfile ({place})"),
                "the manual of Apache advises against it on network file systems: a read that fails half-way ends in a \
                 truncated answer with status 200",
                fix("EnableSendfile"),
            ),
            Some((false, place)) => on.ok(format!("EnableSendfile is off ({place})")),
            None => on.ok("EnableSendfile is off (by default)"),
        };
        vec![mmap, sendfile]
    }

    /// Whether a PHP file that somebody uploads is run.
    pub fn php(&self, files: &impl Files, mount: &Path, subject: &str) -> Option<Finding> {
        let on = about("php-execution", subject);
        if !self.serves(files, mount) {
            return None;
        }
        let mut handler = None;
        handlers(&self.main, &mut handler);
        let Some(place) = handler else { return Some(on.ok("Apache runs no PHP")) };
        for section in self.sections(files, mount) {
            if let Some(rule) = section.iter().find(|directive| stops(directive)) {
                return Some(on.ok(format!("Apache: PHP files are not run ({})", rule.place)));
            }
        }
        Some(on.warning(
            format!("Apache runs PHP files in this mount ({place})"),
            sites::PHP_WHY,
            format!(
                "in the configuration of Apache:\n<Directory {subject}>\n  AllowOverride None\n  \
                 <FilesMatch \"\\.(php[0-9]*|phtml|phar)$\">\n    Require all denied\n  </FilesMatch>\n</Directory>"
            ),
        ))
    }

    fn serves(&self, files: &impl Files, mount: &Path) -> bool {
        let mut aliases = Vec::new();
        collect_aliases(&self.main, &mut aliases);
        let roots = self.roots().into_iter().map(|root| root.path).chain(aliases.into_iter().map(Into::into));
        roots.map(|root| files::real(files, &root)).any(|root| mount.starts_with(&root) || root.starts_with(mount))
    }

    /// The bodies of all sections that cover the mount, the wider ones first, as Apache merges them.
    fn sections<'a>(&'a self, files: &impl Files, mount: &Path) -> Vec<&'a [Directive]> {
        let mut all: Vec<(usize, &[Directive])> = Vec::new();
        for section in self.main.iter().chain(virtual_hosts(&self.main)) {
            let width = match (section.name.to_ascii_lowercase().as_str(), &section.args[..]) {
                ("<directory", [tilde, pattern]) if tilde == "~" => matches(pattern, mount).then_some(usize::MAX),
                ("<directorymatch", [pattern]) => matches(pattern, mount).then_some(usize::MAX),
                ("<directory", [dir]) => covers(files, dir, mount),
                _ => None,
            };
            all.extend(width.map(|width| (width, &section.block[..])));
        }
        all.sort_by_key(|(width, _)| *width);
        all.into_iter().map(|(_, block)| block).collect()
    }
}

fn virtual_hosts(main: &[Directive]) -> impl Iterator<Item = &Directive> {
    main.iter().filter(|directive| directive.is("<VirtualHost")).flat_map(|host| &host.block)
}

/// How much of the path a `<Directory>` names, if it covers the mount. It may have wildcards.
fn covers(files: &impl Files, dir: &str, mount: &Path) -> Option<usize> {
    if dir.contains(['*', '?', '[']) {
        let pattern = glob::Pattern::new(dir.trim_end_matches('/')).ok()?;
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::default() };
        return mount.ancestors().find(|above| pattern.matches_path_with(above, options)).map(|_| dir.len());
    }
    let dir = Path::new(dir);
    (mount.starts_with(dir) || mount.starts_with(files::real(files, dir))).then_some(dir.as_os_str().len())
}

fn matches(pattern: &str, mount: &Path) -> bool {
    let text = format!("{}/", mount.display());
    RegexBuilder::new(pattern).build().is_ok_and(|pattern| pattern.is_match(&text))
}

/// Whether a directive of a section keeps PHP from running there.
fn stops(directive: &Directive) -> bool {
    let first = directive.args.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    match directive.name.to_ascii_lowercase().as_str() {
        "php_admin_flag" | "php_flag" | "php_admin_value" => {
            first == "engine"
                && directive.args.get(1).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "off" | "0"))
        }
        "sethandler" => matches!(first.as_str(), "none" | "default-handler" | "text/plain"),
        "removehandler" | "removetype" => directive.args.iter().any(|word| word.contains("php")),
        "<filesmatch" => {
            matches_name(&directive.args, true) && directive.block.iter().any(|inner| denies(inner) || stops(inner))
        }
        "<files" => matches_name(&directive.args, false) && directive.block.iter().any(denies),
        "<ifmodule" => directive.block.iter().any(stops),
        _ => false,
    }
}

fn denies(directive: &Directive) -> bool {
    let words = directive.args.join(" ").to_ascii_lowercase();
    directive.is("Require") && words == "all denied" || directive.is("Deny") && words == "from all"
}

fn matches_name(args: &[String], is_pattern: bool) -> bool {
    match args {
        [tilde, pattern] if tilde == "~" => matches_name(std::slice::from_ref(pattern), true),
        [pattern] if is_pattern => RegexBuilder::new(pattern).build().is_ok_and(|found| found.is_match(PHP_PROBE)),
        [pattern] => glob::Pattern::new(pattern).is_ok_and(|found| found.matches(PHP_PROBE)),
        _ => false,
    }
}

/// Where PHP is run at all: by the handler of its module, or by php-fpm.
fn handlers(block: &[Directive], found: &mut Option<String>) {
    for directive in block {
        let words = directive.args.join(" ").to_ascii_lowercase();
        let runs = match directive.name.to_ascii_lowercase().as_str() {
            "sethandler" | "addhandler" | "addtype" => words.contains("php"),
            "proxypassmatch" => words.contains("php") && words.contains("fcgi:"),
            _ => false,
        };
        // The sources of PHP shown as such are not run.
        if runs && !words.contains("php-source") {
            found.get_or_insert_with(|| directive.place.clone());
        }
        handlers(&directive.block, found);
    }
}

fn collect(block: &[Directive], roots: &mut Vec<Root>) {
    for directive in block {
        if let (true, Some(path)) = (directive.is("DocumentRoot"), directive.args.first()) {
            roots.push(Root { path: path.into(), from: directive.place.clone() });
        }
        collect(&directive.block, roots);
    }
}

fn collect_aliases(block: &[Directive], aliases: &mut Vec<String>) {
    for directive in block {
        if directive.is("Alias") {
            aliases.extend(directive.args.get(1).cloned());
        }
        collect_aliases(&directive.block, aliases);
    }
}
