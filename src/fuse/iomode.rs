//! Which way the bytes of an open file go. The kernel refuses mixtures on one node with `EIO`, so every open is
//! decided here, from what is open already.

/// The smallest file in bytes that the kernel reads from our cache file itself. Below, its page cache is faster: a
/// passthrough read costs a GETATTR at the next fstat(2), and a registration at each open that finds none. What is smaller is
/// here whole before it is opened.
pub const THROUGH_MIN: u64 = 1 << 20;

/// The way of one open file.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mode {
    /// Through the kernel's page cache.
    Cached,
    /// `DIRECT_IO`: every read and write comes to us.
    Direct,
    /// `PASSTHROUGH`: the kernel reads our cache file, we see nothing.
    Through,
    /// `PASSTHROUGH | DIRECT_IO`: comes to us like [`Self::Direct`], but may stand beside [`Self::Through`].
    ThroughDirect,
}

/// How many files are open on a node, by their mode. Counted from the answer to OPEN until RELEASE was handled, so
/// never less than what the kernel counts.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Held {
    pub cached: u32,
    pub direct: u32,
    /// With and without `DIRECT_IO`: they share one registered cache file.
    pub through: u32,
}

/// How much of the version being opened is in a local file that the kernel could read.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Local {
    /// Not all of it, or it is opened for writing.
    Partial,
    /// All of it.
    Whole,
    /// All of it, in the very file that is registered with the kernel for this node.
    Registered,
}

/// What is being opened.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ask {
    pub write: bool,
    /// Bytes.
    pub size: u64,
    pub local: Local,
    /// The kernel's pages of this node are of this version.
    pub unchanged: bool,
}

impl Held {
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Counts one more open file.
    pub fn add(&mut self, mode: Mode) {
        *self.count(mode) += 1;
    }

    /// Counts one less.
    pub fn remove(&mut self, mode: Mode) {
        let count = self.count(mode);
        *count = count.saturating_sub(1);
    }

    fn count(&mut self, mode: Mode) -> &mut u32 {
        match mode {
            Mode::Cached => &mut self.cached,
            Mode::Direct => &mut self.direct,
            Mode::Through | Mode::ThroughDirect => &mut self.through,
        }
    }
}

/// The mode for `ask`, such that the kernel accepts it beside what is `held`, and that no two versions ever share
/// pages. `passthrough`: the kernel grants it on this mount.
pub fn choose(held: Held, ask: Ask, passthrough: bool) -> Mode {
    let large = ask.size >= THROUGH_MIN;
    if held.through > 0 {
        return if ask.local == Local::Registered && !ask.write { Mode::Through } else { Mode::ThroughDirect };
    }
    if held.cached > 0 {
        // The pages are those of an older version, and its readers go on filling them.
        return if ask.unchanged { Mode::Cached } else { Mode::Direct };
    }
    if ask.write {
        return Mode::Cached;
    }
    match ask.local {
        Local::Partial if large => Mode::Direct,
        // A shared mmap of a file opened with DIRECT_IO occupies the page cache: passthrough beside it is an EIO.
        Local::Whole | Local::Registered if large && passthrough && held.direct == 0 => Mode::Through,
        _ => Mode::Cached,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const MODES: [Mode; 4] = [Mode::Cached, Mode::Direct, Mode::Through, Mode::ThroughDirect];

    /// What the kernel (6.18, measured) answers to an open in mode `new` while one in mode `held` is open. `same`: both
    /// name the same registered file. A direct file may have been mapped shared.
    fn kernel_accepts(held: Mode, new: Mode, same: bool) -> bool {
        match (held, new) {
            (Mode::Through | Mode::ThroughDirect, Mode::Through | Mode::ThroughDirect) => same,
            (Mode::Through | Mode::ThroughDirect, _) | (Mode::Cached, Mode::Through | Mode::ThroughDirect) => false,
            (Mode::Cached, _) => true,
            (Mode::Direct, new) => !matches!(new, Mode::Through | Mode::ThroughDirect),
        }
    }

    fn asks() -> impl Iterator<Item = Ask> {
        let sizes = [0, THROUGH_MIN - 1, THROUGH_MIN, u64::MAX];
        let locals = [Local::Partial, Local::Whole, Local::Registered];
        sizes.into_iter().flat_map(move |size| {
            locals.into_iter().flat_map(move |local| {
                [(false, false), (false, true), (true, false), (true, true)]
                    .into_iter()
                    .map(move |(write, unchanged)| Ask { write, size, local, unchanged })
            })
        })
    }

    /// How many files are open in each of [`MODES`].
    type Open = [u32; 4];

    fn held(open: Open) -> Held {
        Held { cached: open[0], direct: open[1], through: open[2] + open[3] }
    }

    /// All that can be open on a node, found by opening and closing in every way, up to three of a mode.
    fn reachable(passthrough: bool) -> HashSet<Open> {
        let mut seen = HashSet::from([Open::default()]);
        let mut todo = vec![Open::default()];
        while let Some(open) = todo.pop() {
            let opened = asks_beside(open).map(|ask| (choose(held(open), ask, passthrough), 1));
            let closed = MODES.into_iter().map(|mode| (mode, -1));
            for (mode, by) in opened.chain(closed).collect::<HashSet<_>>() {
                let at = MODES.iter().position(|&other| other == mode).unwrap();
                let mut next = open;
                next[at] = next[at].saturating_add_signed(by).min(3);
                if seen.insert(next) {
                    todo.push(next);
                }
            }
        }
        seen
    }

    /// There is a registered file only while something is open through it.
    fn asks_beside(open: Open) -> impl Iterator<Item = Ask> {
        asks().filter(move |ask| ask.local != Local::Registered || held(open).through > 0)
    }

    #[test]
    fn the_kernel_accepts_every_choice_in_every_state() {
        for passthrough in [true, false] {
            let states = reachable(passthrough);
            assert!(states.len() >= 16, "only {} states", states.len());
            for open in states {
                for ask in asks_beside(open) {
                    let mode = choose(held(open), ask, passthrough);
                    for (&other, _) in MODES.iter().zip(open).filter(|&(_, count)| count > 0) {
                        // The same file, for it is kept until the last of these is closed.
                        assert!(kernel_accepts(other, mode, true), "{mode:?} for {ask:?} beside {open:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_kernel_accepts_every_choice_beside_every_single_mode() {
        for held_mode in MODES {
            let mut held = Held::default();
            held.add(held_mode);
            let through = matches!(held_mode, Mode::Through | Mode::ThroughDirect);
            for ask in asks().filter(|ask| ask.local != Local::Registered || through) {
                let mode = choose(held, ask, true);
                assert!(kernel_accepts(held_mode, mode, through), "{mode:?} for {ask:?} beside {held_mode:?}");
            }
        }
    }

    #[test]
    fn writers_never_bypass_us() {
        for (cached, direct, through) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)] {
            for ask in asks().filter(|ask| ask.write) {
                assert_ne!(choose(Held { cached, direct, through }, ask, true), Mode::Through);
            }
        }
    }

    #[test]
    fn only_whole_files_bypass_us() {
        for ask in asks().filter(|ask| ask.local == Local::Partial) {
            for through in [0, 1] {
                assert_ne!(choose(Held { through, ..Held::default() }, ask, true), Mode::Through);
            }
        }
    }

    #[test]
    fn versions_never_share_pages() {
        for ask in asks().filter(|ask| !ask.unchanged) {
            assert_ne!(choose(Held { cached: 1, ..Held::default() }, ask, true), Mode::Cached);
        }
    }

    #[track_caller]
    fn check(write: bool, size: u64, local: Local, passthrough: bool, expect: Mode) {
        assert_eq!(choose(Held::default(), Ask { write, size, local, unchanged: false }, passthrough), expect);
    }

    #[test]
    fn first_open_of_a_large_whole_file_is_passthrough() {
        check(false, THROUGH_MIN, Local::Whole, true, Mode::Through);
    }

    #[test]
    fn first_open_without_passthrough_is_cached() {
        check(false, THROUGH_MIN, Local::Whole, false, Mode::Cached);
    }

    #[test]
    fn first_open_of_a_small_file_is_cached() {
        check(false, THROUGH_MIN - 1, Local::Whole, true, Mode::Cached);
        check(false, THROUGH_MIN - 1, Local::Partial, true, Mode::Cached);
    }

    #[test]
    fn first_open_of_a_large_file_that_is_not_here_is_direct() {
        check(false, THROUGH_MIN, Local::Partial, true, Mode::Direct);
    }

    #[test]
    fn first_open_for_writing_is_cached() {
        check(true, THROUGH_MIN, Local::Whole, true, Mode::Cached);
    }
}
