//! Under which URLs an edge may have an object, in the form in which a vendor wants to hear of them.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::versions::Versions;
use crate::{
    cdn::url::{Mapper, Token},
    model::key::Key,
};

/// Of what is encoded already: no percent sign.
const UNSAFE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'#')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']')
    .add(b'`')
    .add(b'*');

/// How much of a URL a vendor wants.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Form {
    #[default]
    Whole,
    /// Host and path, without the scheme.
    Host,
    /// The path, with its slash.
    Path,
    /// The same with what RFC 1738 calls unsafe encoded, and stars, which would stand for anything. A `~`, which is unsafe
    /// there and is not in RFC 3986, both ways.
    Unsafe,
}

/// The public side of a mount.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Urls {
    mapper: Mapper,
    form: Form,
    /// An edge keeps http and https apart.
    schemes: bool,
    /// So many versions of an object are purged with it.
    versions: usize,
}

impl Urls {
    pub fn new(mapper: Mapper, schemes: bool) -> Self {
        Self { mapper, form: Form::Whole, schemes, versions: 0 }
    }

    /// With the URLs of so many versions of an object, the youngest.
    #[must_use]
    pub fn versioned(self, versions: usize) -> Self {
        Self { versions, ..self }
    }

    /// Whether it matters which versions an object has had.
    pub fn are_versioned(&self) -> bool {
        self.versions > 0
    }

    /// The same in another form.
    #[must_use]
    pub fn formed(&self, form: Form) -> Self {
        Self { form, ..self.clone() }
    }

    /// The URLs of an object, whatever its version.
    pub fn of(&self, key: &str) -> Vec<String> {
        self.forms(self.mapper.all(&Key::new(key), &[]))
    }

    /// The same, and those of its versions.
    pub fn all(&self, key: &str, versions: &Versions) -> Vec<String> {
        self.forms(self.mapper.all(&Key::new(key), versions.tokens(self.versions)))
    }

    /// As [`Self::all`] will give them when it is known which version the bucket has: as many, and none shorter.
    pub fn expected(&self, key: &str, versions: &Versions) -> Vec<String> {
        if !versions.unsure || !self.are_versioned() {
            return self.all(key, versions);
        }
        let mut expected = versions.clone();
        expected.add(Token::placeholder());
        self.all(key, &expected)
    }

    /// What all URLs below a directory begin with; they end in a slash.
    pub fn below(&self, dir: &str) -> Vec<String> {
        self.forms(self.mapper.below(&Key::new(dir)))
    }

    fn forms(&self, urls: Vec<String>) -> Vec<String> {
        let mut all = Vec::with_capacity(urls.len());
        for url in urls {
            let (scheme, host, path) = parts(&url);
            let mut add = |text: String| {
                if !all.contains(&text) {
                    all.push(text);
                }
            };
            match self.form {
                Form::Whole if self.schemes => {
                    let other = if scheme == "https" { "http" } else { "https" };
                    add(format!("{other}://{host}{path}"));
                    add(url);
                }
                Form::Whole => add(url),
                Form::Host => add(format!("{host}{path}")),
                Form::Path => add(path.to_owned()),
                Form::Unsafe => {
                    let path = utf8_percent_encode(path, UNSAFE).to_string();
                    add(path.replace('~', "%7E"));
                    add(path);
                }
            }
        }
        all
    }
}

/// Scheme, host with its port, and the path with its slash.
pub fn parts(url: &str) -> (&str, &str, &str) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let at = rest.find('/').unwrap_or(rest.len());
    (scheme, &rest[..at], if at == rest.len() { "/" } else { &rest[at..] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cdn::url::{Base, Family},
        model::key::Prefix,
    };

    #[test]
    fn each_form_is_there_once() {
        let bases = ["https://a.example/media/{path}", "http://a.example/media/{path}", "https://b.example"];
        let bases = bases.map(|base| Base::parse(base, Family::Cdn).unwrap()).to_vec();
        let urls = Urls::new(Mapper::new(Prefix::parse("site").unwrap(), bases), false);
        let expect = ["https://a.example/media/x", "http://a.example/media/x", "https://b.example/site/x"];
        assert_eq!(urls.of("site/x"), expect);
        assert_eq!(urls.formed(Form::Host).of("site/x"), ["a.example/media/x", "b.example/site/x"]);
        assert_eq!(urls.formed(Form::Path).below("site/d/"), ["/media/d/", "/site/d/"]);
        let unsafe_ones = urls.formed(Form::Unsafe).of("site/[~*]");
        assert_eq!(unsafe_ones[..2], ["/media/%5B%7E%2A%5D", "/media/%5B~%2A%5D"]);
        assert_eq!(unsafe_ones.len(), 4, "{unsafe_ones:?}");
        let both = Urls { schemes: true, ..urls }.of("site/x");
        assert_eq!(both.len(), 4);
        assert!(both.contains(&"http://b.example/site/x".to_owned()));
        assert_eq!(parts("https://a.example"), ("https", "a.example", "/"));
    }
}
