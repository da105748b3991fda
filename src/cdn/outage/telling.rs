//! What others are told: which base URL to use now, as a file for nginx and as JSON. Pure.

use serde::{Deserialize, Serialize};

use super::hysteresis::Side;

/// The base URLs of one mount, without a slash at their ends: what follows is the path from the mount point.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bases {
    pub cdn: String,
    pub site: String,
}

/// Which of them to use now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Told {
    /// Whether that of the CDN is the one.
    pub cdn_up: bool,
    /// The path from the mount point follows, with a slash before it.
    pub base_url: String,
    /// Since when, in seconds since 1970.
    pub since: i64,
}

impl Bases {
    pub fn told(&self, side: Side, since: i64) -> Told {
        let base_url = match side {
            Side::Cdn => &self.cdn,
            Side::Site => &self.site,
        };
        Told { cdn_up: side == Side::Cdn, base_url: base_url.clone(), since }
    }

    /// What a `map` block of nginx includes: the base of the CDN, or nothing while it is down.
    pub fn map(&self, side: Side) -> String {
        let value = match side {
            // nginx would take what follows a dollar for the name of a variable.
            Side::Cdn => self.cdn.replace('$', "%24"),
            Side::Site => String::new(),
        };
        format!(
            "# Written by originfs, which replaces it when the CDN goes down or comes back.\ndefault \"{value}\";\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nginx_and_programs_are_told_the_same() {
        let bases =
            Bases { cdn: "https://cdn.example.org/a$b".to_owned(), site: "https://www.example.org/b".to_owned() };
        assert!(bases.map(Side::Cdn).ends_with("\ndefault \"https://cdn.example.org/a%24b\";\n"));
        assert!(bases.map(Side::Site).ends_with("\ndefault \"\";\n"));
        let text = serde_json::to_string(&bases.told(Side::Site, 7)).unwrap();
        assert_eq!(text, r#"{"cdn_up":false,"base_url":"https://www.example.org/b","since":7}"#);
        assert_eq!(bases.told(Side::Cdn, 7).base_url, bases.cdn);
    }
}
