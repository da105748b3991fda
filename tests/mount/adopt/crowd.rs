//! Many files: killed, watched, shared, and with a server that fails.

use std::{collections::HashMap, fs};

use nix::sys::signal::Signal;

use super::{Site, ended};
use crate::harness::{Bucket, eventually, noise, start};

/// How often each key was written with success, our own corner apart.
fn writes(bucket: &Bucket) -> HashMap<String, u64> {
    let log = bucket.server.admin("GET", "log", "");
    let mut writes = HashMap::new();
    for entry in log["requests"].as_array().unwrap() {
        let key = entry["key"].as_str().unwrap();
        let op = entry["op"].as_str().unwrap();
        if matches!(op, "PutObject" | "CompleteMultipartUpload") && entry["status"] == 200 && !key.contains(".originfs")
        {
            *writes.entry(key.to_owned()).or_default() += 1;
        }
    }
    writes
}

#[test]
fn two_hosts_adopt_the_same_content_at_once() {
    let Some(bucket) = Bucket::alone() else { return };
    let sites = [Site::new(&bucket), Site::new(&bucket)];
    for site in &sites {
        (0..300).for_each(|n| site.write(&format!("{}/{n}.txt", n % 11), n.to_string()));
        site.write("large.mp4", noise(17 << 20, 5));
    }
    bucket.server.admin("POST", "faults", r#"{"op": "PutObject", "action": {"latency": 200}}"#);
    bucket.server.admin("DELETE", "log", "");
    let both = sites.each_ref().map(|site| site.start(&[]));
    for process in &both {
        assert_eq!(ended(process).0, 0, "{}", process.said());
    }
    assert!(sites.iter().all(Site::is_mounted));
    let writes = writes(&bucket);
    assert_eq!((writes.len(), writes.values().max()), (301, Some(&1)), "each was written once");
    let share =
        |said: String| said.split(" uploaded").next().unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    let shares = both.each_ref().map(|process| share(process.said()));
    assert_eq!(shares[0] + shares[1], 301, "{shares:?}");
    assert!(shares.iter().all(|share| *share > 30), "they share the work: {shares:?}");
    assert_eq!(fs::read(sites[0].path("3/14.txt")).unwrap(), b"14");
    assert_eq!(sites[1].told(&["--release"]).1["released"]["files"], 301);
}

#[test]
fn a_server_that_fails_in_the_middle_is_told_and_the_next_run_goes_on() {
    let Some(bucket) = Bucket::alone() else { return };
    let site = Site::with(&bucket, ",retries=2");
    (0..200).for_each(|n| site.write(&format!("{n}.txt"), n.to_string()));
    bucket.server.admin(
        "POST",
        "faults",
        r#"{"op": "PutObject", "skip": 60, "action": {"fail": {"status": 500, "side": "before"}}}"#,
    );
    let (code, told) = site.told(&[]);
    assert_eq!((code, &told["mounted"]), (64, &false.into()), "{told}");
    assert!(told["stopped"].as_str().is_some_and(|why| why.contains("fails again")), "{told}");
    let there = bucket.keys().len();
    assert!((1..=60).contains(&there), "{there}");
    bucket.server.admin("DELETE", "faults", "");
    let (code, told) = site.told(&[]);
    assert_eq!((code, &told["files"], &told["uploaded"]), (0, &200.into(), &(200 - there).into()), "{told}");
    assert!(site.is_mounted());
}

/// As a person sees it: `script` makes the pseudo-terminal.
#[test]
fn ten_thousand_files_are_watched_through_a_terminal() {
    let Some(bucket) = Bucket::fresh() else { return };
    let site = Site::new(&bucket);
    for dir in 0..100 {
        fs::create_dir(site.path(&dir.to_string())).unwrap();
        (0..100).for_each(|n| fs::write(site.path(&format!("{dir}/{n}.txt")), format!("{dir} {n}")).unwrap());
    }
    let quoted: Vec<String> = site.command.iter().map(|word| format!("'{word}'")).collect();
    let command = format!("stty cols 140; {} --no-mount", quoted.join(" "));
    let (code, said) = ended(&start(["script", "-qec", &command, "/dev/null"]));
    assert_eq!(code, 0, "{said}");
    let frames: Vec<&str> = said.split(['\r', '\n']).filter(|frame| frame.contains("uploading")).collect();
    let percents: Vec<u64> =
        frames.iter().filter_map(|frame| frame.split('%').next()?.rsplit(' ').next()?.parse().ok()).collect();
    assert!(percents.len() >= 10, "{} frames", percents.len());
    assert!(percents.is_sorted() && percents[0] < 20 && percents.last() == Some(&100), "{percents:?}");
    let middle = frames[frames.len() / 2];
    for part in ["/10000 files", "/s", "files/s", " left"] {
        assert!(middle.contains(part), "{part:?} is not in {middle:?}");
    }
    assert!(said.contains("10000 files") && said.contains("10000 uploaded"), "{}", &said[said.len() - 300..]);
    assert_eq!(bucket.keys().len(), 10_000);
}

#[test]
fn killed_fifty_times_nothing_is_lost_and_nothing_is_uploaded_twice() {
    const FILES: u32 = 1_400;
    let Some(bucket) = Bucket::alone() else { return };
    let site = Site::new(&bucket);
    for n in 0..FILES {
        site.write(&format!("f/{}/{n}.txt", n % 20), n.to_string());
    }
    // Slow enough that kills come in the middle.
    bucket.server.admin("POST", "faults", r#"{"op": "PutObject", "prefix": "f/", "action": {"latency": 20}}"#);
    bucket.server.admin("DELETE", "log", "");
    let mut killed = 0;
    for round in 0..50_u64 {
        let before = bucket.server.count("PutObject");
        let process = site.start(&["--no-mount"]);
        // At another point each time: after so many uploads, or at once.
        let after = noise(50, 9)[usize::try_from(round).unwrap()] % 16;
        eventually("so many uploads have begun", || {
            process.ended().is_some() || bucket.server.count("PutObject") - before >= u64::from(after)
        });
        process.signal(Signal::SIGKILL);
        killed += u32::from(process.wait() == 137);
    }
    assert!(killed >= 45, "{killed} runs were killed");
    bucket.server.admin("DELETE", "faults", "");
    let (code, told) = site.told(&[]);
    assert_eq!((code, &told["files"], &told["verified"]), (0, &FILES.into(), &true.into()), "{told}");
    assert_eq!(bucket.keys().len(), FILES as usize);
    for n in 0..FILES {
        assert_eq!(fs::read(site.path(&format!("f/{}/{n}.txt", n % 20))).unwrap(), n.to_string().as_bytes());
    }
    let writes = writes(&bucket);
    assert_eq!((writes.len(), writes.values().max()), (FILES as usize, Some(&1)), "each was written once");
}
