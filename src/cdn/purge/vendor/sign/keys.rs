//! A secret of several parts, as vendors hand it out: lines of `name = value`, perhaps below one `[section]`. That is
//! the form of `~/.aws/credentials` and of `.edgerc`.

/// The parts of a secret. Never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Keys(Vec<(String, String)>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Keys {
    /// Reads parts that `known` names, in small letters. In a variable of one line a `;` stands between them. An error is
    /// one line that quotes nothing: it may be the secret.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
        let parts = lines.flat_map(|line| line.split(';')).map(str::trim).filter(|part| !part.is_empty());
        let (mut keys, mut sections) = (Vec::new(), 0);
        for (n, part) in (1..).zip(parts) {
            if part.starts_with('[') && part.ends_with(']') {
                sections += 1;
                continue;
            }
            let wrong =
                |why: &str| format!("the secret: part {n} {why}; expected NAME = VALUE of {}", known.join(", "));
            let (name, value) = part.split_once('=').ok_or_else(|| wrong("has no ="))?;
            let name = name.trim().to_ascii_lowercase().replace('-', "_");
            let value = value.trim();
            if !known.contains(&name.as_str()) {
                return Err(wrong("has another name"));
            }
            // They stand in headers as they are.
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(wrong("has no value that a key can have"));
            }
            if keys.iter().any(|(other, _)| *other == name) {
                return Err(wrong("is there twice"));
            }
            keys.push((name, value.to_owned()));
        }
        if sections > 1 {
            return Err("the secret: expected one [section] at most".to_owned());
        }
        Ok(Self(keys))
    }

    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub fn get(&self, name: &str) -> Result<&str, String> {
        self.find(name).ok_or_else(|| format!("the secret: {name} is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["client_token", "client_secret", "max_body"];

    #[test]
    fn files_of_vendors_are_read_as_they_come() {
        let text = "; made by hand\n[default]\nclient_token = akab-x\nclient_secret = abc/+=\nmax-body = 131072\n";
        let keys = Keys::parse(text, &KNOWN).unwrap();
        assert_eq!((keys.get("client_token").unwrap(), keys.get("client_secret").unwrap()), ("akab-x", "abc/+="));
        assert_eq!((keys.find("max_body"), keys.find("host")), (Some("131072"), None));
        let line = Keys::parse("client_token=akab-x;client_secret=abc/+=", &KNOWN).unwrap();
        assert_eq!(line.get("client_secret").unwrap(), "abc/+=");
        assert_eq!(format!("{line:?}"), "Keys(..)");
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        for (text, part) in [
            ("hidden", "part 1 has no ="),
            ("client_token = a\nhidden = b", "part 2 has another name"),
            ("client_token =", "no value"),
            ("client_token = hid den", "no value"),
            ("client_token = a\nclient_token = hidden", "twice"),
            ("[a]\nclient_token = hidden\n[b]\nclient_secret = b", "one [section]"),
        ] {
            let err = Keys::parse(text, &KNOWN).unwrap_err();
            assert!(err.contains(part) && !err.contains("hid"), "{err}");
        }
        assert_eq!(
            Keys::parse("", &KNOWN).unwrap().get("client_token").unwrap_err(),
            "the secret: client_token is missing"
        );
    }
}
