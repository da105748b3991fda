//! What the options say about an outage of the CDN: how it is noticed, and who is told.

use std::{path::PathBuf, time::Duration};

use super::{Error, FsOptions, given::Given, parse::Host};
use crate::{
    cdn::{
        outage::{hysteresis::Rules, telling::Bases},
        url::{Family, Mapper},
    },
    model::key::Key,
};

/// All of it.
#[derive(Clone, Debug)]
pub struct OutageOptions {
    /// The object that is asked for,
    pub key: Key,
    /// and where.
    pub url: String,
    pub bases: Bases,
    /// Between two looks.
    pub interval: Duration,
    /// For one.
    pub limit: Duration,
    pub rules: Rules,
    /// Absolute, as the socket.
    pub map: Option<PathBuf>,
    /// For a shell.
    pub reload: Option<String>,
    pub socket: Option<PathBuf>,
}

pub(super) fn read(given: &Given, host: &Host, fs: &FsOptions) -> Result<Option<OutageOptions>, Error> {
    let Some(path) = given.text("cdn_probe")? else {
        let useless = ["cdn_map", "cdn_reload", "cdn_socket"].into_iter().find(|name| given.word(name).is_some());
        return useless.map_or(Ok(None), |name| Err(Error::new(format!("{name} needs cdn_probe"))));
    };
    let key = key(&path, fs)?;
    let (url, bases) = urls(&fs.urls, &key)
        .ok_or_else(|| Error::new("cdn_probe needs cdn_url and site_url: the two ways that a visitor may take"))?;
    let span = |name| Ok::<_, Error>(given.span(name)?.unwrap_or_default());
    let number = |name| Ok::<_, Error>(given.number(name)?.unwrap_or(1));
    let absolute = |name| Ok::<_, Error>(given.path(name)?.map(|path| host.dir.join(path)));
    let (map, reload) = (absolute("cdn_map")?, given.text("cdn_reload")?);
    if reload.is_some() && map.is_none() {
        return Err(Error::new("cdn_reload needs cdn_map: nothing else changes"));
    }
    Ok(Some(OutageOptions {
        key,
        url,
        bases,
        interval: span("cdn_probe_interval")?,
        limit: span("cdn_probe_timeout")?,
        rules: Rules {
            down_after: number("cdn_down_after")?,
            up_after: number("cdn_up_after")?,
            hold: span("cdn_hold")?,
        },
        map,
        reload,
        socket: absolute("cdn_socket")?,
    }))
}

fn key(path: &str, fs: &FsOptions) -> Result<Key, Error> {
    let wrong = |why: &str| Error::new(format!("cdn_probe={path}: {why}"));
    let key =
        fs.urls.key(path.trim_start_matches('/')).ok_or_else(|| wrong("expected the path of a file in the mount"))?;
    if fs.headers.is_public(&key) { Ok(key) } else { Err(wrong("it is not for the public (exposure=, private=)")) }
}

fn urls(urls: &Mapper, key: &Key) -> Option<(String, Bases)> {
    let [cdn, site] = [Family::Cdn, Family::Site].map(|family| urls.base(family));
    Some((urls.url(key, Family::Cdn)?, Bases { cdn: cdn?, site: site? }))
}
