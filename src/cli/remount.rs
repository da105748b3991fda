//! `mount -o remount`: a mount that lives changes between `ro` and `rw`, and nothing else.

use std::{path::Path, time::Duration};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
};

use super::{Failure, asked::Asked, place};
use crate::{
    config::words::Word,
    mount::{self as mounts, TYPE},
    telemetry::control,
};

/// A mount answers from memory; one that does not within this is not waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Everything written is in the bucket by then: the kernel refuses `ro` while files are open for writing.
pub(super) fn command(asked: &Asked) -> Result<(), Failure> {
    let shown = asked.dir.display();
    let dir = place::resolve(&asked.dir).map_err(|err| Failure::usage(format!("{shown}: {err}")))?;
    if mounts::kind_at(&dir).map_err(Failure::system)?.as_deref() != Some(TYPE) {
        return Err(Failure::mount(format!("{shown} is no mount of originfs")));
    }
    let read_only = read_only(&asked.words);
    if !read_only && refuses_changes(&dir) {
        return Err(Failure::mount(format!("{shown} was mounted with ro: unmount it, and mount it with rw")));
    }
    // What is not given again is lost.
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    flags.set(MsFlags::MS_RDONLY, read_only);
    mount(None::<&str>, &dir, None::<&str>, flags, None::<&str>).map_err(|errno| match errno {
        Errno::EBUSY => Failure::mount(format!("{shown}: files are open for writing (see fuser -vm {shown})")),
        errno => Failure::mount(format!("cannot remount {shown}: {}", errno.desc())),
    })
}

/// The last word counts.
fn read_only(words: &[Word]) -> bool {
    let means = |word: &Word| match word.normal().as_str() {
        "ro" | "read_only" => Some(word.value.as_deref() != Some("false")),
        "rw" => Some(false),
        _ => None,
    };
    words.iter().rev().find_map(means).unwrap_or(false)
}

fn refuses_changes(dir: &Path) -> bool {
    let status = control::directory().and_then(|sockets| control::ask(&control::path(&sockets, dir), ANSWER_WAIT));
    status.is_ok_and(|status| status.mount.read_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        for (words, expect) in [("rw,remount", false), ("rw,ro", true), ("read-only,rw", false), ("uid=33", false)] {
            let words = crate::config::words::split(words).unwrap();
            assert_eq!(read_only(&words), expect, "{words:?}");
        }
    }
}
