//! One mount that is killed in the middle of renames: the next one ends them.

use std::{
    fs, io,
    path::Path,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Bucket, Mount, PATIENCE, names};

/// Two pages of a listing and more. `ORIGINFS_TEST_OBJECTS=10000`, what `rename_limit` allows by default, takes minutes:
/// each costs five requests.
fn count() -> usize {
    std::env::var("ORIGINFS_TEST_OBJECTS").map_or(2_500, |count| count.parse().unwrap())
}

/// Looking costs the server time that the test waits for.
const LOOK: Duration = Duration::from_millis(200);

fn name(n: usize) -> String {
    format!("{}/{n}", n % 10)
}

/// Begins a rename, and returns when the server has answered `passing` calls of `op` and stalls.
fn stall(bucket: &Bucket, mount: &Mount, op: &str, passing: usize) -> JoinHandle<io::Result<()>> {
    let server = bucket.server;
    server.admin("DELETE", "log", "");
    server.admin("POST", "faults", &format!(r#"{{"op": "{op}", "skip": {passing}, "action": "freeze"}}"#));
    let (from, to) = (mount.path("tree/from"), mount.path("tree/to"));
    let rename = thread::spawn(move || fs::rename(from, to));
    let start = originfs::clock::now();
    while server.count(op) <= passing as u64 {
        assert!(start.elapsed() < 10 * PATIENCE, "no {passing} calls of {op}: {}", mount.log());
        assert!(!rename.is_finished(), "{:?}", rename.join());
        thread::sleep(LOOK);
    }
    rename
}

fn kill(bucket: &Bucket, mount: &Mount, cache: &Path, rename: JoinHandle<io::Result<()>>) -> Mount {
    mount.signal(Signal::SIGKILL);
    assert_ne!(mount.wait(), 0);
    mount.detach();
    rename.join().unwrap().expect_err("nobody was left to answer");
    bucket.server.admin("DELETE", "faults", "");
    let again = format!("freshness=strict,dir={},cache_dir={}", mount.dir().display(), cache.display());
    bucket.mount_with(&again)
}

/// All objects are there once, below one directory, and nothing is left of the journal.
fn whole(bucket: &Bucket, mount: &Mount, cache: &Path, dir: &str) {
    let mut expect: Vec<String> = (0..count()).map(|n| format!("tree/{dir}/{}", name(n))).collect();
    expect.extend(["elsewhere/file".to_owned(), "tree/".to_owned()]);
    expect.sort();
    let keys: Vec<String> = bucket.keys().into_iter().filter(|key| key == "tree/" || !key.ends_with('/')).collect();
    assert_eq!(keys.len(), expect.len());
    assert!(keys == expect, "not the keys that were due");
    assert_eq!(names(mount.path("tree")), [dir]);
    for n in [0, count() / 3, count() - 1] {
        let wrote = format!("tree/from/{}", name(n));
        assert_eq!(mount.read(&format!("tree/{dir}/{}", name(n))), wrote.into_bytes());
    }
    // The mount has a directory of its own there.
    let own = names(cache);
    assert_eq!((own.len(), names(cache.join(&own[0]).join("renames"))), (1, vec![]));
}

#[test]
fn a_killed_rename_of_ten_thousand_objects_is_ended_by_the_next_mount() {
    let Some(bucket) = Bucket::alone() else { return };
    bucket.put("tree/", b"");
    bucket.put("elsewhere/file", b"x");
    bucket.put_many((0..count()).map(|n| format!("tree/from/{}", name(n))));
    let first = bucket.mount();
    let cache = first.cache_dir();
    first.read("elsewhere/file");

    let rename = stall(&bucket, &first, "CopyObject", count() / 5);
    // Nothing elsewhere waits: this one is over before the rename can go on.
    first.write("elsewhere/file", b"y");
    assert_eq!(first.read("elsewhere/file"), b"y");
    assert!(!rename.is_finished());
    let second = kill(&bucket, &first, &cache, rename);
    assert!(second.log().contains("is taken back"), "{}", second.log());
    whole(&bucket, &second, &cache, "from");

    let rename = stall(&bucket, &second, "DeleteObject", count() / 5 * 4);
    let memory = second.peak_memory() >> 20;
    let third = kill(&bucket, &second, &cache, rename);
    assert!(third.log().contains("is finished"), "{}", third.log());
    whole(&bucket, &third, &cache, "to");

    // Nobody kills this one.
    let start = originfs::clock::now();
    fs::rename(third.path("tree/to"), third.path("tree/from")).unwrap();
    let took = start.elapsed();
    whole(&bucket, &third, &cache, "from");
    let memory = memory.max(third.peak_memory() >> 20);
    println!("{} objects are renamed in {took:?} with {memory} MiB of memory at most", count());
    assert!(memory < 128, "{memory} MiB");
}
