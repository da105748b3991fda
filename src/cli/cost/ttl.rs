//! How long caches may keep files, by how soon this host replaced them so far.

use std::path::Path;

use serde::Serialize;

use crate::{
    cli::Failure,
    cost::{
        changes::{AGES, Advice, Changes, FILE},
        day::Day,
    },
    telemetry::status::Purging,
};

/// Lines that people get to see.
const SHOWN_MAX: usize = 30;

/// What is known, and what follows.
#[derive(Debug, Serialize)]
pub(super) struct Ttl {
    /// That anything is known of.
    days: u64,
    /// Somebody has a CDN forget what is replaced.
    purged: bool,
    classes: Vec<Advice>,
}

/// Reads what the mount with that cache directory wrote down.
pub(super) fn known(cache: &Path, today: Day, purging: &[Purging]) -> Result<Ttl, Failure> {
    let path = cache.join(FILE);
    let changes = Changes::load(&path).map_err(|err| Failure::system(format!("{}: {err}", path.display())))?;
    Ok(Ttl { days: changes.days(today), purged: !purging.is_empty(), classes: changes.advice(today) })
}

impl Ttl {
    pub(super) fn text(&self) -> String {
        let Self { days, purged, classes } = self;
        let mut lines = vec![format!("how long caches may keep files, by what this host wrote on {days} days:")];
        lines.extend(classes.iter().take(SHOWN_MAX).map(line));
        match classes.len() {
            0 => lines.push("  nothing was written".to_owned()),
            count if count > SHOWN_MAX => lines.push(format!("  and {} more (--json)", count - SHOWN_MAX)),
            _ => {}
        }
        lines.push(if *purged {
            "this is for browsers, which nothing purges; what the CDN keeps is purged when it is replaced".to_owned()
        } else {
            "this is for browsers and for the CDN: this mount purges nothing".to_owned()
        });
        lines.join("\n")
    }
}

fn line(Advice { names, tally, max_age }: &Advice) -> String {
    let replaced: u64 = tally.replaced.iter().sum();
    let soon: Vec<String> = AGES
        .iter()
        .zip(["a minute", "5 minutes", "an hour", "a day", "a week", "30 days"])
        .map(|(age, name)| (tally.within(*age), name))
        .filter(|(count, _)| *count > 0)
        .map(|(count, name)| format!("{count} within {name}"))
        .collect();
    // The shortest that has any, and the longest: the rest is in between.
    let soon = match &soon[..] {
        [] => String::new(),
        [only] => format!(" ({only})"),
        [first, .., last] => format!(" ({first}, {last})"),
    };
    let advice = match max_age {
        None => "too little is known".to_owned(),
        Some(0) => "no-cache: a cache must ask each time".to_owned(),
        Some(seconds) => format!("max-age={seconds}"),
    };
    format!("  {names:<24} {} versions, {replaced} replaced{soon}: {advice}", tally.came)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_comes_with_the_numbers_that_it_rests_on() {
        let mut changes = Changes::default();
        for _ in 0..200 {
            changes.came("2026/11/a.jpg", Day(0));
        }
        changes.replaced("2026/11/a.jpg", Day(0), 200);
        changes.replaced("2026/11/a.jpg", Day(0), 90_000);
        for _ in 0..50 {
            changes.came("css/a.css", Day(0));
            changes.replaced("css/a.css", Day(0), 10);
        }
        changes.came("a.txt", Day(0));
        let ttl = Ttl { days: 20, purged: false, classes: changes.advice(Day(20)) };
        let expect = "\
how long caches may keep files, by what this host wrote on 20 days:
  2026/**/*.jpg            200 versions, 2 replaced (1 within 5 minutes, 2 within 30 days): max-age=604800
  css/**/*.css             50 versions, 50 replaced (50 within a minute, 50 within 30 days): no-cache: a cache must ask each time
  /*.txt                   1 versions, 0 replaced: too little is known
this is for browsers and for the CDN: this mount purges nothing";
        assert_eq!(ttl.text(), expect);
        let none = Ttl { days: 0, purged: true, classes: Vec::new() };
        assert!(none.text().contains("nothing was written\nthis is for browsers, which nothing purges"));
    }
}
