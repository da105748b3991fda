//! Rules as an administrator writes them, in TOML.

use glob::Pattern;
use serde::{Deserialize, de::IgnoredAny};

use super::rule::{Field, Rule, is_value};
use crate::{
    config::{self, file::one_line},
    model::patterns::List,
};

/// What stands for "not sent".
const NONE: &str = "none";

/// It may be the file of a mount, of which the rest is read elsewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rule: Vec<Written>,
    #[serde(rename = "source")]
    _source: Option<IgnoredAny>,
    #[serde(rename = "directory")]
    _directory: Option<IgnoredAny>,
    #[serde(rename = "site")]
    _site: Option<IgnoredAny>,
    #[serde(rename = "cdn")]
    _cdn: Option<IgnoredAny>,
    #[serde(rename = "options")]
    _options: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    names: Vec<String>,
    types: Vec<String>,
    min_size: Option<String>,
    max_size: Option<String>,
    hashed: Option<bool>,
    cache_control: Option<String>,
    content_type: Option<String>,
    content_disposition: Option<String>,
    content_encoding: Option<String>,
    content_language: Option<String>,
}

/// Reads the rules of `text`. An error is one line that says which rule is wrong.
pub fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let file: File = toml::from_str(text).map_err(|err| one_line(&err.to_string()))?;
    let rules = (1..).zip(file.rule);
    rules.map(|(number, rule)| rule.read().map_err(|why| format!("rule {number}: {why}"))).collect()
}

impl Written {
    fn read(self) -> Result<Rule, String> {
        let names = if self.names.is_empty() {
            None
        } else {
            Some(List::parse(&self.names.join(":")).map_err(|bad| bad.to_string())?)
        };
        let types = self.types.iter().map(|text| Pattern::new(text).map_err(|err| format!("{text:?}: {}", err.msg)));
        let size = |name: &str, text: Option<String>| match text {
            Some(text) => config::bytes(&text).map(Some).ok_or(format!("{name}: {text:?} is no size such as 1MiB")),
            None => Ok(None),
        };
        let fields = [
            (Field::CacheControl, self.cache_control),
            (Field::ContentType, self.content_type),
            (Field::ContentDisposition, self.content_disposition),
            (Field::ContentEncoding, self.content_encoding),
            (Field::ContentLanguage, self.content_language),
        ];
        let mut set = Vec::new();
        for (field, value) in fields {
            match value.as_deref() {
                None => {}
                Some(NONE) => set.push((field, None)),
                Some(text) if is_value(text) => set.push((field, value)),
                Some(text) => return Err(format!("{text:?} is nothing that a header can carry")),
            }
        }
        if set.is_empty() {
            return Err("it sets no header".to_owned());
        }
        Ok(Rule {
            names,
            types: types.collect::<Result<_, _>>()?,
            min_size: size("min_size", self.min_size)?,
            max_size: size("max_size", self.max_size)?,
            hashed: self.hashed,
            set,
            ..Rule::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_in_their_order() {
        let text = "[[rule]]\nnames = ['*.pdf', 'downloads/**']\ncache_control = 'no-store'\n\n[[rule]]\ntypes = \
                    ['image/*']\nmin_size = '1MiB'\nhashed = false\ncache_control = 'none'\ncontent_language = 'de'\n";
        let rules = parse(text).unwrap();
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0].set, [(Field::CacheControl, Some("no-store".to_owned()))]);
        assert_eq!(rules[0].names.as_ref().unwrap().texts().collect::<Vec<_>>(), ["*.pdf", "downloads/**"]);
        let language = (Field::ContentLanguage, Some("de".to_owned()));
        assert_eq!(rules[1].set, [(Field::CacheControl, None), language]);
        assert_eq!((rules[1].min_size, rules[1].max_size, rules[1].hashed), (Some(1 << 20), None, Some(false)));
    }

    #[test]
    fn the_file_of_a_mount_may_have_them() {
        let text = "source = 'site'\ndirectory = '/srv'\nsite = '/srv'\n[options]\nuid = 33\nenv.A = 'b'\n[[cdn]]\nvendor = \
                    'http'\n[[rule]]\ncache_control = 'no-store'\n";
        assert_eq!(parse(text).unwrap().len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("", "missing field `rule`"),
            ("[[rule]]\nnames = ['a']", "rule 1: it sets no header"),
            ("[[rule]]\ncache-control = 'a'", "unknown field `cache-control`"),
            ("[[rule]]\ncache_control = ''", "nothing that a header can carry"),
            ("[[rule]]\nnames = ['[']\ncache_control = 'a'", "rule 1: pattern \"[\""),
            ("[[rule]]\nmin_size = 'big'\ncache_control = 'a'", "min_size: \"big\" is no size"),
            ("[[rule]]\ntypes = ['[']\ncache_control = 'a'", "invalid range pattern"),
        ] {
            let err = parse(text).unwrap_err();
            assert!(err.contains(part) && !err.contains('\n'), "{err}");
        }
    }
}
