//! Patterns of names as web servers and CDNs have them: expressions and wildcards that are held against URLs.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// How a program shows a path to an expression.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Spelling {
    /// Percent-encoding is undone (nginx, Apache).
    Decoded,
    /// As it came, where no unreserved character is encoded (Varnish, `CloudFront`).
    Raw,
}

/// A regular expression, without anchors, for what a pattern of [`crate::model::patterns::List`] matches. Letters are to
/// be compared in any case.
pub(super) fn regex(pattern: &str, spelling: Spelling) -> String {
    let any = if spelling == Spelling::Raw { "(?:%[0-9a-f][0-9a-f]|[^/])" } else { "[^/]" };
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '*' if rest == "**" => {
                text.push_str(".*");
                ""
            }
            '*' if rest.starts_with("**/") => {
                text.push_str("(?:.*/)?");
                &rest["**/".len()..]
            }
            '*' => {
                text.push_str("[^/]*");
                after
            }
            '?' => {
                text.push_str(any);
                after
            }
            '[' => {
                let (class, after) = class(after);
                text.push_str(class.as_deref().unwrap_or(any));
                after
            }
            c => {
                text.push_str(&literal(c, spelling));
                after
            }
        };
    }
    text
}

/// A path as an expression, with nothing in it that means something else.
pub(super) fn regex_of_path(path: &str) -> String {
    path.chars().map(|c| literal(c, Spelling::Decoded)).collect()
}

/// What stands after a bracket, as a class, and what follows it. `None`: it has more than letters, digits and their
/// ranges, so any character is taken. Rather too much is kept from the public than too little.
fn class(inner: &str) -> (Option<String>, &str) {
    // A bracket right at the start is a character of the class.
    let start = inner.bytes().take_while(|b| b"!]".contains(b)).count().min(2);
    let end = inner[start..].find(']').map_or(inner.len(), |at| at + start);
    let (body, after) = (&inner[..end], inner.get(end + 1..).unwrap_or_default());
    let plain = !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (plain.then(|| format!("[{body}]")), after)
}

/// Backslashes would have to be doubled in some configurations and not in others, so there are none.
fn literal(c: char, spelling: Spelling) -> String {
    let bare = match c {
        c if c.is_ascii_alphanumeric() || "/-_~".contains(c) => return c.to_string(),
        '.' => return "[.]".to_owned(),
        // They end a string or a class somewhere; any character is taken for them.
        '"' | '\'' | '\\' | '[' | ']' | '^' | ' ' => ".".to_owned(),
        c if c.is_ascii_control() => ".".to_owned(),
        c if c.is_ascii() => format!("[{c}]"),
        c => format!("{c}|{}", c.to_uppercase()),
    };
    match spelling {
        Spelling::Decoded if c.is_ascii() => bare,
        Spelling::Decoded => format!("(?:{bare})"),
        Spelling::Raw => {
            let encoded = |text: String| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
            let (small, large) = (encoded(c.to_string()), encoded(c.to_uppercase().to_string()));
            if c.is_ascii() { format!("(?:{small}|{bare})") } else { format!("(?:{small}|{large})") }
        }
    }
}

/// As Cloudflare has them, where `*` is any text, slashes too. Matches at least what the pattern matches.
pub(super) fn wildcard(pattern: &str) -> String {
    const PATH: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b'*');
    let mut text = String::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '[' => rest = class(rest).1,
            '*' if rest.starts_with("*/") => rest = &rest["*/".len()..],
            '*' | '?' => {}
            c => {
                text.push(c);
                continue;
            }
        }
        if !text.ends_with('*') {
            text.push('*');
        }
    }
    utf8_percent_encode(&text, PATH).to_string()
}

#[cfg(test)]
mod tests {
    use regex_lite::Regex;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, decoded: &[&str], raw: &[&str], not: &[&str]) {
        for (spelling, yes) in [(Spelling::Decoded, decoded), (Spelling::Raw, raw)] {
            let text = regex(pattern, spelling);
            let regex = Regex::new(&format!("(?i)^{text}$")).unwrap();
            for path in yes {
                assert!(regex.is_match(path), "{pattern} as {text} and {path}");
            }
            for path in not {
                assert!(!regex.is_match(path), "{pattern} as {text} and {path}");
            }
            assert!(!text.contains(['"', '\\', ' ']), "{text}");
        }
    }

    #[test]
    fn an_expression_matches_what_the_pattern_does() {
        check("*.php[0-9]", &["a.php5", "A.PHP7"], &["a.php5"], &["a.php", "a/b.php5", "axphp5"]);
        check("invoices/**", &["invoices/a", "invoices/a/b"], &["invoices/a"], &["invoices", "other/a"]);
        check("a/**/b", &["a/b", "a/x/y/b"], &["a/x/b"], &["ab"]);
        check(".*", &[".env"], &[".env"], &["xenv"]);
        check("q?", &["qa"], &["q%20", "qa"], &["q", "q/"]);
        check("a b(1)+$", &["a b(1)+$"], &["a%20b(1)+$", "a%20b%281%29%2B%24"], &["a-b"]);
        check("\u{e4}", &["\u{e4}", "\u{c4}"], &["%C3%A4", "%c3%84"], &["a"]);
        check("x[!a]", &["xb"], &["x%20"], &["x"]);
    }

    #[test]
    fn a_wildcard_matches_at_least_that() {
        for (pattern, expect) in [
            ("*.php[0-9]", "*.php*"),
            ("invoices/**", "invoices/*"),
            ("**/b?", "*b*"),
            ("a b", "a%20b"),
            (".*", ".*"),
            ("a/**/b", "a/*b"),
        ] {
            assert_eq!(wildcard(pattern), expect);
        }
    }
}
