//! How often a vendor lets itself be asked: token buckets, or so much in any span of time, as vendors publish it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What a token is spent on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Per {
    Request,
    /// A URL, a path, a prefix, a tag.
    Item,
}

/// How tokens come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Refill {
    /// So many in a second, all the time.
    Steady(f64),
    /// Each of them so long after it was spent, so that no such span sees more than the burst.
    After(Duration),
}

/// A limit: so many at once, and how they come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub per: Per,
    pub burst: f64,
    pub refill: Refill,
}

impl Rate {
    pub const fn requests(burst: f64, per_second: f64) -> Self {
        Self { per: Per::Request, burst, refill: Refill::Steady(per_second) }
    }

    pub const fn items(burst: f64, per_second: f64) -> Self {
        Self { per: Per::Item, burst, refill: Refill::Steady(per_second) }
    }

    /// At most `burst` of them in any time of that length.
    #[must_use]
    pub const fn within(self, span: Duration) -> Self {
        Self { refill: Refill::After(span), ..self }
    }

    /// The part of one of `hosts` that share an account. The burst is at least one token, or nothing could be sent.
    #[must_use]
    pub fn shared(self, hosts: u32) -> Self {
        let hosts = f64::from(hosts.max(1));
        let burst = self.burst / hosts;
        let refill = match self.refill {
            Refill::Steady(per_second) => Refill::Steady(per_second / hosts),
            // Whole tokens: half of one is of no use before the other half is back.
            Refill::After(_) if burst >= 1.0 => return Self { burst: burst.floor(), ..self },
            Refill::After(span) => Refill::After(span.div_f64(burst)),
        };
        Self { burst: burst.max(1.0), refill, ..self }
    }
}

/// What is to be sent together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Size {
    pub requests: usize,
    pub items: usize,
}

/// A bucket of tokens.
#[derive(Clone, Debug)]
pub struct Tokens {
    rate: Rate,
    left: f64,
    at: Instant,
    /// When spent tokens are there again, where each has a time: no more of them than the burst.
    spent: VecDeque<(Instant, f64)>,
}

impl Tokens {
    /// Full.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, left: rate.burst, at: now, spent: VecDeque::new() }
    }

    fn fill(&mut self, now: Instant) {
        if let Refill::Steady(per_second) = self.rate.refill {
            let passed = now.saturating_duration_since(self.at).as_secs_f64();
            self.left = (self.left + passed * per_second).min(self.rate.burst);
        }
        while self.spent.front().is_some_and(|(again, _)| *again <= now) {
            let (_, tokens) = self.spent.pop_front().expect("seen above");
            self.left = (self.left + tokens).min(self.rate.burst);
        }
        self.at = self.at.max(now);
    }

    /// The tokens that it takes. More than the bucket holds can never be had: it goes when the
    /// bucket is full, and the bucket owes the rest.
    fn price(&self, size: Size) -> f64 {
        let count = match self.rate.per {
            Per::Request => size.requests,
            Per::Item => size.items,
        };
        f64::from(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// When something of that size may go; `None`: now.
    pub fn wait(&mut self, size: Size, now: Instant) -> Option<Instant> {
        self.fill(now);
        let mut lacks = self.price(size).min(self.rate.burst) - self.left;
        // A token that is short of a billionth is one: sums of fractions are never exact.
        if lacks <= 1e-9 {
            return None;
        }
        let per_second = match self.rate.refill {
            Refill::Steady(per_second) => per_second,
            Refill::After(span) => {
                let enough = self.spent.iter().find(|(_, tokens)| {
                    lacks -= tokens;
                    lacks <= 1e-9
                });
                return Some(enough.map_or(now + span, |(again, _)| *again));
            }
        };
        let wait = (lacks / per_second).clamp(0.001, 1e6);
        Some(now + Duration::from_secs_f64(wait))
    }

    /// It goes.
    pub fn take(&mut self, size: Size, now: Instant) {
        self.fill(now);
        self.spend(self.price(size), now);
    }

    /// The vendor says that there is nothing left.
    pub fn empty(&mut self, now: Instant) {
        self.fill(now);
        self.spend(self.left.max(0.0), now);
    }

    fn spend(&mut self, tokens: f64, now: Instant) {
        self.left -= tokens;
        if let Refill::After(span) = self.rate.refill
            && tokens > 0.0
        {
            // What the bucket owes comes later, so that in the long run it is no more than the rate.
            let span = span.mul_f64((tokens / self.rate.burst).max(1.0));
            self.spent.push_back((now + span, tokens));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(items: usize) -> Size {
        Size { requests: 1, items }
    }

    fn at(begin: Instant, ms: u64) -> Instant {
        begin + Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_as_fast_as_it_may() {
        let begin = crate::clock::now();
        let mut tokens = Tokens::new(Rate::requests(3.0, 2.0), begin);
        let mut sent = Vec::new();
        let mut now = begin;
        while sent.len() < 7 {
            match tokens.wait(one(100), now) {
                None => {
                    tokens.take(one(100), now);
                    sent.push(now.duration_since(begin).as_millis());
                }
                Some(later) => now = later,
            }
        }
        assert_eq!(sent, [0, 0, 0, 500, 1000, 1500, 2000]);
    }

    #[test]
    fn items_are_counted_where_they_count() {
        let begin = crate::clock::now();
        let mut tokens = Tokens::new(Rate::items(50.0, 2.5), begin);
        assert_eq!(tokens.wait(one(30), begin), None);
        tokens.take(one(30), begin);
        assert_eq!(tokens.wait(one(30), begin), Some(at(begin, 4000)));
        // More than there can ever be: a full bucket will do.
        assert_eq!(tokens.wait(one(80), begin), Some(at(begin, 12_000)));
        tokens.take(one(80), at(begin, 12_000));
        assert_eq!(tokens.wait(one(1), at(begin, 12_000)), Some(at(begin, 24_400)));
    }

    #[test]
    fn no_span_has_more_than_it_may() {
        let begin = crate::clock::now();
        let mut tokens = Tokens::new(Rate::requests(5.0, 0.0).within(Duration::from_secs(10)), begin);
        let mut sent = Vec::new();
        let mut now = begin;
        while sent.len() < 11 {
            match tokens.wait(one(100), now) {
                None => {
                    tokens.take(one(100), now);
                    sent.push(now.duration_since(begin).as_millis());
                    // They do not come all at once.
                    now += Duration::from_secs(1);
                }
                Some(later) => now = later,
            }
        }
        assert_eq!(sent, [0, 1000, 2000, 3000, 4000, 10_000, 11_000, 12_000, 13_000, 14_000, 20_000]);
        tokens.empty(now);
        assert_eq!(tokens.wait(one(1), now), Some(at(begin, 22_000)), "others had the rest");
        // More than there can ever be is owed.
        let mut tokens = Tokens::new(Rate::items(50.0, 0.0).within(Duration::from_secs(20)), begin);
        tokens.take(one(100), begin);
        assert_eq!(tokens.wait(one(1), begin), Some(at(begin, 40_000)));
    }

    #[test]
    fn hosts_share() {
        assert_eq!(Rate::requests(25.0, 1.0).shared(5), Rate::requests(5.0, 0.2));
        assert_eq!(Rate::requests(2.0, 1.0).shared(4), Rate::requests(1.0, 0.25));
        let within = |burst, seconds| Rate::requests(burst, 0.0).within(Duration::from_secs(seconds));
        assert_eq!(within(5.0, 10).shared(2), within(2.0, 10));
        assert_eq!(within(5.0, 10).shared(10), within(1.0, 20));
    }
}
