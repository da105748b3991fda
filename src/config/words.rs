//! `-o a,b=c` as a list of words. Nothing is known here about what they mean.

use super::Error;

/// One option as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Word {
    /// As written, without leading dashes.
    pub name: String,
    pub value: Option<String>,
}

impl Word {
    pub fn flag(name: &str) -> Self {
        Self { name: name.to_owned(), value: None }
    }

    pub fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: Some(value.to_owned()) }
    }

    /// The name with all dashes as underscores, which are equal everywhere.
    pub fn normal(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// Splits the argument of `-o`. A backslash keeps a comma, a quote or a backslash in the value; so do quotes around a
/// value. Empty words are nothing. Leading dashes are dropped: some peers' fstab lines have them.
pub fn split(text: &str) -> Result<Vec<Word>, Error> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        let mut name = String::new();
        let mut value: Option<String> = None;
        let mut quote = None;
        while let Some(c) = chars.next() {
            match (c, quote, &mut value) {
                (',', None, _) => break,
                ('=', None, None) => value = Some(String::new()),
                ('"' | '\'', None, Some(so_far)) if so_far.is_empty() => quote = Some(c),
                (c, Some(open), _) if c == open => quote = None,
                (c, _, slot) => {
                    let escaped = if c == '\\' { chars.next_if(|next| ",\\\"'".contains(*next)) } else { None };
                    slot.as_mut().unwrap_or(&mut name).push(escaped.unwrap_or(c));
                }
            }
        }
        if quote.is_some() {
            return Err(Error::new(format!("{name}: the quote is not closed")));
        }
        let name = name.trim_start_matches('-');
        if name.is_empty() && value.is_some() {
            return Err(Error::new(format!("an option without a name: ={}", value.unwrap_or_default())));
        }
        if !name.is_empty() {
            words.push(Word { name: name.to_owned(), value });
        }
    }
    Ok(words)
}

/// A value that [`split`] reads as it is.
pub fn escape(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        if ",\\\"'".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[(&str, Option<&str>)]) {
        let words = split(text).unwrap();
        let got: Vec<_> = words.iter().map(|word| (word.name.as_str(), word.value.as_deref())).collect();
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn words_and_values() {
        check("", &[]);
        check("ro", &[("ro", None)]);
        check("ro,uid=33,,gid=", &[("ro", None), ("uid", Some("33")), ("gid", Some(""))]);
        check("url=http://h/?a=b", &[("url", Some("http://h/?a=b"))]);
        check("--file-mode=0666", &[("file-mode", Some("0666"))]);
    }

    #[test]
    fn commas_can_be_kept() {
        check(r"a=x\,y,b", &[("a", Some("x,y")), ("b", None)]);
        check(r#"a="x,y",b='p,"q"'"#, &[("a", Some("x,y")), ("b", Some("p,\"q\""))]);
        check(r"a=C:\dir\\x", &[("a", Some(r"C:\dir\x"))]);
        check(r"a=it's,b", &[("a", Some("it's")), ("b", None)]);
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(split("a=\"x,y").unwrap_err().to_string(), "a: the quote is not closed");
        assert_eq!(split("ro,=5").unwrap_err().to_string(), "an option without a name: =5");
    }

    proptest! {
        #[test]
        fn escaped_values_come_back(value in "\\PC*") {
            let text = format!("a={},b", escape(&value));
            prop_assert_eq!(split(&text).unwrap(), vec![Word::new("a", &value), Word::flag("b")]);
        }

        #[test]
        fn no_text_panics(text in "\\PC*|[-a=,\"'\\\\]*") {
            split(&text).ok();
        }
    }
}
