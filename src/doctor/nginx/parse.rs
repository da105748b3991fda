//! The language of nginx.conf: directives of words, ended by a semicolon or a block.

use std::path::{Path, PathBuf};

use super::super::files::{self, Files};

/// Files that include each other: nginx itself has no limit, an endless one would be a mistake.
const DEPTH_MAX: u32 = 16;

/// A directive, with what is included in place.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) block: Vec<Directive>,
    /// `FILE:LINE`.
    pub(super) place: String,
}

/// The directives of a file. `None`: it cannot be read.
pub(super) fn read(files: &impl Files, path: &Path) -> Option<Vec<Directive>> {
    let base = path.parent()?.to_owned();
    read_one(files, path, &base, 0)
}

fn read_one(files: &impl Files, path: &Path, base: &Path, depth: u32) -> Option<Vec<Directive>> {
    let text = files.read(path)?;
    let mut words = words(&text).into_iter();
    Some(block(&mut words, &Source { files, path, base, depth }))
}

struct Source<'a, F> {
    files: &'a F,
    path: &'a Path,
    /// What relative includes start from: the directory of the main file.
    base: &'a Path,
    depth: u32,
}

fn block<F: Files>(words: &mut impl Iterator<Item = (Word, usize)>, source: &Source<'_, F>) -> Vec<Directive> {
    let mut all = Vec::new();
    let mut now = Directive::default();
    while let Some((word, line)) = words.next() {
        match word {
            Word::Text(text) if now.place.is_empty() => {
                now.place = format!("{}:{line}", source.path.display());
                now.name = text;
            }
            Word::Text(text) => now.args.push(text),
            Word::End => end(std::mem::take(&mut now), source, &mut all),
            Word::Open => {
                now.block = block(words, source);
                all.push(std::mem::take(&mut now));
            }
            Word::Close => break,
        }
    }
    all
}

fn end<F: Files>(directive: Directive, source: &Source<'_, F>, all: &mut Vec<Directive>) {
    if directive.name != "include" {
        all.push(directive);
        return;
    }
    if source.depth >= DEPTH_MAX {
        return;
    }
    for pattern in &directive.args {
        let pattern: PathBuf = source.base.join(pattern);
        for path in files::glob(source.files, &pattern) {
            all.extend(read_one(source.files, &path, source.base, source.depth + 1).unwrap_or_default());
        }
    }
}

#[derive(Debug)]
enum Word {
    Text(String),
    Open,
    Close,
    End,
}

/// Words with the lines on which they begin.
fn words(text: &str) -> Vec<(Word, usize)> {
    let mut all = Vec::new();
    let mut word: Option<(String, usize)> = None;
    let (mut line, mut quote, mut comment) = (1, None, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\n' {
            (line, comment) = (line + 1, false);
        }
        if comment {
            continue;
        }
        match (c, quote) {
            ('\\', _) => {
                let text = &mut word.get_or_insert_with(|| (String::new(), line)).0;
                // Other escapes are left to those who read the word: regular expressions have their own.
                match chars.next_if(|next| "\"'\\{};# ".contains(*next)) {
                    Some('\\') => text.push_str("\\\\"),
                    Some(next) => text.push(next),
                    None => text.push('\\'),
                }
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_with(|| (String::new(), line)).0.push(c),
            ('"' | '\'', None) if word.is_none() => {
                quote = Some(c);
                word = Some((String::new(), line));
            }
            ('#', None) if word.is_none() => comment = true,
            // A variable in braces is part of a word.
            ('{', None) if word.as_ref().is_some_and(|(text, _)| text.ends_with('$')) => {
                word.get_or_insert_with(|| (String::new(), line)).0.push('{');
                word.as_mut().expect("just made").0.extend(chars.by_ref().take_while(|c| *c != '}').chain(['}']));
            }
            (c, None) if c.is_whitespace() || "{};".contains(c) => {
                all.extend(word.take().map(|(text, line)| (Word::Text(text), line)));
                match c {
                    '{' => all.push((Word::Open, line)),
                    '}' => all.push((Word::Close, line)),
                    ';' => all.push((Word::End, line)),
                    _ => {}
                }
            }
            (c, None) => word.get_or_insert_with(|| (String::new(), line)).0.push(c),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{super::super::files::Fixture, *};

    fn show(block: &[Directive]) -> String {
        let one = |d: &Directive| {
            let words = [&[d.name.clone()][..], &d.args].concat().join(" ");
            if d.block.is_empty() { format!("{words};") } else { format!("{words} {{{}}}", show(&d.block)) }
        };
        block.iter().map(one).collect()
    }

    #[test]
    fn words_quotes_comments_and_includes() {
        let files = Fixture::new(&[
            (
                "/etc/nginx/nginx.conf",
                "user www-data; # who\nhttp {\n  log_format a '$x; \"y\"' ;\n  include conf.d/*.conf;\n  root /srv/${host}/a;\n}\n",
            ),
            ("/etc/nginx/conf.d/b.conf", "server { location ~ \\.php$ { deny all; } }"),
            ("/etc/nginx/conf.d/a.conf", "gzip on;\ninclude /etc/nginx/conf.d/a.conf;"),
        ]);
        let tree = read(&files, Path::new("/etc/nginx/nginx.conf")).unwrap();
        let text = show(&tree);
        assert!(text.starts_with("user www-data;http {log_format a $x; \"y\";gzip on;"), "{text}");
        assert!(text.ends_with("server {location ~ \\.php$ {deny all;}}root /srv/${host}/a;}"), "{text}");
        assert_eq!(tree[1].block.last().unwrap().place, "/etc/nginx/nginx.conf:5");
        assert_eq!(read(&files, Path::new("/etc/nginx/none")), None);
    }

    #[test]
    fn what_is_broken_ends_somewhere() {
        for text in ["}", "{{{", "a { b", "'", "a \\", "a ${b", ";;;"] {
            read(&Fixture::new(&[("/etc/nginx/nginx.conf", text)]), Path::new("/etc/nginx/nginx.conf"));
        }
    }
}
