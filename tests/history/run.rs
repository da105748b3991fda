//! A run: mounts, workers, a client of the bucket beside them; then the verdict.

use std::{
    env,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::libc;

use crate::{
    acts::Actor,
    checker::{Counts, Terms, Violation, check},
    event::{Act, At, Event, How, Written, load, now},
    harness::{Bucket, Mount, fresh_dir, start},
    value::{HEAD, Id, record, understand},
    worker::{Dice, Names, Orders},
};

/// How long a run may take; far more than a full one on a busy machine.
const DEADLINE: Duration = Duration::from_mins(40);
/// `stat_ttl` in nanoseconds, and what a coarse kernel clock adds.
const STAT_AGE: At = 1_000_000_000 + 20_000_000;
/// Options of all mounts: the smallest parts, whatever room the disk has, and a log that tells of every failure.
pub(crate) const MOUNT: &str = "part_size=5M,cache_min_free=0,debug";
/// The client of the bucket, among the workers' numbers.
const CLIENT: u32 = 500;
/// Those who look at the end.
const LAST: u32 = 900;

/// What a run is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For file names.
    pub(crate) name: &'static str,
    /// `freshness=` of each mount.
    pub(crate) mounts: Vec<&'static str>,
    /// Processes on each.
    pub(crate) workers: u32,
    /// All in all.
    pub(crate) operations: usize,
    pub(crate) files: usize,
    /// Of 1000 writes so many are large.
    pub(crate) large: u64,
    /// Others use the bucket, too.
    pub(crate) client: bool,
    /// The server or mounts break on the way.
    pub(crate) breaks: bool,
}

#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<Violation>,
    pub(crate) counts: Counts,
    pub(crate) report: String,
}

/// A run that is set up.
pub(crate) struct Run<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) bucket: &'a Bucket,
    pub(crate) mounts: Vec<Mount>,
    seed: u64,
    names: Names,
    events: Vec<Event>,
    rounds: u32,
}

/// `ORIGINFS_HISTORY_SEED`, or one that nobody had before.
pub(crate) fn seed() -> u64 {
    let given = env::var("ORIGINFS_HISTORY_SEED").ok();
    given.map_or_else(now, |seed| seed.parse().expect("ORIGINFS_HISTORY_SEED is a number"))
}

/// `ORIGINFS_HISTORY_OPERATIONS`, or as many as a short run takes.
pub(crate) fn operations(short: usize) -> usize {
    let given = env::var("ORIGINFS_HISTORY_OPERATIONS").ok();
    given.map_or(short, |count| count.parse().expect("ORIGINFS_HISTORY_OPERATIONS is a number"))
}

impl<'a> Run<'a> {
    pub(crate) fn new(plan: &'a Plan, bucket: &'a Bucket, mounts: Vec<Mount>) -> Self {
        let text = str::to_owned;
        let all = ["a.jpg", "d/b.jpg", "c.txt", "d/e.bin", "f", "d/g.html", "h.png", "d/i", "j.css", "d/k"];
        let names = Names {
            files: all[..plan.files].iter().map(|name| text(name)).collect(),
            dirs: ["x", "d/y"].map(text).into(),
            lists: ["", "d"].map(text).into(),
            pair: ["d/left", "d/right"].map(text),
        };
        fs::create_dir(mounts[0].path("d")).unwrap();
        mounts[0].write(&names.pair[0], b"swings");
        let seed = seed();
        println!("{}: ORIGINFS_HISTORY_SEED={seed}", plan.name);
        Self { plan, bucket, mounts, seed, names, events: Vec::new(), rounds: 0 }
    }

    /// The workers do their share; `meanwhile` runs beside them, and may tell them to stop.
    pub(crate) fn round(&mut self, share: usize, meanwhile: impl FnOnce(&Self, &Path)) {
        let stop = fresh_dir().join("stop");
        let workers = self.orders(share, &stop);
        let (running, done) = (workers.iter(), AtomicBool::new(false));
        let running: Vec<_> =
            running.map(|orders| (orders, start(orders.command().iter().map(String::as_str)))).collect();
        let client = thread::scope(|scope| {
            let client = scope.spawn(|| if self.plan.client { self.client(&done) } else { Vec::new() });
            meanwhile(self, &stop);
            let begun = originfs::clock::now();
            for (orders, process) in &running {
                while process.ended().is_none() && begun.elapsed() < DEADLINE {
                    thread::sleep(Duration::from_millis(20));
                }
                if process.ended() != Some(0) {
                    done.store(true, Ordering::Relaxed);
                    panic!("worker {}: {:?} {}", orders.by, process.ended(), process.said());
                }
            }
            done.store(true, Ordering::Relaxed);
            client.join().unwrap()
        });
        self.events.extend(client);
        for orders in &workers {
            self.events.extend(load(&orders.out));
        }
        self.rounds += 1;
    }

    fn orders(&self, share: usize, stop: &Path) -> Vec<Orders> {
        let mut orders = Vec::new();
        for (host, mount) in (0_u8..).zip(&self.mounts) {
            let locks = fresh_dir();
            for worker in 0..self.plan.workers {
                let by = self.rounds * 100 + u32::from(host) * 10 + worker;
                orders.push(Orders {
                    by,
                    host,
                    dir: mount.dir().to_owned(),
                    locks: locks.clone(),
                    out: fresh_dir().join("events"),
                    seed: self.seed.wrapping_add(1 + u64::from(by)).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                    operations: share / self.mounts.len() / self.plan.workers as usize,
                    stop: stop.to_owned(),
                    names: self.names.clone(),
                    swings: host == 0 && worker == 0,
                    large: self.plan.large,
                });
            }
        }
        orders
    }

    /// What `aws s3 cp` and a console do.
    fn client(&self, done: &AtomicBool) -> Vec<Event> {
        let mut dice = Dice(self.seed);
        let (mut events, mut seq) = (Vec::new(), 0);
        let by = CLIENT + self.rounds;
        while !done.load(Ordering::Relaxed) {
            let path = self.names.files[dice.index(self.names.files.len())].clone();
            let begin = now();
            let act = match dice.roll(4) {
                0 => {
                    self.bucket.delete(&path);
                    Act::Unlink(Ok(()))
                }
                1 => {
                    seq += 1;
                    let (id, len) = (Id { by, seq }, HEAD + dice.index(2000));
                    let before = originfs::clock::wall().sec;
                    self.bucket.put(&path, &record(id, len));
                    let (to, mtime) = (now(), (before, originfs::clock::wall().sec));
                    let size = len as u64;
                    Act::Write(Written {
                        id,
                        how: How::Put,
                        from: begin,
                        to,
                        opened: begin,
                        size,
                        mtime,
                        outcome: Ok(()),
                    })
                }
                _ => {
                    let seen = self.bucket.see(&path).map(|seen| understand(&seen.body)).ok_or(libc::ENOENT);
                    Act::Read { opened: now(), seen }
                }
            };
            events.push(Event { by, host: None, path, begin, end: now(), act });
            thread::sleep(Duration::from_millis(5));
        }
        events
    }

    /// Everybody looks at everything once more; then the history is judged.
    pub(crate) fn judge(mut self) -> Verdict {
        for (host, mount) in (0_u8..).zip(&self.mounts) {
            let actor = Actor { by: LAST + u32::from(host), host, dir: mount.dir().to_owned(), seq: 0 };
            self.events.extend(self.names.files.iter().map(|file| actor.read(file)));
            self.events.extend(self.names.lists.iter().map(|dir| actor.list(dir)));
        }
        self.events.sort_by_key(|event| event.begin);
        let ages = self.plan.mounts.iter().map(|freshness| if *freshness == "open" { STAT_AGE } else { 0 });
        let terms = Terms { stat_age: ages.collect(), breaks: self.plan.breaks, pair: Some(self.names.pair.clone()) };
        let (violations, counts) = check(&self.events, &terms);
        let kept = (!violations.is_empty()).then(|| self.keep());
        let report = self.report(&violations, &counts, kept.as_deref());
        Verdict { violations, counts, report }
    }

    /// The whole history, for those who want to know more, and what each mount said meanwhile.
    fn keep(&self) -> PathBuf {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}.jsonl", self.plan.name, self.seed));
        for (host, mount) in self.mounts.iter().enumerate() {
            fs::write(path.with_extension(format!("{host}.log")), mount.log()).unwrap();
        }
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&path).unwrap();
        for event in &self.events {
            writeln!(file, "{}", serde_json::to_string(event).unwrap()).unwrap();
        }
        path
    }

    fn report(&self, violations: &[Violation], counts: &Counts, kept: Option<&Path>) -> String {
        let mut text = format!(
            "{}, seed {}: {} events, {} violations, {counts:?}\n",
            self.plan.name,
            self.seed,
            self.events.len(),
            violations.len()
        );
        let zero = self.events.first().map_or(0, |event| event.begin);
        for violation in violations.iter().take(5) {
            writeln!(text, "{:?}: {}", violation.rule, violation.why).unwrap();
            let mut events = violation.events.clone();
            events.sort_unstable();
            events.dedup();
            for index in events {
                let event = &self.events[index];
                let micros = |at: At| at.saturating_sub(zero) / 1000;
                writeln!(
                    text,
                    "  #{index} {}..{} us, worker {} host {:?} {:?}: {:?}",
                    micros(event.begin),
                    micros(event.end),
                    event.by,
                    event.host,
                    event.path,
                    event.act
                )
                .unwrap();
            }
        }
        if let Some(path) = kept {
            writeln!(text, "the whole history is in {}", path.display()).unwrap();
        }
        text
    }
}
