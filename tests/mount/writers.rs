//! Several mounts that write one name at once: who wins, who is told, and what is left.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Barrier,
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
    sys::signal::Signal,
};
use serde_json::Value;

use crate::harness::{Bucket, Kind, Mount, eventually, fresh_dir, names, refused, run, start};

/// Names that are fought for, and who fights.
const NAMES: usize = 100;
const PROCESSES: usize = 8;

/// `set -C` makes `>` an `O_EXCL`.
const FIGHT: &str = concat!(
    "set -C; for ((i = 0; i < $2; i++)); do ",
    r#"if { echo "$3" >"$1/lock$i"; } 2>/dev/null; then echo "won $i"; else echo "lost $i"; fi; "#,
    "done; echo end",
);

fn status(mount: &Mount) -> Value {
    let (code, said) = run([env!("CARGO_BIN_EXE_originfs"), "status", mount.dir().to_str().unwrap(), "--json"]);
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap_or_else(|err| panic!("{err}: {said}"))
}

/// Whether the server honours a condition of writes. Says so if not, because the test proves less then.
fn honours(mount: &Mount, condition: &str) -> bool {
    let honoured = status(mount)["conditional_writes"][condition] == true;
    if !honoured {
        println!("the server does not honour {condition}");
    }
    honoured
}

/// Bytes in lost+found, with their notes.
fn kept(mount: &Mount) -> Vec<(Vec<u8>, Value)> {
    let caches = fs::read_dir(mount.cache_dir()).unwrap().map(|entry| entry.unwrap().path().join("lost+found"));
    let files = caches.flat_map(|dir| fs::read_dir(dir).unwrap()).map(|entry| entry.unwrap().path());
    let data: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|ext| ext == "data")).collect();
    let note = |path: &Path| serde_json::from_slice(&fs::read(path.with_extension("meta")).unwrap()).unwrap();
    data.iter().map(|path| (fs::read(path).unwrap(), note(path))).collect()
}

fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn open(path: impl AsRef<Path>) -> File {
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// Tells of errors of close(2).
fn close(file: File) -> io::Result<()> {
    Ok(nix::unistd::close(file)?)
}

#[test]
fn eight_processes_on_three_mounts_fight_for_a_hundred_names() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mounts = [bucket.mount(), bucket.mount_with(""), bucket.mount()];
    if !honours(&mounts[0], "put-if-absent") {
        return;
    }
    let (count, ids) = (NAMES.to_string(), (0..PROCESSES).map(|id| format!("process {id}")).collect::<Vec<_>>());
    let processes: Vec<_> = (ids.iter().enumerate())
        .map(|(n, id)| {
            start(["bash", "-c", FIGHT, "bash", mounts[n % mounts.len()].dir().to_str().unwrap(), &count, id])
        })
        .collect();
    let said: Vec<String> = processes.iter().map(|process| (process.wait(), process.said()).1).collect();
    assert!(said.iter().all(|said| said.ends_with("end\n")), "{said:?}");
    for n in 0..NAMES {
        let won = |said: &&String| said.lines().any(|line| line == format!("won {n}"));
        let winners: Vec<usize> = (0..PROCESSES).filter(|&id| won(&&said[id])).collect();
        let [winner] = winners[..] else { panic!("lock{n}: {winners:?}") };
        assert_eq!(bucket.body(&format!("lock{n}")), format!("process {winner}\n").into_bytes());
    }
}

#[test]
fn of_many_exclusive_opens_at_one_moment_one_succeeds() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mounts = [bucket.mount(), bucket.mount()];
    if !honours(&mounts[0], "put-if-absent") {
        return;
    }
    let start = Barrier::new(PROCESSES);
    let outcomes: Vec<Vec<io::Result<File>>> = std::thread::scope(|scope| {
        let fighters: Vec<_> = (0..PROCESSES)
            .map(|n| {
                let (start, mount) = (&start, &mounts[n % 2]);
                let fight = move |name| {
                    start.wait();
                    create_new(mount.path(format!("lock{name}")))
                };
                scope.spawn(move || (0..NAMES).map(fight).collect::<Vec<_>>())
            })
            .collect();
        fighters.into_iter().map(|fighter| fighter.join().unwrap()).collect()
    });
    for name in 0..NAMES {
        let opened = outcomes.iter().filter(|all| all[name].is_ok()).count();
        assert_eq!(opened, 1, "lock{name}");
        let told = outcomes.iter().filter_map(|all| all[name].as_ref().err()).map(io::Error::raw_os_error);
        assert!(told.into_iter().all(|errno| errno == Some(Errno::EEXIST as i32)), "lock{name}");
    }
    let mut opened: Vec<_> = outcomes.into_iter().flatten().flatten().collect();
    for file in &mut opened {
        file.write_all(b"mine").unwrap();
    }
    for file in opened {
        close(file).unwrap();
    }
    assert!((0..NAMES).all(|name| bucket.body(&format!("lock{name}")) == b"mine"));
}

#[test]
fn a_name_is_taken_by_an_empty_object_that_no_cache_keeps() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    if !honours(&mount, "put-if-absent") {
        return;
    }
    let mut file = create_new(mount.path("photo.jpg")).unwrap();
    let stub = bucket.see("photo.jpg").unwrap();
    assert_eq!((&stub.body[..], stub.cache_control.as_deref()), (&b""[..], Some("no-store")));
    file.write_all(b"pixels").unwrap();
    close(file).unwrap();
    let photo = bucket.see("photo.jpg").unwrap();
    assert_eq!((&photo.body[..], photo.content_type.as_deref()), (&b"pixels"[..], Some("image/jpeg")));
    assert!(photo.cache_control.as_deref().is_some_and(|text| text.starts_with("public, max-age=")), "{photo:?}");
    let file = create_new(mount.path("gone")).unwrap();
    fs::remove_file(mount.path("gone")).unwrap();
    close(file).unwrap();
    let mut file = create_new(mount.path("from")).unwrap();
    file.write_all(b"moved").unwrap();
    fs::rename(mount.path("from"), mount.path("to")).unwrap();
    close(file).unwrap();
    assert_eq!((bucket.keys(), bucket.body("to")), (vec!["photo.jpg".into(), "to".into()], b"moved".to_vec()));
}

#[test]
fn an_empty_lock_file_costs_one_put() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, wire) = bucket.wired("freshness=strict");
    if !honours(&mount, "put-if-absent") {
        return;
    }
    close(create_new(mount.path("lock")).unwrap()).unwrap();
    assert_eq!((wire.count("PUT", "/lock"), bucket.body("lock")), (1, Vec::new()));
    let (mount, wire) = bucket.wired("freshness=strict,exclusive=close");
    let mut file = create_new(mount.path("file")).unwrap();
    assert_eq!((wire.count("PUT", "/file"), bucket.see("file")), (0, None));
    file.write_all(b"x").unwrap();
    close(file).unwrap();
    assert_eq!(wire.count("PUT", "/file"), 1);
}

#[test]
fn a_killed_mount_leaves_no_empty_object() {
    let Some(bucket) = Bucket::fresh() else { return };
    let cache = fresh_dir();
    let options = format!("freshness=strict,cache_dir={}", cache.display());
    let mount = bucket.mount_with(&options);
    if !honours(&mount, "put-if-absent") {
        return;
    }
    drop(create_new(mount.path("closed")).unwrap());
    let mut file = create_new(mount.path("open")).unwrap();
    file.write_all(b"never closed").unwrap();
    let overwritten = create_new(mount.path("overwritten")).unwrap();
    eventually("all names are taken", || bucket.keys() == ["closed", "open", "overwritten"]);
    bucket.put("overwritten", b"by somebody else");
    mount.signal(Signal::SIGKILL);
    mount.wait();
    mount.detach();
    drop((file, overwritten));
    // The notes are in the directory of this mount point.
    let again = bucket.mount_with(&format!("{options},dir={}", mount.dir().display()));
    eventually("what never got content is gone", || bucket.keys() == ["closed", "overwritten"]);
    assert_eq!(names(again.dir()), ["closed", "overwritten"]);
    assert_eq!(bucket.body("overwritten"), b"by somebody else");
    assert_eq!(again.stop(), 0);
}

#[test]
fn with_detect_the_second_writer_fails_and_its_bytes_are_kept() {
    let Some(bucket) = Bucket::fresh() else { return };
    let options = "freshness=strict,conflict=detect";
    let (a, b) = (bucket.mount_with(options), bucket.mount_with(options));
    a.write("file", b"the base");
    assert_eq!(b.read("file"), b"the base");
    let (first, second) = (open(a.path("file")), open(b.path("file")));
    first.write_all_at(b"FIRST", 0).unwrap();
    second.write_all_at(b"second", 0).unwrap();
    close(first).unwrap();
    refused(second.sync_all(), Errno::EIO);
    close(second).unwrap(); // this descriptor was told
    assert_eq!(bucket.body("file"), b"FIRSTase");
    assert_eq!(b.read("file"), b"FIRSTase");
    eventually("the bytes are kept", || kept(&b).len() == 1);
    let (data, note) = &kept(&b)[0];
    assert_eq!(data, b"secondse");
    assert!(note["key"].as_str().is_some_and(|key| key.ends_with("file")), "{note}");
    assert!(note["base"].is_string() && note["size"] == 8, "{note}");
    assert!(note["reason"].as_str().is_some_and(|why| why.contains("another host")), "{note}");
    assert!(b.log().contains("another host or client changed it meanwhile"), "{}", b.log());

    let (mut first, mut second) = (File::create(a.path("new")).unwrap(), File::create(b.path("new")).unwrap());
    first.write_all(b"first").unwrap();
    second.write_all(b"second").unwrap();
    close(first).unwrap();
    refused(close(second), Errno::EIO);
    assert_eq!((bucket.body("new"), b.read("new")), (b"first".to_vec(), b"first".to_vec()));
    b.write("new", b"after all");
    assert_eq!(a.read("new"), b"after all");
}

#[test]
fn with_detect_what_a_foreign_client_did_stays() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("freshness=strict,conflict=detect,part_size=5MiB");
    mount.write("small", b"base");
    mount.write("gone", b"base");
    mount.write("large", vec![1; 6 << 20]);
    let files = ["small", "gone", "large", "new"].map(|name| {
        OpenOptions::new().write(true).create(true).truncate(name != "small").open(mount.path(name)).unwrap()
    });
    bucket.put("small", b"foreign");
    bucket.delete("gone");
    bucket.put("large", b"foreign");
    bucket.put("new", b"foreign");
    for (file, len) in files.into_iter().zip([4, 4, 6 << 20, 4]) {
        file.write_all_at(&vec![2; len], 0).unwrap();
        refused(close(file), Errno::EIO);
    }
    for name in ["small", "large", "new"] {
        assert_eq!((bucket.body(name), mount.read(name)), (b"foreign".to_vec(), b"foreign".to_vec()), "{name}");
    }
    refused(fs::metadata(mount.path("gone")), Errno::ENOENT);
    eventually("all bytes are kept", || kept(&mount).len() == 4);
    let mut sizes: Vec<usize> = kept(&mount).iter().map(|(data, _)| data.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [4, 4, 4, 6 << 20]);
}

#[test]
fn of_two_noreplace_renames_one_wins() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (a, b) = bucket.two_mounts();
    for (condition, dirty) in [("copy-if-absent", false), ("put-if-absent", true)] {
        if !honours(&a, condition) {
            continue;
        }
        for n in 0..20 {
            let start = Barrier::new(2);
            let target = format!("target-{dirty}-{n}");
            let rename = |mount: &Mount, who: &str| {
                let from = mount.path(format!("{who}-{dirty}-{n}"));
                let mut file = File::create(&from).unwrap();
                file.write_all(who.as_bytes()).unwrap();
                if !dirty {
                    file.sync_all().unwrap();
                }
                start.wait();
                let flags = RenameFlags::RENAME_NOREPLACE;
                let done = renameat2(AT_FDCWD, &from, AT_FDCWD, &mount.path(&target), flags);
                close(file).unwrap();
                done
            };
            let (first, second) = std::thread::scope(|scope| {
                let other = scope.spawn(|| rename(&b, "b"));
                (rename(&a, "a"), other.join().unwrap())
            });
            let (winner, loser) = match (first, second) {
                (Ok(()), Err(Errno::EEXIST)) => ("a", "b"),
                (Err(Errno::EEXIST), Ok(())) => ("b", "a"),
                other => panic!("{target}: {other:?}"),
            };
            assert_eq!(bucket.body(&target), winner.as_bytes());
            assert_eq!(bucket.body(&format!("{loser}-{dirty}-{n}")), loser.as_bytes());
        }
    }
}

/// A server that treats conditions in its own way, and what the mount says and does.
#[track_caller]
fn on_a_server_that(manner: &str, check: impl FnOnce(&Bucket, &Mount, &Mount)) {
    let Some(bucket) = Bucket::fresh() else { return };
    if bucket.server.kind != Kind::Dev {
        return;
    }
    let data = fresh_dir();
    let server = start([
        env!("CARGO_BIN_EXE_originfs-dev-s3"),
        "--listen=127.0.0.1:0",
        &format!("--data={}", data.display()),
        &format!("--access-key={}", bucket.server.access_key),
        &format!("--secret-key={}", bucket.server.secret_key),
        &format!("--bucket={}", bucket.source()),
        &format!("--conditions={manner}"),
    ]);
    eventually("the server tells its address", || server.address().is_some());
    let endpoint = server.address().unwrap();
    let options = "freshness=strict,conflict=detect";
    let [a, b] = [0; 2].map(|_| Mount::start(&bucket, &endpoint, options).unwrap());
    check(&bucket, &a, &b);
    drop((a, b));
    server.signal(Signal::SIGTERM);
}

fn found(mount: &Mount, condition: &str) -> String {
    status(mount)["conditions"][condition].as_str().unwrap_or_default().to_owned()
}

/// One after the other, both promises hold.
#[track_caller]
fn two_writers_in_turn(a: &Mount, b: &Mount) {
    a.write("file", b"base");
    let (first, second) = (open(a.path("file")), open(b.path("file")));
    first.write_all_at(b"1111", 0).unwrap();
    second.write_all_at(b"2222", 0).unwrap();
    close(first).unwrap();
    refused(close(second), Errno::EIO);
    assert_eq!(b.read("file"), b"1111");
}

#[test]
fn a_server_that_honours_conditions_is_relied_on() {
    on_a_server_that("honour", |_, a, b| {
        let said = status(a);
        assert!(said["conditional_writes"].as_object().unwrap().values().all(|held| held == true), "{said}");
        assert_eq!(said["weaker"], serde_json::json!([]));
        eventually("the crowd is through", || status(a)["read_after_write"] == "yes");
        assert!(a.log().contains("read after write: yes"), "{}", a.log());
        two_writers_in_turn(a, b);
    });
}

#[test]
fn a_server_that_ignores_conditions_is_found_out() {
    on_a_server_that("ignore", |_, a, b| {
        assert_eq!(found(a, "put-if-absent"), "ignored");
        assert_eq!(found(a, "put-if-unchanged"), "ignored");
        assert!(a.log().contains("conflict=detect: the server does not make sure"), "{}", a.log());
        assert!(a.log().contains("exclusive=open: the server does not make sure"), "{}", a.log());
        assert_eq!(status(a)["weaker"].as_array().unwrap().len(), 2);
        let file = create_new(a.path("lock")).unwrap();
        assert_eq!(names(b.dir()), [""; 0], "no empty object");
        close(file).unwrap();
        two_writers_in_turn(a, b);
    });
}

#[test]
fn a_server_that_refuses_conditions_is_found_out() {
    on_a_server_that("refuse", |_, a, b| {
        assert_eq!(found(a, "put-if-absent"), "refused");
        close(create_new(a.path("lock")).unwrap()).unwrap();
        two_writers_in_turn(a, b);
    });
}

#[test]
fn a_server_that_races_is_found_out() {
    on_a_server_that("racy", |_, a, b| {
        for mount in [a, b] {
            eventually("the race shows it", || found(mount, "put-if-absent") == "racy");
            assert_eq!(found(mount, "put-if-unchanged"), "racy");
        }
        assert!(a.log().contains("conflict=detect: the server does not make sure"), "{}", a.log());
        assert_eq!(status(a)["conditional_writes"]["put-if-absent"], false);
        two_writers_in_turn(a, b);
    });
}

#[test]
fn a_server_that_wants_no_quotes_gets_none() {
    on_a_server_that("unquoted", |_, a, b| {
        assert_eq!(found(a, "put-if-unchanged"), "yes (unquoted)");
        assert_eq!(status(a)["weaker"], serde_json::json!([]));
        two_writers_in_turn(a, b);
        let mut file = create_new(a.path("lock")).unwrap();
        refused(create_new(b.path("lock")), Errno::EEXIST);
        file.write_all(b"mine").unwrap();
        close(file).unwrap();
        assert_eq!(b.read("lock"), b"mine");
    });
}
