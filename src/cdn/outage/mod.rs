//! What a host does when the CDN does not answer: it looks at the CDN through a small object, and tells pages, PHP and
//! web servers which base URL to use now, that of the CDN or that of the site. The same paths are served by the site
//! from the mount, so nothing has to be copied for that.

pub mod hysteresis;
pub mod sight;
pub mod telling;

/// For the pages of a site: images, styles and scripts that the CDN does not give are asked of the site, once each.
pub const SCRIPT: &str = include_str!("../../../share/js/originfs-onerror.js");

#[cfg(test)]
mod tests {
    use super::SCRIPT;

    /// Every page loads it before all else; docs/CDN.md says what its lines do.
    #[test]
    fn the_script_is_smaller_than_a_kilobyte_and_needs_no_exception_from_a_policy() {
        assert!(SCRIPT.len() < 1024, "{} bytes", SCRIPT.len());
        for unsafe_part in ["eval(", "Function(", "innerHTML", "style=", "onerror="] {
            assert!(!SCRIPT.contains(unsafe_part), "{unsafe_part}");
        }
    }
}
