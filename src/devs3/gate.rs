//! Every request passes here twice: on its way in, when it is known which call it is, and on its way out.

use std::{
    error, fmt, io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
};
use s3s::{
    Body, S3Error, S3ErrorCode, S3Request, S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    s3_error,
    service::S3Service,
};

use crate::{
    buckets::Spaces,
    faults::{Break, Fate, Faults, Lie},
};

/// The only one there is.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// As Amazon answers: `SimpleAuth` of s3s would say `NotSignedUp`.
#[async_trait::async_trait]
impl S3Auth for Account {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key != self.access_key {
            return Err(s3_error!(InvalidAccessKeyId));
        }
        Ok(SecretKey::from(self.secret_key.as_str()))
    }
}

/// Decides who may do what, and what breaks.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Buckets whose objects everyone may read.
    pub(crate) public: Vec<String>,
    /// Of which single objects may be public.
    pub(crate) spaces: Arc<Spaces>,
    pub(crate) faults: Arc<Faults>,
}

/// Travels with a request, so that its answer meets the fate that was decided on the way in.
#[derive(Clone, Debug, Default)]
struct Ticket(Arc<OnceLock<Fate>>);

/// What this request is to be told that is not so.
pub(crate) fn lie<T>(req: &S3Request<T>) -> Option<Lie> {
    req.extensions.get::<Ticket>().and_then(|ticket| ticket.0.get()).and_then(|fate| fate.lie)
}

/// The reason to close a connection without an answer.
#[derive(Debug)]
pub(crate) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dropped, as a rule said")
    }
}

impl error::Error for Dropped {}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let op = cx.s3_op().name().to_owned();
        let bucket = cx.s3_path().get_bucket_name().unwrap_or_default().to_owned();
        let key = cx.s3_path().get_object_key().unwrap_or_default().to_owned();
        // Encryption with the client's key must not be taken in silence.
        if cx.headers().contains_key("x-amz-server-side-encryption-customer-algorithm") {
            return Err(s3_error!(NotImplemented));
        }
        let open = || self.spaces.get(&bucket).is_ok_and(|space| space.acls.is_public(&key));
        let public = matches!(&*op, "GetObject" | "HeadObject") && (self.public.contains(&bucket) || open());
        if cx.credentials().is_none() && !public {
            return Err(s3_error!(AccessDenied));
        }
        let ticket = cx.extensions_mut().get::<Ticket>().cloned().unwrap_or_default();
        let fate = ticket.0.get_or_init(|| self.faults.enter(&op, &bucket, &key));
        tokio::time::sleep(fate.latency).await;
        if fate.freeze {
            let mut thaws = self.faults.thaws();
            thaws.changed().await.map_err(|_| s3_error!(InternalError))?;
        }
        match fate.before {
            None => Ok(()),
            Some(Break::Fail(status)) => Err(failure(status)),
            // The way out sees it again and does not answer.
            Some(Break::Drop | Break::Blackhole) => Err(s3_error!(InternalError)),
        }
    }
}

fn failure(status: u16) -> S3Error {
    let code = match status {
        403 => S3ErrorCode::AccessDenied,
        404 => S3ErrorCode::NoSuchKey,
        412 => S3ErrorCode::PreconditionFailed,
        503 => S3ErrorCode::SlowDown,
        _ => S3ErrorCode::InternalError,
    };
    let mut err = S3Error::with_message(code, "as a rule said");
    err.set_status_code(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    err
}

/// Answers a request, as far as the rules let it.
pub(crate) async fn answer(
    service: &S3Service,
    faults: &Faults,
    mut req: Request<Incoming>,
) -> Result<Response<Body>, Dropped> {
    let ticket = Ticket::default();
    req.extensions_mut().insert(ticket.clone());
    let mut response = service.call(req.map(Body::from)).await.map_err(|err| broken(&err))?;
    let Some(fate) = ticket.0.get() else { return Ok(response) };
    match (fate.before, fate.after) {
        (Some(Break::Drop), _) | (None, Some(Break::Drop)) => return Err(Dropped),
        (Some(Break::Blackhole), _) | (None, Some(Break::Blackhole)) => std::future::pending().await,
        (None, Some(Break::Fail(status))) => {
            response = failure(status).to_http_response().map_err(|err| broken(&err))?;
        }
        (Some(Break::Fail(_)), _) | (None, None) => {}
    }
    faults.answered(fate.number, response.status().as_u16());
    match fate.cut {
        Some(left) => Ok(response.map(|body| Body::http_body_unsync(Cut { body, left }))),
        None => Ok(response),
    }
}

/// What has no answer in S3's terms is a dropped connection.
fn broken(err: &dyn fmt::Debug) -> Dropped {
    log::error!("{err:?}");
    Dropped
}

/// A body whose connection breaks.
struct Cut {
    body: Body,
    /// Bytes until then.
    left: u64,
}

impl hyper::body::Body for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(Some(Err(io::Error::other(Dropped))));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(io::Error::other).map_ok(|frame| match frame.into_data() {
            Ok(mut data) => {
                let keep = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                data.truncate(keep);
                self.left -= keep as u64;
                Frame::data(data)
            }
            Err(trailers) => trailers,
        })
    }
}
