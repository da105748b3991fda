//! What nobody reads any more, and whether a cheaper class of storage pays for it. Pure.
//!
//! A lifecycle rule knows age, size and the start of keys, and no reads; so whole directories are proposed, each by what
//! its rule would cost and save in a year: storage, the fee for each object that moves, and the reads that the logs show,
//! at the prices of the cheaper class.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    bill::{GB, float},
    day::Day,
    price::{Cold, Price},
    reads::Entry,
};
use crate::model::key::Key;

/// Objects that are looked at. At 50 bytes each, 100 MB.
pub const OBJECTS_MAX: usize = 2_000_000;
/// Rules that S3 takes in one configuration, those of others included.
pub const RULES_MAX: usize = 1_000;
/// What names of our rules begin with.
pub(super) const OURS: &str = "originfs-cold ";
/// Dollars by which two sums of the same may differ.
const ROUNDING: f64 = 1e-9;
/// A year, as the logs are projected.
const YEAR_DAYS: f64 = 365.0;
const MONTHS: f64 = 12.0;

#[derive(Clone, Copy, Debug)]
struct Object {
    dir: u32,
    size: u64,
    modified: Day,
    reads: u32,
    last: Option<Day>,
}

/// Objects, and when they were read.
#[derive(Debug, Default)]
pub struct Access {
    /// By the number that the key has everywhere.
    objects: HashMap<u64, Object>,
    /// By number; each ends in a slash, or is empty.
    dirs: Vec<String>,
    numbers: HashMap<String, u32>,
    /// The days that the logs are of.
    window: Option<(Day, Day)>,
}

/// What is proposed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposal {
    pub class: String,
    /// Objects older than so many days move.
    pub days: u32,
    /// Days that the logs are of.
    pub logged_days: u32,
    pub objects: u64,
    pub bytes: u64,
    /// Of these, what was not read in the last `days`.
    pub cold_objects: u64,
    pub cold_bytes: u64,
    pub rules: Vec<Rule>,
    /// US dollars in the first year, fees deducted.
    pub saved: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rule {
    pub prefix: String,
    pub objects: u64,
    pub bytes: u64,
    /// US dollars in the first year.
    pub saved: f64,
    /// Of the fees in it: for moving, and for reads.
    pub transition: f64,
    pub reads: f64,
}

/// Sums of a directory with all below it.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    objects: u64,
    bytes: u64,
    storage: f64,
    transition: f64,
    reads: f64,
}

impl Sum {
    fn saved(&self) -> f64 {
        self.storage - self.transition - self.reads
    }

    fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.storage += other.storage;
        self.transition += other.transition;
        self.reads += other.reads;
    }
}

impl Access {
    /// An object that is there. `false`: there are too many.
    pub fn object(&mut self, key: &str, size: u64, modified: Day) -> bool {
        if self.objects.len() >= OBJECTS_MAX {
            return false;
        }
        let dir = key.rfind('/').map_or("", |at| &key[..=at]);
        let number = if let Some(number) = self.numbers.get(dir) {
            *number
        } else {
            let number = u32::try_from(self.dirs.len()).unwrap_or(u32::MAX);
            self.dirs.push(dir.to_owned());
            self.numbers.insert(dir.to_owned(), number);
            number
        };
        let object = Object { dir: number, size, modified, reads: 0, last: None };
        self.objects.insert(Key::new(key).ino(), object);
        true
    }

    /// The logs are of that day, too.
    pub fn logged(&mut self, day: Day) {
        self.window = Some(self.window.map_or((day, day), |(first, last)| (first.min(day), last.max(day))));
    }

    /// A key was read. `false`: there is no such object.
    pub fn read(&mut self, key: &str, day: Day) -> bool {
        let Some(object) = self.objects.get_mut(&Key::new(key).ino()) else { return false };
        object.reads = object.reads.saturating_add(1);
        object.last = object.last.max(Some(day));
        true
    }

    /// A host read an object on that day for the last time; how often before, it does not tell. It says nothing of the
    /// days that the logs are of.
    pub fn recorded(&mut self, (id, day): Entry) {
        if let Some(object) = self.objects.get_mut(&id) {
            object.reads = object.reads.saturating_add(1);
            object.last = object.last.max(Some(day));
        }
    }

    /// Days that the logs are of, up to the last one.
    pub fn logged_days(&self) -> u32 {
        self.window.map_or(0, |(first, last)| u32::try_from(last.0 - first.0 + 1).unwrap_or(0))
    }

    /// What pays. `None`: the vendor has no cheaper class.
    pub fn propose(&self, days: u32, today: Day, price: &Price) -> Option<Proposal> {
        let cold = price.cold.as_ref()?;
        let logged_days = self.logged_days();
        let before = Day(today.0.saturating_sub_unsigned(days));
        let mut proposal = Proposal {
            class: cold.class.clone(),
            days,
            logged_days,
            objects: 0,
            bytes: 0,
            cold_objects: 0,
            cold_bytes: 0,
            rules: Vec::new(),
            saved: 0.0,
        };
        let mut dirs: BTreeMap<&str, Sum> = BTreeMap::new();
        for object in self.objects.values() {
            proposal.objects += 1;
            proposal.bytes += object.size;
            if object.modified > before {
                continue;
            }
            if object.last.is_none_or(|last| last <= before) {
                proposal.cold_objects += 1;
                proposal.cold_bytes += object.size;
            }
            if object.size >= minimum(cold) {
                let sum = worth(object, logged_days, price, cold);
                dirs.entry(self.dirs[object.dir as usize].as_str()).or_default().add(&sum);
            }
        }
        proposal.rules = choose("", &dirs).0;
        proposal.rules.sort_by(|a, b| b.saved.total_cmp(&a.saved));
        proposal.rules.truncate(RULES_MAX);
        proposal.saved = proposal.rules.iter().fold(0.0, |sum, rule| sum + rule.saved);
        Some(proposal)
    }
}

/// Bytes below which an object is billed as if it had as many; a rule leaves these alone.
fn minimum(cold: &Cold) -> u64 {
    cold.minimum_kib << 10
}

/// What moving an object brings in the first year.
fn worth(object: &Object, logged_days: u32, price: &Price, cold: &Cold) -> Sum {
    let gb = float(object.size) / GB;
    let reads = f64::from(object.reads) * YEAR_DAYS / f64::from(logged_days.max(1));
    let request = (cold.class_b - price.class_b) / 1_000.0;
    Sum {
        objects: 1,
        bytes: object.size,
        storage: gb * (price.storage - cold.storage) * MONTHS,
        transition: cold.transition / 1_000.0,
        reads: reads * (gb * cold.retrieval + request),
    }
}

/// The best rules at or below `prefix`, and what they save. One rule for a directory, where that is worth more than those
/// for the directories in it: what is read often there is left out by the latter.
fn choose(prefix: &str, dirs: &BTreeMap<&str, Sum>) -> (Vec<Rule>, f64) {
    let mut whole = Sum::default();
    let (mut rules, mut saved) = (Vec::new(), 0.0);
    let mut inside = dirs
        .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(|(dir, _)| dir.starts_with(prefix))
        .peekable();
    while let Some((dir, sum)) = inside.next() {
        whole.add(sum);
        let Some(end) = dir[prefix.len()..].find('/') else { continue };
        let child = &dir[..=prefix.len() + end];
        while let Some((_, sum)) = inside.next_if(|(dir, _)| dir.starts_with(child)) {
            whole.add(sum);
        }
        let (mut some, more) = choose(child, dirs);
        rules.append(&mut some);
        saved += more;
    }
    // The whole bucket is nobody's directory: a rule for it would be about what comes later, too, whatever it is.
    if prefix.is_empty() || whole.saved() <= 0.0 || whole.saved() + ROUNDING < saved {
        return (rules, saved);
    }
    let Sum { objects, bytes, transition, reads, .. } = whole;
    let rule = Rule { prefix: prefix.to_owned(), objects, bytes, saved: whole.saved(), transition, reads };
    (vec![rule], whole.saved())
}

/// What `put-bucket-lifecycle-configuration` takes: our rules, and of `others` those that are not ours, or of another mount
/// than that of `root`. It replaces all that the bucket has, so `others` is to be what
/// `get-bucket-lifecycle-configuration` gives. An error is one line.
pub fn lifecycle(proposal: &Proposal, minimum_kib: u64, others: Option<&Value>, root: &str) -> Result<Value, String> {
    let mut rules: Vec<Value> = match others.map(|others| &others["Rules"]) {
        None => Vec::new(),
        Some(Value::Array(rules)) => rules.clone(),
        Some(_) => return Err("expected {\"Rules\": [...]}".to_owned()),
    };
    let prefix = |rule: &Value| {
        let filter = &rule["Filter"];
        let prefix = filter["Prefix"].as_str().or_else(|| filter["And"]["Prefix"].as_str());
        prefix.unwrap_or_default().to_owned()
    };
    rules.retain(|rule| {
        let ours = rule["ID"].as_str().is_some_and(|id| id.starts_with(OURS));
        !ours || !prefix(rule).starts_with(root)
    });
    for Rule { prefix, .. } in &proposal.rules {
        let filter = match minimum_kib << 10 {
            0 => json!({ "Prefix": prefix }),
            bytes => json!({ "And": { "Prefix": prefix, "ObjectSizeGreaterThan": bytes - 1 } }),
        };
        rules.push(json!({
            "ID": id(prefix),
            "Status": "Enabled",
            "Filter": filter,
            "Transitions": [{ "Days": proposal.days, "StorageClass": proposal.class }],
        }));
    }
    if rules.len() > RULES_MAX {
        return Err(format!("{} rules, and a bucket takes {RULES_MAX}", rules.len()));
    }
    Ok(json!({ "Rules": rules }))
}

/// At most 255 characters (S3 API), and different for different prefixes.
pub(super) fn id(prefix: &str) -> String {
    const ID_MAX: usize = 255;
    let plain = format!("{OURS}{prefix}");
    if plain.len() <= ID_MAX {
        return plain;
    }
    format!("{OURS}{:016x}", Key::new(prefix).ino())
}

#[cfg(test)]
mod tests;
