//! Which objects nobody may read without credentials, whatever else of a mount is public.

use super::{
    key::{CONTROL, Key, Prefix},
    patterns::{BadPattern, List},
};

/// Never for the public, in any directory: what configures or feeds a server (`.htaccess`, `.env`, `.git`), programs,
/// databases and their dumps, logs, and the copies that editors leave of all those.
const ALWAYS: &str = ".*:*.php:*.php[0-9]:*.phps:*.phtml:*.pht:*.phar:*.inc:*.ini:*.sql:*.sql.*:*.dump:*.db:*.sqlite:\
                      *.sqlite[0-9]:*.sqlite-*:*.log:*.bak:*.old:*.orig:*.swp:*~:web.config";

/// Names that are withheld from the public. Letters of any case are the same: on some hosts they are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Withheld {
    prefix: Prefix,
    /// Nothing is public.
    all: bool,
    patterns: List,
}

impl Withheld {
    /// Everything below `prefix`.
    pub fn all(prefix: Prefix) -> Self {
        Self { prefix, all: true, patterns: List::default() }
    }

    /// What is never public, and what `more` covers: patterns as of [`List::parse`].
    pub fn some<'a>(prefix: Prefix, more: impl IntoIterator<Item = &'a str>) -> Result<Self, BadPattern> {
        let mut text = ALWAYS.to_owned();
        for pattern in more {
            text.push(':');
            text.push_str(&pattern.to_lowercase());
        }
        Ok(Self { prefix, all: false, patterns: List::parse(&text)? })
    }

    /// Whether the public may not read the object. What is outside of the mount it may not.
    pub fn covers(&self, key: &Key) -> bool {
        let Some(path) = key.as_str().strip_prefix(self.prefix.as_str()) else { return true };
        self.all || path.split('/').next() == Some(CONTROL) || self.patterns.covers(&path.to_lowercase())
    }

    /// What is withheld of a mount that is not private as a whole: letters are small, and of any case are meant.
    pub fn patterns(&self) -> &List {
        &self.patterns
    }

    /// Whether nothing is public.
    pub fn is_all(&self) -> bool {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(withheld: &Withheld, covered: &[&str], public: &[&str]) {
        for key in covered {
            assert!(withheld.covers(&Key::new(key)), "{key}");
        }
        for key in public {
            assert!(!withheld.covers(&Key::new(key)), "{key}");
        }
    }

    #[test]
    fn what_servers_read_and_run_is_never_public() {
        let withheld = Withheld::some(Prefix::parse("site").unwrap(), []).unwrap();
        let covered = [
            "site/.htaccess",
            "site/a/.git/config",
            "site/index.php",
            "site/A.PHP5",
            "site/x.phtml",
            "site/dump.sql.gz",
            "site/a/db.sqlite-wal",
            "site/php_errors.log",
            "site/config.php~",
            "site/.originfs/view",
            "other/a.png",
        ];
        check(&withheld, &covered, &["site/a.png", "site/php/a.css", "site/logs/a.txt", "site/phpinfo.html"]);
    }

    #[test]
    fn applications_add_their_own() {
        let more = ["woocommerce_uploads/**", "Secret"];
        let withheld = Withheld::some(Prefix::default(), more).unwrap();
        check(&withheld, &["woocommerce_uploads/a.pdf", "a/SECRET/b.png"], &["2026/a.pdf"]);
        assert!(Withheld::some(Prefix::default(), ["["]).is_err());
        check(&Withheld::all(Prefix::default()), &["a.png", ""], &[]);
    }
}
