//! Whole mounts over a bucket in memory, asked through the kernel. They need root and /dev/fuse; without, they say so
//! and pass.

#![allow(clippy::unwrap_used)]

mod lab;

use std::{
    ffi::CString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    sync::{Arc, mpsc::sync_channel},
    thread,
    time::Duration,
};

use lab::{Lab, can_mount};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::Mode,
    unistd::mkfifo,
};
use originfs::{
    clock,
    mount::{Ended, MountError, run},
};

/// More than what the kernel reads by itself once it is here, and more than the cache fetches at once.
const LARGE: usize = 3 << 20;

fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|err| err.raw_os_error())
}

#[test]
fn what_is_closed_is_in_the_bucket_and_reads_back() {
    let Some(lab) = Lab::mounted() else { return };
    let path = lab.point.join("a/b.txt");
    fs::create_dir(lab.point.join("a")).unwrap();
    fs::write(&path, b"hello").unwrap();
    assert_eq!(lab.store.get_bytes("a/b.txt").unwrap(), "hello");
    assert_eq!(fs::read(&path).unwrap(), b"hello");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b" world").unwrap();
    assert_eq!(lab.store.get_bytes("a/b.txt").unwrap(), "hello world");
    assert_eq!(fs::metadata(&path).unwrap().len(), 11);
    fs::rename(&path, lab.point.join("a/c.txt")).unwrap();
    assert!(lab.store.get_bytes("a/b.txt").is_none());
    fs::remove_file(lab.point.join("a/c.txt")).unwrap();
    fs::remove_dir(lab.point.join("a")).unwrap();
    assert_eq!(errno(fs::metadata(lab.point.join("a"))), Some(libc::ENOENT));
}

#[test]
fn a_stopped_mount_leaves_nothing_behind() {
    let Some(mut lab) = Lab::mounted() else { return };
    // Written and not closed: stop saves it, and then waits a while for its owner.
    let mut file = File::create(lab.point.join("open.txt")).unwrap();
    file.write_all(b"late").unwrap();
    let store = Arc::clone(&lab.store);
    let owner = thread::spawn(move || {
        let by = clock::now() + Duration::from_secs(10);
        while store.get_bytes("open.txt").is_none() && clock::now() < by {
            thread::sleep(Duration::from_millis(5));
        }
        drop(file);
    });
    assert!(matches!(lab.stop(), Ended::Saved));
    owner.join().unwrap();
    assert_eq!(lab.store.get_bytes("open.txt").unwrap(), "late");
    assert_eq!(fs::read_dir(&lab.point).unwrap().count(), 0);
}

#[test]
fn a_stopped_mount_is_gone_though_in_use() {
    let Some(mut lab) = Lab::mounted() else { return };
    let mut held = File::create(lab.point.join("held.txt")).unwrap();
    held.write_all(b"held").unwrap();
    assert!(matches!(lab.stop(), Ended::Saved));
    assert_eq!(lab.store.get_bytes("held.txt").unwrap(), "held");
    assert_eq!(fs::read_dir(&lab.point).unwrap().count(), 0);
    // Nobody would upload it.
    let late = errno(held.write_all(b" and more"));
    assert!(matches!(late, Some(libc::ENOTCONN | libc::ECONNABORTED)), "{late:?}");
}

#[test]
fn a_dropped_mount_is_gone_though_in_use() {
    let Some(mut lab) = Lab::mounted() else { return };
    let held = File::create(lab.point.join("held.txt")).unwrap();
    lab.mounted = None;
    assert_eq!(fs::read_dir(&lab.point).unwrap().count(), 0);
    drop(held);
}

#[test]
fn an_unmount_from_outside_ends_the_session() {
    let Some(mut lab) = Lab::mounted() else { return };
    fs::write(lab.point.join("x"), b"x").unwrap();
    umount2(&lab.point, MntFlags::empty()).unwrap();
    let ended = lab.mounted.as_ref().unwrap().ended();
    lab.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap() });
    assert!(matches!(lab.stop(), Ended::Saved));
}

#[test]
fn what_the_kernel_reads_by_itself_mixes_with_writers_and_newer_versions() {
    let Some(lab) = Lab::mounted() else { return };
    let path = lab.point.join("large.bin");
    let (old, new) = (pattern(1, LARGE), pattern(2, LARGE + 4096));
    lab.store.put_foreign("large.bin", old.clone(), lab::headers());
    // The first reader gets it from the bucket, the second from the cache file.
    assert!(fs::read(&path).unwrap() == old);
    let mut through = File::open(&path).unwrap();
    let mut head = vec![0; 4096];
    through.read_exact(&mut head).unwrap();
    assert!(head == old[..4096]);
    assert!(lab.mounted.as_ref().unwrap().kernel().passthrough.is_ok());

    let mut again = File::open(&path).unwrap();
    again.seek(SeekFrom::End(-1)).unwrap();
    assert_eq!(again.read(&mut head).unwrap(), 1);
    let mut writer = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    writer.seek(SeekFrom::Start(10)).unwrap();
    writer.write_all(b"changed").unwrap();
    writer.sync_all().unwrap();
    assert_eq!(&lab.store.get_bytes("large.bin").unwrap()[10..17], b"changed");
    drop(writer);
    lab.store.put_foreign("large.bin", new.clone(), lab::headers());
    let mut newest = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut newest).unwrap();
    assert!(newest == new, "an open after the change reads the new version");
    through.seek(SeekFrom::Start(LARGE as u64 - 4096)).unwrap();
    through.read_exact(&mut head).unwrap();
    assert!(head == old[LARGE - 4096..], "an open before the change still reads the old version");
}

#[test]
fn a_mapped_file_does_not_disturb_those_who_open_it_later() {
    let Some(lab) = Lab::mounted() else { return };
    let content = pattern(3, LARGE);
    lab.store.put_foreign("mapped.bin", content.clone(), lab::headers());
    let path = lab.point.join("mapped.bin");
    // Python's mmap is shared unless it is told otherwise.
    let script = "import mmap,sys; f=open(sys.argv[1],'rb'); m=mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ); \
                  n=len(m[:]); print(n, flush=True); sys.stdin.read()";
    let mut child = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 8];
    let read = child.stdout.as_mut().unwrap().read(&mut said).unwrap();
    assert_eq!(String::from_utf8_lossy(&said[..read]).trim(), LARGE.to_string());
    for _ in 0..3 {
        assert!(fs::read(&path).unwrap() == content);
    }
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn every_name_is_listed_once_with_its_attributes() {
    let Some(lab) = Lab::mounted() else { return };
    let names: Vec<String> = (0..700).map(|n| format!("file-with-a-longer-name-{n:04}")).collect();
    for name in &names {
        lab.store.put_foreign(&format!("dir/{name}"), name.clone(), lab::headers());
    }
    for _ in 0..2 {
        let mut listed: Vec<(String, u64)> = fs::read_dir(lab.point.join("dir"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
            .collect();
        listed.sort();
        let expect: Vec<(String, u64)> = names.iter().map(|name| (name.clone(), name.len() as u64)).collect();
        assert!(listed == expect, "{} of {} names", listed.len(), names.len());
    }
}

#[test]
fn what_a_bucket_cannot_do_has_its_errno() {
    let Some(lab) = Lab::mounted() else { return };
    let (one, two) = (lab.point.join("one"), lab.point.join("two"));
    fs::write(&one, b"1").unwrap();
    fs::write(&two, b"2").unwrap();
    assert_eq!(errno(fs::hard_link(&one, lab.point.join("link"))), Some(libc::EPERM));
    assert_eq!(mkfifo(&lab.point.join("fifo"), Mode::S_IRUSR).unwrap_err() as i32, libc::EPERM);
    let exchange = nix::fcntl::renameat2(
        nix::fcntl::AT_FDCWD,
        &one,
        nix::fcntl::AT_FDCWD,
        &two,
        nix::fcntl::RenameFlags::RENAME_EXCHANGE,
    );
    assert_eq!(exchange.unwrap_err() as i32, libc::EINVAL);
    let output = std::process::Command::new("python3")
        .args(["-c", "import os,sys\ntry: os.setxattr(sys.argv[1],'user.a',b'b')\nexcept OSError as e: print(e.errno)"])
        .arg(&one)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), libc::EOPNOTSUPP.to_string());
}

#[test]
fn a_device_node_call_makes_a_regular_file() {
    let Some(lab) = Lab::mounted() else { return };
    let path = lab.point.join("made");
    nix::sys::stat::mknod(&path, nix::sys::stat::SFlag::S_IFREG, Mode::from_bits_truncate(0o644), 0).unwrap();
    assert_eq!(lab.store.get_bytes("made").unwrap().len(), 0);
    assert!(fs::metadata(&path).unwrap().is_file());
}

#[test]
fn a_read_only_mount_refuses_in_the_kernel() {
    let Some(lab) = Lab::with(|options| options.fs.read_only = true) else { return };
    lab.store.put_foreign("x", "x", lab::headers());
    assert_eq!(fs::read(lab.point.join("x")).unwrap(), b"x");
    assert_eq!(errno(fs::write(lab.point.join("x"), b"y")), Some(libc::EROFS));
    assert_eq!(errno(fs::create_dir(lab.point.join("d"))), Some(libc::EROFS));
    assert_eq!(errno(fs::remove_file(lab.point.join("x"))), Some(libc::EROFS));
}

#[test]
fn numbers_are_those_of_the_key() {
    let Some(lab) = Lab::mounted() else { return };
    fs::write(lab.point.join("n"), b"n").unwrap();
    let ino = originfs::model::key::Key::new("n").ino();
    assert_eq!(fs::metadata(lab.point.join("n")).unwrap().ino(), ino);
    let listed = fs::read_dir(&lab.point).unwrap().next().unwrap().unwrap();
    assert_eq!(std::os::unix::fs::DirEntryExt::ino(&listed), ino);
}

/// A mount whose process died.
fn leave_a_dead_mount(point: &Path) {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", std::os::fd::AsRawFd::as_raw_fd(&device));
    mount(Some("dead"), point, Some("fuse.originfs"), MsFlags::empty(), Some(data.as_str())).unwrap();
    drop(device);
    assert_eq!(errno(fs::metadata(point)), Some(libc::ENOTCONN));
}

#[test]
fn run_takes_a_dead_mount_away_and_ends_at_an_unmount() {
    let Some(lab) = Lab::unmounted() else { return };
    leave_a_dead_mount(&lab.point);
    let (tell, told) = sync_channel(1);
    let (options, parts, point) = (lab.options(), lab.parts(), lab.point.clone());
    let serving = thread::spawn(move || {
        run(&options, async || Ok(parts), |ready| tell.send(ready.map_err(ToString::to_string)).unwrap())
    });
    told.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    fs::write(point.join("x"), b"x").unwrap();

    let again =
        run(&lab.options(), async || -> Result<originfs::mount::Opened<lab::Bucket>, _> { unreachable!() }, |_| ());
    assert!(matches!(again, Err(MountError::Mounted { same: true, .. })));

    umount2(&point, MntFlags::empty()).unwrap();
    let by = clock::now() + Duration::from_secs(20);
    while !serving.is_finished() {
        assert!(clock::now() < by, "run goes on after the unmount");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(matches!(serving.join().unwrap(), Ok(Ended::Saved)));
    assert_eq!(lab.store.get_bytes("x").unwrap(), "x");
}

#[test]
fn a_bad_mount_point_is_refused_with_its_reason() {
    let Some(lab) = Lab::unmounted() else { return };
    let refused = |options: originfs::config::Options| {
        run(&options, async || -> Result<originfs::mount::Opened<lab::Bucket>, _> { unreachable!() }, |_| ())
            .unwrap_err()
            .to_string()
    };
    fs::write(lab.point.join("there"), b"").unwrap();
    assert!(refused(lab.options()).contains("not empty"));
    let mut file = lab.options();
    file.mountpoint = lab.point.join("there");
    assert!(refused(file).contains("not a directory"));
    let mut inside = lab.options();
    inside.mount.nonempty = true;
    inside.cache.dir = lab.point.join("cache");
    assert!(refused(inside).contains("inside each other"));
    let mut absent = lab.options();
    absent.mountpoint = lab.point.join("absent");
    assert!(refused(absent).contains("No such file"));
}

#[test]
fn an_error_before_the_mount_leaves_nothing_behind() {
    let Some(lab) = Lab::unmounted() else { return };
    let open = async || -> Result<originfs::mount::Opened<lab::Bucket>, _> {
        Err(MountError::Bucket(originfs::error::Error::Denied))
    };
    let mut told = None;
    let ended = run(&lab.options(), open, |ready| told = ready.err().map(ToString::to_string));
    assert!(matches!(ended, Err(MountError::Bucket(_))));
    assert_eq!(told.unwrap(), "bucket: access denied");
    assert_eq!(fs::read_dir(&lab.point).unwrap().count(), 0);
}

#[test]
fn statfs_is_large() {
    let Some(lab) = Lab::mounted() else { return };
    let point = CString::new(lab.point.as_os_str().as_bytes()).unwrap();
    let stat = nix::sys::statvfs::statvfs(point.as_c_str()).unwrap();
    assert_eq!(stat.blocks_available() * stat.fragment_size(), 1 << 50);
    assert_eq!(stat.name_max(), 255);
}

#[test]
fn the_lab_can_mount_where_it_claims_so() {
    if can_mount() {
        assert!(Lab::mounted().is_some());
    }
}
