//! Processes, started by a shell that was there before any test opened a file.
//!
//! A fork of the test process itself would hold copies of all its open files for a moment, and closing them is a
//! flush of each: it would upload what other tests are still writing, and hang where they made the bucket hang.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{self, ChildStdin, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::eventually;

/// Every line is a command to run in the background, see [`quoted`]. At the end of this process, however it ends, so do
/// they.
const SHELL: &str = r#"while read -r line; do eval "$line" & done; kill $(jobs -p); wait; rm -rf "$DATA""#;

/// Its parts: the directory, then the command. Writes down who it is, and how it ended.
const PROCESS: &str = concat!(
    "trap 'kill $child' TERM; ",
    r#"sh -c 'echo $$ >"$0/new"; mv "$0/new" "$0/pid"; exec setpriv --pdeathsig TERM "$@"' "$@" >"$1/out" 2>&1 </dev/null & "#,
    r#"child=$!; wait $child; echo $? >"$1/new"; mv "$1/new" "$1/status""#,
);

/// A process that was started, and maybe ended.
#[derive(Debug)]
pub(crate) struct Process {
    /// Its own files are here: `out`, `pid`, `status`.
    dir: PathBuf,
    pid: Pid,
}

/// Starts the shell, unless it runs. To be called before any file of a mount is open; gives the directory that is
/// removed when this process ends.
pub(crate) fn prepare() -> &'static Path {
    &shell().0
}

fn shell() -> &'static (PathBuf, Mutex<ChildStdin>) {
    static STARTED: OnceLock<(PathBuf, Mutex<ChildStdin>)> = OnceLock::new();
    STARTED.get_or_init(start_shell)
}

#[expect(clippy::zombie_processes, reason = "it ends with this process, which therefore cannot wait for it")]
fn start_shell() -> (PathBuf, Mutex<ChildStdin>) {
    let data = env::temp_dir().join(format!("originfs-test-{}", process::id()));
    fs::create_dir(&data).unwrap();
    let mut shell = Command::new("bash")
        .args(["-c", SHELL])
        .env("DATA", &data)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    (data, Mutex::new(shell.stdin.take().unwrap()))
}

/// A directory of this test process and nobody else's.
pub(crate) fn fresh_dir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let dir = prepare().join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
    fs::create_dir(&dir).unwrap();
    dir
}

/// Starts `command` and returns when it has a process id.
pub(crate) fn start<'a>(command: impl IntoIterator<Item = &'a str>) -> Process {
    let dir = fresh_dir();
    let command: String = command.into_iter().map(quoted).collect();
    let command = quoted(dir.to_str().unwrap()) + &command;
    let line = format!("exec bash -c{} bash{command}\n", quoted(PROCESS));
    shell().1.lock().unwrap().write_all(line.as_bytes()).unwrap();
    let mut pid = None;
    eventually("the process starts", || {
        pid = fs::read_to_string(dir.join("pid")).ok();
        pid.is_some()
    });
    Process { dir, pid: Pid::from_raw(pid.unwrap().trim().parse().unwrap()) }
}

/// A word for bash, on one line.
fn quoted(word: &str) -> String {
    format!(" $'{}'", word.replace('\\', r"\\").replace('\'', r"\'").replace('\n', r"\n"))
}

/// Runs `command` to its end; gives its exit code and all that it said.
pub(crate) fn run<'a>(command: impl IntoIterator<Item = &'a str>) -> (i32, String) {
    let process = start(command);
    (process.wait(), process.said())
}

impl Process {
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// What it wrote to stdout and stderr.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("out")).unwrap()).into_owned()
    }

    /// `http://127.0.0.1:PORT`, once it said a whole line with that: a server does.
    pub(crate) fn address(&self) -> Option<String> {
        let said = self.said();
        let (lines, _) = said.rsplit_once('\n')?;
        let at = lines.find("127.0.0.1:")?;
        let port: String = lines[at + 10..].chars().take_while(char::is_ascii_digit).collect();
        (!port.is_empty()).then(|| format!("http://127.0.0.1:{port}"))
    }

    /// The exit code, 128 and the number of the signal that killed it, or `None` while it runs.
    pub(crate) fn ended(&self) -> Option<i32> {
        fs::read_to_string(self.dir.join("status")).ok().map(|status| status.trim().parse().unwrap())
    }

    /// Waits for its end.
    pub(crate) fn wait(&self) -> i32 {
        eventually("the process ends", || self.ended().is_some());
        self.ended().unwrap()
    }

    /// Does nothing to a process that ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.ended().is_none() {
            kill(self.pid, signal).unwrap_or_default();
        }
    }
}

#[test]
fn words_come_to_a_process_as_they_are() {
    let words = ["two\nlines\n", r"it's \n $HOME `id` \", " ", "", "\u{e4}\t\""];
    let said = run(["printf", "<%s>"].into_iter().chain(words));
    assert_eq!(said, (0, words.map(|word| format!("<{word}>")).concat()));
}
