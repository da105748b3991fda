//! Every option of a mount, as data: what it is called here and in the tools that people come from, what it takes,
//! what it is when not given. Help, documentation and the parser are all read from the rows.

use std::time::Duration;

use super::rows;

/// What an option takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// True when it is given without a value.
    Flag,
    /// Bytes.
    Size {
        min: u64,
        max: u64,
    },
    Span {
        min: Duration,
        max: Duration,
    },
    /// Permission bits.
    Mode,
    User,
    Group,
    Number {
        min: u32,
        max: u32,
    },
    Word(&'static [&'static str]),
    Path,
    Text,
    Freshness,
}

impl Kind {
    /// What a value looks like, for messages and documentation.
    pub fn expects(self) -> String {
        match self {
            Self::Flag => "true or false".to_owned(),
            Self::Size { .. } => "a size such as 16M, 16MiB or 1G".to_owned(),
            Self::Span { .. } => "a duration such as 500ms, 30s, 5m or 2h".to_owned(),
            Self::Mode => "an octal mode such as 0644".to_owned(),
            Self::User => "a number or the name of a user".to_owned(),
            Self::Group => "a number or the name of a group".to_owned(),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Path => "a path".to_owned(),
            Self::Text => "a value".to_owned(),
            Self::Freshness => "open, strict or a duration such as 30s".to_owned(),
        }
    }
}

/// What an option is when it is not given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Otherwise {
    /// Read like a given value.
    Value(&'static str),
    /// Decided at mount, as these words say.
    Chosen(&'static str),
}

impl Otherwise {
    pub fn text(self) -> &'static str {
        match self {
            Self::Value(text) | Self::Chosen(text) => text,
        }
    }
}

/// How another name of an option differs from its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    Same,
    /// A bare number counts in this many bytes, or milliseconds.
    Bare(u64),
    /// Without a value it stands for this one.
    Absent(&'static str),
    /// The opposite flag.
    Not,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Otherwise,
    pub aliases: &'static [(&'static str, Meaning)],
    /// One sentence.
    pub help: &'static str,
}

/// The row of a name or alias, in the spelling with underscores.
pub(super) fn find(name: &str) -> Option<(&'static Row, Meaning)> {
    sections().iter().flat_map(|section| section.rows).find_map(|row| {
        if row.name == name {
            return Some((row, Meaning::Same));
        }
        row.aliases.iter().find(|(alias, _)| *alias == name).map(|(_, meaning)| (row, *meaning))
    })
}

/// Whether an option of this name, in the spelling with underscores, makes no sense without a value.
pub fn takes_value(name: &str) -> bool {
    find(name).is_some_and(|(row, meaning)| row.kind != Kind::Flag && !matches!(meaning, Meaning::Absent(_)))
}

/// Rows that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    pub title: &'static str,
    pub rows: &'static [Row],
}

/// All rows, in the order in which they are shown.
pub fn sections() -> [Section; 6] {
    [
        Section { title: "Bucket", rows: rows::BUCKET },
        Section { title: "Files", rows: rows::FILES },
        Section { title: "Transfers", rows: rows::TRANSFERS },
        Section { title: "CDN", rows: rows::CDN },
        Section { title: "Cache", rows: rows::CACHE },
        Section { title: "Mount", rows: rows::MOUNT },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_one_and_can_be_found() {
        let mut seen = HashSet::new();
        for row in sections().iter().flat_map(|section| section.rows) {
            assert!(row.help.ends_with('.') && !row.help.contains('\n'), "{}", row.name);
            for name in row.aliases.iter().map(|(alias, _)| *alias).chain([row.name]) {
                assert!(seen.insert(name), "{name} stands twice");
                assert!(!name.contains('-'), "{name} would never be found");
                assert_eq!(find(name).unwrap().0.name, row.name);
                assert_eq!(super::super::foreign::find(name), None, "{name} is also a foreign option");
            }
        }
        assert_eq!(find("no_such_option").map(|(row, _)| row.name), None);
    }
}
