//! `originfs invalidate`.

use std::io::{ErrorKind, Write};

use super::{
    Failure, InvalidateArgs,
    job::{Ended, Host},
};
use crate::telemetry::upkeep::{Done, Invalidated, Job};

pub(super) fn command(command: &InvalidateArgs, out: &mut impl Write) -> Result<(), Failure> {
    let target = Host::current()?.target(command.at.as_deref(), &command.paths)?;
    let job = Job::Invalidate { paths: target.paths.clone() };
    let done = match target.work(job, |_| ())? {
        Ended::Done(Done::Invalidated(done)) => done,
        Ended::Done(_) => return Err(Failure::system("the mount answered something else")),
        Ended::Interrupted => return Err(Failure::interrupted()),
    };
    let text = if command.json { serde_json::to_string_pretty(&done).map_err(Failure::system)? } else { text(&done) };
    match writeln!(out, "{text}") {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
    }
}

fn text(done: &Invalidated) -> String {
    let mut lines = vec![format!("{} names forgotten", done.names)];
    lines.extend(done.kept.iter().map(|path| format!("left as it is, because the bucket does not have it: {path}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_is_named() {
        let done = Invalidated { names: 3, kept: vec!["a/b".to_owned()] };
        assert_eq!(text(&done), "3 names forgotten\nleft as it is, because the bucket does not have it: a/b");
    }
}
