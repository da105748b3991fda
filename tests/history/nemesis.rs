//! Servers that break and mounts that are killed: calls may fail, and what succeeded stays.

use std::{fs, thread, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    harness::Bucket,
    run::{Plan, Run, operations, seed},
    server::rule,
    worker::Dice,
};

/// Operations of a run that is one among many tests.
const SHORT: usize = 1500;
/// Requests are tried twice, so that many calls fail.
const IMPATIENT: &str = "retries=1,part_size=5M,cache_min_free=0,debug";

fn plan(name: &'static str) -> Plan {
    Plan {
        name,
        mounts: vec!["open", "strict"],
        workers: 2,
        operations: operations(SHORT).min(10_000),
        files: 6,
        large: 5,
        client: false,
        breaks: true,
    }
}

#[test]
fn a_server_that_breaks_makes_no_lies() {
    let plan = plan("server-breaks");
    let Some(bucket) = Bucket::fresh() else { return };
    let mounts = plan.mounts.iter().map(|freshness| bucket.mount_with(&format!("freshness={freshness},{IMPATIENT}")));
    let mut run = Run::new(&plan, &bucket, mounts.collect());
    let broken = [
        r#""every": 13, "action": {"fail": {"status": 500, "side": "before"}}"#,
        r#""every": 17, "action": {"fail": {"status": 503, "side": "after"}}"#,
        r#""every": 19, "action": {"drop": "before"}"#,
        r#""every": 23, "action": {"drop": "after"}"#,
        r#""every": 29, "action": {"latency": 40}"#,
        r#""every": 11, "op": "GetObject", "action": {"cut": 50}"#,
    ];
    if !broken.iter().all(|broken| rule(&bucket, broken)) {
        return;
    }
    run.round(plan.operations, |_, _| {});
    let verdict = run.judge();
    println!("{}", verdict.report);
    assert!(verdict.violations.is_empty(), "{}", verdict.report);
    assert!(verdict.counts.failed > 0, "nothing failed: {}", verdict.report);
}

#[test]
fn a_killed_mount_loses_nothing_that_was_confirmed() {
    let plan = plan("killed");
    let Some(bucket) = Bucket::fresh() else { return };
    let mounts = plan.mounts.iter().map(|freshness| bucket.mount_with(&format!("freshness={freshness},{IMPATIENT}")));
    let mut run = Run::new(&plan, &bucket, mounts.collect());
    let mut dice = Dice(seed());
    let mut dead = Vec::new();
    for _ in 0..3 {
        run.round(plan.operations / 3, |run, stop| {
            // Any moment is as good as any other.
            thread::sleep(Duration::from_millis(1000 + dice.roll(3000)));
            run.mounts[0].signal(Signal::SIGKILL);
            run.mounts[0].wait();
            fs::write(stop, b"").unwrap();
        });
        run.mounts[0].detach();
        let (dir, cache) = (run.mounts[0].dir().display(), run.mounts[0].cache_dir());
        let cache = dead.first().map_or(cache, crate::harness::Mount::cache_dir);
        let options = format!("freshness=open,{IMPATIENT},dir={dir},cache_dir={}", cache.display());
        let next = bucket.mount_with(&options);
        dead.push(std::mem::replace(&mut run.mounts[0], next));
    }
    let verdict = run.judge();
    println!("{}", verdict.report);
    assert!(verdict.violations.is_empty(), "{}", verdict.report);
}
