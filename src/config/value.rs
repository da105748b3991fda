//! Values as people write them. Each function gives `None` for text that is not such a value; the caller, who knows
//! the option, says what was expected.

use std::time::Duration;

use nix::unistd::{Group, User};

use crate::freshness::Freshness;

/// `16M`, `16MiB`, `16MB` (all 2^20), `1G`, or a bare number of `unit` bytes.
pub(super) fn size(text: &str, unit: u64) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let scale = match suffix.to_ascii_lowercase().as_str() {
        "" => unit,
        "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// The shortest exact way to write a size.
pub(super) fn show_size(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.iter().find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// `500ms`, `1s`, `5m`, `2h`, `1d`, sums such as `1h30m`, or a bare number of `unit`. Numbers may have a fraction.
pub(super) fn duration(text: &str, unit: Duration) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (suffix, tail) = tail.split_at(letters);
        let scale = match suffix {
            "" if rest.len() == text.len() => unit.as_secs_f64(),
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let seconds = number.parse::<f64>().ok()? * scale;
        sum = sum.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(sum)
}

/// Permission bits in octal: `644`, `0644`, `0o644`.
pub(super) fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    // from_str_radix alone would take a sign.
    let octal = digits.bytes().all(|digit| digit.is_ascii_digit());
    octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten().filter(|mode| *mode <= 0o7777)
}

/// `1`, `true`, `yes`, `on` and their opposites.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A number, or the name of a user of this host.
pub(super) fn user(text: &str) -> Option<u32> {
    number_or(text, |name| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw()))
}

/// A number, or the name of a group of this host.
pub(super) fn group(text: &str) -> Option<u32> {
    number_or(text, |name| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw()))
}

fn number_or(text: &str, lookup: impl Fn(&str) -> Option<u32>) -> Option<u32> {
    match text.parse() {
        // -1 means "leave it" to chown(2), it is nobody's number.
        Ok(u32::MAX) => None,
        Ok(id) => Some(id),
        Err(_) if text.is_empty() || text.contains('\0') => None,
        Err(_) => lookup(text),
    }
}

/// `open`, `strict`, or how old an answer may be. Nothing may be 0 old is `strict`.
pub(super) fn freshness(text: &str, stat_ttl: Duration) -> Option<Freshness> {
    match text {
        "open" => Some(Freshness::Open { stat_ttl }),
        "strict" => Some(Freshness::Strict),
        age => match duration(age, Duration::from_secs(1))? {
            Duration::ZERO => Some(Freshness::Strict),
            age => Some(Freshness::Age(age)),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn sizes_in_every_spelling() {
        for text in ["16M", "16m", "16MiB", "16MB", "16384k", "16777216", "16777216b"] {
            assert_eq!(size(text, 1), Some(16 << 20), "{text}");
        }
        assert_eq!(size("10", 1 << 20), Some(10 << 20));
        assert_eq!(size("10k", 1 << 20), Some(10 << 10), "a suffix beats the unit");
        for text in ["", "M", "16Q", "-1", "+1", "1.5G", "1 G", "99999999T", "0x10"] {
            assert_eq!(size(text, 1), None, "{text}");
        }
    }

    #[test]
    fn durations_in_every_spelling() {
        for (text, millis) in
            [("500ms", 500), ("1s", 1_000), ("5m", 300_000), ("2h", 7_200_000), ("60m0s", 3_600_000), ("1.5", 1_500)]
        {
            assert_eq!(duration(text, SECOND), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(duration("250", Duration::from_millis(1)), Some(Duration::from_millis(250)));
        for text in ["", "s", "5x", "-1", "1h30", "1..2s", "1e400", "inf", "nan"] {
            assert_eq!(duration(text, SECOND), None, "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        for (text, bits) in [("644", 0o644), ("0644", 0o644), ("0o2755", 0o2755), ("0", 0)] {
            assert_eq!(mode(text), Some(bits), "{text}");
        }
        for text in ["", "888", "0o", "17777", "rwxr-xr-x", "+644", "-1"] {
            assert_eq!(mode(text), None, "{text}");
        }
    }

    #[test]
    fn users_by_name_and_number() {
        assert_eq!(user("33"), Some(33));
        assert_eq!(user("root"), Some(0));
        assert_eq!(group("root"), Some(0));
        for text in ["", "no such user", "-1", "4294967295", "a\0b"] {
            assert_eq!(user(text), None, "{text:?}");
        }
    }

    #[test]
    fn freshness_modes() {
        assert_eq!(freshness("open", SECOND), Some(Freshness::Open { stat_ttl: SECOND }));
        assert_eq!(freshness("strict", SECOND), Some(Freshness::Strict));
        assert_eq!(freshness("5m", SECOND), Some(Freshness::Age(Duration::from_mins(5))));
        assert_eq!(freshness("30", SECOND), Some(Freshness::Age(Duration::from_secs(30))));
        assert_eq!(freshness("0", SECOND), Some(Freshness::Strict));
        assert_eq!(freshness("bus", SECOND), None);
    }

    proptest! {
        #[test]
        fn shown_sizes_read_back(bytes: u64) {
            prop_assert_eq!(size(&show_size(bytes), 1), Some(bytes));
        }

        #[test]
        fn no_text_panics(text in "\\PC*|[0-9.kmgtsh]*", unit: u64) {
            prop_assert!(mode(&text).is_none_or(|mode| mode <= 0o7777));
            prop_assert!(size(&text, unit).is_none() || text.starts_with(|c: char| c.is_ascii_digit()));
            prop_assert_eq!(duration(&text, SECOND).is_some_and(|age| age > SECOND), matches!(freshness(&text, SECOND), Some(Freshness::Age(age)) if age > SECOND));
            prop_assert!(flag(&text).is_none() || text.len() <= 5);
        }
    }
}
