//! Puts our rules into a zone of Cloudflare.
//!
//! A ruleset is replaced as a whole, and the API takes no condition. So its version tells whether somebody else changed
//! it between our reading and our writing; then their version is read, and ours is put into that.

use super::{
    cloudflare::{Phase, rules_max},
    merge::Ruleset,
};
use crate::cdn::purge::{
    driver::Outside,
    vendor::{Request, Response, Secret, cloudflare::Plan},
};

/// How often somebody else may be faster.
const TRIES: usize = 4;
/// What the API says where a phase has no rules yet.
const NO_ENTRYPOINT: u64 = 10003;

/// A zone, and who we are there.
#[derive(Clone, Debug)]
pub struct Zone {
    /// `https://api.cloudflare.com/client/v4`, without a slash at its end.
    pub api: String,
    pub id: String,
    pub secret: Secret,
    pub plan: Plan,
}

/// What became of a phase.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Applied {
    pub phase: String,
    /// One line each.
    pub changes: Vec<String>,
    /// Somebody else changed the rules meanwhile, so many times; theirs are kept.
    pub conflicts: usize,
    /// Why the phase was not looked at, in which we have no rules.
    pub unseen: Option<String>,
}

/// Brings a phase in line; `own` begins the refs of our rules. An error is one line, without secrets. With `dry_run`
/// nothing is written.
pub async fn phase(
    outside: &impl Outside,
    zone: &Zone,
    phase: &Phase,
    own: &str,
    dry_run: bool,
) -> Result<Applied, String> {
    let entry = format!("phases/{}/entrypoint", phase.name);
    let mut applied = Applied { phase: phase.name.to_owned(), changes: Vec::new(), conflicts: 0, unseen: None };
    let answer = zone.ask(outside, "GET", &entry, String::new()).await?;
    let mut base = match read(&answer) {
        _ if is_absent(&answer) => Ruleset::default(),
        // A token that may not see what we have no rule for is good enough.
        Err(why) if phase.rules.is_empty() && matches!(answer.status, 401 | 403) => {
            return Ok(Applied { unseen: Some(why), ..applied });
        }
        ruleset => ruleset?,
    };
    // The version that is there now, which is not that of `base` once somebody was faster.
    let mut now = base.version;
    for attempt in 0..TRIES {
        let merged = base.merge(own, &phase.rules);
        if attempt == 0 {
            applied.changes.clone_from(&merged.changes);
            let most = rules_max(zone.plan);
            if merged.rules > most {
                return Err(format!("{} {} with those of others: the plan has {most}", merged.rules, phase.title));
            }
            if dry_run || merged.changes.is_empty() {
                return Ok(applied);
            }
        }
        let written = read(&zone.ask(outside, "PUT", &entry, merged.body).await?)?;
        if written.version <= now + 1 {
            return Ok(applied);
        }
        applied.conflicts += 1;
        let theirs = format!("{}/versions/{}", written.id, written.version - 1);
        log::warn!(
            "{}: somebody changed the rules meanwhile; what they wrote is put back, with ours in it",
            phase.name
        );
        base = read(&zone.ask(outside, "GET", &theirs, String::new()).await?).map_err(|why| {
            format!("somebody changed the rules meanwhile, and what they wrote cannot be read: {why}; it is version {} of the ruleset {}", written.version - 1, written.id)
        })?;
        base.put_back_into(&written);
        now = written.version;
    }
    Err(format!("{}: somebody else keeps changing these rules", phase.name))
}

impl Zone {
    async fn ask(
        &self,
        outside: &impl Outside,
        method: &'static str,
        path: &str,
        body: String,
    ) -> Result<Response, String> {
        let url = format!("{}/zones/{}/rulesets/{path}", self.api, self.id);
        let mut headers = vec![("authorization", format!("Bearer {}", self.secret.expose()))];
        if !body.is_empty() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        outside.call(Request { method, url, headers, body }).await
    }
}

/// The phase has no ruleset; any other 404 is an error.
fn is_absent(answer: &Response) -> bool {
    answer.status == 404 && codes(answer).contains(&NO_ENTRYPOINT)
}

fn codes(answer: &Response) -> Vec<u64> {
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    body["errors"].as_array().into_iter().flatten().filter_map(|error| error["code"].as_u64()).collect()
}

fn read(answer: &Response) -> Result<Ruleset, String> {
    /// Characters of an answer that people get to see.
    const SAID_MAX: usize = 300;
    let said: String = answer.body.chars().filter(|c| !c.is_control()).take(SAID_MAX).collect();
    match answer.status {
        200 => Ruleset::parse(&answer.body),
        401 | 403 => Err(format!(
            "{} {said}: the token needs Zone > Cache Rules > Edit and Zone > Transform Rules > Edit of this zone",
            answer.status
        )),
        429 => Err(format!(
            "429: too many requests{}",
            answer.retry_after.map_or(String::new(), |wait| format!(", again in {} s", wait.as_secs()))
        )),
        status => Err(format!("{status} {said}")),
    }
}
