//! What edges show of an object, beside what the bucket has.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::world::visit;
use crate::{
    cdn::{
        purge::{
            purger::Purger,
            setup,
            urls::Urls,
            versions::{MOST, Versions},
        },
        url::{Mapper, Token},
    },
    config::Options,
    model::version::ETag,
    telemetry::upkeep::Compared,
};

/// Those who may have objects of a mount: the caches of its vendors, whether or not they are told what changes here.
#[derive(Clone, Debug, Default)]
pub(in crate::mount) struct Edges {
    /// With the origins of pages that have variants of their own.
    all: Vec<(Urls, Vec<String>)>,
    /// Who knows which versions objects have had.
    purger: Option<Arc<Purger>>,
}

impl Edges {
    pub(in crate::mount) fn of(options: &Options, purger: Option<Arc<Purger>>) -> Self {
        // Without a purger nobody has looked at the tables yet.
        let planned = setup::stations(&options.cdn, &options.prefix, &options.fs.urls).unwrap_or_else(|why| {
            log::warn!("{why}");
            Vec::new()
        });
        let station = |planned: setup::Planned| {
            let origins = planned.station.vendor.origins().to_vec();
            (planned.station.common.urls, origins)
        };
        let mut all: Vec<_> = planned.into_iter().map(station).collect();
        let others = setup::bases_of_deaf(&options.cdn, &options.fs.urls).unwrap_or_else(|why| {
            log::warn!("{why}");
            Vec::new()
        });
        if !others.is_empty() {
            all.push((Urls::new(Mapper::new(options.prefix.clone(), others), false), Vec::new()));
        }
        if all.is_empty() {
            all.push((Urls::new((*options.fs.urls).clone(), false), Vec::new()));
        }
        Self { all, purger }
    }

    /// Each variant of an object once: its URL and the `Origin` of a page.
    fn variants(&self, key: &str, etag: Option<&str>) -> Vec<(String, Option<String>)> {
        let versions = match etag {
            // A URL with another version may show that one.
            Some(etag) => Versions::of([Token::of_etag(&ETag::new(etag))]),
            None => self.purger.as_ref().map(|purger| purger.versions(key)).unwrap_or_default(),
        };
        let mut variants = Vec::new();
        for (urls, origins) in &self.all {
            for url in urls.clone().versioned(MOST).all(key, &versions) {
                for origin in [None].into_iter().chain(origins.iter().cloned().map(Some)) {
                    let variant = (url.clone(), origin);
                    if !variants.contains(&variant) {
                        variants.push(variant);
                    }
                }
            }
        }
        variants
    }

    /// Asks for an object that has `etag` in the bucket, or is not there. An error is one line.
    pub(in crate::mount) async fn compare(&self, key: &str, etag: Option<&str>) -> Result<Vec<Compared>, String> {
        let variants = self.variants(key, etag);
        if variants.is_empty() {
            return Err(
                "nobody has said at which URL files of this mount are read: cdn_url=, site_url=, or base and site \
                        of a [[cdn]] table"
                    .to_owned(),
            );
        }
        // A few for each URL before the path: all at once.
        let mut asking = JoinSet::new();
        for (at, (url, origin)) in variants.into_iter().enumerate() {
            let etag = etag.map(str::to_owned);
            asking.spawn(async move { (at, ask(url, origin, etag.as_deref()).await) });
        }
        let mut all = asking.join_all().await;
        all.sort_by_key(|(at, _)| *at);
        Ok(all.into_iter().map(|(_, compared)| compared).collect())
    }
}

async fn ask(url: String, origin: Option<String>, etag: Option<&str>) -> Compared {
    let answer = visit("HEAD", &url, "", origin.as_deref()).await;
    let (status, headers, _) = match answer {
        Ok(answer) => answer,
        Err(why) => return Compared { url, origin, error: Some(why), ..Compared::default() },
    };
    let shown = headers.get("etag").map(|etag| plain(etag).to_owned());
    let same = match (status, &shown, etag) {
        (200, Some(edge), Some(bucket)) => Some(edge == plain(bucket)),
        (404 | 410, _, bucket) => Some(bucket.is_none()),
        (200, _, None) => Some(false),
        _ => None,
    };
    let age = headers.get("age").and_then(|age| age.trim().parse().ok());
    Compared { url, origin, status, etag: shown, age, same, error: None }
}

/// An ETag as edges agree on it: some make it weak, some drop its quotes.
fn plain(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}
