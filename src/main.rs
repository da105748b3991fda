use std::{env, process::ExitCode};

use originfs::{
    cli,
    mount::{Ended, MountError, mount},
};

fn main() -> ExitCode {
    cli::run(env::args_os(), |options, ready| {
        let answers = |up: Result<(), &MountError>| {
            if up.is_ok() {
                ready.announce();
            }
        };
        match mount(&options, answers).map_err(|err| err.to_string())? {
            Ended::Saved => Ok(()),
            Ended::Unsaved(files) => Err(format!("{} files are not in the bucket, see the log", files.len())),
        }
    })
}
