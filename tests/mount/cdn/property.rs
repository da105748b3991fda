//! Three webservers write, visitors look all the time, daemons are killed and vendors fail: when all that was to be
//! purged is purged, no edge shows anything older than what the bucket has.
//!
//! `ORIGINFS_TEST_SEED=7 ORIGINFS_TEST_STEPS=2000` repeats one run, or makes a longer one. What a seed decides is what
//! each webserver does and what happens after how many of their steps; the clock decides the rest. Every [`ROUND`] steps
//! all is purged, and looked at.

mod fleet;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use fleet::{BY_PREFIX, BY_URL, Fleet, Host, OWN, PAID, VERSION, Vendor};

use super::edge::Broken;
use crate::harness::{eventually, noise, store};

const DIRS: usize = 3;
const FILES: usize = 4;
const HOSTS: usize = 3;
/// Steps of all hosts.
const ROUND: usize = 60;
/// For each edge.
const VISITORS: usize = 3;

/// What happens in a run.
#[derive(Clone, Copy, Debug)]
struct Plan {
    vendor: Vendor,
    steps: usize,
    /// Daemons are killed and vendors fail.
    trouble: bool,
    /// Of the bucket, before it does what it was asked.
    slow: bool,
    /// More options of the mounts.
    more: &'static str,
}

impl Plan {
    fn of(vendor: Vendor) -> Self {
        let steps = std::env::var("ORIGINFS_TEST_STEPS").map_or(180, |steps| steps.parse().unwrap());
        Self { vendor, steps, trouble: true, slow: false, more: "" }
    }
}

fn seed() -> u64 {
    std::env::var("ORIGINFS_TEST_SEED").map_or(7, |seed| seed.parse().unwrap())
}

/// Numbers that a seed decides.
struct Dice(std::vec::IntoIter<u8>);

impl Dice {
    fn new(seed: u64, who: usize, throws: usize) -> Self {
        Self(noise(throws, seed.wrapping_mul(31).wrapping_add(who as u64)).into_iter())
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.0.next().expect("as many throws as it needs")) % n
    }

    fn name(&mut self) -> String {
        format!("d{}/{}.jpg", self.below(DIRS), self.below(FILES))
    }
}

/// What an application does. It may fail: others work on the same names, and daemons are killed.
fn act(dir: &Path, dice: &mut Dice, content: &str) {
    let (one, other) = (dir.join(dice.name()), dir.join(dice.name()));
    let put = |path: &Path| {
        fs::create_dir(path.parent().unwrap()).unwrap_or_default();
        store(path, content).unwrap_or_default();
    };
    match dice.below(16) {
        0..7 => put(&one),
        // An upload that is moved into its place.
        7..9 => {
            let scratch = dir.join(format!("{content}.part"));
            put(&scratch);
            fs::rename(scratch, &one).unwrap_or_default();
        }
        // A picture that is made anew.
        9 => {
            fs::remove_file(&one).unwrap_or_default();
            put(&one);
        }
        10..12 => fs::remove_file(&one).unwrap_or_default(),
        12..15 => fs::rename(&one, &other).unwrap_or_default(),
        // Into a place that is free, or empty.
        _ => fs::rename(one.parent().unwrap(), other.parent().unwrap()).unwrap_or_default(),
    }
}

/// Threads that end with the run, also with one that panics.
struct Threads {
    ends: Arc<AtomicBool>,
    all: Vec<JoinHandle<()>>,
}

impl Threads {
    fn end(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.all.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.all.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// One for each webserver, who do what is left of a round.
fn workers(fleet: &Fleet, steps: usize, round: usize, seed: u64, done: &Arc<AtomicUsize>) -> Threads {
    let ends = Arc::new(AtomicBool::new(false));
    let worker = |(at, host): (usize, &Host)| {
        let (dir, gate) = (host.mount.dir().to_owned(), Arc::clone(&host.gate));
        let (ends, done) = (Arc::clone(&ends), Arc::clone(done));
        let mut dice = Dice::new(seed, at + round * 100, ROUND / HOSTS * 8);
        thread::spawn(move || {
            for step in 0..steps / HOSTS {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let here = gate.lock().unwrap();
                act(&dir, &mut dice, &format!("{at}-{round}-{step}"));
                drop(here);
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    let all = fleet.hosts.iter().enumerate().map(worker).collect();
    Threads { ends, all }
}

/// Those who look at all variants of names until they are told to end.
fn visitors(fleet: &Fleet, plan: &Plan, seed: u64, looks: &Arc<AtomicUsize>) -> Threads {
    let ends = Arc::new(AtomicBool::new(false));
    let mut all = Vec::new();
    for n in 0..fleet.edges.len() * VISITORS {
        let edge = &fleet.edges[n % fleet.edges.len()];
        let (edge, ends, looks, vendor) = (edge.clone(), Arc::clone(&ends), Arc::clone(looks), plan.vendor);
        all.push(thread::spawn(move || {
            let mut round = 0;
            while !ends.load(Ordering::Relaxed) {
                let mut dice = Dice::new(seed + round, HOSTS + n, 2);
                let name = dice.name();
                let page = edge.behind(&format!("/{name}"));
                let version = page.token().map_or_else(String::new, |token| token.to_string());
                for (query, origin) in
                    vendor.queries.iter().flat_map(|query| vendor.origins.iter().map(move |origin| (query, origin)))
                {
                    // A page names no version of what is not there.
                    if *query == VERSION && version.is_empty() {
                        continue;
                    }
                    let target = format!("/{name}{}", query.replace("VERSION", &version));
                    for scheme in ["http", "https"] {
                        edge.look(scheme, &target, origin);
                        looks.fetch_add(1, Ordering::Relaxed);
                    }
                }
                round += 1;
                // The machine is for others, too.
                thread::sleep(Duration::from_millis(3));
            }
        }));
    }
    Threads { ends, all }
}

/// What happens after each few steps.
fn trouble(fleet: &mut Fleet, dice: &mut Dice) {
    match dice.below(20) {
        0..2 => fleet.break_it(Some(Broken::Fails)),
        2..5 => fleet.break_it(Some(Broken::Mute)),
        5 => fleet.break_it(Some(Broken::Busy)),
        6 => fleet.break_it(Some(Broken::Drops)),
        7 => fleet.break_it(Some(Broken::Hangs)),
        8 => fleet.break_it(Some(Broken::Forbids)),
        9..13 => fleet.break_it(None),
        13..17 => {
            let at = dice.below(HOSTS);
            fleet.break_it(None);
            fleet.retry(at);
        }
        _ => {
            let at = dice.below(HOSTS);
            fleet.kill(at);
        }
    }
}

/// What edges show in the end that the bucket has no more. `None` where tests cannot mount.
fn stale_after(plan: &Plan, seed: u64) -> Option<Vec<String>> {
    let mut fleet = Fleet::new(&plan.vendor, plan.more, seed)?;
    if plan.slow {
        fleet.bucket.server.admin("POST", "faults", r#"{"op": "PutObject", "every": 2, "action": {"latency": 2500}}"#);
    }
    let looks = Arc::new(AtomicUsize::new(0));
    let (mut stale, mut kept, mut calls) = (Vec::new(), 0, 0);
    for round in 0..plan.steps.div_ceil(ROUND) {
        let mut visitors = visitors(&fleet, plan, seed, &looks);
        one_round(&mut fleet, plan, seed, round);
        visitors.end();
        stale = fleet.stale();
        kept += fleet.edges.iter().map(|edge| edge.kept().len()).sum::<usize>();
        calls += fleet.edges.iter().map(|edge| edge.calls().len()).sum::<usize>();
        if !stale.is_empty() {
            fleet.hosts.iter().for_each(|host| println!("--- log of {}\n{}", host.place, host.mount.log()));
            break;
        }
    }
    assert!(calls > 0, "nobody was asked to purge");
    let (kills, looks) = (fleet.killed.len(), looks.load(Ordering::Relaxed));
    println!(
        "seed {seed}: {} steps, {kills} kills, {looks} looks, {calls} purges obeyed, {kept} kept, {} of them old",
        plan.steps,
        stale.len()
    );
    // Before the files of their successors go.
    let Fleet { hosts, killed, .. } = fleet;
    drop(hosts.into_iter().map(|host| host.mount).collect::<Vec<_>>());
    drop(killed);
    Some(stale)
}

/// Steps of all hosts with what happens meanwhile, until all is purged.
fn one_round(fleet: &mut Fleet, plan: &Plan, seed: u64, round: usize) {
    let done = Arc::new(AtomicUsize::new(0));
    let all = plan.steps.min(ROUND);
    let mut workers = workers(fleet, all, round, seed, &done);
    let mut dice = Dice::new(seed, 99 + round * 100, ROUND);
    for steps in (0..all / HOSTS * HOSTS).step_by(5) {
        eventually("the webservers go on", || done.load(Ordering::Relaxed) >= steps);
        if plan.trouble {
            trouble(fleet, &mut dice);
        }
    }
    eventually("the webservers are done", || done.load(Ordering::Relaxed) == all / HOSTS * HOSTS);
    workers.end();
    fleet.drain();
}

#[track_caller]
fn shows_nothing_old(vendor: Vendor) {
    let seed = seed();
    let Some(stale) = stale_after(&Plan::of(vendor), seed) else { return };
    assert!(stale.is_empty(), "seed {seed}: {stale:#?}");
}

#[test]
fn no_edge_shows_anything_old_when_urls_are_purged() {
    shows_nothing_old(BY_URL);
}

#[test]
fn no_edge_shows_anything_old_when_prefixes_are_purged() {
    shows_nothing_old(BY_PREFIX);
}

#[test]
fn no_edge_shows_anything_old_when_each_edge_is_purged() {
    shows_nothing_old(OWN);
}

#[test]
fn no_edge_shows_anything_old_when_each_purge_is_paid_for() {
    shows_nothing_old(PAID);
}

/// A property that cannot fail proves nothing. Here the bucket takes its time, and daemons purge before it has answered.
#[test]
fn a_purge_before_the_bucket_has_the_bytes_is_found() {
    let plan = Plan { steps: 21, trouble: false, slow: true, ..Plan::of(BY_URL) };
    let Some(stale) = stale_after(&plan, seed()) else { return };
    assert!(stale.is_empty(), "what is slow is no fault: {stale:#?}");
    let hasty = Plan { more: ",ORIGINFS_TEST_HASTY_PURGES", ..plan };
    let stale = stale_after(&hasty, seed()).expect("it could mount before");
    assert!(!stale.is_empty(), "nobody found that purges come too early");
}
