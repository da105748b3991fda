//! A server that says what it was told to, byte for byte.

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::super::S3Store;
use crate::{
    config::{Checksum, CredentialSource, S3Options},
    model::withheld::Withheld,
};

/// What to do with one request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Answer, and close.
    Say(String),
    /// Send this much, then nothing more, but keep the connection.
    Stall(String),
    /// Read the request and close: the answer is lost.
    Lose,
    /// Answer with the `x-amz-meta-op` of the first request that had one.
    EchoOp,
}

/// An answer with `Content-Length`.
pub(super) fn say(status: &str, headers: &[&str], body: &str) -> Reply {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    Reply::Say(format!("{text}Connection: close\r\n\r\n{body}"))
}

/// An S3 error document.
pub(super) fn refuse(status: &str, code: &str, message: &str) -> Reply {
    say(
        status,
        &["Content-Type: application/xml"],
        &format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"),
    )
}

/// A whole object.
pub(super) fn object(body: &str) -> Reply {
    say("200 OK", &["ETag: \"abc\"", "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT"], body)
}

#[derive(Debug)]
pub(super) struct Fake {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Each request gets the next reply; when they run out, 418.
    pub(super) async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, replies.clone(), Arc::clone(&log)));
            }
        });
        Self { port, seen }
    }

    /// The requests so far, head and body.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) async fn store(&self) -> S3Store {
        S3Store::connect("photos", &options(self.port)).await.unwrap()
    }
}

/// Unsigned, two attempts, half a second.
pub(super) fn options(port: u16) -> S3Options {
    S3Options {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: Some("us-east-1".into()),
        path_style: None,
        credentials: CredentialSource::Unsigned,
        checksum: Checksum::Md5,
        storage_class: None,
        acl: None,
        withheld: Withheld::default(),
        sse: None,
        sse_kms_key_id: None,
        requester_pays: false,
        retries: 2,
        timeout: Duration::from_millis(1500),
        connect_timeout: Duration::from_millis(500),
    }
}

/// A passwd file of its own for each test.
pub(super) fn passwd(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("originfs-fake-{}-{name}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    path
}

async fn serve(mut stream: TcpStream, replies: Vec<Reply>, seen: Arc<Mutex<Vec<String>>>) {
    let Some(request) = read_request(&mut stream).await else { return };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(request);
        seen.len() - 1
    };
    let answer = match replies.get(number).cloned() {
        Some(Reply::Say(text)) => text,
        Some(Reply::Stall(text)) => {
            stream.write_all(text.as_bytes()).await.ok();
            std::future::pending::<()>().await;
            return;
        }
        Some(Reply::Lose) => return,
        Some(Reply::EchoOp) => {
            let op = seen.lock().unwrap().iter().find_map(|text| header(text, "x-amz-meta-op")).unwrap_or_default();
            let op = format!("x-amz-meta-op: {op}");
            let Reply::Say(text) = say("200 OK", &["ETag: \"won\"", &op], "") else { return };
            text
        }
        None => "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
    };
    stream.write_all(answer.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}

/// The value of a header of a recorded request.
pub(super) fn header(request: &str, name: &str) -> Option<String> {
    let head = request.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then(|| value.to_owned()))
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut raw = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&raw).into_owned();
        if let Some((_, body)) = text.split_once("\r\n\r\n") {
            let len: usize = header(&text, "content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
            if body.len() >= len {
                return Some(text);
            }
        }
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    }
}
