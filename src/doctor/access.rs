//! A mount as one user finds it: whether it answers, and what that user may do in it. To be run in a process of its own,
//! which may hang in the kernel and is then killed, and which gives up the rights of root for those of the user.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    process,
};

use nix::{errno::Errno, sys::statvfs::statvfs};

use super::{
    finding::{Finding, about, quoted},
    host::User,
};

/// The file that is created, and is gone again before it is closed, so that nothing of it comes into the bucket.
fn trial(dir: &Path) -> PathBuf {
    dir.join(format!("originfs-doctor-{}", process::id()))
}

/// What the first system call that failed was for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    Traverse,
    List,
    Create,
}

/// How far a user came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    pub step: Step,
    /// What it was done to.
    pub path: PathBuf,
    pub errno: Errno,
}

/// Asks the mount itself for numbers, which no cache of the kernel answers.
pub fn answers(dir: &Path) -> Result<(), Errno> {
    statvfs(dir).map(drop)
}

/// Judges [`answers`]. `mounted`: the type of the file system there, if it is a mount point; `again` mounts it.
pub fn mounted(subject: &str, answered: Result<(), Errno>, mounted: Option<&str>, again: &str) -> Finding {
    let on = about("mounted", subject);
    let down = quoted(subject);
    match (answered, mounted) {
        (Err(Errno::ENOTCONN | Errno::ECONNABORTED), _) => on.failure(
            "its process is gone (Transport endpoint is not connected)",
            "every access fails, and nothing that is written there is kept",
            format!("umount -l {down}; {again}"),
        ),
        (Ok(()), Some("fuse.originfs")) => on.ok("it is mounted and answers"),
        (Ok(()), Some(kind)) => on.failure(
            format!("something else is mounted there ({kind})"),
            "uploads go there and not into the bucket",
            format!("umount {down}; {again}"),
        ),
        (Ok(()), None) => on.failure(
            "it is not mounted",
            "uploads go to the local directory, where no other webserver sees them",
            again,
        ),
        (Err(Errno::ENOENT), _) => on.failure(
            "there is no such directory",
            "nothing can be mounted there",
            format!("mkdir -p {down}; {again}"),
        ),
        (Err(errno), _) => on.failure(
            format!("it does not answer: {}", errno.desc()),
            "programs that use it fail or wait",
            format!("originfs status {down} tells what it waits for; journalctl -t originfs"),
        ),
    }
}

/// The judgement if even the process that asked had to be killed.
pub fn hangs(subject: &str, check: &'static str, seconds: u64) -> Finding {
    let down = quoted(subject);
    about(check, subject).failure(
        format!("it does not answer within {seconds} s"),
        "each worker of PHP that touches it waits, until none is left",
        format!("originfs status {down} tells what it waits for; to give up what hangs: originfs umount --lazy {down}"),
    )
}

/// Goes through `dir` as the user that this process is.
pub fn attempt(dir: &Path, read_only: bool) -> Result<(), Attempt> {
    let failed = |step: Step, path: &Path| {
        let path = path.to_owned();
        move |err: io::Error| Attempt { step, path, errno: err.raw_os_error().map_or(Errno::EIO, Errno::from_raw) }
    };
    let above: Vec<&Path> = dir.ancestors().collect();
    for pair in above.windows(2).rev() {
        let [inner, outer] = pair else { continue };
        fs::metadata(inner).map_err(failed(Step::Traverse, outer))?;
    }
    // A name in the directory has to be looked up by somebody who may pass through it.
    let path = trial(dir);
    let taken = match fs::symlink_metadata(&path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => false,
        Err(err) => return Err(failed(Step::Traverse, dir)(err)),
        Ok(_) => true,
    };
    fs::read_dir(dir).and_then(|mut entries| entries.next().transpose()).map_err(failed(Step::List, dir))?;
    // What somebody else called so is not touched.
    if read_only || taken {
        return Ok(());
    }
    // Not exclusively: that would put an empty object into the bucket.
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(failed(Step::Create, dir))?;
    fs::remove_file(&path).map_err(failed(Step::Create, dir))?;
    drop(file);
    Ok(())
}

/// Judges [`attempt`].
pub fn judge(subject: &str, user: &User, attempt: Result<(), Attempt>) -> Finding {
    let on = about("web-user", subject);
    let User { name, uid, gid, writes } = user;
    let Err(Attempt { step, path, errno }) = attempt else {
        return on.ok(format!(
            "{name} may pass {}",
            if *writes { "and list, and create unless it is read-only" } else { "and list" }
        ));
    };
    let shown = path.display().to_string();
    let what = match step {
        Step::Traverse => "may not pass through",
        Step::List => "may not list",
        Step::Create => "may not create files in",
    };
    if !matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EROFS) {
        return on.failure(
            format!("{name} gets an error in {shown}: {}", errno.desc()),
            "PHP gets the same",
            format!("originfs status {}; journalctl -t originfs", quoted(subject)),
        );
    }
    let why = "uploads fail, or files are answered with 403";
    let message = format!("{name} {what} {shown}: {}", errno.desc());
    let fix = match (step, Path::new(subject) == path) {
        (Step::Traverse, false) => format!("chmod o+x {}", quoted(&shown)),
        (_, true) => {
            let modes =
                if *writes { format!("uid={uid},gid={gid}") } else { "dir_mode=0755,file_mode=0644".to_owned() };
            format!("{modes} in the options of the mount, and allow_other where root does not mount it")
        }
        (_, false) => format!("chown {uid}:{gid} {}", quoted(&shown)),
    };
    on.failure(message, why, fix)
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    fn user() -> User {
        User { name: "www-data".into(), uid: 33, gid: 33, writes: true }
    }

    #[test]
    fn a_mount_is_alive_dead_or_not_there() {
        for (answered, kind, expect, part) in [
            (Ok(()), Some("fuse.originfs"), Verdict::Ok, ""),
            (Ok(()), Some("fuse.s3fs"), Verdict::Failure, "umount /m; mount /m"),
            (Ok(()), None, Verdict::Failure, "mount /m"),
            (Err(Errno::ENOTCONN), Some("fuse.originfs"), Verdict::Failure, "umount -l /m; mount /m"),
            (Err(Errno::ENOENT), None, Verdict::Failure, "mkdir -p /m"),
            (Err(Errno::EIO), Some("fuse.originfs"), Verdict::Failure, "originfs status /m"),
        ] {
            let found = mounted("/m", answered, kind, "mount /m");
            assert_eq!(found.verdict, expect, "{found:?}");
            assert!(found.fix.unwrap_or_default().contains(part), "{answered:?}");
        }
        assert_eq!(hangs("/m", "mounted", 20).verdict, Verdict::Failure);
    }

    #[test]
    fn each_step_has_its_remedy() {
        let at = |step, path: &str, errno| judge("/m", &user(), Err(Attempt { step, path: path.into(), errno }));
        assert_eq!(judge("/m", &user(), Ok(())).verdict, Verdict::Ok);
        let reader = User { writes: false, ..user() };
        let closed = Attempt { step: Step::Traverse, path: "/m".into(), errno: Errno::EACCES };
        assert!(judge("/m", &reader, Err(closed)).fix.unwrap().starts_with("dir_mode=0755"));
        for (found, part) in [
            (at(Step::Traverse, "/home/x", Errno::EACCES), "chmod o+x /home/x"),
            (at(Step::Traverse, "/m", Errno::EACCES), "allow_other"),
            (at(Step::List, "/m", Errno::EACCES), "uid=33,gid=33"),
            (at(Step::Create, "/m", Errno::EROFS), "uid=33"),
            (at(Step::List, "/m", Errno::EIO), "originfs status /m"),
        ] {
            assert_eq!(found.verdict, Verdict::Failure);
            assert!(found.fix.as_deref().unwrap().contains(part), "{found:?}");
        }
    }

    #[test]
    fn a_directory_of_ones_own_is_passed_listed_and_left_as_it_was() {
        let dir = std::env::temp_dir().join(format!("originfs-doctor-access-{}", process::id()));
        fs::create_dir(&dir).unwrap();
        assert_eq!((answers(&dir), attempt(&dir, false)), (Ok(()), Ok(())));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        let missing = dir.join("none");
        assert_eq!(answers(&missing), Err(Errno::ENOENT));
        let failed = attempt(&missing, false).unwrap_err();
        assert_eq!((failed.step, failed.errno), (Step::Traverse, Errno::ENOENT));
        fs::remove_dir(dir).unwrap();
    }
}
