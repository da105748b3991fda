//! `originfs warm`.

use std::{
    io::{ErrorKind, Write},
    time::Duration,
};

use indicatif::{HumanBytes, HumanDuration};
use serde_json::json;

use super::{
    Failure, WarmArgs,
    job::{Ended, Host},
    progress::{Progress, Unit},
};
use crate::{
    clock, config,
    fs::{Warmed, Wish},
    telemetry::upkeep::{Done, Job},
};

pub(super) fn command(command: &WarmArgs, out: &mut impl Write) -> Result<(), Failure> {
    let rate = config::bytes(&command.rate).filter(|rate| *rate > 0);
    let rate = rate.ok_or_else(|| Failure::usage("--rate: a size such as 32MiB was expected"))?;
    let target = Host::current()?.target(command.at.as_deref(), &command.patterns)?;
    let wish = Wish { patterns: target.paths.clone(), metadata: command.metadata, rate, jobs: command.jobs.into() };
    let unit = if command.metadata { Unit::Files } else { Unit::Bytes };
    let progress = if command.json { Progress::none() } else { Progress::start("warm", unit) };
    let (begun, mut last) = (clock::now(), Warmed::default());
    let ended = target.work(Job::Warm(wish), |warmed| {
        show(&progress, unit, warmed);
        if let (0, Some(why)) = (last.failed, &warmed.why) {
            progress.say(why);
        }
        last = warmed.clone();
    });
    let interrupted = match ended {
        Ok(Ended::Done(Done::Warmed(warmed))) => {
            show(&progress, unit, &warmed);
            last = warmed;
            false
        }
        Ok(Ended::Done(_)) => return Err(Failure::system("the mount answered something else")),
        Ok(Ended::Interrupted) => true,
        Err(failure) => {
            progress.finish();
            return Err(failure);
        }
    };
    progress.finish();
    let spent = clock::now().saturating_duration_since(begun);
    let text = if command.json {
        let mut all = serde_json::to_value(&last).map_err(Failure::system)?;
        all["interrupted"] = json!(interrupted);
        serde_json::to_string_pretty(&all).map_err(Failure::system)?
    } else {
        text(&last, spent)
    };
    match writeln!(out, "{text}") {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => return Err(Failure::system(err)),
        _ => {}
    }
    match (&last.why, interrupted) {
        (_, true) => Err(Failure::interrupted()),
        (Some(why), false) if last.stopped => Err(Failure::system(format!("gave up: {why}"))),
        (Some(why), false) => Err(Failure::system(format!("{} failed: {why}", last.failed))),
        (None, false) => Ok(()),
    }
}

fn show(progress: &Progress, unit: Unit, warmed: &Warmed) {
    let (done, found) = match unit {
        Unit::Files => (warmed.done, warmed.found),
        Unit::Bytes => (warmed.done_bytes, warmed.found_bytes),
    };
    if warmed.listed {
        progress.total(found);
    }
    let mut note = if unit == Unit::Bytes { format!("{} files", warmed.done) } else { String::new() };
    if warmed.failed > 0 {
        note = format!("{note}{}{} failed", if note.is_empty() { "" } else { ", " }, warmed.failed);
    }
    progress.note(&note);
    progress.at(done);
}

fn text(warmed: &Warmed, spent: Duration) -> String {
    if warmed.listed && warmed.found == 0 && warmed.failed == 0 {
        return "nothing matches".to_owned();
    }
    let fetched = HumanBytes(warmed.fetched_bytes);
    let mut lines =
        vec![format!("{} of {} files, {fetched} fetched in {}", warmed.done, warmed.found, { HumanDuration(spent) })];
    if warmed.left_out > 0 {
        lines.push(format!("{} files left out: the cache has no room that nothing else takes", warmed.left_out));
    }
    if warmed.not_remembered > 0 {
        lines.push(format!("{} names not remembered: the mount remembers no more of them", warmed.not_remembered));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_tells_what_was_left_out() {
        let warmed = Warmed { found: 5, done: 5, fetched_bytes: 2048, left_out: 2, ..Warmed::default() };
        let expect = "5 of 5 files, 2.00 KiB fetched in 3 seconds\n2 files left out: the cache has no room that nothing \
                      else takes";
        assert_eq!(text(&warmed, Duration::from_secs(3)), expect);
        assert_eq!(text(&Warmed { listed: true, ..Warmed::default() }, Duration::ZERO), "nothing matches");
    }
}
