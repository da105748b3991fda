//! When a CDN is taken for down, and when for up again. Pure: looks and times in, a decision out.
//!
//! Down comes soon, because visitors see holes: when most of the last looks were bad. Up comes late: after so many good
//! looks in a row and not before a hold time, which doubles with each relapse. So a full turn, down and up and down, takes the
//! hold time at least, and an edge that fails now and then is left alone until it does so no more.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The hold time doubles so often at most: 16 minutes of one minute.
const DOUBLINGS_MAX: u32 = 4;
/// A CDN that goes down again within so many hold times has not recovered: it is a relapse.
const RELAPSE: u32 = 10;
/// Looks come up to a tenth of the interval sooner or later, so that hosts which started together part.
const JITTER_PART: u32 = 10;

/// How much it takes to change sides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// So many bad looks among the last `2 * down_after - 1`, which is most of them, are an outage.
    pub down_after: u32,
    /// So many good looks in a row are its end,
    pub up_after: u32,
    /// but not sooner than this after its start.
    pub hold: Duration,
}

/// What one look showed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Look {
    Good,
    Bad,
    /// Bad, but the bucket did not answer either: then it may be this host that is cut off.
    Unsure,
}

/// Whose URLs are to be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    Cdn,
    Site,
}

#[derive(Clone, Debug)]
pub struct Hysteresis {
    rules: Rules,
    side: Side,
    /// When it got there.
    since: Instant,
    /// Which of the last looks were bad, since the last change; the newest at the back.
    recent: VecDeque<bool>,
    good_in_a_row: u32,
    /// How often the hold time is doubled; `None`: there was no outage yet.
    doublings: Option<u32>,
}

impl Hysteresis {
    /// Begins on `side`, which an earlier run may have written down.
    pub fn new(rules: Rules, side: Side, now: Instant) -> Self {
        let doublings = (side == Side::Site).then_some(0);
        Self { rules, side, since: now, recent: VecDeque::new(), good_in_a_row: 0, doublings }
    }

    pub fn side(&self) -> Side {
        self.side
    }

    /// The least time from the start of this outage to its end.
    pub fn hold(&self) -> Duration {
        self.rules.hold.saturating_mul(1 << self.doublings.unwrap_or(0))
    }

    /// Takes a look into account. The new side, if it changes.
    pub fn step(&mut self, look: Look, now: Instant) -> Option<Side> {
        match look {
            Look::Good => self.good_in_a_row = self.good_in_a_row.saturating_add(1),
            Look::Bad | Look::Unsure => self.good_in_a_row = 0,
        }
        if look != Look::Unsure {
            let window = 2 * self.rules.down_after as usize - 1;
            self.recent.push_back(look == Look::Bad);
            while self.recent.len() > window {
                self.recent.pop_front();
            }
        }
        let stayed = now.saturating_duration_since(self.since);
        match self.side {
            Side::Cdn => {
                let bad = self.recent.iter().filter(|bad| **bad).count();
                if bad < self.rules.down_after as usize {
                    return None;
                }
                let relapse = stayed < self.rules.hold.saturating_mul(RELAPSE);
                self.doublings = match self.doublings {
                    Some(doublings) if relapse => Some((doublings + 1).min(DOUBLINGS_MAX)),
                    _ => Some(0),
                };
                self.go(Side::Site, now);
            }
            Side::Site if self.good_in_a_row < self.rules.up_after || stayed < self.hold() => return None,
            Side::Site => self.go(Side::Cdn, now),
        }
        Some(self.side)
    }

    fn go(&mut self, side: Side, now: Instant) {
        (self.side, self.since, self.good_in_a_row) = (side, now, 0);
        self.recent.clear();
    }
}

/// How long to wait until the next look. `random` is any number.
pub fn pause(interval: Duration, random: u32) -> Duration {
    let spread = interval / JITTER_PART * 2;
    interval.saturating_sub(interval / JITTER_PART) + share(spread, random)
}

/// How long to wait until the first one: anything up to an interval, for hosts that boot together.
pub fn first_pause(interval: Duration, random: u32) -> Duration {
    share(interval, random)
}

fn share(span: Duration, random: u32) -> Duration {
    span.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);
    const RULES: Rules = Rules { down_after: 3, up_after: 5, hold: Duration::from_mins(1) };

    /// Second and side of each change, with a look every ten seconds: `g`ood, `b`ad, `u`nsure.
    fn changes(from: Side, looks: &str) -> Vec<(u64, Side)> {
        let begin = clock::now();
        let mut state = Hysteresis::new(RULES, from, begin);
        let mut all = Vec::new();
        for (n, look) in (1..).zip(looks.chars()) {
            let look = match look {
                'g' => Look::Good,
                'b' => Look::Bad,
                _ => Look::Unsure,
            };
            all.extend(state.step(look, begin + SECOND * 10 * n).map(|side| (u64::from(n) * 10, side)));
        }
        all
    }

    #[test]
    fn three_bad_looks_are_an_outage_and_two_are_none() {
        assert_eq!(changes(Side::Cdn, "gggbbgggbbggg"), []);
        assert_eq!(changes(Side::Cdn, "gggbbb"), [(60, Side::Site)]);
        assert_eq!(changes(Side::Cdn, "bbb"), [(30, Side::Site)]);
    }

    #[test]
    fn up_again_takes_five_good_looks_in_a_row_and_the_hold_time() {
        // Five are enough, the minute is not over.
        assert_eq!(changes(Side::Cdn, "bbbggggg"), [(30, Side::Site)]);
        assert_eq!(changes(Side::Cdn, "bbbgggggg"), [(30, Side::Site), (90, Side::Cdn)]);
        assert_eq!(changes(Side::Cdn, "bbbggggbgggg"), [(30, Side::Site)]);
        assert_eq!(changes(Side::Cdn, "bbbggggbggggg"), [(30, Side::Site), (130, Side::Cdn)]);
    }

    #[test]
    fn an_edge_that_fails_every_other_time_goes_down_once_and_stays_there() {
        assert_eq!(changes(Side::Cdn, &"gb".repeat(500)), [(60, Side::Site)]);
        // One in three is left alone: pages work, mostly.
        assert_eq!(changes(Side::Cdn, &"ggb".repeat(500)), []);
    }

    #[test]
    fn relapses_are_held_longer_and_a_long_recovery_pays() {
        let turn = "bbbgggggg";
        let twice = format!("{turn}{turn}gggggg");
        // 60 s, then 120 s.
        let expect = [(30, Side::Site), (90, Side::Cdn), (120, Side::Site), (240, Side::Cdn)];
        assert_eq!(changes(Side::Cdn, &twice), expect);
        let healthy = format!("{turn}{}{turn}", "g".repeat(60));
        let expect = [(30, Side::Site), (90, Side::Cdn), (720, Side::Site), (780, Side::Cdn)];
        assert_eq!(changes(Side::Cdn, &healthy), expect);
        let begin = clock::now();
        let mut state = Hysteresis::new(RULES, Side::Cdn, begin);
        for n in 1..10_000 {
            let look = if state.side() == Side::Cdn { Look::Bad } else { Look::Good };
            state.step(look, begin + SECOND * n);
        }
        assert_eq!(state.hold(), SECOND * 60 * 16, "it has a bound");
    }

    #[test]
    fn a_host_that_is_cut_off_changes_nothing() {
        assert_eq!(changes(Side::Cdn, &"u".repeat(100)), []);
        assert_eq!(changes(Side::Site, &"ggggu".repeat(20)), []);
    }

    #[test]
    fn a_run_that_begins_in_an_outage_holds_it() {
        assert_eq!(changes(Side::Site, "ggggg"), []);
        assert_eq!(changes(Side::Site, "gggggg"), [(60, Side::Cdn)]);
    }

    #[test]
    fn hosts_do_not_look_all_at_once() {
        let interval = Duration::from_secs(10);
        assert_eq!(pause(interval, 0), Duration::from_secs(9));
        assert_eq!(pause(interval, u32::MAX), Duration::from_secs(11));
        assert_eq!(first_pause(interval, 0), Duration::ZERO);
        assert_eq!(first_pause(interval, u32::MAX), interval);
    }

    proptest! {
        #[test]
        fn no_sequence_makes_it_flap(
            looks in proptest::collection::vec((0_u8..3, 1_u64..30), 1..400),
            down_after in 1_u32..6,
            up_after in 1_u32..8,
            hold in 0_u64..200,
        ) {
            let hold = Duration::from_secs(hold);
            let begin = clock::now();
            let mut state = Hysteresis::new(Rules { down_after, up_after, hold }, Side::Cdn, begin);
            let (mut now, mut since, mut good, mut bad) = (begin, begin, 0, 0);
            for (look, seconds) in looks {
                now += Duration::from_secs(seconds);
                let look = [Look::Good, Look::Bad, Look::Unsure][usize::from(look)];
                (good, bad) = match look {
                    Look::Good => (good + 1, bad),
                    Look::Bad => (0, bad + 1),
                    Look::Unsure => (0, bad),
                };
                let Some(side) = state.step(look, now) else {
                    // Only bad looks since the last change are not overlooked for ever.
                    prop_assert!(state.side() == Side::Site || look != Look::Bad || bad < down_after || good > 0
                        || state.recent.iter().filter(|bad| **bad).count() < down_after as usize);
                    continue;
                };
                match side {
                    Side::Site => prop_assert!(look == Look::Bad && bad >= down_after),
                    Side::Cdn => prop_assert!(good >= up_after && now - since >= hold),
                }
                (since, good, bad) = (now, 0, 0);
            }
        }
    }
}
