mod versions;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    cdn::{
        purge::{
            driver::{self, Outside},
            urls::Urls,
            vendor::{
                Request, Response, Secret,
                cloudfront::CloudFront,
                edge::{Below, Edge},
                sign::Stamp,
            },
        },
        url::{Base, Family, Mapper, Token},
    },
    model::{
        key::Prefix,
        version::{ETag, Version},
    },
    patience::eventually,
    store::{
        Require,
        watched::{Change, Notice as _, Watch as _},
    },
};

struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("originfs-purger-{}-{serial}", std::process::id())))
    }

    fn open(&self) -> Arc<Purger> {
        Purger::open(&self.0, "site/", vec![station()], 1).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn station() -> Station {
    let base = Base::parse("http://cdn.example/{path}", Family::Cdn).unwrap();
    let urls = Urls::new(Mapper::new(Prefix::parse("site").unwrap(), vec![base]), false);
    Station {
        name: "edge".to_owned(),
        vendor: Vendor::Edge(Edge { address: "http://127.0.0.1:1".to_owned(), below: Below::Never }),
        common: Common {
            urls,
            root: "site/".into(),
            hosts: 1,
            collapse_at: 50,
            everything: false,
            repurge_after: None,
        },
    }
}

/// An edge that answers at once, as it is told.
#[derive(Default)]
struct Always {
    status: std::sync::atomic::AtomicU16,
    seen: Mutex<Vec<String>>,
    secret: Mutex<String>,
    stamps: AtomicU32,
}

impl Outside for Always {
    async fn call(&self, request: Request) -> Result<Response, String> {
        self.seen.lock().unwrap().push(format!("{request:?}"));
        match self.status.load(Ordering::Relaxed) {
            0 => Err("connection refused".to_owned()),
            status => Ok(Response { status, ..Response::default() }),
        }
    }

    async fn run(&self, words: &[String], input: String, _: Secret) -> Result<Response, String> {
        self.seen.lock().unwrap().push(format!("{words:?} {input}"));
        Ok(Response { status: self.status.load(Ordering::Relaxed), ..Response::default() })
    }

    async fn version(&self, key: &str) -> Result<Option<Token>, String> {
        self.seen.lock().unwrap().push(format!("HEAD {key}"));
        Ok(Token::parse("0123456789ab"))
    }

    fn secret(&self, _: usize) -> Result<Secret, String> {
        Ok(Secret::new(&self.secret.lock().unwrap()))
    }

    fn stamp(&self) -> Stamp {
        Stamp { seconds: clock::wall().sec, nonce: u128::from(self.stamps.fetch_add(1, Ordering::Relaxed)) }
    }
}

fn always(status: u16) -> Arc<Always> {
    Arc::new(Always { status: status.into(), ..Always::default() })
}

fn key(name: &str) -> Key {
    Key::new(name)
}

fn written(name: &str) -> Change {
    let new = Version { etag: ETag::new("\"e\""), size: 1, modified: None };
    Change::Written { key: key(name), old: Require::Absent, new }
}

/// Of this thread, so that it does not matter who else works.
fn cpu_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

async fn drained(purger: &Purger) {
    eventually("all is purged", || purger.is_drained()).await;
}

impl Always {
    fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Until it was called so often.
    async fn called(&self, times: usize) {
        eventually("it is called", || self.calls() >= times).await;
    }
}

#[tokio::test]
async fn what_was_announced_is_purged_by_the_next_run_whatever_became_of_this_one() {
    let dir = Dir::new();
    let purger = dir.open();
    let settled = purger.announce(&[key("site/settled")]).await.unwrap();
    let refused = purger.announce(&[key("site/refused")]).await.unwrap();
    let under_way = purger.announce(&[key("site/under-way")]).await.unwrap();
    settled.settle(vec![written("site/settled")]);
    refused.settle(Vec::new());
    assert_eq!(purger.pending(), 2);
    // Killed: nothing is dropped, nothing was sent.
    std::mem::forget((under_way, purger));
    let purger = dir.open();
    let outside = always(200);
    let run = tokio::spawn(driver::run(Arc::clone(&purger), Arc::clone(&outside)));
    drained(&purger).await;
    run.abort();
    let mut seen = std::mem::take(&mut *outside.seen.lock().unwrap());
    seen.sort();
    assert_eq!(seen, ["PURGE http://127.0.0.1:1/settled", "PURGE http://127.0.0.1:1/under-way"]);
    assert_eq!(purger.pending(), 0);
    assert_eq!(dir.open().pending(), 0);
}

#[tokio::test]
async fn nothing_is_purged_before_its_request_is_answered() {
    let dir = Dir::new();
    let purger = dir.open();
    let outside = always(200);
    let run = tokio::spawn(driver::run(Arc::clone(&purger), Arc::clone(&outside)));
    let announced = purger.announce(&[key("site/a")]).await.unwrap();
    let other = purger.announce(&[key("site/b")]).await.unwrap();
    other.settle(vec![written("site/b")]);
    outside.called(1).await;
    assert_eq!(*outside.seen.lock().unwrap(), ["PURGE http://127.0.0.1:1/b"]);
    drop(announced);
    outside.called(2).await;
    drained(&purger).await;
    run.abort();
}

/// An edge may have been told of a 404, or of the old one, just before, and keep it just after the first purge.
#[tokio::test]
async fn all_that_changed_is_purged_once_more_what_is_new_and_what_an_earlier_run_left_too() {
    let dir = Dir::new();
    let open = || {
        let mut station = station();
        station.common.repurge_after = Some(Duration::from_millis(50));
        Purger::open(&dir.0, "site/", vec![station], 1).unwrap()
    };
    let purger = open();
    let outside = always(200);
    purger.announce(&[key("site/new")]).await.unwrap().settle(vec![written("site/new")]);
    let run = tokio::spawn(driver::run(Arc::clone(&purger), Arc::clone(&outside)));
    drained(&purger).await;
    run.abort();
    assert_eq!(std::mem::take(&mut *outside.seen.lock().unwrap()), ["PURGE http://127.0.0.1:1/new"; 2]);
    let left = purger.announce(&[key("site/left")]).await.unwrap();
    std::mem::forget((left, purger));
    let purger = open();
    let run = tokio::spawn(driver::run(Arc::clone(&purger), Arc::clone(&outside)));
    drained(&purger).await;
    run.abort();
    assert_eq!(*outside.seen.lock().unwrap(), ["PURGE http://127.0.0.1:1/left"; 2]);
}

#[tokio::test]
async fn directories_control_objects_and_other_prefixes_concern_nobody() {
    let dir = Dir::new();
    let purger = dir.open();
    for name in ["site/", "site/d/", "site/.originfs/view", "other/a"] {
        assert!(purger.announce(&[key(name)]).await.is_none(), "{name}");
    }
    let some = purger.announce(&[key("site/d/"), key("site/d/a")]).await.unwrap();
    assert_eq!(some.keys, [Arc::from("site/d/a")]);
}

#[tokio::test]
async fn a_dead_edge_keeps_its_purges() {
    let dir = Dir::new();
    let purger = dir.open();
    let outside = always(0);
    let run = tokio::spawn(driver::run(Arc::clone(&purger), Arc::clone(&outside)));
    purger.announce(&[key("site/a")]).await.unwrap().settle(vec![written("site/a")]);
    outside.called(2).await;
    assert_eq!(purger.pending(), 1);
    let error = purger.look(|lanes| lanes[0].tally().last_error.clone()).unwrap();
    assert!(error.contains("connection refused"), "{error}");
    outside.status.store(200, Ordering::Relaxed);
    drained(&purger).await;
    assert_eq!(purger.pending(), 0);
    run.abort();
}

/// A station that is paid for.
fn paying() -> Station {
    let api = "https://cloudfront.amazonaws.com".to_owned();
    let vendor = Vendor::CloudFront(CloudFront { api, distribution: "E1".to_owned(), queries: false, budget: 3 });
    Station { name: "cloudfront".to_owned(), vendor, common: station().common }
}

/// What a call gives, in a thread of its own, which must not wait for anybody.
async fn at_once<T: Send + 'static>(what: &str, call: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(call);
    eventually(what, || thread.is_finished()).await;
    thread.join().unwrap()
}

/// What is sent next, of which lanes and under which numbers.
async fn sent(purger: &Arc<Purger>) -> Vec<(usize, u64)> {
    let mut sent = Vec::new();
    eventually("it is due", || purger.sleep() == Some(Duration::ZERO)).await;
    while sent.is_empty() {
        let stepping = Arc::clone(purger);
        let parcels = at_once("a step ends", move || stepping.step()).await;
        sent.extend(parcels.iter().map(|parcel| (parcel.lane, parcel.batch.number)));
    }
    sent
}

#[tokio::test]
async fn nobody_waits_for_the_file_of_what_was_paid_but_what_is_paid_for() {
    let dir = Dir::new();
    let purger = Purger::open(&dir.0.join("purges"), "site/", vec![station(), paying()], 1).unwrap();
    purger.refill();
    // Another process of this host has it.
    let file = std::fs::File::open(dir.0.join("paid.json")).unwrap();
    file.lock().unwrap();
    drop(purger.note(vec![Arc::from("site/a")], vec![Versions::default()]));
    let first = sent(&purger).await;
    let closing = Arc::clone(&purger);
    at_once("a close ends", move || drop(closing.note(vec![Arc::from("site/b")], vec![Versions::default()]))).await;
    file.unlock().unwrap();
    let then = sent(&purger).await;
    assert!(matches!((&first[..], &then[..]), ([(0, _)], [(1, _)])), "{first:?} {then:?}");
}

#[tokio::test]
async fn what_was_paid_while_another_had_the_file_is_counted_later() {
    let dir = Dir::new();
    let outbox = dir.0.join("purges");
    let purger = Purger::open(&outbox, "site/", vec![paying()], 1).unwrap();
    purger.refill();
    drop(purger.note(vec![Arc::from("site/a")], vec![Versions::default()]));
    let [(0, number)] = sent(&purger).await[..] else { panic!("it has one lane") };
    let file = std::fs::File::open(dir.0.join("paid.json")).unwrap();
    file.lock().unwrap();
    let answering = Arc::clone(&purger);
    at_once("an answer is taken", move || answering.answered(0, number, Verdict::Done)).await;
    let until = clock::now() + Duration::from_mins(1);
    assert_eq!((purger.pending(), purger.is_drained(), purger.moves_before(until)), (0, false, true));
    file.unlock().unwrap();
    let run = tokio::spawn(driver::run(Arc::clone(&purger), always(201)));
    drained(&purger).await;
    run.abort();
    assert_eq!(Paid::beside(&outbox, today()).add("cloudfront E1", 0).unwrap(), Some(1));
}

#[tokio::test]
async fn a_budget_is_of_the_month_whoever_spends_it() {
    let dir = Dir::new();
    let (edge, paying) = (station(), paying());
    let open = |outbox: &str| {
        // The edge costs nothing, and does not wait for the other.
        Purger::open(&dir.0.join(outbox), "site/", vec![edge.clone(), paying.clone()], 1).unwrap()
    };
    let outside = always(201);
    *outside.secret.lock().unwrap() = "aws_access_key_id = A\naws_secret_access_key = B".to_owned();
    let paid = |purger: &Purger| purger.look(|lanes| lanes[1].tally().paid);
    let mount = open("purges");
    let run = tokio::spawn(driver::run(Arc::clone(&mount), Arc::clone(&outside)));
    mount.announce(&[key("site/a"), key("site/b")]).await.unwrap().settle(vec![written("site/a"), written("site/b")]);
    drained(&mount).await;
    assert_eq!(paid(&mount), 2);
    run.abort();
    // A command on the same host, and then more than there is money for.
    let command = open("purges.headers");
    assert_eq!(paid(&command), 2);
    let run = tokio::spawn(driver::run(Arc::clone(&command), Arc::clone(&outside)));
    for name in ["site/c", "site/d"] {
        let calls = outside.calls();
        command.announce(&[key(name)]).await.unwrap().settle(vec![written(name)]);
        outside.called(calls + 1 + usize::from(name == "site/c")).await;
    }
    let paused = |purger: &Purger| purger.look(|lanes| lanes[1].paused(clock::now()).map(|paused| paused.why.clone()));
    eventually("its budget is spent", || paused(&command).is_some()).await;
    assert!(paused(&command).unwrap().contains("budget"));
    assert_eq!((paid(&command), command.pending()), (3, 1));
    run.abort();
    // The mount lived on, and hears of it before it spends more.
    let run = tokio::spawn(driver::run(Arc::clone(&mount), Arc::clone(&outside)));
    mount.announce(&[key("site/e")]).await.unwrap().settle(vec![written("site/e")]);
    eventually("its budget is spent", || paused(&mount).is_some()).await;
    assert_eq!((paid(&mount), mount.pending()), (3, 1));
    run.abort();
    assert_eq!(paid(&open("purges")), 3);
}

#[tokio::test]
async fn more_than_there_is_room_for_waits_on_the_disk() {
    const COUNT: usize = 120_000;
    let dir = Dir::new();
    let purger = dir.open();
    purger.refill();
    let begun = cpu_time();
    let keys: Vec<Key> = (0..COUNT).map(|n| key(&format!("site/{}/{n}", n % 1000))).collect();
    for keys in keys.chunks(1000) {
        let changes = keys.iter().map(|key| written(key.as_str())).collect();
        let keys: Vec<_> = keys.iter().map(|key| Arc::from(key.as_str())).collect();
        let versions = vec![Versions::default(); keys.len()];
        purger.note(keys, versions).settle(changes);
    }
    assert_eq!(purger.pending(), COUNT as u64);
    let kept = purger.look(|lanes| lanes[0].waiting());
    assert!(kept <= 51_000, "{kept} in memory");
    let mut sent = HashSet::new();
    while !purger.is_drained() {
        assert!(
            cpu_time().saturating_sub(begun) < Duration::from_secs(COUNT as u64 / 1000),
            "less than 1000 changes in a second"
        );
        purger.refill();
        for parcel in purger.step() {
            sent.extend(parcel.batch.targets().map(Target::to_string));
            purger.answered(parcel.lane, parcel.batch.number, Verdict::Done);
        }
    }
    println!("{COUNT} changes took {:?} of a core", cpu_time().saturating_sub(begun));
    assert_eq!(sent.len(), COUNT);
    assert_eq!(purger.pending(), 0);
    assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 1);
}
