//! The options of a mount, for `--help` and for docs/CONFIGURATION.md, both read from the table.

use std::fmt::Write as _;

use crate::config::table::{self, Kind, Meaning, Row};

/// The option list below `originfs mount --help`.
pub(super) fn options() -> String {
    let mut text =
        "Mount options (-o NAME=VALUE or --NAME=VALUE; - and _ are equal; names of other tools work too):\n".to_owned();
    for section in table::sections() {
        write!(text, "\n{}:\n", section.title).expect("a string takes everything");
        for row in section.rows {
            let shown =
                if row.kind == Kind::Flag { row.name.to_owned() } else { format!("{}={}", row.name, value(row)) };
            writeln!(text, "  {shown}\n          {} [{}]", row.help, row.default.text())
                .expect("a string takes everything");
        }
    }
    text.push_str("\nAlso: env.NAME=VALUE sets an environment variable. docs/CONFIGURATION.md has all names.");
    text
}

/// What stands for the value of an option.
pub(super) fn value(row: &Row) -> String {
    match row.kind {
        Kind::Flag => "BOOL".to_owned(),
        Kind::Size { .. } => "SIZE".to_owned(),
        Kind::Span { .. } => "DURATION".to_owned(),
        Kind::Mode => "MODE".to_owned(),
        Kind::User => "USER".to_owned(),
        Kind::Group => "GROUP".to_owned(),
        Kind::Number { .. } => "N".to_owned(),
        Kind::Word(words) => words.join("|"),
        Kind::Path => "PATH".to_owned(),
        Kind::Text => "TEXT".to_owned(),
        Kind::Freshness => "open|strict|DURATION".to_owned(),
    }
}

/// The option tables of docs/CONFIGURATION.md.
pub fn markdown() -> String {
    let mut text = String::new();
    for section in table::sections() {
        write!(text, "### {}\n\n| option | takes | default | what it does |\n|---|---|---|---|\n", section.title)
            .expect("a string takes everything");
        for row in section.rows {
            let takes = value(row).replace('|', "\\|");
            writeln!(text, "| `{}` | {takes} | {} | {} |", row.name, row.default.text(), row.help)
                .expect("a string takes everything");
        }
        text.push('\n');
    }
    text.push_str("### Names of other tools\n\n| option | also written |\n|---|---|\n");
    for row in table::sections().iter().flat_map(|section| section.rows).filter(|row| !row.aliases.is_empty()) {
        let aliases: Vec<String> = row.aliases.iter().map(|(name, meaning)| alias(name, *meaning, row.kind)).collect();
        writeln!(text, "| `{}` | {} |", row.name, aliases.join(", ")).expect("a string takes everything");
    }
    text
}

fn alias(name: &str, meaning: Meaning, kind: Kind) -> String {
    match (meaning, kind) {
        (Meaning::Same, _) => format!("`{name}`"),
        (Meaning::Not, _) => format!("`{name}` (the opposite)"),
        (Meaning::Absent(value), _) => format!("`{name}` (alone: {value})"),
        (Meaning::Bare(_), Kind::Span { .. }) => format!("`{name}` (in ms)"),
        (Meaning::Bare(1_024), _) => format!("`{name}` (in KiB)"),
        (Meaning::Bare(_), _) => format!("`{name}` (in MiB)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- options: begin -->\n";
    const END: &str = "<!-- options: end -->\n";

    /// `ORIGINFS_WRITE_DOCS=1 cargo test --lib help` brings the file up to date.
    #[test]
    fn the_documentation_has_every_option() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIGURATION.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(BEGIN).expect("the begin marker");
        let (tables, after) = rest.split_once(END).expect("the end marker");
        if std::env::var_os("ORIGINFS_WRITE_DOCS").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}{}{END}{after}", markdown())).unwrap();
            return;
        }
        assert!(
            tables == markdown(),
            "docs/CONFIGURATION.md is behind the option table: ORIGINFS_WRITE_DOCS=1 cargo test"
        );
    }

    #[test]
    fn help_names_every_option_and_default() {
        let help = options();
        for row in table::sections().iter().flat_map(|section| section.rows) {
            assert!(help.contains(&format!("\n  {}", row.name)), "{}", row.name);
            assert!(help.contains(&format!("[{}]", row.default.text())), "{}", row.name);
        }
    }
}
