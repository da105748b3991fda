//! Starting a mount in the background: the parent waits until the child says that it answers, or ends.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Failure;
use crate::telemetry::ready;

/// Starts `command`, which says [`ready::WORD`] on its stdout, and waits at most `wait` for that. Its stderr is ours,
/// so its errors are said by itself; its exit code becomes ours.
pub(super) fn start(mut command: Command, wait: Duration) -> Result<(), Failure> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|err| Failure::system(format!("cannot start the background process: {err}")))?;
    let stdout = child.stdout.take().expect("it was asked to be piped");
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        // Nobody listens any more once the wait is over.
        sender.send(lines.any(|line| line == ready::WORD)).ok();
    });
    match receiver.recv_timeout(wait) {
        Ok(true) => Ok(()),
        Ok(false) | Err(RecvTimeoutError::Disconnected) => Err(ended(child)),
        Err(RecvTimeoutError::Timeout) => {
            // It is not reaped, so the number is still its own.
            let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id fits pid_t"));
            kill(pid, Signal::SIGTERM).ok();
            Err(Failure::mount(format!("the mount did not answer within {} s", wait.as_secs())))
        }
    }
}

fn ended(mut child: Child) -> Failure {
    let status = match child.wait() {
        Ok(status) => status,
        Err(err) => return Failure::system(err),
    };
    explain(status)
}

fn explain(status: ExitStatus) -> Failure {
    match (status.code().map(u8::try_from), status.signal()) {
        (Some(Ok(code)), _) if code != 0 => Failure { code, message: None },
        (_, Some(signal)) => Failure::mount(format!("the background process was killed by signal {signal}")),
        _ => Failure::mount("the background process ended before the mount answered"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough that only a hang takes it.
    const WAIT: Duration = Duration::from_secs(20);

    fn shell(script: &str, wait: Duration) -> Result<(), (u8, Option<String>)> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        start(command, wait).map_err(|failure| (failure.code, failure.message))
    }

    #[test]
    fn ready_ends_the_wait_and_not_the_child() {
        let marker = std::env::temp_dir().join(format!("originfs-background-{}", std::process::id()));
        let script = format!("echo noise; echo ready; exec >/dev/null; read x; touch {}", marker.display());
        assert_eq!(shell(&script, WAIT), Ok(()));
        let deadline = crate::clock::now() + WAIT;
        while !marker.exists() {
            assert!(crate::clock::now() < deadline, "the child did not go on");
            thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(marker).unwrap();
    }

    #[test]
    fn the_childs_code_is_ours() {
        assert_eq!(shell("exit 32", WAIT), Err((32, None)));
        let early = "the background process ended before the mount answered".to_owned();
        assert_eq!(shell("true", WAIT), Err((32, Some(early))));
        let killed = "the background process was killed by signal 9".to_owned();
        assert_eq!(shell("kill -9 $$", WAIT), Err((32, Some(killed))));
    }

    #[test]
    fn a_mount_that_never_answers_is_given_up() {
        let late = "the mount did not answer within 0 s".to_owned();
        assert_eq!(shell("exec sleep 600", Duration::from_millis(50)), Err((32, Some(late))));
    }
}
