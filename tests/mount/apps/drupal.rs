//! Drupal: compiled templates (`MTimeProtectedFastFileStorage`), whose names are made of their directory's time.

use std::{fs, os::unix::fs::MetadataExt as _};

use nix::{
    errno::Errno,
    fcntl::AT_FDCWD,
    sys::{
        stat::{UtimensatFlags, utimensat},
        time::TimeSpec,
    },
};

use super::{Cost, MINUTE, OPEN, Php, pair};
use crate::harness::{Bucket, refused};

#[test]
fn a_compiled_template_is_found_by_the_time_of_its_directory() {
    let Some(bucket) = Bucket::fresh() else { return };
    for (options, store) in [(MINUTE, "twig1"), (OPEN, "twig2")] {
        bucket.put(&format!("{store}/"), b"");
        bucket.put(&format!("{store}/other"), b"");
        let (a, wire, b) = pair(&bucket, options);
        let (temporary, dir) = (format!("{store}/.65f0"), format!("{store}/node.html.twig_x"));
        refused(fs::metadata(b.path(&dir)), Errno::ENOENT);
        assert!(a.stat(store).is_dir());
        wire.take_seen();

        let php = Php::on(&a);
        php.put(&temporary, b"<?php echo 1;", 8192);
        php.chmod(&temporary, 0o444);
        let time = fs::metadata(php.path(&temporary)).unwrap().mtime() - 10;
        php.mkdir(&dir);
        assert!(!php.exists(&format!("{dir}/.htaccess")));
        php.put(&format!("{dir}/.htaccess"), b"Deny from all", 8192);
        php.chmod(&format!("{dir}/.htaccess"), 0o444);
        let name = format!("{dir}/{time:x}.php");
        php.rename(&temporary, &name);
        let spec = TimeSpec::new(time, 0);
        utimensat(AT_FDCWD, &php.path(&dir), &spec, &spec, UtimensatFlags::FollowSymlink).unwrap();
        assert_eq!(fs::metadata(php.path(&dir)).unwrap().mtime(), time);
        let cost = Cost::of(&wire);

        // Two files and a directory; HEAD, COPY, DELETE of the rename; HEAD, PUT of the directory's time.
        let written = Cost { put: 4, copy: 1, delete: 1, ..Cost::default() };
        if options == MINUTE {
            assert_eq!(cost, Cost { list: 1, check: 2, ..written });
        } else {
            assert_eq!(Cost { list: 0, check: 0, ..cost }, written);
        }
        if bucket.server.kind.keeps_directory_headers() {
            assert_eq!(b.stat(&dir).mtime(), time);
        }
        assert_eq!(b.read(&name), b"<?php echo 1;");
        refused(fs::metadata(b.path(&temporary)), Errno::ENOENT);
        assert_eq!(a.read(&name), b"<?php echo 1;");
        assert_eq!(Cost::of(&wire).get, 0);
    }
}
