//! One name: what was written to it, what was read, and whether the two go together.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Counts, Look, Reading, Rule, Terms, Violation,
    order::{Latest, Spans},
};
use crate::{
    event::{At, Event, How, Written},
    value::Id,
};

/// "Never", or not yet.
const NEVER: At = At::MAX;

/// A write of a value, or of absence.
#[derive(Clone, Debug)]
struct Change {
    event: Option<usize>,
    host: Option<u8>,
    /// When it could first be seen where it was made, and elsewhere.
    begin: At,
    from: At,
    /// When it is over: it took effect before. [`NEVER`] for what failed.
    to: At,
    /// When the program was done with it.
    closed: At,
    /// It did take effect.
    certain: bool,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Absent,
    Dir,
    Value { id: Id, how: How, size: u64, mtime: (i64, i64) },
}

impl Change {
    /// *Own changes*: the reader may have seen it before it was in the bucket.
    fn is_own(&self, read: &Reading<'_>) -> bool {
        let local = matches!(self.what, What::Value { how, .. } if how.is_local_first());
        local && self.host == read.host && read.begin <= self.closed
    }
}

#[derive(Debug)]
pub(crate) struct Register<'a> {
    pub(crate) path: &'a str,
    changes: Vec<Change>,
    pub(crate) reads: Vec<Reading<'a>>,
    /// When a host took the name from what it had, and when it wrote in place; by host.
    taken: BTreeMap<Option<u8>, Vec<(At, At)>>,
    inside: BTreeMap<Option<u8>, Vec<(At, At)>>,
    /// Reads that were not whole.
    pub(crate) torn: Vec<(Reading<'a>, &'a str)>,
    /// Opens that were stale.
    pub(crate) raced: Vec<Reading<'a>>,
}

impl<'a> Register<'a> {
    /// Nothing is there at first.
    pub(crate) fn new(path: &'a str) -> Self {
        let nothing =
            Change { event: None, host: None, begin: 0, from: 0, to: 0, closed: 0, certain: true, what: What::Absent };
        let (taken, inside) = (BTreeMap::new(), BTreeMap::new());
        Self { path, changes: vec![nothing], reads: Vec::new(), taken, inside, torn: Vec::new(), raced: Vec::new() }
    }

    pub(crate) fn write(&mut self, index: usize, event: &Event, written: &Written) {
        let done = written.outcome.is_ok();
        let spans = match written.how {
            how if how.is_seen_in_parts() => Some(&mut self.inside),
            How::Replace => Some(&mut self.taken),
            // No other process of this host writes here meanwhile, in place or so.
            _ => None,
        };
        if let Some(spans) = spans {
            spans.entry(event.host).or_default().push((event.begin, event.end));
        }
        self.changes.push(Change {
            event: Some(index),
            host: event.host,
            begin: event.begin,
            from: written.from,
            to: if done { written.to } else { NEVER },
            closed: event.end,
            certain: done,
            what: What::Value { id: written.id, how: written.how, size: written.size, mtime: written.mtime },
        });
    }

    pub(crate) fn remove(&mut self, index: usize, event: &Event, done: bool) {
        self.taken.entry(event.host).or_default().push((event.begin, event.end));
        self.plain(index, event, done, What::Absent);
    }

    pub(crate) fn make(&mut self, index: usize, event: &Event, done: bool) {
        self.plain(index, event, done, What::Dir);
    }

    fn plain(&mut self, index: usize, event: &Event, done: bool, what: What) {
        let Event { host, begin, end, .. } = *event;
        let to = if done { end } else { NEVER };
        self.changes.push(Change {
            event: Some(index),
            host,
            begin,
            from: begin,
            to,
            closed: end,
            certain: done,
            what,
        });
    }

    pub(crate) fn check(mut self, terms: &Terms, violations: &mut Vec<Violation>, counts: &mut Counts) {
        self.orphans();
        counts.reads += self.reads.len();
        let by_id: HashMap<Id, usize> = self
            .changes
            .iter()
            .enumerate()
            .filter_map(|(at, change)| match change.what {
                What::Value { id, .. } => Some((id, at)),
                _ => None,
            })
            .collect();
        let reads = std::mem::take(&mut self.reads);
        if !terms.breaks {
            self.tighten(&reads, &by_id);
        }
        let judge = Judge::new(self.path, &self.changes, &by_id, &self.inside);
        for (read, what) in &self.torn {
            if judge.is_written_by_own(read) {
                counts.own += 1;
            } else {
                violations.push(Violation { rule: Rule::Torn, events: vec![read.event], why: (*what).to_owned() });
            }
        }
        for open in &self.raced {
            counts.raced += 1;
            if !judge.changing.touch(open.begin, open.end) {
                let why = "stale, and nobody changed the name".to_owned();
                violations.push(Violation { rule: Rule::Errno, events: vec![open.event], why });
            }
        }
        for read in &reads {
            judge.judge(read, violations, counts);
        }
        if !terms.breaks {
            judge.order(&reads, violations);
        }
    }

    /// *Orphan*: the same host took the name away while it was written.
    fn orphans(&mut self) {
        let taken: BTreeMap<_, _> = self.taken.iter().map(|(host, spans)| (host, Spans::union(spans, ()))).collect();
        for change in &mut self.changes {
            let What::Value { how, .. } = change.what else { continue };
            let taken = taken.get(&change.host).filter(|_| how.is_local_first());
            if taken.is_some_and(|taken| taken.touch(change.begin, change.closed)) {
                change.certain = false;
            }
        }
    }

    /// What was seen had taken effect.
    fn tighten(&mut self, reads: &[Reading<'_>], by_id: &HashMap<Id, usize>) {
        for read in reads {
            let Look::Value([.., last]) = read.look else { continue };
            let Some(change) = by_id.get(last).map(|at| &mut self.changes[*at]) else { continue };
            if !change.is_own(read) {
                change.to = change.to.min(read.until.max(change.from));
                change.certain = true;
            }
        }
    }
}

/// The changes of a name in all the orders that questions need.
struct Judge<'a> {
    path: &'a str,
    changes: &'a [Change],
    by_id: &'a HashMap<Id, usize>,
    by_size: HashMap<u64, Vec<usize>>,
    /// Of what certainly happened: when the latest began of those that ended before.
    begun: Latest,
    /// The same of what a host itself did, and knows since it returned.
    begun_on: BTreeMap<Option<u8>, Latest>,
    /// When the last absence, or presence, ended of those that began before: everywhere, and on the host that made it.
    absent: Latest,
    present: Latest,
    present_on: BTreeMap<Option<u8>, Latest>,
    /// When hosts wrote in place.
    inside: BTreeMap<Option<u8>, Spans<()>>,
    /// When anybody changed anything.
    changing: Spans<()>,
}

impl<'a> Judge<'a> {
    fn new(
        path: &'a str,
        changes: &'a [Change],
        by_id: &'a HashMap<Id, usize>,
        inside: &BTreeMap<Option<u8>, Vec<(At, At)>>,
    ) -> Self {
        let certain = || changes.iter().filter(|change| change.certain && change.to != NEVER);
        let begun = |change: &Change| (change.to, change.from);
        let is_absent = |change: &&Change| matches!(change.what, What::Absent);
        let hosts = || changes.iter().map(|change| change.host);
        let (mut begun_on, mut present_on) = (BTreeMap::new(), BTreeMap::new());
        for host in hosts().flatten().collect::<BTreeSet<_>>().into_iter().map(Some) {
            // That others saw it earlier tells the host nothing.
            let returned = certain().filter(|change| change.host == host).map(|change| (change.closed, change.from));
            begun_on.insert(host, Latest::new(returned));
            let own = changes.iter().filter(|change| change.host == host && !is_absent(change));
            present_on.insert(host, Latest::new(own.map(|change| (change.begin, change.to))));
        }
        let mut by_size: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, change) in changes.iter().enumerate() {
            if let What::Value { size, .. } = change.what {
                by_size.entry(size).or_default().push(at);
            }
        }
        Self {
            path,
            changes,
            by_id,
            by_size,
            begun: Latest::new(certain().map(begun)),
            begun_on,
            absent: Latest::new(changes.iter().filter(is_absent).map(|change| (change.from, change.to))),
            present: Latest::new(
                changes.iter().filter(|change| !is_absent(change)).map(|change| (change.from, change.to)),
            ),
            present_on,
            changing: Spans::union(
                &changes.iter().map(|change| (change.begin, change.to.max(change.closed))).collect::<Vec<_>>(),
                (),
            ),
            inside: inside.iter().map(|(host, spans)| (*host, Spans::union(spans, ()))).collect(),
        }
    }

    /// What ended before this is over when the read begins.
    fn over(&self, read: &Reading<'_>) -> At {
        let all = self.begun.below(read.begin.saturating_sub(read.age)).unwrap_or(0);
        let own = self.begun_on.get(&read.host).and_then(|own| own.below(read.begin)).unwrap_or(0);
        all.max(own)
    }

    fn judge(&self, read: &Reading<'_>, violations: &mut Vec<Violation>, counts: &mut Counts) {
        let over = self.over(read);
        let found = match &read.look {
            Look::Absent => self.absent.below(read.until).is_some_and(|last| last >= over),
            Look::Present => {
                let own = self.present_on.get(&read.host).and_then(|own| own.below(read.end));
                self.present.below(read.until).max(own).is_some_and(|last| last >= over)
            }
            Look::Stat(stat) => {
                let same = self.by_size.get(&stat.size).into_iter().flatten().map(|at| &self.changes[*at]);
                // The time of what is not closed yet may be set still.
                let mut same = same.filter(|change| {
                    change.is_own(read)
                        || matches!(change.what, What::Value { mtime: (from, to), .. } if (from..=to).contains(&stat.mtime))
                });
                let ok = |change: &Change| {
                    if change.is_own(read) { change.begin < read.end } else { change.from < read.until }
                };
                let mut own = || {
                    let own = self.is_written_by_own(read);
                    counts.own += usize::from(own);
                    own
                };
                same.any(|change| change.to >= over && ok(change)) || own()
            }
            Look::Value(chain) => return self.judge_value(read, chain, over, violations, counts),
        };
        if !found {
            let mut events = vec![read.event];
            events.extend(self.who_ended(read));
            let why = format!("{:?} at {:?} was over, or never was", read.look, self.path);
            violations.push(Violation { rule: Rule::Stale, events, why });
        }
    }

    /// *Own changes*: a process of the same host wrote in place then, or as long before as an answer may be old.
    fn is_written_by_own(&self, read: &Reading<'_>) -> bool {
        let inside = self.inside.get(&read.host).filter(|_| read.host.is_some());
        inside.is_some_and(|inside| inside.touch(read.begin.saturating_sub(read.age), read.end))
    }

    fn judge_value(
        &self,
        read: &Reading<'_>,
        chain: &[Id],
        over: At,
        violations: &mut Vec<Violation>,
        counts: &mut Counts,
    ) {
        let last = chain.last().expect("an empty file is torn");
        let mut fail = |rule, others: &[Option<usize>], why: &str| {
            let events = [Some(read.event)].iter().chain(others).copied().flatten().collect();
            violations.push(Violation { rule, events, why: format!("{:?}: {why}", self.path) });
        };
        let Some(change) = self.by_id.get(last).map(|at| &self.changes[*at]) else {
            return fail(Rule::Unwritten, &[], "nobody wrote this here");
        };
        let own = change.is_own(read);
        counts.own += usize::from(own);
        if if own { change.begin > read.end } else { change.from > read.until } {
            fail(Rule::Early, &[change.event], "seen before it was written");
        }
        if change.to < over {
            fail(Rule::Stale, &[change.event, self.who_ended(read)], "it was replaced before the call began");
        }
    }

    /// What made older versions be over, for the report: the one that began last.
    fn who_ended(&self, read: &Reading<'_>) -> Option<usize> {
        let before = |change: &&Change| {
            let age = if change.host == read.host && change.host.is_some() { 0 } else { read.age };
            change.certain && change.to < read.begin.saturating_sub(age)
        };
        self.changes.iter().filter(before).max_by_key(|change| change.from).and_then(|change| change.event)
    }

    /// Each version was there once, from the first moment that shows it to the last (Gibbons and Korach, "Testing
    /// Shared Memories", 1997): two such times do not overlap, and nothing else happens inside one.
    fn order(&self, reads: &[Reading<'_>], violations: &mut Vec<Violation>) {
        // By change: the earliest end and the latest begin of it and its reads, with the reads.
        let mut zones: BTreeMap<usize, (At, At, usize, usize)> = BTreeMap::new();
        for read in reads {
            let Look::Value([.., last]) = read.look else { continue };
            let Some(at) = self.by_id.get(last).copied().filter(|at| !self.changes[*at].is_own(read)) else { continue };
            let zone = zones.entry(at).or_insert((read.until, read.begin, read.event, read.event));
            if read.until < zone.0 {
                (zone.0, zone.2) = (read.until, read.event);
            }
            if read.begin > zone.1 {
                (zone.1, zone.3) = (read.begin, read.event);
            }
        }
        for (at, zone) in &mut zones {
            let change = &self.changes[*at];
            zone.0 = zone.0.min(change.to);
            zone.1 = zone.1.max(change.from);
        }
        let mut back = |events: Vec<Option<usize>>, why: &str| {
            let events = events.into_iter().flatten().collect();
            violations.push(Violation { rule: Rule::Back, events, why: format!("{:?}: {why}", self.path) });
        };
        let evidence = |at: usize| {
            let (.., first, last) = zones[&at];
            [self.changes[at].event, Some(first), Some(last)]
        };
        let forward = zones.iter().filter(|(_, zone)| zone.0 < zone.1).map(|(at, zone)| (zone.0, zone.1, *at));
        let (forward, overlaps) = Spans::new(forward);
        for (one, other) in overlaps {
            back([evidence(one), evidence(other)].concat(), "two versions were there in turn");
        }
        let short = zones.iter().filter(|(_, zone)| zone.0 >= zone.1).map(|(at, zone)| (zone.1, zone.0, *at));
        let unseen = self.changes.iter().enumerate().filter(|(at, change)| change.certain && !zones.contains_key(at));
        let unseen =
            unseen.filter(|(_, change)| change.event.is_some()).map(|(at, change)| (change.from, change.to, at));
        for (begin, end, at) in short.chain(unseen) {
            if let Some(around) = forward.around(begin, end) {
                let mut events = vec![self.changes[at].event];
                events.extend(evidence(around));
                back(events, "something else happened, and the version before is there again");
            }
        }
        for read in reads.iter().filter(|read| matches!(read.look, Look::Absent)) {
            if let Some(around) = forward.around(read.begin, read.until) {
                let mut events = vec![Some(read.event)];
                events.extend(evidence(around));
                back(events, "it was missing between two moments when it was there");
            }
        }
    }
}
