//! Which application a webroot holds, by files that each of them has and no other.

use std::path::Path;

use super::App;

/// One of each group has to be there. The webroot of a Composer project is a directory below the project, so all paths
/// are those of the directory that the web server shows.
const SIGNS: [(App, &[&[&str]]); 4] = [
    (App::WordPress, &[&["wp-includes/version.php", "wp-load.php"]]),
    (App::Joomla, &[&["administrator/manifests/files/joomla.xml", "libraries/src/Version.php", "media/vendor"]]),
    (App::Drupal, &[&["core/lib/Drupal.php", "includes/bootstrap.inc"]]),
    // Many programs have a version.php.
    (App::Moodle, &[&["version.php", "config-dist.php"], &["lib/moodlelib.php"]]),
];

/// The applications whose signs `exists` finds, which is given paths below the webroot. More than one where somebody
/// installed two into one directory.
pub fn detect(exists: impl Fn(&Path) -> bool) -> Vec<App> {
    let there = |group: &&[&str]| group.iter().any(|path| exists(Path::new(path)));
    SIGNS.into_iter().filter(|(_, groups)| groups.iter().all(there)).map(|(app, _)| app).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[&str], expect: &[App]) {
        assert_eq!(detect(|path| files.iter().any(|file| Path::new(file) == path)), expect, "{files:?}");
    }

    #[test]
    fn each_is_known_by_its_files() {
        check(&["wp-load.php", "index.php"], &[App::WordPress]);
        check(&["administrator/manifests/files/joomla.xml"], &[App::Joomla]);
        check(&["core/lib/Drupal.php"], &[App::Drupal]);
        check(&["version.php", "lib/moodlelib.php"], &[App::Moodle]);
        check(&["version.php"], &[]);
        check(&[], &[]);
        check(&["wp-load.php", "core/lib/Drupal.php"], &[App::WordPress, App::Drupal]);
    }

    #[test]
    fn names_are_read_in_any_case() {
        for app in App::ALL {
            assert_eq!(app.name().to_uppercase().parse(), Ok(app));
        }
        assert!("typo3".parse::<App>().unwrap_err().contains("drupal, joomla, moodle, wordpress"));
    }
}
