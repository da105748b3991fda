//! Anybody else: a program of one's own, which reads what changed from its standard input, a line of JSON for each.
//!
//! ```json
//! {"key": "site/a.jpg", "urls": ["https://..."]}
//! {"directory": "site/2026/", "urls": ["https://.../2026/"]}
//! {"tag": "site"}
//! {"everything": true}
//! ```
//!
//! Exit codes are those of sysexits.h: 0 ends it, 65 (`EX_DATAERR`) means that a line makes no sense, 77 (`EX_NOPERM`) and
//! 78 (`EX_CONFIG`) that somebody must help; after any other, and after a signal, it is tried again.

use serde_json::json;

use super::{Common, Response, said};
use crate::cdn::purge::{
    target::{Batch, Contract, Target, Verdict},
    versions::Versions,
};

/// URLs of a run: as many as a program can pass on in one go.
const BATCH: usize = 100;
/// The exit codes that mean something.
const DATA_ERROR: u16 = 65;
const NO_PERMISSION: u16 = 77;
const CONFIGURATION: u16 = 78;

#[derive(Clone, Debug)]
pub struct Command {
    /// The path of the program, and its arguments.
    pub words: Vec<String>,
}

impl Command {
    pub(super) fn contract(common: &Common) -> Contract {
        // One after the other: such a program is rarely made for company.
        Contract { batch: BATCH, prefixes: true, tags: true, mixed: true, parallel: 1, ..common.contract() }
    }

    /// What one run reads.
    pub fn input(common: &Common, batch: &Batch) -> String {
        let line = |(target, versions): (&Target, &Versions)| match target {
            Target::Object(key) => json!({ "key": &**key, "urls": common.urls.all(key, versions) }),
            Target::Below(dir) => json!({ "directory": &**dir, "urls": common.urls.below(dir) }),
            Target::Tag(tag) => json!({ "tag": &**tag }),
            Target::Everything => json!({ "everything": true }),
        };
        batch.items().map(|item| line(item).to_string() + "\n").collect()
    }
}

/// What a run means; its status is the exit code.
pub(super) fn verdict(response: &Response) -> Verdict {
    let why = format!("exit code {}", said(response));
    match response.status {
        0 => Verdict::Done,
        DATA_ERROR => Verdict::Bad(why),
        NO_PERMISSION | CONFIGURATION => Verdict::Refused(why),
        _ => Verdict::Failed(why),
    }
}
