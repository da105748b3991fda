//! What a mount finds out about its bucket, and says about it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    clock,
    config::{Conflict, Exclusive, FsOptions, Options},
    store::{
        probe::{
            Conditional,
            depth::{ReadAfterWrite, probe_deeper},
            probe,
        },
        s3::S3Store,
    },
};

/// How long the crowd of requests may take before what it shows is not waited for: a slow bucket needs seconds.
const DEPTH_LIMIT: Duration = Duration::from_mins(5);

/// Seconds for which the outcome of that is believed: whoever runs the server may upgrade it, and mounts are restarted
/// far more often.
const DEPTH_AGE: i64 = 24 * 60 * 60;

/// All that was found out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Findings {
    pub(super) conditional: Conditional,
    pub(super) read_after_write: ReadAfterWrite,
}

/// What is kept of the last time.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    /// Seconds since 1970.
    at: i64,
    /// What one request after the other showed: if that has changed, the rest is void.
    basic: Conditional,
    findings: Findings,
}

/// Finds out what the bucket can do, as far as one request after the other shows it: about twenty, which a mount waits for.
/// With whether [`ask_deeper`] is due. A read-only mount needs nothing of it, and may not try.
pub(super) async fn ask(store: &S3Store, options: &Options) -> (Findings, bool) {
    if options.fs.read_only {
        return (Findings::default(), false);
    }
    let (prefix, token) = (options.prefix.as_str(), S3Store::token());
    // Together: a mount waits for both.
    let (basic, _) = tokio::join!(Box::pin(probe(store, prefix, &token)), Box::pin(store.probe_sums(prefix, &token)));
    let kept = recall(&file(options), clock::wall().sec, basic);
    let findings = kept.unwrap_or(Findings { conditional: basic, ..Findings::default() });
    tell(store, options, findings);
    (findings, kept.is_none())
}

/// Finds out the rest by a crowd of requests, which a mount does not wait for: until then the bucket is believed what
/// it showed to one request after the other. The outcome is kept in the cache directory.
pub(super) async fn ask_deeper(store: &S3Store, options: &Options, basic: Conditional) -> Option<Findings> {
    let (token, shared) = (S3Store::token(), Arc::new(store.clone()));
    let deeper = probe_deeper(&shared, options.prefix.as_str(), &token, basic);
    let (conditional, read_after_write) = timeout(DEPTH_LIMIT, deeper).await.ok()?;
    let findings = Findings { conditional, read_after_write };
    let file = file(options);
    if let Err(err) = keep(&file, &Kept { at: clock::wall().sec, basic, findings }) {
        log::debug!("{}: {err}", file.display());
    }
    tell(store, options, findings);
    Some(findings)
}

fn file(options: &Options) -> PathBuf {
    options.cache.dir.join("probe")
}

fn tell(store: &S3Store, options: &Options, findings: Findings) {
    store.set_conditions(findings.conditional);
    log::info!("conditional writes: {}; read after write: {}", findings.conditional, findings.read_after_write);
    for warning in weaker(&options.fs, findings) {
        log::warn!("{warning}");
    }
}

fn recall(file: &Path, now: i64, basic: Conditional) -> Option<Findings> {
    let kept: Kept = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let fresh = (0..DEPTH_AGE).contains(&now.saturating_sub(kept.at)) && kept.basic == basic;
    (fresh && kept.findings.read_after_write != ReadAfterWrite::Unknown).then_some(kept.findings)
}

fn keep(file: &Path, kept: &Kept) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec(kept).map_err(io::Error::other)?)?;
    fs::rename(new, file)
}

/// What the options promise and this bucket does not hold, one line each.
pub(super) fn weaker(options: &FsOptions, findings: Findings) -> Vec<String> {
    let Findings { conditional: Conditional { absent, version, .. }, read_after_write } = findings;
    let mut lines = Vec::new();
    if options.conflict == Conflict::Detect && !(absent.works() && version.works()) {
        lines.push(format!(
            "conflict=detect: the server does not make sure (put if absent: {absent}, put if unchanged: {version}); \
             a look before each upload has to do, and two hosts that close within one round trip are not told apart"
        ));
    }
    if !absent.works() {
        let promise = if options.exclusive == Exclusive::Open { "exclusive=open" } else { "exclusive=close" };
        lines.push(format!(
            "{promise}: the server does not make sure (put if absent: {absent}); O_EXCL is exclusive on this host alone"
        ));
    }
    if read_after_write == ReadAfterWrite::No {
        lines.push("the bucket does not show at once what was written: hosts may see old files and names".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::probe::Support;

    fn all(support: Support) -> Conditional {
        Conditional { absent: support, version: support, delete: support, copy: support, complete: support }
    }

    #[test]
    fn findings_are_believed_for_a_day_while_nothing_else_changed() {
        let file = std::env::temp_dir().join(format!("originfs-probe-{}", std::process::id()));
        let basic = all(Support::Yes);
        let findings = Findings { conditional: all(Support::Racy), read_after_write: ReadAfterWrite::Yes };
        assert_eq!(recall(&file, 1_000, basic), None);
        keep(&file, &Kept { at: 1_000, basic, findings }).unwrap();
        assert_eq!(recall(&file, 1_000, basic), Some(findings));
        assert_eq!(recall(&file, 1_000 + DEPTH_AGE - 1, basic), Some(findings));
        assert_eq!(recall(&file, 1_000 + DEPTH_AGE, basic), None);
        assert_eq!(recall(&file, 999, basic), None);
        assert_eq!(recall(&file, 1_000, all(Support::Refused)), None);
        keep(&file, &Kept { at: 1_000, basic, findings: Findings { conditional: basic, ..Findings::default() } })
            .unwrap();
        assert_eq!(recall(&file, 1_000, basic), None);
        fs::remove_file(file).unwrap();
    }
}
