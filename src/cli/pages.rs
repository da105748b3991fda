//! Manual pages and completions, made of the same definitions as the command line itself.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::{Cli, Failure, PagesArgs, help};
use crate::config::table::{self, Kind, Row};

/// Shown at the foot of each page.
const MANUAL: &str = "originfs";

/// Where shells look for completions below /usr/share, and under which name.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/originfs"),
    (Shell::Zsh, "zsh/vendor-completions/_originfs"),
    (Shell::Fish, "fish/vendor_completions.d/originfs.fish"),
];

pub(super) fn command(command: &PagesArgs) -> Result<(), Failure> {
    for (path, text) in all().map_err(Failure::system)? {
        let path = command.share.join(path);
        let dir = path.parent().expect("every page is in a directory");
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&path, text))
            .map_err(|err| Failure::system(format!("{}: {err}", path.display())))?;
    }
    Ok(())
}

/// Every file below /usr/share, with what is in it.
fn all() -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut whole = definition();
    whole.build();
    let mut files = vec![(PathBuf::from("man/man1/originfs.1"), page(&whole, "1")?)];
    add_below(&whole, "originfs", &mut files)?;
    files.push((PathBuf::from("man/man8/mount.originfs.8"), page(&helper(), "8")?));
    files.push((PathBuf::from("man/man8/mount.fuse.originfs.8"), b".so man8/mount.originfs.8\n".to_vec()));
    for (shell, path) in SHELLS {
        let mut text = Vec::new();
        generate(shell, &mut definition(), "originfs", &mut text);
        files.push((Path::new(path).to_owned(), text));
    }
    Ok(files)
}

/// The pages of the commands below `command`, and of those below them.
fn add_below(command: &Command, name: &str, files: &mut Vec<(PathBuf, Vec<u8>)>) -> io::Result<()> {
    for command in command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        let name = format!("{name}-{}", command.get_name());
        files.push((PathBuf::from(format!("man/man1/{name}.1")), page(command, "1")?));
        add_below(command, &name, files)?;
    }
    Ok(())
}

/// The command line, with the options of a mount where they can be given. Parsing leaves them to the table.
fn definition() -> Command {
    Cli::command()
        .disable_help_subcommand(true)
        .mut_subcommand("mount", |command| command.after_help(None::<&str>).args(options()))
}

/// mount(8) calls it; people write its options into /etc/fstab.
fn helper() -> Command {
    Command::new("mount.originfs")
        .version(env!("CARGO_PKG_VERSION"))
        .about("mount a bucket, or a part of it, from /etc/fstab")
        .long_about(
            "This is what mount(8) calls for the file system types originfs and fuse.originfs. A line of /etc/fstab has \
             the source (BUCKET, BUCKET:/PREFIX or s3://BUCKET/PREFIX), the directory, the type, and the options of \
             originfs-mount(1) together with those of mount(8) and systemd.mount(5).",
        )
        .arg(Arg::new("source").required(true).value_name("SOURCE").help("The bucket"))
        .arg(Arg::new("dir").required(true).value_name("DIR").help("The directory to mount on"))
        .arg(Arg::new("options").short('o').value_name("NAME=VALUE,...").help("Options, see originfs-mount(1)"))
        .arg(Arg::new("sloppy").short('s').num_args(0).help("Tolerate unknown options"))
        .arg(Arg::new("fake").short('f').num_args(0).help("Check everything but do not mount"))
        .disable_help_flag(true)
        .disable_version_flag(true)
}

fn options() -> Vec<Arg> {
    table::sections().iter().flat_map(|section| section.rows.iter().map(|row| option(section.title, row))).collect()
}

fn option(section: &'static str, row: &'static Row) -> Arg {
    let arg = Arg::new(format!("option-{}", row.name))
        .long(row.name.replace('_', "-"))
        .help(format!("{} [default: {}]", row.help, row.default.text()))
        .help_heading(format!("{section} options"));
    match row.kind {
        Kind::Flag => arg.num_args(0),
        Kind::Word(words) => arg.value_parser(words.to_vec()).hide_possible_values(true).value_name(help::value(row)),
        Kind::Path => arg.value_hint(clap::ValueHint::AnyPath).value_name(help::value(row)),
        _ => arg.value_name(help::value(row)),
    }
}

fn page(command: &Command, section: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let source = concat!("originfs ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).section(section).source(source).manual(MANUAL).render(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> String {
        let files = all().unwrap();
        let (_, text) = files.into_iter().find(|(at, _)| at == Path::new(path)).unwrap_or_else(|| panic!("no {path}"));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn every_command_has_a_page_and_hidden_ones_have_none() {
        let files = all().unwrap();
        let cli = Cli::command();
        assert!(cli.get_subcommands().any(Command::is_hide_set));
        for command in cli.get_subcommands() {
            let path = PathBuf::from(format!("man/man1/originfs-{}.1", command.get_name()));
            assert_eq!(files.iter().any(|(at, _)| *at == path), !command.is_hide_set(), "{}", command.get_name());
        }
        assert!(files.iter().any(|(at, _)| at.ends_with("originfs-cache-ls.1")));
        assert!(text("man/man1/originfs.1").contains("originfs\\-mount(1)"));
    }

    #[test]
    fn page_and_completions_of_mount_have_every_option() {
        let page = text("man/man1/originfs-mount.1");
        let completions = SHELLS.map(|(_, path)| text(path));
        for row in table::sections().iter().flat_map(|section| section.rows) {
            let long = row.name.replace('_', "-");
            assert!(page.contains(&format!("\\-\\-{}", long.replace('-', "\\-"))), "{long}");
            for completion in &completions {
                assert!(completion.contains(&long), "{long}");
            }
        }
    }

    #[test]
    fn an_option_on_the_page_is_one_of_the_command_line() {
        for arg in options() {
            assert!(arg.get_long().is_some_and(|long| table::takes_value(&long.replace('-', "_"))
                == arg.get_num_args().is_none_or(|range| range.takes_values())));
        }
    }
}
