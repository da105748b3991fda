//! Names: every one that a key can hold comes back as it was, and the others are refused.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

use nix::errno::Errno;

use crate::harness::{Bucket, Kind, names, refused};

/// Names that break careless clients: percent, plus and XML signs, spaces, letters of one to four bytes in both normal
/// forms, and names that only look special.
const ODD: [&str; 19] = [
    "space in name",
    " lead and trail ",
    "plus+plus",
    "per%20cent%",
    "a&b=c?d#e;f",
    "quotes'\"`",
    "<xml>&amp;",
    "back\\slash",
    "colon:star*(pipe|)",
    "~tilde,comma@at!$",
    "[brackets]{braces}^",
    "...",
    "..hidden",
    "-rf",
    "\u{e9}-composed",
    "e\u{301}-decomposed",
    "\u{65e5}\u{672c}\u{8a9e}.txt",
    "\u{1f600}.png",
    ".htaccess",
];

/// SeaweedFS takes a backslash for a slash.
fn odd(bucket: &Bucket) -> impl Iterator<Item = &'static str> {
    let backslash = bucket.server.kind != Kind::Weed;
    ODD.into_iter().filter(move |name| backslash || !name.contains('\\'))
}

#[test]
fn odd_names_come_back_as_they_were() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    for name in odd(&bucket) {
        mount.write(name, name.as_bytes());
        assert_eq!(bucket.body(name), name.as_bytes(), "{name:?}");
    }
    let mut wanted: Vec<String> = odd(&bucket).map(str::to_owned).collect();
    wanted.sort();
    assert_eq!(names(mount.dir()), wanted);
    assert_eq!(mount.stop(), 0);
    let again = bucket.mount();
    assert_eq!(names(again.dir()), wanted);
    for name in odd(&bucket) {
        assert_eq!(again.read(name), name.as_bytes(), "{name:?}");
        fs::rename(again.path(name), again.path("passing")).unwrap();
        fs::rename(again.path("passing"), again.path(format!("{name}2"))).unwrap();
        fs::remove_file(again.path(format!("{name}2"))).unwrap();
    }
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

#[test]
fn control_characters_are_names_too() {
    let Some(bucket) = Bucket::fresh() else { return };
    if bucket.server.kind != Kind::Dev {
        return; // XML 1.0 cannot carry them, so servers differ in what they list
    }
    let mount = bucket.mount();
    for name in ["line\nfeed", "tab\tname", "car\rriage", "bell\x07", "del\x7f"] {
        mount.write(name, name.as_bytes());
        assert_eq!(names(mount.dir()), [name]);
        assert_eq!(bucket.body(name), name.as_bytes(), "{name:?}");
        fs::remove_file(mount.path(name)).unwrap();
    }
}

#[test]
fn odd_names_work_for_directories() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    for name in odd(&bucket) {
        fs::create_dir(mount.path(name)).unwrap();
        mount.write(&format!("{name}/file"), name.as_bytes());
        assert_eq!(names(mount.path(name)), ["file"], "{name:?}");
        assert_eq!(mount.read(&format!("{name}/file")), name.as_bytes(), "{name:?}");
        fs::remove_dir_all(mount.path(name)).unwrap();
    }
    assert_eq!(bucket.keys(), Vec::<String>::new());
}

#[test]
fn letters_of_two_cases_are_two_names() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mount.write("Photo.JPG", b"upper");
    mount.write("photo.jpg", b"lower");
    assert_eq!(names(mount.dir()), ["Photo.JPG", "photo.jpg"]);
    assert_eq!(mount.read("Photo.JPG"), b"upper");
    assert_eq!(bucket.see("Photo.JPG").unwrap().content_type.as_deref(), Some("image/jpeg"));
}

#[test]
fn what_no_key_can_hold_is_refused() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    for raw in [&b"caf\xe9"[..], b"\xff\xfe", b"cut \xe2\x82"] {
        let path = mount.path(OsStr::from_bytes(raw));
        refused(fs::write(&path, b"x"), Errno::EILSEQ);
        refused(fs::create_dir(&path), Errno::EILSEQ);
        mount.write("file", b"x");
        refused(fs::rename(mount.path("file"), &path), Errno::EILSEQ);
    }
    assert_eq!(bucket.keys(), ["file"]);
}

#[test]
fn names_that_are_too_long_are_refused() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let longest = "n".repeat(255);
    mount.write(&longest, b"x");
    assert_eq!(names(mount.dir()), [longest.as_str()]);
    refused(fs::write(mount.path("n".repeat(256)), b"x"), Errno::ENAMETOOLONG);
    // A key has 1024 bytes, the prefix included: four full names fill it.
    let mut dir = String::new();
    for _ in 0..3 {
        dir = format!("{dir}{}/", "d".repeat(255));
        fs::create_dir(mount.path(&dir)).unwrap();
    }
    fs::create_dir(mount.path(format!("{dir}{}", "d".repeat(200)))).unwrap();
    let deep = format!("{dir}{}/{}", "d".repeat(200), "f".repeat(200));
    refused(fs::write(mount.path(deep), b"x"), Errno::ENAMETOOLONG);
}
