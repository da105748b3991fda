//! Changes in large files, and files that are larger than the room there is for them. The gigabytes run by
//! `scripts/test large`.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Write as _},
    num::NonZeroUsize,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use nix::{
    errno::Errno,
    sys::mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap},
};
use sha2::{Digest as _, Sha256};

use crate::{
    harness::{Bucket, Mount, fresh_dir, noise, sum},
    large::disk_usage,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The least part of the S3 API.
const PART: u64 = 5 * MIB;

fn read_write(path: impl AsRef<Path>) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

/// SHA-256 of a file that may not fit into memory, and its bytes.
fn sum_of(path: impl AsRef<Path>) -> (u64, String) {
    let (mut file, mut hash, mut size) = (File::open(path).unwrap(), Sha256::new(), 0);
    let mut chunk = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut chunk).unwrap();
        if read == 0 {
            return (size, STANDARD.encode(hash.finalize()));
        }
        size += read as u64;
        hash.update(&chunk[..read]);
    }
}

/// A new file of `size` bytes, written from its start to its end. Gives their sum.
fn write_through(path: impl AsRef<Path>, size: u64, seed: u64) -> String {
    let (mut file, mut hash) = (File::create(path).unwrap(), Sha256::new());
    for n in 0..size.div_ceil(MIB) {
        let len = usize::try_from(MIB.min(size - n * MIB)).unwrap();
        let chunk = noise(len, seed + n);
        file.write_all(&chunk).unwrap();
        hash.update(&chunk);
    }
    nix::unistd::close(file).unwrap();
    STANDARD.encode(hash.finalize())
}

/// Random writes of 4 KiB and truncations of an object of `size` bytes, in `rounds` of one open each, as on a local
/// file. What moves stays below what the plan of the parts promises.
fn change_at_random(size: u64, rounds: u64) {
    const WRITES: u64 = 4;
    let Some(bucket) = Bucket::fresh() else { return };
    let model = fresh_dir().join("model");
    write_through(&model, size, 1);
    fs::copy(&model, bucket.mount().path("disk.img")).unwrap();
    let (mount, wire) = bucket.wired("freshness=strict");
    let (copy, mut seed) = (read_write(&model), 7_u64);
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 20) % below
    };
    let (mut uploaded, mut downloaded) = (0, 0);
    for round in 0..rounds {
        wire.take_moved();
        let file = read_write(mount.path("disk.img"));
        let now = copy.metadata().unwrap().len();
        for n in 0..WRITES {
            let at = random(now - 4096);
            for target in [&file, &copy] {
                target.write_all_at(&noise(4096, round * 100 + n + 1000), at).unwrap();
            }
        }
        // Down into the file, and up a little: what comes into being is zeros, and they are sent.
        for size in [now - random(now / 16) - 1, now - random(2 * MIB)] {
            for target in [&file, &copy] {
                target.set_len(size).unwrap();
            }
        }
        nix::unistd::close(file).unwrap();
        let zeros = now / 16;
        let (up, down) = wire.take_moved();
        // Each write may grow to a part, and short runs between are sent; one run more for the cut.
        let bound = (3 * (WRITES + 1) + 2) * PART;
        assert!(up <= bound + zeros + MIB, "{up} bytes went up in round {round}");
        // In whole blocks at both ends, and the block that tells the type.
        assert!(down <= bound + (2 * WRITES + 1) * MIB + MIB, "{down} bytes came down in round {round}");
        (uploaded, downloaded) = (uploaded + up, downloaded + down);
    }
    println!("{size} bytes, {rounds} rounds of {WRITES} writes: {uploaded} bytes up, {downloaded} bytes down");
    let wanted = sum_of(&model);
    assert_eq!(sum_of(bucket.mount().path("disk.img")), wanted, "for another host");
    assert_eq!(sum_of(mount.path("disk.img")), wanted, "for the one that wrote");
    assert_eq!(bucket.uploads(), 0);
}

#[test]
fn random_changes_of_a_large_object_move_little() {
    change_at_random(160 * MIB, 2);
}

#[test]
#[ignore = "a gigabyte: scripts/test large"]
fn random_changes_of_a_gigabyte_move_little() {
    change_at_random(GIB, 6);
}

/// Watches the cache directory of a mount while `act` runs. Gives the most bytes that it took.
fn watched(mount: &Mount, act: impl FnOnce()) -> u64 {
    let (ended, peak, dir) = (AtomicBool::new(false), AtomicU64::new(0), mount.cache_dir());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(disk_usage(&dir), Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        act();
        ended.store(true, Ordering::Relaxed);
    });
    peak.into_inner()
}

/// A file of `size` bytes through little memory and little disk.
fn write_through_little(size: u64) {
    const ROOM: u64 = 64 * MIB;
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("staging_size=64MiB,cache_size=64MiB,cache_min_free=0");
    let mut wanted = String::new();
    let disk = watched(&mount, || wanted = write_through(mount.path("video.mp4"), size, 3));
    let memory = mount.peak_memory();
    println!("{size} bytes written: {disk} bytes of disk and {memory} of memory at most");
    // The part that is being written, and what was written of the next.
    assert!(disk <= ROOM + 2 * 16 * MIB, "{disk} bytes of disk");
    // Four parts on their way and one being read, the buffers of the connections, the program.
    assert!(memory <= 256 * MIB, "{memory} bytes of memory");
    assert_eq!(mount.stat("video.mp4").len(), size);
    let mut read = (0, String::new());
    let disk = watched(&mount, || read = sum_of(mount.path("video.mp4")));
    println!("and read: {disk} bytes of disk and {} of memory at most", mount.peak_memory());
    assert_eq!(read, (size, wanted));
    assert_eq!(bucket.uploads(), 0);
}

#[test]
fn a_file_larger_than_its_room_is_written_and_read() {
    write_through_little(160 * MIB);
}

#[test]
#[ignore = "five gigabytes: scripts/test large"]
fn five_gigabytes_pass_through_little_memory_and_disk() {
    write_through_little(5 * GIB);
}

#[test]
fn a_stream_takes_a_new_header_and_a_new_name() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("freshness=strict,part_size=5MiB,staging_size=5MiB");
    let mut whole = noise(33 << 20, 4);
    let mut file = read_write(mount.path("video.mp4"));
    for chunk in whole.chunks(1 << 20) {
        file.write_all(chunk).unwrap();
    }
    file.write_all_at(b"header", 8).unwrap();
    whole[8..14].copy_from_slice(b"header");
    // From the pages of the kernel, or refused: never other bytes.
    let mut page = vec![0; 4096];
    match file.read_exact_at(&mut page, 11 * MIB) {
        Ok(()) => assert_eq!(sum(&page), sum(&whole[11 << 20..][..4096])),
        Err(err) => assert_eq!(err.raw_os_error(), Some(Errno::EOPNOTSUPP as i32)),
    }
    let err = file.write_all_at(b"x", 11 * MIB).unwrap_err();
    assert_eq!(err.raw_os_error(), Some(Errno::EOPNOTSUPP as i32));
    assert!(mount.log().contains("staging_size"), "{}", mount.log());
    fs::rename(mount.path("video.mp4"), mount.path("final.mp4")).unwrap();
    nix::unistd::close(file).unwrap();
    assert_eq!(sum(&bucket.body("final.mp4")), sum(&whole));
    assert_eq!(sum(&mount.read("final.mp4")), sum(&whole));
    assert_eq!((bucket.keys(), bucket.uploads()), (vec!["final.mp4".to_owned()], 0));
}

#[test]
fn appends_to_a_large_object_send_their_own_bytes() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mut whole = noise(40 << 20, 5);
    bucket.put("app.log", &whole);
    let (mount, wire) = bucket.wired("freshness=strict,part_size=5MiB");
    for n in 0..5 {
        let line = noise(2000, n + 10);
        let mut file = OpenOptions::new().append(true).open(mount.path("app.log")).unwrap();
        file.write_all(&line).unwrap();
        nix::unistd::close(file).unwrap();
        whole.extend_from_slice(&line);
    }
    let (up, down) = wire.take_moved();
    assert!(up < MIB, "{up} bytes went up");
    assert!(down < 3 * MIB, "{down} bytes came down");
    assert_eq!(sum(&bucket.body("app.log")), sum(&whole));
    assert_eq!(sum(&mount.read("app.log")), sum(&whole));
}

#[test]
fn a_shared_mapping_of_a_large_file_changes_one_page() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mut whole = noise(40 << 20, 6);
    bucket.put("disk.img", &whole);
    let (mount, wire) = bucket.wired("freshness=strict,part_size=5MiB");
    let file = read_write(mount.path("disk.img"));
    let len = NonZeroUsize::new(whole.len()).unwrap();
    #[expect(unsafe_code, reason = "mmap has no safe form")]
    // SAFETY: the mapping is as long as the file, touched inside it only, and not used after munmap.
    unsafe {
        let map =
            mmap(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0).unwrap();
        let bytes = map.cast::<u8>();
        assert_eq!(*bytes.add(30 << 20).as_ref(), whole[30 << 20]);
        bytes.add(20 << 20).write(b'!');
        msync(map, len.get(), MsFlags::MS_SYNC).unwrap();
        munmap(map, len.get()).unwrap();
    }
    nix::unistd::close(file).unwrap();
    whole[20 << 20] = b'!';
    let (up, _) = wire.take_moved();
    assert!(up <= 2 * PART, "{up} bytes went up");
    assert_eq!(sum(&bucket.body("disk.img")), sum(&whole));
}

#[test]
fn what_no_object_can_hold_is_efbig_at_once() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("part_size=5MiB,cache_min_free=0");
    let file = read_write(mount.path("file"));
    let limit = 10_000 * PART;
    for err in [file.write_all_at(b"x", limit).unwrap_err(), file.set_len(limit + 1).unwrap_err()] {
        assert_eq!(err.raw_os_error(), Some(Errno::EFBIG as i32));
    }
    nix::unistd::close(file).unwrap();
    assert_eq!(bucket.body("file"), b"");
}
