//! WordPress: one photo through `async-upload.php`, its sizes, its deletion, the size of all uploads.

use std::fs;

use nix::errno::Errno;

use super::{Cost, MINUTE, OPEN, Php, pair, seen_on};
use crate::harness::{Bucket, Mount, names, noise, refused};

const MONTH: &str = "2026/11";

const SIZES: [&str; 7] = ["300x200", "1024x683", "150x150", "768x512", "1536x1024", "2048x1365", "scaled"];

fn sizes() -> impl Iterator<Item = String> {
    SIZES.iter().map(|size| format!("{MONTH}/photo-{size}.jpg"))
}

fn original() -> String {
    format!("{MONTH}/photo.jpg")
}

fn photo(n: u64) -> Vec<u8> {
    noise(40_000 + 1000 * usize::try_from(n).unwrap(), n)
}

/// A month that has files already, and a webserver that served its directory.
fn month(bucket: &Bucket, mounts: &[&Mount]) {
    bucket.put("2026/", b"");
    bucket.put(&format!("{MONTH}/"), b"");
    for n in 0..20 {
        bucket.put(&format!("{MONTH}/other-{n}.jpg"), b"x");
    }
    for mount in mounts {
        assert!(mount.stat(MONTH).is_dir());
    }
}

/// `wp_handle_upload` and `wp_create_image_subsizes`. `closed` is called right after every close.
fn upload(php: &Php<'_>, closed: impl Fn(&str, &[u8])) {
    let name = original();
    assert!(php.exists(MONTH));
    php.stat(MONTH, true);
    assert!(!php.exists(&name));
    assert_eq!(names(php.path(MONTH)).len(), 20); // wp_unique_filename
    php.stat(&name, true);
    php.stat(&name, false);
    php.absent.set(php.absent.get() + 1); // the open below makes the file
    php.put(&name, &photo(0), 40_000);
    closed(&name, &photo(0));
    php.stat(MONTH, true);
    php.chmod(&name, 0o644);
    for n in 0..16 {
        let whole = if n % 8 == 0 { usize::MAX } else { 8192 };
        assert_eq!(php.get(&name, whole), photo(0)[..photo(0).len().min(whole)]);
        assert!(n % 3 > 0 || php.exists(&name));
        assert!(n % 4 > 0 || php.size(&name) == photo(0).len() as u64);
    }
    for (n, name) in (1..).zip(sizes()) {
        assert!(php.exists(MONTH));
        php.stat(MONTH, true);
        php.stat(&name, false);
        php.absent.set(php.absent.get() + 1);
        php.put(&name, &photo(n), 4096);
        closed(&name, &photo(n));
        php.chmod(&name, 0o644);
        assert!(php.exists(&name));
        assert_eq!(php.size(&name), photo(n).len() as u64);
    }
}

#[test]
fn a_photo_with_its_sizes_costs_its_puts_and_one_listing() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, wire, _) = pair(&bucket, MINUTE);
    month(&bucket, &[&a]);
    wire.take_seen();
    upload(&Php::on(&a), |_, _| ());
    assert_eq!(Cost::of(&wire), Cost { put: 8, list: 1, ..Cost::default() });
}

#[test]
fn a_photo_costs_one_question_for_each_open_and_each_absent_name_by_default() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, wire, _) = pair(&bucket, OPEN);
    month(&bucket, &[&a]);
    wire.take_seen();
    let php = Php::on(&a);
    upload(&php, |_, _| ());
    let cost = Cost::of(&wire);
    assert_eq!((cost.put, cost.copy, cost.get, cost.delete, cost.other), (8, 0, 0, 0, 0), "{cost:?}");
    // And the listing that was asked for, and that of a directory in which nothing was looked for before.
    let questions = php.opens.get() + php.absent.get() + 2;
    assert!(cost.asks() <= questions, "{cost:?} for {questions}");
}

#[test]
fn each_size_is_on_the_other_webserver_when_it_is_closed() {
    let Some(bucket) = Bucket::fresh() else { return };
    for options in [MINUTE, OPEN] {
        // The other one has the default: absence is never answered from memory.
        let (a, b) = (bucket.mount_with(options), bucket.mount_with(""));
        month(&bucket, &[&a, &b]);
        for name in sizes().chain([original()]) {
            refused(fs::metadata(b.path(name)), Errno::ENOENT);
        }
        upload(&Php::on(&a), |name, bytes| seen_on(&b, name, bytes));
        for name in sizes().chain([original()]) {
            Php::on(&a).unlink(&name);
            refused(fs::File::open(b.path(&name)), Errno::ENOENT);
            assert!(!names(b.path(MONTH)).contains(&name[MONTH.len() + 1..].to_owned()), "{name}");
        }
    }
}

#[test]
fn a_photo_with_its_sizes_is_deleted_by_as_many_requests() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, wire, _) = pair(&bucket, MINUTE);
    month(&bucket, &[&a]);
    let php = Php::on(&a);
    upload(&php, |_, _| ());
    wire.take_seen();
    for name in sizes().chain([original()]) {
        assert!(php.exists(MONTH) && php.exists(&name));
        php.unlink(&name);
        assert!(!php.exists(&name));
    }
    assert_eq!(names(a.path(MONTH)).len(), 20);
    assert_eq!(Cost::of(&wire), Cost { delete: 8, ..Cost::default() });
}

/// `recurse_dirsize`
fn size_of_all(mount: &Mount, dir: &str) -> u64 {
    let entries = fs::read_dir(mount.path(dir)).unwrap();
    let sizes = entries.map(|entry| {
        let entry = entry.unwrap();
        let name = format!("{dir}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            size_of_all(mount, &format!("{name}/"))
        } else {
            mount.stat(&name).len()
        }
    });
    sizes.sum()
}

#[test]
fn the_size_of_all_uploads_is_asked_for_once() {
    let Some(bucket) = Bucket::fresh() else { return };
    for (options, again) in [(MINUTE, 0), (OPEN, 3)] {
        let (a, wire, _) = pair(&bucket, options);
        month(&bucket, &[]);
        assert_eq!(size_of_all(&a, ""), 20);
        let cold = Cost::of(&wire);
        // Two directories and twenty files, each with metadata that no listing tells.
        assert!(cold.check <= 22 && cold.list <= 6 && cold.get == 0, "{cold:?}");
        assert_eq!(size_of_all(&a, ""), 20);
        assert_eq!(Cost::of(&wire), Cost { list: again, ..Cost::default() }, "{options}");
    }
}
