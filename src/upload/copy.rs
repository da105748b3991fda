//! Server-side copies of objects of any size.

use super::multipart::Lanes;
use crate::{
    error::{Error, Result},
    model::{key::Key, version::Version},
    store::{Copy, Headers, PART_MIN, PARTS_MAX, Require, SINGLE_MAX, Store},
};

/// Bytes of one copied part: few requests, and each well below the time that servers give one.
const COPY: u64 = 1 << 30;

/// Copies the object at `from`, which must be at its version, to `to` with exactly `headers`. Fails with `Stale` if it is
/// not, where the server checks that.
pub async fn copy_object<S: Store>(
    store: &S,
    lanes: &Lanes,
    from: (&Key, &Version),
    to: &Key,
    headers: Headers,
    require: Require,
) -> Result<Version> {
    let (from, version) = from;
    if version.size <= SINGLE_MAX {
        let source = Some(version.etag.clone());
        let copied =
            store.copy(from, to, Copy { headers: Some(headers), size: Some(version.size), source, require }).await?;
        // The time is this very second, in which the object may change again: it does not tell versions apart.
        return Ok(Version { modified: None, ..copied });
    }
    debug_assert!(lanes.part_size >= PART_MIN);
    if version.size > COPY * u64::from(PARTS_MAX) {
        return Err(Error::TooLarge);
    }
    let upload = store.begin(to, &headers).await?;
    let mut parts = Vec::new();
    let mut at = 0;
    for number in 1.. {
        if at == version.size {
            break;
        }
        let end = version.size.min(at + COPY);
        match store.part_copy(&upload, number, from, at..end, &version.etag).await {
            Ok(part) => parts.push(part),
            Err(err) => {
                if let Err(abort) = store.abort(&upload).await {
                    log::warn!("abort the copy to {to}: {abort}");
                }
                return Err(err);
            }
        }
        at = end;
    }
    let done = store.complete(&upload, &parts, require).await?;
    Ok(Version { size: version.size, ..done })
}
