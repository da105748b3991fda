//! For nginx as a cache in front of a webserver or a bucket, with the module `ngx_cache_purge` (Debian:
//! `libnginx-mod-http-cache-purge`). A file for the `http` context.
//!
//! The key of the cache is the path with its encoding undone, so a purge reaches a file however its URL was spelled;
//! what servers read as other paths, or as the same by their own rules, is refused. Of the query only a version is in the
//! key, and an answer that shows not to be that version is not kept.

use std::fmt::Write as _;

use super::{ABSENT, Area, IMMUTABLE, Refused, Rules, SANDBOX, TOKEN, active, glob::Spelling};
use crate::cdn::url::Family;

/// Where it listens, if nobody says.
const LISTEN: &str = "80";

/// [`super::CROSS_ORIGIN`], for directories of a bucket.
const SHARED: &str = "        add_header Cross-Origin-Resource-Policy cross-origin always;\n";

/// Under which a file is kept.
const KEY: &str = "\"$host|$originfs_v|$uri\"";

/// The whole file.
pub fn emit(rules: &Rules) -> Result<String, Refused> {
    let mut origins = Origins::default();
    let mut servers = String::new();
    for host in rules.hosts() {
        servers.push_str(&server(rules, host, &mut origins)?);
    }
    let mut text = super::head();
    text.push_str(&maps(rules));
    text.push_str(&origins.text());
    text.push_str(&servers);
    Ok(text)
}

fn maps(rules: &Rules) -> String {
    let browser = rules
        .wishes
        .browser
        .map_or_else(|| "$upstream_http_cache_control".to_owned(), |seconds| format!("\"public, max-age={seconds}\""));
    let inactive = rules.edge();
    format!(
        r#"
proxy_cache_path /var/cache/nginx/originfs levels=1:2 keys_zone=originfs:16m max_size=10g inactive={inactive}s use_temp_path=off;

# The version in a URL.
map $arg_v $originfs_v {{
    default "";
    "~^{TOKEN}$" $arg_v;
}}
# Spellings of a path that no browser sends: of a letter, of a slash, of dots. Servers read them each in its own way.
map $request_uri $originfs_odd {{
    default "";
    "~*^[^?]*%(?:00|2[def]|3[0-9]|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])" 1;
    "~^[^?]*/[.][.]?(?:[/?]|$)" 1;
}}
# A plus in a path is a space to some buckets, and the same as its encoded form here.
map $request_uri $originfs_plus {{
    default "";
    "~^[^?]*[+]" 1;
}}
# The answer is not the version that its URL names: it was replaced since.
map "$originfs_v|$upstream_http_etag" $originfs_other {{
    default 0;
    '~^([0-9a-f]{{12}})[|](?:W/)?"(?!\1)[0-9a-f]{{32}}"$' 1;
}}
# What is not kept.
map "$originfs_other|$upstream_http_cache_control" $originfs_pass {{
    default 0;
    "~^1" 1;
    "~*(?:private|no-store|no-cache)" 1;
}}
map "$originfs_pass|$originfs_v" $originfs_cache_control {{
    default {browser};
    "~^1" $upstream_http_cache_control;
    "~^0[|]." "{IMMUTABLE}";
}}
# Nothing runs in what would run in a browser.
map $uri $originfs_csp {{
    default "";
    "~*[.](?:{})$" "{SANDBOX}";
}}
"#,
        active().join("|")
    )
}

/// The servers behind the cache, and the parts of their URLs.
#[derive(Default)]
struct Origins {
    /// `scheme://host:port`, and the numbers of the groups of servers.
    all: Vec<String>,
    maps: String,
}

impl Origins {
    /// The number of an origin, `scheme://NAME` for it, the host to ask for, and the path with which it begins.
    fn of(&mut self, url: &str) -> (String, String, String) {
        let (scheme, host, path) = crate::cdn::purge::urls::parts(url);
        let origin = format!("{scheme}://{host}");
        let number = self.all.iter().position(|known| *known == origin).unwrap_or_else(|| {
            self.all.push(origin);
            self.all.len() - 1
        });
        (format!("{scheme}://originfs_{number}"), host.to_owned(), path.trim_end_matches('/').to_owned())
    }

    /// A variable with what follows the first `depth` names of a path, as it was sent.
    fn rest(&mut self, depth: usize) -> String {
        let name = format!("$originfs_rest_{depth}");
        if !self.maps.contains(&format!("{name} {{")) {
            let names = format!("(?:[^/?]*/){{{depth}}}");
            write!(
                self.maps,
                "map $request_uri {name} {{\n    default \"\";\n    \"~^/{names}(?<originfs_r{depth}>[^?]*)\" $originfs_r{depth};\n}}\n"
            )
            .expect("a string takes everything");
        }
        name
    }

    fn text(&self) -> String {
        let mut text = self.maps.clone();
        for (number, origin) in self.all.iter().enumerate() {
            let (scheme, host) = origin.split_once("://").unwrap_or(("http", origin));
            let port = if super::has_port(host) {
                ""
            } else if scheme == "https" {
                ":443"
            } else {
                ":80"
            };
            write!(text, "upstream originfs_{number} {{\n    server {host}{port};\n    keepalive 16;\n}}\n")
                .expect("a string takes everything");
        }
        text
    }
}

fn server(rules: &Rules, host: &str, origins: &mut Origins) -> Result<String, Refused> {
    let listen = rules.wishes.listen.as_deref().unwrap_or(LISTEN);
    let areas = rules.at(host);
    let Some(first) = areas.first() else { return Ok(String::new()) };
    let mut text = format!(
        "\nserver {{\n    listen {listen};\n    server_name {};\n    # Certificates, and what else this host needs.\n    include /etc/nginx/originfs.d/*.conf;\n    merge_slashes off;\n",
        first.name()
    );
    let mut known: Vec<String> = Vec::new();
    for area in &areas {
        let path = area.decoded();
        if !known.contains(&path) {
            let location = location(rules, area, &path, origins)?;
            known.extend((!location.is_empty()).then_some(path));
            text.push_str(&location);
        }
    }
    if !known.iter().any(|path| path == "/") {
        let site = areas.iter().find(|area| area.family == Family::Site);
        text.push_str("\n    # Nothing else is kept.\n    location / {\n");
        let rest = match site {
            Some(area) => {
                let (upstream, _, _) = origins.of(rules.origin(area)?);
                ["        proxy_pass ", &upstream, ";\n", &through(&upstream)].concat()
            }
            None => "        return 404;\n".to_owned(),
        };
        text.push_str(&rest);
        text.push_str("    }\n");
    }
    text.push_str(&purging(rules));
    text.push_str("}\n");
    Ok(text)
}

/// The way of a purge. It has a place of its own: where the module is to know a purge by its method, beside `proxy_pass`,
/// that of Debian 12 (2.3 with nginx 1.22) crashes.
fn purging(rules: &Rules) -> String {
    let own = ["127.0.0.1".to_owned()];
    let purgers = if rules.wishes.purgers.is_empty() { &own[..] } else { &rules.wishes.purgers };
    let allowed = purgers.iter().map(|address| format!("        allow {address};\n")).collect::<Vec<_>>().concat();
    format!(
        "\n    location @originfs_purge {{\n{allowed}        deny all;\n        proxy_cache_purge originfs {KEY};\n    }}\n"
    )
}

/// To a webserver, as if the visitor had asked it.
fn through(upstream: &str) -> String {
    let tls = if upstream.starts_with("https") {
        "        proxy_ssl_server_name on;\n        proxy_ssl_name $host;\n"
    } else {
        ""
    };
    format!(
        "        proxy_http_version 1.1;\n        proxy_set_header Connection \"\";\n        proxy_set_header Host $http_host;\n        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n        proxy_set_header X-Forwarded-Proto $scheme;\n{tls}"
    )
}

fn location(rules: &Rules, area: &Area, path: &str, origins: &mut Origins) -> Result<String, Refused> {
    let bucket = area.family == Family::Cdn;
    if area.private {
        // A site asks its own programs who may; a bucket has nobody to ask.
        return Ok(if bucket { format!("\n    location ^~ \"{path}\" {{ return 404; }}\n") } else { String::new() });
    }
    let mut hidden = area.hidden(Spelling::Decoded);
    if bucket {
        // Directories, which a bucket would answer with a listing.
        hidden = format!("(?:{hidden}|(?:.*/)?$)");
    }
    let escaped = super::glob::regex_of_path(path);
    let (pass, headers) = if bucket {
        let (upstream, host, start) = origins.of(&area.bucket);
        let rest = origins.rest(area.path.matches('/').count() - 1);
        let tls = if upstream.starts_with("https") {
            format!("        proxy_ssl_server_name on;\n        proxy_ssl_name {};\n", super::without_port(&host))
        } else {
            String::new()
        };
        let headers = format!(
            "        proxy_http_version 1.1;\n        proxy_set_header Connection \"\";\n        proxy_set_header Host {host};\n        proxy_set_header Authorization \"\";\n{tls}"
        );
        (format!("{upstream}{start}/{rest}"), headers)
    } else {
        let (upstream, _, _) = origins.of(rules.origin(area)?);
        let headers = through(&upstream);
        (upstream, headers)
    };
    let ttl = rules.wishes.edge.map_or_else(String::new, |seconds| {
        format!("        proxy_ignore_headers Cache-Control Expires X-Accel-Expires;\n        proxy_cache_valid 200 {seconds}s;\n")
    });
    let shared = if bucket { SHARED } else { "" };
    let plus = if bucket { " $originfs_plus" } else { "" };
    let cors = if rules.wishes.cors { "        add_header Access-Control-Allow-Origin \"*\" always;\n" } else { "" };
    Ok(format!(
        r#"
    location ^~ "{path}" {{
        if ($originfs_odd) {{ return 400; }}
        if ($request_method = PURGE) {{ return 418; }}
        error_page 418 = @originfs_purge;
        if ($request_method !~ "^(?:GET|HEAD|OPTIONS)$") {{ return 405; }}
        location ~* "^{escaped}{hidden}" {{ return 404; }}

        proxy_pass {pass};
{headers}        proxy_set_header Cookie "";
        proxy_set_header Accept-Encoding "";
        proxy_cache originfs;
        proxy_cache_key {KEY};
{ttl}        # Of what is kept under one key a purge removes one.
        proxy_ignore_headers Vary;
        proxy_cache_valid 404 410 {ABSENT}s;
        proxy_no_cache $originfs_pass $http_authorization{plus};
        proxy_cache_bypass $http_authorization;
        proxy_cache_lock on;
        proxy_cache_revalidate on;
        proxy_cache_background_update on;
        proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
        proxy_hide_header Cache-Control;
        proxy_hide_header Set-Cookie;
        proxy_hide_header Vary;
        proxy_hide_header X-Content-Type-Options;
        proxy_hide_header Content-Security-Policy;
        proxy_hide_header Access-Control-Allow-Origin;
        add_header Cache-Control $originfs_cache_control;
        add_header X-Content-Type-Options nosniff always;
        add_header Content-Security-Policy $originfs_csp always;
{shared}{cors}        add_header Cache-Status "originfs; detail=$upstream_cache_status" always;
    }}
"#
    ))
}
