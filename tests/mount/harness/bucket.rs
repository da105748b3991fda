//! A bucket (or a part of one) that belongs to one test, and a foreign client that uses it behind the mounts' backs.

use std::{
    collections::BTreeMap,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation},
    operation::{list_objects_v2::ListObjectsV2Output, put_object::builders::PutObjectFluentBuilder},
    primitives::ByteStream,
    types::{BucketLifecycleConfiguration, LifecycleRule},
};
use tokio::runtime::Runtime;

use super::{
    Kind, Mount, Refused, eventually,
    server::{Server, own, server},
    wire::Wire,
};

/// What a foreign client sees of an object.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_language: Option<String>,
    /// `x-amz-meta-*`
    pub(crate) user: BTreeMap<String, String>,
}

/// Empty at first. Dropped with its server, or left behind in the server that others started.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) server: &'static Server,
    name: String,
    /// Empty, or ends in `/`.
    prefix: String,
    client: Client,
    runtime: Runtime,
}

impl Bucket {
    /// `None` where tests cannot mount; then the test is to return.
    pub(crate) fn fresh() -> Option<Self> {
        server().map(Self::on)
    }

    /// On a server of its own, which the test may break. `None` where that cannot be.
    pub(crate) fn alone() -> Option<Self> {
        own(&[]).map(Self::on)
    }

    /// On a server of its own that lets everybody read its objects, and that the test may break. `None` where that cannot be.
    pub(crate) fn public() -> Option<Self> {
        let server = own(&["--public-read=originfs-test"])?;
        Some(Self { name: server.bucket.clone(), ..Self::on(server) })
    }

    /// The same on any server that can do it; where tests share that, it is a part of a bucket.
    pub(crate) fn public_part() -> Option<Self> {
        let shared = server()?;
        match shared.public.clone() {
            Some(name) => Some(Self { name, ..Self::on(shared) }),
            None => Self::public(),
        }
    }

    /// One that nobody made yet, on a server that makes them cheaply. `None` where that cannot be.
    pub(crate) fn to_be(name: &str) -> Option<Self> {
        let fresh = Self::fresh().filter(|bucket| bucket.server.kind == Kind::Dev)?;
        Some(Self { name: name.to_owned(), prefix: String::new(), ..fresh })
    }

    /// Whether there is such a bucket.
    pub(crate) fn exists(&self) -> bool {
        self.runtime.block_on(self.client.head_bucket().bucket(&self.name).send()).is_ok()
    }

    fn on(server: &'static Server) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("t{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // A bucket of SeaweedFS takes seven volumes, so there the tests share one; that proves prefixes, too.
        let (name, prefix) = match server.kind {
            Kind::Weed => (server.bucket.clone(), format!("{unique}/deep/")),
            Kind::Dev | Kind::Ceph => (format!("originfs-{unique}"), String::new()),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = client(server);
        if name != server.bucket {
            runtime.block_on(client.create_bucket().bucket(&name).send()).unwrap();
        }
        Self { server, name, prefix, client, runtime }
    }

    /// A name that nobody made a bucket of.
    pub(crate) fn absent() -> Option<Self> {
        Some(Self { name: format!("originfs-absent-{}", process::id()), prefix: String::new(), ..Self::fresh()? })
    }

    /// A directory of it.
    pub(crate) fn below(&self, dir: &str) -> Self {
        Self { name: self.name.clone(), prefix: format!("{}{dir}/", self.prefix), ..Self::on(self.server) }
    }

    /// Where everybody reads it: keys follow after a slash.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}/{}", self.server.endpoint, self.name, self.prefix).trim_end_matches('/').to_owned()
    }

    /// `BUCKET` or `BUCKET:/PREFIX`
    pub(crate) fn source(&self) -> String {
        if self.prefix.is_empty() { self.name.clone() } else { format!("{}:/{}", self.name, self.prefix) }
    }

    /// A mount with the options that tests want: answers that are never old, and errors that come soon.
    pub(crate) fn mount(&self) -> Mount {
        self.mount_with("freshness=strict")
    }

    /// A mount with `options` (comma-separated).
    pub(crate) fn mount_with(&self, options: &str) -> Mount {
        Mount::start(self, &self.server.endpoint, options).unwrap()
    }

    /// A mount that may be refused.
    pub(crate) fn try_mount(&self, options: &str) -> Result<Mount, Refused> {
        Mount::start(self, &self.server.endpoint, options)
    }

    /// Two webservers.
    pub(crate) fn two_mounts(&self) -> (Mount, Mount) {
        (self.mount(), self.mount())
    }

    /// A mount whose requests are seen and can be broken.
    pub(crate) fn wired(&self, options: &str) -> (Mount, Wire) {
        let wire = Wire::to(&self.server.endpoint);
        let mount = Mount::start(self, &wire.endpoint(), options).unwrap();
        // What it finds out about the server in the background is none of the requests that tests count.
        eventually("the mount has found out all about the server", || mount.knows_server());
        (mount, wire)
    }

    /// Without its prefix.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The lifecycle rules of the bucket.
    pub(crate) fn rules(&self) -> Vec<LifecycleRule> {
        let get = self.client.get_bucket_lifecycle_configuration().bucket(&self.name);
        self.runtime.block_on(get.send()).map(|answer| answer.rules.unwrap_or_default()).unwrap_or_default()
    }

    /// Replaces them.
    pub(crate) fn set_rules(&self, rules: Vec<LifecycleRule>) {
        if rules.is_empty() {
            self.runtime.block_on(self.client.delete_bucket_lifecycle().bucket(&self.name).send()).unwrap();
            return;
        }
        let all = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().unwrap();
        let put = self.client.put_bucket_lifecycle_configuration().bucket(&self.name).lifecycle_configuration(all);
        self.runtime.block_on(put.send()).unwrap();
    }

    /// Of a name in the mount.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn put(&self, name: &str, body: &[u8]) {
        self.put_with(name, body, |put| put);
    }

    /// PUT with headers.
    pub(crate) fn put_with(&self, name: &str, body: &[u8], with: impl FnOnce(Put) -> Put) {
        let put = self.client.put_object().bucket(&self.name).key(self.key(name));
        let put = with(put.body(ByteStream::from(body.to_vec())));
        self.runtime.block_on(put.send()).unwrap();
    }

    /// Many small objects, each with its name as content.
    pub(crate) fn put_many(&self, names: impl Iterator<Item = String>) {
        let mut names = names.peekable();
        self.runtime.block_on(async {
            let mut puts = tokio::task::JoinSet::new();
            while names.peek().is_some() || !puts.is_empty() {
                while puts.len() < 16
                    && let Some(name) = names.next()
                {
                    let put = self.client.put_object().bucket(&self.name).key(self.key(&name));
                    puts.spawn(put.body(ByteStream::from(name.into_bytes())).send());
                }
                puts.join_next().await.unwrap().unwrap().unwrap();
            }
        });
    }

    pub(crate) fn delete(&self, name: &str) {
        self.runtime.block_on(self.client.delete_object().bucket(&self.name).key(self.key(name)).send()).unwrap();
    }

    /// GET; `None` if there is no such key.
    #[track_caller]
    pub(crate) fn see(&self, name: &str) -> Option<Seen> {
        let get = self.client.get_object().bucket(&self.name).key(self.key(name));
        self.runtime.block_on(async {
            let got = match get.send().await {
                Err(err) if err.raw_response().is_some_and(|raw| raw.status().as_u16() == 404) => return None,
                other => other.unwrap(),
            };
            Some(Seen {
                content_type: got.content_type,
                cache_control: got.cache_control,
                content_encoding: got.content_encoding,
                content_disposition: got.content_disposition,
                content_language: got.content_language,
                user: got.metadata.unwrap_or_default().into_iter().collect(),
                body: got.body.collect().await.unwrap().to_vec(),
            })
        })
    }

    /// The body of an object that must be there.
    #[track_caller]
    pub(crate) fn body(&self, name: &str) -> Vec<u8> {
        self.see(name).unwrap_or_else(|| panic!("no object {name}; there are {:?}", self.keys())).body
    }

    /// All keys below the test's part, without what is ours alone, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        let list = self.client.list_objects_v2().bucket(&self.name).prefix(&self.prefix);
        let pages = self.runtime.block_on(list.into_paginator().send().collect::<Result<Vec<_>, _>>()).unwrap();
        let mut keys: Vec<_> = pages
            .iter()
            .flat_map(ListObjectsV2Output::contents)
            .map(|object| object.key().unwrap()[self.prefix.len()..].to_owned())
            .filter(|key| !key.is_empty() && !key.starts_with(".originfs"))
            .collect();
        keys.sort();
        keys
    }

    /// Begins a multipart upload, sends a part, and leaves it at that.
    pub(crate) fn begin_upload(&self, name: &str) {
        self.runtime.block_on(async {
            let begun = self.client.create_multipart_upload().bucket(&self.name).key(self.key(name));
            let id = begun.send().await.unwrap().upload_id.unwrap();
            let part = self.client.upload_part().bucket(&self.name).key(self.key(name)).upload_id(id).part_number(1);
            part.body(ByteStream::from_static(b"half")).send().await.unwrap();
        });
    }

    /// Multipart uploads that were begun and not ended.
    pub(crate) fn uploads(&self) -> usize {
        let list = self.client.list_multipart_uploads().bucket(&self.name).prefix(&self.prefix);
        self.runtime.block_on(list.send()).unwrap().uploads().len()
    }
}

pub(crate) type Put = PutObjectFluentBuilder;

fn client(server: &Server) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .endpoint_url(&server.endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new(&server.access_key, &server.secret_key, None, None, "test"))
        // Old servers do not know the checksums that new clients like to send.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}
