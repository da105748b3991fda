//! Rules of Cloudflare's Rulesets API: what is kept and for how long (phase `http_request_cache_settings`), under which tags
//! (phase `http_response_cache_settings`), and headers of answers (phase `http_response_headers_transform`). Of rules that
//! fit, all are applied, and of two that say the same thing the last one counts; so what is never kept comes last.
//!
//! No expression asks for the method: a purge of one file has one of its own, and would miss.

use serde_json::{Value, json};

use super::{Area, CROSS_ORIGIN, Refused, Rules, SANDBOX, YEAR, active, glob};
use crate::cdn::{purge::vendor::cloudflare::Plan, tags, url::Family};

pub const CACHE: &str = "http_request_cache_settings";
pub const TAGS: &str = "http_response_cache_settings";
pub const HEADERS: &str = "http_response_headers_transform";

/// Characters of an expression, at most.
const EXPRESSION_MAX: usize = 4096;
/// Parts into which a header is split, at most; we write 50 tags. The API takes 1 to 128.
const PARTS: usize = 64;

/// A rule as the API takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Which rule it is, whatever becomes of its content.
    pub name: String,
    pub description: String,
    pub expression: String,
    pub action: &'static str,
    pub parameters: Value,
}

/// The rules of one phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    pub rules: Vec<Rule>,
}

impl Rule {
    pub fn json(&self) -> Value {
        json!({
            "ref": self.name,
            "description": self.description,
            "enabled": true,
            "expression": self.expression,
            "action": self.action,
            "action_parameters": self.parameters,
        })
    }
}

/// Seconds for which a plan lets files be kept at least.
fn edge_min(plan: Plan) -> u32 {
    match plan {
        Plan::Free => 7200,
        Plan::Pro => 3600,
        Plan::Business | Plan::Enterprise => 1,
    }
}

/// Rules of a zone in one phase, those of others too.
pub fn rules_max(plan: Plan) -> usize {
    match plan {
        Plan::Free => 10,
        Plan::Pro => 25,
        Plan::Business => 50,
        Plan::Enterprise => 300,
    }
}

/// What all refs of one set of rules begin with. `name`: as [`name`] has it.
pub fn own(name: &str) -> String {
    format!("originfs_{name}_")
}

/// A name for the rules of a site, if nobody gave one: its first host.
pub fn name(rules: &Rules) -> String {
    let host = rules.areas.first().map_or("site", Area::name);
    host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// All phases. Fails if the plan has no such rules.
pub fn phases(rules: &Rules, name: &str, plan: Plan) -> Result<[Phase; 3], Refused> {
    let least = edge_min(plan);
    if let Some(edge) = rules.wishes.edge.filter(|edge| *edge < least) {
        return Err(format!("edge TTL {edge} s: the least on this plan is {least} s"));
    }
    let public = |area: &&Area| !area.private;
    let assets = place(rules.areas.iter().filter(public));
    let rule = |what: &str, description: &str, expression: String, action, parameters| Rule {
        name: format!("{}{what}", own(name)),
        description: format!("originfs: {description}"),
        expression,
        action,
        parameters,
    };
    let (mut cache, mut headers) = (Vec::new(), Vec::new());
    if let Some(assets) = assets {
        let tagged =
            format!("{assets} and starts_with(http.request.uri.query, \"v=\") and len(http.request.uri.query) eq 14");
        cache.push(rule("assets", "keep uploads", assets.clone(), "set_cache_settings", kept(rules, plan)));
        cache.push(rule("versioned", "keep uploads with a version", tagged, "set_cache_settings", versioned()));
        headers.push(rule("headers", "what no bucket can say", assets.clone(), "rewrite", said(rules)));
        let endings: Vec<String> = active().iter().map(|ending| format!("\"{ending}\"")).collect();
        let acting = format!("{assets} and http.request.uri.path.extension in {{{}}}", endings.join(" "));
        let policy = json!({ "headers": { "Content-Security-Policy": { "operation": "set", "value": SANDBOX } } });
        headers.push(rule("active", "nothing runs in uploads", acting, "rewrite", policy));
    }
    if let Some(shared) = place(rules.shared()) {
        let policy = json!({ "Cross-Origin-Resource-Policy": { "operation": "set", "value": CROSS_ORIGIN } });
        headers.push(rule("shared", "other hosts may use uploads", shared, "rewrite", json!({ "headers": policy })));
    }
    let tags = tagged(rules).into_iter().map(|(what, description, expression, parameters)| {
        rule(&what, description, expression, "set_cache_tags", parameters)
    });
    let tags: Vec<Rule> = tags.collect();
    for (number, expression) in private(rules)?.into_iter().enumerate() {
        let what = if number == 0 { "private".to_owned() } else { format!("private{}", number + 1) };
        cache.push(rule(
            &what,
            "never keep what is private",
            expression,
            "set_cache_settings",
            json!({ "cache": false }),
        ));
    }
    for rule in cache.iter().chain(&tags).chain(&headers) {
        if rule.expression.len() > EXPRESSION_MAX {
            return Err(format!(
                "{}: {} characters, of 4096 that an expression may have: make rules for fewer mounts at a time, with a --name for each",
                rule.name,
                rule.expression.len()
            ));
        }
    }
    let phases = [
        Phase { name: CACHE, title: "cache rules", rules: cache },
        Phase { name: TAGS, title: "cache response rules", rules: tags },
        Phase { name: HEADERS, title: "response header transform rules", rules: headers },
    ];
    match phases.iter().find(|phase| phase.rules.len() > rules_max(plan)) {
        Some(phase) => Err(format!("{} {}: the plan has {}", phase.rules.len(), phase.title, rules_max(plan))),
        None => Ok(phases),
    }
}

/// What becomes a tag of the cache: names, descriptions, expressions and parameters of rules. A bucket sends the tags of
/// an object in its metadata; a site does not know them, so its files get the one that all of a mount have.
/// <https://developers.cloudflare.com/cache/how-to/cache-response-rules/settings/>
fn tagged(rules: &Rules) -> Vec<(String, &'static str, String, Value)> {
    let mut all = Vec::new();
    if let Some(place) = place(rules.shared().filter(|area| area.tag.is_some())) {
        let header = format!("x-amz-meta-{}", tags::NAME);
        let split = format!("split(http.response.headers[\"{header}\"][0], \",\", {PARTS})");
        let expression = format!("{place} and any(http.response.headers.names[*] eq \"{header}\")");
        let parameters = json!({ "operation": "add", "expression": split });
        all.push(("tags".to_owned(), "tags of objects", expression, parameters));
    }
    let of_site = |area: &&Area| area.family == Family::Site && !area.private;
    let mut known: Vec<&str> = Vec::new();
    for tag in rules.areas.iter().filter(of_site).filter_map(|area| area.tag.as_deref()) {
        if known.contains(&tag) {
            continue;
        }
        known.push(tag);
        let areas = rules.areas.iter().filter(of_site).filter(|area| area.tag.as_deref() == Some(tag));
        let what = if known.len() == 1 { "tag".to_owned() } else { format!("tag{}", known.len()) };
        let parameters = json!({ "operation": "add", "values": [tag] });
        all.extend(place(areas).map(|place| (what, "the tag of a directory", place, parameters)));
    }
    all
}

fn kept(rules: &Rules, plan: Plan) -> Value {
    let ttl = |seconds: Option<u32>| match seconds {
        Some(seconds) => json!({ "mode": "override_origin", "default": seconds }),
        None => json!({ "mode": "respect_origin" }),
    };
    let mut edge = ttl(rules.wishes.edge);
    if plan == Plan::Enterprise {
        // Others have 404 kept for three minutes, which a purge ends.
        edge["status_code_ttl"] = json!([{ "status_code_range": { "from": 400 }, "value": 0 }]);
    }
    json!({
        "cache": true,
        "edge_ttl": edge,
        "browser_ttl": ttl(rules.wishes.browser),
        "serve_stale": { "disable_stale_while_updating": false },
        "respect_strong_etags": true,
        "cache_key": { "cache_deception_armor": true, "ignore_query_strings_order": true },
    })
}

fn versioned() -> Value {
    json!({
        "cache": true,
        "edge_ttl": { "mode": "override_origin", "default": YEAR },
        "browser_ttl": { "mode": "override_origin", "default": YEAR },
    })
}

fn said(rules: &Rules) -> Value {
    let set = |value: &str| json!({ "operation": "set", "value": value });
    let mut headers = json!({
        "X-Content-Type-Options": set("nosniff"),
        // A file needs none, and one that is kept would be everybody's.
        "Set-Cookie": { "operation": "remove" },
    });
    if rules.wishes.cors {
        headers["Access-Control-Allow-Origin"] = set("*");
    }
    json!({ "headers": headers })
}

/// The paths of some directories, as one condition in brackets.
fn place<'a>(areas: impl Iterator<Item = &'a Area>) -> Option<String> {
    let mut hosts: Vec<(&str, Vec<&str>)> = Vec::new();
    for area in areas {
        match hosts.iter_mut().find(|(host, _)| *host == area.name()) {
            Some((_, paths)) if paths.contains(&&*area.path) => {}
            Some((_, paths)) => paths.push(&area.path),
            None => hosts.push((area.name(), vec![&area.path])),
        }
    }
    let of_host = |(host, paths): &(&str, Vec<&str>)| {
        let host = format!("http.host eq {}", quoted(host));
        if paths.contains(&"/") {
            return host;
        }
        let paths: Vec<_> =
            paths.iter().map(|path| format!("starts_with(http.request.uri.path, {})", quoted(path))).collect();
        format!("({host} and {})", any(&paths))
    };
    (!hosts.is_empty()).then(|| any(&hosts.iter().map(of_host).collect::<Vec<_>>()))
}

/// Conditions for all that is never kept, each short enough.
fn private(rules: &Rules) -> Result<Vec<String>, Refused> {
    let mut all: Vec<String> = place(rules.areas.iter().filter(|area| area.private)).into_iter().collect();
    let public: Vec<&Area> = rules.areas.iter().filter(|area| !area.private).collect();
    // Areas with the same names that are private share a condition.
    let mut groups: Vec<(Vec<String>, Vec<&Area>)> = Vec::new();
    let mut rooted: Vec<String> = Vec::new();
    for area in public {
        let (own, names): (Vec<_>, Vec<_>) = area.withheld.iter().partition(|pattern| pattern.rooted);
        let names: Vec<String> = names.iter().flat_map(|pattern| wildcards(&format!("*/{}", pattern.text))).collect();
        match groups.iter_mut().find(|(known, _)| *known == names) {
            Some((_, areas)) => areas.push(area),
            None => groups.push((names, vec![area])),
        }
        let paths = own.iter().flat_map(|pattern| wildcards(&format!("{}{}", area.path, pattern.text)));
        rooted.extend(paths.map(|path| format!("(http.host eq {} and {path})", quoted(area.name()))));
    }
    for (names, areas) in groups {
        let Some(place) = place(areas.into_iter()) else { continue };
        let room = EXPRESSION_MAX.checked_sub(place.len() + " and ()".len());
        let room =
            room.ok_or_else(|| "too many directories for one rule: make rules for fewer mounts at a time".to_owned())?;
        all.extend(chunks(names, room)?.into_iter().map(|names| format!("{place} and {names}")));
    }
    all.extend(chunks(rooted, EXPRESSION_MAX)?);
    Ok(all)
}

/// The path itself and all below it.
fn wildcards(path: &str) -> Vec<String> {
    let text = glob::wildcard(path);
    // "*/*.php" says no more than "*.php" of what has a slash.
    let text = text.strip_prefix("*/*").map_or(text.clone(), |rest| format!("*{rest}"));
    let is = |text: &str| format!("http.request.uri.path wildcard {}", quoted(text));
    if text.ends_with('*') { vec![is(&text)] } else { vec![is(&text), is(&format!("{text}/*"))] }
}

/// Alternatives, as few conditions as fit into `room` characters each.
fn chunks(all: Vec<String>, room: usize) -> Result<Vec<String>, Refused> {
    let mut chunks: Vec<Vec<String>> = Vec::new();
    let mut len = usize::MAX;
    for one in all {
        let more = one.len() + " or ".len();
        if len.saturating_add(more) > room {
            chunks.push(Vec::new());
            len = "()".len();
        }
        if len.saturating_add(one.len()) > room {
            return Err(format!("too long for a rule: {one}"));
        }
        len += more;
        chunks.last_mut().expect("one was pushed").push(one);
    }
    Ok(chunks.iter().map(|chunk| any(chunk)).collect())
}

fn any(all: &[String]) -> String {
    if let [one] = all { one.clone() } else { format!("({})", all.join(" or ")) }
}

/// A string of the rules language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What `PUT .../rulesets/phases/PHASE/entrypoint` takes, by phase. A phase without a rule of ours is not there: an empty
/// list would take away those of others.
pub fn emit(rules: &Rules, name: &str, plan: Plan) -> Result<String, Refused> {
    let phases = phases(rules, name, plan)?;
    let bodies = phases.iter().filter(|phase| !phase.rules.is_empty()).map(|phase| {
        let rules: Vec<Value> = phase.rules.iter().map(Rule::json).collect();
        (phase.name.to_owned(), json!({ "rules": rules }))
    });
    let all: serde_json::Map<String, Value> = bodies.collect();
    Ok(format!("{:#}\n", Value::Object(all)))
}
