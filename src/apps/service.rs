//! What systemd needs for a mount: the name of its unit, and the file with its settings.

use std::{fmt::Write as _, path::Path};

use super::plan::{Keys, Mount};

/// The instance of `originfs@.service` for a directory: its path, escaped as systemd-escape(1) `--path` does
/// (systemd.unit(5), "String escaping for inclusion in unit names").
pub fn instance(directory: &Path) -> String {
    let text = directory.as_os_str().as_encoded_bytes();
    let parts: Vec<_> = text.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return "-".to_owned();
    }
    let mut name = String::new();
    for (at, byte) in parts.join(&b'/').into_iter().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at == 0 => name.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => name.push(char::from(byte)),
            byte => write!(name, "\\x{byte:02x}").expect("a String takes it"),
        }
    }
    name
}

/// The settings of a mount, for `EnvironmentFile=` (systemd.exec(5)). It has the keys, so it is for root alone.
pub fn settings(mount: &Mount, keys: &Keys) -> String {
    let mut lines = vec![("SOURCE", &mount.source), ("OPTIONS", &mount.options)];
    if !keys.access.is_empty() {
        lines.extend([("AWS_ACCESS_KEY_ID", &keys.access), ("AWS_SECRET_ACCESS_KEY", &keys.secret)]);
    }
    let mut text = String::new();
    for (name, value) in lines {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`");
        writeln!(text, "{name}=\"{quoted}\"").expect("a String takes it");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_as_systemd_names_them() {
        for (path, expect) in [
            ("/var/www/html/wp-content/uploads", r"var-www-html-wp\x2dcontent-uploads"),
            ("/srv//a b/", r"srv-a\x20b"),
            ("/.hidden/.x", r"\x2ehidden-.x"),
            ("/", "-"),
            ("/caf\u{e9}", r"caf\xc3\xa9"),
        ] {
            assert_eq!(instance(Path::new(path)), expect);
        }
    }
}
