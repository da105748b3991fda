//! Programs of an administrator that a mount runs.

use std::{
    io::{self, Read as _, Write as _},
    process::{Command, Stdio},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use super::group::Group;
use crate::cdn::purge::vendor::{Response, Secret};

/// How long one may take: less than the caller waits, so that none is left behind.
const RUN_MAX: Duration = Duration::from_secs(25);
/// Bytes of what it says that are kept; the rest is read and dropped.
const SAID_MAX: u64 = 4 << 10;
/// How long the end of what it said is waited for after its own end.
const SAID_WAIT: Duration = Duration::from_secs(1);
/// The variable in which it finds the secret, if there is one.
const TOKEN: &str = "ORIGINFS_TOKEN";
/// The exit code that stands for a signal.
const KILLED: u16 = 255;

/// Runs a program with `input` on its standard input, to its end. Its status is the exit code, its body what it said on
/// standard error. Blocks.
pub(super) fn run(words: &[String], input: &str, secret: &Secret) -> Result<Response, String> {
    let (program, arguments) = words.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    if !secret.expose().is_empty() {
        command.env(TOKEN, secret.expose());
    }
    let mut group = Group::spawn(&mut command).map_err(|err| format!("{program}: {err}"))?;
    let (stdin, stderr) = (group.program().stdin.take(), group.program().stderr.take());
    let input = input.to_owned();
    // A program that has heard enough is no failure: its exit code counts.
    thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes()).unwrap_or_default()));
    let (tell, told) = sync_channel(1);
    thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut pipe) = stderr {
            pipe.by_ref().take(SAID_MAX).read_to_end(&mut said).unwrap_or_default();
            io::copy(&mut pipe, &mut io::sink()).unwrap_or_default();
        }
        tell.send(String::from_utf8_lossy(&said).into_owned()).unwrap_or_default();
    });
    let status = group.end(RUN_MAX).map_err(|why| format!("{program}: {why}"))?;
    let status = status.code().and_then(|code| u16::try_from(code).ok()).unwrap_or(KILLED);
    // What it started may go on, and keep the pipe open.
    let body = told.recv_timeout(SAID_WAIT).unwrap_or_default();
    Ok(Response { status, retry_after: None, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn shell(script: &str, input: &str) -> Result<Response, String> {
        run(&["sh", "-c", script].map(str::to_owned), input, &Secret::new("hidden\n"))
    }

    #[test]
    fn it_reads_all_and_its_code_and_words_come_back() {
        let large = "line\n".repeat(100_000);
        let done = shell("wc -l >&2; exit 7", &large).unwrap();
        assert_eq!((done.status, done.body.trim()), (7, "100000"));
        assert_eq!(shell(r#"[ "$ORIGINFS_TOKEN" = hidden ]"#, "").unwrap().status, 0);
    }

    #[test]
    fn one_that_does_not_listen_or_talks_much_ends_all_the_same() {
        assert_eq!(shell("exit 0", &"x".repeat(1 << 20)).unwrap().status, 0);
        let done = shell("yes | head -c 1000000 >&2", "").unwrap();
        assert_eq!((done.status, done.body.len()), (0, 4096));
        assert_eq!(shell("kill -9 $$", "").unwrap().status, KILLED);
        let begun = clock::now();
        assert_eq!(shell("sleep 60 & exit 0", "").unwrap().status, 0);
        assert!(begun.elapsed() < RUN_MAX, "what it leaves behind keeps nobody waiting");
        assert!(run(&["/nonexistent".to_owned()], "", &Secret::default()).is_err());
    }
}
