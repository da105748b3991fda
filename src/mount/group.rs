//! Programs of an administrator, with all that they start.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::clock;

/// Between looks whether it has ended.
const STEP: Duration = Duration::from_millis(20);

/// A process group: a program, and what it started and did not put into a group of its own.
#[derive(Debug)]
pub(super) struct Group(Child);

impl Group {
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        command.process_group(0).spawn().map(Self)
    }

    /// The program itself.
    pub(super) fn program(&mut self) -> &mut Child {
        &mut self.0
    }

    /// Waits until the program ends; what it started may go on. Past `limit` all are killed. An error is one line. Blocks.
    pub(super) fn end(mut self, limit: Duration) -> Result<ExitStatus, String> {
        let deadline = clock::now() + limit;
        loop {
            match self.0.try_wait().map_err(|err| err.to_string())? {
                Some(status) => return Ok(status),
                None if clock::now() < deadline => thread::sleep(STEP),
                None => break,
            }
        }
        // It has not been waited for, so the number is still that of its group and nobody else's.
        let group = i32::try_from(self.0.id()).map_err(|err| err.to_string())?;
        killpg(Pid::from_raw(group), Signal::SIGKILL).map_err(|err| err.to_string())?;
        self.0.wait().map_err(|err| err.to_string())?;
        Err(format!("it did not end within {} s", limit.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::Stdio,
        sync::mpsc::sync_channel,
    };

    use super::*;

    fn shell(script: &str) -> Group {
        Group::spawn(Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::piped())).unwrap()
    }

    /// Until nobody can write into the pipe any more.
    fn rest(mut pipe: impl io::Read + Send + 'static) -> Option<String> {
        let (tell, told) = sync_channel(1);
        thread::spawn(move || {
            let mut rest = String::new();
            tell.send(pipe.read_to_string(&mut rest).map(|_| rest)).unwrap_or_default();
        });
        told.recv_timeout(Duration::from_secs(20)).ok().and_then(Result::ok)
    }

    #[test]
    fn what_takes_too_long_is_killed_with_all_that_it_started() {
        let mut group = shell("(sleep 300; echo on) & (echo begun; sleep 300; echo on) & wait");
        let mut pipe = BufReader::new(group.program().stdout.take().unwrap());
        let mut line = String::new();
        pipe.read_line(&mut line).unwrap();
        let why = group.end(Duration::from_millis(1)).unwrap_err();
        assert_eq!(
            (line.trim(), why.as_str(), rest(pipe).as_deref()),
            ("begun", "it did not end within 0 s", Some(""))
        );
    }

    #[test]
    fn what_it_leaves_behind_goes_on_where_it_ends_in_time() {
        let mut group = shell("(read -r line <&3; echo late) 3</dev/null & exit 7");
        let pipe = group.program().stdout.take().unwrap();
        assert_eq!(group.end(Duration::from_secs(20)).unwrap().code(), Some(7));
        assert_eq!(rest(pipe).as_deref(), Some("late\n"));
    }
}
