//! Conditional reads and writes, alone and in a race.

use bytes::Bytes;

use super::{Bench, Checked, Failure, Report, exists, fails, gone, same, stale, together};
use crate::{
    model::version::ETag,
    store::{Copy, Get, Got, Headers, Require, Store},
};

/// Writers of one key at once: enough that a check-then-write server lets two of them win.
const RACERS: usize = 16;
/// Races: a server that checks and then writes loses at least one of them.
const RACES: usize = 5;

pub(super) async fn all<S: Store>(bench: &Bench<'_, S>, report: &mut Report) {
    report.add("a conditional GET", get(bench).await);
    if !bench.quirks.put_absent_ignored {
        report.add("PUT if absent", put_absent(bench).await);
        report.add("one of 16 PUTs if absent wins", absent_race(bench).await);
    }
    if !bench.quirks.put_match_ignored {
        report.add("PUT if at a version", put_match(bench).await);
        report.add("one of 16 PUTs if at a version wins", match_race(bench).await);
    }
    if !bench.quirks.copy_source_ignored {
        report.add("COPY if the source is at a version", copy_source(bench).await);
    }
    if !bench.quirks.copy_require_ignored {
        report.add("COPY if the target is absent, or at a version", copy_target(bench).await);
    }
    if !bench.quirks.delete_match_ignored {
        report.add("DELETE if at a version", delete(bench).await);
    }
}

/// An ETag that no object has.
pub(super) fn other_etag() -> ETag {
    ETag::new("\"00000000000000000000000000000000\"")
}

async fn get<S: Store>(bench: &Bench<'_, S>) -> Checked {
    bench.put("cond", b"0123456789").await?;
    let version = bench.store.head(&bench.key("cond")).await?.version;
    let when_match = |etag: &ETag| Get { if_match: Some(etag.clone()), ..Get::default() };
    same("at the version", &bench.get_part("cond", when_match(&version.etag)).await?.1[..], b"0123456789")?;
    fails("at another version", bench.get_part("cond", when_match(&other_etag())).await, stale)?;
    let ranged = Get { range: Some(2..4), ..when_match(&version.etag) };
    same("a range at the version", &bench.get_part("cond", ranged).await?.1[..], b"23")?;
    let ranged = Get { range: Some(2..4), ..when_match(&other_etag()) };
    fails("a range at another version", bench.get_part("cond", ranged).await, stale)?;

    let unless = |etag: &ETag| Get { if_none_match: Some(etag.clone()), ..Get::default() };
    match bench.store.get(&bench.key("cond"), unless(&version.etag)).await? {
        Got::Same { modified: None } if bench.quirks.silent_304 => {}
        Got::Same { modified } => same("Last-Modified of a 304", modified, version.modified)?,
        Got::Bytes(..) => return Err(Failure::new("got bytes for a known version")),
    }
    same("unless at another version", &bench.get_part("cond", unless(&other_etag())).await?.1[..], b"0123456789")
}

async fn put_absent<S: Store>(bench: &Bench<'_, S>) -> Checked {
    bench.put_if("absent", b"first", Require::Absent).await?;
    fails("a second time", bench.put_if("absent", b"second", Require::Absent).await, exists)?;
    same("bytes", &bench.get("absent").await?.1[..], b"first")?;
    bench.store.delete(&bench.key("absent"), Require::Anything).await?;
    bench.put_if("absent", b"third", Require::Absent).await?;
    Ok(())
}

async fn put_match<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let first = bench.put("match", b"first").await?;
    let other = bench.put_if("match", b"no", Require::Version(other_etag())).await;
    fails("at another version", other, stale)?;
    let second = bench.put_if("match", b"second", Require::Version(first.etag.clone())).await?;
    fails("at the old version", bench.put_if("match", b"no", Require::Version(first.etag)).await, stale)?;
    same("bytes", &bench.get("match").await?.1[..], b"second")?;
    bench.store.delete(&bench.key("match"), Require::Anything).await?;
    fails("gone", bench.put_if("match", b"no", Require::Version(second.etag)).await, gone)
}

async fn absent_race<S: Store>(bench: &Bench<'_, S>) -> Checked {
    for race in 0..RACES {
        let name = format!("race/absent/{race}");
        same("winners", race_of(bench, &name, &Require::Absent).await?, 1)?;
    }
    Ok(())
}

async fn match_race<S: Store>(bench: &Bench<'_, S>) -> Checked {
    for race in 0..RACES {
        let name = format!("race/match/{race}");
        let first = bench.put(&name, b"first").await?;
        same("winners", race_of(bench, &name, &Require::Version(first.etag)).await?, 1)?;
    }
    Ok(())
}

/// Writes the key from all racers at once; gives how many were told that they won. The bytes must be a winner's.
async fn race_of<S: Store>(bench: &Bench<'_, S>, name: &str, require: &Require) -> Checked<usize> {
    let key = bench.key(name);
    let headers = Headers::default();
    let body = |racer: usize| Bytes::from(format!("racer {racer}"));
    let puts = (0..RACERS).map(|racer| bench.store.put(&key, body(racer), &headers, require.clone()));
    let mut winners = Vec::new();
    for (racer, outcome) in together(puts).await.into_iter().enumerate() {
        match outcome {
            Ok(_) => winners.push(body(racer)),
            Err(err) if exists(&err) || stale(&err) => {}
            Err(err) => return Err(err.into()),
        }
    }
    same("bytes of a winner", winners.contains(&bench.get(name).await?.1), true)?;
    Ok(winners.len())
}

async fn copy_source<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let at = bench.put("source", b"content").await?.etag;
    let (from, to) = (bench.key("source"), bench.key("source-copy"));
    let when = |etag| Copy { source: Some(etag), ..Copy::default() };
    fails("at another version", bench.store.copy(&from, &to, when(other_etag())).await, stale)?;
    fails("the target", bench.store.head(&to).await, super::not_found)?;
    bench.store.copy(&from, &to, when(at)).await?;
    Ok(())
}

async fn copy_target<S: Store>(bench: &Bench<'_, S>) -> Checked {
    bench.put("target-from", b"content").await?;
    let old = bench.put("target-old", b"old").await?.etag;
    let (from, to) = (bench.key("target-from"), bench.key("target-old"));
    let when = |require| Copy { require, ..Copy::default() };
    fails("if absent", bench.store.copy(&from, &to, when(Require::Absent)).await, exists)?;
    let other = bench.store.copy(&from, &to, when(Require::Version(other_etag()))).await;
    fails("at another version", other, stale)?;
    same("bytes", &bench.get("target-old").await?.1[..], b"old")?;
    bench.store.copy(&from, &to, when(Require::Version(old))).await?;
    bench.store.copy(&from, &bench.key("target-new"), when(Require::Absent)).await?;
    let gone_target = bench.store.copy(&from, &bench.key("target-gone"), when(Require::Version(other_etag()))).await;
    fails("gone", gone_target, gone)
}

async fn delete<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let at = bench.put("delete-if", b"x").await?.etag;
    let key = bench.key("delete-if");
    fails("at another version", bench.store.delete(&key, Require::Version(other_etag())).await, stale)?;
    bench.store.head(&key).await?;
    bench.store.delete(&key, Require::Version(at.clone())).await?;
    fails("gone", bench.store.delete(&key, Require::Version(at)).await, gone)
}
