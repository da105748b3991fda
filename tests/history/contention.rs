//! Servers and mounts that work: nothing may be old, early, torn or lost.

use crate::{
    harness::Bucket,
    run::{MOUNT, Plan, Run, Verdict, operations},
};

/// Operations of a run that is one among many tests.
const SHORT: usize = 3000;

fn run(plan: &Plan) -> Option<Verdict> {
    let bucket = Bucket::fresh()?;
    let mounts = plan.mounts.iter().map(|freshness| bucket.mount_with(&format!("freshness={freshness},{MOUNT}")));
    let mounts = mounts.collect();
    let mut run = Run::new(plan, &bucket, mounts);
    run.round(plan.operations, |_, _| {});
    let verdict = run.judge();
    println!("{}", verdict.report);
    Some(verdict)
}

fn all_is_well(plan: &Plan) {
    let Some(verdict) = run(plan) else { return };
    assert!(verdict.violations.is_empty(), "{}", verdict.report);
    assert!(verdict.counts.reads > plan.operations / 3, "{}", verdict.report);
}

fn plan(name: &'static str, mounts: &[&'static str]) -> Plan {
    Plan {
        name,
        mounts: mounts.to_vec(),
        workers: 2,
        operations: operations(SHORT),
        files: 8,
        large: 10,
        client: true,
        breaks: false,
    }
}

#[test]
fn two_strict_hosts_agree() {
    all_is_well(&plan("two-strict", &["strict", "strict"]));
}

#[test]
fn three_hosts_of_both_kinds_agree() {
    all_is_well(&plan("three-hosts", &["open", "strict", "open"]));
}

/// Without a client of the bucket every change comes from a mount; few names, so that all fight.
#[test]
fn two_open_hosts_agree_about_few_names() {
    all_is_well(&Plan { files: 3, workers: 3, client: false, ..plan("few-names", &["open", "open"]) });
}
