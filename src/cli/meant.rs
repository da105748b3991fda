//! The mount that a command beside it is about: adoption and `headers apply` work on its bucket with its options.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
};

use super::{Failure, asked, cdn, complain, mount, place};
use crate::{
    config::{
        Options, Unknown,
        words::{self, Word},
    },
    doctor::{
        files::Disk,
        targets::{self, Target},
    },
};

/// How a command line names a mount.
#[derive(Debug, clap::Args)]
pub(super) struct Place {
    #[arg(
        value_names = ["SOURCE] [DIR", "DIR"],
        num_args = 1..=2,
        required = true,
        help = "The bucket as for `mount`, and the directory. Without the bucket both it and the options are those that \
                fstab or /etc/originfs has for the directory"
    )]
    names: Vec<OsString>,
    /// Options of the mount
    #[arg(short, value_name = "NAME=VALUE,...")]
    options: Vec<String>,
    /// Where fstab and /etc/originfs are
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// A mount that a command is about, whether it is mounted or not.
pub(super) struct Meant {
    pub(super) source: String,
    pub(super) dir: PathBuf,
    /// As they were given: a file that they name is not read in.
    pub(super) words: Vec<Word>,
    pub(super) options: Options,
}

/// Source, directory and options of the mount that is named, by its directory or by what `mount` takes. Without a source
/// they are those of the configuration. `args`: this process, which may have to start again.
pub(super) fn meant(args: &[OsString], Place { names, options: given, root }: &Place) -> Result<Meant, Failure> {
    let (source, dir) = match &names[..] {
        [dir] => (None, dir),
        [source, dir] => (Some(source), dir),
        _ => return Err(Failure::usage("a directory is needed")),
    };
    let dir = mount::mountpoint(Path::new(dir))?;
    let mut words = Vec::new();
    let (source, env) = if let Some(source) = source {
        (source.to_string_lossy().into_owned(), Vec::new())
    } else {
        let found = configured(&dir, root).ok_or_else(|| {
            Failure::usage(format!("neither fstab nor /etc/originfs has a mount of {}", dir.display()))
        })?;
        words.extend(words::split(&found.options).map_err(Failure::usage)?);
        (found.source, found.env)
    };
    mount::add(&mut words, given)?;
    let asked = asked::complete(Some(&source), Some(&dir), words.clone())?;
    let source = asked.source;
    // As for mount(8): fstab has words for others, too.
    let mut parsed = mount::prepare(&source, &dir, &asked.words, Unknown::Warn)?;
    parsed.options.cdn = asked.cdn;
    cdn::check(&parsed.options)?;
    parsed.env.extend(env);
    let wanted = mount::environment(&parsed.env);
    if !wanted.is_empty() {
        // Setting variables is not safe once there are threads.
        let err = mount::again(args)?.envs(wanted).exec();
        return Err(Failure::system(format!("cannot start again: {err}")));
    }
    mount::warn(&parsed.warnings);
    Ok(Meant { source, dir, words, options: parsed.options })
}

/// What the configuration below `root` says about `dir`, an absolute path without links.
fn configured(dir: &Path, root: &Path) -> Option<Target> {
    let same = |point: &Path| point == dir || place::resolve(point).is_ok_and(|point| point == dir);
    let mut all = targets::configured(&Disk::new(root)).into_iter();
    all.find(|target| target.dir.as_deref().is_some_and(same))
}

/// The options of a command that has a CDN only if it changes anything.
pub(super) fn purging(options: &Options, changes: bool) -> Options {
    let mut options = options.clone();
    if !changes {
        options.cdn.clear();
    }
    options
}

/// Says that a CDN may show what was there before.
pub(super) fn left(purges: u64) {
    if purges > 0 {
        complain(&format!("{purges} purges of the CDN are left: the mount makes up for them, or the next run"));
    }
}
