//! A network between clients and a server of this machine: each direction delays by half of the round trip, and a new
//! connection waits one round trip for its handshake.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use originfs::clock;
use serde_json::json;

use crate::{line::Line, report::Report};

/// Bytes that are read, and so pass, at once.
const CHUNK: usize = 64 << 10;
/// Chunks of one connection on their way in one direction, 16 MiB: at 15 ms more than 2 GB/s, so that the window never
/// is the limit.
const UNDER_WAY: usize = 256;

/// Passes connections on, with the delay and the bandwidth of a network. Runs until it is killed.
#[derive(Args, Debug)]
pub(crate) struct Proxy {
    /// Port 0 takes a free one; the address is printed when it is ready.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long)]
    upstream: SocketAddr,
    /// Of a round trip, in milliseconds.
    #[arg(long, default_value_t = 15.0)]
    delay: f64,
    /// Of each direction, all connections together, in MiB per second.
    #[arg(long)]
    bandwidth: Option<f64>,
}

impl Proxy {
    pub(crate) fn run(self) -> io::Result<Report> {
        let invalid = |_| io::Error::other("the delay is no time");
        let delay = Duration::try_from_secs_f64(self.delay / 1e3).map_err(invalid)?;
        let listener = TcpListener::bind(self.listen)?;
        let address = listener.local_addr()?;
        let mut out = io::stdout();
        writeln!(out, "{address}")?;
        out.flush()?;
        Network::new(delay, self.bandwidth.map(|mib| mib * f64::from(1 << 20))).serve(&listener, self.upstream)?;
        Ok(json!({ "ended": true }))
    }
}

/// The lines of both directions.
#[derive(Clone, Debug)]
struct Network {
    round_trip: Duration,
    up: Arc<Line>,
    down: Arc<Line>,
}

impl Network {
    /// `bandwidth` in bytes per second.
    fn new(round_trip: Duration, bandwidth: Option<f64>) -> Self {
        let line = || Arc::new(Line::new(round_trip / 2, bandwidth));
        Self { round_trip, up: line(), down: line() }
    }

    /// Until the listener fails.
    fn serve(&self, listener: &TcpListener, upstream: SocketAddr) -> io::Result<()> {
        loop {
            let client = listener.accept()?.0;
            let network = self.clone();
            thread::Builder::new().spawn(move || {
                // A server that is gone looks like one: the client's connection closes.
                if let Err(err) = network.connect(&client, upstream) {
                    log::debug!("{upstream}: {err}");
                }
            })?;
        }
    }

    /// Four threads for each connection, because their sleeps are exact to a tenth of a millisecond; the timers of an
    /// asynchronous runtime have grains of one.
    fn connect(&self, client: &TcpStream, upstream: SocketAddr) -> io::Result<()> {
        // The kernel has accepted already; the client's first bytes leave when the handshake would be over.
        let open = clock::now() + self.round_trip;
        let server = TcpStream::connect(upstream)?;
        for end in [client, &server] {
            end.set_nodelay(true)?;
        }
        direct(client.try_clone()?, server.try_clone()?, Arc::clone(&self.up), open)?;
        direct(server, client.try_clone()?, Arc::clone(&self.down), open)
    }
}

/// Starts one direction of a connection.
fn direct(from: TcpStream, to: TcpStream, line: Arc<Line>, open: Instant) -> io::Result<()> {
    let (enter, leave) = sync_channel(UNDER_WAY);
    thread::Builder::new().spawn(move || take(from, &enter, &line, open))?;
    thread::Builder::new().spawn(move || deliver(to, &leave)).map(drop)
}

/// Bytes, and when they are there. None: the sender has closed.
type Chunk = (Instant, Option<Vec<u8>>);

fn take(mut from: TcpStream, enter: &SyncSender<Chunk>, line: &Line, open: Instant) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = match from.read(&mut buffer) {
            Err(err) if err.kind() == ErrorKind::Interrupted => continue,
            read => read.unwrap_or(0),
        };
        let passage = line.send(clock::now().max(open), read);
        let bytes = (read > 0).then(|| buffer[..read].to_vec());
        if enter.send((passage.arrives, bytes)).is_err() || read == 0 {
            return;
        }
        sleep_until(passage.sent);
    }
}

fn deliver(mut to: TcpStream, leave: &Receiver<Chunk>) {
    for (at, bytes) in leave {
        sleep_until(at);
        let passed = match bytes {
            Some(bytes) => to.write_all(&bytes),
            None => to.shutdown(Shutdown::Write),
        };
        if passed.is_err() {
            break;
        }
    }
}

fn sleep_until(at: Instant) {
    let left = at.saturating_duration_since(clock::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(40);

    /// A server behind a network that sends everything back. Both end with the process.
    fn echo(bandwidth: Option<f64>) -> SocketAddr {
        let (server, listener) = (local(), local());
        let (upstream, address) = (server.local_addr().unwrap(), listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in server.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut stream));
            }
        });
        thread::spawn(move || Network::new(ROUND_TRIP, bandwidth).serve(&listener, upstream));
        address
    }

    fn local() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    /// Sends `questions` bytes one by one and reads as many.
    fn ask(stream: &mut TcpStream, questions: usize) -> Duration {
        let start = clock::now();
        for _ in 0..questions {
            stream.write_all(b"?").unwrap();
        }
        stream.read_exact(&mut vec![0; questions]).unwrap();
        start.elapsed()
    }

    fn connect(to: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    #[test]
    fn a_round_trip_takes_its_time_and_the_first_one_a_handshake() {
        let mut stream = connect(echo(None));
        assert!(ask(&mut stream, 1) >= 2 * ROUND_TRIP);
        assert!(ask(&mut stream, 1) >= ROUND_TRIP);
    }

    #[test]
    fn what_is_sent_meanwhile_is_delayed_meanwhile() {
        let mut stream = connect(echo(None));
        // One after the other they would take eight seconds.
        assert!(ask(&mut stream, 200) < 40 * ROUND_TRIP);
    }

    #[test]
    fn all_bytes_arrive_in_order_and_then_the_end() {
        let stream = connect(echo(None));
        let sent: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut writer = stream.try_clone().unwrap();
        let mut reader = stream;
        let copy = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        writing.join().unwrap();
        assert!(got == sent);
    }

    #[test]
    fn connections_share_the_bandwidth() {
        let address = echo(Some(1e6));
        let start = clock::now();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut stream = connect(address);
                    stream.write_all(&[0; 50_000]).unwrap();
                    stream.read_exact(&mut [0; 50_000]).unwrap();
                });
            }
        });
        assert!(start.elapsed() >= Duration::from_millis(200));
    }
}
