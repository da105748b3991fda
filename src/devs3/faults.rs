//! What breaks: rules in the order they were made, and the log of requests that they are judged by.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Requests that the log keeps, oldest dropped first: at ~100 bytes each, 10 MiB. The counters go on.
const LOG_MAX: usize = 100_000;

/// When something happens, and what.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// A call of the S3 API, as `GetObject`; any call if it is not given.
    #[serde(default)]
    op: Option<String>,
    /// Only this bucket; any if it is not given.
    #[serde(default)]
    bucket: Option<String>,
    /// Only keys that start so.
    #[serde(default)]
    prefix: String,
    /// Matching requests that pass first.
    #[serde(default)]
    skip: u64,
    /// Requests that it strikes then; all of them if it is not given.
    #[serde(default)]
    times: Option<u64>,
    /// Of those, it strikes one in so many; each if it is not given.
    #[serde(default)]
    every: Option<u64>,
    action: Action,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Action {
    /// Waits so many milliseconds.
    Latency(u64),
    /// Answers this HTTP status.
    Fail { status: u16, side: Side },
    /// Closes the connection without an answer.
    Drop(Side),
    /// Never answers, and keeps the connection.
    Blackhole(Side),
    /// Waits until the rules are removed.
    Freeze,
    /// Closes the connection after so many bytes of the answer's body.
    Cut(u64),
    /// Lies, as no server may.
    Lie(Lie),
}

/// What a client cannot see from the answer alone. Tests of tests need it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lie {
    /// GET, HEAD and LIST answer from the state before the last write of each key, as far as it was made since the
    /// first such rule.
    Stale,
    /// A PUT is confirmed and forgotten.
    Lost,
    /// GET gives the first half of the version before with the second half of the one that is there.
    Mixed,
}

/// On which side of the effect.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Side {
    Before,
    After,
}

/// A way not to answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Break {
    Fail(u16),
    Drop,
    Blackhole,
}

/// What happens to one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate {
    pub(crate) number: u64,
    pub(crate) latency: Duration,
    pub(crate) freeze: bool,
    pub(crate) before: Option<Break>,
    pub(crate) after: Option<Break>,
    pub(crate) cut: Option<u64>,
    pub(crate) lie: Option<Lie>,
}

/// A request in the log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    /// Counted from the start of the server.
    number: u64,
    op: String,
    bucket: String,
    key: String,
    /// The status of the answer; missing while there is none.
    status: Option<u16>,
}

/// The log and the counters since they were cleared.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Log {
    counts: BTreeMap<String, u64>,
    requests: VecDeque<Entry>,
}

#[derive(Debug)]
pub(crate) struct Faults {
    state: Mutex<State>,
    /// How often the rules were removed.
    thaws: watch::Sender<u64>,
    /// Some rule needs the versions before.
    remembers: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    log: Log,
    requests: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { state: Mutex::default(), thaws: watch::Sender::new(0), remembers: Arc::default() }
    }
}

impl Faults {
    pub(crate) fn add(&self, rule: Rule) {
        if matches!(rule.action, Action::Lie(_)) {
            self.remembers.store(true, Ordering::Relaxed);
        }
        self.state().rules.push(rule);
    }

    /// Whether versions that were replaced are to be kept: from the first rule on that needs them.
    pub(crate) fn remembers(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.remembers)
    }

    pub(crate) fn rules(&self) -> Vec<Rule> {
        self.state().rules.clone()
    }

    /// Removes all rules; what is frozen goes on.
    pub(crate) fn clear(&self) {
        self.state().rules.clear();
        self.thaws.send_modify(|thaws| *thaws += 1);
    }

    /// To wait for the next [`Self::clear`].
    pub(crate) fn thaws(&self) -> watch::Receiver<u64> {
        self.thaws.subscribe()
    }

    pub(crate) fn log(&self) -> Log {
        self.state().log.clone()
    }

    /// Calls by name, as in the log.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.state().log.counts.clone()
    }

    pub(crate) fn clear_log(&self) {
        self.state().log = Log::default();
    }

    /// Logs a request and decides about it.
    pub(crate) fn enter(&self, op: &str, bucket: &str, key: &str) -> Fate {
        let mut state = self.state();
        state.requests += 1;
        let number = state.requests;
        let log = &mut state.log;
        *log.counts.entry(op.to_owned()).or_default() += 1;
        if log.requests.len() == LOG_MAX {
            log.requests.pop_front();
        }
        let text = str::to_owned;
        log.requests.push_back(Entry { number, op: text(op), bucket: text(bucket), key: text(key), status: None });
        let mut fate = Fate { number, ..Fate::default() };
        for rule in &mut state.rules {
            if rule.strikes(op, bucket, key) {
                fate.suffer(&rule.action);
            }
        }
        state.rules.retain(|rule| rule.times != Some(0));
        fate
    }

    /// Logs the answer of a request.
    pub(crate) fn answered(&self, number: u64, status: u16) {
        let mut state = self.state();
        let found = state.log.requests.binary_search_by_key(&number, |entry| entry.number);
        if let Ok(index) = found {
            state.log.requests[index].status = Some(status);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a panic left the rules half-changed")
    }
}

impl Rule {
    fn strikes(&mut self, op: &str, bucket: &str, key: &str) -> bool {
        let other = |only: &Option<String>, this| only.as_deref().is_some_and(|only| only != this);
        if other(&self.op, op) || other(&self.bucket, bucket) || !key.starts_with(&self.prefix) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some(every) = self.every {
            // The next one passes until it is the turn again.
            self.skip = every.saturating_sub(1);
        }
        match &mut self.times {
            Some(0) => false,
            Some(times) => {
                *times -= 1;
                true
            }
            None => true,
        }
    }
}

impl Fate {
    fn suffer(&mut self, action: &Action) {
        let (side, broken) = match *action {
            Action::Latency(ms) => return self.latency += Duration::from_millis(ms),
            Action::Freeze => return self.freeze = true,
            Action::Cut(bytes) => return self.cut = Some(bytes),
            Action::Lie(lie) => return self.lie = Some(lie),
            Action::Fail { status, side } => (side, Break::Fail(status)),
            Action::Drop(side) => (side, Break::Drop),
            Action::Blackhole(side) => (side, Break::Blackhole),
        };
        match side {
            Side::Before => self.before = Some(broken),
            Side::After => self.after = Some(broken),
        }
    }
}
