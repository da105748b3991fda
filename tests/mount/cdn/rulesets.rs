//! The Rulesets API of a zone, held to what Cloudflare publishes: paths, token, shapes, what only the server writes,
//! versions, and what a plan has. <https://developers.cloudflare.com/ruleset-engine/rulesets-api/>

use std::{
    collections::HashMap,
    io::{self, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use serde_json::{Value, json, value::RawValue};

use super::edge::{Asked, TOKEN, TagRule, ZONE, read};

const PHASES: [&str; 3] =
    ["http_request_cache_settings", "http_response_cache_settings", "http_response_headers_transform"];
/// Fields of a rule that is sent (API reference, "Update a zone entry point ruleset").
const FIELDS: [&str; 8] =
    ["id", "ref", "description", "enabled", "expression", "action", "action_parameters", "logging"];
/// Rules of a phase, and seconds of an edge TTL at least, on the plan Free.
const RULES_MAX: usize = 10;
const EDGE_TTL_MIN: f64 = 7200.0;

/// On a port of its own, until the test process ends.
#[derive(Clone, Debug)]
pub(super) struct Rulesets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Every version of each phase, the first one first: the texts of its rules.
    phases: HashMap<String, Vec<Vec<String>>>,
    /// Rules that somebody else adds before a PUT arrives, the last one first.
    meanwhile: Vec<String>,
    /// A phase that the token may not see.
    hidden: Option<String>,
    calls: Vec<String>,
    ids: u64,
}

impl Rulesets {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let all = Self(Arc::new(Shared { address, state: Mutex::default() }));
        let accepting = all.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let all = accepting.clone();
                // A connection that breaks ends its thread and nothing else.
                thread::spawn(move || all.serve(&client).unwrap_or_default());
            }
        });
        all
    }

    pub(super) fn address(&self) -> &str {
        &self.0.address
    }

    /// Somebody else writes the rules of a phase, as text.
    pub(super) fn write(&self, phase: &str, rules: &[&str]) {
        let rules = rules.iter().map(|&rule| rule.to_owned()).collect();
        self.state().phases.entry(phase.to_owned()).or_default().push(rules);
    }

    /// Somebody else adds a rule right before the next PUT arrives; of several the last one before the first PUT.
    pub(super) fn meanwhile(&self, rule: &str) {
        self.state().meanwhile.push(rule.to_owned());
    }

    pub(super) fn hide(&self, phase: &str) {
        self.state().hidden = Some(phase.to_owned());
    }

    /// The rules of a phase now, as text.
    pub(super) fn rules(&self, phase: &str) -> Vec<String> {
        self.state().phases.get(phase).and_then(|versions| versions.last().cloned()).unwrap_or_default()
    }

    /// Methods and paths since the last time.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        let mut from = BufReader::new(client.try_clone()?);
        while let Some(asked) = read(&mut from)? {
            let (status, body) = match self.state().answer(&asked) {
                Ok(result) => (200, format!(r#"{{"success":true,"errors":[],"messages":[],"result":{result}}}"#)),
                Err((status, code, why)) => {
                    let errors = json!([{ "code": code, "message": why }]);
                    (status, json!({ "success": false, "errors": errors, "messages": [], "result": null }).to_string())
                }
            };
            let head = format!(
                "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            (&*client).write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        }
        Ok(())
    }
}

type Refusal = (u16, u64, String);

fn refused<T>(status: u16, code: u64, why: impl Into<String>) -> Result<T, Refusal> {
    Err((status, code, why.into()))
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Result<String, Refusal> {
        if asked.headers.get("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return refused(403, 10000, "Authentication error");
        }
        let Some(path) = asked.target.strip_prefix(&format!("/zones/{ZONE}/rulesets/")) else {
            return refused(404, 7003, "Could not route to that zone");
        };
        self.calls.push(format!("{} {path}", asked.method));
        let parts: Vec<&str> = path.split('/').collect();
        if self.hidden.as_deref().is_some_and(|hidden| parts.contains(&hidden)) {
            return refused(403, 10000, "Authentication error");
        }
        match (&*asked.method, &parts[..]) {
            ("GET", ["phases", phase, "entrypoint"]) if PHASES.contains(phase) => self.show(phase, None),
            ("PUT", ["phases", phase, "entrypoint"]) if PHASES.contains(phase) => {
                if asked.headers.get("content-type").map(String::as_str) != Some("application/json") {
                    return refused(415, 1, "content-type");
                }
                if let Some(rule) = self.meanwhile.pop() {
                    let versions = self.phases.entry((*phase).to_owned()).or_default();
                    let mut rules = versions.last().cloned().unwrap_or_default();
                    rules.push(rule);
                    versions.push(rules);
                }
                self.replace(phase, &asked.body)?;
                self.show(phase, None)
            }
            ("GET", [id, "versions", version]) => {
                let phase = id.strip_prefix("id-of-").unwrap_or_default().to_owned();
                self.show(&phase, version.parse().ok())
            }
            _ => refused(405, 1, "no such operation"),
        }
    }

    fn show(&self, phase: &str, version: Option<usize>) -> Result<String, Refusal> {
        let versions = self.phases.get(phase).filter(|versions| !versions.is_empty());
        let Some(versions) = versions else {
            return refused(404, 10003, format!("could not find entrypoint ruleset in the {phase} phase"));
        };
        let version = version.unwrap_or(versions.len());
        let Some(rules) = version.checked_sub(1).and_then(|at| versions.get(at)) else {
            return refused(404, 10004, "no such version");
        };
        let own = r#"{"version":"1","last_updated":"2026-11-22T12:00:00Z","#;
        let rules: Vec<String> = rules.iter().map(|rule| rule.replacen('{', own, 1)).collect();
        let rules = rules.join(",");
        Ok(format!(
            r#"{{"id":"id-of-{phase}","name":"default","kind":"zone","phase":"{phase}","version":"{version}","rules":[{rules}]}}"#
        ))
    }

    fn replace(&mut self, phase: &str, body: &[u8]) -> Result<(), Refusal> {
        let Ok(all) = serde_json::from_slice::<HashMap<String, Box<RawValue>>>(body) else {
            return refused(400, 20022, "not JSON");
        };
        let texts: Option<Vec<Box<RawValue>>> = all.get("rules").and_then(|raw| serde_json::from_str(raw.get()).ok());
        let (Some(texts), 1) = (texts, all.len()) else { return refused(400, 20022, "rules, and nothing else") };
        if texts.len() > RULES_MAX {
            return refused(400, 20014, "exceeded the maximum number of rules");
        }
        let before = self.phases.get(phase).and_then(|versions| versions.last().cloned()).unwrap_or_default();
        let known: Vec<Value> =
            before.iter().map(|rule| serde_json::from_str::<Value>(rule).unwrap()["id"].clone()).collect();
        let (mut rules, mut refs) = (Vec::new(), Vec::new());
        for text in texts {
            let rule: Value = serde_json::from_str(text.get()).unwrap();
            check(phase, &rule)?;
            if rule["ref"].is_string() && refs.contains(&rule["ref"]) {
                return refused(400, 20217, "two rules with one ref");
            }
            refs.push(rule["ref"].clone());
            match &rule["id"] {
                Value::Null => {
                    self.ids += 1;
                    rules.push(text.get().replacen('{', &format!("{{\"id\":\"new{}\",", self.ids), 1));
                }
                id if known.contains(id) => rules.push(text.get().to_owned()),
                _ => return refused(400, 20015, "a rule with an id that is not of this ruleset"),
            }
        }
        self.phases.entry(phase.to_owned()).or_default().push(rules);
        Ok(())
    }
}

fn check(phase: &str, rule: &Value) -> Result<(), Refusal> {
    let Some(fields) = rule.as_object() else { return refused(400, 20022, "a rule is an object") };
    if let Some(odd) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return refused(400, 20022, format!("unknown field {odd}"));
    }
    let expression = rule["expression"].as_str().unwrap_or_default();
    let depth = expression.matches('(').count() == expression.matches(')').count();
    // What an origin answered is known in one of these phases alone.
    let early = phase != "http_response_cache_settings" && expression.contains("http.response.");
    if expression.is_empty() || expression.len() > 4096 || !depth || early || expression.contains("http.request.method")
    {
        return refused(400, 20127, "the expression");
    }
    let parameters = &rule["action_parameters"];
    let known = |names: &[&str]| {
        let mut all = parameters.as_object().into_iter().flat_map(serde_json::Map::keys);
        all.all(|name| names.contains(&name.as_str()))
    };
    let fits = match (phase, rule["action"].as_str()) {
        ("http_request_cache_settings", Some("set_cache_settings")) => {
            let ttl = |name: &str| match parameters[name]["mode"].as_str() {
                None | Some("respect_origin" | "bypass_by_default") => parameters[name]["default"].is_null(),
                Some("override_origin") => parameters[name]["default"].is_number(),
                Some(_) => false,
            };
            let all = ["cache", "edge_ttl", "browser_ttl", "serve_stale", "respect_strong_etags", "cache_key"];
            known(&all)
                && parameters["cache"].is_boolean()
                && ttl("edge_ttl")
                && ttl("browser_ttl")
                && parameters["edge_ttl"]["default"].as_f64().is_none_or(|ttl| ttl >= EDGE_TTL_MIN)
        }
        ("http_response_cache_settings", Some("set_cache_tags")) => {
            let values = parameters["values"].as_array();
            let is_tag = |tag: &Value| tag.as_str().is_some_and(|tag| (1..=1024).contains(&tag.len()));
            let expression = parameters["expression"].as_str();
            known(&["operation", "values", "expression"])
                && matches!(parameters["operation"].as_str(), Some("add" | "remove" | "set"))
                && values.is_some() != expression.is_some()
                && values.is_none_or(|values| !values.is_empty() && values.iter().all(is_tag))
                && expression.is_none_or(|expression| TagRule::parse(expression).is_some())
        }
        ("http_response_headers_transform", Some("rewrite")) => {
            let set = |header: &Value| match header["operation"].as_str() {
                Some("set" | "add") => header["value"].is_string(),
                Some("remove") => header["value"].is_null(),
                _ => false,
            };
            known(&["headers"]) && parameters["headers"].as_object().is_some_and(|all| all.values().all(set))
        }
        _ => false,
    };
    if fits { Ok(()) } else { refused(400, 20128, "the action and its parameters") }
}
