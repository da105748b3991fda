//! A CDN before a bucket that everybody may read, on an address of its own, which can die and come back there.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

/// Between looks whether it is to die or to live; shorter than anything that is measured.
const STEP: Duration = Duration::from_millis(5);
/// Longer than anybody waits for an answer.
const SILENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    Fine,
    /// Nobody listens.
    Dead,
    /// 500.
    Fails,
    /// The second of two requests is a 500.
    EveryOther,
    /// It takes requests, and says nothing.
    Mute,
    /// 200, and a page that says sorry.
    Strange,
}

/// Until the test process ends.
#[derive(Clone, Debug)]
pub(super) struct Cdn(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    at: SocketAddr,
    address: String,
    /// `http://host:port/bucket`
    origin: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    manner: Manner,
    listens: bool,
    asked: Vec<String>,
    count: u64,
}

impl Cdn {
    pub(super) fn before(origin: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let state = Mutex::new(State { manner: Manner::Fine, listens: true, asked: Vec::new(), count: 0 });
        let cdn = Self(Arc::new(Shared { at, address: format!("http://{at}"), origin: origin.to_owned(), state }));
        let serving = cdn.clone();
        thread::spawn(move || serving.serve(Some(listener)));
        cdn
    }

    pub(super) fn address(&self) -> &str {
        &self.0.address
    }

    /// Returns when it does.
    pub(super) fn be(&self, manner: Manner) {
        self.state().manner = manner;
        crate::harness::eventually("the CDN is as it is to be", || self.state().listens == (manner != Manner::Dead));
    }

    /// Paths that it was asked for since the last time.
    pub(super) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn serve(&self, mut listener: Option<TcpListener>) {
        loop {
            let dead = self.state().manner == Manner::Dead;
            if dead {
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind(self.0.at).ok();
            }
            self.state().listens = listener.is_some();
            let accepted = listener.as_ref().map(|listener| {
                listener.set_nonblocking(true).unwrap();
                listener.accept()
            });
            match accepted {
                Some(Ok((client, _))) => {
                    let cdn = self.clone();
                    // A connection that breaks ends its thread and nothing else.
                    thread::spawn(move || cdn.answer(&client).unwrap_or_default());
                }
                _ => thread::sleep(STEP),
            }
        }
    }

    fn answer(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nonblocking(false)?;
        let mut from = BufReader::new(client.try_clone()?);
        let mut line = String::new();
        from.read_line(&mut line)?;
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut header = String::new();
        while from.read_line(&mut header)? > 2 {
            header.clear();
        }
        let (manner, count) = {
            let mut state = self.state();
            state.asked.push(target.clone());
            state.count += 1;
            (state.manner, state.count)
        };
        let (status, body) = match manner {
            Manner::Fails => (500, b"sorry".to_vec()),
            Manner::EveryOther if count.is_multiple_of(2) => (500, b"sorry".to_vec()),
            Manner::Strange => (200, b"<html>sorry</html>".to_vec()),
            Manner::Mute => {
                thread::sleep(SILENCE);
                return Ok(());
            }
            Manner::Dead => return Ok(()),
            Manner::Fine | Manner::EveryOther => self.fetch(target.split('?').next().unwrap_or_default())?,
        };
        let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        (&*client).write_all(&[head.as_bytes(), &body].concat())
    }

    fn fetch(&self, path: &str) -> io::Result<(u16, Vec<u8>)> {
        get(&format!("{}{path}", self.0.origin)).map(|(status, _, body)| (status, body))
    }
}

/// Status, `Location` and body.
pub(super) fn get(url: &str) -> io::Result<(u16, Option<String>, Vec<u8>)> {
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut server = TcpStream::connect(host)?;
    server.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(server, "GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")?;
    let mut raw = Vec::new();
    server.read_to_end(&mut raw)?;
    let end = raw.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8_lossy(&raw[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).map(str::to_owned);
    Ok((status, location, raw.split_off(end + 4)))
}
