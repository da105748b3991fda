//! The purges of a mount: their disk, their secrets and their way to the vendors.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{http::HttpConnector as _, orchestrator::HttpRequest};
use tokio::time::timeout;

use super::{MountError, program};
use crate::{
    cdn::purge::{
        driver::Outside,
        lane::Lane,
        purger::{Progress, Purger},
        setup::{self, Planned},
        target::Target,
        vendor::{Request, Response, Secret, sign::Stamp},
    },
    clock,
    config::{Options, cdn::Place},
    model::key::Key,
    telemetry::{
        status,
        upkeep::{Compared, Purge, Purged},
    },
};

/// Bytes of an answer that are looked at: those to purges are small everywhere, and 300 rules of 4 KiB are the most that
/// a zone has.
const ANSWER_BYTES: usize = 4 << 20;
/// What can be purged gets so long at the end of a mount, which has 90 s for all; the rest is purged by the next one.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// How long an edge may take that is looked at.
const COMPARE_MAX: Duration = Duration::from_secs(10);
/// Between looks at it.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// Where the outbox is, in the cache directory of the mount.
pub(super) const OUTBOX: &str = "purges";

/// Set for the test that must find what goes wrong then.
#[cfg(debug_assertions)]
const HASTY: &str = "ORIGINFS_TEST_HASTY_PURGES";

/// The purges of a mount that has a CDN, and the task that does them.
pub(super) fn open(options: &Options) -> Result<Option<Arc<Purger>>, MountError> {
    open_at(options, &options.cache.dir.join(OUTBOX))
}

/// The same with the outbox in `dir`.
pub(super) fn open_at(options: &Options, dir: &Path) -> Result<Option<Arc<Purger>>, MountError> {
    if options.cdn.is_empty() || options.fs.read_only {
        return Ok(None);
    }
    for why in setup::deaf(&options.cdn) {
        log::warn!("{why}");
    }
    let wrong = |why: String| MountError::Path(dir.to_owned(), why);
    let planned = setup::stations(&options.cdn, &options.prefix, &options.fs.urls).map_err(wrong)?;
    if planned.is_empty() {
        return Ok(None);
    }
    let stations = planned.iter().map(|planned| planned.station.clone()).collect();
    let purger = Purger::open(dir, options.prefix.as_str(), stations, seed());
    let purger = purger.map_err(|err| wrong(err.to_string()))?;
    for Planned { station, .. } in &planned {
        log::info!("{} forgets what changes here", station.name);
    }
    #[cfg(debug_assertions)]
    if env::var_os(HASTY).is_some() {
        log::error!("{HASTY} is set: purges come too early, and edges will show what is old");
        purger.be_hasty();
    }
    if purger.pending() > 0 {
        log::info!("{} purges of an earlier run are made up for", purger.pending());
    }
    let world = World::new(planned.into_iter().map(|planned| planned.place).collect());
    drop(tokio::spawn(crate::cdn::purge::driver::run(Arc::clone(&purger), Arc::new(world))));
    Ok(Some(purger))
}

/// Waits for what is to be purged yet, but not for long.
pub(super) async fn drain(purger: Arc<Purger>) {
    // What would come later is left for the next mount all the same, which may be long in coming.
    purger.hurry();
    let deadline = clock::now() + DRAIN_MAX;
    while !purger.is_drained() && purger.moves_before(deadline) && clock::now() < deadline {
        tokio::time::sleep(DRAIN_STEP).await;
    }
    if !purger.is_drained() {
        log::warn!("{} purges are left for the next mount", purger.pending());
    }
}

/// Requests to vendors since the mount began, and what they were about.
pub(super) fn tally(purger: &Purger) -> (u64, u64) {
    purger.look(|lanes| {
        let tallies = lanes.iter().map(Lane::tally);
        tallies.fold((0, 0), |(requests, items), tally| (requests + tally.requests, items + tally.items))
    })
}

/// What `status` shows of each vendor.
pub(super) fn report(purger: &Purger) -> Vec<status::Purging> {
    let now = clock::now();
    let line = |lane: &Lane, name: &str| {
        let tally = lane.tally().clone();
        status::Purging {
            vendor: name.to_owned(),
            waiting: lane.waiting() as u64,
            oldest_s: lane.oldest().map(|since| now.saturating_duration_since(since).as_secs()),
            requests: tally.requests,
            items: tally.items,
            errors: tally.errors,
            given_up: tally.dead,
            paid: lane.budget().map(|_| tally.paid),
            budget: lane.budget(),
            paused: lane.paused(now).map(|paused| paused.why.clone()),
            last_error: tally.last_error,
            dead: lane.dead().map(|dead| format!("{}: {}", dead.target, dead.why)).collect(),
        }
    };
    let stations = purger.stations().iter();
    purger.look(|lanes| lanes.iter().zip(stations).map(|(lane, station)| line(lane, &station.name)).collect())
}

/// The way to APIs for a command that is no mount; `place` is where the secret of the station 0 is.
pub fn outside(place: Place) -> impl Outside {
    World::new(vec![place])
}

/// Status, headers and body of an answer.
pub type Visited = (u16, BTreeMap<String, String>, Vec<u8>);

/// Asks for a URL as anybody may, within a deadline; names of headers are in small letters. `page`: the origin of the page
/// that wants it, if one does. An error is one line.
pub async fn visit(method: &'static str, url: &str, body: &'static str, page: Option<&str>) -> Result<Visited, String> {
    let world = World::new(Vec::new());
    let visit = async {
        let mut http = HttpRequest::new(SdkBody::from(body));
        http.set_method(method).map_err(|err| err.to_string())?;
        http.set_uri(url.to_owned()).map_err(|err| err.to_string())?;
        if let Some(page) = page {
            http.headers_mut().try_insert("origin", page.to_owned()).map_err(|err| err.to_string())?;
        }
        let answer = world.connector.call(http).await.map_err(|err| chain(&err))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let headers = headers.collect();
        let mut stream = ByteStream::new(answer.into_body());
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(&chunk.map_err(|err| chain(&err))?);
            if body.len() > ANSWER_BYTES {
                break;
            }
        }
        Ok((status, headers, body))
    };
    let late = |_| Err(format!("no answer within {} s", COMPARE_MAX.as_secs()));
    timeout(COMPARE_MAX, visit).await.unwrap_or_else(late)
}

/// The value of `user.cdn.state`.
pub(super) fn word(progress: Progress) -> &'static str {
    match progress {
        Progress::Purged => "purged",
        Progress::Pending => "pending",
        Progress::Failed => "failed",
    }
}

/// What is said where there is no CDN.
pub(super) const NONE: &str = "this mount has no [[cdn]] in its file";

/// Has the vendors forget what an administrator names.
pub(super) fn purge(
    purger: Option<&Purger>,
    wish: &Purge,
    key_of: impl Fn(&str) -> Result<Key, String>,
) -> Result<Purged, String> {
    let purger = purger.ok_or(NONE)?;
    let mut targets = Vec::new();
    for path in &wish.paths {
        let key = key_of(path)?;
        targets.push(if wish.below {
            Target::Below(Arc::from(key.marker().as_str()))
        } else {
            Target::Object(Arc::from(key.as_str()))
        });
    }
    targets.extend(wish.tags.iter().map(|tag| Target::Tag(Arc::from(tag.as_str()))));
    targets.extend(wish.everything.then_some(Target::Everything));
    let mut done = Purged { unable: purger.unable(&targets), ..Purged::default() };
    for station in purger.stations().iter().filter(|station| !done.unable.contains(&station.name)) {
        done.vendors.push(station.name.clone());
        for url in targets.iter().flat_map(|target| station.common.urls_of(target)) {
            if !done.urls.contains(&url) {
                done.urls.push(url);
            }
        }
    }
    if !wish.dry_run {
        if wish.resume {
            purger.resume();
        }
        purger.ask(&targets);
    }
    Ok(done)
}

/// Asks the edges for an object that has `etag` in the bucket, or is not there.
pub(super) async fn compare(purger: &Purger, key: &str, etag: Option<&str>) -> Vec<Compared> {
    let mut urls: Vec<String> = Vec::new();
    for url in purger.stations().iter().flat_map(|station| station.common.urls.of(key)) {
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    let world = World::new(Vec::new());
    let mut all = Vec::new();
    for url in urls {
        let asked = timeout(COMPARE_MAX, world.head(&url)).await;
        let seen = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", COMPARE_MAX.as_secs())));
        all.push(match seen {
            Ok(seen) => {
                let same = match (seen.status, &seen.etag, etag) {
                    (200, Some(edge), Some(bucket)) => Some(edge == plain(bucket)),
                    (404 | 410, _, bucket) => Some(bucket.is_none()),
                    (200, _, None) => Some(false),
                    _ => None,
                };
                Compared { url, same, ..seen }
            }
            Err(why) => Compared { url, error: Some(why), ..Compared::default() },
        });
    }
    all
}

/// An ETag as edges agree on it: some make it weak, some drop its quotes.
fn plain(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

fn seed() -> u64 {
    u64::try_from(random() & u128::from(u64::MAX)).expect("64 bits are left of it")
}

/// Another one each time. Where the system has no random numbers, the time in nanoseconds is the best that there is.
fn random() -> u128 {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_ok() {
        return u128::from_ne_bytes(bytes);
    }
    let now = clock::wall();
    u128::from(now.sec.unsigned_abs()) * 1_000_000_000 + u128::from(now.nsec)
}

/// Files, variables and the network.
#[derive(Debug)]
pub(super) struct World {
    places: Vec<Place>,
    connector: Connector,
}

impl World {
    fn new(places: Vec<Place>) -> Self {
        // The one that the SDK uses.
        let tls = Provider::Rustls(CryptoMode::AwsLc);
        let connector = Connector::builder().tls_provider(tls).build();
        Self { places, connector }
    }
}

impl World {
    /// What an edge says of a URL.
    async fn head(&self, url: &str) -> Result<Compared, String> {
        let mut http = HttpRequest::new(SdkBody::empty());
        http.set_method("HEAD").map_err(|err| err.to_string())?;
        http.set_uri(url.to_owned()).map_err(|err| err.to_string())?;
        let answer = self.connector.call(http).await.map_err(|err| chain(&err))?;
        let header = |name| answer.headers().get(name);
        Ok(Compared {
            status: answer.status().as_u16(),
            etag: header("etag").map(|etag| plain(etag).to_owned()),
            age: header("age").and_then(|age| age.trim().parse().ok()),
            ..Compared::default()
        })
    }
}

impl Outside for World {
    async fn call(&self, request: Request) -> Result<Response, String> {
        let said = |err: &dyn std::fmt::Display| err.to_string();
        let mut http = HttpRequest::new(SdkBody::from(request.body));
        http.set_method(request.method).map_err(|err| said(&err))?;
        http.set_uri(request.url).map_err(|err| said(&err))?;
        for (name, value) in request.headers {
            http.headers_mut().try_insert(name, value).map_err(|_| format!("{name}: no value of a header"))?;
        }
        let answer = self.connector.call(http).await.map_err(|err| chain(&err))?;
        let retry_after = answer.headers().get("retry-after").and_then(|text| text.trim().parse().ok());
        let status = answer.status().as_u16();
        let mut stream = ByteStream::new(answer.into_body());
        let mut body = Vec::new();
        while let Some(chunk) = stream.next().await {
            body.extend_from_slice(&chunk.map_err(|err| chain(&err))?);
            if body.len() > ANSWER_BYTES {
                break;
            }
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Response { status, retry_after: retry_after.map(Duration::from_secs), body })
    }

    async fn run(&self, words: &[String], input: String, secret: Secret) -> Result<Response, String> {
        let words = words.to_owned();
        // It ends by itself when nobody waits any more.
        let run = tokio::task::spawn_blocking(move || program::run(&words, &input, &secret));
        run.await.map_err(|err| err.to_string())?
    }

    fn secret(&self, station: usize) -> Result<Secret, String> {
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path).map_err(|err| format!("{}: {err}", path.display()))?;
            Ok(Secret::new(&text))
        };
        match &self.places[station] {
            Place::Nowhere => Ok(Secret::default()),
            Place::File(path) => read(path.clone()),
            Place::Variable(name) => match env::var(name) {
                Ok(text) => Ok(Secret::new(&text)),
                Err(_) => Err(format!("the variable {name} is not set")),
            },
            Place::Credential(name) => match env::var_os("CREDENTIALS_DIRECTORY") {
                Some(dir) => read(PathBuf::from(dir).join(name)),
                None => Err("the unit has no credentials (LoadCredential=)".to_owned()),
            },
        }
    }

    fn stamp(&self) -> Stamp {
        Stamp { seconds: clock::wall().sec, nonce: random() }
    }
}

/// An error with its causes.
pub(super) fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
