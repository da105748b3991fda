//! Purges that are paid for by the piece.

use super::*;

/// A vendor that takes money, and lets all go that may.
fn paid() -> World {
    World::new(Contract { rounds: Rounds::Late(FETCH), budget: Some(100), ..contract() })
}

#[test]
fn what_is_paid_for_is_purged_once_when_fetches_have_ended() {
    let mut world = paid();
    assert_eq!(world.add("site/a"), [0; 0]);
    world.wait(3000);
    assert_eq!((world.sent(), world.lane.has("site/a"), world.lane.waiting()), (vec![], true, 1));
    // Another change: the time begins anew, and one purge is for both.
    assert_eq!(world.add("site/a"), [1]);
    assert_eq!(world.sleep(), 8000);
    assert_eq!(world.sent(), []);
    assert_eq!(world.sleep(), 8250, "there may be others");
    let sent = world.sent();
    assert_eq!(sent.iter().map(|(_, targets)| targets.as_slice()).collect::<Vec<_>>(), [["site/a"]]);
    assert_eq!(world.answer(sent[0].0, Verdict::Done), [2]);
    assert_eq!((world.lane.is_idle(), world.lane.tally().paid, world.lane.wake(world.now)), (true, 1, None));
}

#[test]
fn what_changes_all_the_time_is_purged_meanwhile_and_at_the_end() {
    let mut world = paid();
    let mut meanwhile = Vec::new();
    for _ in 0..100 {
        world.add("site/a");
        world.wait(1000);
        for (number, _) in world.sent() {
            meanwhile.push(world.now.duration_since(world.begin).as_secs());
            assert_eq!(world.answer(number, Verdict::Done), [0; 0], "the last change is not purged by it");
        }
    }
    assert_eq!(meanwhile, [61], "once a minute");
    world.sleep();
    world.sent();
    world.sleep();
    let sent = world.sent();
    assert_eq!(world.answer(sent[0].0, Verdict::Done), [100]);
    assert!(world.lane.is_idle());
}

#[test]
fn what_somebody_waits_for_goes_at_once_and_again() {
    let mut world = paid();
    world.add("site/a");
    world.wait(1000);
    assert_eq!(world.lane.hurry(world.now), [0; 0]);
    world.add("site/b");
    world.sleep();
    let sent = world.sent();
    assert_eq!(sent[0].1, ["site/a", "site/b"]);
    assert_eq!(world.answer(sent[0].0, Verdict::Done), [0; 0]);
    world.wait(5000);
    let sent = world.sent();
    assert_eq!(world.answer(sent[0].0, Verdict::Done), [1, 2]);
}

#[test]
fn a_budget_is_not_exceeded() {
    let mut world = World::new(Contract { budget: Some(4), batch: 2, ..contract() });
    world.lane.set_paid(2);
    for n in 0..4 {
        world.add(&format!("site/{n}"));
    }
    world.sleep();
    let sent = world.sent();
    world.answer(sent[0].0, Verdict::Done);
    for (number, _) in sent.into_iter().skip(1) {
        world.answer(number, Verdict::Done);
    }
    world.wait(1);
    assert_eq!(world.sent(), []);
    assert_eq!(world.lane.tally().paid, 4);
    assert!(world.lane.paused(world.now).unwrap().why.contains("budget"));
    assert_eq!(world.lane.waiting(), 2);
}
