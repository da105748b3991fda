//! The options that were given, sorted by the table's rows, and read as what each row takes.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    Error,
    foreign::{self, Foreign},
    table::{self, Kind, Meaning, Otherwise, Row},
    value,
    words::Word,
};

/// The prefix of options that set environment variables.
const ENV: &str = "env.";

/// What to make of an option that nobody knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unknown {
    Refuse,
    /// `mount -s`: say so and go on.
    Warn,
}

/// The last word for each row; later ones win, as with mount(8).
#[derive(Debug, Default)]
pub(super) struct Given {
    rows: BTreeMap<&'static str, (Word, Meaning)>,
    pub(super) env: Vec<(String, String)>,
    pub(super) warnings: Vec<String>,
}

impl Given {
    pub(super) fn collect(words: &[Word], unknown: Unknown) -> Result<Self, Error> {
        let mut given = Self::default();
        for word in words {
            given.add(word, unknown)?;
        }
        Ok(given)
    }

    fn add(&mut self, word: &Word, unknown: Unknown) -> Result<(), Error> {
        if let Some(name) = word.name.strip_prefix(ENV) {
            self.env.push(variable(name, word)?);
            return Ok(());
        }
        let normal = word.normal();
        if let Some((row, meaning)) = table::find(&normal) {
            self.rows.insert(row.name, (word.clone(), meaning));
            return Ok(());
        }
        match (foreign::find(&normal), unknown) {
            (Some(Foreign::Ignore), _) => {}
            (Some(Foreign::Harmless(why)), _) => {
                self.warnings.push(format!("option {} has no effect: {why}", word.name));
            }
            (None, Unknown::Warn) => self.warnings.push(format!("option {} is unknown and ignored", word.name)),
            (None, Unknown::Refuse) => return Err(Error::new(unknown_option(&word.name, &normal))),
        }
        Ok(())
    }

    /// What `read` makes of the value that was given, or of the row's default. `None`: not given, and the default is
    /// chosen by the caller. The second argument of `read` is what a bare number counts in, if an alias says so.
    fn read<T>(&self, name: &str, read: impl Fn(&str, Option<u64>) -> Option<T>) -> Result<Option<T>, Error> {
        let (row, _) = table::find(name).expect("only names of the table are asked for");
        let Some((word, meaning)) = self.rows.get(row.name) else {
            return Ok(match row.default {
                Otherwise::Value(text) => Some(read(text, None).expect("defaults are values of their kind")),
                Otherwise::Chosen(_) => None,
            });
        };
        let text = match (&word.value, meaning, row.kind) {
            (Some(value), _, _) => value.as_str(),
            (None, Meaning::Absent(value), _) => value,
            (None, _, Kind::Flag) => "true",
            (None, _, _) => return Err(wrong(word, row)),
        };
        let unit = if let Meaning::Bare(unit) = meaning { Some(*unit) } else { None };
        read(text, unit).map(Some).ok_or_else(|| wrong(word, row))
    }

    /// How the option was written, if it was given.
    pub(super) fn word(&self, name: &str) -> Option<&Word> {
        self.rows.get(name).map(|(word, _)| word)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        let not = self.rows.get(name).is_some_and(|(_, meaning)| *meaning == Meaning::Not);
        Ok(self.read(name, |text, _| value::flag(text))?.map(|flag| flag != not))
    }

    /// Like [`Self::flag`], for rows with a default.
    pub(super) fn is(&self, name: &str) -> Result<bool, Error> {
        Ok(self.flag(name)?.unwrap_or(false))
    }

    pub(super) fn size(&self, name: &str) -> Result<Option<u64>, Error> {
        let size = self.read(name, |text, unit| value::size(text, unit.unwrap_or(1)))?;
        let Some(Kind::Size { min, max }) = kind(name) else { return Ok(size) };
        self.within(name, size, &(min..=max), value::show_size)
    }

    pub(super) fn span(&self, name: &str) -> Result<Option<Duration>, Error> {
        let span = self.read(name, |text, unit| {
            value::duration(text, unit.map_or(Duration::from_secs(1), Duration::from_millis))
        })?;
        let Some(Kind::Span { min, max }) = kind(name) else { return Ok(span) };
        self.within(name, span, &(min..=max), |limit| format!("{limit:?}"))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u32>, Error> {
        let Some(Kind::Number { min, max }) = kind(name) else { return Ok(None) };
        self.read(name, |text, _| text.parse().ok().filter(|number| (min..=max).contains(number)))
    }

    pub(super) fn mode(&self, name: &str) -> Result<Option<u32>, Error> {
        self.read(name, |text, _| value::mode(text))
    }

    pub(super) fn id(&self, name: &str) -> Result<Option<u32>, Error> {
        self.read(name, |text, _| if kind(name) == Some(Kind::Group) { value::group(text) } else { value::user(text) })
    }

    /// One of the row's words, in any case.
    pub(super) fn one_word(&self, name: &str) -> Result<Option<&'static str>, Error> {
        let Some(Kind::Word(words)) = kind(name) else { return Ok(None) };
        self.read(name, |text, _| words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied())
    }

    /// Text that can stand in a header or a file name: not empty, no control characters.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        self.read(name, |text, _| (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned()))
    }

    pub(super) fn path(&self, name: &str) -> Result<Option<PathBuf>, Error> {
        Ok(self.text(name)?.map(PathBuf::from))
    }

    pub(super) fn value<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Error> {
        self.read(name, |text, _| read(text))
    }

    fn within<T: PartialOrd + Copy>(
        &self,
        name: &str,
        value: Option<T>,
        range: &std::ops::RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) -> Result<Option<T>, Error> {
        match (value, self.word(name)) {
            (Some(out), Some(word)) if !range.contains(&out) => Err(Error::new(format!(
                "{} is {}: it must be from {} to {}",
                written(word),
                show(out),
                show(*range.start()),
                show(*range.end())
            ))),
            _ => Ok(value),
        }
    }
}

fn kind(name: &str) -> Option<Kind> {
    table::find(name).map(|(row, _)| row.kind)
}

fn variable(name: &str, word: &Word) -> Result<(String, String), Error> {
    let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match &word.value {
        Some(value) if fits && !value.contains('\0') => Ok((name.to_owned(), value.clone())),
        _ => Err(Error::new(format!("{}: expected env.NAME=value", word.name))),
    }
}

fn wrong(word: &Word, row: &Row) -> Error {
    Error::new(format!("{}: expected {}", written(word), row.kind.expects()))
}

/// The option as it was written, on one line.
pub(super) fn written(word: &Word) -> String {
    match &word.value {
        Some(value) => format!("{}={}", word.name.escape_debug(), value.escape_debug()),
        None => word.name.escape_debug().to_string(),
    }
}

fn unknown_option(name: &str, normal: &str) -> String {
    let known = table::sections().into_iter().flat_map(|section| section.rows).flat_map(|row| {
        let aliases = row.aliases.iter().map(|(alias, _)| *alias);
        aliases.chain([row.name])
    });
    // A third of the letters may be wrong; beyond that a guess is noise.
    let near = known.map(|known| (distance(normal, known), known)).min().filter(|(far, _)| far * 3 <= normal.len());
    match near {
        Some((_, known)) => format!("unknown option {}, did you mean {known}?", name.escape_debug()),
        None => format!("unknown option {}", name.escape_debug()),
    }
}

/// Letters to change, add or drop between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    // Names are ASCII; a longer stranger is no near miss and would only cost time.
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expect) in [("", "abc", 3), ("abc", "abc", 0), ("endpont", "endpoint", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expect, "{a} {b}");
        }
    }

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for row in table::sections().iter().flat_map(|section| section.rows) {
            let none = Given::default();
            let name = row.name;
            // Each getter panics on a default it cannot read.
            let present = match row.kind {
                Kind::Flag => none.flag(name).unwrap().is_some(),
                Kind::Size { .. } => none.size(name).unwrap().is_some(),
                Kind::Span { .. } => none.span(name).unwrap().is_some(),
                Kind::Mode => none.mode(name).unwrap().is_some(),
                Kind::User | Kind::Group => none.id(name).unwrap().is_some(),
                Kind::Number { .. } => none.number(name).unwrap().is_some(),
                Kind::Word(_) => none.one_word(name).unwrap().is_some(),
                Kind::Path => none.path(name).unwrap().is_some(),
                Kind::Text => none.text(name).unwrap().is_some(),
                Kind::Freshness => none.value(name, |text| value::freshness(text, Duration::ZERO)).unwrap().is_some(),
            };
            assert_eq!(present, matches!(row.default, Otherwise::Value(_)), "{name}");
        }
    }
}
