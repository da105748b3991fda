//! Many small files: read, and created.

use std::{
    fs::{self, File},
    hint::black_box,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use clap::Args;
use originfs::clock;

use crate::report::{Report, of_times, timed};

/// Open, fstat, read, close: files of a directory in turn, as a web server serves them.
#[derive(Args, Debug)]
pub(crate) struct Read {
    dir: PathBuf,
    /// The files are `f0`, `f1`, .. as many.
    #[arg(long)]
    count: usize,
    /// Readers at once. Each reads all files.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// How often each file is read.
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Files that are read before, and not measured: to open connections.
    #[arg(long, default_value_t = 0)]
    skip: usize,
}

impl Read {
    pub(crate) fn run(self) -> io::Result<Report> {
        // By name, without asking: a listing would bring what a cold read is to fetch.
        let names: Vec<PathBuf> = (0..self.count).map(|n| self.dir.join(format!("f{n}"))).collect();
        let (first, rest) = names.split_at(self.skip.min(names.len()));
        let mut buffer = Vec::new();
        first.iter().try_for_each(|name| read(name, &mut buffer))?;
        at_once(self.threads, |_| {
            let mut buffer = Vec::new();
            let mut times = Vec::with_capacity(self.times * rest.len());
            for _ in 0..self.times {
                for name in rest {
                    times.push(timed(|| read(name, &mut buffer))?);
                }
            }
            Ok(times)
        })
    }
}

fn read(path: &Path, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut file = File::open(path)?;
    let size = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    buffer.resize(size, 0);
    file.read_exact(black_box(buffer))
}

/// Create, write, close.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// It is made.
    dir: PathBuf,
    /// Writers at once.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Files of each writer.
    #[arg(long)]
    count: usize,
    #[arg(long)]
    bytes: usize,
}

impl Create {
    pub(crate) fn run(self) -> io::Result<Report> {
        fs::create_dir_all(&self.dir)?;
        let content = vec![b'x'; self.bytes];
        at_once(self.threads, |thread| {
            let name = |n| self.dir.join(format!("t{thread}-{n}"));
            (0..self.count).map(|n| timed(|| File::create(name(n))?.write_all(&content))).collect()
        })
    }
}

/// Runs `work` in so many threads; the times of all.
fn at_once(threads: usize, work: impl Fn(usize) -> io::Result<Vec<Duration>> + Sync) -> io::Result<Report> {
    let start = clock::now();
    let times: io::Result<Vec<_>> = thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || work(n))).collect();
        running.into_iter().map(|thread| thread.join().map_err(|_| io::Error::other("a thread panicked"))?).collect()
    });
    let wall = start.elapsed();
    Ok(of_times(times?.concat(), wall))
}
