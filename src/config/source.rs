//! What is mounted: `BUCKET`, `BUCKET:/PREFIX`, `BUCKET:PREFIX` or `s3://BUCKET/PREFIX/`.

use std::net::Ipv4Addr;

use super::Error;
use crate::{error, model::key::Prefix};

/// Sources that name nothing, for fstab lines that say `bucket=` in their options.
const NOTHING: [&str; 4] = ["", "none", "-", "originfs"];

/// Splits a source into bucket and prefix, both as written.
pub(super) fn split(source: &str) -> Result<(&str, &str), Error> {
    if let Some(rest) = source.strip_prefix("s3://") {
        return Ok(rest.split_once('/').unwrap_or((rest, "")));
    }
    if source.contains("://") {
        return Err(Error::new(format!("{source}: give the bucket's name here and the URL as endpoint=")));
    }
    if source.starts_with("arn:") {
        return Err(Error::new(format!("{source}: ARNs are not supported, give a bucket's name")));
    }
    if NOTHING.contains(&source) {
        return Ok(("", ""));
    }
    match source.split_once(':') {
        Some(parts) => Ok(parts),
        None if source.contains('/') => {
            let hint = source.trim_start_matches('/').replacen('/', ":/", 1);
            Err(Error::new(format!("{source}: a prefix is written after a colon: {hint}")))
        }
        None => Ok((source, "")),
    }
}

/// One of two places where the same thing can be said. Both may, if they agree.
pub(super) fn one_of<'a>(what: &str, source: &'a str, option: Option<&'a str>) -> Result<&'a str, Error> {
    match option {
        None => Ok(source),
        Some(option) if source.is_empty() || source.trim_matches('/') == option.trim_matches('/') => Ok(option),
        Some(option) => {
            Err(Error::new(format!("two different {what}: {source:?} in the source, {option:?} in the options")))
        }
    }
}

/// Checks a bucket's name (Amazon S3 User Guide, "General purpose bucket naming rules"). Gives a warning for names
/// that only old buckets and other vendors have: up to 255 bytes, upper case, underscores.
pub(super) fn check_bucket(name: &str) -> Result<Option<String>, Error> {
    if name.is_empty() {
        return Err(Error::new("the bucket's name is empty"));
    }
    let refuse = |why: &str| Err(Error::new(format!("{name:?} is no bucket name: {why}")));
    if name.len() < 3 || name.len() > 255 {
        return refuse("it must have 3 to 63 characters");
    }
    if let Some(odd) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-._".contains(*c)) {
        return refuse(&format!("{odd:?} is not allowed in it"));
    }
    let ends = [name.chars().next(), name.chars().next_back()];
    if ends.iter().flatten().any(|c| !c.is_ascii_alphanumeric()) {
        return refuse("it must begin and end with a letter or a digit");
    }
    if name.contains("..") {
        return refuse("it must not have two dots in a row");
    }
    if name.parse::<Ipv4Addr>().is_ok() {
        return refuse("it looks like an IP address");
    }
    let old = name.len() > 63 || name.contains(|c: char| c.is_ascii_uppercase() || c == '_');
    Ok(old
        .then(|| format!("the bucket name {name:?} is outside the S3 rules; it works only where the server allows it")))
}

/// Checks a prefix.
pub(super) fn prefix(raw: &str) -> Result<Prefix, Error> {
    Prefix::parse(raw).map_err(|err| match err {
        error::Error::NameTooLong => Error::new("the prefix is longer than a key can be (1024 bytes)"),
        _ => Error::new(format!("the prefix {raw:?} cannot be a path: no part of it may be empty, \".\" or \"..\"")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_source() {
        for (source, bucket, prefix) in [
            ("site", "site", ""),
            ("site:", "site", ""),
            ("site:/", "site", "/"),
            ("site:/a/b", "site", "/a/b"),
            ("site:a/b/", "site", "a/b/"),
            ("s3://site", "site", ""),
            ("s3://site/", "site", ""),
            ("s3://site/a/b/", "site", "a/b/"),
            ("none", "", ""),
        ] {
            assert_eq!(split(source).unwrap(), (bucket, prefix), "{source}");
        }
    }

    #[test]
    fn faults_of_a_source_are_named() {
        for (source, message) in [
            (
                "https://site.example.com",
                "https://site.example.com: give the bucket's name here and the URL as endpoint=",
            ),
            ("site/a/b", "site/a/b: a prefix is written after a colon: site:/a/b"),
            ("arn:aws:s3:::site", "arn:aws:s3:::site: ARNs are not supported, give a bucket's name"),
        ] {
            assert_eq!(split(source).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn bucket_names() {
        for name in ["abc", "my.site-assets.2024", &"a".repeat(63)] {
            assert_eq!(check_bucket(name).unwrap(), None, "{name}");
        }
        for name in ["Old_Bucket", "MiXed", &"a".repeat(64)] {
            assert!(check_bucket(name).unwrap().is_some(), "{name}");
        }
        for (name, message) in [
            ("", "the bucket's name is empty"),
            ("ab", "\"ab\" is no bucket name: it must have 3 to 63 characters"),
            ("a b", "\"a b\" is no bucket name: ' ' is not allowed in it"),
            ("-abc", "\"-abc\" is no bucket name: it must begin and end with a letter or a digit"),
            ("abc.", "\"abc.\" is no bucket name: it must begin and end with a letter or a digit"),
            ("a..b", "\"a..b\" is no bucket name: it must not have two dots in a row"),
            ("10.0.0.1", "\"10.0.0.1\" is no bucket name: it looks like an IP address"),
        ] {
            assert_eq!(check_bucket(name).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn prefixes() {
        assert_eq!(prefix("/images//").unwrap().as_str(), "images/");
        for bad in ["a/../b", "..", "a//b", "./a"] {
            assert!(prefix(bad).unwrap_err().to_string().contains("cannot be a path"), "{bad}");
        }
    }

    #[test]
    fn the_same_thing_twice() {
        assert_eq!(one_of("prefixes", "/a/", Some("a")).unwrap(), "a");
        assert_eq!(one_of("prefixes", "", Some("a")).unwrap(), "a");
        assert_eq!(
            one_of("buckets", "one", Some("two")).unwrap_err().to_string(),
            "two different buckets: \"one\" in the source, \"two\" in the options"
        );
    }
}
