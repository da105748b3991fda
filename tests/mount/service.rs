//! What systemd hears of a mount, and what programs see while it starts again.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::net::UnixDatagram,
    path::Path,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
    sys::signal::Signal,
};

use crate::harness::{Bucket, Fault, PATIENCE, Process, Wire, eventually, fresh_dir, refused, start};

/// What a service may take between two signs of life.
const WATCHDOG: Duration = Duration::from_millis(400);

/// A mount as systemd starts it, and the socket on which it is listened to.
struct Service {
    process: Process,
    socket: UnixDatagram,
    dir: String,
}

impl Service {
    fn start(bucket: &Bucket, endpoint: &str) -> Self {
        let base = fresh_dir();
        fs::create_dir(base.join("mnt")).unwrap();
        Self::start_in(&base, bucket, endpoint)
    }

    /// In a directory where one may have been before.
    fn start_in(base: &Path, bucket: &Bucket, endpoint: &str) -> Self {
        let dir = base.join("mnt").to_str().unwrap().to_owned();
        drop(fs::remove_file(base.join("notify")));
        let socket = UnixDatagram::bind(base.join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let words = [
            "env",
            &format!("NOTIFY_SOCKET={}", base.join("notify").display()),
            &format!("WATCHDOG_USEC={}", WATCHDOG.as_micros()),
            &format!("AWS_ACCESS_KEY_ID={}", bucket.server.access_key),
            &format!("AWS_SECRET_ACCESS_KEY={}", bucket.server.secret_key),
            "AWS_EC2_METADATA_DISABLED=true",
            env!("CARGO_BIN_EXE_originfs"),
            "mount",
            &bucket.source(),
            &dir,
            "-f",
            "-o",
            "nofail",
            "-o",
            &format!("endpoint={endpoint},path_style,region=us-east-1,timeout=10s,cache_dir={}/cache", base.display()),
        ];
        Self { process: start(words), socket, dir }
    }

    /// The next message.
    #[track_caller]
    fn hears(&self) -> String {
        let mut message = [0; 1024];
        let len = self.socket.recv(&mut message).unwrap();
        String::from_utf8(message[..len].to_vec()).unwrap()
    }

    /// The first message that is accepted; others before it are let go.
    #[track_caller]
    fn hears_until(&self, what: &str, accepts: impl Fn(&str) -> bool) -> String {
        let mut message = String::new();
        eventually(what, || {
            message = self.hears();
            accepts(&message)
        });
        message
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}", self.process.said());
        }
        self.process.signal(Signal::SIGTERM);
        eventually("the service ends", || self.process.ended().is_some());
        umount2(Path::new(&self.dir), MntFlags::MNT_DETACH).unwrap_or_default();
    }
}

#[test]
fn ready_is_said_when_the_mount_answers_and_not_before() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let wire = Wire::to(&bucket.server.endpoint);
    wire.break_all(None, Fault::Status(503));
    let service = Service::start(&bucket, &wire.endpoint());
    let waiting = service.hears();
    assert!(waiting.starts_with("STATUS=waiting for the bucket: "), "{waiting}");
    wire.heal();
    let ready = service.hears_until("it is ready", |message| message.contains("READY=1"));
    assert!(ready.contains(&format!("MAINPID={}", service.process.pid())), "{ready}");
    assert_eq!(fs::read(Path::new(&service.dir).join("file")).unwrap(), b"x");
    service.process.signal(Signal::SIGTERM);
    service.hears_until("it says that it stops", |message| message == "STOPPING=1");
    assert_eq!(service.process.wait(), 0);
}

#[test]
fn signs_of_life_do_not_depend_on_the_bucket() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let wire = Wire::to(&bucket.server.endpoint);
    let service = Service::start(&bucket, &wire.endpoint());
    service.hears_until("it is ready", |message| message.contains("READY=1"));
    wire.break_all(None, Fault::Silence);
    // Many calls that wait.
    let readers: Vec<_> = (0..32)
        .map(|at| {
            let path = Path::new(&service.dir).join(if at % 2 == 0 { "file".to_owned() } else { format!("none{at}") });
            thread::spawn(move || File::open(path).and_then(|mut file| file.read_to_end(&mut Vec::new())))
        })
        .collect();
    eventually("they wait", || wire.take_seen().len() > 1);
    for _ in 0..10 {
        let start = originfs::clock::now();
        service.hears_until("a sign of life", |message| message == "WATCHDOG=1");
        assert!(start.elapsed() < PATIENCE / 2);
    }
    wire.heal();
    for reader in readers {
        drop(reader.join().unwrap());
    }
}

#[test]
fn a_daemon_that_does_not_run_gives_no_sign_of_life() {
    let Some(bucket) = Bucket::fresh() else { return };
    let service = Service::start(&bucket, &bucket.server.endpoint);
    service.hears_until("a sign of life", |message| message == "WATCHDOG=1");
    service.process.signal(Signal::SIGSTOP);
    service.socket.set_read_timeout(Some(WATCHDOG * 4)).unwrap();
    // What it said before.
    let mut message = [0; 64];
    while service.socket.recv(&mut message).is_ok() {}
    service.process.signal(Signal::SIGCONT);
    service.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    service.hears_until("a sign of life", |message| message == "WATCHDOG=1");
}

#[test]
fn a_dead_mount_answers_errors_until_the_next_one_answers() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let wire = Wire::to(&bucket.server.endpoint);
    let first = Service::start(&bucket, &wire.endpoint());
    first.hears_until("it is ready", |message| message.contains("READY=1"));
    wire.break_all(None, Fault::Status(503));
    first.process.signal(Signal::SIGKILL);
    first.process.wait();
    let dir = Path::new(&first.dir);
    let second = Service::start_in(dir.parent().unwrap(), &bucket, &wire.endpoint());
    second.hears_until("it waits for the bucket", |message| message.contains("waiting"));
    // Neither an empty directory, nor a place for uploads that nobody will see again.
    refused(fs::read_dir(dir), Errno::ENOTCONN);
    refused(fs::metadata(dir.join("file")), Errno::ENOTCONN);
    refused(File::create(dir.join("upload")), Errno::ENOTCONN);
    wire.heal();
    second.hears_until("it is ready", |message| message.contains("READY=1"));
    assert_eq!(fs::read(dir.join("file")).unwrap(), b"x");
}

#[test]
fn a_live_mount_is_not_taken_for_a_dead_one() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount();
    let command = [env!("CARGO_BIN_EXE_originfs"), "umount", "--dead", mount.dir().to_str().unwrap()];
    assert_eq!(crate::harness::run(command), (0, String::new()));
    assert!(mount.is_mounted());
    mount.signal(Signal::SIGKILL);
    mount.wait();
    refused(fs::metadata(mount.dir()), Errno::ENOTCONN);
    assert_eq!(crate::harness::run(command).0, 0);
    assert!(!mount.is_mounted());
    assert_eq!(crate::harness::run(command), (0, String::new()));
}
