//! The file that s3fs reads as `ahbe_conf` (s3fs(1)): on each line what a path ends in, or `reg:` and an expression for it,
//! a header, and its value. A line that begins with a blank is for all files.

use std::sync::Arc;

use regex_lite::Regex;

use super::rule::{Field, Rule, is_value};

const REGEX: &str = "reg:";

/// Rules, and what was left out.
#[derive(Debug, Default)]
pub struct Imported {
    pub rules: Vec<Rule>,
    /// One line each.
    pub warnings: Vec<String>,
}

/// Reads such a file. As with s3fs, of two lines for the same header the later one counts. An error is one line that names
/// the line.
pub fn parse(text: &str) -> Result<Imported, String> {
    let mut imported = Imported::default();
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        let (which, rest) = if line.starts_with(char::is_whitespace) { ("", line.trim()) } else { word(line) };
        let (header, value) = word(rest);
        if header.is_empty() {
            return Err(format!("line {number}: there is no header after {which:?}"));
        }
        let Some(field) = Field::parse(header) else {
            imported
                .warnings
                .push(format!("line {number}: {header} is left out: a bucket does not keep it, or it is ours"));
            continue;
        };
        if !is_value(value) {
            return Err(format!("line {number}: {value:?} is nothing that a header can carry"));
        }
        if field == Field::ContentEncoding && [".gz", ".tgz"].iter().any(|end| which.ends_with(end)) {
            let why = "browsers will unpack what they download";
            imported.warnings.push(format!("line {number}: {header} for {which}: {why}"));
        }
        let mut rule = Rule { set: vec![(field, Some(value.to_owned()))], ..Rule::default() };
        if which.get(..REGEX.len()).is_some_and(|start| start.eq_ignore_ascii_case(REGEX)) {
            let regex = Regex::new(&which[REGEX.len()..]).map_err(|err| format!("line {number}: {err}"))?;
            rule.regex = Some(Arc::new(regex));
        } else if !which.is_empty() {
            rule.suffix = Some(which.to_owned());
        }
        imported.rules.push(rule);
    }
    Ok(imported)
}

/// The first word, and the rest.
fn word(line: &str) -> (&str, &str) {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word, rest.trim())
}

#[cfg(test)]
mod tests {
    use super::{super::rule::Facts, *};

    fn of(rules: &[Rule], path: &str) -> Vec<(Field, Option<String>)> {
        let facts = Facts { path, content_type: "text/plain", size: 1, hashed: false, public: true };
        rules.iter().filter(|rule| rule.applies(&facts)).flat_map(|rule| rule.set.clone()).collect()
    }

    #[test]
    fn a_file_of_s3fs_means_the_same() {
        let text = "# comment\n\n.jpg\tCache-Control  max-age=60, public\nreg:^/MYDIR/(.*)[.]t2$ Content-Language de\n \
                    x-amz-meta-site  all\n.gz Content-Encoding gzip\n.png x-amz-acl private\n";
        let imported = parse(text).unwrap();
        let all = (Field::User("site".to_owned()), Some("all".to_owned()));
        let cached = (Field::CacheControl, Some("max-age=60, public".to_owned()));
        let german = (Field::ContentLanguage, Some("de".to_owned()));
        assert_eq!(of(&imported.rules, "a/b.jpg"), [cached, all.clone()]);
        assert_eq!(of(&imported.rules, "MYDIR/x.t2"), [german, all.clone()]);
        assert_eq!(of(&imported.rules, "x/MYDIR/x.t2"), [all]);
        assert_eq!(imported.warnings.len(), 2, "{:?}", imported.warnings);
    }

    #[test]
    fn lines_that_mean_nothing_are_named() {
        for (text, part) in [
            ("\n.jpg", "line 2: there is no header after \".jpg\""),
            (".jpg Cache-Control", "line 1: \"\" is nothing"),
            ("reg:( Cache-Control a", "line 1: "),
        ] {
            let err = parse(text).unwrap_err();
            assert!(err.contains(part), "{err}");
        }
    }
}
