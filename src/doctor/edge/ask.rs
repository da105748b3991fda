//! The questions to an edge. What is written for them is below the control prefix, and deleted again.

use bytes::Bytes;

use super::{Class, Look, Sample, Tried, Visitor, judge};
use crate::{
    cdn::{
        purge::setup,
        url::{Base, Family, Mapper, Token, versioned},
    },
    config::{Options, cdn::Cdn},
    doctor::finding::{Finding, about},
    error::Error,
    model::key::{CONTROL, Key},
    store::{Get, Got, Headers, List, Object, Require, Store, s3::S3Store},
};

/// Private files that are looked at; of public ones it is one of each class.
const PRIVATE: usize = 3;
/// Pages of a listing that are searched for them: 10,000 names.
const PAGES: usize = 10;
/// Bytes of a file that is looked at.
const SIZE_MAX: u64 = 1 << 20;
/// What is put there.
const PROBE: &str = "originfs doctor: nobody is to read this";

/// A page of nobody's, where no origin of the site is known.
const PAGE: &str = "https://www.example.org";

/// What a listing of a bucket has in it, and an index page of a webserver.
const LISTINGS: [&str; 3] = ["<ListBucketResult", "<ListAllMyBucketsResult", "<title>Index of /"];

/// Asks at every URL that the options and the tables of a mount say. None: there is no URL, and nothing to find.
pub async fn ask(subject: &str, options: &Options, cdn: &[Cdn], visitor: &impl Visitor) -> Vec<Finding> {
    let mut bases: Vec<(Base, bool)> = Vec::new();
    match setup::bases(&cdn.iter().collect::<Vec<_>>()) {
        Ok(of_tables) => bases.extend(of_tables.into_iter().map(|base| (base, true))),
        Err(why) => return vec![about("cdn-reach", subject).skipped(why)],
    }
    // A table that says no URLs is about those of the mount.
    let all = cdn.iter().any(|cdn| cdn.base.0.is_empty() && cdn.site.0.is_empty());
    for base in options.fs.urls.bases() {
        if bases.iter().all(|(known, _)| known != base) {
            bases.push((base.clone(), all));
        }
    }
    if bases.is_empty() {
        return Vec::new();
    }
    let store = match S3Store::connect(&options.bucket, &options.s3).await {
        Ok(store) => store,
        Err(err) => return vec![about("cdn-reach", subject).skipped(err.to_string())],
    };
    let page = page(options, cdn);
    let site = Site { store: &store, options, visitor, page };
    let probe = site.probe().await;
    let known = site.known().await;
    let mut findings = Vec::new();
    for (base, purged) in &bases {
        let tried = site.attempt(base, *purged, &known, probe.as_ref()).await;
        findings.extend(judge(subject, &tried));
    }
    if let Some(probe) = &probe {
        site.forget(probe).await;
    }
    findings
}

/// The origin of pages that use the files.
fn page(options: &Options, cdn: &[Cdn]) -> String {
    let site = options.fs.urls.bases().iter().find(|base| base.family() == Family::Site);
    let said = cdn.iter().find_map(|cdn| cdn.origins.0.first().cloned());
    said.or_else(|| site.map(|base| base.origin().to_owned())).unwrap_or_else(|| PAGE.to_owned())
}

/// Objects to ask for.
#[derive(Default)]
struct Known {
    /// One of each class that there is.
    public: Vec<(Key, Class, Bytes, Object)>,
    private: Vec<(Key, Bytes)>,
}

struct Site<'a, V> {
    store: &'a S3Store,
    options: &'a Options,
    visitor: &'a V,
    /// The origin of a page.
    page: String,
}

impl<V: Visitor> Site<'_, V> {
    /// A private object of our own. `None`: nothing may be written.
    async fn probe(&self) -> Option<Key> {
        let key = self.own("doctor-edge");
        if self.options.fs.read_only {
            return None;
        }
        let bytes = Bytes::from_static(PROBE.as_bytes());
        self.store.put(&key, bytes, &Headers::default(), Require::Anything).await.ok()?;
        Some(key)
    }

    fn own(&self, what: &str) -> Key {
        Key::new(&format!("{}{CONTROL}/{what}-{}", self.options.prefix.as_str(), S3Store::token()))
    }

    async fn forget(&self, key: &Key) {
        if let Err(err) = self.store.delete(key, Require::Anything).await {
            log::debug!("the probe could not delete {key}: {err}");
        }
    }

    /// Of the first pages of a listing.
    async fn known(&self) -> Known {
        let (mut known, mut token) = (Known::default(), None);
        for _ in 0..PAGES {
            let prefix = self.options.prefix.as_str().to_owned();
            let Ok(page) = self.store.list(List { prefix, token, ..List::default() }).await else { break };
            for entry in page.entries {
                let (key, size) = (entry.key, entry.version.size);
                if size > 0 && size <= SIZE_MAX && !key.as_str().contains(&format!("{CONTROL}/")) {
                    self.take(&mut known, key).await;
                }
            }
            token = page.next;
            if token.is_none() || known.public.len() == Class::ALL.len() {
                break;
            }
        }
        known
    }

    /// Fetches what is of a kind that is wanted yet.
    async fn take(&self, known: &mut Known, key: Key) {
        let class = Class::of(key.as_str());
        if self.options.fs.headers.is_public(&key) {
            if known.public.iter().all(|(_, other, ..)| *other != class)
                && let Some((bytes, object)) = self.fetch(&key).await
            {
                known.public.push((key, class, bytes, object));
            }
        } else if known.private.len() < PRIVATE
            && let Some((bytes, _)) = self.fetch(&key).await
        {
            known.private.push((key, bytes));
        }
    }
}

impl<V: Visitor> Site<'_, V> {
    async fn fetch(&self, key: &Key) -> Option<(Bytes, Object)> {
        let Ok(Got::Bytes(object, body)) = self.store.get(key, Get::default()).await else { return None };
        Some((body.collect().await.ok()?, object))
    }

    async fn get(&self, url: &str) -> Result<Look, String> {
        self.visitor.look("GET", url, "", None).await
    }

    async fn attempt(&self, base: &Base, purged: bool, known: &Known, probe: Option<&Key>) -> Tried {
        let urls: Mapper = self.options.fs.urls.at(base);
        let root = urls.below(&Key::new("")).into_iter().next().unwrap_or_default();
        let mut tried = Tried {
            base: root.clone(),
            family: base.family(),
            samples: Vec::new(),
            private: Vec::new(),
            absent: None,
            listing: None,
            written: None,
            purged,
        };
        for (key, class, bytes, object) in &known.public {
            if let Some(url) = urls.url(key, base.family()) {
                tried.samples.push(self.sample(base, url, (key, *class, bytes, object)).await);
            }
        }
        for (key, bytes) in &known.private {
            let Some(url) = urls.url(key, base.family()) else { continue };
            let got = self.get(&url).await;
            tried.private.push((url, got.map(|look| shows(&look, bytes))));
        }
        if let Some(probe) = probe {
            let url = self.ours(&root, probe);
            let got = self.get(&url).await;
            tried.private.push((url, got.map(|look| shows(&look, PROBE.as_bytes()))));
        }
        // Beside the files of the site: what is ours may be refused by a rule.
        let url = format!("{root}originfs-doctor-{}", S3Store::token());
        let got = self.get(&url).await;
        tried.absent = Some((url, got.map(|look| look.status)));
        tried.listing = Some(self.lists(base, &root).await);
        if !self.options.fs.read_only {
            tried.written = Some(self.writes(&root).await);
        }
        tried
    }

    async fn sample(
        &self,
        base: &Base,
        url: String,
        (key, class, bytes, object): (&Key, Class, &Bytes, &Object),
    ) -> Sample {
        let seen = Some(self.current(key, &url, bytes).await);
        let other = versioned(&url, &Token::of(&object.version));
        let versioned = self.current(key, &other, bytes).await;
        let page = if class == Class::Font && base.family() == Family::Cdn {
            Some((self.page.clone(), self.visitor.look("GET", &url, "", Some(&self.page)).await))
        } else {
            None
        };
        Sample {
            url,
            class,
            bytes: bytes.to_vec(),
            content_type: object.headers.content_type.clone(),
            cache_control: object.headers.cache_control.clone(),
            seen,
            versioned: Some((other, versioned)),
            page,
        }
    }

    /// What the edge has; once more if the object changed while it was asked.
    async fn current(&self, key: &Key, url: &str, bytes: &Bytes) -> Result<Look, String> {
        let look = self.get(url).await?;
        if look.status == 200 && look.body[..] != bytes[..] {
            let now = self.fetch(key).await;
            if now.as_ref().is_none_or(|(now, _)| now != bytes) {
                return Err("it changed while it was asked for".to_owned());
            }
        }
        Ok(look)
    }

    /// The URL of an object of ours.
    fn ours(&self, root: &str, key: &Key) -> String {
        format!("{root}{}", key.as_str().strip_prefix(self.options.prefix.as_str()).unwrap_or(key.as_str()))
    }

    async fn lists(&self, base: &Base, root: &str) -> Result<bool, String> {
        let mut places = vec![root.to_owned()];
        if base.family() == Family::Cdn {
            places.extend([format!("{}/", base.origin()), format!("{}/?list-type=2", base.origin())]);
        }
        for place in places {
            let look = self.get(&place).await?;
            let text = String::from_utf8_lossy(&look.body);
            if look.status == 200 && LISTINGS.iter().any(|sign| text.contains(sign)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether what a visitor puts there is in the bucket.
    async fn writes(&self, root: &str) -> Result<bool, String> {
        let key = self.own("doctor-edge-written");
        let answer = self.visitor.look("PUT", &self.ours(root, &key), PROBE, None).await?;
        if !matches!(answer.status, 200..300) {
            return Ok(false);
        }
        match self.store.head(&key).await {
            Ok(_) => {
                self.forget(&key).await;
                Ok(true)
            }
            Err(Error::NotFound) => Ok(false),
            Err(err) => Err(err.to_string()),
        }
    }
}

fn shows(look: &Look, bytes: &[u8]) -> bool {
    look.status == 200 && look.body == bytes
}
