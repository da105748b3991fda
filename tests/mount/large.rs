//! Large files, and many readers.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    sync::Barrier,
};

use crate::harness::{Bucket, Request, eventually, noise, sum};

const MIB: usize = 1 << 20;

#[test]
fn a_large_file_goes_up_in_parts_and_comes_back_whole() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired("part_size=5MiB");
    let whole = noise(64 * MIB + 12_345, 5);
    let mut file = File::create(mount.path("video.mp4")).unwrap();
    for chunk in whole.chunks(128 << 10) {
        file.write_all(chunk).unwrap();
    }
    drop(file);
    assert!(wire.count("PUT", "partNumber=") >= 13, "{}", wire.count("PUT", "partNumber="));
    let object = bucket.see("video.mp4").unwrap();
    assert_eq!((sum(&object.body), object.content_type.as_deref()), (sum(&whole), Some("video/mp4")));
    assert_eq!(bucket.uploads(), 0);
    // The writer reads its own cache; another host reads the bucket.
    assert_eq!(sum(&mount.read("video.mp4")), sum(&whole));
    assert_eq!(sum(&bucket.mount().read("video.mp4")), sum(&whole));
}

#[test]
fn a_range_of_a_large_file_needs_only_a_part_of_it() {
    let Some(bucket) = Bucket::fresh() else { return };
    let whole = noise(64 * MIB, 6);
    bucket.put("archive.zip", &whole);
    let mount = bucket.mount();
    let file = File::open(mount.path("archive.zip")).unwrap();
    let mut piece = vec![0; 4096];
    for at in [63 * MIB, 5, 40 * MIB + 1] {
        file.read_exact_at(&mut piece, at as u64).unwrap();
        assert_eq!(sum(&piece), sum(&whole[at..at + 4096]), "at {at}");
    }
    let cached = disk_usage(&mount.cache_dir());
    assert!(cached < 48 * MIB as u64, "three pages fetched {cached} bytes");
}

pub(crate) fn disk_usage(dir: &std::path::Path) -> u64 {
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk_usage(&entry.path()),
        Ok(meta) => std::os::unix::fs::MetadataExt::blocks(&meta) * 512,
        Err(_) => 0,
    };
    fs::read_dir(dir).unwrap().flatten().map(of).sum()
}

#[test]
fn a_change_in_a_large_file_keeps_the_rest() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mut whole = noise(24 * MIB, 7);
    bucket.put("disk.img", &whole);
    let mount = bucket.mount_with("freshness=strict,part_size=5MiB");
    let file = fs::OpenOptions::new().write(true).open(mount.path("disk.img")).unwrap();
    let patch = noise(10_000, 8);
    file.write_all_at(&patch, 12 * MIB as u64).unwrap();
    drop(file);
    whole[12 * MIB..12 * MIB + patch.len()].copy_from_slice(&patch);
    assert_eq!(sum(&bucket.body("disk.img")), sum(&whole));
    let file = fs::OpenOptions::new().append(true).open(mount.path("disk.img")).unwrap();
    (&file).write_all(b"tail").unwrap();
    drop(file);
    whole.extend_from_slice(b"tail");
    assert_eq!(sum(&bucket.body("disk.img")), sum(&whole));
    assert_eq!(sum(&mount.read("disk.img")), sum(&whole));
    assert_eq!(bucket.uploads(), 0);
}

#[test]
fn many_readers_of_a_cold_file_share_one_get() {
    let Some(bucket) = Bucket::fresh() else { return };
    let whole = noise(500_000, 9);
    bucket.put("hot.jpg", &whole);
    let (mount, wire) = bucket.wired("");
    let (start, wanted) = (Barrier::new(200), sum(&whole));
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                start.wait();
                assert_eq!(sum(&mount.read("hot.jpg")), wanted);
            });
        }
    });
    let fetches = |seen: &Request| seen.method == "GET" && seen.target.contains("/hot.jpg") && !seen.conditional;
    let seen = wire.take_seen();
    assert_eq!(seen.iter().filter(|seen| fetches(seen)).count(), 1, "{seen:?}");
    assert_eq!(sum(&mount.read("hot.jpg")), wanted);
    let requests = wire.take_seen();
    assert!(requests.len() <= 1, "a warm read asked {requests:?}");
}

#[test]
fn what_was_written_is_never_downloaded() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired("");
    let whole = noise(3 * MIB, 10);
    mount.write("own.png", &whole);
    assert_eq!(sum(&mount.read("own.png")), sum(&whole));
    fs::rename(mount.path("own.png"), mount.path("renamed.png")).unwrap();
    assert_eq!(sum(&mount.read("renamed.png")), sum(&whole));
    let gets: Vec<_> =
        wire.take_seen().into_iter().filter(|seen| seen.method == "GET" && seen.path().ends_with("png")).collect();
    // A conditional GET that the server answers with 304 would still be one round trip per open.
    assert!(gets.len() <= 2, "{gets:?}");
}

#[test]
fn many_writers_do_not_disturb_each_other() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    std::thread::scope(|scope| {
        for writer in 0..16_u64 {
            let mount = &mount;
            scope.spawn(move || {
                for n in 0..10_u64 {
                    let bytes = noise(20_000, writer * 100 + n + 1);
                    let name = format!("w{writer}-{n}");
                    mount.write(&name, &bytes);
                    assert_eq!(sum(&mount.read(&name)), sum(&bytes), "{name}");
                }
            });
        }
    });
    assert_eq!(bucket.keys().len(), 160);
    for (writer, n) in [(0, 0), (7, 3), (15, 9)] {
        assert_eq!(sum(&bucket.body(&format!("w{writer}-{n}"))), sum(&noise(20_000, writer * 100 + n + 1)));
    }
    eventually("uploads are all ended", || bucket.uploads() == 0);
}
