//! What an edge keeps, and for how long it shows it.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::Answer;

/// What Cloudflare's default key is made of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(in super::super) struct Variant {
    pub(in super::super) scheme: &'static str,
    /// Path with its query.
    pub(in super::super) target: String,
    /// Of the page.
    pub(in super::super) origin: String,
}

/// How an edge deals with what it fetched. By default it keeps all of it for ever, at once.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Habits {
    /// Every second answer is kept for ever, the others so long; those of what is not there for half of it. After that
    /// they are shown once more while the bucket is asked anew (RFC 5861).
    pub(in super::super) fresh: Option<Duration>,
    /// Up to so long after the bucket has said it an answer is kept; a fetch that takes longer is not.
    pub(in super::super) lag: Duration,
    /// For what is drawn at random.
    pub(in super::super) seed: u64,
}

/// What there is for a visitor.
pub(super) enum Look {
    /// It is fresh, or somebody asks for it anew already.
    Shown(Answer),
    /// The bucket is to be asked; the visitor has no need to wait for it if there is something.
    Ask(Option<Answer>),
}

#[derive(Debug, Default)]
pub(super) struct Kept {
    /// With the time at which it was kept, and that until which it is fresh.
    all: HashMap<Variant, (Answer, Instant, Option<Instant>)>,
    /// Asked for anew.
    renewed: HashSet<Variant>,
    /// Fetches under way.
    fetches: usize,
    drawn: u64,
}

impl Kept {
    /// Whoever is told to ask calls [`Self::put`] in the end.
    pub(super) fn look(&mut self, variant: &Variant, now: Instant) -> Look {
        let kept = self.all.get(variant);
        match kept {
            Some((answer, _, until)) if until.is_none_or(|until| now < until) => return Look::Shown(answer.clone()),
            Some((answer, ..)) if self.renewed.contains(variant) => return Look::Shown(answer.clone()),
            Some(_) => drop(self.renewed.insert(variant.clone())),
            None => {}
        }
        self.fetches += 1;
        Look::Ask(kept.map(|(answer, ..)| answer.clone()))
    }

    /// What the bucket said to a fetch that was begun then.
    pub(super) fn put(&mut self, variant: Variant, answer: &Answer, begun: Instant, now: Instant, habits: &Habits) {
        self.fetches -= 1;
        self.renewed.remove(&variant);
        let late = !habits.lag.is_zero() && now - begun > habits.lag;
        // 404 is kept, too: vendors do that for minutes.
        if late || !matches!(answer.status, 200 | 404) {
            return;
        }
        let expires = self.draw(habits).is_multiple_of(2);
        let fresh = habits.fresh.filter(|_| expires);
        let until = fresh.map(|fresh| now + if answer.status == 200 { fresh } else { fresh / 2 });
        self.all.insert(variant, (answer.clone(), now, until));
    }

    /// How long a fetch takes beyond the answer of the bucket: mostly nothing.
    pub(super) fn lag(&mut self, habits: &Habits) -> Duration {
        let drawn = self.draw(habits);
        let part = f64::from(drawn.to_le_bytes()[1]) / 256.0;
        if drawn.is_multiple_of(3) { habits.lag.mul_f64(part) } else { Duration::ZERO }
    }

    /// Whether anything was forgotten.
    pub(super) fn forget(&mut self, which: impl Fn(&Variant) -> bool) -> bool {
        let before = self.all.len();
        self.all.retain(|variant, _| !which(variant));
        before > self.all.len()
    }

    pub(super) fn forget_answers(&mut self, which: impl Fn(&Answer) -> bool) {
        self.all.retain(|_, (answer, ..)| !which(answer));
    }

    /// Since when it has that.
    pub(super) fn since(&self, variant: &Variant) -> Option<Instant> {
        self.all.get(variant).map(|(_, since, _)| *since)
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.fetches == 0
    }

    pub(super) fn all(&self) -> Vec<(Variant, Answer)> {
        self.all.iter().map(|(variant, (answer, ..))| (variant.clone(), answer.clone())).collect()
    }

    /// The next random number (splitmix64).
    fn draw(&mut self, habits: &Habits) -> u64 {
        self.drawn = self.drawn.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.drawn ^ habits.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
