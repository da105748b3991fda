//! A status as people read it.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::telemetry::status::{Call, Contact, LocalOnly, Outage, Status, Traffic};

/// The status at `now`, seconds since 1970, without a newline at the end.
pub(super) fn text(status: &Status, now: i64) -> String {
    let mount = &status.mount;
    let cache = &status.cache;
    let lines = [
        ("process", format!("{}, version {}, up {}", mount.pid, mount.version, age(since(mount.since, now)))),
        ("freshness", status.freshness.clone()),
        ("passthrough", passthrough(status)),
        ("conditions", conditions(&status.conditions)),
        ("consistency", format!("read after write {}", status.read_after_write)),
        ("contact", contact(&status.contact, now)),
        (
            "cache",
            format!(
                "{} of {} in {} files, {} free on the disk ({} kept), {}",
                bytes(cache.bytes),
                bytes(cache.limit),
                cache.files,
                bytes(cache.free),
                bytes(cache.min_free),
                cache.dir
            ),
        ),
        ("staging", format!("{} in {} files", bytes(status.staging.bytes), status.staging.files)),
        ("local only", local_only(status.local_only.as_ref())),
        ("traffic", traffic(&status.traffic, status.absent)),
        (
            "requests",
            list(&status.requests, |requests| match requests.errors {
                0 => requests.calls.to_string(),
                errors => format!("{} ({errors} failed)", requests.calls),
            }),
        ),
        ("errors", list(&status.errors, u64::to_string)),
        ("hidden keys", status.hidden_keys.to_string()),
        ("in flight", status.calls_in_flight.to_string()),
    ];
    let mut text = format!("{} on {}", mount.source, mount.mountpoint);
    for (name, value) in lines {
        write!(text, "\n  {name:<12} {value}").expect("a string takes everything");
    }
    status
        .weaker
        .iter()
        .for_each(|line| write!(text, "\n  {:<12} {line}", "weaker").expect("a string takes everything"));
    let cdn = status.outage.iter().map(|seen| outage(seen, now));
    for line in cdn.chain(status.purging.iter().flat_map(super::cdn::vendor_lines)) {
        write!(text, "\n  {:<12} {line}", "cdn").expect("a string takes everything");
    }
    status.calls.iter().for_each(|call| text.push_str(&flight(call)));
    text
}

/// Whether the CDN works.
pub(super) fn outage(outage: &Outage, now: i64) -> String {
    let side = if outage.cdn_up { "up" } else { "DOWN" };
    let for_how_long = age(since(outage.since, now));
    let Outage { base_url, looks, failed, .. } = outage;
    let why = outage.last_failure.as_ref().map_or(String::new(), |why| format!(", the last: {why}"));
    format!("{side} for {for_how_long}, {base_url} is to be used; {failed} of {looks} looks failed{why}")
}

fn flight(call: &Call) -> String {
    format!("\n  {:>12} {:<23} {:?}", age(Duration::from_millis(call.age_ms)), call.operation, call.key)
}

fn passthrough(status: &Status) -> String {
    match (status.passthrough.on, &status.passthrough.why) {
        (true, _) => "on".to_owned(),
        (false, Some(why)) => format!("off: {why}"),
        (false, None) => "off".to_owned(),
    }
}

fn local_only(kept: Option<&LocalOnly>) -> String {
    let Some(kept) = kept else { return "none".to_owned() };
    let lists = [("local", &kept.local), ("hold", &kept.hold)].into_iter().filter(|(_, list)| !list.is_empty());
    let mut text = String::new();
    for (name, list) in lists {
        write!(text, "{name}={}; ", list.join(":")).expect("a string takes everything");
    }
    match (kept.files, kept.bytes) {
        (Some(files), Some(size)) => write!(text, "{} in {files} files", bytes(size)),
        _ => write!(text, "very many files"),
    }
    .expect("a string takes everything");
    if kept.hidden_keys > 0 {
        write!(text, ", {} keys hidden", kept.hidden_keys).expect("a string takes everything");
    }
    format!("{text}, {}", kept.dir)
}

fn conditions(probed: &BTreeMap<String, String>) -> String {
    if probed.is_empty() {
        return "not known yet".to_owned();
    }
    list(probed, String::clone)
}

fn contact(contact: &Contact, now: i64) -> String {
    let mut text = match contact.last {
        Some(last) => format!("{} ago", age(since(last, now))),
        None => "none yet".to_owned(),
    };
    if let Some(failure) = &contact.failure {
        let ago = age(since(failure.at, now));
        write!(text, "; last failure {ago} ago: {} {:?}: {}", failure.operation, failure.key, failure.cause)
            .expect("a string takes everything");
    }
    text
}

fn traffic(traffic: &Traffic, absent: u64) -> String {
    let reads = traffic.cache_hits.saturating_add(traffic.cache_misses);
    let share = traffic.cache_hits.saturating_mul(100).checked_div(reads);
    let share = share.map_or(String::new(), |percent| format!(" ({percent} % hits)"));
    let absent = if absent > 0 { format!("; {absent} names asked for that are not there") } else { String::new() };
    format!(
        "{} in, {} out; cache {} hits, {} misses{share}{absent}",
        bytes(traffic.bytes_in),
        bytes(traffic.bytes_out),
        traffic.cache_hits,
        traffic.cache_misses
    )
}

fn list<T>(map: &BTreeMap<String, T>, show: impl Fn(&T) -> String) -> String {
    if map.is_empty() {
        return "none".to_owned();
    }
    map.iter().map(|(name, value)| format!("{name} {}", show(value))).collect::<Vec<_>>().join(", ")
}

fn since(then: i64, now: i64) -> Duration {
    Duration::from_secs(u64::try_from(now.saturating_sub(then)).unwrap_or(0))
}

/// The two largest units, which is as exact as a glance needs.
pub(super) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0 => format!("{} ms", age.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// With one decimal, rounded down.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{}.{} {unit}", bytes >> shift, ((bytes >> (shift - 10)) % 1024) * 10 / 1024),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{
        counters::Requests,
        status::{Cache, Failure, Mount, Passthrough, Purging, Staging},
    };

    #[test]
    fn ages_and_sizes() {
        for (millis, expect) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (7_260_000, "2 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(age(Duration::from_millis(millis)), expect);
        }
        for (size, expect) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_610_612_736, "1.5 GiB"), (u64::MAX, "16777215.9 TiB")]
        {
            assert_eq!(bytes(size), expect);
        }
    }

    #[test]
    fn absent_names_are_told_where_there_were_some() {
        let seen = Traffic { cache_hits: 1, cache_misses: 1, ..Traffic::default() };
        assert_eq!(traffic(&seen, 0), "0 B in, 0 B out; cache 1 hits, 1 misses (50 % hits)");
        assert!(traffic(&seen, 7).ends_with("; 7 names asked for that are not there"));
    }

    #[test]
    fn whether_the_cdn_works() {
        let seen = Outage { base_url: "https://a.example".into(), since: 1_000, looks: 9, ..Outage::default() };
        let up = Outage { cdn_up: true, ..seen.clone() };
        assert_eq!(outage(&up, 1_003), "up for 3 s, https://a.example is to be used; 0 of 9 looks failed");
        let down = Outage { failed: 5, last_failure: Some("status 503".into()), ..seen };
        let expect = "DOWN for 1 min 0 s, https://a.example is to be used; 5 of 9 looks failed, the last: status 503";
        assert_eq!(outage(&down, 1_060), expect);
    }

    #[test]
    fn a_whole_status() {
        let status = Status {
            mount: Mount {
                source: "site:/a".into(),
                mountpoint: "/m".into(),
                pid: 7,
                version: "0.1.0".into(),
                since: 1_000,
                read_only: false,
                endpoint: None,
            },
            freshness: "open".into(),
            passthrough: Passthrough { on: false, why: Some("kernel 6.1".into()) },
            conditional_writes: [("put-if-absent".to_owned(), false)].into(),
            conditions: [("put-if-absent".to_owned(), "racy".to_owned())].into(),
            read_after_write: "yes".into(),
            weaker: vec!["exclusive=open: no".into()],
            cache: Cache {
                dir: "/c".into(),
                bytes: 1 << 30,
                limit: 10 << 30,
                files: 3,
                min_free: 1 << 20,
                free: 5 << 30,
            },
            staging: Staging { bytes: 10, files: 1 },
            local_only: Some(LocalOnly {
                local: vec!["php".into(), "*.log".into()],
                hold: vec!["*.tmp".into()],
                dir: "/c/local".into(),
                files: Some(2),
                bytes: Some(1024),
                hidden_keys: 1,
            }),
            calls: vec![Call { operation: "GetObject".into(), key: "a/b\n.jpg".into(), age_ms: 2_500 }],
            calls_in_flight: 1,
            requests: [("GetObject".to_owned(), Requests { calls: 5, errors: 2 })].into(),
            errors: [("stale".to_owned(), 2)].into(),
            traffic: Traffic { bytes_in: 2048, bytes_out: 0, cache_hits: 3, cache_misses: 1 },
            contact: Contact {
                last: Some(1_058),
                failure: Some(Failure {
                    at: 1_000,
                    operation: "PutObject".into(),
                    key: "k".into(),
                    cause: "timed out".into(),
                }),
            },
            hidden_keys: 0,
            purging: vec![Purging { vendor: "cloudflare".into(), items: 3, requests: 1, ..Purging::default() }],
            ..Status::default()
        };
        let expect = "site:/a on /m
  process      7, version 0.1.0, up 1 min 0 s
  freshness    open
  passthrough  off: kernel 6.1
  conditions   put-if-absent racy
  consistency  read after write yes
  contact      2 s ago; last failure 1 min 0 s ago: PutObject \"k\": timed out
  cache        1.0 GiB of 10.0 GiB in 3 files, 5.0 GiB free on the disk (1.0 MiB kept), /c
  staging      10 B in 1 files
  local only   local=php:*.log; hold=*.tmp; 1.0 KiB in 2 files, 1 keys hidden, /c/local
  traffic      2.0 KiB in, 0 B out; cache 3 hits, 1 misses (75 % hits)
  requests     GetObject 5 (2 failed)
  errors       stale 2
  hidden keys  0
  in flight    1
  weaker       exclusive=open: no
  cdn          cloudflare: 0 waiting; 3 purged in 1 requests, 0 errors
           2 s GetObject               \"a/b\\n.jpg\"";
        assert_eq!(text(&status, 1_060), expect);
    }
}
