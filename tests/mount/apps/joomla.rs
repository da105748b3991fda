//! Joomla: every upload is checked first in a scratch file beside its place (`LocalAdapter::checkContent`).

use std::fs;

use nix::errno::Errno;

use super::{Cost, MINUTE, OPEN, Php, pair, seen_on};
use crate::harness::{Bucket, noise, refused};

#[test]
fn a_scratch_file_leaves_nothing_behind() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("banners/", b"");
    bucket.put("banners/other.jpg", b"x");
    for (options, n) in [(MINUTE, 1), (OPEN, 2)] {
        let (a, wire, b) = pair(&bucket, options);
        let (scratch, name) = (format!("banners/65f0c0ffee{n}.jpg"), format!("banners/photo{n}.jpg"));
        for name in [&scratch, &name] {
            refused(fs::metadata(b.path(name)), Errno::ENOENT);
        }
        assert!(a.stat("banners").is_dir());
        wire.take_seen();
        let (php, body) = (Php::on(&a), noise(30_000, n));
        assert!(!php.exists(&name));
        php.absent.set(2); // both files are new to the kernel
        php.put(&scratch, &body, 8192);
        assert_eq!(php.get(&scratch, 8192), body[..8192]);
        php.chmod(&scratch, 0o777);
        php.unlink(&scratch);
        let checked = Cost::of(&wire);
        assert_eq!((checked.put, checked.delete, checked.copy, checked.get), (1, 1, 0, 0), "{checked:?}");
        refused(fs::metadata(b.path(&scratch)), Errno::ENOENT);

        php.put(&name, &body, 8192);
        seen_on(&b, &name, &body);
        assert!(php.get(&name, usize::MAX) == body);
        let cost = Cost::of(&wire);
        assert_eq!((cost.put, cost.delete, cost.copy, cost.get), (1, 0, 0, 0), "{cost:?}");
        let asks = checked.asks() + cost.asks();
        if options == MINUTE {
            assert_eq!((asks, checked.list), (1, 1));
        } else {
            let questions = php.opens.get() + php.absent.get() + 2;
            assert!(asks <= questions, "{checked:?} {cost:?} for {questions}");
        }
        assert!(!bucket.keys().contains(&scratch));
    }
}

#[test]
fn a_folder_is_deleted_with_all_that_is_in_it() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, wire, b) = pair(&bucket, MINUTE);
    fs::create_dir_all(a.path("folder/sub")).unwrap();
    for name in ["folder/1", "folder/2", "folder/sub/3"] {
        a.write(name, name);
        seen_on(&b, name, name.as_bytes());
    }
    wire.take_seen();
    for name in ["folder/1", "folder/2", "folder/sub/3"] {
        Php::on(&a).chmod(name, 0o777);
    }
    fs::remove_dir_all(a.path("folder")).unwrap();
    // Three files and two directories; only an empty directory is removed, so each is listed for that.
    assert_eq!(Cost::of(&wire), Cost { delete: 5, list: 2, ..Cost::default() });
    refused(fs::metadata(b.path("folder")), Errno::ENOENT);
    assert_eq!(bucket.keys(), Vec::<String>::new());
}
