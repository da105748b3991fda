//! The limits: what a client of the bucket needs for the same work, with the SDK that originfs uses and nothing else.
//! The account comes from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`).

use std::{env, error::Error, future::Future, io, sync::Arc, time::Duration};

use aws_credential_types::Credentials;
use aws_sdk_s3::{
    Client, Config,
    config::{
        BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
    },
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use clap::{Args, Subcommand};
use originfs::clock;
use serde_json::json;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    report::{Report, micros, of_bytes, of_times},
    whole::noise,
};

/// What a listing says of one object beside key and `ETag`, in bytes of XML: the tags, the size and the two words.
const ENTRY: u64 = 180;

/// A client of the bucket, without a file system.
#[derive(Debug, Subcommand)]
pub(crate) enum Raw {
    /// PUTs the objects PREFIX + `f0`, `f1`, ..
    Put(Many),
    /// GETs them, each to its last byte.
    Get(Many),
    /// HEADs them.
    Head(Many),
    /// GETs one object in ranges at once.
    Ranges(Large),
    /// Uploads one object in parts at once.
    Multipart(Large),
    /// Lists a directory, page by page.
    List(Listing),
}

#[derive(Args, Debug)]
pub(crate) struct Server {
    #[arg(long)]
    endpoint: String,
    #[arg(long)]
    bucket: String,
}

#[derive(Args, Debug)]
pub(crate) struct Many {
    #[command(flatten)]
    server: Server,
    #[arg(long)]
    prefix: String,
    #[arg(long)]
    count: usize,
    /// Of each object that is written.
    #[arg(long, default_value_t = 0)]
    bytes: usize,
    /// Requests at once.
    #[arg(long, default_value_t = 1)]
    concurrency: usize,
}

#[derive(Args, Debug)]
pub(crate) struct Large {
    #[command(flatten)]
    server: Server,
    #[arg(long)]
    key: String,
    #[command(flatten)]
    cut: Cut,
}

/// How a large object is cut.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Of the object.
    #[arg(long)]
    bytes: u64,
    /// Of each range or part.
    #[arg(long)]
    part: u64,
    /// Requests at once.
    #[arg(long)]
    concurrency: usize,
}

#[derive(Args, Debug)]
pub(crate) struct Listing {
    #[command(flatten)]
    server: Server,
    #[arg(long)]
    prefix: String,
}

impl Raw {
    pub(crate) fn run(self) -> io::Result<Report> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            match self {
                Self::Put(many) => put(many).await,
                Self::Get(many) => get(many).await,
                Self::Head(many) => head(many).await,
                Self::Ranges(large) => ranges(large).await,
                Self::Multipart(large) => multipart(large).await,
                Self::List(listing) => list(listing).await,
            }
        })
    }
}

/// The client, and the bucket.
#[derive(Clone, Debug)]
struct Bucket {
    client: Client,
    name: String,
}

impl Server {
    /// With a connection that is open, as that of a mount.
    async fn connect(self) -> io::Result<Bucket> {
        let word = |name| env::var(name).map_err(|err| io::Error::other(format!("{name}: {err}")));
        let keys = Credentials::new(word("AWS_ACCESS_KEY_ID")?, word("AWS_SECRET_ACCESS_KEY")?, None, None, "bench");
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(keys)
            .endpoint_url(self.endpoint)
            .force_path_style(true)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let bucket = Bucket { client: Client::from_conf(config.build()), name: self.bucket };
        bucket.client.head_bucket().bucket(&bucket.name).send().await.map_err(wrong)?;
        Ok(bucket)
    }
}

impl Bucket {
    async fn get(&self, key: &str, range: Option<String>) -> io::Result<u64> {
        let request = self.client.get_object().bucket(&self.name).key(key).set_range(range);
        let mut body = request.send().await.map_err(wrong)?.body;
        let mut bytes = 0;
        while let Some(chunk) = body.try_next().await.map_err(wrong)? {
            bytes += chunk.len() as u64;
        }
        Ok(bytes)
    }
}

async fn put(many: Many) -> io::Result<Report> {
    let content = Bytes::from(noise(many.bytes, 3));
    each(many, move |bucket, key| {
        let body = ByteStream::from(content.clone());
        async move {
            bucket.client.put_object().bucket(&bucket.name).key(key).body(body).send().await.map_err(wrong).map(drop)
        }
    })
    .await
}

async fn get(many: Many) -> io::Result<Report> {
    each(many, |bucket, key| async move { bucket.get(&key, None).await.map(drop) }).await
}

async fn head(many: Many) -> io::Result<Report> {
    each(many, |bucket, key| async move {
        bucket.client.head_object().bucket(&bucket.name).key(key).send().await.map_err(wrong).map(drop)
    })
    .await
}

/// One request for every object.
async fn each<F>(many: Many, request: impl Fn(Bucket, String) -> F + Send + Sync + 'static) -> io::Result<Report>
where
    F: Future<Output = io::Result<()>> + Send,
{
    let bucket = many.server.connect().await?;
    let (request, prefix) = (Arc::new(request), Arc::new(many.prefix));
    let start = clock::now();
    let mut workers = JoinSet::new();
    for worker in 0..many.concurrency {
        let (bucket, request, prefix) = (bucket.clone(), Arc::clone(&request), Arc::clone(&prefix));
        workers.spawn(async move {
            let mut times: Vec<Duration> = Vec::new();
            for n in (worker..many.count).step_by(many.concurrency) {
                let start = clock::now();
                request(bucket.clone(), format!("{prefix}f{n}")).await?;
                times.push(start.elapsed());
            }
            io::Result::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(worker) = workers.join_next().await {
        times.extend(worker??);
    }
    Ok(of_times(times, start.elapsed()))
}

async fn ranges(large: Large) -> io::Result<Report> {
    let (bucket, cut) = (large.server.connect().await?, large.cut);
    let (start, key) = (clock::now(), Arc::new(large.key));
    let got = each_part(cut, move |_, from, to| {
        let (bucket, key) = (bucket.clone(), Arc::clone(&key));
        async move { bucket.get(&key, Some(format!("bytes={from}-{}", to - 1))).await }
    })
    .await?;
    let wall = start.elapsed();
    let bytes: u64 = got.into_iter().sum();
    if bytes != cut.bytes {
        return Err(io::Error::other(format!("got {bytes} bytes")));
    }
    Ok(of_bytes(bytes, wall))
}

async fn multipart(large: Large) -> io::Result<Report> {
    let (bucket, cut) = (large.server.connect().await?, large.cut);
    let content = Bytes::from(noise(usize::try_from(cut.part).map_err(io::Error::other)?, 9));
    let start = clock::now();
    let begun = bucket.client.create_multipart_upload().bucket(&bucket.name).key(&large.key).send().await;
    let id = begun.map_err(wrong)?.upload_id.ok_or_else(|| io::Error::other("the upload has no id"))?;
    let this = Arc::new((bucket.clone(), large.key.clone(), id.clone()));
    let parts = each_part(cut, move |number, from, to| {
        let (this, body) = (Arc::clone(&this), content.slice(..usize::try_from(to - from).unwrap_or(usize::MAX)));
        async move {
            let (bucket, key, id) = &*this;
            let part = bucket.client.upload_part().bucket(&bucket.name).key(key).upload_id(id).part_number(number);
            let sent = part.body(ByteStream::from(body)).send().await.map_err(wrong)?;
            Ok(CompletedPart::builder().set_e_tag(sent.e_tag).part_number(number).build())
        }
    })
    .await?;
    let all = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let complete = bucket.client.complete_multipart_upload().bucket(&bucket.name).key(&large.key).upload_id(id);
    complete.multipart_upload(all).send().await.map_err(wrong)?;
    Ok(of_bytes(cut.bytes, start.elapsed()))
}

/// Calls `work` with the number (from 1), the start and the end of every part, some at once. The answers in order.
async fn each_part<T, F>(cut: Cut, work: impl Fn(i32, u64, u64) -> F) -> io::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(cut.concurrency));
    let mut running = Vec::new();
    for (number, from) in (1..).zip((0..cut.bytes).step_by(usize::try_from(cut.part).map_err(io::Error::other)?)) {
        let turn = Arc::clone(&turns).acquire_owned().await.map_err(io::Error::other)?;
        let part = work(number, from, cut.bytes.min(from + cut.part));
        running.push(tokio::spawn(async move {
            let done = part.await;
            drop(turn);
            done
        }));
    }
    let mut all = Vec::with_capacity(running.len());
    for part in running {
        all.push(part.await??);
    }
    Ok(all)
}

async fn list(listing: Listing) -> io::Result<Report> {
    let bucket = listing.server.connect().await?;
    let start = clock::now();
    let (mut pages, mut names, mut bytes, mut token) = (0_u64, 0_u64, 0, None);
    loop {
        let request = bucket.client.list_objects_v2().bucket(&bucket.name).prefix(&listing.prefix).delimiter("/");
        let page = request.set_continuation_token(token).send().await.map_err(wrong)?;
        pages += 1;
        for object in page.contents() {
            names += 1;
            bytes += size(object.key()) + size(object.e_tag()) + ENTRY;
        }
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    let wall = start.elapsed();
    Ok(json!({ "us": micros(wall), "seconds": wall.as_secs_f64(), "pages": pages, "names": names, "bytes": bytes }))
}

fn size(text: Option<&str>) -> u64 {
    text.map_or(0, |text| text.len() as u64)
}

/// With all causes: the first says little.
fn wrong(err: impl Error) -> io::Error {
    let (mut text, mut cause) = (err.to_string(), err.source());
    while let Some(err) = cause {
        text = format!("{text}: {err}");
        cause = err.source();
    }
    io::Error::other(text)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn parts_cover_the_object_in_order_and_no_more_than_some_are_under_way() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (running, seen) = (Arc::clone(&now), Arc::clone(&most));
        let parts = each_part(Cut { bytes: 25, part: 10, concurrency: 2 }, move |number, from, to| {
            let (running, seen) = (Arc::clone(&running), Arc::clone(&seen));
            async move {
                seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok((number, from, to))
            }
        });
        assert_eq!(parts.await.unwrap(), [(1, 0, 10), (2, 10, 20), (3, 20, 25)]);
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn one_failure_fails_all() {
        let cut = Cut { bytes: 3, part: 1, concurrency: 1 };
        let done =
            each_part(
                cut,
                |number, _, _| async move { if number == 2 { Err(io::Error::other("lost")) } else { Ok(()) } },
            );
        assert_eq!(done.await.unwrap_err().to_string(), "lost");
    }
}
