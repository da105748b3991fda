//! What a service needs for a mount: the name of its unit, and the file with its configuration.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use toml::Value;

use super::plan::Mount;
use crate::config::words;

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

/// The first line of what `apply` wrote; what has another one is somebody else's.
pub const MARK: &str = "# Written by originfs apply; what is changed here is lost at the next run.";

/// The configuration of a mount for [`File`](crate::config::file::File). It has no keys; `passwd` is the name of the file
/// beside it that has them.
pub fn configuration(mount: &Mount, site: &Path, passwd: Option<&str>) -> Result<String, String> {
    let quoted = |text: &str| Value::from(text).to_string();
    let path = |path: &Path| {
        let text = path.to_str().ok_or_else(|| format!("{}: the path is not UTF-8", path.display()))?;
        Ok::<_, String>(quoted(text))
    };
    let mut text = format!("{MARK}\nsite = {}\nsource = {}\n", path(site)?, quoted(&mount.source));
    writeln!(text, "directory = {}\n\n[options]", path(&mount.directory)?).expect("a String takes it");
    let mut options = BTreeMap::new();
    for word in words::split(&mount.options).map_err(|err| err.to_string())? {
        // A file has each name once, and later words win.
        options.insert(word.name, word.value);
    }
    options.entry("nofail".to_owned()).or_insert(None);
    if let Some(passwd) = passwd {
        options.insert("passwd_file".to_owned(), Some(passwd.to_owned()));
    }
    for (name, value) in options {
        let value = value.map_or_else(|| "true".to_owned(), |value| quoted(&value));
        writeln!(text, "{} = {value}", key(&name)).expect("a String takes it");
    }
    Ok(text)
}

/// The environment of the unit, as assignments of sh; it mounts what the two variables say.
pub fn environment(mount: &Mount, configuration: &Path) -> String {
    let options = words::escape(&configuration.to_string_lossy());
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`");
    format!("{MARK}\nSOURCE=\"{}\"\nOPTIONS=\"config={}\"\n", quoted(&mount.source), quoted(&options))
}

/// Bare where TOML allows it.
fn key(name: &str) -> String {
    let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { name.to_owned() } else { Value::from(name).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::File;

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

    #[test]
    fn a_unit_is_led_to_the_configuration() {
        let mount = Mount { source: "site:/a$b".to_owned(), ..Mount::default() };
        let text = environment(&mount, Path::new(r"/etc/originfs/a\x2db.toml"));
        let expect = "SOURCE=\"site:/a\\$b\"\nOPTIONS=\"config=/etc/originfs/a\\\\\\\\x2db.toml\"\n";
        assert_eq!(text, format!("{MARK}\n{expect}"));
    }

    #[test]
    fn a_configuration_says_what_the_options_say() {
        let mount = Mount {
            directory: "/srv/a \"b\"".into(),
            source: "site:/a".to_owned(),
            options: r"uid=www-data,local=*.log,log_file=/a\,b,ro,env.A=b".to_owned(),
            ..Mount::default()
        };
        let text = configuration(&mount, Path::new("/srv"), Some("x.passwd")).unwrap();
        let file = File::parse(&text).unwrap();
        assert_eq!(file.source.as_deref(), Some("site:/a"));
        assert_eq!(
            (file.directory.as_deref(), file.site.as_deref()),
            (Some(mount.directory.as_path()), Some(Path::new("/srv")))
        );
        let words: Vec<_> = file
            .words(Path::new("/etc/site.toml"))
            .unwrap()
            .into_iter()
            .map(|word| (word.name, word.value.unwrap_or_default()))
            .collect();
        let expect = [
            ("env.A", "b"),
            ("local", "*.log"),
            ("log_file", "/a,b"),
            ("nofail", ""),
            ("passwd_file", "/etc/x.passwd"),
            ("ro", ""),
            ("uid", "www-data"),
        ];
        assert_eq!(words, expect.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(text.starts_with(MARK));
    }
}
