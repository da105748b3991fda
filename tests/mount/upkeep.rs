//! Warming up, forgetting, and the cache: what an administrator does with a mount that is in use.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;

use crate::harness::{Bucket, Mount, Wire, eventually, names, noise, run, start};

/// Runs `originfs` with these arguments to its end; gives its exit code and what it said.
fn originfs<'a>(args: impl IntoIterator<Item = &'a str>) -> (i32, String) {
    run([env!("CARGO_BIN_EXE_originfs")].into_iter().chain(args))
}

/// As [`originfs`], which must succeed.
#[track_caller]
fn done<'a>(args: impl IntoIterator<Item = &'a str>) -> String {
    let (code, said) = originfs(args);
    assert_eq!(code, 0, "{said}");
    said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// LISTs, HEADs and GETs since the last time; there must be no others.
#[track_caller]
fn asked(wire: &Wire) -> (usize, usize, usize) {
    let seen = wire.take_seen();
    let lists = seen.iter().filter(|seen| seen.method == "GET" && seen.target.contains("list-type")).count();
    let of = |method: &str| seen.iter().filter(|seen| seen.method == method).count();
    assert_eq!(of("GET") + of("HEAD"), seen.len(), "{seen:?}");
    (lists, of("HEAD"), of("GET") - lists)
}

#[test]
fn what_another_host_changed_is_seen_after_invalidate() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("d/a", b"old");
    bucket.put("e/b", b"old");
    let mount = bucket.mount_with("freshness=10m");
    assert_eq!((mount.read("d/a"), mount.read("e/b")), (b"old".to_vec(), b"old".to_vec()));
    assert_eq!(names(mount.path("d")), ["a"]);
    assert!(!mount.path("d/new").exists());
    let open = fs::File::open(mount.path("d/a")).unwrap();
    for name in ["d/a", "d/new", "e/b"] {
        bucket.put(name, b"changed");
    }
    assert_eq!((mount.read("d/a"), names(mount.path("d")).len()), (b"old".to_vec(), 1), "it may be this old");

    let said = done(["invalidate", text(&mount.path("d"))]);
    assert!(said.contains("names forgotten"), "{said}");
    assert_eq!(mount.stat("d/a").len(), 7);
    assert_eq!((mount.read("d/a"), mount.read("d/new")), (b"changed".to_vec(), b"changed".to_vec()));
    assert_eq!(names(mount.path("d")), ["a", "new"]);
    assert_eq!(mount.stat("e/b").len(), 3, "elsewhere nothing was forgotten");
    assert_eq!(open.metadata().unwrap().size(), 3, "what is open stays what it is");
    done(["invalidate", "--at", text(mount.dir()), "e/b"]);
    assert_eq!(mount.read("e/b"), b"changed");
}

#[test]
fn invalidate_leaves_dirty_files_alone_and_names_them() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("freshness=10m");
    let mut open = fs::File::create(mount.path("mine")).unwrap();
    open.write_all(b"bytes").unwrap();
    let said = done(["invalidate", "--json", text(mount.dir())]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["kept"], serde_json::json!(["mine"]));
    assert_eq!(mount.stat("mine").len(), 5);
    nix::unistd::close(open).unwrap();
    assert_eq!(bucket.body("mine"), b"bytes");
}

#[test]
fn warmed_files_are_read_without_a_request() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put_many((0..20).map(|n| format!("2026/05/{n}.jpg")));
    bucket.put_many((0..5).map(|n| format!("2025/{n}.jpg")));
    let large = noise(5 << 20, 1);
    bucket.put("2026/large", &large);
    let (mount, wire) = bucket.wired("freshness=10m");
    wire.take_seen();
    let said = done(["warm", "--json", text(&mount.path("2026"))]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (said["done"].as_u64(), said["failed"].as_u64(), said["left_out"].as_u64()),
        (Some(21), Some(0), Some(0))
    );
    let (lists, heads, gets) = asked(&wire);
    assert!(lists <= 4 && heads <= 2 && gets <= 22, "{lists} lists, {heads} heads, {gets} gets");

    assert_eq!(names(mount.path("2026/05")).len(), 20);
    for n in 0..20 {
        assert_eq!(mount.read(&format!("2026/05/{n}.jpg")), format!("2026/05/{n}.jpg").into_bytes());
    }
    assert!(mount.read("2026/large") == large);
    assert_eq!(asked(&wire), (0, 0, 0), "all of it was here");
    mount.read("2025/1.jpg");
    assert_ne!(asked(&wire), (0, 0, 0), "this was not");
}

#[test]
fn after_warming_an_open_brings_no_bytes() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put_many((0..10).map(|n| format!("d/{n}")));
    let (mount, wire) = bucket.wired("freshness=open");
    done(["warm", "--at", text(mount.dir()), "d/*"]);
    wire.take_seen();
    for n in 0..10 {
        assert_eq!(mount.read(&format!("d/{n}")), format!("d/{n}").into_bytes());
    }
    let seen = wire.take_seen();
    let fetched = seen.iter().filter(|seen| seen.method == "GET" && !seen.conditional);
    assert_eq!(fetched.filter(|seen| !seen.target.contains("list-type")).count(), 0, "{seen:?}");
}

#[test]
fn a_thousand_names_are_warmed_by_one_head_each() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put_many((0..1000).map(|n| format!("d/{n:04}")));
    let (mount, wire) = bucket.wired("freshness=10m");
    wire.take_seen();
    let said = done(["warm", "--metadata", text(&mount.path("d"))]);
    assert!(said.contains("1000 of 1000 files"), "{said}");
    let (lists, heads, gets) = asked(&wire);
    assert!(lists <= 4 && (1000..=1002).contains(&heads) && gets == 0, "{lists} lists, {heads} heads, {gets} gets");
    for entry in fs::read_dir(mount.path("d")).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().len(), 6);
    }
    assert_eq!(asked(&wire), (0, 0, 0));
    // Known already: nothing is asked again but for the listings.
    done(["warm", "--metadata", text(&mount.path("d"))]);
    let (lists, heads, gets) = asked(&wire);
    assert!(lists <= 4 && (heads, gets) == (0, 0), "{lists} lists, {heads} heads, {gets} gets");
}

#[test]
fn an_interrupt_ends_warming_and_nothing_else() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put_many((0..200).map(|n| format!("d/{n}")));
    let (mount, wire) = bucket.wired("freshness=10m");
    wire.take_seen();
    // Four requests a second.
    let warming = start([env!("CARGO_BIN_EXE_originfs"), "warm", "--rate=64KiB", "--jobs=2", text(&mount.path("d"))]);
    eventually("it has begun", || wire.count("GET", "/d/") > 0);
    warming.signal(Signal::SIGINT);
    assert_eq!(warming.wait(), 8, "{}", warming.said());
    assert!(warming.said().contains(" files, "), "{}", warming.said());
    // What was on its way arrives; then a second passes that would have brought four more.
    let mut counted = (wire.count("GET", "/d/"), originfs::clock::now());
    eventually("no more is asked", || {
        let now = wire.count("GET", "/d/");
        if now != counted.0 {
            counted = (now, originfs::clock::now());
        }
        counted.1.elapsed() > std::time::Duration::from_secs(1)
    });
    assert!(counted.0 < 100, "{} of 200", counted.0);
    assert_eq!(mount.read("d/199"), b"d/199");
}

#[test]
fn who_asks_for_no_mount_is_told() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    assert_eq!(originfs(["warm", "/nonexistent/dir"]).0, 1);
    assert_eq!(originfs(["invalidate", "--at", text(mount.dir()), "../x"]).0, 1);
    assert_eq!(originfs(["warm", "--at", text(mount.dir()), "--rate=fast"]).0, 1);
    let said = done(["warm", text(&mount.path("none/*.jpg"))]);
    assert!(said.contains("nothing matches"), "{said}");
}

/// The files in the cache of `mount` that have exactly these bytes.
fn cached_files(mount: &Mount, bytes: &[u8]) -> Vec<PathBuf> {
    let mut dirs = vec![mount.cache_dir()];
    let mut found = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if fs::read(&path).is_ok_and(|content| content == bytes) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn a_flipped_byte_is_found_and_the_next_read_is_right() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (right, broken, open) = (noise(300_000, 1), noise(300_000, 2), noise(300_000, 3));
    for (name, bytes) in [("d/right", &right), ("d/broken", &broken), ("d/open", &open)] {
        bucket.put(name, bytes);
    }
    let mount = bucket.mount_with("freshness=10m");
    for (name, bytes) in [("d/right", &right), ("d/broken", &broken), ("d/open", &open)] {
        assert!(mount.read(name) == *bytes);
    }
    let held = fs::File::open(mount.path("d/open")).unwrap();
    for bytes in [&broken, &open] {
        let [path] = &cached_files(&mount, bytes)[..] else { panic!("one file has these bytes") };
        let file = fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&[bytes[1000] ^ 1], 1000).unwrap();
    }
    let said = done(["cache", "verify", "--json", text(&mount.path("d"))]);
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let paths: Vec<_> =
        said["entries"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(
        (paths, said["files"].as_u64(), said["unknown"].as_u64()),
        (vec!["d/broken", "d/open"], Some(1), Some(0))
    );
    for (name, bytes) in [("d/right", &right), ("d/broken", &broken), ("d/open", &open)] {
        assert!(mount.read(name) == *bytes, "{name}");
    }
    drop(held);
    assert!(mount.read("d/open") == open);
    assert!(done(["cache", "verify", text(mount.dir())]).contains("3 files are right"));
}

#[test]
fn the_cache_is_shown_and_cleared_beside_what_is_open() {
    let Some(bucket) = Bucket::fresh() else { return };
    let bytes = noise(200_000, 4);
    for name in ["d/a", "d/open", "e/b"] {
        bucket.put(name, &bytes);
    }
    bucket.put("d/never", b"read");
    let (mount, wire) = bucket.wired("freshness=10m");
    let list = || -> Vec<String> {
        let said = done(["cache", "ls", "--json", "--at", text(mount.dir())]);
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let told = |entry: &serde_json::Value| {
            let flag = |name: &str| entry[name].as_bool().unwrap();
            let state = if flag("dirty") {
                " dirty"
            } else if flag("in_use") {
                " in use"
            } else {
                ""
            };
            format!("{} {}{state}", entry["path"].as_str().unwrap(), entry["here"])
        };
        said["entries"].as_array().unwrap().iter().map(told).collect()
    };
    for name in ["d/a", "e/b"] {
        mount.read(name);
    }
    let mut open = fs::File::open(mount.path("d/open")).unwrap();
    let mut dirty = fs::File::create(mount.path("mine")).unwrap();
    dirty.write_all(b"bytes").unwrap();
    eventually("what was read is closed", || {
        list() == ["d/a 200000", "d/open 200000 in use", "e/b 200000", "mine 5 dirty"]
    });
    let said = done(["cache", "clear", text(&mount.path("d"))]);
    assert!(said.contains("in use, kept: d/open") && said.contains("1 files dropped"), "{said}");
    assert_eq!(list(), ["d/open 200000 in use", "e/b 200000", "mine 5 dirty"]);
    let mut read = Vec::new();
    open.read_to_end(&mut read).unwrap();
    assert!(read == bytes);
    wire.take_seen();
    assert!(mount.read("e/b") == bytes);
    assert_eq!(asked(&wire), (0, 0, 0), "it is still here");
    nix::unistd::close(dirty).unwrap();
    assert_eq!(bucket.body("mine"), b"bytes");
    done(["cache", "clear", "--at", text(mount.dir()), "mine", "e"]);
    assert_eq!((mount.read("mine"), mount.read("e/b") == bytes), (b"bytes".to_vec(), true));
}
