//! `POST /zones/{zone}/purge_cache` of Cloudflare, held to what it publishes.

use std::collections::HashSet;

use serde_json::Value;

use super::{Asked, State, TOKEN, Variant, ZONE};

/// Items in a request, as on most plans.
const BATCH: usize = 30;
/// Characters of a tag (Purge by tags).
const TAG_MAX: usize = 1024;

type Said = (u16, String, Vec<u8>);

/// An action `set_cache_tags` with an expression, as Cloudflare would run it: a header is split at a separator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in super::super) struct TagRule {
    separator: String,
    limit: usize,
}

impl TagRule {
    /// `split(http.response.headers["NAME"][0], "SEPARATOR", LIMIT)`; the names of headers are in lower case there.
    pub(in super::super) fn parse(expression: &str) -> Option<Self> {
        let rest = expression.strip_prefix("split(http.response.headers[\"")?.strip_suffix(')')?;
        let (header, rest) = rest.split_once("\"][0], \"")?;
        let (separator, limit) = rest.split_once("\", ")?;
        let limit = limit.parse().ok().filter(|limit| (1..=128).contains(limit))?;
        // The one that an answer of the bucket is kept with here.
        let fine = !separator.is_empty() && header == "x-amz-meta-cache-tag";
        fine.then(|| Self { separator: separator.to_owned(), limit })
    }

    /// The rule of a ruleset, as text.
    pub(in super::super) fn of(rule: &str) -> Option<Self> {
        let rule: Value = serde_json::from_str(rule).ok()?;
        let is = rule["action"] == "set_cache_tags" && rule["enabled"] == true;
        Self::parse(rule["action_parameters"]["expression"].as_str().filter(|_| is)?)
    }

    fn tags(&self, value: &str) -> HashSet<String> {
        value.splitn(self.limit, &self.separator).map(str::to_ascii_lowercase).collect()
    }
}

fn no(status: u16, why: &str) -> Said {
    let body = format!(r#"{{"success":false,"errors":[{{"code":1,"message":"{why}"}}]}}"#);
    (status, String::new(), body.into_bytes())
}

fn busy() -> Said {
    (429, "retry-after: 1\r\n".to_owned(), no(429, "rate limit").2)
}

pub(super) fn purge(asked: &Asked, state: &mut State, address: &str) -> Said {
    let header = |name: &str| asked.headers.get(name).map_or("", String::as_str);
    if asked.target != format!("/zones/{ZONE}/purge_cache") {
        return no(404, "no such zone");
    }
    if header("authorization") != format!("Bearer {TOKEN}") {
        return no(403, "authentication error");
    }
    if header("content-type") != "application/json" {
        return no(400, "content-type");
    }
    let Ok(Value::Object(body)) = serde_json::from_slice(&asked.body) else { return no(400, "not JSON") };
    let mut fields = body.iter();
    let (Some((field, value)), None) = (fields.next(), fields.next()) else { return no(400, "exactly one field") };
    let none = Vec::new();
    let items = match (field.as_str(), value) {
        ("purge_everything", Value::Bool(true)) => &none,
        ("files" | "prefixes" | "tags", Value::Array(items)) if (1..=BATCH).contains(&items.len()) => items,
        _ => return no(400, "1014: 1 to 30 items"),
    };
    let may = if field == "files" { state.may_urls(items.len()) } else { state.may() };
    if !may {
        return busy();
    }
    for item in items {
        let done = match field.as_str() {
            "files" => state.forget_file(address, item),
            "prefixes" => state.forget_below(address, item),
            _ => state.forget_tag(item),
        };
        if !done {
            return no(400, "an item makes no sense");
        }
    }
    if field == "purge_everything" {
        state.forget(|_| true);
    }
    state.note(format!("{field} {}", items.len()));
    (200, String::new(), br#"{"success":true,"errors":[],"messages":[],"result":{"id":"1"}}"#.to_vec())
}

impl State {
    /// What has a tag, by the rule of the zone; without one nothing has any, and that is no error.
    fn forget_tag(&mut self, item: &Value) -> bool {
        let Some(tag) = item.as_str().filter(|tag| !tag.is_empty() && tag.len() <= TAG_MAX) else { return false };
        let tag = tag.to_ascii_lowercase();
        let rule = self.tag_rule.clone();
        self.kept.forget_answers(|answer| rule.as_ref().is_some_and(|rule| rule.tags(&answer.tags).contains(&tag)));
        true
    }

    /// One URL, as it is, with its scheme, and one `Origin` or none: other variants stay.
    fn forget_file(&mut self, base: &str, item: &Value) -> bool {
        let (url, origin) = match item {
            Value::String(url) => (url.as_str(), ""),
            Value::Object(item) => match (&item["url"], &item["headers"]["Origin"]) {
                (Value::String(url), Value::String(origin)) => (url.as_str(), origin.as_str()),
                _ => return false,
            },
            _ => return false,
        };
        let host = base.trim_start_matches("http");
        let (scheme, rest) = match url.strip_prefix("https") {
            Some(rest) => ("https", rest),
            None => ("http", url.trim_start_matches("http")),
        };
        let Some(target) = rest.strip_prefix(host) else { return false };
        self.kept.forget(|kept| *kept == Variant { scheme, target: target.to_owned(), origin: origin.to_owned() });
        true
    }

    /// Host and path, without a scheme.
    fn forget_below(&mut self, base: &str, item: &Value) -> bool {
        let host = base.trim_start_matches("http://");
        let Some(start) = item.as_str().and_then(|item| item.strip_prefix(host)) else { return false };
        self.kept.forget(|variant| variant.target.starts_with(start));
        true
    }
}
