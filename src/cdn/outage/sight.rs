//! What an answer of the edge says of it. Pure.

use std::{collections::VecDeque, fmt};

use sha2::{Digest as _, Sha256};

/// Contents of the object that an edge may show: it may be some versions behind, and is not down for that.
const VERSIONS_MAX: usize = 8;

type Sum = [u8; 32];

/// The contents that the object was seen to have in the bucket.
#[derive(Clone, Debug, Default)]
pub struct Known(VecDeque<Sum>);

impl Known {
    /// The bucket has these bytes.
    pub fn learn(&mut self, bytes: &[u8]) {
        let sum: Sum = Sha256::digest(bytes).into();
        if self.0.contains(&sum) {
            return;
        }
        if self.0.len() == VERSIONS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(sum);
    }

    pub fn has(&self, bytes: &[u8]) -> bool {
        let sum: Sum = Sha256::digest(bytes).into();
        self.0.contains(&sum)
    }
}

/// What an edge made of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// A whole answer.
    Came { status: u16, body: Vec<u8> },
    /// None, or none in time; why, in one line.
    Failed(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Came { status, .. } => write!(f, "status {status}"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// What is to be made of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    Good,
    /// Status 200 with bytes that nobody knows: those of the bucket now, or an error page that says 200.
    Strange,
    Bad(String),
}

pub fn judge(answer: &Answer, known: &Known) -> Verdict {
    match answer {
        Answer::Came { status: 200, body } if known.has(body) => Verdict::Good,
        Answer::Came { status: 200, .. } => Verdict::Strange,
        // A 404 of an object that is there is an outage, too: so will be all others.
        Answer::Came { .. } | Answer::Failed(_) => Verdict::Bad(answer.to_string()),
    }
}

/// `url` with a query that no cache has: then it is the CDN's way to its origin that is looked at. Every other look is
/// such a one, so that an edge that only has what is popular counts as down.
pub fn url_of(url: &str, look: u64, random: u32) -> String {
    if look.is_multiple_of(2) { url.to_owned() } else { format!("{url}?originfs={random:08x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(status: u16, body: &[u8]) -> Answer {
        Answer::Came { status, body: body.to_vec() }
    }

    #[test]
    fn only_the_objects_own_bytes_are_good() {
        let mut known = Known::default();
        assert_eq!(judge(&came(200, b"logo"), &known), Verdict::Strange);
        known.learn(b"logo");
        assert_eq!(judge(&came(200, b"logo"), &known), Verdict::Good);
        assert_eq!(judge(&came(200, b"<html>suspended"), &known), Verdict::Strange);
        assert_eq!(judge(&came(404, b"logo"), &known), Verdict::Bad("status 404".to_owned()));
        assert_eq!(judge(&came(503, b""), &known), Verdict::Bad("status 503".to_owned()));
        assert_eq!(judge(&Answer::Failed("refused".to_owned()), &known), Verdict::Bad("refused".to_owned()));
    }

    #[test]
    fn an_edge_may_be_some_versions_behind() {
        let mut known = Known::default();
        for version in 0..8_u8 {
            known.learn(&[version]);
        }
        known.learn(&[7]);
        assert!(known.has(&[0]));
        known.learn(&[8]);
        assert!(!known.has(&[0]) && known.has(&[1]), "what is known has a bound");
    }

    #[test]
    fn every_other_look_goes_through_to_the_origin() {
        assert_eq!(url_of("https://cdn.example.org/a.png", 0, 7), "https://cdn.example.org/a.png");
        assert_eq!(url_of("https://cdn.example.org/a.png", 1, 7), "https://cdn.example.org/a.png?originfs=00000007");
    }
}
