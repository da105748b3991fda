//! What each application needs: the directories, what in them stays on the host, what is private.

use std::{ffi::OsStr, path::Path};

use super::{App, directories::Directory};

/// The defaults of one application. Paths are from the webroot; patterns are from the directory of the rule.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    pub app: App,
    /// What is mounted where `DIRECTORIES_TO_MOUNT` names nothing.
    pub directories: &'static [&'static str],
    /// What is mounted then, too, as far as it is there; `*` is any one name.
    pub also: &'static [&'static str],
    pub rules: &'static [Rule],
}

/// What is known of a directory of an application.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The directory that the rule is about; `*` is any one name.
    pub directory: &'static str,
    /// Never in the bucket: made anew on each host, or too busy. As for the option: without a slash a pattern is for names
    /// at any depth, so what applications make in one place has one.
    pub local: &'static [&'static str],
    /// Not in the bucket until they have their final name.
    pub hold: &'static [&'static str],
    /// Nobody may read the objects without credentials: all of them (`**`), or those below. Paths, all of them.
    pub private: &'static [&'static str],
    /// Why somebody should think again before mounting exactly this directory.
    pub warning: Option<&'static str>,
}

const RULE: Rule = Rule { directory: "", local: &[], hold: &[], private: &[], warning: None };
/// What downloads and editors write before a file has its name.
const UNFINISHED: &[&str] = &["*.tmp", "*.part"];
/// A database and what lies beside it while it is open: it needs locks and changes in place.
const DATABASES: [&str; 2] = ["*.sqlite", "*.sqlite-*"];

const PRESETS: [Preset; 4] = [
    Preset { app: App::WordPress, directories: &["wp-content/uploads"], also: &[], rules: WORDPRESS },
    // com_media has shown files beside images since version 4.
    Preset { app: App::Joomla, directories: &["images"], also: &["files"], rules: JOOMLA },
    Preset { app: App::Drupal, directories: &["sites/default/files"], also: &["sites/*/files"], rules: DRUPAL },
    Preset { app: App::Moodle, directories: &["moodledata/filedir"], also: &[], rules: MOODLE },
];

const WORDPRESS: &[Rule] = &[
    Rule {
        directory: "wp-content/uploads",
        // One appended line is one upload of the whole log; caches belong to their host. sites/N is a site of a network.
        local: &[
            "/wc-logs",
            "/sites/*/wc-logs",
            "/cache",
            "/sites/*/cache",
            "/elementor/tmp",
            "/wpforms/cache",
            "*.log",
            DATABASES[0],
            DATABASES[1],
        ],
        hold: UNFINISHED,
        private: &[
            "woocommerce_uploads/**",
            "wp-personal-data-exports/**",
            "gravity_forms/**",
            "edd/**",
            "backup*/**",
            "sites/*/woocommerce_uploads/**",
            "sites/*/wp-personal-data-exports/**",
            "sites/*/gravity_forms/**",
            "sites/*/edd/**",
        ],
        warning: None,
    },
    Rule {
        directory: "wp-content",
        warning: Some("wp-content holds code, plugins and caches: mount wp-content/uploads and keep the code local"),
        local: &["/cache", "/upgrade", "/upgrade-temp-backup", "/wflogs", "/debug.log", "/database"],
        hold: UNFINISHED,
        private: &["uploads/woocommerce_uploads/**", "uploads/wp-personal-data-exports/**", "uploads/gravity_forms/**"],
    },
    Rule { directory: "wp-content/plugins", warning: Some(CODE), ..RULE },
    Rule { directory: "wp-content/themes", warning: Some(CODE), ..RULE },
    Rule { directory: "wp-content/languages", warning: Some(CODE), ..RULE },
    Rule { directory: "wp-content/cache", warning: Some(CACHE), ..RULE },
];

const JOOMLA: &[Rule] = &[
    Rule { directory: "images", hold: UNFINISHED, ..RULE },
    Rule { directory: "files", hold: UNFINISHED, ..RULE },
    Rule { directory: "media/cache/com_media", hold: UNFINISHED, ..RULE },
    Rule {
        directory: "media",
        warning: Some(
            "media holds the scripts and styles of Joomla and its extensions, which an update writes on every host: mount \
             media/cache/com_media/thumbs if only thumbnails are to be shared",
        ),
        ..RULE
    },
    Rule { directory: "tmp", warning: Some(CACHE), ..RULE },
    Rule { directory: "cache", warning: Some(CACHE), ..RULE },
    Rule { directory: "administrator/cache", warning: Some(CACHE), ..RULE },
    Rule { directory: "administrator/logs", private: &["**"], warning: Some(LOGS), ..RULE },
];

const DRUPAL: &[Rule] = &[
    Rule {
        directory: "sites/*/files",
        // php: compiled templates, written by each host for itself. config_*: exported by administrators.
        local: &["/php", "/config_*", DATABASES[0], DATABASES[1]],
        hold: UNFINISHED,
        private: &["private/**", "php/**", "config_*/**"],
        warning: None,
    },
    // file_private_path, as guides name it.
    Rule { directory: "private", hold: UNFINISHED, private: &["**"], ..RULE },
    Rule { directory: "sites", private: &["**"], warning: Some(CODE), ..RULE },
];

const MOODLE: &[Rule] = &[
    Rule {
        directory: "moodledata/filedir",
        // Moodle writes HASH.tmp, reads it again and renames it: one upload instead of three requests.
        hold: &["*.tmp"],
        private: &["**"],
        ..RULE
    },
    // Of a dataroot with a name of its own.
    Rule { directory: "filedir", hold: &["*.tmp"], private: &["**"], ..RULE },
    Rule {
        directory: "moodledata/trashdir",
        private: &["**"],
        warning: Some("Moodle moves deleted files from filedir to trashdir: with two mounts each of them is a copy"),
        ..RULE
    },
    Rule {
        directory: "moodledata",
        warning: Some(
            "moodledata holds sessions, caches and locks: mount moodledata/filedir, and use a database or Redis for \
             sessions",
        ),
        local: &["/cache", "/localcache", "/lock", "/muc", "/sessions", "/temp"],
        private: &["**"],
        hold: &["*.tmp"],
    },
];

const CODE: &str = "it holds code, which an update writes on every host: keep it local";
const CACHE: &str = "each host makes it anew: keep it local";
const LOGS: &str = "each line of a log would be an upload of all of it: keep it local";

/// What is done about one directory that is mounted. Patterns are from there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Care {
    pub local: Vec<String>,
    pub hold: Vec<String>,
    pub private: Vec<String>,
    /// Why it should not be mounted at all.
    pub warning: Option<&'static str>,
}

/// The defaults of `app`.
pub fn preset(app: App) -> &'static Preset {
    PRESETS.iter().find(|preset| preset.app == app).expect("there is one for each")
}

/// A rule, and whose it is.
pub type Known = (App, &'static Rule);

/// What is known of a directory by the end of its path, where it is not known which application it belongs to.
pub fn of(directory: &Path) -> Option<Known> {
    let rules = App::ALL.into_iter().flat_map(|app| preset(app).rules.iter().map(move |rule| (app, rule)));
    rules.filter(|(_, rule)| rule.ends(directory)).max_by_key(|(_, rule)| rule.directory.len())
}

impl Preset {
    /// What is known of a directory: by its own rule, or that of the nearest directory around it. One outside of the
    /// webroot is known by the end of its path.
    pub fn care_of(&self, directory: &Directory) -> Care {
        let Some(path) = directory.as_path().to_str() else { return Care::default() };
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        let starts = if matches!(directory, Directory::Absolute(_)) { names.len() } else { 1 };
        let tails = || (0..starts).map(|start| &names[start.min(names.len())..]);
        let found = self.rules.iter().filter_map(|rule| tails().find_map(|tail| Some((rule, rule.rest(tail)?))));
        let nearest = found.max_by_key(|(rule, _)| rule.directory.split('/').count());
        nearest.map(|(rule, rest)| rule.care(rest)).unwrap_or_default()
    }
}

impl Rule {
    /// Whether a path ends as the rule's directory does.
    pub fn ends(&self, path: &Path) -> bool {
        let mut names = path.iter().rev();
        self.directory
            .split('/')
            .rev()
            .all(|own| names.next().and_then(OsStr::to_str).is_some_and(|name| matches(own, name)))
    }

    /// The names that follow the rule's directory, if it is `names` or around it.
    fn rest<'a, 'b>(&self, names: &'a [&'b str]) -> Option<&'a [&'b str]> {
        let own: Vec<&str> = self.directory.split('/').collect();
        let fits = own.len() <= names.len() && own.iter().zip(names).all(|(own, name)| matches(own, name));
        fits.then(|| &names[own.len()..])
    }

    fn care(&self, rest: &[&str]) -> Care {
        let all = |list: &[&str]| list.iter().map(|&pattern| from(pattern, rest)).collect::<Vec<_>>();
        let local = all(self.local);
        let inside = local.contains(&From::Above);
        // What is private above is private all through.
        let private = all(self.private).into_iter().filter_map(|found| match found {
            From::Here(pattern) => Some(pattern.trim_start_matches('/').to_owned()),
            From::Above => Some("**".to_owned()),
            From::Elsewhere => None,
        });
        Care {
            local: local.into_iter().filter_map(From::here).collect(),
            hold: all(self.hold).into_iter().filter_map(From::here).collect(),
            private: private.collect(),
            warning: if inside { Some(CACHE) } else { self.warning.filter(|_| rest.is_empty()) },
        }
    }
}

/// What a pattern of a directory means in one below it.
#[derive(Clone, Debug, Eq, PartialEq)]
enum From {
    /// The same, as this pattern.
    Here(String),
    /// The whole directory is covered.
    Above,
    /// Nothing.
    Elsewhere,
}

impl From {
    fn here(self) -> Option<String> {
        if let Self::Here(pattern) = self { Some(pattern) } else { None }
    }
}

fn from(pattern: &str, rest: &[&str]) -> From {
    if rest.is_empty() {
        return From::Here(pattern.to_owned());
    }
    if !pattern.contains('/') && pattern != "**" {
        let covered = rest.iter().any(|name| matches(pattern, name));
        return if covered { From::Above } else { From::Here(pattern.to_owned()) };
    }
    let mut names = pattern.trim_matches('/').split('/').peekable();
    for name in rest {
        match names.next_if(|own| matches(own, name) || *own == "**") {
            None if names.peek().is_none() => return From::Above,
            None => return From::Elsewhere,
            Some("**") => return From::Above,
            Some(_) => {}
        }
    }
    match names.collect::<Vec<_>>().join("/").as_str() {
        "" | "**" => From::Above,
        below => From::Here(format!("/{below}")),
    }
}

/// One name, in which `*` is any text.
fn matches(pattern: &str, name: &str) -> bool {
    glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{apps::directories::parse, model::patterns::List};

    fn care(app: App, directory: &str) -> Care {
        preset(app).care_of(&parse(directory).unwrap().directories[0])
    }

    #[test]
    fn every_application_has_its_defaults() {
        for app in App::ALL {
            let preset = preset(app);
            let parsed = parse(&preset.directories.join(":")).unwrap();
            assert_eq!(parsed.directories.len(), preset.directories.len(), "{app}");
            for directory in preset.directories {
                let care = care(app, directory);
                assert!(!care.hold.is_empty(), "{directory} is known");
                assert_eq!(care.warning, None, "{app} warns of its own default");
            }
        }
    }

    #[test]
    fn every_pattern_is_one_that_a_mount_takes() {
        for rule in PRESETS.iter().flat_map(|preset| preset.rules) {
            for list in [rule.local, rule.hold] {
                assert!(list.is_empty() || List::parse(&list.join(":")).is_ok(), "{list:?}");
            }
        }
    }

    #[test]
    fn the_nearest_rule_counts() {
        assert_eq!(care(App::Moodle, "moodledata/filedir/ab").private, ["**"]);
        assert_eq!(care(App::Moodle, "moodledata2"), Care::default());
        assert!(care(App::Moodle, "moodledata").warning.unwrap().contains("sessions"));
        assert_eq!(care(App::Moodle, "/var/moodledata/filedir").private, ["**"], "wherever it is");
        assert!(care(App::Drupal, "sites/example\\.com/files").local.contains(&"/php".to_owned()), "of a multisite");
        assert_eq!(care(App::Drupal, "/srv/private").private, ["**"]);
    }

    #[test]
    fn patterns_follow_into_directories_below() {
        let pictures = care(App::Drupal, "sites/default/files/pictures");
        assert_eq!(pictures.local, ["*.sqlite", "*.sqlite-*"], "php is one directory, and not here");
        assert_eq!(pictures.private, [""; 0]);
        let shop = care(App::WordPress, "wp-content/uploads/woocommerce_uploads");
        assert_eq!(shop.private, ["**"], "all that is private stays private");
        let site = care(App::WordPress, "wp-content/uploads/sites/3");
        assert!(site.local.contains(&"/wc-logs".to_owned()) && site.private.contains(&"edd/**".to_owned()), "{site:?}");
        for inside in ["sites/default/files/php", "sites/default/files/php/twig"] {
            assert!(care(App::Drupal, inside).warning.is_some(), "{inside} is made anew on each host");
        }
    }
}
