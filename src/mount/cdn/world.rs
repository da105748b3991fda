//! The world outside of purges: files, variables, the network and the bucket.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat, SdkBody};
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{http::HttpConnector as _, orchestrator::HttpRequest};

use tokio::time::timeout;

use super::{ANSWER_BYTES, COMPARE_MAX, chain};
use crate::{
    cdn::{
        purge::{
            driver::Outside,
            vendor::{Request, Response, Secret, sign::Stamp},
        },
        url::Token,
    },
    clock,
    config::cdn::Place,
    error::Error,
    model::key::Key,
    mount::program,
    store::{Store, s3::S3Store},
};

/// Status, headers and body of an answer.
pub type Visited = (u16, BTreeMap<String, String>, Vec<u8>);

/// Asks for a URL as anybody may, within a deadline; names of headers are in small letters. `origin`: of the page that wants
/// it, if one does, as a browser says it. An error is one line.
pub async fn visit(
    method: &'static str,
    url: &str,
    body: &'static str,
    origin: Option<&str>,
) -> Result<Visited, String> {
    let world = World::<S3Store>::new(Vec::new(), Arc::default());
    let visit = async {
        let mut http = HttpRequest::new(SdkBody::from(body));
        http.set_method(method).map_err(|err| err.to_string())?;
        http.set_uri(url.to_owned()).map_err(|err| err.to_string())?;
        if let Some(origin) = origin {
            let inserted = http.headers_mut().try_insert("origin", origin.to_owned());
            inserted.map_err(|_| format!("{origin}: no value of a header"))?;
        }
        let answer = world.connector.call(http).await.map_err(|err| chain(&err))?;
        let status = answer.status().as_u16();
        let headers = answer.headers().iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let headers = headers.collect();
        Ok((status, headers, beginning(answer.into_body()).await?))
    };
    let late = |_| Err(format!("no answer within {} s", COMPARE_MAX.as_secs()));
    timeout(COMPARE_MAX, visit).await.unwrap_or_else(late)
}

/// A body, or of a long one the beginning: [`ANSWER_BYTES`] and what came with them.
async fn beginning(body: SdkBody) -> Result<Vec<u8>, String> {
    let (mut stream, mut bytes) = (ByteStream::new(body), Vec::new());
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.map_err(|err| chain(&err))?);
        if bytes.len() > ANSWER_BYTES {
            break;
        }
    }
    Ok(bytes)
}

/// Files, variables, the network and the bucket, which may come later.
#[derive(Debug)]
pub(super) struct World<S> {
    places: Vec<Place>,
    connector: Connector,
    bucket: Arc<OnceLock<Arc<S>>>,
}

impl<S: Store> World<S> {
    pub(super) fn new(places: Vec<Place>, bucket: Arc<OnceLock<Arc<S>>>) -> Self {
        // The one that the SDK uses.
        let tls = Provider::Rustls(CryptoMode::AwsLc);
        let connector = Connector::builder().tls_provider(tls).build();
        Self { places, connector, bucket }
    }
}

impl<S: Store> Outside for World<S> {
    async fn call(&self, request: Request) -> Result<Response, String> {
        let said = |err: &dyn std::fmt::Display| err.to_string();
        let mut http = HttpRequest::new(SdkBody::from(request.body));
        http.set_method(request.method).map_err(|err| said(&err))?;
        http.set_uri(request.url).map_err(|err| said(&err))?;
        for (name, value) in request.headers {
            http.headers_mut().try_insert(name, value).map_err(|_| format!("{name}: no value of a header"))?;
        }
        let answer = self.connector.call(http).await.map_err(|err| chain(&err))?;
        let status = answer.status().as_u16();
        let retry_after = wait(|name| answer.headers().get(name), status, clock::wall().sec);
        let body = String::from_utf8_lossy(&beginning(answer.into_body()).await?).into_owned();
        Ok(Response { status, retry_after, body })
    }

    async fn run(&self, words: &[String], input: String, secret: Secret) -> Result<Response, String> {
        let words = words.to_owned();
        // It ends by itself when nobody waits any more.
        let run = tokio::task::spawn_blocking(move || program::run(&words, &input, &secret));
        run.await.map_err(|err| err.to_string())?
    }

    async fn version(&self, key: &str) -> Result<Option<Token>, String> {
        let bucket = self.bucket.get().ok_or("it is not reached yet")?;
        match bucket.head(&Key::new(key)).await {
            Ok(object) => Ok(Some(Token::of(&object.version))),
            Err(Error::NotFound) => Ok(None),
            Err(err) => Err(err.to_string()),
        }
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

pub(super) fn seed() -> u64 {
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

/// What is waited at most because an answer says so: the longest window of which a vendor counts requests is an hour.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// How long an answer says to wait, at `now`, seconds since 1970: `Retry-After` in seconds or as a date (RFC 9110 section
/// 10.2.3), else Fastly's `Fastly-RateLimit-Reset`, which is the second in which its count begins anew. [`WAIT_MAX`] at
/// most. `None`: it says nothing that makes sense.
fn wait<'h>(header: impl Fn(&str) -> Option<&'h str>, status: u16, now: i64) -> Option<Duration> {
    let until = |second: i64| Duration::from_secs(u64::try_from(second.saturating_sub(now)).unwrap_or(0));
    let after = header("retry-after").map(str::trim).and_then(|text| match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => DateTime::from_str(text, DateTimeFormat::HttpDate).ok().map(|at| until(at.secs())),
    });
    // It is in every answer, and tells of a wait in that of too many requests alone.
    let reset = || header("fastly-ratelimit-reset").filter(|_| status == 429)?.trim().parse().ok().map(until);
    after.or_else(reset).map(|wait| wait.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_to_wait_in_seconds_as_a_date_or_as_fastly_does() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        const NOW: i64 = 784_111_777;
        for (name, value, status, expect) in [
            ("retry-after", " 7 ", 429, Some(7)),
            ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT", 503, Some(30)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT", 429, Some(0)),
            ("retry-after", "Mon, 07 Nov 1994 08:49:37 GMT", 429, Some(3600)),
            ("retry-after", "99999999999", 429, Some(3600)),
            ("retry-after", "soon", 429, None),
            ("retry-after", "-1", 429, None),
            ("fastly-ratelimit-reset", "784111787", 429, Some(10)),
            ("fastly-ratelimit-reset", "784111787", 503, None),
            ("fastly-ratelimit-reset", "1", 429, Some(0)),
            ("fastly-ratelimit-reset", "x", 429, None),
        ] {
            let found = wait(|asked| (asked == name).then_some(value), status, NOW);
            assert_eq!(found, expect.map(Duration::from_secs), "{name}: {value}");
        }
        let both = |name: &str| if name == "retry-after" { Some("1") } else { Some("784111787") };
        assert_eq!(wait(both, 429, NOW), Some(Duration::from_secs(1)));
    }
}
