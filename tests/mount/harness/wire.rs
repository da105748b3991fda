//! The wire between a mount and the server: it counts the requests and breaks them on demand, with any server.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// One request, as it passed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, percent-encoded.
    pub(crate) target: String,
    /// It has an `If-None-Match`: an answer may come without a body.
    pub(crate) conditional: bool,
    /// `Range`, as it stands in the header.
    pub(crate) range: Option<String>,
    /// It has an `x-amz-copy-source`: a COPY.
    pub(crate) copies: bool,
}

impl Request {
    /// The target without its query: of a listing it tells only the bucket.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// What happens to requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Answered with this status, and never seen by the server.
    Status(u16),
    /// Swallowed; no answer comes, until the fault changes.
    Silence,
    /// Half of the body passes, then nothing, until the fault changes.
    Stall,
    /// The server does it, and the answer is lost with the connection.
    LostReply,
}

/// A proxy on a port of its own. It works until the test process ends.
#[derive(Clone, Debug)]
pub(crate) struct Wire(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    listens: SocketAddr,
    server: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    /// Bytes from the mount and to it, heads included.
    up: AtomicU64,
    down: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Request>,
    /// The method (or all, if none) and what happens to it.
    fault: Option<(Option<&'static str>, Fault)>,
}

impl Wire {
    pub(crate) fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = server.trim_start_matches("http://").parse().unwrap();
        let listens = listener.local_addr().unwrap();
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        let (state, changed) = (Mutex::default(), Condvar::new());
        let wire = Self(Arc::new(Shared { listens, server, state, changed, up, down }));
        let accepting = wire.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let wire = accepting.clone();
                // A connection that breaks ends its threads and nothing else.
                thread::spawn(move || wire.serve(&client).unwrap_or_default());
            }
        });
        wire
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.0.listens)
    }

    /// Breaks all requests of `method` (`None`: of any) from now on.
    pub(crate) fn break_all(&self, method: impl Into<Option<&'static str>>, fault: Fault) {
        self.state().fault = Some((method.into(), fault));
        self.0.changed.notify_all();
    }

    pub(crate) fn heal(&self) {
        self.state().fault = None;
        self.0.changed.notify_all();
    }

    /// The requests since the last time, in order of arrival.
    pub(crate) fn take_seen(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().seen)
    }

    /// Bytes from the mount and to it since the last time, heads included.
    pub(crate) fn take_moved(&self) -> (u64, u64) {
        (self.0.up.swap(0, Ordering::Relaxed), self.0.down.swap(0, Ordering::Relaxed))
    }

    /// How many requests of `method` arrived whose target has `part` in it, without forgetting them.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.state().seen.iter().filter(|seen| seen.method == method && seen.target.contains(part)).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// One connection: requests one by one, answers as they come.
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let server = TcpStream::connect(self.0.server)?;
        server.set_nodelay(true)?;
        let (from, to) = (server.try_clone()?, client.try_clone()?);
        let wire = self.clone();
        thread::spawn(move || {
            wire.answers(&from, &to).unwrap_or_default();
            to.shutdown(Shutdown::Both).unwrap_or_default();
        });
        let done = self.requests(client, &server);
        server.shutdown(Shutdown::Both).unwrap_or_default();
        client.shutdown(Shutdown::Both).unwrap_or_default();
        done
    }

    fn answers(&self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        let mut buffer = vec![0; 128 << 10];
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            self.0.down.fetch_add(read as u64, Ordering::Relaxed);
            to.write_all(&buffer[..read])?;
        }
    }

    fn requests(&self, client: &TcpStream, mut server: &TcpStream) -> io::Result<()> {
        let mut from = BufReader::new(client.try_clone()?);
        while let Some((head, length)) = read_head(&mut from)? {
            let mut body = vec![0; length];
            from.read_exact(&mut body)?;
            self.0.up.fetch_add((head.len() + length) as u64, Ordering::Relaxed);
            match self.arrived(&head) {
                None => server.write_all(&[head.as_bytes(), &body].concat())?,
                Some(Fault::Status(status)) => {
                    let text = "<Error><Code>InternalError</Code><Message>broken on demand</Message></Error>";
                    let head_only = head.starts_with("HEAD");
                    let answer = format!(
                        "HTTP/1.1 {status} Broken\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n{}",
                        text.len(),
                        if head_only { "" } else { text }
                    );
                    (&*client).write_all(answer.as_bytes())?;
                }
                Some(fault @ Fault::Silence) => {
                    self.wait_out(fault);
                    return Ok(());
                }
                Some(fault @ Fault::Stall) => {
                    server.write_all(&[head.as_bytes(), &body[..body.len() / 2]].concat())?;
                    self.wait_out(fault);
                    return Ok(());
                }
                Some(Fault::LostReply) => {
                    client.shutdown(Shutdown::Both)?;
                    server.write_all(&[head.as_bytes(), &body].concat())?;
                    // The answer has nowhere to go; its coming shows that the server has done it.
                    thread::sleep(std::time::Duration::from_millis(200));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Notes the request; gives what is to happen to it.
    fn arrived(&self, head: &str) -> Option<Fault> {
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut state = self.state();
        let header = |wanted: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim().to_owned())
        };
        let copies = header("x-amz-copy-source").is_some();
        let (conditional, range) = (header("if-none-match").is_some(), header("range"));
        state.seen.push(Request { method: method.into(), target: target.into(), conditional, range, copies });
        state.fault.filter(|(only, _)| only.is_none_or(|only| only == method)).map(|(_, fault)| fault)
    }

    fn wait_out(&self, fault: Fault) {
        let same = |state: &mut State| state.fault.is_some_and(|(_, now)| now == fault);
        drop(self.0.changed.wait_while(self.state(), same).unwrap());
    }
}

/// The head of the next request, and the bytes of its body; `None` at the end of the connection.
fn read_head(from: &mut impl io::BufRead) -> io::Result<Option<(String, usize)>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if from.read_line(&mut head)? == 0 {
            return Ok(None);
        }
        let line = head[start..].trim_end();
        if line.is_empty() {
            return Ok(Some((head, length)));
        }
        if let Some((name, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse().map_err(|_| io::Error::other(format!("{name}: {value}")))?;
        }
    }
}
