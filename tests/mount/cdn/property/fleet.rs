//! Three mounts, the edges of a vendor, and what may become of them.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::sys::signal::Signal;
use originfs::cdn::url::Token;

use super::{super::PAGE, HOSTS};
use crate::{
    cdn::{
        edge::{Broken, Edge, Habits, TOKEN, Variant, ZONE},
        run,
        signed::{AWS, DISTRIBUTION},
    },
    harness::{Bucket, Mount, eventually, fresh_dir},
};

/// A vendor, and what may be in a URL of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vendor {
    /// Of the table, beside what all have in common.
    pub(super) table: &'static str,
    pub(super) edges: usize,
    /// Values of `Origin`, and queries.
    pub(super) origins: &'static [&'static str],
    pub(super) queries: &'static [&'static str],
}

/// Stands for the version that the bucket has when a visitor reads the page.
pub(super) const VERSION: &str = "?v=VERSION";

pub(super) const BY_URL: Vendor = Vendor {
    table: "vendor = 'cloudflare'\napi = 'EDGE0'\nzone = 'ZONE'\ntoken_file = 'token'\nplan = 'enterprise'\norigins = ['PAGE']\n",
    edges: 1,
    origins: &["", PAGE],
    queries: &["", VERSION],
};

/// Each object is purged as a prefix.
pub(super) const BY_PREFIX: Vendor = Vendor {
    table: "vendor = 'cloudflare'\napi = 'EDGE0'\nzone = 'ZONE'\ntoken_file = 'token'\nplan = 'enterprise'\nqueries = true\n",
    edges: 1,
    origins: &["", PAGE],
    queries: &["", VERSION, "?w=300&h=200"],
};

/// Two caches of one's own.
pub(super) const OWN: Vendor = Vendor {
    table: "vendor = 'http'\nedges = ['EDGE0', 'EDGE1']\nbelow = 'star'\n",
    edges: 2,
    origins: &["", PAGE],
    queries: &["", VERSION],
};

/// Each change is purged once, because that is paid for.
pub(super) const PAID: Vendor = Vendor {
    table: "vendor = 'cloudfront'\napi = 'EDGE0'\nzone = 'DISTRIBUTION'\ntoken_file = 'aws'\nbudget = 1000000\n",
    edges: 1,
    origins: &["", PAGE],
    queries: &["", VERSION],
};

/// One webserver.
pub(super) struct Host {
    pub(super) mount: Mount,
    /// What it keeps over its death.
    pub(super) place: String,
    /// Who works at it has this; who mounts it anew, too.
    pub(super) gate: Arc<Mutex<()>>,
}

pub(super) struct Fleet {
    pub(super) bucket: Bucket,
    pub(super) edges: Vec<Edge>,
    pub(super) options: String,
    pub(super) hosts: Vec<Host>,
    /// Daemons that were killed; their places are those of their successors, so they go last.
    pub(super) killed: Vec<Mount>,
}

impl Fleet {
    pub(super) fn new(vendor: &Vendor, more: &str, seed: u64) -> Option<Self> {
        let bucket = Bucket::public()?;
        let origin = bucket.url();
        let habits = Habits { fresh: Some(Duration::from_millis(300)), lag: Duration::from_millis(700), seed };
        let edges: Vec<Edge> = (0..vendor.edges).map(|_| Edge::with(&origin, habits)).collect();
        let dir = fresh_dir();
        fs::write(dir.join("token"), TOKEN).unwrap();
        fs::write(dir.join("aws"), AWS).unwrap();
        let mut table = vendor.table.replace("ZONE", ZONE).replace("PAGE", PAGE).replace("DISTRIBUTION", DISTRIBUTION);
        for (n, edge) in edges.iter().enumerate() {
            table = table.replace(&format!("EDGE{n}"), edge.address());
        }
        let url = edges[0].address();
        let text = format!("[options]\ncdn_url = '{url}'\n[[cdn]]\n{table}repurge_after = 1\n");
        fs::write(dir.join("site.toml"), text).unwrap();
        let options = format!("freshness=strict,config={}{}", dir.join("site.toml").display(), more);
        let host = |_| {
            let mount = bucket.mount_with(&options);
            let place = format!("dir={},cache_dir={}", mount.dir().display(), mount.cache_dir().display());
            Host { mount, place, gate: Arc::default() }
        };
        let hosts = (0..HOSTS).map(host).collect();
        Some(Self { bucket, edges, options, hosts, killed: Vec::new() })
    }

    pub(super) fn break_it(&self, broken: Option<Broken>) {
        self.edges.iter().for_each(|edge| edge.break_it(broken));
    }

    /// Kills a daemon, in the middle of what it does, and mounts anew.
    pub(super) fn kill(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        host.mount.signal(Signal::SIGKILL);
        // By itself: nobody forces the connection to end, as nobody would on a webserver.
        eventually("the killed daemon is gone", || host.mount.has_ended());
        let gate = Arc::clone(&host.gate);
        let nobody = gate.lock().unwrap();
        host.mount.detach();
        let next = self.bucket.mount_with(&format!("{},{}", self.options, host.place));
        drop(nobody);
        self.killed.push(std::mem::replace(&mut host.mount, next));
    }

    pub(super) fn retry(&self, at: usize) {
        let mount = &self.hosts[at].mount;
        assert_eq!(run(mount, &["purge", "--retry", "--at", mount.dir().to_str().unwrap()]).0, 0);
    }

    /// Vendors are well again, and somebody says so.
    pub(super) fn drain(&self) {
        self.break_it(None);
        for (at, host) in self.hosts.iter().enumerate() {
            eventually("all is purged", || {
                self.retry(at);
                run(&host.mount, &["status"]).1.contains(": 0 changes to be purged")
            });
        }
    }

    /// What edges show that is not what the bucket has.
    pub(super) fn stale(&self) -> Vec<String> {
        let mut truth = BTreeMap::new();
        let mut stale = Vec::new();
        for (number, edge) in self.edges.iter().enumerate() {
            for (Variant { scheme, target, origin }, shown) in edge.kept() {
                let (path, query) = target.split_once('?').unwrap_or((&target, ""));
                let name = path.trim_start_matches('/').to_owned();
                let body = truth.entry(name).or_insert_with_key(|name| self.bucket.see(name).map(|seen| seen.body));
                let shown = (shown.status == 200).then_some(shown.body);
                let version = query.strip_prefix("v=").and_then(Token::parse);
                // A URL with a version that is over may show any: no page names it any more.
                let over = version.is_some_and(|version| Some(version) != edge.behind(path).token());
                if shown != *body && !over {
                    let text =
                        |body: &Option<Vec<u8>>| body.as_deref().map(|body| String::from_utf8_lossy(body).into_owned());
                    let (shown, body) = (text(&shown), text(body));
                    stale.push(format!(
                        "edge {number} {scheme} {target} {origin:?}: {shown:?}, and the bucket has {body:?}"
                    ));
                }
            }
        }
        stale
    }
}
