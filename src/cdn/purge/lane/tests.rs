mod paid;

use proptest::prelude::*;

use super::*;
use crate::{
    cdn::{
        purge::{rate::Rate, urls::Urls},
        url::{Base, Family, Mapper},
    },
    model::key::Prefix,
};

fn urls() -> Urls {
    let base = Base::parse("https://cdn.example.com", Family::Cdn).unwrap();
    Urls::new(Mapper::new(Prefix::parse("site").unwrap(), vec![base]), false)
}

fn contract() -> Contract {
    Contract {
        batch: 3,
        below: usize::MAX,
        bytes: usize::MAX,
        urls: urls(),
        variants: 1,
        prefixes: true,
        whole: false,
        tags: false,
        mixed: false,
        collapse_at: 5,
        root: "site/".into(),
        everything: false,
        parallel: 2,
        rates: BTreeMap::new(),
        rounds: Rounds::Once,
        budget: None,
    }
}

/// A vendor's lane and a clock.
struct World {
    lane: Lane,
    begin: Instant,
    now: Instant,
    id: Id,
}

impl World {
    fn new(contract: Contract) -> Self {
        let begin = crate::clock::now();
        Self { lane: Lane::new(contract, begin, 7), begin, now: begin, id: 0 }
    }

    fn add(&mut self, key: &str) -> Vec<Id> {
        self.id += 1;
        self.lane.add(Target::Object(key.into()), Some(self.id), true, self.now)
    }

    fn wait(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    /// What is sent now, target by target, and the numbers of the batches.
    fn sent(&mut self) -> Vec<(u64, Vec<String>)> {
        let effects = self.lane.step(self.now);
        let batch = |effect| match effect {
            Effect::Send(batch) => (batch.number, batch.targets().map(Target::to_string).collect()),
            Effect::Done(ids) => panic!("nobody answered, and {ids:?} are done"),
        };
        effects.into_iter().map(batch).collect()
    }

    fn answer(&mut self, number: u64, verdict: Verdict) -> Vec<Id> {
        let effects = self.lane.answered(number, verdict, self.now);
        effects
            .into_iter()
            .flat_map(|effect| match effect {
                Effect::Done(ids) => ids,
                Effect::Send(_) => panic!("sends are for step"),
            })
            .collect()
    }

    /// Sleeps until the lane wants to be woken; milliseconds since the begin.
    fn sleep(&mut self) -> u128 {
        self.now = self.lane.wake(self.now).expect("it waits for something").max(self.now);
        self.now.duration_since(self.begin).as_millis()
    }
}

#[test]
fn an_upload_with_its_thumbnails_is_one_request() {
    let mut world = World::new(Contract { batch: 30, ..contract() });
    for n in 0..5 {
        assert_eq!(world.add(&format!("site/u/a-{n}.jpg")), [0; 0]);
        assert_eq!(world.sent(), []);
        world.wait(100);
    }
    assert_eq!(world.sleep(), 650, "250 ms after the last");
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].1.len(), 5);
    world.wait(50);
    assert_eq!(world.answer(sent[0].0, Verdict::Done), [1, 2, 3, 4, 5]);
    // From each change to the answer: 700 ms of the first, 300 ms of the last.
    let tally = world.lane.tally();
    assert_eq!((tally.done, tally.latency.as_millis()), (5, 2500));
    assert!(world.lane.is_idle());
    assert_eq!(world.lane.wake(world.now), None);
}

#[test]
fn nobody_waits_longer_than_two_seconds() {
    let mut world = World::new(Contract { batch: 30, collapse_at: 100, ..contract() });
    let mut n = 0;
    while world.sent().is_empty() {
        n += 1;
        world.add(&format!("site/u/{n}"));
        world.wait(100);
    }
    assert_eq!(n, 20);
}

#[test]
fn a_newer_change_takes_the_place_of_one_that_waits_and_not_of_one_under_way() {
    let mut world = World::new(contract());
    world.add("site/a");
    assert_eq!(world.add("site/a"), [1]);
    world.sleep();
    let first = world.sent();
    assert_eq!(first[0].1, ["site/a"]);
    assert_eq!(world.add("site/a"), [0; 0]);
    assert_eq!(world.answer(first[0].0, Verdict::Done), [2]);
    world.sleep();
    let second = world.sent();
    assert_eq!(second[0].1, ["site/a"]);
    assert_eq!(world.answer(second[0].0, Verdict::Done), [3]);
}

#[test]
fn a_crowd_becomes_its_directory_and_the_mount_does_not() {
    let mut world = World::new(contract());
    for n in 0..6 {
        world.add(&format!("site/d/{n}"));
    }
    world.add("site/e");
    world.sleep();
    let mut sent = world.sent();
    assert_eq!(sent.len(), 2);
    sent.sort_by_key(|(_, targets)| targets.clone());
    assert_eq!(sent[0].1, ["site/d/*"]);
    assert_eq!(world.answer(sent[0].0, Verdict::Done), [1, 2, 3, 4, 5, 6]);
    for n in 0..6 {
        world.add(&format!("site/top-{n}"));
    }
    world.answer(sent[1].0, Verdict::Done);
    world.sleep();
    assert!(world.sent().iter().all(|(_, targets)| targets.iter().all(|target| !target.ends_with('*'))));
}

#[test]
fn a_vendor_without_prefixes_gets_every_object() {
    let mut world = World::new(Contract { prefixes: false, parallel: 10, ..contract() });
    for n in 0..20 {
        world.add(&format!("site/d/{n}"));
    }
    world.sleep();
    assert_eq!(world.sent().iter().map(|(_, targets)| targets.len()).sum::<usize>(), 20);
}

#[test]
fn busy_vendors_say_how_long() {
    let mut world = World::new(contract());
    world.add("site/a");
    world.sleep();
    let sent = world.sent();
    world.answer(sent[0].0, Verdict::Busy(Some(Duration::from_secs(7)), "429".to_owned()));
    world.add("site/b");
    let asleep = world.now;
    world.sleep();
    assert_eq!(world.now - asleep, Duration::from_secs(7));
    assert!(world.sent().iter().any(|(_, targets)| targets == &["site/a"]));
}

#[test]
fn pauses_grow_and_never_beyond_five_minutes() {
    let mut world = World::new(contract());
    world.add("site/a");
    let mut longest = Duration::ZERO;
    for n in 0..30 {
        world.sleep();
        let sent = world.sent();
        let before = world.now;
        world.answer(sent[0].0, Verdict::Failed("503".to_owned()));
        let pause = world.lane.wake(before).unwrap() - before;
        assert!(pause <= Duration::from_secs(1 << n.min(16)).min(PAUSE_MAX), "{pause:?} after {n} failures");
        longest = longest.max(pause);
    }
    assert!(longest > Duration::from_mins(2), "{longest:?}");
    world.sleep();
    let sent = world.sent();
    assert_eq!(world.answer(sent[0].0, Verdict::Done), [1]);
}

#[test]
fn what_always_fails_does_not_hold_up_the_others() {
    let mut world = World::new(Contract { parallel: 1, ..contract() });
    world.add("site/poison");
    world.sleep();
    let bad = world.sent()[0].0;
    let others = ["site/a", "site/b", "site/c", "site/d"];
    for name in others {
        world.add(name);
    }
    world.wait(300);
    world.sent();
    world.answer(bad, Verdict::Failed("500".to_owned()));
    let (mut done, mut tries) = (Vec::new(), 0);
    for _ in 0..10 {
        world.sleep();
        let Some((number, targets)) = world.sent().pop() else { continue };
        if targets == ["site/poison"] {
            tries += 1;
            world.answer(number, Verdict::Failed("500".to_owned()));
        } else {
            done.extend(targets);
            world.answer(number, Verdict::Done);
        }
    }
    assert_eq!(done, others);
    assert!(tries > 2, "{tries}: it is tried again all the same");
}

#[test]
fn a_refusal_keeps_the_queue_until_somebody_helps() {
    let mut world = World::new(contract());
    world.add("site/a");
    world.sleep();
    let sent = world.sent();
    assert_eq!(world.answer(sent[0].0, Verdict::Refused("403".to_owned())), [0; 0]);
    assert_eq!(world.lane.paused(world.now).unwrap().why, "403");
    world.add("site/b");
    world.wait(5000);
    assert_eq!(world.sent(), []);
    assert_eq!(world.lane.waiting(), 2);
    world.lane.resume();
    assert_eq!(world.sent().len(), 2);
}

#[test]
fn bad_ones_are_found_by_halves_and_the_others_are_purged() {
    let mut world = World::new(Contract { batch: 30, parallel: 1, collapse_at: 100, ..contract() });
    for n in 0..30 {
        world.add(&format!("site/d/{n}"));
    }
    let mut done = Vec::new();
    while !world.lane.is_idle() {
        world.sleep();
        for (number, targets) in world.sent() {
            let bad = targets.iter().any(|target| target.ends_with("/17"));
            done.extend(world.answer(number, if bad { Verdict::Bad("400".to_owned()) } else { Verdict::Done }));
        }
    }
    done.sort_unstable();
    assert_eq!(done, (1..=30).collect::<Vec<_>>());
    let dead: Vec<_> = world.lane.dead().map(|dead| dead.target.to_string()).collect();
    assert_eq!(dead, ["site/d/17"]);
    assert!(world.lane.tally().requests < 15);
}

#[test]
fn what_was_overwritten_is_purged_again() {
    let mut world = World::new(Contract { rounds: Rounds::Twice(Duration::from_secs(5)), ..contract() });
    world.add("site/a");
    world.sleep();
    let sent = world.sent();
    assert_eq!(world.answer(sent[0].0, Verdict::Done), [0; 0]);
    let before = world.now;
    world.sleep();
    assert_eq!(world.now - before, Duration::from_secs(5));
    let sent = world.sent();
    assert_eq!(world.answer(sent[0].0, Verdict::Done), [1]);
}

/// What a vendor does next.
#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Sleep,
    Wait(u16),
    Answer(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..40_u8).prop_map(Step::Add),
        3 => Just(Step::Sleep),
        1 => (1..3000_u16).prop_map(Step::Wait),
        3 => (0..12_u8).prop_map(Step::Answer),
    ];
    prop::collection::vec(step, 1..200)
}

/// How long a fetch may take.
const FETCH: Duration = Duration::from_secs(5);

fn rounds() -> impl Strategy<Value = Rounds> {
    prop_oneof![Just(Rounds::Once), Just(Rounds::Twice(FETCH)), Just(Rounds::Late(FETCH))]
}

proptest! {
    #[test]
    fn nothing_is_lost_and_no_contract_is_broken(steps in steps(), rounds in rounds()) {
        let rate = Rate::requests(4.0, 2.0);
        let mut rates = BTreeMap::new();
        for class in [Class::Urls, Class::Prefixes] {
            rates.insert(class, vec![rate]);
        }
        let mut world = World::new(Contract { rates, rounds, ..contract() });
        let (mut open, mut flying) = (std::collections::BTreeSet::new(), Vec::new());
        // When each key last changed, in steps; and when a purge of it was sent that was obeyed.
        let (mut changed, mut purged) = (BTreeMap::new(), BTreeMap::<String, usize>::new());
        let mut starts: Vec<(Class, Instant)> = Vec::new();
        let mut times = Vec::new();
        let quiet = (0..2000).map(|n| if n % 2 == 0 { Step::Sleep } else { Step::Answer(0) });
        for (clock, step) in steps.into_iter().chain(quiet).enumerate() {
            match step {
                Step::Add(n) => {
                    let key = format!("site/{}/{n}", n % 3);
                    for id in world.add(&key) {
                        prop_assert!(open.remove(&id));
                    }
                    open.insert(world.id);
                    changed.insert(key, clock);
                }
                Step::Wait(ms) => world.wait(ms.into()),
                Step::Sleep => if let Some(at) = world.lane.wake(world.now) {
                    world.now = at.max(world.now);
                },
                Step::Answer(_) if flying.is_empty() => {}
                Step::Answer(how) => {
                    let (sent, batch): (usize, Batch) = flying.remove(usize::from(how) % flying.len());
                    let verdict = match how {
                        0..6 => Verdict::Done,
                        6 => Verdict::Busy(Some(Duration::from_secs(3)), String::new()),
                        7 => Verdict::Busy(None, String::new()),
                        8 => Verdict::Refused(String::new()),
                        _ => Verdict::Failed(String::new()),
                    };
                    if verdict == Verdict::Done {
                        for key in changed.keys().filter(|key| batch.targets().any(|target| target.covers(key))) {
                            let at = purged.entry(key.clone()).or_default();
                            *at = sent.max(*at);
                        }
                    }
                    for id in world.answer(batch.number, verdict) {
                        prop_assert!(open.remove(&id), "{id} is done twice");
                    }
                }
            }
            times.push(world.now);
            for effect in world.lane.step(world.now) {
                let batch = match effect {
                    Effect::Send(batch) => batch,
                    Effect::Done(ids) => {
                        for id in ids {
                            prop_assert!(open.remove(&id), "{id} is done twice");
                        }
                        continue;
                    }
                };
                prop_assert!(batch.size.items <= 3 && !batch.members.is_empty());
                starts.push((batch.class, world.now));
                flying.push((clock, batch));
            }
            prop_assert!(flying.len() <= 2);
        }
        prop_assert!(world.lane.is_idle(), "{:?}", world.lane);
        prop_assert!(open.is_empty(), "{open:?}");
        for (key, at) in changed {
            prop_assert!(purged.get(&key).is_some_and(|sent| *sent >= at), "{key}");
            // The last purge finds all that an edge may have fetched before the change.
            let settled = rounds == Rounds::Once || times[purged[&key]] - times[at] >= FETCH;
            prop_assert!(settled, "{key}: {:?} after it changed", times[purged[&key]] - times[at]);
        }
        for (n, (class, from)) in starts.iter().enumerate() {
            let within = |(of, at): &&(Class, Instant)| of == class && *at - *from < Duration::from_secs(10);
            prop_assert!(starts[n..].iter().filter(within).count() <= 25);
        }
    }
}
