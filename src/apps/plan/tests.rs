use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A host: files, users, mounts, links.
#[derive(Default)]
pub(super) struct Host {
    files: BTreeSet<PathBuf>,
    texts: BTreeMap<PathBuf, &'static str>,
    links: BTreeMap<PathBuf, PathBuf>,
    adopted: BTreeMap<PathBuf, &'static str>,
    mounts: BTreeMap<PathBuf, &'static str>,
}

impl Host {
    pub(super) fn with(files: &[&str]) -> Self {
        Self { files: files.iter().map(PathBuf::from).collect(), ..Self::default() }
    }
}

impl Facts for Host {
    fn exists(&self, path: &Path) -> bool {
        self.files.iter().any(|file| file.starts_with(path))
    }

    fn names(&self, path: &Path) -> Vec<String> {
        let below = self.files.iter().filter_map(|file| file.strip_prefix(path).ok()?.components().next());
        let names: BTreeSet<_> = below.map(|name| name.as_os_str().to_string_lossy().into_owned()).collect();
        names.into_iter().collect()
    }

    fn text(&self, path: &Path) -> Option<String> {
        self.texts.get(path).map(|&text| text.to_owned())
    }

    fn real(&self, path: &Path) -> PathBuf {
        self.links.get(path).cloned().unwrap_or_else(|| path.to_owned())
    }

    fn mounted(&self, path: &Path) -> Option<String> {
        self.mounts.get(path).map(|&kind| kind.to_owned())
    }

    fn adopted(&self, path: &Path) -> Option<String> {
        self.adopted.get(path).map(|&source| source.to_owned())
    }

    fn group_of(&self, user: &str) -> Option<u32> {
        (user == "www-data").then_some(33)
    }
}

pub(super) fn wish(directories: &str) -> Wish {
    let text = |text: &str| Some(text.to_owned());
    Wish {
        website_url: text("www.nuocial.org.uk"),
        directories_to_mount: text(directories),
        s3_access_key: text("KEY|OTHER"),
        s3_secret_key: text("hush|OTHER"),
        s3_host_base: text("fra1.digitaloceanspaces.com|sos-de-fra-1.exo.io"),
        s3_location: text("US"),
        ..Wish::default()
    }
}

fn planned(wish: &Wish, facts: &Host) -> Plan {
    plan(wish, facts).unwrap()
}

const SPACES: &str = "endpoint=https://fra1.digitaloceanspaces.com,region=fra1,uid=www-data,gid=33";

#[track_caller]
fn check(wish: &Wish, host: &Host, expect: &[(&str, &str, &str)]) {
    let plan = planned(wish, host);
    let mounts: Vec<_> = plan
        .mounts
        .iter()
        .map(|mount| {
            let options = mount.options.strip_prefix(SPACES).expect("begins with the endpoint and the owner");
            (mount.directory.to_str().unwrap(), mount.source.as_str(), options)
        })
        .collect();
    assert_eq!(mounts, expect);
}

#[test]
fn wordpress() {
    let host = Host::with(&["/var/www/html/wp-load.php", "/var/www/html/wp-content/uploads/2026/a.jpg"]);
    let local = ",local=/wc-logs:/sites/*/wc-logs:/cache:/sites/*/cache:/elementor/tmp:/wpforms/cache:*.log:*.sqlite:*.sqlite-*,hold=*.tmp:*.part";
    let expect = [("/var/www/html/wp-content/uploads", "www-nuocial-org-uk-assets:/wp-content/uploads", local)];
    for form in ["", "wp-content.uploads", "wp-content/uploads", "/var/www/html/wp-content/uploads"] {
        check(&wish(form), &host, &expect);
    }
    assert_eq!(planned(&wish(""), &host).mounts[0].holds, 1);
}

#[test]
fn what_was_adopted_into_the_same_bucket_may_be_covered() {
    let mut host = Host::with(&["/var/www/html/wp-load.php", "/var/www/html/wp-content/uploads/2026/a.jpg"]);
    for (source, holds) in [("www-nuocial-org-uk-assets:/wp-content/uploads", 0), ("other:/wp-content/uploads", 1)] {
        host.adopted.insert("/var/www/html/wp-content/uploads".into(), source);
        assert_eq!(planned(&wish(""), &host).mounts[0].holds, holds, "{source}");
    }
}

#[test]
fn joomla() {
    let host = Host::with(&["/var/www/html/administrator/manifests/files/joomla.xml"]);
    let hold = ",hold=*.tmp:*.part";
    let images = ("/var/www/html/images", "www-nuocial-org-uk-assets:/images", hold);
    check(&wish(""), &host, &[images]);
    check(&wish("images:media"), &host, &[images, ("/var/www/html/media", "www-nuocial-org-uk-assets:/media", "")]);
    let plan = planned(&wish("images:media"), &host);
    assert!(
        plan.warnings.iter().any(|warning| warning.starts_with("media: media holds the scripts")),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn drupal() {
    let host = Host::with(&["/var/www/html/core/lib/Drupal.php", "/var/www/html/sites/default/files/.ht.sqlite"]);
    let options = ",local=/php:/config_*:*.sqlite:*.sqlite-*,hold=*.tmp:*.part";
    let bucket = "www-nuocial-org-uk-assets:/sites/default/files";
    check(&wish(""), &host, &[("/var/www/html/sites/default/files", bucket, options)]);
    let plan = planned(&wish(""), &host);
    assert!(plan.warnings.iter().any(|warning| warning.contains("SQLite")), "{:?}", plan.warnings);
    assert_eq!(planned(&wish("sites.default.files.pictures:sites.default.files.styles"), &host).mounts.len(), 2);
}

#[test]
fn moodle() {
    let host = Host::with(&["/var/www/html/version.php", "/var/www/html/lib/moodlelib.php"]);
    let bucket = "www-nuocial-org-uk-assets:/moodledata/filedir";
    check(&wish(""), &host, &[("/var/www/html/moodledata/filedir", bucket, ",hold=*.tmp")]);
    assert_eq!(planned(&wish(""), &host).mounts[0].private, ["**"]);
    let outside = Wish { directories_to_mount: Some("/var/moodledata/filedir".to_owned()), ..wish("") };
    assert_eq!(planned(&outside, &host).mounts[0].private, ["**"], "wherever it is");
}

#[test]
fn moodle_says_where_its_data_are() {
    let mut host = Host::with(&["/var/www/html/version.php", "/var/www/html/lib/moodlelib.php"]);
    for (text, expect) in [
        ("<?php\n$CFG->dataroot  = '/var/moodledata';\n", "/var/moodledata/filedir"),
        ("$CFG->dataroot=\"/srv/m\"; // here", "/srv/m/filedir"),
        ("$CFG->dataroot = $dir . '/data';", "/var/www/html/moodledata/filedir"),
        ("// $CFG->dataroot = '/old';", "/var/www/html/moodledata/filedir"),
    ] {
        host.texts.insert("/var/www/html/config.php".into(), text);
        let plan = planned(&wish(""), &host);
        assert_eq!(plan.mounts[0].directory, Path::new(expect), "{text}");
        assert_eq!(plan.mounts[0].private, ["**"]);
    }
}

#[test]
fn chains_are_cut_and_said() {
    let plan = planned(&wish("images"), &Host::default());
    assert_eq!((plan.keys.access.as_str(), plan.keys.secret.as_str()), ("KEY", "hush"));
    let ignored = plan.ignored.join("\n");
    assert!(ignored.contains("sos-de-fra-1.exo.io") && ignored.contains("S3_LOCATION: US"), "{ignored}");
    assert!(!format!("{plan:?}").contains("hush") && !ignored.contains("OTHER"), "secrets are never shown");
}

#[test]
fn a_bucket_for_each_directory() {
    let wish = Wish { layout: Some("directory".to_owned()), ..wish("images:wp-content.uploads") };
    let plan = planned(&wish, &Host::default());
    let expect = ["www-nuocial-org-uk-assets-images", "www-nuocial-org-uk-assets-wp-content-uploads"];
    assert_eq!(plan.buckets, expect);
    assert_eq!(plan.mounts[0].source, expect[0]);
    let clash = Wish { directories_to_mount: Some("a-b/c:a/b-c".to_owned()), ..wish };
    assert!(super::plan(&clash, &Host::default()).unwrap_err().contains("would share the bucket"));
}

#[test]
fn what_is_there_counts() {
    let mut host = Host::with(&["/var/www/html/wp-load.php"]);
    let uploads = PathBuf::from("/var/www/html/wp-content/uploads");
    host.links.insert(uploads.clone(), "/srv/uploads".into());
    let plan = planned(&wish(""), &host);
    assert_eq!(plan.mounts[0].directory, Path::new("/srv/uploads"));
    assert!(plan.warnings[0].contains("is mounted there"));
    host.mounts.insert("/srv/uploads".into(), "fuse.originfs");
    assert!(planned(&wish(""), &host).mounts[0].mounted);
    host.mounts.insert("/srv/uploads".into(), "fuse.s3fs");
    assert!(super::plan(&wish(""), &host).unwrap_err().contains("as fuse.s3fs"));
}

#[test]
fn what_is_missing_is_named() {
    let none = Host::default();
    for (wish, part) in [
        (Wish::default(), "DIRECTORIES_TO_MOUNT, or which APPLICATION"),
        (Wish { website_url: None, ..wish("images") }, "WEBSITE_URL"),
        (Wish { webroot: Some("html".into()), ..wish("images") }, "no absolute path"),
        (Wish { application: Some("typo3".to_owned()), ..wish("images") }, "there are drupal"),
        (Wish { owner: Some("nobody2".to_owned()), ..wish("images") }, "no user nobody2"),
        (Wish { layout: Some("x".to_owned()), ..wish("images") }, "none of site"),
    ] {
        let err = plan(&wish, &none).unwrap_err();
        assert!(err.contains(part), "{err}");
    }
    let both = Host::with(&["/var/www/html/wp-load.php", "/var/www/html/core/lib/Drupal.php"]);
    assert!(plan(&wish(""), &both).unwrap_err().contains("looks like wordpress and like drupal"));
}
