//! How often a vendor lets itself be asked: token buckets, as vendors publish them.

use std::time::{Duration, Instant};

/// What a token is spent on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Per {
    Request,
    /// A URL, a path, a prefix, a tag.
    Item,
}

/// A limit: so many at once, and so many again after a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub per: Per,
    pub burst: f64,
    pub per_second: f64,
}

impl Rate {
    pub const fn requests(burst: f64, per_second: f64) -> Self {
        Self { per: Per::Request, burst, per_second }
    }

    pub const fn items(burst: f64, per_second: f64) -> Self {
        Self { per: Per::Item, burst, per_second }
    }

    /// The part of one of `hosts` that share an account. The burst is at least one token, or nothing could be sent.
    #[must_use]
    pub fn shared(self, hosts: u32) -> Self {
        let hosts = f64::from(hosts.max(1));
        Self { burst: (self.burst / hosts).max(1.0), per_second: self.per_second / hosts, ..self }
    }
}

/// What is to be sent together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Size {
    pub requests: usize,
    pub items: usize,
}

/// A bucket of tokens.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    rate: Rate,
    left: f64,
    at: Instant,
}

impl Tokens {
    /// Full.
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, left: rate.burst, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.rate.per_second).min(self.rate.burst);
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
        let lacks = self.price(size).min(self.rate.burst) - self.left;
        // A token that is short of a billionth is one: sums of fractions are never exact.
        if lacks <= 1e-9 {
            return None;
        }
        let wait = (lacks / self.rate.per_second).clamp(0.001, 1e6);
        Some(now + Duration::from_secs_f64(wait))
    }

    /// It goes.
    pub fn take(&mut self, size: Size, now: Instant) {
        self.fill(now);
        self.left -= self.price(size);
    }

    /// The vendor says that there is nothing left.
    pub fn empty(&mut self, now: Instant) {
        self.fill(now);
        self.left = self.left.min(0.0);
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
    fn hosts_share() {
        assert_eq!(Rate::requests(25.0, 1.0).shared(5), Rate::requests(5.0, 0.2));
        assert_eq!(Rate::requests(2.0, 1.0).shared(4), Rate::requests(1.0, 0.25));
    }
}
