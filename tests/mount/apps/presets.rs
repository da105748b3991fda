//! Two webservers of one site, mounted as the preset of its application says: what one does, the other sees at once.
//!
//! No option but those of the preset is set, so these are the defaults that a site gets. The webservers take turns, as the
//! requests of one visitor do behind a balancer.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    sync::Barrier,
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, Flock, FlockArg, copy_file_range},
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::TimeSpec,
    },
};
use originfs::apps::{App, directories::Directory, preset::preset};

use super::{Cost, Php};
use crate::harness::{Bucket, Mount, Wire, fresh_dir, names, noise, refused};

/// The options for the first directory that the preset mounts.
fn options(app: App) -> String {
    let preset = preset(app);
    let care = preset.care_of(&Directory::Below(preset.directories[0].into()));
    let both = [("local", care.local), ("hold", care.hold)];
    let given = both.iter().filter(|(_, patterns)| !patterns.is_empty());
    given.map(|(name, patterns)| format!("{name}={}", patterns.join(":"))).collect::<Vec<_>>().join(",")
}

struct Webserver {
    mount: Mount,
    wire: Wire,
}

impl Webserver {
    fn of(bucket: &Bucket, app: App) -> Self {
        let (mount, wire) = bucket.wired(&options(app));
        wire.take_seen();
        Self { mount, wire }
    }

    fn php(&self) -> Php<'_> {
        Php::on(&self.mount)
    }

    /// What was written since the last look: PUT, COPY, DELETE. What was written here must never be fetched.
    #[track_caller]
    fn written(&self) -> (usize, usize, usize) {
        let cost = Cost::of(&self.wire);
        assert_eq!((cost.get, cost.other), (0, 0), "{cost:?}");
        (cost.put, cost.copy, cost.delete)
    }

    fn lists(&self, name: &str) -> bool {
        let (dir, last) = name.rsplit_once('/').unwrap_or(("", name));
        names(self.mount.path(dir)).contains(&last.to_owned())
    }

    /// There, whole, and listed. A stat right after the open is of what was opened.
    #[track_caller]
    fn has(&self, name: &str, bytes: &[u8]) {
        assert!(self.mount.read(name) == bytes, "{name} reads otherwise");
        assert_eq!(self.mount.stat(name).len(), bytes.len() as u64, "{name}");
        assert!(self.lists(name), "{name} is not listed");
    }

    /// Not there by any way of asking that is never old (stat of a name that was known may be, for a second).
    #[track_caller]
    fn lacks(&self, name: &str) {
        refused(File::open(self.mount.path(name)), Errno::ENOENT);
        assert!(!self.lists(name), "{name} is listed");
    }

    #[track_caller]
    fn never_had(&self, name: &str) {
        refused(fs::metadata(self.mount.path(name)), Errno::ENOENT);
    }
}

fn two(bucket: &Bucket, app: App) -> (Webserver, Webserver) {
    (Webserver::of(bucket, app), Webserver::of(bucket, app))
}

/// What the listing of Joomla's media manager tells of a picture, the header of the file included.
fn listed(at: &Webserver, name: &str) -> (u64, i64, i64, u64, Vec<u8>) {
    let head = at.php().get(name, 8192);
    let stat = at.mount.stat(name);
    (stat.ino(), stat.ctime(), stat.mtime(), stat.len(), head)
}

/// `LocalAdapter::createFile` and `updateFile`: checked in a scratch file first, then written and read for a thumbnail.
fn joomla_writes(at: &Webserver, other: &Webserver, scratch: &str, name: &str, bytes: &[u8]) {
    let php = at.php();
    other.never_had(scratch);
    php.put(scratch, bytes, 8192);
    assert_eq!(php.get(scratch, 8192), bytes[..bytes.len().min(8192)]);
    php.chmod(scratch, 0o777);
    php.unlink(scratch);
    other.lacks(scratch);
    php.put(name, bytes, 8192);
    other.has(name, bytes);
    assert!(php.get(name, usize::MAX) == bytes);
}

#[test]
fn the_media_manager_of_joomla_works_on_two_webservers() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, b) = two(&bucket, App::Joomla);
    b.never_had("banners");
    a.php().mkdir("banners");
    assert!(b.lists("banners") && names(b.mount.path("banners")).is_empty());

    let (first, second) = (noise(30_000, 1), noise(25_000, 2));
    b.never_had("banners/photo.jpg");
    a.written();
    joomla_writes(&a, &b, "banners/65f0c0ffee1.jpg", "banners/photo.jpg", &first);
    assert_eq!(a.written(), (2, 0, 1), "the scratch file, the file; the scratch file again");
    assert_eq!(listed(&b, "banners/photo.jpg"), listed(&a, "banners/photo.jpg"));

    joomla_writes(&b, &a, "banners/65f0c0ffee2.jpg", "banners/photo.jpg", &second);
    assert_eq!(listed(&a, "banners/photo.jpg"), listed(&b, "banners/photo.jpg"));

    let (source, target) =
        (File::open(b.mount.path("banners/photo.jpg")).unwrap(), b.php().create("banners/photo_copy.jpg"));
    while copy_file_range(&source, None, &target, None, usize::try_from(isize::MAX).unwrap()).unwrap() > 0 {}
    nix::unistd::close(target).unwrap();
    drop(source);
    a.has("banners/photo_copy.jpg", &second);

    a.php().rename("banners", "archive");
    b.lacks("banners");
    for name in ["archive/photo.jpg", "archive/photo_copy.jpg"] {
        b.has(name, &second);
    }
    b.php().chmod("archive/photo.jpg", 0o777);
    b.php().unlink("archive/photo.jpg");
    a.lacks("archive/photo.jpg");
    fs::remove_dir_all(a.mount.path("archive")).unwrap();
    b.lacks("archive");
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

/// `prepareDirectory`: each missing part is made, with its mode.
fn drupal_prepares(at: &Webserver, dir: &str) {
    for (end, _) in format!("{dir}/").match_indices('/') {
        at.php().mkdir(&dir[..end]);
        at.php().chmod(&dir[..end], 0o775);
    }
}

#[test]
fn pictures_and_aggregates_of_drupal_are_made_by_one_webserver_and_served_by_the_other() {
    const PHOTO: &str = "2026-11/photo.jpg";
    const DERIVATIVE: &str = "styles/thumbnail/public/2026-11/photo.jpg";
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, b) = two(&bucket, App::Drupal);
    let (photo, small) = (noise(180_000, 1), noise(9_000, 2));

    // Every public directory is protected by the first request that finds it bare.
    a.php().put(".htaccess", b"SetHandler none", 8192);
    a.php().chmod(".htaccess", 0o444);
    b.has(".htaccess", b"SetHandler none");

    b.never_had(PHOTO);
    drupal_prepares(&a, "2026-11");
    a.written();
    a.php().put(PHOTO, &photo, 8192);
    a.php().chmod(PHOTO, 0o664);
    assert_eq!(a.written(), (1, 0, 0));
    b.has(PHOTO, &photo);

    // The page came from A, the picture in it is asked of B. A waits for the lock meanwhile, and looks then.
    for at in [&a, &b, &a, &b] {
        assert!(!at.php().exists(DERIVATIVE));
    }
    assert!(b.php().get(PHOTO, usize::MAX) == photo);
    drupal_prepares(&b, DERIVATIVE.rsplit_once('/').unwrap().0);
    b.php().put(DERIVATIVE, &small, 4096);
    b.php().chmod(DERIVATIVE, 0o664);
    assert!(a.php().exists(DERIVATIVE));
    a.has(DERIVATIVE, &small);

    drupal_prepares(&a, "css");
    for name in ["css/css_X1.css", "css/css_X1.css.gz"] {
        b.never_had(name);
        a.php().put(name, name.as_bytes(), 8192);
        b.has(name, name.as_bytes());
    }

    // A flushed style: its pictures go, on all webservers.
    fs::remove_dir_all(b.mount.path("styles/thumbnail")).unwrap();
    a.lacks(DERIVATIVE.split_once("/public").unwrap().0);
    a.php().unlink(PHOTO);
    b.lacks(PHOTO);
    assert_eq!(bucket.keys(), [".htaccess", "2026-11/", "css/", "css/css_X1.css", "css/css_X1.css.gz", "styles/"]);
}

/// `MTimeProtectedFastFileStorage::save`; gives the name that is made of the directory's time.
fn drupal_compiles(at: &Webserver, code: &[u8]) -> String {
    let (php, dir) = (at.php(), "php/twig/page.html.twig_x");
    for dir in ["php", "php/twig", dir] {
        php.mkdir(dir);
    }
    php.put("php/twig/.65f0", code, 8192);
    php.chmod("php/twig/.65f0", 0o444);
    let time = at.mount.stat("php/twig/.65f0").mtime() - 10;
    let name = format!("{dir}/{time:x}.php");
    php.rename("php/twig/.65f0", &name);
    let spec = TimeSpec::new(time, 0);
    utimensat(AT_FDCWD, &php.path(dir), &spec, &spec, UtimensatFlags::FollowSymlink).unwrap();
    assert_eq!(at.mount.stat(dir).mtime(), time);
    name
}

#[test]
fn compiled_templates_of_drupal_and_exported_configuration_stay_on_their_webserver() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, b) = two(&bucket, App::Drupal);
    let name = drupal_compiles(&a, b"<?php echo 'a';");
    a.php().mkdir("config_Xy");
    a.php().put("config_Xy/site.yml", b"name: secret", 8192);
    b.never_had("php");
    b.never_had("config_Xy");
    let other = drupal_compiles(&b, b"<?php echo 'b';");
    assert_eq!((a.mount.read(&name), b.mount.read(&other)), (b"<?php echo 'a';".into(), b"<?php echo 'b';".into()));
    for at in [&a, &b] {
        let asked: Vec<_> = at.wire.take_seen().into_iter().filter(|seen| seen.target.contains("php")).collect();
        assert_eq!(asked, []);
    }
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

/// `add_file_from_path` for `content` whose hash is `hash`.
fn moodle_adds(at: &Webserver, hash: &str, content: &[u8]) {
    let (php, name) = (at.php(), format!("{}/{}/{hash}", &hash[..2], &hash[2..4]));
    if php.exists(&name) {
        assert_eq!(php.size(&name), content.len() as u64);
        return;
    }
    for end in [2, 5] {
        // Another webserver may be faster.
        fs::create_dir_all(php.path(&name[..end])).unwrap();
    }
    let temporary = format!("{name}.tmp");
    php.put(&temporary, content, 8192);
    assert!(php.get(&temporary, usize::MAX) == content);
    php.rename(&temporary, &name);
    php.chmod(&name, 0o666);
    assert!(!php.exists(&temporary));
}

#[test]
fn files_of_moodle_are_written_by_one_webserver_and_sent_by_the_other() {
    const NAME: &str = "fd/2b/fd2b37";
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, b) = two(&bucket, App::Moodle);
    let content = noise(50_000, 1);
    b.never_had(NAME);
    moodle_adds(&a, "fd2b37", &content);
    assert_eq!(a.written(), (3, 0, 0), "two directories and the file, under its name alone");
    b.has(NAME, &content);
    b.lacks(&format!("{NAME}.tmp"));
    Cost::of(&b.wire);
    moodle_adds(&b, "fd2b37", &content);
    assert_eq!(b.written(), (0, 0, 0), "what is there is not written again");

    // `remove_file`: the trash is elsewhere, so it is copied there and deleted here. Then somebody uploads it again.
    let trash = fresh_dir();
    fs::copy(b.mount.path(NAME), trash.join("fd2b37")).unwrap();
    b.php().unlink(NAME);
    a.lacks(NAME);
    assert!(fs::read(trash.join("fd2b37")).unwrap() == content);
    fs::remove_dir_all(trash).unwrap();
    moodle_adds(&b, "fd2b37", &content);
    a.has(NAME, &content);

    // `add_file_from_string`: under a lock, and renamed.
    let (php, temporary) = (a.php(), "fd/2b/fd2b99.tmp");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(php.path(temporary)).unwrap();
    let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, err)| err).unwrap();
    file.set_len(0).unwrap();
    file.write_all(b"a string").unwrap();
    drop(file);
    assert_eq!(php.size(temporary), 8);
    b.lacks(temporary);
    php.rename(temporary, "fd/2b/fd2b99");
    b.has("fd/2b/fd2b99", b"a string");
    assert_eq!(bucket.keys(), ["fd/", "fd/2b/", "fd/2b/fd2b37", "fd/2b/fd2b99"]);
}

#[test]
fn two_webservers_of_moodle_add_the_same_file_at_one_moment() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, b) = two(&bucket, App::Moodle);
    for n in 0..10 {
        let (hash, content) = (format!("aabb{n:02}"), noise(20_000, n));
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for at in [&a, &b] {
                scope.spawn(|| {
                    start.wait();
                    moodle_adds(at, &hash, &content);
                });
            }
        });
        for at in [&a, &b] {
            at.has(&format!("aa/bb/{hash}"), &content);
        }
    }
    let keys = bucket.keys();
    assert_eq!(keys.len(), 12, "ten files and two directories: {keys:?}");
}

#[test]
fn logs_of_a_shop_in_wordpress_are_appended_on_each_webserver() {
    const LOG: &str = "wc-logs/fatal-errors-2026-11-22.log";
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, b) = two(&bucket, App::WordPress);
    for (at, lines) in [(&a, 30), (&b, 2)] {
        at.php().mkdir("wc-logs");
        for _ in 0..lines {
            let mut file = OpenOptions::new().append(true).create(true).open(at.mount.path(LOG)).unwrap();
            file.write_all(b"line\n").unwrap();
            nix::unistd::close(file).unwrap();
        }
        assert_eq!(at.mount.read(LOG), b"line\n".repeat(lines));
        assert_eq!(at.written(), (0, 0, 0));
    }
    a.php().put("photo.jpg", b"photo", 8192);
    b.has("photo.jpg", b"photo");
    assert_eq!(bucket.keys(), ["photo.jpg"]);
}
