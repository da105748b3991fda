//! All findings, as text for people and as JSON for programs, and the exit code that they make.

use std::fmt::Write as _;

use serde::Serialize;

use super::finding::{Finding, HOST, Verdict};

/// The version of the JSON form: it changes if a program that reads it would have to.
const FORM: u32 = 1;

/// What `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The form of this document.
    version: u32,
    /// The worst verdict; what was skipped counts as ok.
    verdict: Verdict,
    counts: Counts,
    findings: Vec<Finding>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
struct Counts {
    ok: usize,
    skipped: usize,
    warning: usize,
    failure: usize,
}

impl Report {
    pub fn new(findings: Vec<Finding>) -> Self {
        let mut counts = Counts::default();
        for finding in &findings {
            *match finding.verdict {
                Verdict::Ok => &mut counts.ok,
                Verdict::Skipped => &mut counts.skipped,
                Verdict::Warning => &mut counts.warning,
                Verdict::Failure => &mut counts.failure,
            } += 1;
        }
        let worst = findings.iter().map(|finding| finding.verdict).filter(|&verdict| verdict > Verdict::Skipped).max();
        Self { version: FORM, verdict: worst.unwrap_or(Verdict::Ok), counts, findings }
    }

    /// 0 all well, 1 warnings, 2 failures. What could not be checked is neither.
    pub fn code(&self) -> u8 {
        match self.verdict {
            Verdict::Ok | Verdict::Skipped => 0,
            Verdict::Warning => 1,
            Verdict::Failure => 2,
        }
    }

    /// One line for each finding, below the subject that it is about; why and how below those that ask for something.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut subjects: Vec<&str> = Vec::new();
        for finding in &self.findings {
            if !subjects.contains(&finding.subject.as_str()) {
                subjects.push(&finding.subject);
            }
        }
        // What concerns all mounts comes last, as the smaller part of most reports.
        subjects.sort_by_key(|&subject| subject == HOST);
        for subject in subjects {
            writeln!(text, "{subject}").expect("a string takes everything");
            for finding in self.findings.iter().filter(|finding| finding.subject == subject) {
                line(&mut text, finding);
            }
            text.push('\n');
        }
        let Counts { ok, skipped, warning, failure } = self.counts;
        write!(text, "{failure} failures, {warning} warnings, {ok} ok, {skipped} skipped")
            .expect("a string takes everything");
        text
    }
}

fn line(text: &mut String, finding: &Finding) {
    let word = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Skipped => "skipped",
        Verdict::Warning => "warning",
        Verdict::Failure => "failure",
    };
    writeln!(text, "  {word:<8} {:<18} {}", finding.check, finding.message).expect("a string takes everything");
    if let Some(why) = &finding.why {
        writeln!(text, "           why: {why}").expect("a string takes everything");
    }
    if let Some(fix) = &finding.fix {
        let fix = fix.replace('\n', "\n                ");
        writeln!(text, "           fix: {fix}").expect("a string takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::about, *};

    #[test]
    fn the_worst_verdict_is_the_exit_code() {
        let on = about("a", "/m");
        for (findings, code) in [
            (vec![], 0),
            (vec![on.ok("x"), on.skipped("x")], 0),
            (vec![on.ok("x"), on.warning("x", "y", "z")], 1),
            (vec![on.failure("x", "y", "z"), on.warning("x", "y", "z")], 2),
        ] {
            assert_eq!(Report::new(findings).code(), code);
        }
    }

    #[test]
    fn text_is_grouped_and_the_host_comes_last() {
        let report = Report::new(vec![
            about("kernel", HOST).ok("Linux 6.12"),
            about("mounted", "/m").failure("dead", "nothing works", "umount -l /m\nmount /m"),
            about("order", "/m").skipped("no systemd"),
        ]);
        let expect = "/m
  failure  mounted            dead
           why: nothing works
           fix: umount -l /m
                mount /m
  skipped  order              no systemd

host
  ok       kernel             Linux 6.12

1 failures, 0 warnings, 1 ok, 1 skipped";
        assert_eq!(report.text(), expect);
    }

    #[test]
    fn the_form_for_programs_is_stable() {
        let report = Report::new(vec![about("order", "/m").warning("a", "b", "c"), about("kernel", HOST).ok("d")]);
        let expect = serde_json::json!({
            "version": 1,
            "verdict": "warning",
            "counts": {"ok": 1, "skipped": 0, "warning": 1, "failure": 0},
            "findings": [
                {"check": "order", "subject": "/m", "verdict": "warning", "message": "a", "why": "b", "fix": "c"},
                {"check": "kernel", "subject": "host", "verdict": "ok", "message": "d", "why": null, "fix": null},
            ],
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), expect);
    }
}
