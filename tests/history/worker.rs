//! A worker: this very test binary, started again as a process of its own, that does random operations on one mount
//! and writes down what came of them.

use std::{
    env,
    fs::File,
    io::{BufWriter, Write as _},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{
    acts::{Actor, Alone, Plan},
    event::{Event, How, now},
    value::HEAD,
};

/// Where a worker finds its orders.
const ORDERS: &str = "ORIGINFS_HISTORY_ORDERS";

/// What a worker is to do.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Orders {
    pub(crate) by: u32,
    pub(crate) host: u8,
    /// The mount point.
    pub(crate) dir: PathBuf,
    /// Lock files of the host's workers.
    pub(crate) locks: PathBuf,
    /// Gets the events.
    pub(crate) out: PathBuf,
    pub(crate) seed: u64,
    /// Operations, or fewer if this file appears.
    pub(crate) operations: usize,
    pub(crate) stop: PathBuf,
    pub(crate) names: Names,
    /// Has the pair swing.
    pub(crate) swings: bool,
    /// Of 1000 writes so many are above 1 MiB, and of those one in eight above `part_size`.
    pub(crate) large: u64,
}

/// What they fight about.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Names {
    pub(crate) files: Vec<String>,
    /// Empty directories that come and go.
    pub(crate) dirs: Vec<String>,
    /// Directories to list.
    pub(crate) lists: Vec<String>,
    pub(crate) pair: [String; 2],
}

impl Orders {
    /// The command that follows them.
    pub(crate) fn command(&self) -> Vec<String> {
        let orders = serde_json::to_string(self).unwrap();
        let me = env::current_exe().unwrap().display().to_string();
        let words = ["env", &format!("{ORDERS}={orders}"), &me, "--exact", "worker::follows_orders", "--nocapture"];
        words.map(str::to_owned).into()
    }
}

/// Where a worker begins. Without orders there is nothing to do: the tests that give them are in `runs`.
#[test]
fn follows_orders() {
    let Ok(orders) = env::var(ORDERS) else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let mut out = BufWriter::new(File::create(&orders.out).unwrap());
    let mut worker = Worker {
        dice: Dice(orders.seed),
        actor: Actor { by: orders.by, host: orders.host, dir: orders.dir.clone(), seq: 0 },
        side: false,
        orders,
    };
    for _ in 0..worker.orders.operations {
        if let Some(event) = worker.act() {
            let line = serde_json::to_string(&event).unwrap();
            writeln!(out, "{line}").unwrap();
        }
        if worker.orders.stop.exists() {
            break;
        }
    }
    out.flush().unwrap();
}

/// xorshift64*, which is plenty for choosing.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = if self.0 == 0 { 0x9e37_79b9_7f4a_7c15 } else { self.0 };
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.roll(len as u64)).expect("an index")
    }

    fn pick(&mut self, names: &[String]) -> String {
        names[self.index(names.len())].clone()
    }
}

struct Worker {
    orders: Orders,
    actor: Actor,
    dice: Dice,
    /// Which of the pair is there.
    side: bool,
}

impl Worker {
    fn act(&mut self) -> Option<Event> {
        let names = &self.orders.names;
        let file = self.dice.pick(&names.files);
        let dir = self.dice.pick(&names.dirs);
        match self.dice.roll(100) {
            0..32 => Some(self.actor.read(&file)),
            32..46 => Some(self.actor.stat(&file)),
            46..54 => {
                let dir = self.dice.pick(&names.lists);
                Some(self.actor.list(&dir))
            }
            54..64 => self.alone(&file, How::Truncate),
            64..69 => self.alone(&file, How::InPlace),
            69..75 => self.alone(&file, How::Append),
            75..83 => {
                let plan = self.plan(How::Replace);
                self.actor.write(&file, plan)
            }
            83..86 => self.alone(&file, How::ReplaceOpen),
            86..91 => Some(self.actor.unlink(&file)),
            91..94 => Some(self.actor.move_away(&file)),
            94..96 => Some(self.actor.mkdir(&dir)),
            96..97 => Some(self.actor.rmdir(&dir)),
            97..98 => Some(self.actor.stat_dir(&dir)),
            _ => {
                self.swing();
                None
            }
        }
    }

    fn alone(&mut self, file: &str, how: How) -> Option<Event> {
        let plan = self.plan(how);
        let _alone = Alone::wait(&self.orders.locks, file);
        self.actor.write(file, plan)
    }

    fn plan(&mut self, how: How) -> Plan {
        let dice = &mut self.dice;
        let large = how != How::Append && dice.roll(1000) < self.orders.large;
        let len = match dice.roll(64) {
            0..8 if large => (5 << 20) + dice.index(2 << 20),
            _ if large => (1 << 20) + dice.index(1 << 20),
            // The kernel may read these by itself.
            0 if how != How::Append => (128 << 10) + dice.index(64 << 10),
            // Few sizes, so that versions differ in nothing but their bytes.
            1..10 => HEAD + dice.index(8),
            _ => HEAD + dice.index(4000),
        };
        // Set times are far from all real ones, and from each other.
        let mtime = (dice.roll(2) == 0).then(|| {
            let unique = i64::from(self.orders.by) * 1_000_000 + i64::from(self.actor.seq);
            1 + unique
        });
        let pieces = 1 + dice.index(if len < 3 { 1 } else { 3 });
        Plan { how, len, pieces, fsync: dice.roll(5) == 0, mtime }
    }

    fn swing(&mut self) {
        if !self.orders.swings {
            return;
        }
        let [left, right] = &self.orders.names.pair;
        let (from, to) = if self.side { (right, left) } else { (left, right) };
        if self.actor.swing(from, to) {
            self.side = !self.side;
        }
    }
}

/// The clock is one for all.
#[test]
fn time_does_not_stand_still() {
    let first = now();
    while now() == first {}
    assert!(now() > first);
}
