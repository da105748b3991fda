//! For Varnish 6 and newer in front of a webserver or a bucket: a whole VCL.
//!
//! An object has one place in the cache, whatever is in the query, with a variant for each version in the URL: a purge
//! removes all of them. What servers read as other paths is refused.

use std::fmt::Write as _;

use super::{ABSENT, Area, CROSS_ORIGIN, IMMUTABLE, Refused, Rules, SANDBOX, TOKEN, active, glob};
use crate::cdn::url::Family;

/// What is kept after its time, for when the origin is away.
const GRACE: &str = "1d";

/// The whole VCL. Varnish listens where its command line says.
pub fn emit(rules: &Rules) -> Result<String, Refused> {
    let mut backends: Vec<String> = Vec::new();
    let mut sorting = String::new();
    let mut rest = String::new();
    let mut from = String::new();
    for host in rules.hosts() {
        let areas = rules.at(host);
        let Some(first) = areas.first() else { continue };
        let is_host = format!("req.http.x-originfs-host == \"{}\"", first.name());
        let site = areas.iter().find(|area| area.family == Family::Site);
        for area in &areas {
            let number = rules.areas.iter().position(|known| known == *area).expect("it is one of them");
            let backend = backend(&mut backends, rules.origin(area)?)?;
            sorting.push_str(&sort(area, number, &is_host, backend));
            if area.family == Family::Cdn {
                from.push_str(&from_bucket(area, number));
            }
        }
        if let Some(area) = site {
            let backend = backend(&mut backends, rules.origin(area)?)?;
            write!(rest, "    if ({is_host}) {{\n        set req.backend_hint = origin_{backend};\n        return (pass);\n    }}\n")
                .expect("a string takes everything");
        }
    }
    let mut text = super::head();
    text.push_str("vcl 4.1;\n\nimport std;\n\n");
    for (number, backend) in backends.iter().enumerate() {
        write!(text, "backend origin_{number} {{\n{backend}}}\n").expect("a string takes everything");
    }
    text.push_str(&purgers(rules));
    text.push_str(&receive(&sorting, &rest));
    text.push_str(&answers(rules, &from));
    text.push_str(&delivered(rules));
    Ok(text)
}

/// The number of a backend, which is made if there is none.
fn backend(all: &mut Vec<String>, url: &str) -> Result<usize, Refused> {
    let (scheme, host, _) = crate::cdn::purge::urls::parts(url);
    if scheme != "http" {
        return Err(format!(
            "{url}: Varnish asks its origin without TLS; for a bucket put a proxy between them, for a site say --origin http://HOST[:PORT]"
        ));
    }
    let name = super::without_port(host);
    let port = if super::has_port(host) { host.rsplit(':').next().unwrap_or("80") } else { "80" };
    let text = format!("    .host = \"{name}\";\n    .port = \"{port}\";\n");
    let known = all.iter().position(|known| *known == text);
    Ok(known.unwrap_or_else(|| {
        all.push(text);
        all.len() - 1
    }))
}

fn purgers(rules: &Rules) -> String {
    let own = ["127.0.0.1".to_owned()];
    let purgers = if rules.wishes.purgers.is_empty() { &own[..] } else { &rules.wishes.purgers };
    let lines = purgers.iter().map(|address| match address.split_once('/') {
        Some((address, bits)) => format!("    \"{address}\"/{bits};\n"),
        None => format!("    \"{address}\";\n"),
    });
    format!("\nacl originfs_purgers {{\n{}}}\n", lines.collect::<String>())
}

/// Finds out to which directory a request belongs.
fn sort(area: &Area, number: usize, is_host: &str, backend: usize) -> String {
    let escaped = glob::regex_of_path(&area.path);
    let is_here = format!("!req.http.x-originfs-area && {is_host} && req.http.x-originfs-path ~ \"^{escaped}\"");
    if area.private {
        // A site asks its own programs who may; a bucket has nobody to ask.
        return if area.family == Family::Cdn {
            format!("    if ({is_here}) {{ return (synth(404)); }}\n")
        } else {
            String::new()
        };
    }
    let mut hidden = area.hidden(glob::Spelling::Raw);
    if area.family == Family::Cdn {
        // Directories, which a bucket would answer with a listing.
        hidden = format!("(?:{hidden}|(?:.*/)?$)");
    }
    format!(
        "    if ({is_here}) {{\n        set req.http.x-originfs-area = \"{number}\";\n        set req.backend_hint = origin_{backend};\n        if (req.method != \"BAN\" && req.http.x-originfs-path ~ \"(?i)^{escaped}{hidden}\") {{ return (synth(404)); }}\n    }}\n"
    )
}

/// Asks a bucket for a key.
fn from_bucket(area: &Area, number: usize) -> String {
    let (_, host, path) = crate::cdn::purge::urls::parts(&area.bucket);
    let escaped = glob::regex_of_path(&area.path);
    format!(
        "    if (bereq.http.x-originfs-area == \"{number}\") {{\n        set bereq.url = regsub(bereq.http.x-originfs-path, \"^{escaped}\", \"{path}\");\n        set bereq.http.host = \"{host}\";\n        unset bereq.http.authorization;\n    }}\n"
    )
}

fn receive(sorting: &str, rest: &str) -> String {
    format!(
        r#"
sub vcl_recv {{
    # Nobody but this file sets these.
    unset req.http.x-originfs-area;
    set req.http.x-originfs-host = std.tolower(regsub(req.http.host, ":[0-9]+$", ""));
    set req.http.x-originfs-path = regsub(req.url, "[?].*$", "");
    set req.http.x-originfs-v = "";
    if (req.url ~ "[?&]v={TOKEN}(&|$)") {{
        set req.http.x-originfs-v = regsub(req.url, "^.*[?&]v=({TOKEN})(&.*)?$", "\1");
    }}
{sorting}    if (!req.http.x-originfs-area) {{
        call originfs_others;
    }}
    # Spellings of a path that no browser sends: of a letter, of a slash, of dots. Servers read them each in its own way.
    if (req.http.x-originfs-path ~ "(?i)%(00|2[def]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])"
        || req.http.x-originfs-path ~ "/[.][.]?(/|$)") {{
        return (synth(400));
    }}
    if (req.method == "PURGE" || req.method == "BAN") {{
        if (client.ip !~ originfs_purgers) {{
            return (synth(405));
        }}
        if (req.method == "PURGE") {{
            return (purge);
        }}
        if (!req.http.x-ban-url) {{
            return (synth(400));
        }}
        ban("obj.http.x-originfs-host == " + req.http.x-originfs-host + " && obj.http.x-originfs-path ~ " + req.http.x-ban-url);
        return (synth(200));
    }}
    if (req.method != "GET" && req.method != "HEAD" && req.method != "OPTIONS") {{
        return (synth(405));
    }}
    if (req.method == "OPTIONS" || req.http.authorization) {{
        return (pass);
    }}
    unset req.http.cookie;
    return (hash);
}}

# Nothing else is kept.
sub originfs_others {{
    if (req.method == "PURGE" || req.method == "BAN") {{
        return (synth(405));
    }}
{rest}    return (synth(404));
}}

sub vcl_hash {{
    hash_data(req.http.x-originfs-path);
    hash_data(req.http.x-originfs-host);
    return (lookup);
}}
"#
    )
}

/// What is asked, and what is kept of the answer.
fn answers(rules: &Rules, from: &str) -> String {
    let ttl = rules.wishes.edge.map_or_else(String::new, |seconds| format!("        set beresp.ttl = {seconds}s;\n"));
    format!(
        r#"
sub vcl_backend_fetch {{
{from}    return (fetch);
}}

sub vcl_backend_response {{
    if (!bereq.http.x-originfs-area) {{
        return (deliver);
    }}
    set beresp.http.x-originfs-host = bereq.http.x-originfs-host;
    set beresp.http.x-originfs-path = bereq.http.x-originfs-path;
    set beresp.http.x-originfs-check = bereq.http.x-originfs-v + "|" + beresp.http.etag;
    # Each version in a URL is a variant, and a purge removes all variants.
    set beresp.http.vary = "x-originfs-v";
    if (beresp.http.set-cookie
        || beresp.http.cache-control ~ "(?i)private|no-store|no-cache"
        # It is not the version that its URL names: it was replaced since.
        || beresp.http.x-originfs-check ~ {{"^([0-9a-f]{{12}})[|](?:W/)?"(?!\1)[0-9a-f]{{32}}"$"}}) {{
        set beresp.http.x-originfs-pass = "1";
        set beresp.uncacheable = true;
        set beresp.ttl = 10s;
    }} elsif (beresp.status == 200) {{
{ttl}        set beresp.grace = {GRACE};
    }} elsif (beresp.status == 404 || beresp.status == 410) {{
        set beresp.ttl = {ABSENT}s;
        set beresp.grace = 0s;
    }} else {{
        set beresp.uncacheable = true;
        set beresp.ttl = 0s;
    }}
    unset beresp.http.set-cookie;
    unset beresp.http.x-originfs-check;
    return (deliver);
}}
"#
    )
}

/// What visitors get.
fn delivered(rules: &Rules) -> String {
    // Browsers would take it off the time for which they keep a file.
    let age = if rules.wishes.edge.is_some() { "    unset resp.http.age;\n" } else { "" };
    let browser = rules.wishes.browser.map_or_else(String::new, |seconds| {
        format!(
            "    elsif (resp.status == 200 && !resp.http.x-originfs-pass) {{\n        set resp.http.cache-control = \"public, max-age={seconds}\";\n    }}\n"
        )
    });
    let cors = if rules.wishes.cors { "    set resp.http.access-control-allow-origin = \"*\";\n" } else { "" };
    let shared = |area: &Area| area.family == Family::Cdn && !area.private;
    let numbers = rules.areas.iter().enumerate().filter(|(_, area)| shared(area)).map(|(number, _)| number.to_string());
    let numbers: Vec<String> = numbers.collect();
    let shared = if numbers.is_empty() {
        String::new()
    } else {
        format!(
            "    if (req.http.x-originfs-area ~ \"^({})$\") {{\n        set resp.http.cross-origin-resource-policy = \"{CROSS_ORIGIN}\";\n    }}\n",
            numbers.join("|")
        )
    };
    let endings = active().join("|");
    format!(
        r#"
sub vcl_deliver {{
    if (!req.http.x-originfs-area) {{
        return (deliver);
    }}
    if (req.http.x-originfs-v != "" && resp.status == 200 && !resp.http.x-originfs-pass) {{
        set resp.http.cache-control = "{IMMUTABLE}";
    }}
{browser}{age}    set resp.http.x-content-type-options = "nosniff";
    if (req.http.x-originfs-path ~ "(?i)[.]({endings})$") {{
        set resp.http.content-security-policy = "{SANDBOX}";
    }}
{shared}{cors}    if (obj.hits > 0) {{
        set resp.http.cache-status = "originfs; hit";
    }} else {{
        set resp.http.cache-status = "originfs; fwd=miss";
    }}
    unset resp.http.vary;
    unset resp.http.x-originfs-host;
    unset resp.http.x-originfs-path;
    unset resp.http.x-originfs-pass;
    return (deliver);
}}
"#
    )
}
