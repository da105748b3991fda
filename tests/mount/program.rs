//! The program around the mount: in the background, as mount(8) calls it, and what it says about itself.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    thread,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::harness::{Bucket, Fault, Kind, Server, eventually, fresh_dir, noise, refused, run, start, store};

const PROGRAM: &str = env!("CARGO_BIN_EXE_originfs");

/// What a background mount may leave behind ends with this.
struct Place {
    base: PathBuf,
    dir: PathBuf,
}

impl Place {
    fn fresh() -> Self {
        let base = fresh_dir();
        let dir = base.join("mnt");
        fs::create_dir(&dir).unwrap();
        Self { base, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn text(&self) -> &str {
        self.dir.to_str().unwrap()
    }

    /// The options that every mount here has.
    fn options(&self, endpoint: &str) -> String {
        let cache = self.base.join("cache");
        format!("endpoint={endpoint},path_style,region=us-east-1,freshness=strict,cache_dir={}", cache.display())
    }

    fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().any(|line| line.split(' ').nth(4) == Some(self.text()))
    }

    /// `originfs mount` without `-f`: its exit code and all that it said.
    fn mount(&self, env: &[String], source: &str, options: &str) -> (i32, String) {
        let words = [PROGRAM, "mount", source, self.text(), "-o", options];
        run(["env", "-i"].into_iter().chain(env.iter().map(String::as_str)).chain(words))
    }

    fn passwd_file(&self, server: &Server, mode: u32) -> PathBuf {
        let path = self.base.join("passwd");
        fs::write(&path, format!("{}:{}\n", server.access_key, server.secret_key)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn status(&self) -> Value {
        status(&self.dir)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.status()["mount"]["pid"].as_i64().unwrap().try_into().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_mounted() {
            return;
        }
        let (code, said) = run([PROGRAM, "umount", "--lazy", self.text()]);
        if code != 0 {
            println!("{said}");
            umount2(&self.dir, MntFlags::MNT_DETACH).unwrap_or_default();
        }
    }
}

fn keys(id: &str, secret: &str) -> Vec<String> {
    let keys = [format!("AWS_ACCESS_KEY_ID={id}"), format!("AWS_SECRET_ACCESS_KEY={secret}")];
    [nothing(), keys.into()].concat()
}

fn own(server: &Server) -> Vec<String> {
    keys(&server.access_key, &server.secret_key)
}

/// An environment without credentials, nor files or services that could have any.
fn nothing() -> Vec<String> {
    ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent", "AWS_EC2_METADATA_DISABLED=true"]
        .map(str::to_owned)
        .into()
}

fn status(dir: &Path) -> Value {
    let (code, said) = run([PROGRAM, "status", dir.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap_or_else(|err| panic!("{err}: {said}"))
}

fn runs(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_background_mount_answers_when_the_command_ends_and_goes_by_sigterm() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let place = Place::fresh();
    let options = place.options(&bucket.server.endpoint);
    assert_eq!(place.mount(&own(bucket.server), &bucket.source(), &options), (0, String::new()));
    // At once: not a moment may pass between the end of the command and the first answer.
    assert_eq!(fs::read(place.path("file")).unwrap(), b"x");
    assert!(place.is_mounted());
    store(place.path("new"), b"y").unwrap();
    assert_eq!(bucket.body("new"), b"y");
    let pid = place.pid();
    assert!(runs(pid));
    kill(pid, Signal::SIGTERM).unwrap();
    eventually("the mount is gone", || !place.is_mounted());
    eventually("its process is gone", || !runs(pid));
}

#[test]
fn umount_returns_when_all_is_over() {
    let Some(bucket) = Bucket::fresh() else { return };
    let place = Place::fresh();
    let options = place.options(&bucket.server.endpoint);
    assert_eq!(place.mount(&own(bucket.server), &bucket.source(), &options), (0, String::new()));
    let pid = place.pid();
    let open = File::create(place.path("busy")).unwrap();
    let (code, said) = run([PROGRAM, "umount", place.text()]);
    assert!(code != 0 && said.contains("in use") && said.lines().count() == 1, "{code} {said}");
    assert!(place.is_mounted());
    drop(open);
    assert_eq!(run([PROGRAM, "umount", place.text()]), (0, String::new()));
    assert!(!place.is_mounted() && !runs(pid));
    let (code, said) = run([PROGRAM, "umount", place.text()]);
    assert!(code != 0 && said.contains("not a mount point"), "{code} {said}");
}

/// A background mount that must fail, and say only one line, in which all of `words` are.
#[track_caller]
fn fails(env: &[String], source: &str, options: &str, words: &[&str]) {
    let place = Place::fresh();
    let (code, said) = place.mount(env, source, &format!("{},{options}", place.options("http://127.0.0.1:1")));
    assert_ne!(code, 0, "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert!(!place.is_mounted());
}

#[test]
fn a_wrong_command_line_is_refused_with_its_cause() {
    let Some(bucket) = Bucket::fresh() else { return };
    let own = own(bucket.server);
    fails(&own, &bucket.source(), "cache_size=12parsecs", &["cache_size", "12parsecs"]);
    fails(&own, &bucket.source(), "no_such_option=1", &["no_such_option"]);
    fails(&own, "", "", &["bucket", "empty"]);
    fails(&own, ":/prefix", "", &["bucket", "empty"]);
    fails(&own, "some-bucket:/a/../b", "", &["prefix", "a/../b"]);
}

#[test]
fn a_server_that_says_no_is_quoted() {
    let Some(bucket) = Bucket::fresh() else { return };
    let Some(absent) = Bucket::absent() else { return };
    let Server { endpoint, access_key, secret_key, .. } = bucket.server;
    let here = format!("endpoint={endpoint}");
    fails(&own(bucket.server), &absent.source(), &here, &["no bucket", &absent.source()]);
    fails(&keys(access_key, "oftestsecretkeythatiswrong0000000000000000"), &bucket.source(), &here, &["secret"]);
    fails(&keys("OFTESTUNKNOWNKEY0000", secret_key), &bucket.source(), &here, &["access key id"]);
}

/// Each takes as long as a boot may take until the network is there, so they wait together.
#[test]
fn what_waiting_does_not_help_is_told_after_the_wait() {
    let Some(bucket) = Bucket::fresh() else { return };
    let source = bucket.source();
    let own = own(bucket.server);
    let here = format!("endpoint={}", bucket.server.endpoint);
    let readable = Place::fresh();
    let readable = readable.passwd_file(bucket.server, 0o644);
    let readable_by_all = format!("{here},passwd_file={}", readable.display());
    let missing = format!("{here},passwd_file=/nonexistent/passwd");
    let nothing = nothing();
    let cases: [(&[String], &str, &[&str]); 5] = [
        (&own, "endpoint=http://127.0.0.1:1", &["127.0.0.1:1", "refused"]),
        (&own, "endpoint=http://no-such-host.invalid", &["no-such-host.invalid", "resolved"]),
        (&nothing, &missing, &["/nonexistent/passwd", "No such file"]),
        (&nothing, &readable_by_all, &[readable.to_str().unwrap(), "0644"]),
        (&nothing, &here, &["no credentials"]),
    ];
    thread::scope(|scope| {
        for (env, options, words) in cases {
            let source = &source;
            scope.spawn(move || fails(env, source, options, words));
        }
    });
}

#[test]
fn a_line_of_fstab_mounts_through_the_helper_of_mount() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let place = Place::fresh();
    let helper = place.base.join("mount.originfs");
    symlink(PROGRAM, &helper).unwrap();
    let passwd = place.passwd_file(bucket.server, 0o600);
    let options = format!(
        "rw,_netdev,nofail,x-systemd.automount,uid=33,passwd_file={},{}",
        passwd.display(),
        place.options(&bucket.server.endpoint)
    );
    // mount(8) under systemd hands over no PATH and no HOME.
    let command = ["env", "-i", helper.to_str().unwrap(), &bucket.source(), place.text(), "-o", &options];
    assert_eq!(run(command), (0, String::new()));
    assert_eq!(fs::read(place.path("file")).unwrap(), b"x");
    assert_eq!(fs::metadata(place.path("file")).unwrap().uid(), 33);
    store(place.path("new"), b"y").unwrap();
    assert_eq!(bucket.body("new"), b"y");
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let line = mounts.lines().find(|line| line.contains(place.text())).unwrap();
    assert!(line.starts_with(&format!("{} ", bucket.source())) && line.contains(" fuse.originfs "), "{line}");
    assert_eq!(run([PROGRAM, "umount", place.text()]), (0, String::new()));
}

#[test]
fn status_tells_what_the_mount_is_and_does() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", &[7; 5_000]);
    let mount = bucket.mount();
    let before = status(mount.dir());
    assert_eq!(before["mount"]["mountpoint"], mount.dir().to_str().unwrap());
    assert_eq!(before["mount"]["source"], bucket.source());
    assert_eq!(before["freshness"], "strict");
    let passthrough = &before["passthrough"];
    assert!(
        passthrough["on"] == true || passthrough["why"].as_str().is_some_and(|why| !why.is_empty()),
        "{passthrough}"
    );
    let conditional = before["conditional_writes"].as_object().unwrap();
    assert!(
        conditional.contains_key("put-if-absent") && conditional.values().all(Value::is_boolean),
        "{conditional:?}"
    );
    assert!(Path::new(before["cache"]["dir"].as_str().unwrap()).starts_with(mount.cache_dir()), "{before}");
    assert!(before["cache"]["limit"].as_u64() > Some(0) && before["cache"]["free"].as_u64() > Some(0));
    assert_eq!(before["staging"], serde_json::json!({"bytes": 0, "files": 0}));

    assert_eq!(mount.read("file"), [7; 5_000]);
    let after = status(mount.dir());
    let now = originfs::clock::wall().sec;
    assert!(after["contact"]["last"].as_i64().is_some_and(|last| (now - 60..=now).contains(&last)), "{after}");
    let gets = |status: &Value| status["requests"]["GetObject"]["calls"].as_u64().unwrap_or(0);
    assert!(gets(&after) > gets(&before), "{before} {after}");
    assert!(after["cache"]["bytes"].as_u64() >= Some(5_000) && after["cache"]["files"].as_u64() >= Some(1), "{after}");
    assert_eq!(status(&mount.path("file"))["mount"], after["mount"]);

    let mut file = File::create(mount.path("upload")).unwrap();
    file.write_all(&noise(70_000, 1)).unwrap();
    assert_eq!(status(mount.dir())["staging"], serde_json::json!({"bytes": 70_000, "files": 1}));
    drop(file);
    eventually("what is in the bucket is not staged", || status(mount.dir())["staging"]["files"] == 0);
    let puts = status(mount.dir())["requests"]["PutObject"]["calls"].as_u64();
    assert!(puts > before["requests"]["PutObject"]["calls"].as_u64(), "{puts:?}");
}

#[test]
fn status_tells_which_call_hangs_and_for_how_long() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("slow.jpg", &[7; 5_000]);
    let (mount, wire) = bucket.wired("freshness=strict");
    // What is asked of a name that is not known begins with its directory.
    assert_eq!(mount.stat("slow.jpg").len(), 5_000);
    wire.break_all("GET", Fault::Silence);
    thread::scope(|scope| {
        let reader = scope.spawn(|| fs::read(mount.path("slow.jpg")));
        let age = || {
            let status = status(mount.dir());
            let calls = status["calls"].as_array().unwrap();
            let call = calls.iter().find(|call| call["key"].as_str().is_some_and(|key| key.contains("slow.jpg")))?;
            assert!(call["operation"].as_str().is_some_and(|operation| !operation.is_empty()), "{call}");
            call["age_ms"].as_u64()
        };
        eventually("the call is shown", || age().is_some());
        eventually("its age grows", || age().is_some_and(|age| age > 1_000));
        wire.heal();
        assert_eq!(reader.join().unwrap().unwrap(), [7; 5_000]);
        eventually("it is over", || age().is_none());
    });
}

#[test]
fn status_is_for_root_and_the_user_of_the_mount() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(Path::new("/run/originfs")), 0o700);
    // With this variable another user looks in the right place.
    let ask = |user: &str| {
        let user = format!("--reuid={user}");
        let words = ["env", "XDG_RUNTIME_DIR=/run", "setpriv", &user, "--clear-groups", PROGRAM, "status"];
        run(words.into_iter().chain([mount.dir().to_str().unwrap(), "--json"]))
    };
    let (code, said) = ask("65534");
    assert!(code != 0 && said.lines().count() == 1 && said.contains("mount of this user"), "{code} {said}");
    assert_eq!(ask("0").0, 0);
}

#[test]
fn nofail_mounts_without_the_server_and_heals_when_it_comes() {
    let Some(bucket) = Bucket::fresh() else { return };
    if bucket.server.kind != Kind::Dev {
        return; // it has a server of its own, the same at every stage
    }
    let place = Place::fresh();
    let Server { access_key, secret_key, bucket, .. } = bucket.server;
    let data = place.base.join("data");
    let serve = |listen: &str| {
        let server = start([
            env!("CARGO_BIN_EXE_originfs-dev-s3"),
            &format!("--listen={listen}"),
            &format!("--data={}", data.display()),
            &format!("--access-key={access_key}"),
            &format!("--secret-key={secret_key}"),
            &format!("--bucket={bucket}"),
        ]);
        eventually("the server tells its address", || {
            assert_eq!(server.ended(), None, "{}", server.said());
            server.address().is_some()
        });
        server
    };
    let server = serve("127.0.0.1:0");
    let endpoint = server.address().unwrap();
    let own = keys(access_key, secret_key);
    let options = format!("{},timeout=5s,nofail", place.options(&endpoint));
    assert_eq!(place.mount(&own, bucket, &options), (0, String::new()));
    store(place.path("kept"), b"from before").unwrap();
    assert_eq!(run([PROGRAM, "umount", place.text()]), (0, String::new()));
    server.signal(Signal::SIGTERM);
    server.wait();

    assert_eq!(place.mount(&own, bucket, &options), (0, String::new()));
    for name in ["kept", "never-was"] {
        refused(fs::metadata(place.path(name)), Errno::EIO);
    }
    refused(fs::read_dir(&place.dir).and_then(Iterator::collect::<Result<Vec<_>, _>>), Errno::EIO);
    let server = serve(endpoint.trim_start_matches("http://"));
    eventually("the file is back", || fs::read(place.path("kept")).is_ok_and(|bytes| bytes == b"from before"));
    refused(fs::metadata(place.path("never-was")), Errno::ENOENT);
    store(place.path("new"), b"y").unwrap();
    let conditions = || place.status()["conditional_writes"].as_object().is_some_and(|all| !all.is_empty());
    eventually("the mount finds out what the server can do", conditions);
    assert_eq!(run([PROGRAM, "umount", place.text()]), (0, String::new()));
    server.signal(Signal::SIGTERM);
    server.wait();
}
