//! `originfs cold` on a bucket: with logs in files and in the bucket, with what hosts read, and with rules of others.

use std::fs;

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
};
use originfs::{
    clock,
    cost::{
        day::Day,
        reads::{self, Record},
    },
    model::key::Key,
};
use serde_json::Value;

use crate::harness::{Bucket, Kind, Mount, fresh_dir, noise, run, words_of};

/// Above the 128 KiB that are billed at least.
const SIZE: usize = 256 << 10;
/// What the tests find cold.
const DAYS: i32 = 90;

fn today() -> Day {
    Day::of(clock::wall().sec)
}

/// Half a year from now, when what tests write is old.
fn later() -> Day {
    Day(today().0 + 180)
}

fn put(bucket: &Bucket, names: &[&str]) {
    for (seed, name) in (1..).zip(names) {
        bucket.put(name, &noise(SIZE, seed));
    }
}

/// A log of S3 with reads of `names`, forty each, over the last 100 days before [`later`].
fn log(bucket: &Bucket, names: &[&str]) -> String {
    let line = |day: Day, key: &str| {
        let (year, month, day) = day.civil();
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = months[month as usize - 1];
        format!(
            "0a b [{day:02}/{month}/{year}:00:00:38 +0000] 192.0.2.3 r 3E57 REST.GET.OBJECT {key} \"GET /b/{key} \
             HTTP/1.1\" 200 - 1 1 7 6 \"-\" \"x\" -\n"
        )
    };
    let keys: Vec<String> = names.iter().map(|name| bucket.key(name)).collect();
    let reads = (0..40).flat_map(|n| keys.iter().map(move |key| line(Day(later().0 - 2 * n), key)));
    let [first, last] = [Day(later().0 - 100), later()].map(|day| line(day, "nothing/of/ours.jpg"));
    first + &last + &reads.collect::<String>()
}

fn cold(bucket: &Bucket, more: &[&str]) -> (i32, String) {
    let (days, today) = (DAYS.to_string(), later().to_string());
    let words = [&["cold", "--vendor", "aws", "--days", &days, "--today", &today], more].concat();
    let cache = format!("cache_dir={}", fresh_dir().display());
    let words = words_of(bucket, &words, &fresh_dir(), &cache);
    run(words.iter().map(String::as_str))
}

#[track_caller]
fn told(bucket: &Bucket, more: &[&str]) -> Value {
    let (code, said) = cold(bucket, &[&["--json"], more].concat());
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap_or_else(|err| panic!("{err}: {said}"))
}

/// The directories of the rules, from the mount point.
fn directories(bucket: &Bucket, told: &Value) -> Vec<String> {
    let root = bucket.key("");
    let rules = told["rules"].as_array().unwrap().iter();
    let mut all: Vec<String> =
        rules.map(|rule| rule["prefix"].as_str().unwrap().strip_prefix(&root).unwrap().to_owned()).collect();
    all.sort();
    all
}

#[test]
fn cold_is_what_no_log_shows_wherever_the_logs_are() {
    let Some(bucket) = Bucket::fresh() else { return };
    put(&bucket, &["old/a.bin", "old/b.bin", "hot/c.bin"]);
    let text = log(&bucket, &["hot/c.bin"]);
    let file = fresh_dir().join("access.log");
    fs::write(&file, &text).unwrap();
    let of_file = told(&bucket, &["--log", file.to_str().unwrap()]);
    assert_eq!((&of_file["objects"], &of_file["cold_objects"]), (&3.into(), &2.into()), "{of_file}");
    assert_eq!(of_file["logged_days"], 101);
    assert_eq!(directories(&bucket, &of_file), ["old/"]);
    assert!(of_file["changes"].is_null(), "nothing is applied that nobody asked for");

    // The same in two objects of a bucket, cut in the middle of a day, and something else beside them.
    let half = text[..text.len() / 2].rfind('\n').unwrap() + 1;
    bucket.put("logs/2026-11-1", &text.as_bytes()[..half]);
    bucket.put("logs/2026-11-2", &text.as_bytes()[half..]);
    let place = format!("s3://{}/{}", bucket.name(), bucket.key("logs/"));
    let of_bucket = told(&bucket, &["--log", &place]);
    assert_eq!(of_bucket["logged_days"], 101);
    assert_eq!(directories(&bucket, &of_bucket), ["old/"]);
    // The two logs are files of the mount as well, and nobody reads them.
    assert_eq!(of_bucket["cold_objects"], 4);

    let (code, said) = cold(&bucket, &["--log", &format!("{place}none")]);
    assert!(code == 1 && said.contains("there is no log"), "{code} {said}");
    fs::write(&file, text.lines().last().unwrap()).unwrap();
    let (code, said) = cold(&bucket, &["--log", file.to_str().unwrap()]);
    assert!(code == 1 && said.contains("the logs are of 1 days"), "{code} {said}");
}

/// Where a mount writes down what is read.
fn record(mount: &Mount) -> std::path::PathBuf {
    fs::read_dir(mount.cache_dir()).unwrap().next().unwrap().unwrap().path().join(reads::FILE)
}

#[test]
fn what_a_host_reads_from_its_cache_is_not_cold() {
    let Some(bucket) = Bucket::fresh() else { return };
    put(&bucket, &["old/a.bin", "old/b.bin", "old/c.bin"]);
    let (here, there) = bucket.two_mounts();
    assert_eq!(here.read("old/a.bin").len(), SIZE);
    assert_eq!(there.read("old/b.bin").len(), SIZE);
    // What only looks reads nothing, nor does who writes.
    here.stat("old/c.bin");
    here.write("new.bin", noise(10, 1));
    for mount in [&here, &there] {
        assert_eq!(mount.stop(), 0);
    }
    let ids = |mount: &Mount| {
        let record = Record::open(&record(mount)).unwrap().unwrap();
        assert_eq!(record.since(), today());
        record.map(|entry| entry.unwrap()).collect::<Vec<_>>()
    };
    let id = |name: &str| Key::new(&bucket.key(name)).ino();
    assert_eq!(ids(&here), [(id("old/a.bin"), today())]);
    assert_eq!(ids(&there), [(id("old/b.bin"), today())]);

    let file = fresh_dir().join("access.log");
    fs::write(&file, log(&bucket, &[])).unwrap();
    let logs = ["--log", file.to_str().unwrap()];
    // As if it had been read half a year later.
    let aged = |mount: &Mount, name: &str| {
        let path = fresh_dir().join(name);
        let entries: Vec<_> = ids(mount).into_iter().map(|(id, _)| (id, later())).collect();
        reads::add(&path, &entries, today(), None).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let none = told(&bucket, &logs);
    assert_eq!((&none["cold_objects"], none["hosts"].as_array().unwrap().len()), (&4.into(), 0), "{none}");
    let [one, two] = [aged(&here, "one"), aged(&there, "two")];
    let some = told(&bucket, &[&logs[..], &["--reads", &one]].concat());
    assert_eq!(some["cold_objects"], 3, "{some}");
    let both = told(&bucket, &[&logs[..], &["--reads", &one, "--reads", &two]].concat());
    assert_eq!(both["cold_objects"], 2, "{both}");
    let (_, said) = cold(&bucket, &[&logs[..], &["--reads", &one]].concat());
    assert!(said.contains("of no other host is it known"), "{said}");
    let (code, said) = cold(&bucket, &[&logs[..], &["--reads", "/nonexistent/reads"]].concat());
    assert!(code == 1 && said.contains("/nonexistent/reads"), "{code} {said}");
}

#[test]
fn the_record_of_this_host_is_taken_by_itself() {
    let Some(bucket) = Bucket::fresh() else { return };
    put(&bucket, &["old/a.bin"]);
    let mount = bucket.mount();
    mount.read("old/a.bin");
    assert_eq!(mount.stop(), 0);
    let file = fresh_dir().join("access.log");
    fs::write(&file, log(&bucket, &[])).unwrap();
    let (days, today) = (DAYS.to_string(), later().to_string());
    let words = ["cold", "--json", "--vendor=aws", "--days", &days, "--today", &today, "--log", file.to_str().unwrap()];
    let cache = format!("cache_dir={}", mount.cache_dir().display());
    let words = words_of(&bucket, &words, mount.dir(), &cache);
    let (code, said) = run(words.iter().map(String::as_str));
    assert_eq!(code, 0, "{said}");
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(told["hosts"][0]["record"], record(&mount).to_str().unwrap());
}

/// A rule of somebody else, as no program of ours writes one.
fn theirs() -> LifecycleRule {
    LifecycleRule::builder()
        .id("theirs & mine")
        .filter(LifecycleRuleFilter::builder().prefix("tmp/").build())
        .status(ExpirationStatus::Enabled)
        .expiration(LifecycleExpiration::builder().days(7).build())
        .abort_incomplete_multipart_upload(AbortIncompleteMultipartUpload::builder().days_after_initiation(3).build())
        .build()
        .unwrap()
}

#[test]
fn rules_are_applied_beside_those_of_others_and_only_on_demand() {
    let Some(bucket) = Bucket::alone() else { return };
    put(&bucket, &["old/a.bin", "older/b.bin", "hot/c.bin"]);
    let file = fresh_dir().join("access.log");
    fs::write(&file, log(&bucket, &["hot/c.bin"])).unwrap();
    let logs = ["--log", file.to_str().unwrap()];
    let apply = |more: &[&str]| told(&bucket, &[&logs[..], &["--apply"], more].concat());
    let changes = |told: &Value| {
        let all = told["changes"].as_array().unwrap();
        all.iter().map(|line| line.as_str().unwrap()[..6].to_owned()).collect::<Vec<_>>()
    };
    bucket.set_rules(vec![theirs()]);
    told(&bucket, &logs);
    assert_eq!(changes(&apply(&["--dry-run"])), ["+ old/", "+ olde", "1 rule"]);
    assert_eq!(bucket.rules(), [theirs()]);

    assert_eq!(changes(&apply(&[])), ["+ old/", "+ olde", "1 rule"]);
    let rules = bucket.rules();
    assert_eq!((rules.len(), &rules[0]), (3, &theirs()));
    let ours = &rules[1];
    let (transition, filter) = (&ours.transitions()[0], ours.filter().unwrap().and().unwrap());
    assert_eq!((ours.id(), filter.prefix()), (Some("originfs-cold old/"), Some("old/")));
    assert_eq!(filter.object_size_greater_than(), Some((128 << 10) - 1));
    assert_eq!((transition.days(), transition.storage_class().unwrap().as_str()), (Some(DAYS), "STANDARD_IA"));
    // Nothing to do, nothing is written.
    let writes = bucket.server.count("PutBucketLifecycleConfiguration");
    assert_eq!(changes(&apply(&[])), ["1 rule"]);
    assert_eq!(bucket.server.count("PutBucketLifecycleConfiguration"), writes);

    // Nothing is cold any more; then nothing is there any more at all.
    bucket.delete("older/b.bin");
    assert_eq!(changes(&apply(&[])), ["- olde", "1 rule"]);
    bucket.delete("old/a.bin");
    apply(&[]);
    assert_eq!(bucket.rules(), [theirs()]);
    put(&bucket, &["old/a.bin"]);
    bucket.set_rules(Vec::new());
    apply(&[]);
    assert_eq!(bucket.rules().len(), 1);
    bucket.delete("old/a.bin");
    apply(&[]);
    assert_eq!(bucket.rules(), []);
}

#[test]
fn a_service_without_rules_is_refused_and_nothing_changes() {
    let Some(bucket) = Bucket::alone() else { return };
    put(&bucket, &["old/a.bin"]);
    let file = fresh_dir().join("access.log");
    fs::write(&file, log(&bucket, &[])).unwrap();
    let logs = ["--log", file.to_str().unwrap(), "--apply"];
    bucket.set_rules(vec![theirs()]);
    let refused = |fault: &str, why: &str| {
        bucket.server.admin("POST", "faults", fault);
        let (code, said) = cold(&bucket, &logs);
        bucket.server.admin("DELETE", "faults", "");
        assert!(code == 32 && said.contains(why), "{code} {said}");
        assert_eq!(bucket.rules(), [theirs()]);
    };
    for op in ["GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration"] {
        let fault = format!(r#"{{"op": "{op}", "action": {{"fail": {{"status": 501, "side": "before"}}}}}}"#);
        refused(&fault, "this service has none; nothing is changed");
    }
    // It says yes, and does not have it.
    let lost = r#"{"op": "PutBucketLifecycleConfiguration", "action": {"lie": "lost"}}"#;
    refused(lost, "does not have it as it was sent; what was there before is put back");
    let (days, today) = ("20".to_owned(), later().to_string());
    let words = ["cold", "--vendor=aws", "--days", &days, "--today", &today, "--apply", "--log", logs[1]];
    let words = words_of(&bucket, &words, &fresh_dir(), "");
    let (code, said) = run(words.iter().map(String::as_str));
    assert!(code == 1 && said.contains("--days 30"), "{code} {said}");
}

/// Other services may have such a class or not, and keep rules or not.
#[test]
fn what_is_applied_holds_or_nothing_changed() {
    let Some(bucket) = Bucket::fresh() else { return };
    put(&bucket, &["old/a.bin"]);
    let file = fresh_dir().join("access.log");
    fs::write(&file, log(&bucket, &[])).unwrap();
    let former = bucket.rules();
    let (code, said) = cold(&bucket, &["--log", file.to_str().unwrap(), "--apply"]);
    println!("{:?}: {code} {said}", bucket.server.kind);
    let id = format!("originfs-cold {}", bucket.key("old/"));
    let has_it = bucket.rules().iter().any(|rule| rule.id() == Some(&id));
    assert!(if code == 0 { has_it } else { code == 32 && bucket.rules() == former }, "{code} {said}");
    assert!(code == 0 || bucket.server.kind != Kind::Dev, "{said}");
}
