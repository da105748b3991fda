//! The S3 server under the mounts.

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::fresh_dir;

/// Which server it is, because they differ in what they can be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Ours: tells what was asked of it, and fails on demand.
    Dev,
    /// SeaweedFS
    Weed,
    /// Ceph RGW
    Ceph,
}

/// A server that runs, and who we are there.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    /// `http://address:port`
    pub(crate) endpoint: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    /// Exists already.
    pub(crate) bucket: String,
}

/// The server of this test process. `None`, with a message, where tests cannot mount.
///
/// # Panics
/// Where tests cannot mount although `CI` is set.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| can_mount().then(|| from_env().unwrap_or_else(start))).as_ref()
}

fn can_mount() -> bool {
    let able = nix::unistd::geteuid().is_root() && std::fs::metadata("/dev/fuse").is_ok();
    if !able {
        assert!(env::var_os("CI").is_none(), "mount tests need root and /dev/fuse");
        println!("skipped: mount tests need root and /dev/fuse");
    }
    able
}

fn from_env() -> Option<Server> {
    let kind = match env::var("ORIGINFS_TEST_S3").as_deref() {
        Err(_) | Ok("dev") => return None,
        Ok("weed") => Kind::Weed,
        Ok("ceph") => Kind::Ceph,
        Ok(other) => panic!("ORIGINFS_TEST_S3={other}: dev, weed or ceph"),
    };
    let var =
        |name| env::var(name).unwrap_or_else(|_| panic!("{name} is not set: eval \"$(scripts/servers env ...)\""));
    Some(Server {
        kind,
        endpoint: var("ORIGINFS_TEST_ENDPOINT"),
        access_key: var("AWS_ACCESS_KEY_ID"),
        secret_key: var("AWS_SECRET_ACCESS_KEY"),
        bucket: var("ORIGINFS_TEST_BUCKET"),
    })
}

#[expect(clippy::zombie_processes, reason = "it ends with this process, which therefore cannot wait for it")]
fn start() -> Server {
    let (access_key, secret_key, bucket) = ("OFTESTACCESSKEY0000", "oftestsecretkey000000000000", "originfs-test");
    // The server lives as long as this process, however that ends: then `read` sees the end of its input.
    let data = fresh_dir();
    let guarded = r#"exec 3<&0; "$@" <&- & read -r _ <&3; kill $!; wait; rm -rf "$DATA""#;
    let mut child = Command::new("/bin/sh")
        .args(["-c", guarded, "sh", env!("CARGO_BIN_EXE_originfs-dev-s3"), "--listen", "127.0.0.1:0"])
        .args(["--access-key", access_key, "--secret-key", secret_key, "--bucket", bucket])
        .arg("--data")
        .arg(&data)
        .env("DATA", &data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept open until the process ends.
    std::mem::forget(child.stdin.take());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let endpoint = lines.by_ref().find_map(|line| address(&line.unwrap())).expect("the server tells its address");
    std::thread::spawn(move || lines.for_each(drop));
    Server {
        kind: Kind::Dev,
        endpoint,
        access_key: access_key.into(),
        secret_key: secret_key.into(),
        bucket: bucket.into(),
    }
}

/// `http://127.0.0.1:PORT`, where it stands in `line`.
fn address(line: &str) -> Option<String> {
    let at = line.find("127.0.0.1:")?;
    let port: String = line[at + 10..].chars().take_while(char::is_ascii_digit).collect();
    (!port.is_empty()).then(|| format!("http://127.0.0.1:{port}"))
}
