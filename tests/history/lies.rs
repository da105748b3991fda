//! A checker that cannot fail proves nothing: here the server lies, and the checker must find it.

use crate::{
    checker::Rule,
    harness::Bucket,
    run::{MOUNT, Plan, Run},
    server::rule,
};

/// Enough for several lies of each kind.
const OPERATIONS: usize = 400;

/// A run with this rule must end with a violation of one of `expected`.
fn is_caught(name: &'static str, lies: &[&str], expected: &[Rule]) {
    let plan = Plan {
        name,
        mounts: vec!["strict", "strict"],
        workers: 2,
        operations: OPERATIONS,
        files: 3,
        large: 0,
        client: false,
        breaks: false,
    };
    let Some(bucket) = Bucket::fresh() else { return };
    let mounts = [0; 2].map(|_| bucket.mount_with(&format!("freshness=strict,{MOUNT}"))).into();
    let mut run = Run::new(&plan, &bucket, mounts);
    if !lies.iter().all(|lie| rule(&bucket, lie)) {
        return;
    }
    run.round(plan.operations, |_, _| {});
    let verdict = run.judge();
    println!("{}", verdict.report);
    let found = verdict.violations.iter().filter(|violation| expected.contains(&violation.rule)).count();
    assert!(found > 0, "the lie was not found: {}", verdict.report);
}

#[test]
fn old_answers_are_found() {
    let lie = |op: &str| format!(r#""op": "{op}", "every": 6, "action": {{"lie": "stale"}}"#);
    let lies = ["HeadObject", "GetObject", "ListObjectsV2"].map(lie);
    is_caught("stale", &lies.each_ref().map(String::as_str), &[Rule::Stale, Rule::Back]);
}

#[test]
fn a_write_that_was_confirmed_and_lost_is_found() {
    is_caught("lost", &[r#""op": "PutObject", "every": 6, "action": {"lie": "lost"}"#], &[Rule::Stale]);
}

#[test]
fn mixed_bytes_are_found() {
    is_caught("mixed", &[r#""op": "GetObject", "every": 2, "action": {"lie": "mixed"}"#], &[Rule::Torn]);
}
