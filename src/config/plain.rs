//! Options that tests begin with.

use std::{path::Path, sync::Arc};

use super::{
    FsOptions, Unknown,
    parse::{Host, Request, parse},
};
use crate::freshness::Freshness;

impl FsOptions {
    /// What a mount has for which nothing was asked, but strict, of `www-data`, and without headers for browsers.
    /// Tests begin with it and name what they are about.
    pub(crate) fn plain() -> Self {
        let host = Host { uid: 33, gid: 33, dir: "/".into(), caches: "/var/cache".into() };
        let (mountpoint, unknown) = (Path::new("/mnt"), Unknown::Refuse);
        let asked = parse(&Request { source: "bucket", mountpoint, words: &[], unknown }, &host);
        let options = asked.expect("all has a default").options.fs;
        Self { freshness: Freshness::Strict, headers: Arc::default(), urls: Arc::default(), ..options }
    }
}
