//! The socket on which a mount answers questions about itself and does what it is told.
//!
//! One JSON request per line. `"status"` is answered at once, by one line. `{"job":...}` may take long: lines tell how
//! far it is, and the last one is not a `{"progress":...}`. Whoever hangs up before ends it. Only root and the user of
//! the mount get in, by the modes of directory and socket and by `SO_PEERCRED`. `GET /v1/base` is answered too, see [`base`],
//! and `GET /v1/metrics`, see [`metrics`].

use std::{
    env, fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _},
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
    net::UnixStream,
    sync::mpsc,
};

use super::{
    base,
    listener::Listener,
    metrics,
    status::Status,
    upkeep::{Done, Job},
};
use crate::{cdn::outage::telling::Told, fs::Warmed};

/// The most askers at once; more wait in the listen queue. People and monitors are few.
const ASKERS_MAX: usize = 16;
/// The longest request in bytes: thousands of paths, as a shell makes them of a pattern.
pub const REQUEST_MAX: u64 = 1 << 20;
/// Lines of progress that wait for whoever asked; the job waits beyond that.
const PROGRESS_LEN: usize = 4;

/// What can be asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Status,
    Job(Job),
}

/// What is answered.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    Status(Box<Status>),
    /// How far a job is; more follows.
    Progress(Warmed),
    /// The job is done.
    Done(Done),
    /// Why there is no answer.
    Error(String),
}

/// Who answers for a mount.
pub trait Desk: Send + Sync + 'static {
    fn status(&self) -> impl Future<Output = Status> + Send;
    /// The base URL to use now. `None`: nobody looks whether the CDN works.
    fn base(&self) -> Option<Told> {
        None
    }

    /// Does what it is told. Ends when it is dropped, as far as can be. An error is one line.
    fn work(&self, job: Job, progress: mpsc::Sender<Warmed>) -> impl Future<Output = Result<Done, String>> + Send;
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

/// The socket of a mount.
#[derive(Debug)]
pub struct Socket(Listener);

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
        Listener::bind(path, 0o600).map(Self)
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
pub async fn serve(socket: Socket, desk: impl Desk) {
    let desk = Arc::new(desk);
    let answer = move |stream| {
        let desk = Arc::clone(&desk);
        async move { converse(stream, &*desk).await }
    };
    socket.0.serve(ASKERS_MAX, answer).await;
}

async fn converse(mut stream: UnixStream, desk: &impl Desk) -> io::Result<()> {
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
            Ok(Request::Status) => Response::Status(Box::new(desk.status().await)),
            Ok(Request::Job(job)) => match attend(&mut reader, desk, job).await? {
                Some(response) => response,
                None => return Ok(()),
            },
            Err(_) if base::is_http(&line) => {
                let metrics = if base::is_for_metrics(&line) {
                    Some((metrics::CONTENT_TYPE, metrics::text(&desk.status().await)))
                } else {
                    None
                };
                return base::answer(&mut reader, &line, desk.base(), metrics).await;
            }
            Err(err) => Response::Error(format!("unknown request: {err}")),
        };
        answer(reader.get_mut(), &response).await?;
        if !line.ends_with('\n') {
            // Too long to be a request; what follows is not the start of one.
            return Ok(());
        }
    }
}

/// Does a job while it tells how far it is. `None`: nobody listens any more.
async fn attend(reader: &mut BufReader<UnixStream>, desk: &impl Desk, job: Job) -> io::Result<Option<Response>> {
    let (send, mut progress) = mpsc::channel(PROGRESS_LEN);
    let mut job = std::pin::pin!(desk.work(job, send));
    loop {
        tokio::select! {
            biased;
            Some(warmed) = progress.recv() => answer(reader.get_mut(), &Response::Progress(warmed)).await?,
            done = &mut job => return Ok(Some(done.map_or_else(Response::Error, Response::Done))),
            // The next request waits for its turn.
            more = reader.fill_buf(), if reader.buffer().is_empty() => if more?.is_empty() {
                return Ok(None);
            },
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
        Response::Progress(_) | Response::Done(_) => Err(io::Error::other("an answer to another question")),
    }
}

/// Has the mount behind `socket` do `job` and tells `each` how far it is. Dropped, it ends the job. `None`: the mount
/// ended before the job did. The inner error is what the mount says.
pub async fn work(socket: &Path, job: Job, mut each: impl FnMut(&Warmed)) -> io::Result<Option<Result<Done, String>>> {
    let mut request = serde_json::to_vec(&Request::Job(job))?;
    request.push(b'\n');
    if request.len() as u64 > REQUEST_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many paths at once"));
    }
    let mut stream = BufReader::new(UnixStream::connect(socket).await?);
    stream.get_mut().write_all(&request).await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        match serde_json::from_str(&line)? {
            Response::Progress(warmed) => each(&warmed),
            Response::Done(done) => return Ok(Some(Ok(done))),
            Response::Error(message) => return Ok(Some(Err(message))),
            Response::Status(_) => return Err(io::Error::other("an answer to another question")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, Write as _},
        os::unix::fs::PermissionsExt as _,
        time::Duration,
    };

    use super::*;
    use crate::fs::{Cached, Wish};

    /// Long enough that only a hang takes it.
    const WAIT: Duration = Duration::from_secs(10);

    fn temporary(name: &str) -> PathBuf {
        env::temp_dir().join(format!("originfs-control-{name}-{}", std::process::id()))
    }

    /// Always the same status, and jobs that never end but for one.
    struct Fixed(Status);

    impl Desk for Fixed {
        async fn status(&self) -> Status {
            self.0.clone()
        }

        async fn work(&self, job: Job, progress: mpsc::Sender<Warmed>) -> Result<Done, String> {
            match job {
                Job::Warm(_) => {
                    progress.send(Warmed { done: 3, ..Warmed::default() }).await.unwrap();
                    std::future::pending().await
                }
                Job::Invalidate { paths } => Err(paths.join(" ")),
                _ => Ok(Done::Cached(Cached::default())),
            }
        }
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
        let server = tokio::spawn(serve(socket, Fixed(status.clone())));
        assert_eq!(ask_aside(&at).await.unwrap(), status);

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
        let server = tokio::spawn(serve(Socket::bind(&at).unwrap(), Fixed(Status::default())));
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

    #[tokio::test]
    async fn a_job_tells_how_far_it_is_and_ends_with_its_asker() {
        let dir = temporary("job");
        let at = path(&dir, Path::new("/m"));
        let server = tokio::spawn(serve(Socket::bind(&at).unwrap(), Fixed(Status::default())));
        let stream = UnixStream::connect(&at).await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        let invalidate = Request::Job(Job::Invalidate { paths: vec!["a".to_owned()] });
        for (request, expect) in [
            (invalidate, Response::Error("a".to_owned())),
            (Request::Job(Job::Warm(Wish::default())), { Response::Progress(Warmed { done: 3, ..Warmed::default() }) }),
        ] {
            let text = serde_json::to_string(&request).unwrap() + "\n";
            stream.get_mut().write_all(text.as_bytes()).await.unwrap();
            line.clear();
            tokio::time::timeout(WAIT, stream.read_line(&mut line)).await.unwrap().unwrap();
            assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), expect);
        }
        // The job under way goes with its asker: all others are answered although there are as many as may be.
        let mut others = Vec::new();
        for _ in 1..ASKERS_MAX {
            others.push(UnixStream::connect(&at).await.unwrap());
        }
        drop(stream);
        ask_aside(&at).await.unwrap();
        server.abort();
        server.await.unwrap_err();
        fs::remove_dir_all(dir).unwrap();
    }
}
