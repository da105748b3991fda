//! Looks at the CDN, and tells what it found: files on the disk, whoever asks, the status and the log.

mod files;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{http::HttpConnector as _, orchestrator::HttpRequest};
use tokio::time::{sleep, timeout};

use crate::{
    cdn::outage::{
        hysteresis::{Hysteresis, Look, Side, first_pause, pause},
        sight::{Answer, Known, Verdict, judge, url_of},
        telling::{Bases, Told},
    },
    clock,
    config::outage::OutageOptions,
    error::{Error, Result},
    store::{Get, Got, Store},
    telemetry::{base, status},
};
use files::Files;

/// The file that is looked at is read whole at each look, so it is to be small.
const BODY_MAX: usize = 64 << 10;
/// How long the bucket may take to show that it is there. Longer than usual: only a host that is cut off waits for it.
const BUCKET_MAX: Duration = Duration::from_secs(10);

/// What is known of the CDN now.
#[derive(Debug)]
pub(super) struct Board {
    bases: Bases,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    hysteresis: Hysteresis,
    /// Seconds since 1970.
    since: i64,
    looks: u64,
    failed: u64,
    last_failure: Option<String>,
}

impl Board {
    fn new(bases: Bases, hysteresis: Hysteresis, since: i64) -> Self {
        let state = Mutex::new(State { hysteresis, since, looks: 0, failed: 0, last_failure: None });
        Self { bases, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    pub(super) fn told(&self) -> Told {
        let state = self.state();
        self.bases.told(state.hysteresis.side(), state.since)
    }

    /// For `originfs status`.
    pub(super) fn report(&self) -> status::Outage {
        let told = self.told();
        let state = self.state();
        status::Outage {
            cdn_up: told.cdn_up,
            base_url: told.base_url,
            since: told.since,
            looks: state.looks,
            failed: state.failed,
            last_failure: state.last_failure.clone(),
        }
    }

    fn side(&self) -> Side {
        self.state().hysteresis.side()
    }

    /// The new side, if it changes.
    fn step(&self, look: Look, why: Option<String>) -> Option<Side> {
        let mut state = self.state();
        state.looks += 1;
        if let Some(why) = why {
            state.failed += 1;
            state.last_failure = Some(why);
        }
        let side = state.hysteresis.step(look, clock::now())?;
        state.since = clock::wall().sec;
        Some(side)
    }
}

/// Looks at the CDN from now on, for as long as the runtime lives. `dir` keeps what was found over a restart.
pub(super) fn begin<S: Store>(options: &OutageOptions, dir: &Path, store: Arc<S>) -> Arc<Board> {
    let (files, former) = Files::open(options, dir);
    let side = if former.as_ref().is_some_and(|told| !told.cdn_up) { Side::Site } else { Side::Cdn };
    let since = former.map_or_else(|| clock::wall().sec, |told| told.since);
    let board = Arc::new(Board::new(options.bases.clone(), Hysteresis::new(options.rules, side, clock::now()), since));
    if let Some(path) = &options.socket {
        match base::Socket::bind(path) {
            Ok(socket) => {
                let board = Arc::clone(&board);
                drop(tokio::spawn(base::serve(socket, move || board.report())));
            }
            Err(err) => log::error!("cdn_socket={}: {err}", path.display()),
        }
    }
    log::info!("{} shows whether the CDN works", options.url);
    drop(tokio::spawn(keep_looking(Prober::new(options, store), Arc::clone(&board), files)));
    board
}

async fn keep_looking<S: Store>(mut prober: Prober<S>, board: Arc<Board>, files: Files) {
    let mut files = tell(files, &board).await;
    let interval = prober.options.interval;
    sleep(first_pause(interval, random())).await;
    loop {
        let (look, why) = prober.look().await;
        if let Some(why) = &why {
            log::debug!("the CDN: {why}");
        }
        let changed = board.step(look, why.clone());
        match changed {
            Some(Side::Site) => {
                log::warn!("the CDN is down, {} is to be used: {}", board.told().base_url, why.unwrap_or_default());
            }
            Some(Side::Cdn) => log::info!("the CDN is up again: {}", board.told().base_url),
            None => {}
        }
        if changed.is_some() || files.due() {
            files = tell(files, &board).await;
        }
        sleep(pause(interval, random())).await;
    }
}

/// The disk and the web server may take their time.
async fn tell(mut files: Files, board: &Board) -> Files {
    let (told, map) = (board.told(), board.bases.map(board.side()));
    let telling = tokio::task::spawn_blocking(move || {
        files.tell(&told, &map);
        files
    });
    telling.await.expect("nothing panics while it writes files")
}

fn random() -> u32 {
    // Without it hosts look at the same time, which is no harm but a burden.
    getrandom::u32().unwrap_or(0)
}

#[derive(Debug)]
struct Prober<S> {
    options: OutageOptions,
    store: Arc<S>,
    connector: Connector,
    known: Known,
    looks: u64,
}

impl<S: Store> Prober<S> {
    fn new(options: &OutageOptions, store: Arc<S>) -> Self {
        // The one that the SDK uses.
        let tls = Provider::Rustls(CryptoMode::AwsLc);
        let connector = Connector::builder().tls_provider(tls).build();
        Self { options: options.clone(), store, connector, known: Known::default(), looks: 0 }
    }

    /// One look, and why it was not good.
    async fn look(&mut self) -> (Look, Option<String>) {
        let url = url_of(&self.options.url, self.looks, random());
        self.looks += 1;
        let answer = match timeout(self.options.limit, self.get(&url)).await {
            Ok(Ok((status, body))) => Answer::Came { status, body },
            Ok(Err(why)) => Answer::Failed(why),
            Err(_) => Answer::Failed(format!("no answer within {:?}", self.options.limit)),
        };
        let mut verdict = judge(&answer, &self.known);
        if verdict == Verdict::Good {
            return (Look::Good, None);
        }
        // The bucket says what is right, and that this host can reach anything at all.
        match timeout(BUCKET_MAX, self.read()).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return (Look::Unsure, Some(format!("{answer}; the bucket: {why}"))),
            Err(_) => return (Look::Unsure, Some(format!("{answer}; the bucket does not answer either"))),
        }
        if verdict == Verdict::Strange {
            verdict = judge(&answer, &self.known);
        }
        match verdict {
            Verdict::Good => (Look::Good, None),
            Verdict::Strange => (Look::Bad, Some("bytes that the bucket does not have".to_owned())),
            Verdict::Bad(why) => (Look::Bad, Some(why)),
        }
    }

    /// What the bucket has is known then.
    async fn read(&mut self) -> Result<()> {
        let Got::Bytes(object, body) = self.store.get(&self.options.key, Get::default()).await? else {
            return Err(Error::unavailable("it did not send the file"));
        };
        if object.version.size > BODY_MAX as u64 {
            return Err(Error::unavailable(format!("cdn_probe names a file of more than {} KiB", BODY_MAX >> 10)));
        }
        self.known.learn(&body.collect().await?);
        Ok(())
    }

    async fn get(&self, url: &str) -> std::result::Result<(u16, Vec<u8>), String> {
        let mut http = HttpRequest::new(SdkBody::empty());
        http.set_uri(url.to_owned()).map_err(|err| err.to_string())?;
        let answer = self.connector.call(http).await.map_err(|err| super::cdn::chain(&err))?;
        let status = answer.status().as_u16();
        let mut stream = ByteStream::new(answer.into_body());
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(&chunk.map_err(|err| super::cdn::chain(&err))?);
            if body.len() > BODY_MAX {
                return Err(format!("more than {} KiB", BODY_MAX >> 10));
            }
        }
        Ok((status, body))
    }
}
