//! Measures one kind of file operation in a directory, as an application sees it. Prints the median of one operation
//! in microseconds. Part of `scripts/bench`.
//!
//! `bench_ops read FILE COUNT` opens, reads and closes; `bench_ops stream FILE` reads once with 128 KiB reads;
//! `bench_ops create DIR COUNT BYTES` creates, writes and closes; `bench_ops list DIR COUNT` reads the directory and
//! stats every entry, as `ls -l` does.

#![allow(clippy::print_stdout)]

use std::{
    env, fs,
    fs::File,
    hint::black_box,
    io::{self, Read as _, Write as _},
    time::Duration,
};

use originfs::clock;

/// The size of the reads of `cp`, `sha256sum` and PHP's `readfile` on large files, within a factor of two.
const STREAM_READ: usize = 128 << 10;

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let times = match args[..] {
        ["read", file, count] => repeat(number(count)?, |_| read(file))?,
        ["stream", file] => repeat(1, |_| stream(file))?,
        ["create", dir, count, bytes] => {
            let content = vec![b'x'; number(bytes)?];
            repeat(number(count)?, |n| create(&format!("{dir}/file{n}"), &content))?
        }
        ["list", dir, count] => repeat(number(count)?, |_| list(dir))?,
        _ => {
            return Err(io::Error::other(
                "usage: read FILE COUNT | stream FILE | create DIR COUNT BYTES | list DIR COUNT",
            ));
        }
    };
    println!("{:.1}", median(times).as_secs_f64() * 1e6);
    Ok(())
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(|err| io::Error::other(format!("{text}: {err}")))
}

fn repeat(count: usize, mut operation: impl FnMut(usize) -> io::Result<()>) -> io::Result<Vec<Duration>> {
    let timed = |n| {
        let start = clock::now();
        operation(n)?;
        Ok(start.elapsed())
    };
    (0..count).map(timed).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn read(file: &str) -> io::Result<()> {
    black_box(fs::read(file)?);
    Ok(())
}

fn stream(file: &str) -> io::Result<()> {
    let (mut file, mut buffer) = (File::open(file)?, vec![0; STREAM_READ]);
    while file.read(black_box(&mut buffer))? != 0 {}
    Ok(())
}

fn create(file: &str, content: &[u8]) -> io::Result<()> {
    File::create(file)?.write_all(content)
}

fn list(dir: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        black_box(fs::symlink_metadata(entry?.path())?);
    }
    Ok(())
}
