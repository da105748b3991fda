//! The commands that documents advise are commands of this program.

use std::{ffi::OsString, fs, path::Path};

use clap::{Parser as _, error::ErrorKind};

use super::{Cli, argv};

/// The commands of this program in a document, and whether each is whole: on a line of its own, and not the name of one
/// in a sentence.
fn commands(text: &str) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    for line in text.lines() {
        let own = line.starts_with("    ").then(|| (line.trim_start().trim_start_matches("$ "), true));
        let inner = line.split('`').skip(1).step_by(2).map(|code| (code, false));
        let commands = own.into_iter().chain(inner).filter(|(command, _)| command.starts_with("originfs "));
        all.extend(commands.map(|(command, whole)| (command.to_owned(), whole)));
    }
    all
}

/// Words as a shell makes them, up to a redirection or a comment.
fn words(command: &str) -> Vec<OsString> {
    let (mut all, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.chars() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            (' ', None) => all.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            (c, _) => word.push(c),
        }
    }
    all.push(word);
    let end = all.iter().position(|word| matches!(&**word, ">" | "#" | "|" | "")).unwrap_or(all.len());
    all.truncate(end);
    all.into_iter().map(OsString::from).collect()
}

#[test]
fn commands_of_the_documents_are_ours() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CDN.md")).unwrap();
    let all = commands(&text);
    assert!(all.len() > 12, "{all:?}");
    for (command, whole) in all {
        let arranged = argv::arrange(&words(&command)).map_err(|failure| failure.message).unwrap();
        let Err(err) = Cli::try_parse_from(arranged.args) else { continue };
        let lacks = [
            ErrorKind::MissingRequiredArgument,
            ErrorKind::MissingSubcommand,
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ];
        assert!(!whole && lacks.contains(&err.kind()), "{command}: {err}");
    }
}

#[test]
fn words_end_where_the_command_does() {
    let text = "text `originfs cdn status` and\n    $ originfs url \"a b\" > file # why\n    other\n";
    let all = commands(text);
    let expect = [("originfs cdn status", false), ("originfs url \"a b\" > file # why", true)];
    assert_eq!(all, expect.map(|(command, whole)| (command.to_owned(), whole)));
    assert_eq!(words(&all[1].0), ["originfs", "url", "a b"]);
}
