//! Whether a history keeps the promises. Pure: events in, violations out, O(n log n).
//!
//! A name is a register: writes (a value, or absence) take effect at one moment inside the call that brings them to
//! the bucket (fsync, close, rename, unlink, PUT), reads look at one moment inside theirs. The numbers are those of
//! docs/SEMANTICS.md.
//!
//! - [`Rule::Unwritten`], [`Rule::Early`], [`Rule::Stale`], [`Rule::Back`]: 5, 6, 7; the last is more than close-to-open:
//!   once anybody saw a version nobody sees an older one.
//! - [`Rule::Torn`]: 8, 13, 17. [`Rule::Errno`]: 12, 15. [`Rule::Gone`]: 18. [`Rule::Neither`]: 32.
//!
//! What is allowed beyond that, by name:
//!
//! - *old stat*: with `freshness=open` a stat, and a mkdir that says `EEXIST`, may be `stat_ttl` old (5, 6), but not
//!   older than what the same host did.
//! - *own changes*: a host sees a file that one of its processes has open for writing in parts, and before others do
//!   (8, 22). Such reads prove nothing about the bucket.
//! - *orphan*: a file that the same host unlinked, replaced or renamed while it was written need not be uploaded under
//!   that name (19, 21).
//! - *raced open*: the kernel looks a name up twice for one open(2), and no more; when the name changes both times, it
//!   is `ESTALE` (17). Only while somebody changes it.
//! - *lost answer*: what failed may take effect later, or never (13).
//! - *repeated*: with servers that break, a request may be done twice within its call, so an older version may come
//!   back as long as the call lasts; then [`Rule::Back`] is not checked.

pub(crate) mod order;
mod register;
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nix::libc;

use crate::{
    event::{Act, At, Event, How, Outcome, Stat},
    value::{Id, Seen},
};
use register::Register;

/// What the run was like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// By host: how old a stat may be, in nanoseconds.
    pub(crate) stat_age: Vec<At>,
    /// The server or a mount breaks: calls may fail, and requests may be repeated.
    pub(crate) breaks: bool,
    /// One of these is always there, once it was written.
    pub(crate) pair: Option<[String; 2]>,
}

/// A file that is larger may lose its version while it is open (18).
const KEPT: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Rule {
    /// A value that nobody wrote under this name.
    Unwritten,
    /// A value before the call began that wrote it.
    Early,
    /// A value, or absence, that was over before the call began.
    Stale,
    /// Newer was seen already, or both came and went in turn.
    Back,
    /// Not whole, and not being written on the same host.
    Torn,
    /// Bytes behind a record differ from what others saw there.
    Chain,
    /// An errno that is none of the promised ones.
    Errno,
    /// `ESTALE` for a small file.
    Gone,
    /// Both names of a rename are missing.
    Neither,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    /// Indices of the events: first the one that is wrong, then what makes it so.
    pub(crate) events: Vec<usize>,
    pub(crate) why: String,
}

/// What was seen, for the report.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) reads: usize,
    pub(crate) writes: usize,
    /// Reads that were judged as *own changes*.
    pub(crate) own: usize,
    /// `ESTALE` of large files, as promised.
    pub(crate) gone: usize,
    /// `ESTALE` as *raced open*.
    pub(crate) raced: usize,
    pub(crate) failed: usize,
}

/// What a read says about a name.
#[derive(Clone, Debug)]
pub(crate) enum Look<'a> {
    Absent,
    Present,
    Value(&'a [Id]),
    Stat(Stat),
}

/// One read of one name.
#[derive(Clone, Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) event: usize,
    pub(crate) host: Option<u8>,
    pub(crate) begin: At,
    /// The latest moment that decides what is seen.
    pub(crate) until: At,
    /// The end of the call, for what the same host changes meanwhile.
    pub(crate) end: At,
    /// May be so much older.
    pub(crate) age: At,
    pub(crate) look: Look<'a>,
}

/// All violations, in order of rules.
pub(crate) fn check(events: &[Event], terms: &Terms) -> (Vec<Violation>, Counts) {
    let mut check = Check { events, terms, violations: Vec::new(), counts: Counts::default() };
    let mut registers: BTreeMap<&str, Register<'_>> = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        if !matches!(event.act, Act::List(_)) {
            let register = registers.entry(&event.path).or_insert_with(|| Register::new(&event.path));
            check.enter(index, event, register);
        }
    }
    for (index, event) in events.iter().enumerate() {
        if let Act::List(outcome) = &event.act {
            check.list(index, event, outcome, &mut registers);
        }
    }
    check.chains(&mut registers);
    for register in registers.into_values() {
        register.check(terms, &mut check.violations, &mut check.counts);
    }
    check.violations.sort();
    (check.violations, check.counts)
}

struct Check<'a> {
    events: &'a [Event],
    terms: &'a Terms,
    violations: Vec<Violation>,
    counts: Counts,
}

impl<'a> Check<'a> {
    fn fail(&mut self, rule: Rule, events: &[usize], why: impl Into<String>) {
        self.violations.push(Violation { rule, events: events.to_vec(), why: why.into() });
    }

    /// Sorts an event into what it wrote and what it read.
    fn enter(&mut self, index: usize, event: &'a Event, register: &mut Register<'a>) {
        let age = event.host.map_or(0, |host| self.terms.stat_age[usize::from(host)]);
        let read = |look, age| Reading {
            event: index,
            host: event.host,
            begin: event.begin,
            until: event.end,
            end: event.end,
            age,
            look,
        };
        match &event.act {
            Act::Write(written) => {
                self.counts.writes += 1;
                match written.outcome {
                    // It was to be there already: nothing was written.
                    Err(libc::ENOENT) if written.how == How::InPlace => {
                        return register.reads.push(read(Look::Absent, 0));
                    }
                    Err(libc::ESTALE) if written.how.is_seen_in_parts() && written.opened == event.begin => {
                        return register.raced.push(read(Look::Present, 0));
                    }
                    // Of a large file that was not all here.
                    Err(libc::ESTALE) if written.size > KEPT => self.counts.gone += 1,
                    Err(errno) => self.failed(index, errno),
                    Ok(()) => {}
                }
                register.write(index, event, written);
            }
            Act::Unlink(outcome) | Act::Rmdir(outcome) => match outcome {
                Err(libc::ENOENT) => register.reads.push(read(Look::Absent, 0)),
                other => {
                    register.remove(index, event, other.is_ok());
                    other.map_or_else(|errno| self.failed(index, errno), |()| {});
                }
            },
            Act::MoveAway(Err(libc::ENOENT)) => register.reads.push(read(Look::Absent, 0)),
            Act::MoveAway(outcome) => {
                register.remove(index, event, outcome.is_ok());
                self.seen(index, outcome, register, |look| read(look, 0));
            }
            Act::Read { opened, seen } => {
                self.seen(index, seen, register, |look| Reading { until: *opened, ..read(look, 0) });
            }
            Act::Stat(outcome) => match outcome {
                Ok(stat) => register.reads.push(read(Look::Stat(*stat), age)),
                Err(libc::ENOENT) => register.reads.push(read(Look::Absent, 0)),
                Err(errno) => self.failed(index, *errno),
            },
            Act::StatDir(outcome) => match outcome {
                Ok(()) => register.reads.push(read(Look::Present, age)),
                Err(libc::ENOENT) => register.reads.push(read(Look::Absent, 0)),
                Err(errno) => self.failed(index, *errno),
            },
            Act::Mkdir(outcome) => match outcome {
                Err(libc::EEXIST) => register.reads.push(read(Look::Present, age)),
                other => {
                    register.make(index, event, other.is_ok());
                    other.map_or_else(|errno| self.failed(index, errno), |()| {});
                }
            },
            Act::List(_) => {}
        }
    }

    fn seen(
        &mut self,
        index: usize,
        outcome: &'a Outcome<Seen>,
        register: &mut Register<'a>,
        read: impl Fn(Look<'a>) -> Reading<'a>,
    ) {
        match outcome {
            Ok(Seen::Whole(chain)) => register.reads.push(read(Look::Value(chain))),
            Ok(Seen::Torn(what)) => {
                register.torn.push((read(Look::Present), what));
            }
            Ok(Seen::Gone { errno: libc::ESTALE, size }) if *size > KEPT => {
                self.counts.gone += 1;
                register.reads.push(read(Look::Present));
            }
            Ok(Seen::Gone { errno: libc::ESTALE, size }) => {
                self.fail(Rule::Gone, &[index], format!("{size} bytes are kept while open"));
            }
            Err(libc::ENOENT) => register.reads.push(read(Look::Absent)),
            Err(libc::ESTALE) => register.raced.push(read(Look::Present)),
            Ok(Seen::Gone { errno, .. }) | Err(errno) => self.failed(index, *errno),
        }
    }

    fn failed(&mut self, index: usize, errno: i32) {
        self.counts.failed += 1;
        let allowed = self.terms.breaks && matches!(errno, libc::EIO | libc::ENOTCONN | libc::ECONNABORTED);
        if !allowed {
            self.fail(Rule::Errno, &[index], nix::errno::Errno::from_raw(errno).to_string());
        }
    }

    /// A listing is a read of every name that the directory could have.
    fn list(
        &mut self,
        index: usize,
        event: &Event,
        outcome: &Outcome<Vec<String>>,
        registers: &mut BTreeMap<&str, Register<'a>>,
    ) {
        let names = match outcome {
            Ok(names) => names.iter().map(String::as_str).collect::<BTreeSet<_>>(),
            Err(errno) => return self.failed(index, *errno),
        };
        let name_in = |path: &'a str| match path.rsplit_once('/') {
            Some((dir, name)) => (dir == event.path).then_some(name),
            None => event.path.is_empty().then_some(path),
        };
        let mut pair = 0;
        for (path, register) in registers {
            let Some(name) = name_in(register.path) else { continue };
            let there = names.contains(name);
            pair +=
                usize::from(!there && self.terms.pair.as_ref().is_some_and(|pair| pair.iter().any(|of| of == path)));
            register.reads.push(Reading {
                event: index,
                host: event.host,
                begin: event.begin,
                until: event.end,
                end: event.end,
                age: 0,
                look: if there { Look::Present } else { Look::Absent },
            });
        }
        if pair == 2 {
            self.fail(Rule::Neither, &[index], "neither name of the rename is listed");
        }
    }

    /// What was appended to stays the same below it, and is a version that the append could see when it opened.
    fn chains(&mut self, registers: &mut BTreeMap<&str, Register<'a>>) {
        let mut first: HashMap<Id, (usize, &'a [Id])> = HashMap::new();
        for (index, event) in self.events.iter().enumerate() {
            let (Act::Read { seen: Ok(Seen::Whole(chain)), .. } | Act::MoveAway(Ok(Seen::Whole(chain)))) = &event.act
            else {
                continue;
            };
            let Some(last) = chain.last() else { continue };
            let (other, same) = *first.entry(*last).or_insert((index, chain));
            if same != &chain[..] {
                self.fail(Rule::Chain, &[index, other], "the same write ends another file");
            }
        }
        for (index, event) in self.events.iter().enumerate() {
            let Act::Write(written) = &event.act else { continue };
            let Some((seen, chain)) = first.get(&written.id) else { continue };
            let base = &chain[..chain.len() - 1];
            if written.how != How::Append {
                if !base.is_empty() {
                    self.fail(Rule::Chain, &[*seen, index], "it was not appended, and there is something before it");
                }
                continue;
            }
            let look = if base.is_empty() { Look::Absent } else { Look::Value(base) };
            let register = registers.get_mut(event.path.as_str()).expect("every event was entered");
            let (host, begin, until) = (event.host, event.begin, written.opened);
            register.reads.push(Reading { event: index, host, begin, until, end: until, age: 0, look });
        }
    }
}
