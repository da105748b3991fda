//! What each application needs: the directories, what in them stays on the host, what is private.

use super::{App, directories::Directory};

/// The defaults of one application. Paths are from the webroot; patterns are from the directory that is mounted.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    pub app: App,
    /// What is mounted where `DIRECTORIES_TO_MOUNT` names nothing.
    pub directories: &'static [&'static str],
    pub rules: &'static [Rule],
}

/// What is known of a directory of an application.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The directory that the rule is about, and of which the patterns are part.
    pub directory: &'static str,
    /// Never in the bucket: made anew on each host, or too busy.
    pub local: &'static [&'static str],
    /// Not in the bucket until they have their final name.
    pub hold: &'static [&'static str],
    /// Nobody may read the objects without credentials: all of them (`**`), or those below.
    pub private: &'static [&'static str],
    /// Why somebody should think again before mounting exactly this directory.
    pub warning: Option<&'static str>,
}

const RULE: Rule = Rule { directory: "", local: &[], hold: &[], private: &[], warning: None };

const PRESETS: [Preset; 4] = [
    Preset {
        app: App::WordPress,
        directories: &["wp-content/uploads"],
        rules: &[
            Rule {
                directory: "wp-content/uploads",
                // One appended line is one upload of the whole log; caches belong to their host.
                local: &["wc-logs", "cache", "elementor/tmp", "wpforms/cache", "*.log"],
                hold: &["*.tmp", "*.part"],
                private: &[
                    "woocommerce_uploads/**",
                    "wp-personal-data-exports/**",
                    "gravity_forms/**",
                    "edd/**",
                    "backup*/**",
                ],
                ..RULE
            },
            Rule {
                directory: "wp-content",
                warning: Some(
                    "wp-content holds code, plugins and caches: mount wp-content/uploads and keep the code local",
                ),
                local: &["cache", "upgrade", "upgrade-temp-backup", "wflogs", "debug.log"],
                ..RULE
            },
        ],
    },
    Preset {
        app: App::Joomla,
        directories: &["images"],
        rules: &[
            Rule { directory: "images", hold: &["*.tmp", "*.part"], ..RULE },
            Rule { directory: "files", hold: &["*.tmp", "*.part"], ..RULE },
            Rule {
                directory: "media",
                warning: Some(
                    "media holds the scripts and styles of Joomla and its extensions, which an update writes on every \
                     host: mount media/cache/com_media/thumbs if only thumbnails are to be shared",
                ),
                ..RULE
            },
        ],
    },
    Preset {
        app: App::Drupal,
        directories: &["sites/default/files"],
        rules: &[Rule {
            directory: "sites/default/files",
            // php: compiled templates, written by each host for itself. config_*: exported by administrators.
            local: &["php", "config_*", "*.sqlite*", ".ht.sqlite*"],
            hold: &["*.tmp", "*.part"],
            private: &["private/**", "php/**", "config_*/**"],
            warning: None,
        }],
    },
    Preset {
        app: App::Moodle,
        directories: &["moodledata/filedir"],
        rules: &[
            Rule {
                directory: "moodledata/filedir",
                // Moodle writes HASH.tmp, reads it again and renames it: one upload instead of three requests.
                hold: &["*.tmp"],
                private: &["**"],
                ..RULE
            },
            Rule {
                directory: "moodledata/trashdir",
                private: &["**"],
                warning: Some(
                    "Moodle moves deleted files from filedir to trashdir: with two mounts each of them is a copy",
                ),
                ..RULE
            },
            Rule {
                directory: "moodledata",
                warning: Some(
                    "moodledata holds sessions, caches and locks: mount moodledata/filedir, and use a database or Redis \
                     for sessions",
                ),
                local: &["cache", "localcache", "lock", "muc", "sessions", "temp"],
                private: &["**"],
                hold: &["*.tmp"],
            },
        ],
    },
];

/// The defaults of `app`.
pub fn preset(app: App) -> &'static Preset {
    PRESETS.iter().find(|preset| preset.app == app).expect("there is one for each")
}

impl Preset {
    /// What is known of a directory; one outside of the webroot is known by the end of its path.
    pub fn rule_of(&self, directory: &Directory) -> Option<&'static Rule> {
        match directory {
            Directory::Below(path) => self.rule(path.to_str()?),
            Directory::Absolute(path) => self.rules.iter().find(|rule| path.ends_with(rule.directory)),
        }
    }

    /// What is known of a directory, by its path from the webroot: its own rule, or that of the directory around it.
    fn rule(&self, directory: &str) -> Option<&'static Rule> {
        let about = |rule: &&Rule| {
            let rest = directory.strip_prefix(rule.directory);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.rules.iter().filter(about).max_by_key(|rule| rule.directory.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apps::directories::parse;

    #[test]
    fn every_application_has_its_defaults() {
        for app in App::ALL {
            let preset = preset(app);
            let parsed = parse(&preset.directories.join(":")).unwrap();
            assert_eq!(parsed.directories.len(), preset.directories.len(), "{app}");
            for directory in preset.directories {
                let rule = preset.rule(directory).expect("the default is known");
                assert_eq!(rule.warning, None, "{app} warns of its own default");
            }
        }
    }

    #[test]
    fn the_nearest_rule_counts() {
        let preset = preset(App::Moodle);
        assert_eq!(preset.rule("moodledata/filedir/ab").unwrap().directory, "moodledata/filedir");
        assert_eq!(preset.rule("moodledata/cache").unwrap().directory, "moodledata");
        assert!(preset.rule("moodledata2").is_none());
        assert!(preset.rule("moodledata").unwrap().warning.is_some());
    }
}
