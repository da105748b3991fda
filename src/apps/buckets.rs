//! Bucket names of sites.
//!
//! One bucket for a site is the default: the key is then the path of the URL, and a CDN needs no rewriting. One bucket
//! for each directory is what existing deployments have, under names of three generations of scripts.

use super::directories::Directory;

/// The longest name of a bucket (Amazon S3 User Guide, "General purpose bucket naming rules").
const NAME_MAX: usize = 63;
/// The shortest one (ibid.).
const NAME_MIN: usize = 3;

/// How the directories of a site are spread over buckets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Layout {
    /// One bucket, key = path of the URL.
    #[default]
    Site,
    /// A bucket for each directory, keys from the directory.
    Directory,
    /// The same under the older names: the first three letters of each part of the domain, then the directory.
    Short,
}

/// The bucket of a site or of one of its directories. Fails with one line.
pub fn name(layout: Layout, site: &str, directory: &Directory) -> Result<String, String> {
    let host = host(site)?;
    let name = match layout {
        Layout::Site => format!("{}-assets", host.replace('.', "-")),
        Layout::Directory => format!("{}-assets-{}", host.replace('.', "-"), flat(directory)),
        Layout::Short => {
            let short: String = host.split('.').flat_map(|label| label.chars().take(3)).collect();
            format!("{short}-{}", flat(directory))
        }
    };
    // As the scripts do: no underscores, which no bucket may have, and no two dashes in a row.
    let name = squeezed(&name.replace('_', "-").to_ascii_lowercase());
    if name.len() > NAME_MAX {
        return Err(format!(
            "the bucket's name would be {name:?}, {} characters of at most {NAME_MAX}: give one as BUCKET",
            name.len()
        ));
    }
    if let Some(odd) = name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '-') {
        return Err(format!(
            "the bucket's name would be {name:?}, and {odd:?} is not allowed in it: give one as BUCKET"
        ));
    }
    Ok(name)
}

/// Checks a name that somebody gives: a bucket that has it may exist, or is to be created. Gives a warning for what only
/// old buckets and other services have.
pub fn check(name: &str) -> Result<Option<String>, String> {
    let len = name.len();
    if !(NAME_MIN..=NAME_MAX).contains(&len) {
        return Err(format!("BUCKET: {name:?} has {len} characters, and must have {NAME_MIN} to {NAME_MAX}"));
    }
    let odd = |c: &char| !c.is_ascii_alphanumeric() && !"-._".contains(*c);
    if let Some(odd) = name.chars().find(odd) {
        return Err(format!("BUCKET: {name:?}: {odd:?} is not allowed in it"));
    }
    let old = name.contains(|c: char| c == '_' || c.is_ascii_uppercase());
    Ok(old.then(|| format!("BUCKET: {name}: services create no buckets with capitals or underscores any more")))
}

/// Directories whose buckets would be the same one: `a/b` and `a-b` are.
pub fn collisions(named: &[(Directory, String)]) -> Vec<String> {
    let mut remarks = Vec::new();
    for (at, (directory, name)) in named.iter().enumerate() {
        if let Some((other, _)) = named[..at].iter().find(|(_, earlier)| earlier == name) {
            remarks.push(format!("{other} and {directory} would share the bucket {name}"));
        }
    }
    remarks
}

/// The host of a URL, or of a bare domain, without a leading `www.` kept apart: it is part of the name.
fn host(site: &str) -> Result<String, String> {
    let rest = site.trim().split_once("://").map_or(site.trim(), |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let fits = host.split('.').all(|label| !label.is_empty()) && host.chars().all(|c| !c.is_whitespace());
    if fits { Ok(host) } else { Err(format!("WEBSITE_URL: {site:?} names no site")) }
}

fn flat(directory: &Directory) -> String {
    directory.to_string().trim_start_matches('/').replace(['/', '.'], "-")
}

fn squeezed(name: &str) -> String {
    let mut squeezed = String::new();
    for c in name.chars() {
        if c != '-' || !squeezed.ends_with('-') {
            squeezed.push(c);
        }
    }
    squeezed.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(path: &str) -> Directory {
        Directory::Below(path.into())
    }

    #[test]
    fn names_as_the_scripts_make_them() {
        for (layout, site, directory, expect) in [
            (Layout::Site, "www.nuocial.org.uk", "images", "www-nuocial-org-uk-assets"),
            (Layout::Site, "https://www.Example.com:8443/shop?a", "images", "www-example-com-assets"),
            (Layout::Directory, "www.nuocial.org.uk", "images", "www-nuocial-org-uk-assets-images"),
            (Layout::Directory, "example.com", "wp-content/uploads", "example-com-assets-wp-content-uploads"),
            (Layout::Directory, "my_site.example", "a_b/c--d", "my-site-example-assets-a-b-c-d"),
            (Layout::Short, "www.nuocial.org.uk", "images", "wwwnuoorguk-images"),
        ] {
            assert_eq!(name(layout, site, &below(directory)).unwrap(), expect);
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        let long = name(Layout::Directory, "www.nuocial.org.uk", &below("sites/default/files/inline-images/large"));
        assert!(long.unwrap_err().contains("at most 63"));
        assert!(name(Layout::Site, "b\u{fc}cher.example", &below("a")).unwrap_err().contains("not allowed"));
        for site in ["", "https://", "a..b", "a b"] {
            assert!(name(Layout::Site, site, &below("a")).unwrap_err().contains("names no site"), "{site}");
        }
    }

    #[test]
    fn two_directories_never_share_a_bucket_unsaid() {
        let named: Vec<_> = ["a-b/c", "a/b-c", "d"]
            .map(|dir| (below(dir), name(Layout::Directory, "example.com", &below(dir)).unwrap()))
            .into();
        assert_eq!(collisions(&named), ["a-b/c and a/b-c would share the bucket example-com-assets-a-b-c"]);
    }

    #[test]
    fn given_names_are_checked() {
        assert_eq!(check("my.site-assets"), Ok(None));
        assert!(check("Old_Bucket").unwrap().is_some());
        for (name, part) in [("ab", "3 to 63"), ("a/b", "not allowed"), (&"a".repeat(64), "64 characters")] {
            assert!(check(name).unwrap_err().contains(part), "{name}");
        }
    }
}
