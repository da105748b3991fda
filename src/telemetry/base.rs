//! `GET /v1/base` over a Unix socket: which base URL pages are to use now; and `GET /v1/cdn/status`, how that was found out.
//! HTTP, because PHP and curl speak that.
//!
//! The answer is JSON, `{"cdn_up": true, "base_url": "https://cdn.example.org/images", "since": 1795353600}`. It is no
//! secret, so everybody on the host may ask.

use std::{
    fs, io,
    os::unix::{fs::FileTypeExt as _, net::UnixStream as Connection},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    time::timeout,
};

use super::{listener::Listener, status::Outage};
use crate::cdn::outage::telling::Told;

/// The most askers at once; more wait in the listen queue. An answer takes no time.
const ASKERS_MAX: usize = 64;
/// How long an asker may take, who else would keep others out.
const ASKER_WAIT: Duration = Duration::from_secs(5);
/// The longest request in bytes, with all its headers.
const REQUEST_MAX: u64 = 8 << 10;
/// Where it is.
const PATH: &str = "/v1/base";
/// Where the rest is that is known of the CDN.
const STATUS: &str = "/v1/cdn/status";
/// Where metrics are, on a socket that has them.
const METRICS: &str = "/v1/metrics";
const JSON: &str = "application/json";

/// A socket that everybody may connect to.
#[derive(Debug)]
pub struct Socket(Listener);

impl Socket {
    /// Binds `path`, whose directory is there. A socket that nobody answers on any more is replaced; anything else that
    /// is there stays, and is an error. Needs a runtime.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
            Ok(_) if Connection::connect(path).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
            Ok(_) => fs::remove_file(path)?,
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
        Listener::bind(path, 0o666).map(Self)
    }
}

/// Answers until it is dropped.
pub async fn serve(socket: Socket, known: impl Fn() -> Outage + Send + Sync + 'static) {
    let known = Arc::new(known);
    let converse = move |stream| {
        let known = Arc::clone(&known);
        async move {
            let mut stream = BufReader::new(stream);
            let conversation = async {
                let mut line = String::new();
                (&mut stream).take(REQUEST_MAX).read_line(&mut line).await?;
                let known = known();
                let status = if path_of(&line) == STATUS { Some((JSON, json(&known)?)) } else { None };
                let Outage { cdn_up, base_url, since, .. } = known;
                answer(&mut stream, &line, Some(Told { cdn_up, base_url, since }), status).await
            };
            timeout(ASKER_WAIT, conversation).await.unwrap_or(Ok(()))
        }
    };
    socket.0.serve(ASKERS_MAX, converse).await;
}

/// Whether a line begins a request of HTTP.
pub fn is_http(line: &str) -> bool {
    line.trim_end().ends_with(" HTTP/1.1") || line.trim_end().ends_with(" HTTP/1.0")
}

/// Whether that request is for the metrics.
pub fn is_for_metrics(line: &str) -> bool {
    path_of(line) == METRICS
}

fn path_of(line: &str) -> &str {
    let target = line.split_ascii_whitespace().nth(1).unwrap_or_default();
    target.split('?').next().unwrap_or_default()
}

/// Reads the rest of a request that began with `line`, and answers it. The connection is to be closed then. `other` is
/// what it asks for if that is not the base URL, with its type; `None`: there is no such thing here.
pub async fn answer<S>(
    stream: &mut S,
    line: &str,
    told: Option<Told>,
    other: Option<(&'static str, String)>,
) -> io::Result<()>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    let mut left = REQUEST_MAX;
    loop {
        let mut header = String::new();
        let read = (&mut *stream).take(left).read_line(&mut header).await? as u64;
        left -= read;
        if header.trim_end().is_empty() || left == 0 {
            break;
        }
    }
    let (status, content_type, body) = respond(line, told.as_ref(), other);
    let len = body.len();
    let body = if line.starts_with("HEAD ") { String::new() } else { body };
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncache-control: no-store\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

fn json(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|text| text + "\n")
}

/// Status, type and body.
fn respond(
    line: &str,
    told: Option<&Told>,
    other: Option<(&'static str, String)>,
) -> (&'static str, &'static str, String) {
    let error = |status, why: &str| (status, JSON, format!("{{\"error\":\"{why}\"}}\n"));
    let method = line.split_ascii_whitespace().next().unwrap_or_default();
    let known = path_of(line) == PATH || other.is_some();
    match (method, other, told) {
        _ if !is_http(line) => error("400 Bad Request", "no request of HTTP/1"),
        _ if !known => error("404 Not Found", "there is only /v1/base"),
        ("GET" | "HEAD", Some((content_type, body)), _) => ("200 OK", content_type, body),
        ("GET" | "HEAD", None, None) => error("404 Not Found", "the mount has no cdn_probe"),
        ("GET" | "HEAD", None, Some(told)) => match json(told) {
            Ok(text) => ("200 OK", JSON, text),
            Err(_) => error("500 Internal Server Error", "no answer"),
        },
        _ => error("405 Method Not Allowed", "only GET"),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::fs::PermissionsExt as _,
    };

    use super::*;

    fn known() -> Outage {
        let base_url = "https://cdn.example.org/a".to_owned();
        Outage { cdn_up: true, base_url, since: 7, looks: 3, failed: 1, last_failure: Some("late".to_owned()) }
    }

    async fn ask(socket: &Path, request: &'static str) -> String {
        let socket = socket.to_owned();
        let asking = tokio::task::spawn_blocking(move || {
            let mut stream = Connection::connect(socket).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        asking.await.unwrap()
    }

    #[tokio::test]
    async fn everybody_may_ask_and_nothing_else_is_answered() {
        let path = std::env::temp_dir().join(format!("originfs-base-{}.sock", std::process::id()));
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        let server = tokio::spawn(serve(socket, known));
        let good = ask(&path, "GET /v1/base HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "{good}");
        assert!(good.ends_with("\r\n\r\n{\"cdn_up\":true,\"base_url\":\"https://cdn.example.org/a\",\"since\":7}\n"));
        let all = ask(&path, "GET /v1/cdn/status HTTP/1.1\r\n\r\n").await;
        assert!(
            all.contains("content-type: application/json") && all.contains("\"looks\":3,\"failed\":1,\"last_f"),
            "{all}"
        );
        assert!(ask(&path, "HEAD /v1/base HTTP/1.0\r\n\r\n").await.ends_with("\r\n\r\n"));
        assert!(ask(&path, "GET /v1/metrics HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 404"), "not for everybody");
        assert!(ask(&path, "GET /v1/status HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 404"));
        assert!(ask(&path, "POST /v1/base HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 405"));
        assert!(ask(&path, "\"status\"\n\n").await.starts_with("HTTP/1.1 400"));
        assert_eq!(Socket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        assert!(!path.exists(), "the socket goes with its server");
    }

    #[tokio::test]
    async fn only_a_dead_socket_is_replaced() {
        let path = std::env::temp_dir().join(format!("originfs-base-dead-{}", std::process::id()));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(Socket::bind(&path).unwrap());
        fs::write(&path, "somebody's").unwrap();
        assert_eq!(Socket::bind(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
        fs::remove_file(path).unwrap();
    }
}
