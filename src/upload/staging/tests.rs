use proptest::prelude::*;

use super::*;

pub(crate) fn yard(name: &str) -> (Arc<Yard>, PathBuf) {
    let dir = std::env::temp_dir().join(format!("originfs-yard-{name}-{}", std::process::id()));
    for sub in ["staging", "lost"] {
        fs::create_dir_all(dir.join(sub)).unwrap();
    }
    (Yard::new(&dir.join("staging"), &dir.join("lost")), dir)
}

#[test]
fn kept_bytes_are_found_with_their_note() {
    let (yard, dir) = yard("keep");
    let mut staging = Staging::new(&yard, Note { key: "a/b.jpg".into(), ..Note::default() });
    staging.write(0, b"picture").unwrap();
    let kept = staging.keep(7, "the bucket is down").unwrap();
    assert_eq!(fs::read(&kept).unwrap(), b"picture");
    let note: Note = serde_json::from_slice(&fs::read(kept.with_extension("meta")).unwrap()).unwrap();
    assert_eq!((note.key.as_str(), note.size), ("a/b.jpg", Some(7)));
    assert_eq!(yard.memory.load(Ordering::Relaxed), 0);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn nothing_is_left_behind() {
    let (yard, dir) = yard("drop");
    let mut staging = Staging::new(&yard, Note::default());
    staging.write(MEMORY_MAX, b"x").unwrap();
    assert!(staging.file(MEMORY_MAX + 1).unwrap().is_some());
    staging.discard();
    assert_eq!(fs::read_dir(dir.join("staging")).unwrap().count(), 0);
    fs::remove_dir_all(dir).unwrap();
}

/// How many files are in `dir`, and the note if there is one.
fn left_in(dir: &Path) -> (usize, Option<serde_json::Value>) {
    let files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    let note = files.iter().find(|path| path.extension().is_some_and(|ext| ext == "meta"));
    (files.len(), note.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()))
}

#[test]
fn a_note_tells_which_bytes_are_real() {
    let (yard, dir) = yard("ranges");
    let mut staging = Staging::new(&yard, Note::default());
    staging.write(0, b"head").unwrap();
    staging.write(10, b"tail").unwrap();
    staging.keep(20, "the bucket is down").unwrap();
    let (files, note) = left_in(&dir.join("lost"));
    let note = note.unwrap();
    assert_eq!((files, &note["size"]), (2, &serde_json::Value::Null));
    assert_eq!(note["ranges"], serde_json::json!([[0, 4], [10, 14]]));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn bytes_that_cannot_be_kept_stay_where_they_are() {
    let (yard, dir) = yard("keep-fails");
    let mut staging = Staging::new(&yard, Note::default());
    staging.write(0, b"picture").unwrap();
    fs::remove_dir(dir.join("lost")).unwrap();
    assert!(staging.keep(7, "the bucket is down").is_err());
    let (files, note) = left_in(&dir.join("staging"));
    assert_eq!((files, note.unwrap()["reason"].as_str()), (2, Some("the bucket is down")));
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn precious_bytes_outlive_the_process() {
    for len in [7, MEMORY_MAX + 1] {
        let (yard, dir) = yard("precious");
        let mut staging = Staging::new(&yard, Note { key: "a.jpg".into(), ..Note::default() });
        staging.write(0, &vec![b'x'; usize::try_from(len).unwrap()]).unwrap();
        drop(staging);
        let (files, note) = left_in(&dir.join("staging"));
        let note = note.expect("it tells whose bytes they are");
        assert_eq!((files, &note["key"], &note["ranges"]), (2, &"a.jpg".into(), &serde_json::json!([[0, len]])));
        assert_eq!(yard.memory.load(Ordering::Relaxed), 0);
        fs::remove_dir_all(dir).unwrap();
    }
}

proptest! {
    #[test]
    fn reads_what_was_written(steps in prop::collection::vec((0..600_000_u64, 1..70_000_usize, any::<u8>(), any::<bool>()), 1..20)) {
        let (yard, dir) = yard("prop");
        let mut staging = Staging::new(&yard, Note::default());
        let mut model: Vec<u8> = Vec::new();
        for (offset, len, byte, cut) in steps {
            let at = usize::try_from(offset).unwrap();
            if cut {
                staging.truncate(offset).unwrap();
                model.truncate(at);
            } else {
                staging.write(offset, &vec![byte; len]).unwrap();
                model.resize(model.len().max(at + len), 0);
                model[at..at + len].fill(byte);
            }
            let end = model.len() as u64;
            prop_assert_eq!(&staging.read(0..end).unwrap()[..], &model[..]);
        }
        staging.discard();
        prop_assert_eq!(yard.memory.load(Ordering::Relaxed), 0);
        fs::remove_dir_all(dir).unwrap();
    }
}
