//! The way of changes to one vendor, without I/O or clock: what waits, what may go together, what came of it.
//!
//! A change waits for others for a moment, then goes with them, as fast as the vendor lets it. A newer change of a key
//! takes the place of one that waits, but not of one that is under way: that one may have been obeyed already.

mod queue;
mod settling;
mod told;

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    time::{Duration, Instant},
};

use queue::Queue;
pub use queue::Waiting;
use settling::Settling;
pub use told::{Dead, Paused, Tally};

use super::{
    outbox::Id,
    rate::{Size, Tokens},
    target::{Batch, Class, Contract, Rounds, Target, Verdict},
    versions::Versions,
};

/// How long a change waits for the next one: the thumbnails of one upload come within it.
const WINDOW: Duration = Duration::from_millis(250);
/// How long it waits at most, however many follow.
const WINDOW_MAX: Duration = Duration::from_secs(2);
/// The longest pause between attempts.
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// The longest first pause; each further one is up to twice as long.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Dead letters that are kept for people to read; the oldest go first.
const DEAD_MAX: usize = 100;

/// What is to be done about a lane.
#[derive(Debug, Eq, PartialEq)]
pub enum Effect {
    Send(Batch),
    /// These are purged here, replaced by a newer change of the same key, or given up.
    Done(Vec<Id>),
}

#[derive(Debug)]
pub struct Lane {
    contract: Contract,
    /// What is not to go before it is sure to be the last word.
    settling: Settling,
    queue: Queue,
    /// When what waits may go.
    window: Option<Window>,
    /// Positions up to here have waited long enough.
    ripe: u64,
    /// Batches that are to be tried again, as they are.
    again: VecDeque<Batch>,
    /// The last one failed, so what was not tried yet goes before it: one that always fails does not hold up the rest.
    fresh_first: bool,
    /// Under way, by number.
    flying: BTreeMap<u64, Batch>,
    /// To be purged a second time, because an edge may have fetched the old one while it changed.
    later: VecDeque<(Instant, Batch)>,
    tokens: BTreeMap<Class, Vec<Tokens>>,
    /// Failures in a row.
    failures: u32,
    rest: Option<Instant>,
    paused: Option<Paused>,
    dead: VecDeque<Dead>,
    tally: Tally,
    next: u64,
    random: u64,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    opened: Instant,
    last: Instant,
}

impl Window {
    fn ends(self) -> Instant {
        (self.last + WINDOW).min(self.opened + WINDOW_MAX)
    }
}

impl Lane {
    /// `seed` spreads the pauses of many hosts, and tells their batches apart: no two lanes have the same, nor two runs.
    pub fn new(contract: Contract, now: Instant, seed: u64) -> Self {
        let tokens =
            |(class, rates): (&Class, &Vec<_>)| (*class, rates.iter().map(|rate| Tokens::new(*rate, now)).collect());
        let tokens = contract.rates.iter().map(tokens).collect();
        Self {
            queue: Queue::new(contract.prefixes.then_some(contract.collapse_at)),
            contract,
            settling: Settling::default(),
            window: None,
            ripe: 0,
            again: VecDeque::new(),
            fresh_first: false,
            flying: BTreeMap::new(),
            later: VecDeque::new(),
            tokens,
            failures: 0,
            rest: None,
            paused: None,
            dead: VecDeque::new(),
            tally: Tally::default(),
            // So far from the end that it is never reached.
            next: seed >> 1,
            random: seed | 1,
        }
    }

    /// Whether the vendor can do it at all.
    pub fn can(&self, target: &Target) -> bool {
        self.contract.can(target)
    }

    /// A target is to be purged; `twice`: because it changed, so that it takes the rounds of the contract. Gives the records
    /// that this one makes superfluous.
    pub fn add(&mut self, target: Target, id: Option<Id>, twice: bool, now: Instant) -> Vec<Id> {
        self.add_versions(target, Versions::default(), id, twice, now)
    }

    /// The same of an object, with the versions that edges may have of it.
    pub fn add_versions(
        &mut self,
        target: Target,
        versions: Versions,
        id: Option<Id>,
        twice: bool,
        now: Instant,
    ) -> Vec<Id> {
        let waiting = Waiting { target, versions, ids: id.into_iter().collect(), since: now, twice };
        match self.contract.rounds {
            Rounds::Late(after) if twice => self.settling.push(waiting, now + after),
            _ => self.enqueue(waiting, now),
        }
    }

    /// From now on nothing is late, but comes twice where it would have been: somebody waits for it. Gives the records that
    /// are superfluous.
    pub fn hurry(&mut self, now: Instant) -> Vec<Id> {
        let Rounds::Late(after) = self.contract.rounds else { return Vec::new() };
        self.contract.rounds = Rounds::Twice(after);
        let all = self.settling.drain();
        all.into_iter().flat_map(|waiting| self.enqueue(waiting, now)).collect()
    }

    fn enqueue(&mut self, waiting: Waiting, now: Instant) -> Vec<Id> {
        let window = self.window.get_or_insert(Window { opened: now, last: now });
        window.last = now;
        self.queue.push(waiting)
    }

    /// What can be done now.
    pub fn step(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        for settled in self.settling.take(now) {
            let replaced = self.enqueue(settled, now);
            if !replaced.is_empty() {
                effects.push(Effect::Done(replaced));
            }
        }
        if self.window.is_some_and(|window| window.ends() <= now) {
            self.window = None;
            self.ripe = self.queue.last();
        }
        while self.later.front().is_some_and(|(at, _)| *at <= now) {
            let (_, batch) = self.later.pop_front().expect("seen above");
            self.again.push_back(batch);
        }
        if self.resting(now).is_some() {
            return effects;
        }
        self.collapse();
        while self.flying.len() < self.contract.parallel {
            let Some(class) = self.next_class() else { break };
            let Some(batch) = self.take(class, now) else { break };
            self.tally.requests += 1;
            self.flying.insert(batch.number, batch.clone());
            effects.push(Effect::Send(batch));
        }
        effects
    }

    /// A vendor answered, or did not.
    pub fn answered(&mut self, number: u64, verdict: Verdict, now: Instant) -> Vec<Effect> {
        let Some(batch) = self.flying.remove(&number) else { return Vec::new() };
        if !matches!(verdict, Verdict::Done) {
            self.tally.errors += 1;
        }
        match verdict {
            Verdict::Done => {
                (self.failures, self.rest, self.paused) = (0, None, None);
                self.tally.items += batch.size.items as u64;
                self.tally.done += batch.members.len() as u64;
                let took = |member: &Waiting| now.saturating_duration_since(member.since);
                self.tally.latency = batch.members.iter().map(took).fold(self.tally.latency, Duration::saturating_add);
                self.tally.paid += if self.contract.budget.is_some() { batch.size.items as u64 } else { 0 };
                return self.purged(batch, now);
            }
            Verdict::Busy(after, why) => {
                self.tokens.entry(batch.class).or_default().iter_mut().for_each(|tokens| tokens.empty(now));
                let pause = self.jitter();
                self.rest = Some(now + after.unwrap_or(pause));
                self.retry(batch, why);
            }
            Verdict::Failed(why) => {
                self.rest = Some(now + self.jitter());
                self.tally.last_error = Some(why);
                self.again.push_back(batch);
                self.fresh_first = true;
            }
            Verdict::Refused(why) => {
                self.paused = Some(Paused { why: why.clone(), until: now + PAUSE_MAX });
                self.retry(batch, why);
            }
            Verdict::Bad(why) => return self.bisect(batch, why),
        }
        Vec::new()
    }

    fn retry(&mut self, batch: Batch, why: String) {
        self.tally.last_error = Some(why);
        self.again.push_front(batch);
    }

    /// Up to twice as long after each failure in a row, and anything below it: hosts that failed together do not come
    /// back together.
    fn jitter(&mut self) -> Duration {
        let limit = PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        // xorshift64 (Marsaglia 2003)
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let part = f64::from(u32::try_from(self.random >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        limit.mul_f64(part).max(Duration::from_millis(1))
    }

    fn purged(&mut self, batch: Batch, now: Instant) -> Vec<Effect> {
        let Rounds::Twice(after) = self.contract.rounds else { return vec![Effect::Done(batch.ids())] };
        let (twice, once): (Vec<_>, Vec<_>) = batch.members.into_iter().partition(|member| member.twice);
        if !twice.is_empty() {
            let members: Vec<_> = twice.into_iter().map(|member| Waiting { twice: false, ..member }).collect();
            let batch = self.batch(batch.class, members);
            self.later.push_back((now + after, batch));
        }
        vec![Effect::Done(once.iter().flat_map(|member| member.ids.iter().copied()).collect())]
    }

    /// Something in it makes no sense to the vendor: halves tell which.
    fn bisect(&mut self, batch: Batch, why: String) -> Vec<Effect> {
        self.tally.last_error = Some(why.clone());
        if let [member] = &batch.members[..] {
            self.tally.dead += 1;
            self.dead.push_back(Dead { target: member.target.clone(), why });
            if self.dead.len() > DEAD_MAX {
                self.dead.pop_front();
            }
            return vec![Effect::Done(batch.ids())];
        }
        let mut members = batch.members;
        let right = members.split_off(members.len() / 2);
        for half in [right, members] {
            let half = self.batch(batch.class, half);
            self.again.push_front(half);
        }
        Vec::new()
    }

    fn batch(&mut self, class: Class, members: Vec<Waiting>) -> Batch {
        let number = self.next;
        self.next += 1;
        let items =
            members.iter().map(|member| self.contract.weight(&member.target, &member.versions).items).sum::<usize>();
        let size = Size { requests: items.div_ceil(self.contract.most(class).max(1)), items };
        Batch { number, class, size, members }
    }

    /// Many of one directory become the directory, where the vendor can do that.
    fn collapse(&mut self) {
        while let Some(dir) = self.queue.crowded() {
            if !self.contract.may_collapse(&dir) {
                continue;
            }
            let members = self.queue.drain_below(&dir);
            let ids = members.iter().flat_map(|member| member.ids.iter().copied()).collect();
            let since = members.iter().map(|member| member.since).min();
            let twice = members.iter().any(|member| member.twice);
            let Some(since) = since else { return };
            self.queue.push(Waiting { target: Target::Below(dir), versions: Versions::default(), ids, since, twice });
            self.ripe = self.ripe.max(self.queue.last());
        }
    }

    fn next_class(&self) -> Option<Class> {
        let again = self.again.front().map(|batch| batch.class);
        let fresh = self.queue.first(self.ripe).map(|waiting| self.contract.class(&waiting.target));
        if self.fresh_first { fresh.or(again) } else { again.or(fresh) }
    }

    /// The next batch of a class, if the vendor lets it go now.
    fn take(&mut self, class: Class, now: Instant) -> Option<Batch> {
        let fresh = mem::take(&mut self.fresh_first) && self.queue.first(self.ripe).is_some();
        let batch = if let Some(batch) = (!fresh).then(|| self.again.pop_front()).flatten() {
            batch
        } else {
            let members = self.queue.take(class, &self.contract);
            self.batch(class, members)
        };
        let flying = self.flying.values().map(|batch| batch.size.items as u64).sum::<u64>();
        let all = self.tally.paid + flying + batch.size.items as u64;
        let over = self.contract.budget.is_some_and(|budget| all > budget);
        let tokens = self.tokens.entry(class).or_default();
        let wait = tokens.iter_mut().filter_map(|tokens| tokens.wait(batch.size, now)).max();
        if over {
            let why = "the budget of this month is spent".to_owned();
            self.paused = Some(Paused { why, until: now + PAUSE_MAX });
            self.again.push_front(batch);
            return None;
        }
        if let Some(until) = wait {
            self.rest = Some(until);
            self.again.push_front(batch);
            return None;
        }
        for tokens in tokens {
            tokens.take(batch.size, now);
        }
        Some(batch)
    }

    fn resting(&self, now: Instant) -> Option<Instant> {
        let paused = self.paused.as_ref().map(|paused| paused.until);
        [self.rest, paused].into_iter().flatten().filter(|until| *until > now).max()
    }

    /// When [`Self::step`] has something to do, if it is not told anything before.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
        let has_more = !self.again.is_empty() || self.queue.first(self.ripe).is_some();
        let ready = (has_more && self.flying.len() < self.contract.parallel).then_some(now);
        let window = self.window.map(Window::ends);
        let later = self.later.front().map(|(at, _)| *at);
        let first = [ready, window, later, self.settling.next()].into_iter().flatten().min()?;
        Some(self.resting(now).map_or(first, |rest| rest.max(first)))
    }

    /// What earlier runs paid for this month; a new month begins at 0.
    pub fn set_paid(&mut self, items: u64) {
        self.tally.paid = items;
    }

    /// Nothing is sent before `until`.
    pub fn rest_until(&mut self, until: Instant) {
        self.rest = Some(self.rest.map_or(until, |rest| rest.max(until)));
    }

    /// Somebody changed something: it need not be waited for any more.
    pub fn resume(&mut self) {
        (self.paused, self.rest) = (None, None);
    }
}

#[cfg(test)]
mod tests;
