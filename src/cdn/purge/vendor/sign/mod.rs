//! Signatures that a request carries in place of a secret: what is signed, when, and by whom. No clock, no randomness.

pub mod edgegrid;
pub mod keys;
pub mod sigv4;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::cost::day::{Day, SECONDS};

/// What makes a signature that of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// Since 1970.
    pub seconds: i64,
    /// Never used twice.
    pub nonce: u128,
}

impl Stamp {
    /// `20150830`
    fn date(self) -> String {
        let (year, month, day) = Day::of(self.seconds).civil();
        format!("{year:04}{month:02}{day:02}")
    }

    /// Hour, minute and second, in UTC.
    fn time(self) -> (i64, i64, i64) {
        let second = self.seconds.rem_euclid(SECONDS);
        (second / 3600, second / 60 % 60, second % 60)
    }
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104)");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn sha256(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Hexadecimal, in small letters.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("a nibble is one hexadecimal digit");
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}
