//! Plans of the four applications for every form in which scripts write `DIRECTORIES_TO_MOUNT`, beside what they were when
//! somebody last looked at them: `plans.golden`. `ORIGINFS_WRITE_GOLDEN=1 cargo test golden` writes it anew, to be looked
//! at again.

use std::fmt::Write as _;

use super::{
    plan,
    tests::{Host, wish},
};

const WORDPRESS: &[&str] = &["/var/www/html/wp-load.php", "/var/www/html/wp-content/uploads/2026/a.jpg"];
const JOOMLA: &[&str] = &["/var/www/html/administrator/manifests/files/joomla.xml", "/var/www/html/files/index.html"];
const DRUPAL: &[&str] = &[
    "/var/www/html/core/lib/Drupal.php",
    "/var/www/html/sites/default/files/.ht.sqlite",
    "/var/www/html/sites/shop.example.com/files/a.jpg",
];
const MOODLE: &[&str] = &["/var/www/html/version.php", "/var/www/html/lib/moodlelib.php"];

const CASES: &[(&[&str], &[&str])] = &[
    (
        WORDPRESS,
        &[
            "",
            "wp-content.uploads",
            "wp-content/uploads",
            "/var/www/html/wp-content/uploads",
            "wp-content",
            "wp-content.uploads.sites.3:wp-content/plugins",
            "wp-content/uploads/woocommerce_uploads:/srv/media",
            "webroot",
        ],
    ),
    (
        JOOMLA,
        &[
            "",
            "images:media",
            "merge=images4",
            "images/:./files//:media.cache.com_media.thumbs",
            "administrator.logs:tmp",
        ],
    ),
    (
        DRUPAL,
        &[
            "",
            "sites.default.files",
            "sites.default.files.pictures:sites.default.files.styles:sites.default.files.inline-images",
            r"sites.shop\.example\.com.files",
            "sites/default/files:/var/www/private",
            "sites.default.files.php",
        ],
    ),
    (MOODLE, &["", "moodledata.filedir", "moodledata/filedir", "/var/moodledata/filedir", "moodledata"]),
];

fn shown() -> String {
    let mut text = String::new();
    for (files, forms) in CASES {
        for form in *forms {
            let plan = plan(&wish(form), &Host::with(files)).unwrap();
            writeln!(text, "{} {form:?}", plan.application.unwrap()).unwrap();
            for mount in &plan.mounts {
                let options = mount.options.split_once("gid=33").unwrap().1.trim_start_matches(',');
                writeln!(text, "  {} {}", mount.directory.display(), mount.source).unwrap();
                for (word, list) in [("options", options), ("private", &mount.private.join(" "))] {
                    if !list.is_empty() {
                        writeln!(text, "    {word} {list}").unwrap();
                    }
                }
            }
            let ignored = plan.ignored.iter().filter(|line| !line.starts_with("S3_"));
            for line in ignored.chain(&plan.warnings) {
                writeln!(text, "  ! {line}").unwrap();
            }
        }
    }
    text
}

#[test]
fn every_application_in_every_form() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/apps/plan/plans.golden");
    let shown = shown();
    if std::env::var_os("ORIGINFS_WRITE_GOLDEN").is_some() {
        std::fs::write(path, &shown).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(path).unwrap());
}
