//! PHP itself, where it is installed (`scripts/setup php`).

use super::{Cost, MINUTE, OPEN, pair};
use crate::harness::{Bucket, Mount, names, run};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mount/apps/calls.php");

/// `false`, with a message, where there is no PHP.
fn installed() -> bool {
    let there = run(["php", "--version"]).0 == 0;
    if !there {
        assert!(std::env::var_os("CI").is_none(), "these tests need php: scripts/setup php");
        println!("skipped: these tests need php: scripts/setup php");
    }
    there
}

/// What a step gives, as JSON, after anything that PHP complained of.
#[track_caller]
fn php(mount: &Mount, step: &str) -> String {
    let dir = mount.path("uploads");
    let (code, said) = run(["php", SCRIPT, step, dir.to_str().unwrap()]);
    assert_eq!(code, 0, "{step}: {said}");
    said
}

/// Each function, what it gives, and what it writes: PUT, COPY, DELETE.
const STEPS: [(&str, &str, (usize, usize, usize)); 13] = [
    ("move", "[false,true,true,false,50000]", (1, 0, 0)),
    ("copy", "[true,true]", (0, 1, 0)),
    ("rename", "[true,false,50000]", (0, 1, 1)),
    ("touch", "[true,1700000000,0]", (1, 1, 0)),
    ("again", "[true,1600000000]", (0, 1, 0)),
    // The name is taken with an empty object, be it at open or at close.
    ("tempnam", r#"[true,3,true,true,"100644","css"]"#, (2, 1, 1)),
    ("lock", r#"[14,6,"second"]"#, (2, 0, 0)),
    ("x", "[true,false,4,true]", EXCLUSIVE),
    ("c", r#"[true,"second",true,true,"sec"]"#, (1, 0, 0)),
    ("append", r#"[2,2,"a\nb\n"]"#, (2, 0, 0)),
    ("list", r#"["exclusive","locked","log","other","photo.jpg","renamed.jpg","style.css","touched"]"#, (0, 0, 0)),
    ("glob", r#"["photo.jpg","renamed.jpg"]"#, (0, 0, 0)),
    ("look", "[true,true,true,true]", (0, 0, 0)),
];

/// What a file costs that is opened exclusively, written and closed: an empty object takes its name first.
const EXCLUSIVE: (usize, usize, usize) = (2, 0, 0);

#[test]
fn functions_of_php_do_what_they_say_and_cost_what_they_write() {
    let Some(bucket) = Bucket::fresh() else { return };
    if !installed() {
        return;
    }
    for options in [MINUTE, OPEN] {
        bucket.put("uploads/", b"");
        bucket.put("uploads/other", b"");
        let (a, wire, b) = pair(&bucket, options);
        assert!(a.stat("uploads").is_dir());
        for (step, gives, writes) in STEPS {
            wire.take_seen();
            let said = php(&a, step);
            let cost = Cost::of(&wire);
            assert_eq!(said, gives, "{step}");
            assert_eq!((cost.put, cost.copy, cost.delete), writes, "{step}: {cost:?}");
            assert_eq!(cost.get, 0, "{step}: what this host wrote is never fetched: {cost:?}");
        }
        assert_eq!(b.read("uploads/photo.jpg"), "photo".repeat(10_000).as_bytes());
        assert_eq!(b.read("uploads/renamed.jpg"), "photo".repeat(10_000).as_bytes());
        for (name, body) in [("style.css", "css"), ("locked", "sec"), ("exclusive", "mine"), ("log", "a\nb\n")] {
            assert_eq!(b.read(&format!("uploads/{name}")), body.as_bytes(), "{name}");
        }

        wire.take_seen();
        let made = php(&a, "mkdir");
        assert!(made.contains("File exists") && made.contains("Directory not empty"), "{made}");
        assert!(made.ends_with("[true,true,false,false,true]"), "{made}");
        assert!(b.stat("uploads/a/b/c").is_dir());
        assert_eq!(php(&a, "remove"), "[true,true,true,false]");
        assert_eq!(php(&a, "unlink"), "[true,true,true,true,true,true,true]");
        let cost = Cost::of(&wire);
        assert_eq!((cost.copy, cost.get, cost.delete), (0, 0, 10), "{cost:?}");
        assert_eq!(names(b.path("uploads")), ["other"]);
        assert_eq!(bucket.keys(), ["uploads/", "uploads/other"]);
    }
}
