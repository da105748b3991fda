//! What was done, for people and for programs.

use serde::Serialize;

use crate::apps::plan::Plan;

/// What became of something, or would.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Unchanged,
    Created,
    Changed,
    Removed,
    Enabled,
    Disabled,
    Mounted,
    Failed,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Mounted => "mounted",
            Self::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Step {
    state: State,
    /// `bucket`, `directory`, `file`, `unit`, `mount`.
    what: &'static str,
    name: String,
    /// The cause of a failure with its fix, or what is still to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// All steps, in their order.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Nothing was done; the states are those that there would be.
    dry_run: bool,
    changed: usize,
    failed: usize,
    steps: Vec<Step>,
    ignored: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    pub(super) fn new(dry_run: bool, plan: &Plan) -> Self {
        let (ignored, warnings) = (plan.ignored.clone(), plan.warnings.clone());
        Self { dry_run, changed: 0, failed: 0, steps: Vec::new(), ignored, warnings }
    }

    pub(super) fn add(&mut self, state: State, what: &'static str, name: impl Into<String>) {
        self.push(Step { state, what, name: name.into(), note: None });
    }

    pub(super) fn note(&mut self, state: State, what: &'static str, name: impl Into<String>, note: impl Into<String>) {
        self.push(Step { state, what, name: name.into(), note: Some(note.into()) });
    }

    fn push(&mut self, step: Step) {
        match step.state {
            State::Unchanged => {}
            State::Failed => self.failed += 1,
            _ => self.changed += 1,
        }
        self.steps.push(step);
    }

    /// One line for the first failure.
    pub(super) fn failure(&self) -> Option<String> {
        let first = self.steps.iter().find(|step| step.state == State::Failed)?;
        Some(format!("{} {}: {}", first.what, first.name, first.note.as_deref().unwrap_or("it failed")))
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    pub(super) fn text(&self) -> String {
        let mut lines = Vec::new();
        for Step { state, what, name, note } in &self.steps {
            lines.push(format!("{:<10} {what:<9} {name}", state.word()));
            lines.extend(note.iter().map(|note| format!("           {note}")));
        }
        for (word, list) in [("ignored", &self.ignored), ("warning", &self.warnings)] {
            lines.extend(list.iter().map(|line| format!("{word}: {line}")));
        }
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        lines.push(match (self.changed, self.dry_run) {
            (0, _) if self.failed == 0 => "all of it was there already, nothing is changed".to_owned(),
            (changed, true) => format!("{changed} to change{failed}; nothing was done (--dry-run)"),
            (changed, false) => format!("{changed} changed{failed}"),
        });
        lines.join("\n")
    }
}
