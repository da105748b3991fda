//! What the configurations of nginx and Apache are made of, once each is read by its own rules.

/// A directive or a section, with what is included in place.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Directive {
    /// Of a section of Apache it begins with `<`.
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) block: Vec<Directive>,
    /// `FILE:LINE`.
    pub(super) place: String,
}

impl Directive {
    /// Whether it has this name, in any case.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}
