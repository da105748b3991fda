//! Times as text.

use crate::model::attr::Time;

/// Nanoseconds have this many decimal digits.
const FRACTION_DIGITS: usize = 9;

/// A decimal number of seconds since 1970 (`sec` or `sec.fraction`), or RFC 3339, which `rclone --metadata` writes.
pub(super) fn parse(text: &str) -> Option<Time> {
    parse_decimal(text).or_else(|| parse_date(text))
}

/// Digits beyond nanoseconds are dropped.
fn parse_decimal(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (negative, digits) = whole.strip_prefix('-').map_or((false, whole), |digits| (true, digits));
    let sec: i64 = number(digits)?;
    let nsec = nanoseconds(fraction)?;
    Some(match (negative, nsec) {
        (false, _) => Time { sec, nsec },
        (true, 0) => Time::seconds(-sec),
        (true, _) => Time { sec: -sec - 1, nsec: 1_000_000_000 - nsec },
    })
}

/// `YYYY-MM-DDTHH:MM:SS`, a fraction or none, and `Z` or `+HH:MM` or `-HH:MM`.
fn parse_date(text: &str) -> Option<Time> {
    let (date, clock) = text.split_once(['T', 't'])?;
    let mut date = date.split('-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let end = clock.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = clock.split_at(end);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut clock = clock.split(':').map(number);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let rest = date.next().is_some() || clock.next().is_some();
    let plausible = (0..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if rest || !plausible || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let sec = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(Time { sec, nsec: nanoseconds(fraction)? })
}

/// Seconds that a time zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead = hours * 3600 + minutes * 60;
    Some(if zone.starts_with('-') { -ahead } else { ahead })
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years begin in March here, so that a leap day is the last
/// of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let in_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

fn number(digits: &str) -> Option<i64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn nanoseconds(fraction: &str) -> Option<u32> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digit = |place: usize| fraction.as_bytes().get(place).map_or(0, |byte| u32::from(byte - b'0'));
    Some((0..FRACTION_DIGITS).fold(0, |nsec, place| nsec * 10 + digit(place)))
}

/// Whole seconds, or nine digits of fraction, because s3fs reads a shorter one as a count of nanoseconds.
pub(super) fn format(time: Time) -> String {
    match time {
        Time { sec, nsec: 0 } => sec.to_string(),
        Time { sec, nsec } if sec >= 0 => format!("{sec}.{nsec:09}"),
        Time { sec, nsec } => format!("-{}.{:09}", (sec + 1).unsigned_abs(), 1_000_000_000 - nsec),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(i64, u32)>) {
        assert_eq!(parse(text), expect.map(|(sec, nsec)| Time { sec, nsec }), "{text}");
    }

    #[test]
    fn fractions_are_decimal() {
        check("1354040105", Some((1_354_040_105, 0)));
        check("1354040105.123456789", Some((1_354_040_105, 123_456_789)));
        check("1354040105.5", Some((1_354_040_105, 500_000_000)));
        check("1354040105.000000005", Some((1_354_040_105, 5)));
        check("1.1234567899", Some((1, 123_456_789)));
        check("-1.5", Some((-2, 500_000_000)));
        for nonsense in ["", ".5", "1e9", "yesterday", "1.5.5", "1.-5", "99999999999999999999", "--1", "+1", "1 2"] {
            check(nonsense, None);
        }
    }

    #[test]
    fn dates_are_those_of_rfc_3339() {
        check("1970-01-01T00:00:00Z", Some((0, 0)));
        check("2000-02-29T12:00:00.5Z", Some((951_825_600, 500_000_000)));
        check("2000-03-01T00:00:00Z", Some((951_868_800, 0)));
        check("2023-11-14T23:13:20.123456789+01:00", Some((1_700_000_000, 123_456_789)));
        check("1969-12-31T19:00:01-05:00", Some((1, 0)));
        check("1901-12-13T20:45:52Z", Some((-2_147_483_648, 0)));
        for nonsense in [
            "2020-01-01",
            "2020-01-01T00:00:00",
            "2020-13-01T00:00:00Z",
            "2020-01-01T24:00:00Z",
            "2020-01-01T00:00Z",
            "2020-01-01T00:00:00+1",
            "2020-01-01T00:00:00Z!",
            "2020-01-01-01T00:00:00Z",
            "99999999999999999-01-01T00:00:00Z",
        ] {
            check(nonsense, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sec in -10_000_000_000..10_000_000_000_i64, nsec in 0..1_000_000_000_u32) {
            let time = Time { sec, nsec };
            prop_assert_eq!(parse(&format(time)), Some(time));
        }

        #[test]
        fn a_fraction_has_nine_digits_or_is_absent(sec in 0..10_000_000_000_i64, nsec in 1..1_000_000_000_u32) {
            let text = format(Time { sec, nsec });
            prop_assert_eq!(text.split_once('.').map(|(_, fraction)| fraction.len()), Some(9));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}", date in "[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,2}T[0-9:.]{0,12}[Z+-][0-9:]{0,6}") {
            parse(&text);
            parse(&date);
        }
    }
}
