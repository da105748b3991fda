//! The S3 server under the mounts.

use std::{
    env,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::OnceLock,
};

use super::{eventually, fresh_dir, outside};

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

impl Kind {
    /// SeaweedFS makes a directory of its own of a marker (`dir/`) and drops the headers that came with it: time, mode
    /// and owner of a directory cannot persist there.
    pub(crate) fn keeps_directory_headers(self) -> bool {
        self != Self::Weed
    }
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
    /// Another one, whose objects everybody may read, where there is one.
    pub(crate) public: Option<String>,
}

/// The server of this test process. `None`, with a message, where tests cannot mount.
///
/// # Panics
/// Where tests cannot mount although `CI` is set.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            can_mount().then(|| {
                outside::prepare();
                from_env().unwrap_or_else(|| start(&[]))
            })
        })
        .as_ref()
}

/// A server for one test alone, to be broken by its admin interface, with `more` arguments. `None` where tests cannot
/// mount, or use another kind.
pub(crate) fn own(more: &[&str]) -> Option<&'static Server> {
    let shared = server()?;
    if shared.kind != Kind::Dev {
        println!("skipped: only the development server can be broken so");
        return None;
    }
    // It ends with this process, as the shared one does.
    Some(Box::leak(Box::new(start(more))))
}

impl Server {
    /// A request to the admin interface; see `src/devs3/admin.rs`.
    #[track_caller]
    pub(crate) fn admin(&self, method: &str, what: &str, body: &str) -> serde_json::Value {
        let mut stream = TcpStream::connect(self.endpoint.trim_start_matches("http://")).unwrap();
        let head = format!("{method} /_admin/{what} HTTP/1.1\r\nhost: x\r\nconnection: close");
        stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{head}\n{body}");
        serde_json::from_str(body).unwrap()
    }

    /// How many calls of `op` arrived since the log was cleared.
    pub(crate) fn count(&self, op: &str) -> u64 {
        self.admin("GET", "counts", "")[op].as_u64().unwrap_or(0)
    }
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
        public: env::var("ORIGINFS_TEST_PUBLIC").ok(),
    })
}

fn start(more: &[&str]) -> Server {
    let (access_key, secret_key, bucket) = ("OFTESTACCESSKEY0000", "oftestsecretkey000000000000", "originfs-test");
    let data = fresh_dir();
    let words = [
        env!("CARGO_BIN_EXE_originfs-dev-s3"),
        "--listen=127.0.0.1:0",
        &format!("--data={}", data.display()),
        &format!("--access-key={access_key}"),
        &format!("--secret-key={secret_key}"),
        &format!("--bucket={bucket}"),
    ];
    let server = outside::start(words.into_iter().chain(more.iter().copied()));
    let mut endpoint = None;
    eventually("the server tells its address", || {
        assert_eq!(server.ended(), None, "{}", server.said());
        endpoint = server.address();
        endpoint.is_some()
    });
    Server {
        kind: Kind::Dev,
        endpoint: endpoint.unwrap(),
        access_key: access_key.into(),
        secret_key: secret_key.into(),
        bucket: bucket.into(),
        public: None,
    }
}
