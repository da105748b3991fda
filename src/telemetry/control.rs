//! The socket on which a mount answers questions about itself: one JSON request per line, one JSON answer per line.
//! Only root and the user of the mount get in, by the modes of directory and socket and by `SO_PEERCRED`.

use std::{
    env, fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream as Connection,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

use super::status::Status;

/// The most askers at once; more wait in the listen queue. People and monitors are few.
const ASKERS_MAX: usize = 16;
/// The longest request in bytes. All we know are shorter than 100.
const REQUEST_MAX: u64 = 4096;

/// What can be asked.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Status,
}

/// What is answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    Status(Box<Status>),
    /// Why there is no answer.
    Error(String),
}

/// Where the sockets of this user's mounts are: /run/originfs for root, else `$XDG_RUNTIME_DIR/originfs`.
pub fn directory() -> io::Result<PathBuf> {
    if geteuid().is_root() {
        return Ok(PathBuf::from("/run/originfs"));
    }
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute()) {
        Some(dir) => Ok(dir.join("originfs")),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "XDG_RUNTIME_DIR is not set")),
    }
}

/// The socket of the mount at `mountpoint`, an absolute path, in `directory`.
pub fn path(directory: &Path, mountpoint: &Path) -> PathBuf {
    let digest = Sha256::digest(mountpoint.as_os_str().as_encoded_bytes());
    // The path of a socket has at most 107 bytes (unix(7)), so a mount point's own path may not fit.
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    directory.join(format!("{:016x}.sock", u64::from_be_bytes(first)))
}

/// A socket that listens; removed when dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds `path` and makes its directory. A socket that nobody answers on any more is replaced; one that somebody
    /// does answer on is [`io::ErrorKind::AddrInUse`]. Needs a runtime.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        private_directory(dir)?;
        if Connection::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another originfs serves this mount point"));
        }
        match fs::remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let socket = Self { listener, path: path.to_owned() };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(socket)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(err) = fs::remove_file(&self.path) {
            log::debug!("cannot remove {}: {err}", self.path.display());
        }
    }
}

/// Makes `dir` if need be. It must be ours and closed to others, or somebody else could answer in our place.
fn private_directory(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let metadata = fs::symlink_metadata(dir)?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() || metadata.mode() & 0o077 != 0 {
        let message = format!("{} must be a directory of this user with mode 0700", dir.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    Ok(())
}

/// Answers until it is dropped. Each connection may ask any number of times; it ends with the mount, so whoever holds
/// one learns of that.
pub async fn serve<F, Fut>(socket: Socket, status: F)
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Status> + Send,
{
    let status = Arc::new(status);
    let askers = Arc::new(Semaphore::new(ASKERS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let permit = Arc::clone(&askers).acquire_owned().await.expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        let stream = match socket.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(err) => {
                // Most likely out of descriptors: give others time to return some, or this would spin.
                log::warn!("control socket: {err}");
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                continue;
            }
        };
        let status = Arc::clone(&status);
        connections.spawn(async move {
            if let Err(err) = converse(stream, &*status).await {
                log::debug!("control socket: {err}");
            }
            drop(permit);
        });
    }
}

async fn converse<F, Fut>(mut stream: UnixStream, status: &F) -> io::Result<()>
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = Status> + Send,
{
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != geteuid().as_raw() {
        return answer(&mut stream, &Response::Error("not permitted".to_owned())).await;
    }
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if (&mut reader).take(REQUEST_MAX).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let response = match serde_json::from_str(&line) {
            Ok(Request::Status) => Response::Status(Box::new(status().await)),
            Err(err) => Response::Error(format!("unknown request: {err}")),
        };
        answer(reader.get_mut(), &response).await?;
        if !line.ends_with('\n') {
            // Too long to be a request; what follows is not the start of one.
            return Ok(());
        }
    }
}

async fn answer(stream: &mut UnixStream, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

/// Asks the mount behind `socket`. Waits at most `wait` for each step.
pub fn ask(socket: &Path, wait: std::time::Duration) -> io::Result<Status> {
    use io::{BufRead as _, Read as _, Write as _};
    /// The longest answer in bytes: 100 calls with keys of 1 KiB, escaped at worst sixfold, and room.
    const ANSWER_MAX: u64 = 1 << 20;

    let mut stream = Connection::connect(socket)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    let mut request = serde_json::to_vec(&Request::Status)?;
    request.push(b'\n');
    stream.write_all(&request)?;
    let mut line = String::new();
    io::BufReader::new(stream.take(ANSWER_MAX)).read_line(&mut line)?;
    match serde_json::from_str(&line)? {
        Response::Status(status) => Ok(*status),
        Response::Error(message) => Err(io::Error::other(message)),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, Write as _},
        time::Duration,
    };

    use super::*;

    /// Long enough that only a hang takes it.
    const WAIT: Duration = Duration::from_secs(10);

    fn temporary(name: &str) -> PathBuf {
        env::temp_dir().join(format!("originfs-control-{name}-{}", std::process::id()))
    }

    async fn ask_aside(socket: &Path) -> io::Result<Status> {
        let socket = socket.to_owned();
        tokio::task::spawn_blocking(move || ask(&socket, WAIT)).await.unwrap()
    }

    #[tokio::test]
    async fn status_is_asked_and_answered() {
        let dir = temporary("answered");
        let at = path(&dir, Path::new("/var/www/images"));
        let socket = Socket::bind(&at).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&at).unwrap().mode() & 0o777, 0o600);

        let status = Status { hidden_keys: 7, ..Status::default() };
        let expect = status.clone();
        let server = tokio::spawn(serve(socket, move || std::future::ready(status.clone())));
        assert_eq!(ask_aside(&at).await.unwrap(), expect);

        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        assert!(!at.exists(), "the socket goes with its server");
        assert!(ask_aside(&at).await.is_err());
        fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = temporary("replaced");
        let at = path(&dir, Path::new("/m"));
        let live = Socket::bind(&at).unwrap();
        assert_eq!(Socket::bind(&at).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // What a killed process leaves behind.
        drop(live);
        drop(std::os::unix::net::UnixListener::bind(&at).unwrap());
        assert!(at.exists());
        Socket::bind(&at).unwrap();
        fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn an_open_directory_is_refused() {
        let dir = temporary("open");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(Socket::bind(&dir.join("s.sock")).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::remove_dir_all(dir).unwrap();
    }

    #[tokio::test]
    async fn nonsense_is_answered_with_an_error_and_ends_nothing() {
        let dir = temporary("nonsense");
        let at = path(&dir, Path::new("/m"));
        let server = tokio::spawn(serve(Socket::bind(&at).unwrap(), || std::future::ready(Status::default())));
        let target = at.clone();
        let answers = tokio::task::spawn_blocking(move || {
            let mut stream = Connection::connect(target).unwrap();
            stream.set_read_timeout(Some(WAIT)).unwrap();
            stream.write_all(b"{\"format\":\"disk\"}\n\"status\"\n").unwrap();
            let lines = io::BufReader::new(stream).lines().take(2);
            lines.map(|line| serde_json::from_str::<Response>(&line.unwrap()).unwrap()).collect::<Vec<_>>()
        });
        let answers = answers.await.unwrap();
        assert!(matches!(&answers[0], Response::Error(message) if message.starts_with("unknown request")));
        assert!(matches!(answers[1], Response::Status(_)));
        server.abort();
        server.await.unwrap_err();
        fs::remove_dir_all(dir).unwrap();
    }
}
