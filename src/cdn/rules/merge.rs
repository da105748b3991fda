//! Our rules among those of others. Pure.
//!
//! A ruleset is replaced as a whole, so the rules of others are sent back as they came: byte for byte, but for what the
//! server alone writes, in their order, and on the same side of ours.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, value::RawValue};

use super::cloudflare::Rule;

/// Fields that the server writes, and takes from nobody.
const SERVERS: [&str; 2] = ["last_updated", "version"];

/// A rule as the server has it: its fields in their order, each as it was written.
#[derive(Clone, Debug)]
pub struct Theirs(Vec<(String, Box<RawValue>)>);

/// A ruleset as the server has it.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    pub id: String,
    /// Counts up with every change; 0: there is none yet.
    pub version: u64,
    pub rules: Vec<Theirs>,
}

/// What would become of a ruleset.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The body that replaces it.
    pub body: String,
    /// How many rules it has then.
    pub rules: usize,
    /// One line each; none: it is as it should be.
    pub changes: Vec<String>,
}

impl<'de> Deserialize<'de> for Theirs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Theirs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rule")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Theirs, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Theirs(fields))
            }
        }
        from.deserialize_map(Fields)
    }
}

impl Theirs {
    fn field(&self, name: &str) -> Option<Value> {
        let (_, raw) = self.0.iter().find(|(known, _)| known == name)?;
        serde_json::from_str(raw.get()).ok()
    }

    fn name(&self) -> String {
        self.field("ref").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// As it goes back.
    pub fn text(&self) -> String {
        let kept = self.0.iter().filter(|(name, _)| !SERVERS.contains(&&**name));
        let fields: Vec<String> =
            kept.map(|(name, raw)| format!("{}:{}", Value::from(name.as_str()), raw.get())).collect();
        format!("{{{}}}", fields.join(","))
    }

    /// What is other than `ours` says, one line; `None`: nothing. What the server adds to it is no difference.
    fn differs(&self, ours: &Rule) -> Option<String> {
        let ours = ours.json();
        let fields = ours.as_object().expect("a rule is an object");
        let other = |(name, wanted): (&String, &Value)| {
            let now = self.field(name).unwrap_or(Value::Null);
            (!holds(&now, wanted)).then(|| format!("{name}: {now} -> {wanted}"))
        };
        let all: Vec<String> = fields.iter().filter_map(other).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// Whether `now` has all that `wanted` has.
fn holds(now: &Value, wanted: &Value) -> bool {
    match (now, wanted) {
        (Value::Object(now), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| now.get(name).is_some_and(|now| holds(now, wanted)))
        }
        (now, wanted) => now == wanted,
    }
}

impl Ruleset {
    /// Reads the answer of the API. An error is one line.
    pub fn parse(body: &str) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Answer {
            result: Result_,
        }
        #[derive(serde::Deserialize)]
        struct Result_ {
            #[serde(default)]
            id: String,
            version: String,
            #[serde(default)]
            rules: Vec<Theirs>,
        }
        let answer: Answer =
            serde_json::from_str(body).map_err(|err| format!("not what the API says of rules: {err}"))?;
        let version = answer.result.version.parse().map_err(|_| "a version that is no number".to_owned())?;
        Ok(Self { id: answer.result.id, version, rules: answer.result.rules })
    }

    /// Rules that `now` does not have are new to the server, which takes no id of them.
    pub fn put_back_into(&mut self, now: &Self) {
        let ids: Vec<Option<Value>> = now.rules.iter().map(|rule| rule.field("id")).collect();
        for rule in self.rules.iter_mut().filter(|rule| !ids.contains(&rule.field("id"))) {
            rule.0.retain(|(name, _)| name != "id");
        }
    }

    /// With `ours` in it. Rules whose refs begin with `own` are ours: they keep their places, in our order; new ones
    /// come after the last of them, or last of all.
    pub fn merge(&self, own: &str, ours: &[Rule]) -> Merged {
        let is_ours = |rule: &Theirs| rule.name().starts_with(own);
        let last = self.rules.iter().rposition(is_ours).unwrap_or(self.rules.len().saturating_sub(1));
        let (mut texts, mut changes) = (Vec::new(), Vec::new());
        let mut next = ours.iter();
        let mut put = |rule: &Rule, at: Option<&Theirs>, texts: &mut Vec<String>| {
            let known = self.rules.iter().find(|known| known.name() == rule.name);
            let moved = known.is_some_and(|known| at.is_none_or(|at| at.name() != known.name()));
            match known.map(|known| (known, known.differs(rule))) {
                Some((known, None)) => {
                    changes.extend(moved.then(|| format!("> {}: moved", rule.name)));
                    texts.push(known.text());
                }
                Some((known, Some(how))) => {
                    changes.push(format!("~ {}: {how}", rule.name));
                    let mut json = rule.json();
                    let id = known.field("id").map(|id| ("id".to_owned(), id));
                    json.as_object_mut().expect("a rule is an object").extend(id);
                    texts.push(json.to_string());
                }
                None => {
                    changes.push(format!("+ {}: {} if {}", rule.name, rule.parameters, rule.expression));
                    texts.push(rule.json().to_string());
                }
            }
        };
        for (at, rule) in self.rules.iter().enumerate() {
            if !is_ours(rule) {
                texts.push(rule.text());
            } else if let Some(ours) = next.next() {
                put(ours, Some(rule), &mut texts);
            }
            if at == last {
                next.by_ref().for_each(|ours| put(ours, None, &mut texts));
            }
        }
        next.for_each(|ours| put(ours, None, &mut texts));
        let gone = self.rules.iter().filter(|rule| is_ours(rule) && ours.iter().all(|ours| ours.name != rule.name()));
        changes.extend(gone.map(|rule| format!("- {}", rule.name())));
        Merged { rules: texts.len(), body: format!("{{\"rules\":[{}]}}", texts.join(",")), changes }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(name: &str, expression: &str) -> Rule {
        let (name, expression) = (format!("originfs_www_{name}"), expression.to_owned());
        Rule {
            name,
            description: "d".into(),
            expression,
            action: "set_cache_settings",
            parameters: json!({"cache": true}),
        }
    }

    /// What a server that keeps `body` says of it.
    fn stored(body: &str, version: u64) -> Ruleset {
        let rules: Value = serde_json::from_str(body).unwrap();
        let rules: Vec<Value> = rules["rules"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
            .map(|(at, rule)| {
                let mut rule = rule.clone();
                rule["id"] = json!(format!("id{at}"));
                rule["version"] = json!("1");
                rule["action_parameters"]["more"] = json!("of the server");
                rule
            })
            .collect();
        Ruleset::parse(&json!({"result": {"id": "r", "version": version.to_string(), "rules": rules}}).to_string())
            .unwrap()
    }

    const OTHER: &str = r#"{"id":"a","zeta":1.50,"ref":"mine", "expression":"true\u0020", "alpha" : [ 1 ],"big":12345678901234567890123}"#;

    fn others(rest: &str) -> Ruleset {
        let version = r#""version":"3","last_updated":"now","#;
        let rule = OTHER.replacen('{', &format!("{{{version}"), 1);
        Ruleset::parse(&format!(r#"{{"success":true,"result":{{"id":"r","version":"7","rules":[{rule}{rest}]}}}}"#))
            .unwrap()
    }

    #[test]
    fn rules_of_others_go_back_byte_for_byte_and_in_order() {
        let rest = r#",{"id":"b","ref":"originfs_www_a","expression":"old"},{"id":"c","expression":"last"}"#;
        let merged = others(rest).merge("originfs_www_", &[rule("a", "x"), rule("b", "y")]);
        // Spaces between tokens are the server's; values stay as they were written.
        let expect = r#"{"id":"a","zeta":1.50,"ref":"mine","expression":"true\u0020","alpha":[ 1 ],"big":12345678901234567890123}"#;
        assert!(merged.body.starts_with(&format!("{{\"rules\":[{expect},")), "{}", merged.body);
        assert!(merged.body.ends_with(r#",{"id":"c","expression":"last"}]}"#), "{}", merged.body);
        assert!(merged.body.contains(r#""id":"b""#), "what changes stays the same rule");
        assert_eq!((merged.rules, merged.changes.len()), (4, 2));
        assert!(
            merged.changes[0].starts_with("~ originfs_www_a: ") && merged.changes[1].starts_with("+ originfs_www_b")
        );
    }

    #[test]
    fn a_second_time_changes_nothing() {
        let ours = [rule("a", "x"), rule("b", "y")];
        for before in [Ruleset::default(), others("")] {
            let merged = before.merge("originfs_www_", &ours);
            assert_eq!(merged.changes.len(), 2);
            let again = stored(&merged.body, 8).merge("originfs_www_", &ours);
            assert_eq!(again.changes, [""; 0]);
        }
    }

    #[test]
    fn what_is_ours_no_more_goes_and_order_is_ours() {
        let before = Ruleset::default().merge("originfs_www_", &[rule("a", "x"), rule("b", "y"), rule("c", "z")]);
        let merged = stored(&before.body, 2).merge("originfs_www_", &[rule("c", "z"), rule("a", "x")]);
        assert_eq!(merged.changes, ["> originfs_www_c: moved", "> originfs_www_a: moved", "- originfs_www_b"]);
        let names: Vec<String> = stored(&merged.body, 3).rules.iter().map(Theirs::name).collect();
        assert_eq!(names, ["originfs_www_c", "originfs_www_a"]);
        let other_site = stored(&before.body, 2).merge("originfs_shop_", &[]);
        assert_eq!((other_site.changes.len(), other_site.rules), (0, 3));
    }
}
