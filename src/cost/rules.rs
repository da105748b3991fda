//! The lifecycle configuration of a bucket with our rules in it, as text: rules of others stay as they are, to the byte.
//! Pure.
//!
//! It reads the form in which servers write it (S3 API, `LifecycleConfiguration`) and nothing else: what it does not know
//! is an error, because it could be lost.

use std::fmt::Write as _;

use super::cold::{OURS, Proposal, RULES_MAX, Rule, id};

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                    <LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
const END: &str = "</LifecycleConfiguration>";

/// What is to become of the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// One line for each rule of ours that comes (+), goes (-) or changes (~).
    pub changes: Vec<String>,
    /// Rules of others, and ours of other mounts in the bucket.
    pub others: Vec<String>,
    ours: Vec<Ours>,
}

/// A rule of ours, as far as it matters.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Ours {
    id: String,
    prefix: String,
    days: String,
    class: String,
    /// Bytes that an object must have more of.
    above: Option<String>,
}

impl Plan {
    /// What makes `now` (`None`: the bucket has none) as `proposal` says. Of the rules that are ours those go that are
    /// about something below `root`, the mounted part of the bucket, and are not proposed any more. An error is one line.
    pub fn new(now: Option<&str>, proposal: &Proposal, minimum_kib: u64, root: &str) -> Result<Self, String> {
        let ours: Vec<Ours> = proposal.rules.iter().map(|rule| Ours::of(rule, proposal, minimum_kib)).collect();
        let (mut others, mut former) = (Vec::new(), Vec::new());
        for rule in now.map_or_else(|| Ok(Vec::new()), rules)? {
            match Ours::parse(&rule).filter(|ours| ours.prefix.starts_with(root)) {
                Some(ours) => former.push(ours),
                None => others.push(rule),
            }
        }
        let count = others.len() + ours.len();
        if count > RULES_MAX {
            return Err(format!("{count} rules, and a bucket takes {RULES_MAX}"));
        }
        let mut changes = Vec::new();
        for rule in &ours {
            match former.iter().find(|former| former.prefix == rule.prefix) {
                Some(former) if former == rule => {}
                Some(former) => changes.push(format!("~ {rule} (now {former})")),
                None => changes.push(format!("+ {rule}")),
            }
        }
        let gone = former.iter().filter(|former| ours.iter().all(|rule| rule.prefix != former.prefix));
        changes.extend(gone.map(|former| format!("- {former}")));
        Ok(Self { changes, others, ours })
    }

    /// The whole configuration. `None`: there is no rule any more.
    pub fn text(&self) -> Option<String> {
        if self.others.is_empty() && self.ours.is_empty() {
            return None;
        }
        let ours: String = self.ours.iter().map(Ours::text).collect();
        Some(format!("{HEAD}{}{ours}{END}", self.others.concat()))
    }

    /// Whether a bucket that says `now` has what was written. An error says what it has not.
    pub fn is_kept(&self, now: Option<&str>) -> Result<(), String> {
        let now = now.map_or_else(|| Ok(Vec::new()), rules)?;
        let there: Vec<String> = now.iter().map(|rule| dense(rule)).collect();
        if let Some(lost) = self.others.iter().find(|rule| !there.contains(&dense(rule))) {
            return Err(format!("a rule of somebody else is not as it was: {lost}"));
        }
        let kept: Vec<Ours> = now.iter().filter_map(|rule| Ours::parse(rule)).collect();
        match self.ours.iter().find(|rule| !kept.contains(rule)) {
            Some(lost) => Err(format!("the server took the rule {lost}, and does not have it as it was sent")),
            None => Ok(()),
        }
    }
}

impl Ours {
    fn of(rule: &Rule, proposal: &Proposal, minimum_kib: u64) -> Self {
        Self {
            id: id(&rule.prefix),
            prefix: rule.prefix.clone(),
            days: proposal.days.to_string(),
            class: proposal.class.clone(),
            above: (minimum_kib << 10).checked_sub(1).map(|bytes| bytes.to_string()),
        }
    }

    /// `None`: it is not ours.
    fn parse(rule: &str) -> Option<Self> {
        let id = field(rule, "ID").filter(|id| id.starts_with(OURS))?;
        let other = |name| field(rule, name).unwrap_or_default();
        Some(Self {
            id,
            prefix: other("Prefix"),
            days: other("Days"),
            class: other("StorageClass"),
            above: field(rule, "ObjectSizeGreaterThan"),
        })
    }

    fn text(&self) -> String {
        let Self { id, prefix, days, class, above } = self;
        let [id, prefix, class] = [id, prefix, class].map(|text| escaped(text));
        let filter = match above {
            None => format!("<Prefix>{prefix}</Prefix>"),
            Some(bytes) => {
                format!("<And><Prefix>{prefix}</Prefix><ObjectSizeGreaterThan>{bytes}</ObjectSizeGreaterThan></And>")
            }
        };
        format!(
            "<Rule><ID>{id}</ID><Filter>{filter}</Filter><Status>Enabled</Status>\
             <Transition><Days>{days}</Days><StorageClass>{class}</StorageClass></Transition></Rule>"
        )
    }
}

impl std::fmt::Display for Ours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { prefix, days, class, above, .. } = self;
        write!(f, "{prefix} as {class} after {days} days")?;
        match above {
            Some(bytes) => write!(f, ", what has more than {bytes} bytes"),
            None => Ok(()),
        }
    }
}

/// The rules of a configuration, each with its tags.
fn rules(text: &str) -> Result<Vec<String>, String> {
    let odd = |what: &str| {
        let what: String = what.chars().filter(|c| !c.is_control()).take(60).collect();
        format!("the configuration of the bucket has something in it that this program does not know: {what:?}")
    };
    let mut rest = text.trim_start_matches('\u{feff}').trim();
    if let Some(after) = rest.strip_prefix("<?xml") {
        rest = after.split_once("?>").ok_or_else(|| odd(rest))?.1.trim_start();
    }
    // Comments, CDATA and entities of its own: nobody writes them here.
    if rest.contains("<!") || rest.contains("<?") {
        return Err(odd(rest));
    }
    let inner = rest.strip_prefix("<LifecycleConfiguration").and_then(|after| after.split_once('>'));
    let (attributes, inner) = inner.ok_or_else(|| odd(rest))?;
    if attributes.ends_with('/') && inner.is_empty() {
        return Ok(Vec::new());
    }
    let mut inner = inner.strip_suffix(END).ok_or_else(|| odd(rest))?.trim();
    let mut all = Vec::new();
    while !inner.is_empty() {
        let end = inner.find("</Rule>").map(|at| at + "</Rule>".len());
        let Some(end) = end.filter(|_| inner.starts_with("<Rule>")) else { return Err(odd(inner)) };
        let (rule, after) = inner.split_at(end);
        if rule.matches("<Rule>").count() != 1 {
            return Err(odd(rule));
        }
        all.push(rule.to_owned());
        inner = after.trim_start();
    }
    Ok(all)
}

/// Without the space between elements, which is nobody's.
fn dense(rule: &str) -> String {
    let mut out = String::with_capacity(rule.len());
    for piece in rule.split_inclusive('>') {
        let text = piece.trim_start();
        out.push_str(if text.starts_with('<') { text } else { piece });
    }
    out
}

/// The text of the first element of that name.
fn field(rule: &str, name: &str) -> Option<String> {
    let (_, after) = rule.split_once(&format!("<{name}>"))?;
    let (text, _) = after.split_once(&format!("</{name}>"))?;
    Some(plain(text))
}

/// As XML has it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // Else a parser makes a newline of it, or none.
            '\r' | '\n' | '\t' => {
                write!(out, "&#{};", c as u32).expect("a string takes everything");
            }
            c => out.push(c),
        }
    }
    out
}

/// The reverse. What is no reference stays as it is.
fn plain(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').unwrap_or(rest.len());
        let name = rest.get(1..end).unwrap_or_default();
        let number = |text: &str, radix| u32::from_str_radix(text, radix).ok().and_then(char::from_u32);
        let found = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            name => match (name.strip_prefix("#x"), name.strip_prefix('#')) {
                (Some(hex), _) => number(hex, 16),
                (_, Some(decimal)) => number(decimal, 10),
                _ => None,
            },
        };
        out.push(found.unwrap_or('&'));
        rest = &rest[if found.is_some() { end + 1 } else { 1 }..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
