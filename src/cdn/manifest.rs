//! Which files a mount has and where the public reads them, in one list: for programs that build pages, warm caches or
//! compare, and must not ask for each file. Written line by line, so that it may be as long as it likes. Pure, but for
//! where it is written to.

use std::io::{self, Write};

use serde::Serialize;

use super::url::{Token, versioned};

/// How the list is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// An object of JSON for each file, with all that is known.
    #[default]
    Lines,
    /// One object of JSON with a URL for each path, as build tools write it.
    Json,
    /// The same as a PHP array that `include` gives.
    Php,
    /// Path, URL, versioned URL, size, version, modification time and type, with tabs between.
    Tsv,
    /// URLs alone.
    Urls,
}

/// One file.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Line {
    /// From the mount point.
    pub path: String,
    pub key: String,
    pub url: String,
    /// May be cached for a year.
    pub versioned: String,
    /// Bytes.
    pub size: u64,
    /// What follows the bytes; the same on every host.
    pub version: String,
    /// Seconds since 1970, as the bucket has it.
    pub modified: Option<i64>,
    /// `None`: nobody asked.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
}

impl Line {
    /// The line of a file at `url` whose version is `token`.
    pub fn new(path: &str, key: &str, url: String, token: &Token) -> Self {
        Self {
            path: path.to_owned(),
            key: key.to_owned(),
            versioned: versioned(&url, token),
            url,
            size: 0,
            version: token.to_string(),
            modified: None,
            content_type: None,
        }
    }
}

/// A list that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    format: Format,
    /// Where there is one URL, it is the one without the version.
    plain: bool,
    files: u64,
}

impl<W: Write> Writer<W> {
    /// Writes what is before the first file.
    pub fn begin(mut out: W, format: Format, plain: bool) -> io::Result<Self> {
        match format {
            Format::Json => out.write_all(b"{")?,
            Format::Php => out.write_all(b"<?php return [\n")?,
            Format::Lines | Format::Tsv | Format::Urls => {}
        }
        Ok(Self { out, format, plain, files: 0 })
    }

    pub fn line(&mut self, line: &Line) -> io::Result<()> {
        let url = if self.plain { &line.url } else { &line.versioned };
        let out = &mut self.out;
        match self.format {
            Format::Lines => {
                serde_json::to_writer(&mut *out, line)?;
                out.write_all(b"\n")?;
            }
            Format::Json => {
                out.write_all(if self.files == 0 { b"\n" } else { b",\n" })?;
                serde_json::to_writer(&mut *out, &line.path)?;
                out.write_all(b": ")?;
                serde_json::to_writer(&mut *out, url)?;
            }
            Format::Php => writeln!(out, "{} => {},", php(&line.path), php(url))?,
            Format::Urls => writeln!(out, "{url}")?,
            Format::Tsv => {
                let Line { url, versioned, size, version, .. } = line;
                let modified = line.modified.map_or(String::new(), |time| time.to_string());
                let kind = line.content_type.as_deref().unwrap_or_default();
                let path = tsv(&line.path);
                writeln!(out, "{path}\t{url}\t{versioned}\t{size}\t{version}\t{modified}\t{}", tsv(kind))?;
            }
        }
        self.files += 1;
        Ok(())
    }

    /// Hands over what was written so far.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes what is behind the last file; gives how many there were.
    pub fn end(mut self) -> io::Result<(W, u64)> {
        match self.format {
            Format::Json => self.out.write_all(b"\n}\n")?,
            Format::Php => self.out.write_all(b"];\n")?,
            Format::Lines | Format::Tsv | Format::Urls => {}
        }
        self.out.flush()?;
        Ok((self.out, self.files))
    }
}

/// A string of PHP: in single quotes nothing else means anything (PHP manual, "Strings").
fn php(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// As databases read it: what would end a field or a line is written with a backslash.
fn tsv(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> [Line; 2] {
        let token = Token::parse("0123456789ab").unwrap();
        let odd = Line::new("it's\t\\\n.png", "up/it's\t\\\n.png", "https://c.example/odd".to_owned(), &token);
        let plain = Line {
            size: 7,
            modified: Some(1_000),
            content_type: Some("image/png".to_owned()),
            ..Line::new("a/b.png", "up/a/b.png", "https://c.example/up/a/b.png".to_owned(), &token)
        };
        [plain, odd]
    }

    fn written(format: Format, plain: bool, lines: &[Line]) -> String {
        let mut writer = Writer::begin(Vec::new(), format, plain).unwrap();
        for line in lines {
            writer.line(line).unwrap();
        }
        let (text, files) = writer.end().unwrap();
        assert_eq!(files, lines.len() as u64);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_line_of_json_has_all_that_is_known() {
        let text = written(Format::Lines, false, &lines());
        let first = r#"{"path":"a/b.png","key":"up/a/b.png","url":"https://c.example/up/a/b.png","versioned":"https://c.example/up/a/b.png?v=0123456789ab","size":7,"version":"0123456789ab","modified":1000,"type":"image/png"}"#;
        assert_eq!(text.lines().next(), Some(first));
        let all: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((all.len(), &all[1]["path"], &all[1]["type"]), (2, &"it's\t\\\n.png".into(), &().into()));
    }

    #[test]
    fn an_object_of_json_leads_from_paths_to_urls_and_may_be_empty() {
        let all: serde_json::Value = serde_json::from_str(&written(Format::Json, false, &lines())).unwrap();
        let expect = serde_json::json!({
            "a/b.png": "https://c.example/up/a/b.png?v=0123456789ab",
            "it's\t\\\n.png": "https://c.example/odd?v=0123456789ab",
        });
        assert_eq!(all, expect);
        assert_eq!(written(Format::Json, false, &[]), "{\n}\n");
        let plain: serde_json::Value = serde_json::from_str(&written(Format::Json, true, &lines()[..1])).unwrap();
        assert_eq!(plain["a/b.png"], "https://c.example/up/a/b.png");
    }

    #[test]
    fn names_cannot_leave_their_quotes_or_fields() {
        let php = "<?php return [\n'a/b.png' => 'https://c.example/up/a/b.png',\n\
                   'it\\'s\t\\\\\n.png' => 'https://c.example/odd',\n];\n";
        assert_eq!(written(Format::Php, true, &lines()), php);
        let tsv = "a/b.png\thttps://c.example/up/a/b.png\thttps://c.example/up/a/b.png?v=0123456789ab\t7\t\
                   0123456789ab\t1000\timage/png\n\
                   it's\\t\\\\\\n.png\thttps://c.example/odd\thttps://c.example/odd?v=0123456789ab\t0\t\
                   0123456789ab\t\t\n";
        assert_eq!(written(Format::Tsv, false, &lines()), tsv);
        assert_eq!(written(Format::Urls, true, &lines()), "https://c.example/up/a/b.png\nhttps://c.example/odd\n");
    }
}
