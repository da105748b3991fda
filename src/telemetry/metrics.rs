//! A [`Status`] as Prometheus reads it: its text exposition format, version 0.0.4.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>
//!
//! Names end in their unit, counters in `_total` besides. A counter begins at 0 with the mount. Each sample has the mount
//! point as a label, so that those of several mounts can stand in one place.

use std::fmt::{self, Display, Write as _};

use super::status::{Outage, Purging, Status};
use crate::{
    cost::ledger::{Class, class_of},
    store::op::Op,
};

/// What an answer of HTTP says that it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that is measured of one mount.
pub fn text(status: &Status) -> String {
    let mut page = Page { text: String::new(), mountpoint: &status.mount.mountpoint };
    page.mount(status);
    page.bucket(status);
    page.disk(status);
    page.purges(&status.purging, status.purges_pending);
    if let Some(outage) = &status.outage {
        page.outage(outage);
    }
    page.text
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Counter,
    Gauge,
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

struct Page<'a> {
    text: String,
    mountpoint: &'a str,
}

impl Page<'_> {
    /// Nothing at all if there are no samples.
    fn family<'l, V: Display>(
        &mut self,
        (kind, name, help): (Kind, &str, &str),
        samples: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let mut head = Some(format!("# HELP originfs_{name} {help}\n# TYPE originfs_{name} {kind}\n"));
        for (labels, value) in samples {
            self.text.push_str(&head.take().unwrap_or_default());
            write!(self.text, "originfs_{name}{{mountpoint=\"{}\"", escaped(self.mountpoint)).expect(FITS);
            for (label, text) in labels {
                write!(self.text, ",{label}=\"{}\"", escaped(text)).expect(FITS);
            }
            writeln!(self.text, "}} {value}").expect(FITS);
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family((Kind::Counter, name, help), [(Labels::new(), value)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family((Kind::Gauge, name, help), [(Labels::new(), value)]);
    }

    fn mount(&mut self, status: &Status) {
        let mount = &status.mount;
        let labels = vec![("source", mount.source.as_str()), ("version", mount.version.as_str())];
        self.family((Kind::Gauge, "mount_info", "Always 1; the labels say what is mounted."), [(labels, 1)]);
        self.gauge("mount_start_time_seconds", "When the mount began, since 1970.", mount.since);
    }

    fn bucket(&mut self, status: &Status) {
        let requests = |of: fn(&super::counters::Requests) -> u64| {
            status.requests.iter().map(move |(name, requests)| (vec![("operation", name.as_str())], of(requests)))
        };
        let about = "Requests to the bucket, by the name of the operation in the S3 API.";
        self.family((Kind::Counter, "requests_total", about), requests(|requests| requests.calls));
        let about = "Those of them with an error, or an answer that says no.";
        self.family((Kind::Counter, "request_errors_total", about), requests(|requests| requests.errors));
        let kinds = status.errors.iter().map(|(kind, count)| (vec![("kind", kind.as_str())], *count));
        self.family((Kind::Counter, "errors_total", "Errors of requests to the bucket, by kind."), kinds);
        let billed = |class| {
            let ops = Op::ALL.into_iter().filter(move |op| class_of(*op) == class);
            ops.filter_map(|op| status.requests.get(op.name())).map(|requests| requests.calls).sum::<u64>()
        };
        let classes = [("a", Class::A), ("b", Class::B), ("free", Class::Free)];
        let classes = classes.map(|(name, class)| (vec![("class", name)], billed(class)));
        self.family((Kind::Counter, "billed_requests_total", "Requests to the bucket, as vendors bill them."), classes);
        let traffic = &status.traffic;
        self.counter("received_bytes_total", "Content that came from the bucket.", traffic.bytes_in);
        self.counter("sent_bytes_total", "Content that the bucket acknowledged.", traffic.bytes_out);
        self.counter("cache_hits_total", "Reads of content that was here.", traffic.cache_hits);
        self.counter("cache_misses_total", "Reads of content that had to be fetched.", traffic.cache_misses);
        self.counter("absent_names_total", "Questions to the bucket about names that are not there.", status.absent);
        self.counter("hidden_keys_total", "Keys that no path can have.", status.hidden_keys);
        self.gauge("calls_in_flight", "Requests that the bucket has not answered yet.", status.calls_in_flight);
        let times = [
            ("last_answer_time_seconds", "When the bucket last answered anything", status.contact.last),
            (
                "last_failure_time_seconds",
                "When a request last got no usable answer",
                status.contact.failure.as_ref().map(|last| last.at),
            ),
        ];
        for (name, about, at) in times {
            let about = format!("{about}, since 1970.");
            self.family((Kind::Gauge, name, &about), at.map(|at| (Labels::new(), at)));
        }
    }

    fn disk(&mut self, status: &Status) {
        let (cache, staging) = (&status.cache, &status.staging);
        self.gauge("cache_bytes", "Content that is kept.", cache.bytes);
        self.gauge("cache_limit_bytes", "How much of it may be.", cache.limit);
        self.gauge("cache_files", "Files of which content is kept.", cache.files);
        self.gauge("cache_disk_free_bytes", "What is free on the disk of the cache.", cache.free);
        self.gauge("staging_bytes", "Content that is not in the bucket yet.", staging.bytes);
        self.gauge("staging_files", "Files whose content is not in the bucket yet.", staging.files);
    }

    fn purges(&mut self, purging: &[Purging], pending: u64) {
        if purging.is_empty() {
            return;
        }
        self.gauge("cdn_purges_pending", "Changes that some vendor has not forgotten yet, on the disk too.", pending);
        let numbers: Vec<String> = (1..=purging.len()).map(|number| number.to_string()).collect();
        let mut of = |kind, name: &str, about: &str, value: &dyn Fn(&Purging) -> Option<Number>| {
            let all = purging.iter().zip(&numbers);
            let samples = all.filter_map(|(one, number)| {
                // Two tables may name the same vendor.
                Some((vec![("vendor", one.vendor.as_str()), ("table", number.as_str())], value(one)?))
            });
            self.family((kind, &format!("cdn_purge_{name}"), about), samples);
        };
        let (counter, gauge) = (Kind::Counter, Kind::Gauge);
        let some = |count: u64| Some(Number::Whole(count));
        of(gauge, "waiting", "Objects and directories that are not purged yet.", &|one| some(one.waiting));
        of(gauge, "oldest_age_seconds", "How long the oldest of them waits.", &|one| some(one.oldest_s.unwrap_or(0)));
        of(counter, "requests_total", "Requests to the vendor.", &|one| some(one.requests));
        of(counter, "items_total", "URLs, paths and prefixes in them.", &|one| some(one.items));
        of(counter, "errors_total", "Requests that were not answered as they should.", &|one| some(one.errors));
        of(counter, "done_total", "Changes that the vendor was told of, a second time too.", &|one| some(one.done));
        of(counter, "latency_seconds_total", "How long these took from the change to the answer.", &|one| {
            Some(Number::Thousandths(one.latency_ms))
        });
        of(counter, "given_up_total", "Purges that made no sense to the vendor.", &|one| some(one.given_up));
        of(gauge, "paused", "1 while nothing is sent: somebody must help.", &|one| some(one.paused.is_some().into()));
        of(gauge, "paid_items", "Items that were paid for this month.", &|one| one.paid.map(Number::Whole));
        of(gauge, "budget_items", "How many of them may be.", &|one| one.budget.map(Number::Whole));
    }

    fn outage(&mut self, outage: &Outage) {
        self.gauge("cdn_up", "Whether the CDN works.", u8::from(outage.cdn_up));
        self.gauge("cdn_change_time_seconds", "When that last changed, since 1970.", outage.since);
        self.counter("cdn_looks_total", "How often it was looked at.", outage.looks);
        self.counter("cdn_looks_failed_total", "How often that failed.", outage.failed);
    }
}

/// The value of a sample.
enum Number {
    Whole(u64),
    Thousandths(u64),
}

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(count) => count.fmt(f),
            Self::Thousandths(count) => write!(f, "{}.{:03}", count / 1000, count % 1000),
        }
    }
}

/// Why writing cannot fail.
const FITS: &str = "a string takes everything";

/// The value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::telemetry::{
        counters::Requests,
        status::{Cache, Contact, Failure, Mount, Staging, Traffic},
    };

    fn status() -> Status {
        let purging = |vendor: &str, paid| Purging {
            vendor: vendor.to_owned(),
            waiting: 2,
            oldest_s: Some(9),
            requests: 3,
            items: 40,
            errors: 1,
            done: 20,
            latency_ms: 12_345,
            paid,
            budget: paid.map(|_| 1000),
            paused: paid.map(|_| "spent".to_owned()),
            ..Purging::default()
        };
        Status {
            mount: Mount {
                source: "site:/images".to_owned(),
                mountpoint: "/var/www/a \"b\\\nc".to_owned(),
                version: "1.2.3".to_owned(),
                since: 1_795_353_600,
                ..Mount::default()
            },
            requests: BTreeMap::from([
                ("GetObject".to_owned(), Requests { calls: 5, errors: 1 }),
                ("ListObjectsV2".to_owned(), Requests { calls: 2, errors: 0 }),
                ("DeleteObject".to_owned(), Requests { calls: 1, errors: 0 }),
            ]),
            errors: BTreeMap::from([("not-found".to_owned(), 1)]),
            traffic: Traffic { bytes_in: 100, bytes_out: 200, cache_hits: 7, cache_misses: 3 },
            contact: Contact {
                last: Some(1_795_353_700),
                failure: Some(Failure { at: 1_795_353_650, ..Failure::default() }),
            },
            calls_in_flight: 4,
            absent: 6,
            hidden_keys: 1,
            cache: Cache { bytes: 10, limit: 1000, files: 2, free: 5000, ..Cache::default() },
            staging: Staging { bytes: 8, files: 1 },
            purging: vec![purging("cloudfront", Some(12)), purging("http 10.0.0.1", None)],
            purges_pending: 3,
            outage: Some(Outage { cdn_up: false, since: 7, looks: 90, failed: 5, ..Outage::default() }),
            ..Status::default()
        }
    }

    #[test]
    fn metrics_are_as_prometheus_wants_them() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/telemetry/metrics.golden");
        if std::env::var_os("ORIGINFS_WRITE_GOLDEN").is_some() {
            std::fs::write(golden, text(&status())).unwrap();
        }
        assert_eq!(text(&status()), std::fs::read_to_string(golden).unwrap());
    }

    #[test]
    fn each_name_is_declared_once_and_ends_as_its_kind_does() {
        let text = text(&status());
        let (mut names, mut kind) = (std::collections::BTreeSet::new(), "");
        let mut series = std::collections::BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, of) = rest.split_once(' ').unwrap();
                assert!(names.insert(name), "{name} twice");
                assert_eq!(name.ends_with("_total"), of == "counter", "{name}");
                kind = name;
            } else if !line.starts_with("# HELP ") {
                assert!(line.starts_with(&format!("{kind}{{")), "{line} below {kind}");
                let (labels, value) = line.rsplit_once(' ').unwrap();
                assert!(series.insert(labels) && value.parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(names.len() > 30 && text.ends_with('\n'));
    }

    #[test]
    fn what_a_mount_does_not_have_is_not_there() {
        let text = text(&Status::default());
        assert!(!text.contains("cdn") && !text.contains("last_") && text.contains("originfs_cache_bytes{"), "{text}");
    }
}
