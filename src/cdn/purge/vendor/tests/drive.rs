//! A lane with its adapter and a fake of its vendor, at a clock of its own.

use std::time::Instant;

use super::*;
use crate::cdn::purge::lane::{Effect, Lane};

/// 2026-11-22T18:00:00Z
const BEGIN: i64 = 1_795_370_400;

pub(super) struct Drive {
    pub(super) vendor: Vendor,
    pub(super) common: Common,
    pub(super) lane: Lane,
    secret: Secret,
    begin: Instant,
    pub(super) now: Instant,
    nonce: u128,
}

impl Drive {
    pub(super) fn new(vendor: Vendor, secret: &str, seed: u64) -> Self {
        let (common, begin) = (common(), crate::clock::now());
        let lane = Lane::new(vendor.contract(&common), begin, seed);
        let nonce = u128::from(seed) << 64;
        Self { vendor, common, lane, secret: Secret::new(secret), begin, now: begin, nonce }
    }

    pub(super) fn add(&mut self, target: Target) {
        self.lane.add(target, None, true, self.now);
    }

    /// The wall clock.
    pub(super) fn seconds(&self) -> i64 {
        BEGIN + i64::try_from((self.now - self.begin).as_secs()).unwrap()
    }

    /// Sends what may go now. `answer` is asked by request, second and time; no answer is one that is lost.
    pub(super) fn step(&mut self, mut answer: impl FnMut(&Request, i64, Instant) -> Option<Response>) {
        for effect in self.lane.step(self.now) {
            let Effect::Send(batch) = effect else { continue };
            let mut verdict = Verdict::Done;
            for request in self.vendor.requests(&self.common, &batch, &self.secret) {
                self.nonce += 1;
                let stamp = Stamp { seconds: self.seconds(), nonce: self.nonce };
                let request = self.vendor.signed(request, &self.secret, stamp).unwrap();
                verdict = match answer(&request, stamp.seconds, self.now) {
                    Some(response) => self.vendor.verdict(&response),
                    None => Verdict::Failed("no answer".to_owned()),
                };
                if verdict != Verdict::Done {
                    break;
                }
            }
            self.lane.answered(batch.number, verdict, self.now);
        }
    }

    /// Sleeps until there is something to do. False: there never will be.
    pub(super) fn sleep(&mut self) -> bool {
        match self.lane.wake(self.now) {
            Some(at) => self.now = at.max(self.now),
            None => return false,
        }
        true
    }
}

/// The value of a header.
pub(super) fn header<'r>(request: &'r Request, name: &str) -> &'r str {
    let mut all = request.headers.iter().filter(|(other, _)| *other == name);
    let value = all.next().map_or("", |(_, value)| value);
    assert!(all.next().is_none(), "{name} is there twice");
    value
}
