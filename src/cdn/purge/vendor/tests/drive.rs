//! A lane with its adapter and a fake of its vendor, at a clock of its own.

use std::{collections::VecDeque, time::Instant};

use super::*;
use crate::cdn::purge::lane::{Effect, Lane};

/// 2026-11-22T18:00:00Z
const BEGIN: i64 = 1_795_370_400;

pub(super) struct Drive {
    pub(super) vendor: Vendor,
    pub(super) common: Common,
    pub(super) lane: Lane,
    pub(super) secret: Secret,
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

    /// With a lane that knows what was said of all vendors since.
    pub(super) fn renewed(mut self) -> Self {
        let seed = u64::try_from(self.nonce >> 64).unwrap();
        self.lane = Lane::new(self.vendor.contract(&self.common), self.now, seed);
        self
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

/// Hosts purge until nothing is left, which is not to come to nothing. `answer` is that of the vendor, which is asked in
/// the order of time. None asks again before the time that it was told.
#[track_caller]
pub(super) fn drain(hosts: &mut [Drive], mut answer: impl FnMut(&Request, Instant) -> Response) {
    let mut told: Vec<Option<(Instant, Instant)>> = vec![None; hosts.len()];
    loop {
        let at = hosts.iter().map(|host| host.lane.wake(host.now));
        let Some((n, _)) = at.enumerate().filter_map(|(n, at)| Some((n, at?))).min_by_key(|(_, at)| *at) else { break };
        hosts[n].sleep();
        hosts[n].step(|request, _, now| {
            // What was sent at the same time cannot know.
            assert!(told[n].is_none_or(|(at, until)| now == at || until <= now), "{request:?} comes too early");
            let answer = answer(request, now);
            told[n] = answer.retry_after.map(|after| (now, now + after));
            Some(answer)
        });
    }
    for host in hosts {
        let dead: Vec<_> = host.lane.dead().collect();
        assert!(host.lane.is_idle() && dead.is_empty(), "{dead:?}");
    }
}

/// A wrong secret: nothing is sent any more and nothing is lost, and with the right one it is purged.
#[track_caller]
pub(super) fn waits_for_its_secret(vendor: Vendor, right: &str, mut answer: impl FnMut(&Request, Instant) -> Response) {
    let mut drive = Drive::new(vendor, "wrong", 3);
    drive.add(object("site/a.png"));
    let mut asked = 0;
    for _ in 0..3 {
        drive.sleep();
        drive.step(|request, _, now| {
            asked += 1;
            let answer = answer(request, now);
            assert!(matches!(answer.status, 401 | 403), "{answer:?}");
            Some(answer)
        });
    }
    let paused = drive.lane.paused(drive.now).expect("it waits for somebody");
    assert!(paused.why.starts_with('4') && !paused.why.contains("wrong"), "{}", paused.why);
    assert!(drive.lane.has("site/a.png") && asked <= 3, "{asked}");
    drive.secret = Secret::new(right);
    drain(std::slice::from_mut(&mut drive), answer);
}

/// So many in any time of a length, as a vendor counts.
pub(super) struct Window {
    most: usize,
    span: Duration,
    had: VecDeque<(Instant, usize)>,
}

impl Window {
    pub(super) fn new(most: usize, seconds: u64) -> Self {
        Self { most, span: Duration::from_secs(seconds), had: VecDeque::new() }
    }

    /// Takes them, or tells when they may come, in whole seconds as `Retry-After` has it.
    pub(super) fn take(&mut self, count: usize, now: Instant) -> Result<(), Duration> {
        self.had.retain(|(at, _)| *at + self.span > now);
        let mut over = (self.had.iter().map(|(_, had)| had).sum::<usize>() + count).saturating_sub(self.most);
        if over == 0 {
            self.had.push_back((now, count));
            return Ok(());
        }
        let enough = self.had.iter().find(|(_, had)| {
            over = over.saturating_sub(*had);
            over == 0
        });
        let until = enough.map_or(now, |(at, _)| *at) + self.span;
        Err(Duration::from_secs((until - now).as_millis().div_ceil(1000).try_into().unwrap()))
    }
}

/// An answer with a body of JSON.
pub(super) fn said(status: u16, body: &serde_json::Value) -> Response {
    Response { status, retry_after: None, body: body.to_string() }
}

/// 429.
pub(super) fn slower(after: Duration, body: &serde_json::Value) -> Response {
    Response { retry_after: Some(after), ..said(429, body) }
}

/// The one list of a body of JSON, if it is called `field` and has texts alone.
pub(super) fn list(request: &Request, field: &str) -> Option<Vec<String>> {
    let body: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&request.body).ok()?;
    let all = body.get(field).filter(|_| body.len() == 1)?.as_array()?;
    let all: Option<Vec<String>> = all.iter().map(|item| item.as_str().map(str::to_owned)).collect();
    all.filter(|all| !all.is_empty() && header(request, "content-type") == "application/json")
}

/// The value of a header.
pub(super) fn header<'r>(request: &'r Request, name: &str) -> &'r str {
    let mut all = request.headers.iter().filter(|(other, _)| *other == name);
    let value = all.next().map_or("", |(_, value)| value);
    assert!(all.next().is_none(), "{name} is there twice");
    value
}
