//! PHP applications and their servers: which directories of a site belong into a bucket, under which names and options.
//!
//! Everything here is a decision over values; [`crate::cli`] gathers the facts and acts.

pub mod buckets;
pub mod detect;
pub mod directories;
pub mod fstab;
pub mod plan;
pub mod preset;
pub mod service;
pub mod vendor;

use std::{fmt, str::FromStr};

/// An application that originfs knows.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum App {
    Drupal,
    Joomla,
    Moodle,
    WordPress,
}

impl App {
    pub const ALL: [Self; 4] = [Self::Drupal, Self::Joomla, Self::Moodle, Self::WordPress];

    /// As scripts write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drupal => "drupal",
            Self::Joomla => "joomla",
            Self::Moodle => "moodle",
            Self::WordPress => "wordpress",
        }
    }
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for App {
    type Err = String;

    /// In any case.
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|app| app.name().eq_ignore_ascii_case(text.trim()));
        known.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("APPLICATION: {text:?} is not known; there are {names}, and without it the webroot is looked at")
        })
    }
}
