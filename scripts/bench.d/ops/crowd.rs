//! Many processes that read one file at the same moment.

use std::{
    env, fs,
    io::{self, Read as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use clap::Args;
use originfs::clock;
use serde_json::json;

use crate::report::{Report, micros};

/// Starts processes that all wait, then all read the file at once.
#[derive(Args, Debug)]
pub(crate) struct Crowd {
    file: PathBuf,
    #[arg(long)]
    processes: usize,
}

impl Crowd {
    pub(crate) fn run(self) -> io::Result<Report> {
        let program = env::current_exe()?;
        let (gate, opener) = io::pipe()?;
        let start_one = || -> io::Result<Child> {
            let mut member = Command::new(&program);
            member.arg("member").arg(&self.file).stdin(gate.try_clone()?).stdout(Stdio::piped()).spawn()
        };
        let mut members = (0..self.processes).map(|_| start_one()).collect::<io::Result<Vec<_>>>()?;
        for member in &mut members {
            let mut ready = [0];
            member.stdout.as_mut().expect("it is a pipe").read_exact(&mut ready)?;
        }
        let start = clock::now();
        drop(opener);
        let mut failed = 0_u64;
        for member in &mut members {
            failed += u64::from(!member.wait()?.success());
        }
        let wall = start.elapsed();
        Ok(json!({ "us": micros(wall), "processes": self.processes, "failed": failed }))
    }
}

/// One of the processes. Not to be called by hand.
#[derive(Args, Debug)]
#[command(hide = true)]
pub(crate) struct Member {
    file: PathBuf,
}

impl Member {
    pub(crate) fn run(self) -> io::Result<Report> {
        println!();
        // Until the one who started it closes the other end.
        io::stdin().read_to_end(&mut Vec::new())?;
        let content = fs::read(self.file)?;
        Ok(json!({ "bytes": content.len() }))
    }
}
