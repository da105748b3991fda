//! Settings of PHP as its processes have them: php.ini, the files beside it, and what pools of php-fpm set.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::super::files::{self, Files};

/// One installation, as one kind of process sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Php {
    /// As `PHP 8.2 fpm, pool www`.
    pub name: String,
    /// The file to change.
    pub file: PathBuf,
    /// Who runs it, for pools.
    pub user: Option<String>,
    /// It runs inside of Apache, as Apache's user.
    pub is_module: bool,
    values: BTreeMap<String, String>,
}

impl Php {
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn is(&self, name: &str) -> Option<bool> {
        Some(match self.text(name)?.to_ascii_lowercase().as_str() {
            "on" | "yes" | "true" => true,
            "off" | "no" | "false" | "none" | "" => false,
            other => other.parse::<i64>().is_ok_and(|number| number != 0),
        })
    }
}

/// What serves pages on this host: php-fpm by pool, and the module of Apache. The command line is not asked: it keeps
/// nothing from one run to the next.
pub fn read(files: &impl Files) -> Vec<Php> {
    let mut all = Vec::new();
    // Debian: /etc/php/VERSION/KIND.
    for ini in files::glob(files, Path::new("/etc/php/*/*/php.ini")) {
        let Some(dir) = ini.parent() else { continue };
        let names: Vec<_> = dir.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy()).collect();
        let [kind, version] = &names[..] else { continue };
        let base = with_extra(files, &ini, &dir.join("conf.d"));
        let name = format!("PHP {version} {kind}");
        match kind.as_ref() {
            "fpm" => pools(files, &dir.join("pool.d"), &name, &ini, &base, &mut all),
            "apache2" => all.push(Php { name, file: ini.clone(), user: None, is_module: true, values: base }),
            _ => {}
        }
    }
    // Red Hat: one of everything. Alpine: /etc/phpNN.
    let red_hat = [PathBuf::from("/etc/php.ini")];
    for ini in red_hat.into_iter().chain(files::glob(files, Path::new("/etc/php[0-9]*/php.ini"))) {
        if !files.exists(&ini) {
            continue;
        }
        let of_alpine = ini.parent().filter(|dir| *dir != Path::new("/etc"));
        let (extra, pool_dir) = match of_alpine {
            Some(dir) => (dir.join("conf.d"), dir.join("php-fpm.d")),
            None => (PathBuf::from("/etc/php.d"), PathBuf::from("/etc/php-fpm.d")),
        };
        pools(files, &pool_dir, "PHP fpm", &ini, &with_extra(files, &ini, &extra), &mut all);
    }
    all
}

fn with_extra(files: &impl Files, ini: &Path, extra: &Path) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let beside = files::glob(files, &extra.join("*.ini"));
    for path in [ini.to_owned()].into_iter().chain(beside) {
        for (name, value) in files.read(&path).unwrap_or_default().lines().filter_map(setting) {
            values.insert(name, value);
        }
    }
    values
}

/// One for each pool; a host without any has PHP by this file all the same.
fn pools(files: &impl Files, dir: &Path, name: &str, ini: &Path, base: &BTreeMap<String, String>, all: &mut Vec<Php>) {
    let before = all.len();
    for path in files::glob(files, &dir.join("*.conf")) {
        let mut pool: Option<Php> = None;
        for line in files.read(&path).unwrap_or_default().lines() {
            if let Some(title) = line.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                all.extend(pool.take());
                let name = format!("{name}, pool {title}");
                let values = base.clone();
                // What all pools share is no pool.
                pool =
                    (title != "global").then(|| Php { name, file: path.clone(), user: None, is_module: false, values });
                continue;
            }
            let (Some(pool), Some((key, value))) = (&mut pool, setting(line)) else { continue };
            if key == "user" {
                pool.user = Some(value);
            } else if let Some((_, inner)) = key.split_once('[').filter(|(kind, _)| kind.starts_with("php_")) {
                pool.values.insert(inner.trim_end_matches(']').to_owned(), value);
            }
        }
        all.extend(pool);
    }
    if all.len() == before {
        all.push(Php {
            name: name.to_owned(),
            file: ini.to_owned(),
            user: None,
            is_module: false,
            values: base.clone(),
        });
    }
}

/// `NAME = VALUE`, with comments after a semicolon; the value may be quoted.
fn setting(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with([';', '#', '[']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let value = value.trim();
    let value = match value.strip_prefix('"') {
        Some(rest) => rest.split('"').next().unwrap_or_default(),
        // `N;MODE;PATH` has no blanks before its semicolons.
        None => value.split_once(" ;").map_or(value, |(value, _)| value).trim(),
    };
    Some((name.trim().to_owned(), value.to_owned()))
}
