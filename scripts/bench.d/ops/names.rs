//! Directories: their names, and the attributes of them.

use std::{
    ffi::OsString,
    fs,
    hint::black_box,
    io,
    path::{Path, PathBuf},
};

use clap::Args;
use originfs::clock;
use serde_json::json;

use crate::report::{Report, micros, of_times, timed};

/// Reads a directory, as `ls` does.
#[derive(Args, Debug)]
pub(crate) struct List {
    dir: PathBuf,
    /// And the attributes of every entry, as `ls -l` does.
    #[arg(long)]
    stat: bool,
}

impl List {
    pub(crate) fn run(self) -> io::Result<Report> {
        let start = clock::now();
        let mut entries = 0_u64;
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if self.stat {
                black_box(fs::symlink_metadata(entry.path())?);
            }
            entries += 1;
        }
        let wall = start.elapsed();
        Ok(json!({ "us": micros(wall), "seconds": wall.as_secs_f64(), "entries": entries }))
    }
}

/// Stats every name of a directory; only the second pass is measured.
#[derive(Args, Debug)]
pub(crate) struct Stat {
    dir: PathBuf,
}

impl Stat {
    pub(crate) fn run(self) -> io::Result<Report> {
        let names: Vec<PathBuf> = names(&self.dir)?.into_iter().map(|name| self.dir.join(name)).collect();
        let pass = || -> io::Result<Vec<_>> {
            names
                .iter()
                .map(|name| {
                    timed(|| {
                        black_box(fs::symlink_metadata(name)?);
                        Ok(())
                    })
                })
                .collect()
        };
        pass()?;
        let start = clock::now();
        let times = pass()?;
        Ok(of_times(times, start.elapsed()))
    }
}

fn names(dir: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
}
