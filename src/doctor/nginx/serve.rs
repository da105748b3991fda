//! Which location of which server answers for a file, and what it does with it.

use std::path::{Path, PathBuf};

use regex_lite::RegexBuilder;

use super::super::{
    directive::Directive,
    files::{self, Files},
};

/// What becomes of a request for a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// Given to a program that runs it.
    Runs,
    /// Answered with a refusal.
    Refused,
    /// Sent as it is.
    Sent,
    /// A regular expression that cannot be read here, or another server decides.
    Unknown,
}

/// How descriptors are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cache {
    /// Absent names, too.
    pub(super) errors: bool,
}

/// One server that has the file.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) uri: String,
    pub(super) place: String,
    pub(super) answer: Answer,
    cache: Option<(Cache, String)>,
}

impl Served {
    /// The directory of the URL.
    pub(super) fn directory(&self) -> &str {
        self.uri.rsplit_once('/').map_or("", |(dir, _)| dir)
    }

    /// How the descriptor is kept, if it is, and where that is said.
    pub(super) fn cached(&self) -> Option<(Cache, &str)> {
        self.cache.as_ref().map(|(cache, place)| (*cache, place.as_str()))
    }
}

/// All servers that answer for `file`.
pub(super) fn all(main: &[Directive], files: &impl Files, file: &Path) -> Vec<Served> {
    let mut served = Vec::new();
    for http in main.iter().filter(|directive| directive.name == "http") {
        for server in http.block.iter().filter(|directive| directive.name == "server") {
            let levels = [&http.block[..], &server.block[..]];
            let mut uris: Vec<String> = uris(&levels, files, file);
            uris.sort();
            uris.dedup();
            served.extend(uris.iter().filter_map(|uri| serve(http, server, files, uri, file)));
        }
    }
    served
}

/// The URLs under which the file may be reached, by all roots and aliases of a server.
fn uris(levels: &[&[Directive]], files: &impl Files, file: &Path) -> Vec<String> {
    let mut uris = Vec::new();
    if let Some(root) = value(levels, "root") {
        uris.extend(below(files, root, "", file));
    }
    let server = levels.last().copied().unwrap_or_default();
    for location in server.iter().filter(|directive| directive.name == "location") {
        let prefix = location.args.last().map_or("", String::as_str);
        let of = |name: &str| value(&[&location.block], name);
        uris.extend(of("root").and_then(|root| below(files, root, "", file)));
        uris.extend(of("alias").and_then(|alias| below(files, alias, prefix.trim_end_matches('/'), file)));
        let nested = location.block.iter().any(|directive| directive.name == "location");
        if nested {
            uris.extend(self::uris(&[&location.block], files, file));
        }
    }
    uris
}

fn below(files: &impl Files, dir: &str, prefix: &str, file: &Path) -> Option<String> {
    if dir.contains('$') || !dir.starts_with('/') || prefix.contains(['$', '^', '(', '*']) {
        return None;
    }
    let rest = file.strip_prefix(files::real(files, Path::new(dir))).ok()?;
    Some(format!("{prefix}/{}", rest.display()))
}

fn serve(http: &Directive, server: &Directive, files: &impl Files, uri: &str, file: &Path) -> Option<Served> {
    let found = find(&server.block, uri);
    let chain = found.chain;
    let place = chain.last().map_or(&server.place, |location| &location.place).clone();
    let mut levels: Vec<&[Directive]> = vec![&http.block, &server.block];
    levels.extend(chain.iter().map(|location| &location.block[..]));
    if mapped(&levels, &chain, files, uri).is_some_and(|path| path != file) {
        return None; // this location looks elsewhere
    }
    let answer = if found.unclear { Answer::Unknown } else { answer(&levels) };
    Some(Served { uri: uri.to_owned(), place, answer, cache: cache(&levels) })
}

/// The file that a URL leads to.
fn mapped(levels: &[&[Directive]], chain: &[&Directive], files: &impl Files, uri: &str) -> Option<PathBuf> {
    let alias = chain.last().and_then(|location| Some((location, value(&[&location.block], "alias")?)));
    if let Some((location, alias)) = alias {
        let rest = uri.strip_prefix(location.args.last()?.as_str())?;
        return Some(files::real(files, &Path::new(alias).join(rest.trim_start_matches('/'))));
    }
    let root = value(levels, "root").filter(|root| !root.contains('$'))?;
    Some(files::real(files, &Path::new(root).join(uri.trim_start_matches('/'))))
}

/// The first argument of a directive, from the innermost level that has it.
fn value<'a>(levels: &[&'a [Directive]], name: &str) -> Option<&'a str> {
    directive(levels, name)?.args.first().map(String::as_str)
}

fn directive<'a>(levels: &[&'a [Directive]], name: &str) -> Option<&'a Directive> {
    levels.iter().rev().find_map(|level| level.iter().rfind(|directive| directive.name == name))
}

fn cache(levels: &[&[Directive]]) -> Option<(Cache, String)> {
    let set = directive(levels, "open_file_cache")?;
    if set.args.first().is_none_or(|word| word == "off") {
        return None;
    }
    let errors = value(levels, "open_file_cache_errors") == Some("on");
    Some((Cache { errors }, set.place.clone()))
}

/// In the order of nginx: rewrite phase, access phase, content.
fn answer(levels: &[&[Directive]]) -> Answer {
    let own = levels.last().copied().unwrap_or_default();
    let refuses = |level: &[Directive]| {
        level.iter().any(|directive| {
            directive.name == "return" && directive.args.first().is_some_and(|code| code.starts_with('4'))
        })
    };
    let access = levels
        .iter()
        .rev()
        .find_map(|level| level.iter().find(|directive| matches!(directive.name.as_str(), "allow" | "deny")));
    let denied = access.is_some_and(|rule| rule.name == "deny" && rule.args.first().is_some_and(|who| who == "all"));
    let passes = |names: &[&str]| own.iter().any(|directive| names.contains(&directive.name.as_str()));
    if refuses(own) || denied || passes(&["internal"]) {
        return Answer::Refused;
    }
    if passes(&["fastcgi_pass", "uwsgi_pass", "scgi_pass"]) {
        return Answer::Runs;
    }
    if passes(&["proxy_pass"]) { Answer::Unknown } else { Answer::Sent }
}

/// The location that was found, with those around it.
#[derive(Default)]
struct Found<'a> {
    chain: Vec<&'a Directive>,
    /// An exact match or a regular expression: what is further out is not asked any more.
    last: bool,
    /// A regular expression that could have matched before it cannot be read.
    unclear: bool,
}

/// As `ngx_http_core_find_location`: exact, then the longest prefix and what is in it, then regular expressions in
/// their order unless the prefix forbids them.
fn find<'a>(level: &'a [Directive], uri: &str) -> Found<'a> {
    let locations: Vec<(&str, &str, &Directive)> = level.iter().filter_map(location).collect();
    if let Some((_, _, exact)) = locations.iter().find(|(how, what, _)| *how == "=" && *what == uri) {
        return Found { chain: vec![exact], last: true, unclear: false };
    }
    let prefixes = locations.iter().filter(|(how, what, _)| matches!(*how, "" | "^~") && uri.starts_with(what));
    let longest = prefixes.max_by_key(|(_, what, _)| what.len());
    let mut found = Found::default();
    if let Some((_, _, prefix)) = longest {
        found = find(&prefix.block, uri);
        found.chain.insert(0, prefix);
        if found.last {
            return found;
        }
    }
    if longest.is_some_and(|(how, _, _)| *how == "^~") {
        return found;
    }
    let mut unclear = false;
    for (how, what, regex) in locations.iter().filter(|(how, _, _)| matches!(*how, "~" | "~*")) {
        match RegexBuilder::new(what).case_insensitive(*how == "~*").build() {
            Ok(pattern) if pattern.is_match(uri) => {
                let mut inner = find(&regex.block, uri);
                inner.chain.insert(0, regex);
                return Found { last: true, unclear: inner.unclear || unclear, ..inner };
            }
            Ok(_) => {}
            // What PCRE alone understands.
            Err(_) => unclear = true,
        }
    }
    Found { unclear: found.unclear || unclear, ..found }
}

fn location(directive: &Directive) -> Option<(&str, &str, &Directive)> {
    match (directive.name.as_str(), &directive.args[..]) {
        ("location", [what]) if !what.starts_with('@') => Some(("", what, directive)),
        ("location", [how, what]) => Some((how, what, directive)),
        _ => None,
    }
}
