//! One mount: the less common system calls.

use std::{
    fs::{self, File, OpenOptions},
    num::NonZeroUsize,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, OFlag, copy_file_range, fallocate},
    sys::{
        mman::{MapFlags, MmapAdvise, MsFlags, ProtFlags, mmap, msync, munmap},
        stat::{Mode, SFlag, mknod},
    },
    unistd::{Whence, lseek, mkfifo},
};

use crate::harness::{Bucket, noise, refused, sum};

fn read_write(path: std::path::PathBuf) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

#[test]
fn what_is_no_file_cannot_be_made() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    refused(mkfifo(&mount.path("fifo"), Mode::S_IRUSR), Errno::EPERM);
    refused(mknod(&mount.path("device"), SFlag::S_IFCHR, Mode::S_IRUSR, 0x103), Errno::EPERM);
    refused(std::os::unix::net::UnixListener::bind(mount.path("socket")), Errno::EPERM);
    mount.write("file", b"x");
    refused(fs::hard_link(mount.path("file"), mount.path("second")), Errno::EPERM);
    assert_eq!(bucket.keys(), ["file"]);
}

#[test]
fn mknod_makes_a_regular_file() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    mknod(&mount.path("file"), SFlag::S_IFREG, Mode::S_IRUSR | Mode::S_IWUSR, 0).unwrap();
    assert_eq!(mount.stat("file").len(), 0);
    assert_eq!(bucket.body("file"), b"");
}

#[test]
fn holes_are_found_where_lseek_may_say_so() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    bucket.put("file", &noise(10_000, 1));
    let file = File::open(mount.path("file")).unwrap();
    assert_eq!(lseek(&file, 100, Whence::SeekData), Ok(100));
    assert_eq!(lseek(&file, 100, Whence::SeekHole), Ok(10_000));
    refused(lseek(&file, 10_000, Whence::SeekData), Errno::ENXIO);
    refused(lseek(&file, 10_001, Whence::SeekHole), Errno::ENXIO);
}

#[test]
fn copies_inside_the_mount_are_right() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let whole = noise(3 << 20, 3);
    bucket.put("from.bin", &whole);
    fs::copy(mount.path("from.bin"), mount.path("by std.png")).unwrap();
    let (from, to) = (File::open(mount.path("from.bin")).unwrap(), read_write(mount.path("by hand.gif")));
    let (mut at, mut written) = (1_000_000, 0);
    match copy_file_range(&from, Some(&mut at), &to, Some(&mut written), 500_000) {
        Ok(count) => {
            let mut copied = vec![0; count];
            to.read_exact_at(&mut copied, 0).unwrap();
            assert_eq!(sum(&copied), sum(&whole[1_000_000..1_000_000 + count]));
        }
        // Then the application copies, as std does.
        Err(err) => assert!(matches!(err, Errno::EOPNOTSUPP | Errno::EXDEV | Errno::ENOSYS), "{err}"),
    }
    drop(to);
    let copy = bucket.see("by std.png").unwrap();
    assert_eq!((sum(&copy.body), copy.content_type.as_deref()), (sum(&whole), Some("image/png")));
}

#[test]
fn a_shared_mapping_is_written_back() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    bucket.put("file", &[b'a'; 8192]);
    let file = read_write(mount.path("file"));
    let len = NonZeroUsize::new(8192).unwrap();
    #[expect(unsafe_code, reason = "mmap has no safe form")]
    // SAFETY: the mapping is 8192 bytes long, touched inside them only, and not used after munmap.
    unsafe {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let map = mmap(None, len, protection, MapFlags::MAP_SHARED, &file, 0).unwrap();
        let bytes = map.cast::<u8>();
        assert_eq!(*bytes.add(8191).as_ref(), b'a');
        bytes.add(5000).write(b'b');
        nix::sys::mman::madvise(map, 8192, MmapAdvise::MADV_NORMAL).unwrap();
        msync(map, 8192, MsFlags::MS_SYNC).unwrap();
        munmap(map, 8192).unwrap();
    }
    drop(file);
    let body = bucket.body("file");
    assert_eq!((body.len(), body[4999], body[5000], body[5001]), (8192, b'a', b'b', b'a'));
}

#[test]
fn direct_io_reads_and_writes_the_same_bytes() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let whole = noise(64 << 10, 4);
    bucket.put("file", &whole);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(mount.path("file"))
        .unwrap();
    let mut memory = vec![0; 12 << 10];
    // Memory for direct I/O begins at a page.
    let start = memory.as_ptr().align_offset(4096);
    let page = &mut memory[start..start + 4096];
    file.read_exact_at(page, 8192).unwrap();
    assert_eq!(sum(page), sum(&whole[8192..12_288]));
    page.fill(b'd');
    file.write_all_at(page, 4096).unwrap();
    drop(file);
    let body = bucket.body("file");
    assert_eq!(body.len(), whole.len());
    assert!(body[4096..8192].iter().all(|&byte| byte == b'd'));
    assert_eq!(sum(&body[8192..]), sum(&whole[8192..]));
}

#[test]
fn preallocation_extends_a_file() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let file = read_write(mount.path("file"));
    file.write_all_at(b"abc", 0).unwrap();
    match fallocate(&file, FallocateFlags::empty(), 0, 10) {
        Ok(()) => {
            drop(file);
            assert_eq!(bucket.body("file"), b"abc\0\0\0\0\0\0\0");
        }
        Err(err) => assert_eq!(err, Errno::EOPNOTSUPP),
    }
}

#[test]
fn locks_work_as_on_a_local_disk() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let (first, second) = (read_write(mount.path("file")), read_write(mount.path("file")));
    first.lock().unwrap();
    assert!(second.try_lock().is_err());
    first.write_all_at(b"under lock", 0).unwrap();
    first.unlock().unwrap();
    second.try_lock().unwrap();
    drop((first, second));
    assert_eq!(bucket.body("file"), b"under lock");
}
