use std::{io::Write as _, os::unix::fs::symlink};

use super::*;

struct Lab {
    disk: Disk,
    dir: PathBuf,
}

impl Lab {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("originfs-local-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self { disk: Disk::new(&dir), dir }
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        self.disk.make(path, New::File).unwrap().unwrap().write_all(bytes).unwrap();
    }

    fn all(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.disk.walk("", 100).unwrap().unwrap().into_iter().map(|item| item.path).collect();
        paths.sort();
        paths
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.dir));
    }
}

#[test]
fn real_files_under_their_own_names() {
    let lab = Lab::new("names");
    assert_eq!(lab.disk.stat("a").unwrap(), None);
    assert_eq!(lab.disk.usage(), Some(Usage::default()), "there is no directory yet");
    lab.write("2026/11/x.tmp", b"12345");
    lab.disk.make("link", New::Symlink(OsStr::new("2026"))).unwrap();
    assert_eq!(fs::read(lab.dir.join("local/2026/11/x.tmp")).unwrap(), b"12345");
    let entry = lab.disk.stat("2026/11/x.tmp").unwrap().unwrap();
    assert_eq!((entry.attr.kind, entry.attr.size, entry.frame), (Kind::File, 5, false));
    assert!(lab.disk.stat("2026/11").unwrap().unwrap().frame);
    assert_eq!(lab.disk.read_link("link").unwrap(), "2026");
    assert_eq!(lab.disk.usage(), Some(Usage { files: 2, bytes: 9 }));
    assert!(matches!(lab.disk.make("2026/11/x.tmp", New::File), Err(Error::Exists)));
}

#[test]
fn frames_go_with_what_needed_them_and_directories_stay() {
    let lab = Lab::new("frames");
    lab.write("a/b/x.tmp", b"");
    lab.write("a/y.tmp", b"");
    lab.disk.unlink("a/b/x.tmp").unwrap();
    assert_eq!(lab.all(), ["a", "a/y.tmp"]);
    lab.disk.make("a/c.tmp", New::Dir).unwrap();
    lab.write("a/c.tmp/z", b"");
    lab.disk.unlink("a/y.tmp").unwrap();
    lab.disk.unlink("a/c.tmp/z").unwrap();
    assert_eq!(lab.all(), ["a", "a/c.tmp"], "one that was made stays");
    lab.disk.rmdir("a/c.tmp").unwrap();
    assert_eq!(lab.all(), [""; 0]);
}

#[test]
fn what_a_crash_left_goes_at_the_next_start() {
    let lab = Lab::new("clear");
    lab.write("a/b/x", b"");
    let (_, scratch) = lab.disk.scratch().unwrap();
    std::mem::forget(scratch);
    fs::remove_file(lab.dir.join("local/a/b/x")).unwrap();
    lab.disk.make("d", New::Dir).unwrap();
    lab.disk.clear().unwrap();
    assert_eq!((lab.all(), lab.dir.join("local.new").exists()), (vec!["d".to_owned()], false));
}

#[test]
fn nothing_leads_outside() {
    let lab = Lab::new("outside");
    lab.write("x", b"");
    fs::write(lab.dir.join("secret"), "s").unwrap();
    symlink(&lab.dir, lab.dir.join("local/out")).unwrap();
    symlink(lab.dir.join("secret"), lab.dir.join("local/file")).unwrap();
    assert_eq!(lab.disk.stat("out/secret").unwrap(), None);
    assert!(matches!(lab.disk.open("out/secret", false), Err(Error::NotDir)));
    assert!(matches!(lab.disk.open("file", false), Err(Error::NotDir)));
    assert!(lab.disk.make("out/new", New::File).is_err());
    assert!(lab.disk.unlink("out/secret").is_err());
    assert!(lab.disk.rename("x", "out/x").is_err());
    assert_eq!(lab.disk.list("out").unwrap(), []);
    assert!(lab.dir.join("secret").exists() && !lab.dir.join("new").exists());
}

#[test]
fn what_was_put_in_place_can_be_taken_away_again() {
    let lab = Lab::new("place");
    lab.write("a/x.tmp", b"old");
    for (keep, expect) in [(false, "old"), (true, "new")] {
        let (mut file, scratch) = lab.disk.scratch().unwrap();
        file.write_all(b"new").unwrap();
        let placed = lab.disk.place(&scratch, "a/x.tmp").unwrap();
        assert_eq!(fs::read(lab.dir.join("local/a/x.tmp")).unwrap(), b"new");
        if !keep {
            placed.undo();
        }
        assert_eq!(fs::read_to_string(lab.dir.join("local/a/x.tmp")).unwrap(), expect);
    }
    let (_, scratch) = lab.disk.scratch().unwrap();
    lab.disk.place(&scratch, "b/y.tmp").unwrap().undo();
    drop(scratch);
    assert_eq!(lab.all(), ["a", "a/x.tmp"]);
    assert_eq!(fs::read_dir(lab.dir.join("local.new")).unwrap().count(), 0, "nothing is left aside");
}

#[test]
fn renames_take_frames_along() {
    let lab = Lab::new("rename");
    lab.write("a/b/x.tmp", b"x");
    lab.disk.rename("a/b/x.tmp", "c/d/y.tmp").unwrap();
    assert_eq!(lab.all(), ["c", "c/d", "c/d/y.tmp"]);
    assert!(matches!(lab.disk.rename("none", "e/f"), Err(Error::NotFound)));
    lab.disk.rename("c", "e").unwrap();
    assert_eq!(lab.all(), ["e", "e/d", "e/d/y.tmp"]);
    lab.disk.move_out("e/d/y.tmp", &lab.dir.join("gone")).unwrap();
    assert_eq!(lab.all(), [""; 0]);
}

#[test]
fn modes_owners_and_times_are_the_disks() {
    let lab = Lab::new("change");
    lab.write("x", b"");
    let mtime = Time { sec: 1_000_000, nsec: 123_456_789 };
    lab.disk.change("x", &Change { mode: Some(0o640), mtime: Some(mtime), ..Change::default() }).unwrap();
    let attr = lab.disk.stat("x").unwrap().unwrap().attr;
    assert_eq!((attr.mode, attr.mtime), (0o640, mtime));
    // A directory never looks like a frame.
    lab.disk.make("d", New::Dir).unwrap();
    lab.disk.change("d", &Change { mode: Some(0o4755), ..Change::default() }).unwrap();
    assert!(!lab.disk.stat("d").unwrap().unwrap().frame);
}

#[test]
fn a_walk_has_an_end() {
    let lab = Lab::new("walk");
    for n in 0..5 {
        lab.write(&format!("d/{n}"), b"");
    }
    assert_eq!(lab.disk.walk("d", 5).unwrap().unwrap().len(), 5);
    assert_eq!(lab.disk.walk("d", 4).unwrap(), None);
    assert!(lab.disk.has_any("d").unwrap() && !lab.disk.has_any("e").unwrap());
}
