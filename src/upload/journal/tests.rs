use super::{line::SUM, *};
use crate::model::version::ETag;

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("originfs-journal-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn only(&self) -> PathBuf {
        let mut entries = fs::read_dir(&self.0).unwrap();
        let path = entries.next().expect("there is a file").unwrap().path();
        assert!(entries.next().is_none());
        path
    }

    fn found(&self) -> Vec<Found> {
        Journal::leftovers(&self.0).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn version(n: u64) -> Version {
    Version { etag: ETag::new(&format!("\"{n}\"")), modified: Some(5), size: n }
}

fn draft(dir: &Dir, count: u64) -> Draft {
    let [from, to] = ["site/a", "site/b"].map(Key::new);
    let head = Head { extent: Extent::Tree, from, to, over: false, headers: None };
    let mut draft = Draft::new(&dir.0, head).unwrap();
    for n in 0..count {
        draft.plan(&Key::new(&format!("site/a/line\n{n}")), &version(n)).unwrap();
    }
    draft
}

fn all(journal: &Journal) -> Vec<Step> {
    let (mut steps, mut all) = (journal.steps().unwrap(), Vec::new());
    loop {
        let (first, block) = steps.next_block().unwrap();
        assert_eq!(first, all.len() as u64);
        if block.is_empty() {
            return all;
        }
        all.extend(block);
    }
}

#[tokio::test]
async fn what_is_written_is_found_again() {
    let dir = Dir::new("found");
    let count = BLOCK as u64 + 500;
    let mut journal = draft(&dir, count).begin().await.unwrap();
    // Within a block in any order, and not all of them.
    for n in (0..BLOCK as u64).rev().chain([1200, 1100]) {
        journal.copied(n, &version(n + 1), &version(n + 2)).unwrap();
    }
    drop(journal);
    let [Found::Journal(found)] = &dir.found()[..] else { panic!("one journal") };
    assert_eq!((found.count(), found.is_deleting(), found.head().to.as_str()), (count, false, "site/b"));
    let steps = all(found);
    assert_eq!(steps.len() as u64, count);
    for (n, step) in (0..).zip(&steps) {
        assert_eq!(step.to, Key::new(&format!("site/b/line\n{n}")));
        let copied = n < BLOCK as u64 || n == 1200 || n == 1100;
        let expect = if copied { (version(n + 1), Some(version(n + 2))) } else { (version(n), None) };
        assert_eq!((step.source.clone(), step.copy.clone()), expect, "{n}");
    }
}

#[tokio::test]
async fn a_torn_end_is_no_damage() {
    let dir = Dir::new("torn");
    let mut journal = draft(&dir, 3).begin().await.unwrap();
    for n in [0, 1, 2] {
        journal.copied(n, &version(n), &version(n)).unwrap();
    }
    drop(journal.begin_deleting().await.unwrap());
    let path = dir.only();
    let whole = fs::read(&path).unwrap();
    let done = String::from_utf8(whole.clone()).unwrap().find("copied").unwrap() - SUM - 3;
    for len in (done..=whole.len()).rev() {
        fs::write(&path, &whole[..len]).unwrap();
        let [Found::Journal(found)] = &dir.found()[..] else { panic!("cut at {len}: not a journal") };
        let lines = whole[done..len].split(|byte| *byte == b'\n').count() - 1;
        assert_eq!(all(found).iter().filter(|step| step.copy.is_some()).count(), lines.min(3), "cut at {len}");
        assert_eq!(found.is_deleting(), lines == 4, "cut at {len}");
    }
}

#[tokio::test]
async fn what_nobody_understands_is_kept_and_told() {
    let dir = Dir::new("broken");
    let mut journal = draft(&dir, 3).begin().await.unwrap();
    journal.copied(0, &version(0), &version(0)).unwrap();
    journal.copied(1, &version(1), &version(1)).unwrap();
    drop(journal);
    let whole = fs::read(dir.only()).unwrap();
    let newlines: Vec<usize> = (0..whole.len()).filter(|&at| whole[at] == b'\n').collect();
    // In the head, in the plan, in a line that is not the last; the head alone, the plan cut, nothing at all.
    let flipped = [20, newlines[1] + 30, newlines[4] + 30].map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    });
    let cut = [0, newlines[0] + 1, newlines[3] + 1].map(|len| whole[..len].to_vec());
    for bytes in flipped.into_iter().chain(cut) {
        fs::write(dir.0.join("7.rename"), &bytes).unwrap();
        fs::remove_file(dir.0.join("7.broken")).unwrap_or_default();
        for path in fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().path()) {
            if path.file_stem().is_some_and(|stem| stem != "7") {
                fs::remove_file(path).unwrap();
            }
        }
        let [Found::Broken(aside, _)] = &dir.found()[..] else { panic!("{} bytes were understood", bytes.len()) };
        assert_eq!(fs::read(aside).unwrap(), bytes);
        assert_eq!(dir.found().len(), 0, "it is told once");
    }
}

#[tokio::test]
async fn what_had_not_begun_leaves_nothing() {
    let dir = Dir::new("draft");
    drop(draft(&dir, 3));
    assert!(dir.only().extension().is_some_and(|ext| ext == DRAFT));
    assert_eq!(dir.found().len(), 0);
    draft(&dir, 3).discard();
    draft(&dir, 3).begin().await.unwrap().end();
    assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 0);
}
