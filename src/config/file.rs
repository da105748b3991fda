//! A mount in a file of its own, such as `/etc/originfs/NAME.toml`: for units and for lines of fstab that stay short.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Value;

use super::{
    Error,
    cdn::Cdn,
    table::{self, Kind},
    words::Word,
};

/// The option that names a file with rules.
const HEADERS: &str = "headers";

/// What a file says. All of it can be said on the command line, too, and wins there.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    pub source: Option<String>,
    /// Where to mount.
    pub directory: Option<PathBuf>,
    /// The webroot of the site for which `originfs apply` wrote the file.
    pub site: Option<PathBuf>,
    /// The CDN in front of the mount.
    pub cdn: Vec<Cdn>,
    /// Rules for headers. What they mean is read where the option `headers` names the file; here they only say that it does.
    rule: Vec<Value>,
    /// Those of a mount, under the names that they have after `-o`.
    options: BTreeMap<String, Value>,
}

impl File {
    /// Reads `path`. An error is one line that names the file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |why: &dyn std::fmt::Display| Error::new(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|err| wrong(&err))?;
        Self::parse(&text).map_err(|err| wrong(&err))
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, Error> {
        toml::from_str(text).map_err(|err| Error::new(one_line(&err.to_string())))
    }

    /// The options as words of `-o`, of the file at `path`. Relative paths are relative to its directory: so a tree that is
    /// made in one place works in another.
    pub fn words(&self, path: &Path) -> Result<Vec<Word>, Error> {
        let base = path.parent().unwrap_or(Path::new("/"));
        let mut words = Vec::new();
        for (name, value) in &self.options {
            match value {
                // `env.AWS_PROFILE = "web"` is a table of TOML.
                Value::Table(table) => {
                    for (inner, value) in table {
                        words.push(word(&format!("{name}.{inner}"), value, base)?);
                    }
                }
                value => words.push(word(name, value, base)?),
            }
        }
        if !self.rule.is_empty() {
            words.push(own_rules(path, &words)?);
        }
        Ok(words)
    }
}

/// The rules of the file itself, which has `words`.
fn own_rules(path: &Path, words: &[Word]) -> Result<Word, Error> {
    let named = |word: &&Word| table::find(&word.normal()).is_some_and(|(row, _)| row.name == HEADERS);
    if let Some(other) = words.iter().find(named) {
        return Err(Error::new(format!("rules are in this file, and {} names others", other.name)));
    }
    if path.extension().is_none_or(|extension| extension != "toml") {
        return Err(Error::new("a file with rules must have a name that ends in .toml"));
    }
    let path = path.to_str().ok_or_else(|| Error::new("the path is not UTF-8"))?;
    Ok(Word::new(HEADERS, path))
}

fn word(name: &str, value: &Value, base: &Path) -> Result<Word, Error> {
    let text = match value {
        // As an option that is named and has no value, which some aliases make more of than "true".
        Value::Boolean(true) => return Ok(Word::flag(name)),
        Value::Boolean(false) => "false".to_owned(),
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        other => return Err(Error::new(format!("{name}: a {} is no value of an option", other.type_str()))),
    };
    let word = Word::new(name, &text);
    match table::find(&word.normal()) {
        Some((row, _)) if row.kind == Kind::Path && !text.is_empty() => {
            let path = base.join(&text);
            let path = path.to_str().ok_or_else(|| Error::new(format!("{name}: the path is not UTF-8")))?;
            Ok(Word::new(name, path))
        }
        _ => Ok(word),
    }
}

/// What TOML complains about, without its drawing of the line.
pub fn one_line(complaint: &str) -> String {
    complaint.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Vec<Word>, String> {
        let file = File::parse(text).map_err(|err| err.to_string())?;
        file.words(Path::new("/etc/originfs/a.toml")).map_err(|err| err.to_string())
    }

    #[test]
    fn a_file_is_source_directory_and_options() {
        let text = "source = 'site:/images'\ndirectory = '/var/www/html/images'\n\n[options]\nuid = 33\nro = true\n";
        let file = File::parse(text).unwrap();
        assert_eq!(file.source.as_deref(), Some("site:/images"));
        assert_eq!(file.directory.as_deref(), Some(Path::new("/var/www/html/images")));
        assert_eq!(words(text).unwrap(), [Word::flag("ro"), Word::new("uid", "33")]);
        assert_eq!(words("[options]\nenv.AWS_PROFILE = 'web'").unwrap(), [Word::new("env.AWS_PROFILE", "web")]);
        assert_eq!(File::parse("").unwrap(), File::default());
    }

    #[test]
    fn relative_paths_are_those_beside_the_file() {
        let text = "[options]\npasswd-file = 'a.passwd'\nlog_file = '/var/log/a'\n";
        let expect = [Word::new("log_file", "/var/log/a"), Word::new("passwd-file", "/etc/originfs/a.passwd")];
        assert_eq!(words(text).unwrap(), expect);
    }

    #[test]
    fn rules_are_those_of_the_file_itself() {
        let rule = "[[rule]]\nnames = ['*.pdf']\ncache_control = 'no-store'\n";
        assert_eq!(words(rule).unwrap(), [Word::new("headers", "/etc/originfs/a.toml")]);
        for option in ["headers", "ahbe_conf"] {
            let err = words(&format!("[options]\n{option} = 'b'\n{rule}")).unwrap_err();
            assert!(err.contains(option), "{err}");
        }
        let file = File::parse(rule).unwrap();
        assert!(file.words(Path::new("/etc/originfs/a.conf")).unwrap_err().to_string().contains(".toml"));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, part) in [
            ("sauce = 'x'", "unknown field `sauce`"),
            ("[options]\nlocal = ['a']", "local: a array is no value"),
            ("source = ", "TOML parse error"),
        ] {
            let err = words(text).unwrap_err();
            assert!(err.contains(part) && !err.contains('\n'), "{err}");
        }
        assert!(File::read(Path::new("/nonexistent/a.toml")).unwrap_err().to_string().starts_with("/nonexistent/a.t"));
    }
}
