use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::cdn::url::Token;

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("originfs-outbox-{}-{serial}", std::process::id())))
    }

    fn files(&self) -> usize {
        fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn keys(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

/// Of this thread, so that it does not matter who else works.
fn cpu_time() -> std::time::Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

async fn note(outbox: &Outbox, names: &[&str]) -> Id {
    let keys = keys(names);
    let first = outbox.note(&keys).unwrap();
    outbox.sync(first + keys.len() as u64 - 1).await.unwrap();
    first
}

fn all(outbox: &Outbox) -> Vec<(Id, String)> {
    let (mut all, mut after) = (Vec::new(), 0);
    while let Some((number, due)) = outbox.pending(after).unwrap() {
        all.extend(due.into_iter().map(|due| (due.id, due.key.to_string())));
        after = number;
    }
    all
}

#[tokio::test]
async fn what_was_noted_and_not_done_is_found_by_the_next_run() {
    let dir = Dir::new();
    let outbox = Outbox::open(&dir.0).unwrap();
    assert_eq!(note(&outbox, &["a", "b/\"\n\u{e4}"]).await, 1);
    assert_eq!(note(&outbox, &["c"]).await, 3);
    outbox.done(&[1]);
    // A process that is killed closes nothing.
    std::mem::forget(outbox);
    let outbox = Outbox::open(&dir.0).unwrap();
    assert_eq!(all(&outbox), [(2, "b/\"\n\u{e4}".to_owned()), (3, "c".to_owned())]);
    assert_eq!(note(&outbox, &["d"]).await, 4, "numbers are not used twice");
    outbox.done(&[2, 3]);
    assert_eq!(dir.files(), 1, "what has nothing pending goes");
    drop(outbox);
    assert_eq!(all(&Outbox::open(&dir.0).unwrap()), [(4, "d".to_owned())]);
}

#[tokio::test]
async fn a_torn_line_loses_only_itself() {
    let dir = Dir::new();
    let outbox = Outbox::open(&dir.0).unwrap();
    note(&outbox, &["a", "b"]).await;
    drop(outbox);
    let path = dir.0.join("000000000001.purge");
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let found = all(&Outbox::open(&dir.0).unwrap());
        let lines = whole[..len].split(|byte| *byte == b'\n').count() - 1;
        // The line feed at the end of the second line tells nothing that its sum does not.
        let lines = if len + 1 == whole.len() { 2 } else { lines };
        let also = usize::from(whole.get(len) == Some(&b'\n') && len + 1 != whole.len());
        assert_eq!(found.len(), lines + also, "{len} bytes");
    }
}

#[tokio::test]
async fn the_next_line_after_a_torn_one_counts() {
    let dir = Dir::new();
    let outbox = Outbox::open(&dir.0).unwrap();
    note(&outbox, &["a"]).await;
    drop(outbox);
    let path = dir.0.join("000000000001.purge");
    let mut torn = fs::read(&path).unwrap();
    torn.truncate(torn.len() - 5);
    fs::write(&path, torn).unwrap();
    let outbox = Outbox::open(&dir.0).unwrap();
    note(&outbox, &["b"]).await;
    drop(outbox);
    let found = all(&Outbox::open(&dir.0).unwrap());
    assert_eq!(found.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn many_at_once_share_the_disk() {
    let dir = Dir::new();
    let outbox = Arc::new(Outbox::open(&dir.0).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let outbox = Arc::clone(&outbox);
        tasks.spawn(async move { note(&outbox, &[&format!("k{n}")]).await });
    }
    let mut ids = tasks.join_all().await;
    ids.sort_unstable();
    assert_eq!(ids, (1..=200).collect::<Vec<_>>());
    assert_eq!(all(&Outbox::open(&dir.0).unwrap()).len(), 200);
}

#[tokio::test]
async fn a_hundred_thousand_are_loaded_in_two_seconds_and_go_when_they_are_done() {
    const COUNT: u64 = 100_000;
    let dir = Dir::new();
    let outbox = Outbox::open(&dir.0).unwrap();
    for chunk in 0..COUNT / 1000 {
        let name = |n| format!("site/wp-content/uploads/2026/11/a-picture-of-something-{chunk}-{n}-1024x768.jpg");
        let keys: Vec<Arc<str>> = (0..1000).map(|n| Arc::from(name(n))).collect();
        outbox.note(&keys).unwrap();
    }
    outbox.sync(COUNT).await.unwrap();
    drop(outbox);
    let begun = cpu_time();
    let outbox = Outbox::open(&dir.0).unwrap();
    let found = all(&outbox);
    let took = cpu_time().saturating_sub(begun);
    assert_eq!(found.len() as u64, COUNT);
    println!("loading {COUNT} took {took:?}");
    assert!(took.as_secs() < 2, "{took:?}");
    let ids: Vec<Id> = found.iter().map(|(id, _)| *id).collect();
    ids.chunks(1000).for_each(|ids| outbox.done(ids));
    assert!(outbox.is_empty());
    assert_eq!(dir.files(), 1);
}

fn token(digit: &str) -> Token {
    Token::parse(&digit.repeat(12)).unwrap()
}

fn versions(outbox: &Outbox) -> Vec<(Id, Versions)> {
    let (_, due) = outbox.pending(0).unwrap().unwrap();
    due.into_iter().map(|due| (due.id, due.versions)).collect()
}

#[test]
fn versions_are_kept_with_their_records_and_older_programs_read_the_keys() {
    let dir = Dir::new();
    let outbox = Outbox::open(&dir.0).unwrap();
    let old = Versions::of([token("a")]);
    outbox
        .note_versions(&keys(&["settled", "gone", "under way", "new"]), &[old.clone(), old.clone(), old.clone()])
        .unwrap();
    let new = Versions::of(["a", "b"].map(token));
    outbox.settle(1, &new);
    outbox.settle(2, &old);
    drop(outbox);
    let expect = [(1, new), (2, old.clone()), (3, old.clone().unsure()), (4, Versions::default().unsure())];
    assert_eq!(versions(&Outbox::open(&dir.0).unwrap()), expect);
    // To an older program a line is a key after a number and a space, a number alone, or torn.
    let text = fs::read_to_string(dir.0.join("000000000001.purge")).unwrap();
    let (dues, others): (Vec<_>, Vec<_>) = text.lines().partition(|line| line[9..].contains(' '));
    assert!(dues.len() == 4 && others.iter().all(|line| line[9..].parse::<Id>().is_err()), "{text}");
    // A record of such a program has no versions.
    let older = Dir::new();
    fs::create_dir_all(&older.0).unwrap();
    fs::write(older.0.join("000000000001.purge"), format!("{}\n", dues[0])).unwrap();
    assert_eq!(versions(&Outbox::open(&older.0).unwrap()), [(1, Versions::default().unsure())]);
}
