//! The rules of [`super::cloudflare`] for Terraform: resources of the provider `cloudflare/cloudflare`, version 5.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    Refused, Rules,
    cloudflare::{self, Phase},
};
use crate::cdn::purge::vendor::cloudflare::Plan;

/// The rulesets that have rules. A zone has one ruleset in a phase, so whoever applies this has Terraform own all rules of these phases.
pub fn emit(rules: &Rules, name: &str, plan: Plan) -> Result<String, Refused> {
    let phases = cloudflare::phases(rules, name, plan)?;
    let mut text = super::head();
    text.push_str(
        "# A zone has one ruleset in each phase: rules that are there already, and are not written here, are deleted.\n",
    );
    text.push_str("\nvariable \"zone_id\" {\n  type = string\n}\n");
    for phase in phases.into_iter().filter(|phase| !phase.rules.is_empty()) {
        text.push_str(&resource(&phase, name));
    }
    Ok(text)
}

fn resource(phase: &Phase, name: &str) -> String {
    let label = match phase.name {
        cloudflare::CACHE => "cache",
        cloudflare::TAGS => "tags",
        _ => "headers",
    };
    let mut text = format!(
        "\nresource \"cloudflare_ruleset\" \"originfs_{name}_{label}\" {{\n  zone_id = var.zone_id\n  name    = {}\n  kind    = \"zone\"\n  phase   = {}\n  rules = [\n",
        string(&format!("originfs {name}: {}", phase.title)),
        string(phase.name)
    );
    for rule in &phase.rules {
        writeln!(text, "    {},", value(&rule.json(), 4)).expect("a string takes everything");
    }
    text.push_str("  ]\n}\n");
    text
}

/// A value of HCL whose first line is indented already.
fn value(json: &Value, indent: usize) -> String {
    match json {
        Value::Object(fields) => {
            let pad = " ".repeat(indent + 2);
            let lines =
                fields.iter().map(|(key, field)| format!("{pad}{} = {}\n", word(key), value(field, indent + 2)));
            format!("{{\n{}{}}}", lines.collect::<String>(), " ".repeat(indent))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| value(item, indent)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => string(text),
        other => other.to_string(),
    }
}

/// The name of an attribute; a key of a map that is none stands in quotes.
fn word(key: &str) -> String {
    let plain = key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain { key.to_owned() } else { string(key) }
}

/// In which nothing is a template.
fn string(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${").replace("%{", "%%{");
    format!("\"{escaped}\"")
}
