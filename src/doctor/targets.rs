//! What is to be mounted on this host, and where that is written down: fstab, and the settings of services.

use std::path::{Path, PathBuf};

use super::{
    files::{self, Files},
    tables::{self, Line},
};
use crate::{
    apps::service,
    config::{
        cdn::Cdn,
        file::File,
        words::{self, Word},
    },
};

/// Where the settings of services are, one file for each instance of `originfs@.service`.
const SETTINGS: &str = "/etc/originfs";

/// One mount, as far as it is known.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Target {
    pub source: String,
    /// As configured; `None` for a bucket alone.
    pub dir: Option<PathBuf>,
    /// As after `-o`.
    pub options: String,
    /// The environment of its process.
    pub env: Vec<(String, String)>,
    pub fstab: Option<Line>,
    /// The file with the settings of the service.
    pub settings: Option<PathBuf>,
    /// The process that serves it.
    pub process: Option<u32>,
    /// What its file says of a CDN.
    pub cdn: Vec<Cdn>,
}

impl Target {
    /// What findings call it.
    pub fn subject(&self) -> String {
        self.dir.as_ref().map_or_else(|| self.source.clone(), |dir| dir.display().to_string())
    }

    /// Whether it is known how it is mounted: of a process that is gone and was started by hand only the source is.
    pub fn is_known(&self) -> bool {
        self.dir.is_none() || self.process.is_some() || self.fstab.is_some() || self.settings.is_some()
    }

    /// The unit of its service.
    pub fn unit(&self) -> Option<String> {
        self.settings.as_ref()?;
        Some(format!("originfs@{}.service", service::instance(self.dir.as_ref()?)))
    }

    /// The command that mounts it, as it is configured.
    pub fn mount_command(&self) -> String {
        if !self.is_known() {
            return "originfs mount ... as before".to_owned();
        }
        match (self.unit(), &self.dir) {
            (Some(unit), _) => format!("systemctl restart {}", super::finding::quoted(&unit)),
            (None, Some(dir)) => format!("mount {}", super::finding::quoted(&dir.display().to_string())),
            (None, None) => "originfs mount ...".to_owned(),
        }
    }

    /// The bucket alone.
    pub fn bucket(&self) -> &str {
        let rest = self.source.strip_prefix("s3://").unwrap_or(&self.source);
        let named = self.options.split(',').find_map(|option| option.strip_prefix("bucket="));
        named.unwrap_or_else(|| rest.split([':', '/']).next().unwrap_or_default())
    }
}

/// All mounts that are configured.
pub fn configured(files: &impl Files) -> Vec<Target> {
    let lines = tables::fstab(files).into_iter().filter(Line::is_ours);
    let mut all: Vec<Target> = lines.map(|line| completed(files, of_fstab(line))).collect();
    for path in files::glob(files, &Path::new(SETTINGS).join("*.env")) {
        let Some(target) = files.read(&path).and_then(|text| of_settings(&path, &text)) else { continue };
        add(&mut all, completed(files, target));
    }
    all
}

/// With what the file says that the option `config` names. Without one that can be read, as it is.
fn completed(files: &impl Files, mut target: Target) -> Target {
    let (named, mut rest): (Vec<Word>, Vec<Word>) =
        words::split(&target.options).unwrap_or_default().into_iter().partition(|word| word.name == "config");
    let Some(path) = named.last().and_then(|word| word.value.as_deref()).map(Path::new) else { return target };
    let Some(file) = files.read(path).and_then(|text| File::parse(&text).ok()) else { return target };
    let base = path.parent().unwrap_or(Path::new("/"));
    let Ok(mut all) = file.words(path) else { return target };
    target.cdn = file.cdn.iter().map(|cdn| cdn.clone().resolved(base)).collect();
    if target.fstab.is_some() {
        // mount(8) adds it where nobody wrote it.
        rest.retain(|word| word.name != "rw");
    }
    all.extend(rest);
    target.options = all.iter().map(written).collect::<Vec<_>>().join(",");
    if let Some(source) = file.source.filter(|_| target.source.is_empty()) {
        target.source = source;
    }
    target
}

/// A word of `-o` that reads as this one.
pub fn written(word: &Word) -> String {
    let Some(value) = &word.value else { return word.name.clone() };
    let mut text = format!("{}=", word.name);
    for c in value.chars() {
        text.extend(",\\\"'".contains(c).then_some('\\'));
        text.push(c);
    }
    text
}

/// Adds a target, or what it knows more of one that is there. What a service or a process says counts more.
pub fn add(all: &mut Vec<Target>, target: Target) {
    let Some(same) = all.iter_mut().find(|other| other.dir.is_some() && other.dir == target.dir) else {
        all.push(target);
        return;
    };
    same.settings = target.settings.or(same.settings.take());
    same.process = target.process.or(same.process);
    (same.source, same.options, same.env) = (target.source, target.options, target.env);
    same.cdn = target.cdn;
}

fn of_fstab(line: Line) -> Target {
    Target {
        source: line.source.clone(),
        dir: Some(line.dir.clone()),
        options: line.options.clone(),
        fstab: Some(line),
        ..Target::default()
    }
}

/// A file of assignments, which the service has sh read.
fn of_settings(path: &Path, text: &str) -> Option<Target> {
    let dir = unescape(path.file_stem()?.to_str()?);
    let mut target = Target { dir: Some(dir), settings: Some(path.to_owned()), ..Target::default() };
    for line in text.lines() {
        let line = line.trim();
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with(['#', ';'])) else { continue };
        let value = unquote(value.trim());
        match name.trim() {
            "SOURCE" => target.source = value,
            "OPTIONS" => target.options = value,
            name => target.env.push((name.to_owned(), value)),
        }
    }
    (!target.source.is_empty()).then_some(target)
}

fn unquote(value: &str) -> String {
    let inner = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(text) = inner('\'') {
        return text.to_owned();
    }
    let (quoted, mut text) = (inner('"'), String::new());
    let mut chars = quoted.unwrap_or(value).chars().peekable();
    while let Some(c) = chars.next() {
        // Between double quotes a backslash before other characters is itself (POSIX XCU 2.2.3).
        let escapes = c == '\\' && (quoted.is_none() || chars.peek().is_some_and(|next| "$`\"\\".contains(*next)));
        text.extend(if escapes { chars.next() } else { Some(c) });
    }
    text
}

/// The directory of an instance, as `systemd-escape --unescape --path` does.
fn unescape(instance: &str) -> PathBuf {
    let mut bytes = vec![b'/'];
    let mut rest = instance.as_bytes();
    if rest == b"-" {
        return PathBuf::from("/");
    }
    while let Some((&first, after)) = rest.split_first() {
        let code = rest.strip_prefix(b"\\x").and_then(|digits| std::str::from_utf8(digits.get(..2)?).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(if first == b'-' { b'/' } else { first }));
        rest = if code.is_some() { &rest[4..] } else { after };
    }
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::files::Fixture, *};
    use crate::apps::plan::Mount;

    #[test]
    fn values_are_what_sh_makes_of_them() {
        for (value, expect) in [
            (r"a\x2db", "ax2db"),
            (r#""a\x2db""#, r"a\x2db"),
            (r#""a\xb\$c\"""#, r#"a\xb$c""#),
            (r"'a\b'", r"a\b"),
            (r"a\,b", "a,b"),
        ] {
            assert_eq!(unquote(value), expect, "{value}");
        }
    }

    #[test]
    fn words_pass_on_as_they_were_meant() {
        for list in ["ro,uid=33", r"log_file=/a\,b", r#"x="a,b\"c""#, "local=*.log:php"] {
            let words = words::split(list).unwrap();
            let again: Vec<Word> = words.iter().flat_map(|word| words::split(&written(word)).unwrap()).collect();
            assert_eq!(again, words, "{list}");
        }
    }

    #[test]
    fn fstab_and_services_are_found_and_joined() {
        let files = Fixture::new(&[
            (
                "/etc/fstab",
                "site:/a /srv/a originfs ro 0 0\nsite:/b /srv/b fuse.originfs defaults 0 0\n/dev/sda / ext4 defaults 0 1\n",
            ),
            (
                "/etc/originfs/srv-b.env",
                "# keys\nSOURCE=site:/b2\nOPTIONS=\"uid=33,local=*.log\"\nAWS_ACCESS_KEY_ID='a b'\n",
            ),
            ("/etc/originfs/broken.env", "OPTIONS=x\n"),
        ]);
        let all = configured(&files);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].source.as_str(), all[0].options.as_str(), all[0].unit()), ("site:/a", "ro", None));
        let b = &all[1];
        assert_eq!((b.source.as_str(), b.options.as_str()), ("site:/b2", "uid=33,local=*.log"));
        assert!(b.fstab.is_some());
        assert_eq!(b.unit().as_deref(), Some("originfs@srv-b.service"));
        assert_eq!(b.env, [("AWS_ACCESS_KEY_ID".to_owned(), "a b".to_owned())]);
    }

    #[test]
    fn what_apply_writes_is_read() {
        let mount = Mount {
            directory: "/srv/a-b/.c d".into(),
            source: "site:/x".into(),
            options: r#"local=a"b\,$c"#.into(),
            unit: String::new(),
            holds: 0,
            mounted: false,
            private: Vec::new(),
        };
        let (env, toml) = ("/etc/originfs/srv-a\\x2db-.c\\x20d.env", "/etc/originfs/srv.toml");
        let configuration = service::configuration(&mount, Path::new("/srv"), Some("srv.passwd")).unwrap();
        let environment = service::environment(&mount, Path::new(toml));
        let files = Fixture::new(&[(env, &environment), (toml, &configuration)]);
        let all = configured(&files);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].dir.as_deref(), Some(mount.directory.as_path()));
        assert_eq!(all[0].source, mount.source);
        let words = words::split(&all[0].options).unwrap();
        let expect = [
            words::split(&mount.options).unwrap().remove(0),
            Word::flag("nofail"),
            Word::new("passwd_file", "/etc/originfs/srv.passwd"),
        ];
        assert_eq!(words, expect);
    }

    #[test]
    fn words_are_written_as_they_are_read() {
        let all = [Word::flag("ro"), Word::new("local", r#"a,b\c"d'"#), Word::new("endpoint", "http://h/?a=b")];
        let text = all.iter().map(written).collect::<Vec<_>>().join(",");
        assert_eq!(words::split(&text).unwrap(), all);
    }

    #[test]
    fn buckets_of_sources() {
        for (source, options, bucket) in
            [("site", "", "site"), ("site:/a", "", "site"), ("s3://site/a", "", "site"), ("none", "ro,bucket=b", "b")]
        {
            let target = Target { source: source.into(), options: options.into(), ..Target::default() };
            assert_eq!(target.bucket(), bucket, "{source}");
        }
    }
}
