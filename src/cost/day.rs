//! Days of the calendar, in UTC, as bills count them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de, ser};

/// Seconds of one.
pub const SECONDS: i64 = 86_400;

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Day(pub i32);

impl Day {
    /// The day of a time in seconds since 1970.
    pub fn of(seconds: i64) -> Self {
        Self(i32::try_from(seconds.div_euclid(SECONDS)).unwrap_or(i32::MAX))
    }

    /// `None`: there is no such day.
    pub fn new(year: i32, month: u32, day: u32) -> Option<Self> {
        let fits = (1..=12).contains(&month) && (0..=9999).contains(&year) && (1..=length(year, month)).contains(&day);
        fits.then(|| Self(count(year, month, day)))
    }

    /// Year, month and day of the month.
    pub fn civil(self) -> (i32, u32, u32) {
        // A guess that is never too late: no year is longer, and none is shorter.
        let mut year = 1970 + if self.0 < 0 { self.0.div_euclid(365) } else { self.0.div_euclid(366) };
        while count(year + 1, 1, 1) <= self.0 {
            year += 1;
        }
        let month = (1..=12).rev().find(|month| count(year, *month, 1) <= self.0).unwrap_or(1);
        (year, month, u32::try_from(self.0 - count(year, month, 1)).unwrap_or(0) + 1)
    }

    /// The first day of its month.
    #[must_use]
    pub fn month(self) -> Self {
        let (year, month, _) = self.civil();
        Self(count(year, month, 1))
    }

    /// Days of its month.
    pub fn month_len(self) -> u32 {
        let (year, month, _) = self.civil();
        length(year, month)
    }
}

fn is_leap(year: i32) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

fn length(year: i32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 (Gregorian rules).
fn count(year: i32, month: u32, day: u32) -> i32 {
    let before = year - 1;
    let leaps = |year: i32| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let years = (year - 1970) * 365 + leaps(before) - leaps(1969);
    let months: u32 = (1..month).map(|month| length(year, month)).sum();
    years + i32::try_from(months + day - 1).unwrap_or(0)
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, '-').map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u32>().ok()).flatten().ok_or(())
        });
        let mut next = || parts.next().unwrap_or(Err(()));
        let (year, month, day) = (next()?, next()?, next()?);
        Self::new(i32::try_from(year).map_err(drop)?, month, day).ok_or(())
    }
}

impl Serialize for Day {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| de::Error::custom(format!("{text:?} is no day")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (day, text) in
            [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_779, "2026-11-22"), (-1, "1969-12-31")]
        {
            assert_eq!(Day(day).to_string(), text);
            assert_eq!(text.parse(), Ok(Day(day)));
        }
        let mut before = Day(-800_000).civil();
        for day in -799_999..800_000 {
            let now = Day(day).civil();
            assert!(now > before && count(now.0, now.1, now.2) == day, "{day}: {now:?}");
            before = now;
        }
        for text in ["2026-02-29", "2026-13-01", "2026-1", "+26-01-01", "", "2026-01-00"] {
            assert_eq!(text.parse::<Day>(), Err(()), "{text}");
        }
    }

    #[test]
    fn days_have_months_and_seconds() {
        assert_eq!(Day::of(1_795_302_884).to_string(), "2026-11-21");
        assert_eq!(Day::of(-1), Day(-1));
        let day: Day = "2028-02-29".parse().unwrap();
        assert_eq!((day.month().to_string(), day.month_len()), ("2028-02-01".to_owned(), 29));
    }
}
