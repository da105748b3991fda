//! A directory of more names than one listing has.

use super::{Cost, MINUTE, pair};
use crate::harness::{Bucket, names};

#[test]
fn uploads_into_a_long_directory_cost_the_same_as_into_a_short_one() {
    /// Two pages.
    const FILES: usize = 1010;
    let Some(bucket) = Bucket::fresh() else { return };
    for n in 0..FILES {
        bucket.put(&format!("month/{n:05}.jpg"), b"x");
    }
    let (a, wire, b) = pair(&bucket, MINUTE);
    assert!(a.stat("month").is_dir());
    assert_eq!(names(a.path("month")).len(), FILES);
    assert_eq!(Cost::of(&wire).list, 3, "that of the root and two pages");
    for n in 1..=5 {
        let name = format!("month/new{n}.jpg");
        assert!(!a.path(&name).exists());
        assert_eq!(names(a.path("month")).len(), FILES + n - 1);
        a.write(&name, b"new");
        assert_eq!(b.read(&name), b"new");
        assert_eq!(names(a.path("month")).len(), FILES + n);
        assert_eq!(Cost::of(&wire), Cost { put: 1, ..Cost::default() });
    }
}
