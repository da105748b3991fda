//! The language of Apache: a directive per line, sections in angle brackets.

use std::{
    iter::Peekable,
    path::{Path, PathBuf},
    vec,
};

use super::super::files::{self, Files};

/// Files that include each other; Apache has the same kind of limit.
const DEPTH_MAX: u32 = 20;

/// A directive, or a section whose name begins with `<`. What is included, and what is in a condition that may hold,
/// stands in place.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) block: Vec<Directive>,
    /// `FILE:LINE`.
    pub(super) place: String,
}

impl Directive {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// The directives of a file; relative paths start at `base`. `None`: it cannot be read.
pub(super) fn read(files: &impl Files, path: &Path, base: &Path) -> Option<Vec<Directive>> {
    Some(without_conditions(read_one(files, path, base, 0)?, &mut Vec::new()))
}

/// A condition on a module that is not there holds if none of that name is loaded before it. All others are thought to
/// hold: some modules are built in, and what is said about one that is missing is no harm.
fn without_conditions(all: Vec<Directive>, loaded: &mut Vec<String>) -> Vec<Directive> {
    let mut plain = Vec::new();
    for mut directive in all {
        match (directive.name.to_ascii_lowercase().as_str(), directive.args.first()) {
            ("loadmodule", Some(name)) => loaded.push(stem(name)),
            ("<ifmodule", Some(name)) if name.strip_prefix('!').is_some_and(|name| loaded.contains(&stem(name))) => {}
            ("<ifmodule" | "<ifdefine" | "<ifversion" | "<requireall", _) => {
                plain.extend(without_conditions(directive.block, loaded));
            }
            _ => {
                directive.block = without_conditions(std::mem::take(&mut directive.block), loaded);
                plain.push(directive);
            }
        }
    }
    plain
}

/// `php` of `mod_php8.c` and of `php_module`.
fn stem(module: &str) -> String {
    let name = module.strip_prefix("mod_").unwrap_or(module);
    let name = name.trim_end_matches(".c").trim_end_matches("_module");
    name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()
}

fn read_one(files: &impl Files, path: &Path, base: &Path, depth: u32) -> Option<Vec<Directive>> {
    let text = files.read(path)?;
    let mut lines = lines(&text).into_iter().peekable();
    Some(block(&mut lines, &Source { files, path, base, depth }))
}

struct Source<'a, F> {
    files: &'a F,
    path: &'a Path,
    base: &'a Path,
    depth: u32,
}

/// Lines that say something, with their numbers; one that ends in a backslash goes on in the next.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let (text, goes_on) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        match all.last_mut().filter(|_| open) {
            Some((_, before)) => before.push_str(text),
            None => all.push((number, text.to_owned())),
        }
        open = goes_on;
    }
    all.retain(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    all
}

fn block<F: Files>(lines: &mut Peekable<vec::IntoIter<(usize, String)>>, source: &Source<'_, F>) -> Vec<Directive> {
    let mut all = Vec::new();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if line.starts_with("</") {
            break;
        }
        let section = line.starts_with('<');
        let mut args = words(if section { line.trim_end_matches('>') } else { line });
        if args.is_empty() {
            continue;
        }
        let name = args.remove(0);
        let place = format!("{}:{number}", source.path.display());
        let inner = if section { block(lines, source) } else { Vec::new() };
        match name.to_ascii_lowercase().as_str() {
            "include" | "includeoptional" => all.extend(include(&args, source)),
            _ => all.push(Directive { name, args, block: inner, place }),
        }
    }
    all
}

fn include<F: Files>(args: &[String], source: &Source<'_, F>) -> Vec<Directive> {
    let (Some(pattern), true) = (args.first(), source.depth < DEPTH_MAX) else { return Vec::new() };
    let pattern: PathBuf = source.base.join(pattern);
    let read = |path: PathBuf| read_one(source.files, &path, source.base, source.depth + 1).unwrap_or_default();
    files::glob(source.files, &pattern).into_iter().flat_map(read).collect()
}

/// Words, as far as quotes hold them together.
fn words(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let quote = rest.chars().next().filter(|c| "\"'".contains(*c));
        let (word, after) = match quote {
            Some(quote) => rest[1..].split_once(quote).unwrap_or((&rest[1..], "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        all.push(word.to_owned());
        rest = after.trim_start();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{super::super::files::Fixture, *};

    #[test]
    fn sections_includes_and_lines_that_go_on() {
        let files = Fixture::new(&[
            (
                "/etc/apache2/apache2.conf",
                "# main\nServerRoot \"/etc/apache2\"\nLogFormat \"%h \\\n%l\" x\nIncludeOptional mods-enabled/*.conf\nLoadModule mpm_module x.so\n<IfModule !mod_mpm.c>\nUser nobody\n</IfModule>\n<Directory /var/www/>\n\tRequire all granted\n</Directory>\n",
            ),
            (
                "/etc/apache2/mods-enabled/a.conf",
                "<IfModule mod_a.c>\n  <FilesMatch \"\\.php$\">\n  SetHandler x\n </FilesMatch>\n</IfModule>",
            ),
        ]);
        let all = read(&files, Path::new("/etc/apache2/apache2.conf"), Path::new("/etc/apache2")).unwrap();
        let names: Vec<_> = all.iter().map(|directive| directive.name.as_str()).collect();
        assert_eq!(names, ["ServerRoot", "LogFormat", "<FilesMatch", "<Directory"]);
        assert_eq!(all[1].args, ["%h %l", "x"]);
        assert_eq!((all[2].args[0].as_str(), all[2].block[0].args[0].as_str()), ("\\.php$", "x"));
        assert_eq!((all[3].args[0].as_str(), all[3].place.as_str()), ("/var/www/", "/etc/apache2/apache2.conf:10"));
    }

    #[test]
    fn what_is_broken_ends_somewhere() {
        for text in ["<", ">", "</x>", "<Directory", "\"", "a \"b", "\\", "Include *"] {
            read(&Fixture::new(&[("/a", text)]), Path::new("/a"), Path::new("/"));
        }
    }
}
