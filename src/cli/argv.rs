//! The many ways to call us, arranged as one: mount(8) and mount.fuse leave out the command, options of a mount can be
//! words of `-o` or arguments of their own.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::CommandFactory as _;

use super::{Cli, Failure};
use crate::config::{
    table,
    words::{self, Word},
};

/// The hidden command for calls as `/sbin/mount.originfs`.
pub(super) const HELPER: &str = "mount-helper";

/// Arguments without the options of the mount, and those.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Arranged {
    pub(super) args: Vec<OsString>,
    /// In the order in which they were given.
    pub(super) words: Vec<Word>,
}

/// Finds out the command, and takes the options of a mount out of its arguments.
pub(super) fn arrange(args: &[OsString]) -> Result<Arranged, Failure> {
    let program = args.first().map_or(OsStr::new("originfs"), OsString::as_os_str);
    let rest = args.get(1..).unwrap_or_default();
    let called_as = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let (command, rest) = match rest {
        rest if called_as.starts_with("mount.") => (Some(OsString::from(HELPER)), rest),
        [first, second, ..] if !is_flag(first) && !is_flag(second) && !is_command(first) => {
            (Some(OsString::from("mount")), rest)
        }
        [first, rest @ ..] => (Some(first.clone()), rest),
        [] => (None, rest),
    };
    let mut arranged = Arranged { args: vec![OsString::from("originfs")], words: Vec::new() };
    let takes_options = command.as_deref().is_some_and(|command| command == "mount" || command == HELPER);
    arranged.args.extend(command);
    if takes_options {
        arranged.take_options(rest)?;
    } else {
        arranged.args.extend_from_slice(rest);
    }
    Ok(arranged)
}

fn is_flag(arg: &OsStr) -> bool {
    arg.as_encoded_bytes().starts_with(b"-")
}

fn is_command(arg: &OsStr) -> bool {
    let named = |command: &clap::Command| {
        arg == command.get_name() || command.get_all_aliases().any(|alias| arg == alias) || arg == "help"
    };
    Cli::command().get_subcommands().any(named)
}

impl Arranged {
    fn take_options(&mut self, args: &[OsString]) -> Result<(), Failure> {
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let Some(text) = arg.to_str().filter(|text| text.starts_with('-')) else {
                self.args.push(arg.clone());
                continue;
            };
            if text == "--" {
                self.args.push(arg.clone());
                self.args.extend(args.cloned());
                return Ok(());
            }
            if let Some(inline) = text.strip_prefix("-o") {
                let list = if inline.is_empty() { next(&mut args, text)? } else { inline.to_owned() };
                self.words.extend(words::split(&list).map_err(Failure::usage)?);
                continue;
            }
            match text.strip_prefix("--") {
                None | Some("help" | "version") => self.args.push(arg.clone()),
                Some(option) => self.words.push(long(option, &mut args)?),
            }
        }
        Ok(())
    }
}

/// `NAME=VALUE`, or `NAME` whose value, if it takes one, is the next argument.
fn long<'a>(option: &str, args: &mut impl Iterator<Item = &'a OsString>) -> Result<Word, Failure> {
    if let Some((name, value)) = option.split_once('=') {
        return Ok(Word::new(name, value));
    }
    let word = Word::flag(option);
    if table::takes_value(&word.normal()) {
        return Ok(Word::new(option, &next(args, &format!("--{option}"))?));
    }
    Ok(word)
}

fn next<'a>(args: &mut impl Iterator<Item = &'a OsString>, option: &str) -> Result<String, Failure> {
    let value = args.next().ok_or_else(|| Failure::usage(format!("{option} needs a value")))?;
    value.to_str().map(str::to_owned).ok_or_else(|| Failure::usage(format!("the value of {option} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, args: &str, words: &[Word]) {
        let line: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let arranged = arrange(&line).unwrap();
        assert_eq!(arranged.args.join(OsStr::new(" ")), OsString::from(args));
        assert_eq!(arranged.words, words);
    }

    #[test]
    fn our_own_commands() {
        check("originfs", "originfs", &[]);
        check("originfs status --json /m", "originfs status --json /m", &[]);
        check("originfs unmount /m -l", "originfs unmount /m -l", &[]);
        check("originfs --version", "originfs --version", &[]);
        check("originfs mount --help", "originfs mount --help", &[]);
    }

    #[test]
    fn options_are_words_or_arguments() {
        let expect = [Word::flag("ro"), Word::new("uid", "33"), Word::new("cache-dir", "/c"), Word::flag("rw")];
        check("originfs mount b /m -o ro,uid=33 --cache-dir=/c --rw", "originfs mount b /m", &expect);
        check("originfs mount --ro --uid 33 b --cache-dir /c /m -f -orw", "originfs mount b /m -f", &expect);
        check("originfs mount b -- --odd", "originfs mount b -- --odd", &[]);
        check("originfs mount b /m -o --file-mode=0666", "originfs mount b /m", &[Word::new("file-mode", "0666")]);
        check("originfs mount --use-sse b /m", "originfs mount b /m", &[Word::flag("use-sse")]);
    }

    #[test]
    fn calls_of_mount() {
        let ro = [Word::flag("ro")];
        check("/sbin/mount.originfs b:/p /m -sn -o ro", "originfs mount-helper b:/p /m -sn", &ro);
        check("mount.fuse.originfs b /m -o ro", "originfs mount-helper b /m", &ro);
        check("originfs b:/p /m -o ro", "originfs mount b:/p /m", &ro);
        check("/usr/bin/originfs status.example /m -o ro", "originfs mount status.example /m", &ro);
    }

    #[test]
    fn a_value_may_be_missing() {
        let line = ["originfs", "mount", "b", "/m", "--uid"].map(OsString::from);
        assert_eq!(arrange(&line).unwrap_err().message.unwrap(), "--uid needs a value");
    }
}
