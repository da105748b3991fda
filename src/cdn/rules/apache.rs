//! For Apache, as the webserver that serves the mounted directories behind a cache: it keeps nothing itself, and says what
//! others may keep.

use std::fmt::Write as _;

use super::{Area, IMMUTABLE, Refused, Rules, SANDBOX, SHORT, TOKEN, active, glob::Spelling};
use crate::cdn::url::Family;

/// Sections for the virtual host of the site.
pub fn emit(rules: &Rules) -> Result<String, Refused> {
    let areas: Vec<&Area> = rules.areas.iter().filter(|area| area.family == Family::Site).collect();
    if areas.is_empty() {
        return Err("Apache serves the directories of a site: say site_url= in the options of the mount".to_owned());
    }
    let mut text = super::head();
    text.push_str("# To be included in the virtual host of the site; needs mod_headers.\n");
    let mut known: Vec<String> = Vec::new();
    for area in areas {
        let path = area.decoded();
        if !known.contains(&path) {
            section(&mut text, rules, area, &path).expect("a string takes everything");
            known.push(path);
        }
    }
    Ok(text)
}

fn section(text: &mut String, rules: &Rules, area: &Area, path: &str) -> std::fmt::Result {
    let escaped = super::glob::regex_of_path(path);
    if area.private {
        return write!(text, "\n<LocationMatch \"^{escaped}\">\n    Require all denied\n</LocationMatch>\n");
    }
    let browser = rules.wishes.browser.map_or_else(|| SHORT.to_owned(), |seconds| format!("public, max-age={seconds}"));
    let endings = active().join("|");
    let own = "! (resp('Cache-Control') =~ /private|no-store|no-cache/)";
    write!(
        text,
        "
<LocationMatch \"^{escaped}\">
    # What a program says is private stays private.
    Header always set X-Content-Type-Options \"nosniff\"
    Header always unset Set-Cookie
    Header unset Set-Cookie
    Header set Cache-Control \"{browser}\" \"expr=%{{REQUEST_STATUS}} < 400 && {own}\"
    # Other bytes have another URL.
    Header set Cache-Control \"{IMMUTABLE}\" \"expr=%{{REQUEST_STATUS}} < 400 && {own} && %{{QUERY_STRING}} =~ /^v={TOKEN}$/\"
"
    )?;
    if rules.wishes.cors {
        text.push_str("    Header always set Access-Control-Allow-Origin \"*\"\n");
    }
    write!(
        text,
        "</LocationMatch>
<LocationMatch \"(?i)^{escaped}.*[.](?:{endings})$\">
    Header always set Content-Security-Policy \"{SANDBOX}\"
</LocationMatch>
<LocationMatch \"(?i)^{escaped}{}\">
    Require all denied
</LocationMatch>
",
        area.hidden(Spelling::Decoded)
    )
}
