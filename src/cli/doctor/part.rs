//! Checks that may hang, need other credentials or other rights: each is a process of its own, which gets one question
//! as JSON, answers with findings, and is killed when it takes too long.

use std::{
    env,
    ffi::CString,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use nix::unistd::{Gid, Uid, geteuid, initgroups, setgid, setuid};
use serde::{Deserialize, Serialize};

use super::{Failure, Target, User, options};
use crate::{
    config::{cdn::Cdn, words},
    doctor::{
        access, bucket,
        edge::{self, Look, Visitor},
        exposure::Expected,
        finding::{Finding, about},
    },
    mount::cdn::visit,
};

/// The hidden command of those processes.
pub(in crate::cli) const PART: &str = "doctor-part";

/// A mount answers at once, or after its own deadline of 30 s for one request.
const MOUNT_WAIT: Duration = Duration::from_secs(40);
/// All questions to a bucket, each with a deadline of its own.
const BUCKET_WAIT: Duration = Duration::from_mins(3);
/// Bytes of an answer: a hundred findings.
const ANSWER_MAX: u64 = 1 << 20;
/// Where services look for programs, such as credential processes.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A question.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    Mounted { subject: String, dir: PathBuf, kind: Option<String>, again: String },
    User { subject: String, dir: PathBuf, user: User, read_only: bool },
    Bucket { source: String, dir: Option<PathBuf>, options: String },
    Edge { source: String, dir: Option<PathBuf>, options: String, cdn: Vec<Cdn> },
}

/// Answers the question on `input`.
pub(in crate::cli) fn command(input: &mut impl Read, out: &mut impl Write) -> Result<(), Failure> {
    let mut text = String::new();
    input.take(ANSWER_MAX).read_to_string(&mut text).map_err(Failure::system)?;
    let question: Question = serde_json::from_str(&text).map_err(Failure::usage)?;
    let findings = match question {
        Question::Mounted { subject, dir, kind, again } => {
            vec![access::mounted(&subject, access::answers(&dir), kind.as_deref(), &again)]
        }
        Question::User { subject, dir, user, read_only } => {
            become_user(&user).map_err(Failure::system)?;
            vec![access::judge(&subject, &user, access::attempt(&dir, read_only || !user.writes))]
        }
        Question::Bucket { source, dir, options } => ask_bucket(&Target { source, dir, options, ..Target::default() })?,
        Question::Edge { source, dir, options, cdn } => {
            ask_edge(&Target { source, dir, options, cdn, ..Target::default() })?
        }
    };
    serde_json::to_writer(out, &findings).map_err(Failure::system)
}

fn become_user(user: &User) -> nix::Result<()> {
    if !geteuid().is_root() {
        return Ok(()); // the parent has made sure that it is this user already
    }
    let name = CString::new(user.name.as_str()).map_err(|_| nix::errno::Errno::EINVAL)?;
    initgroups(&name, Gid::from_raw(user.gid))?;
    setgid(Gid::from_raw(user.gid))?;
    setuid(Uid::from_raw(user.uid))
}

fn ask_bucket(target: &Target) -> Result<Vec<Finding>, Failure> {
    let subject = target.subject();
    let options = options(target).map_err(Failure::usage)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::system)?;
    let mut expected = Expected::of(target.dir.as_deref(), options.s3.acl.as_deref());
    if options.s3.withheld.is_all() {
        expected.private.get_or_insert_with(|| "exposure=private".to_owned());
    }
    let asked = runtime.spawn(async move { bucket::ask(&subject, &options, &expected).await });
    runtime.block_on(asked).map_err(Failure::system)
}

fn ask_edge(target: &Target) -> Result<Vec<Finding>, Failure> {
    let subject = target.subject();
    let options = options(target).map_err(Failure::usage)?;
    let cdn = target.cdn.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::system)?;
    let asked = runtime.spawn(async move { edge::ask(&subject, &options, &cdn, &Network).await });
    runtime.block_on(asked).map_err(Failure::system)
}

/// Whoever has a browser.
struct Network;

impl Visitor for Network {
    async fn look(
        &self,
        method: &'static str,
        url: &str,
        body: &'static str,
        page: Option<&str>,
    ) -> Result<Look, String> {
        let (status, headers, body) = visit(method, url, body, page).await?;
        Ok(Look { status, headers, body })
    }
}

/// Whether the mount answers.
pub(super) fn mounted(subject: &str, dir: &Path, kind: Option<String>, again: &str) -> Finding {
    let question = Question::Mounted { subject: subject.into(), dir: dir.into(), kind, again: again.into() };
    one(run(&question, &mut own(), MOUNT_WAIT), subject, "mounted")
}

/// What a user may do in the mount.
pub(super) fn user(subject: &str, dir: &Path, user: &User, read_only: bool) -> Finding {
    if !geteuid().is_root() && geteuid().as_raw() != user.uid {
        return about("web-user", subject).skipped(format!("only root can try what {} may do", user.name));
    }
    let question = Question::User { subject: subject.into(), dir: dir.into(), user: user.clone(), read_only };
    one(run(&question, &mut own(), MOUNT_WAIT), subject, "web-user")
}

/// What the bucket answers to the credentials of the mount.
pub(super) fn bucket(target: &Target) -> Vec<Finding> {
    let Target { source, dir, options, .. } = target.clone();
    match run(&Question::Bucket { source, dir, options }, &mut as_mount(target), BUCKET_WAIT) {
        Ok(findings) => findings,
        Err(Stopped::Late) => vec![about("endpoint", &target.subject()).failure(
            format!("the bucket has not answered all questions within {} s", BUCKET_WAIT.as_secs()),
            "a mount that is this slow makes every page wait",
            "look at the provider's state, and at the network to it",
        )],
        Err(Stopped::Failed(why)) => vec![about("endpoint", &target.subject()).skipped(why)],
    }
}

/// What visitors see of it.
pub(super) fn edge(target: &Target) -> Vec<Finding> {
    let Target { source, dir, options, cdn, .. } = target.clone();
    let skipped = |why: String| vec![about("cdn-reach", &target.subject()).skipped(why)];
    match run(&Question::Edge { source, dir, options, cdn }, &mut as_mount(target), BUCKET_WAIT) {
        Ok(findings) => findings,
        Err(Stopped::Late) => skipped(format!("not all was answered within {} s", BUCKET_WAIT.as_secs())),
        Err(Stopped::Failed(why)) => skipped(why),
    }
}

/// This program with the environment of a mount.
fn as_mount(target: &Target) -> Command {
    let mut command = own();
    if target.dir.is_some() {
        // Nothing of the terminal's environment is there when the mount is made.
        command.env_clear().env("PATH", PATH).env("HOME", env::var_os("HOME").unwrap_or("/root".into()));
        command.envs(target.env.iter().map(|(name, value)| (name, value)));
    }
    for word in words::split(&target.options).unwrap_or_default() {
        if let (Some(name), Some(value)) = (word.name.strip_prefix("env."), &word.value) {
            command.env(name, value);
        }
    }
    command
}

fn one(answer: Result<Vec<Finding>, Stopped>, subject: &str, check: &'static str) -> Finding {
    match answer {
        Ok(mut findings) if !findings.is_empty() => findings.remove(0),
        Err(Stopped::Late) => access::hangs(subject, check, MOUNT_WAIT.as_secs()),
        Err(Stopped::Failed(why)) => about(check, subject).skipped(why),
        Ok(_) => about(check, subject).skipped("no answer"),
    }
}

/// Why there is no answer.
#[derive(Debug)]
enum Stopped {
    Late,
    Failed(String),
}

/// This program again.
fn own() -> Command {
    let mut command = Command::new(env::current_exe().unwrap_or_else(|_| PathBuf::from("originfs")));
    command.arg(PART);
    command
}

fn run(question: &Question, command: &mut Command, wait: Duration) -> Result<Vec<Finding>, Stopped> {
    let failed = |err: &dyn std::fmt::Display| Stopped::Failed(format!("it could not be checked: {err}"));
    let text = serde_json::to_vec(question).map_err(|err| failed(&err))?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|err| failed(&err))?;
    let sent = child.stdin.take().expect("it was asked to be piped").write_all(&text);
    let mut stdout = child.stdout.take().expect("it was asked to be piped");
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut answer = Vec::new();
        let read = stdout.by_ref().take(ANSWER_MAX).read_to_end(&mut answer).map(|_| answer);
        // Nobody listens any more once the wait is over.
        sender.send(read).ok();
    });
    let answer = receiver.recv_timeout(wait);
    end(&mut child);
    sent.map_err(|err| failed(&err))?;
    match answer {
        Ok(Ok(answer)) => serde_json::from_slice(&answer).map_err(|err| failed(&err)),
        Ok(Err(err)) => Err(failed(&err)),
        Err(RecvTimeoutError::Timeout) => Err(Stopped::Late),
        Err(RecvTimeoutError::Disconnected) => Err(failed(&"its process ended")),
    }
}

/// Kills it if it still runs. One that hangs in the kernel for good is not waited for.
fn end(child: &mut Child) {
    if let Ok(None) = child.try_wait() {
        child.kill().ok();
    }
    child.try_wait().ok();
}
