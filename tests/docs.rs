//! The documents do not drift: tests that they name exist, files that they link to exist.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|err| panic!("{path}: {err}"))
}

/// File and name of a test, if `line` is `` - `FILE::NAME` ``.
fn proof(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("- `")?.strip_suffix('`')?.split_once("::")
}

/// Whether `source` has a function of that name below a test attribute.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().collect();
    let declared = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    let Some(at) = lines.iter().position(|line| declared(line)) else { return false };
    let attributes = lines[..at].iter().rev().take_while(|line| line.trim_start().starts_with("#["));
    let is_test = |line: &&str| line.trim() == "#[test]" || line.trim().starts_with("#[tokio::test");
    attributes.clone().any(is_test)
}

#[test]
fn every_promise_names_tests_that_exist() {
    let text = read("docs/SEMANTICS.md");
    let (mut expected, mut proofs) = (1, usize::MAX);
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            assert!(proofs > 0, "the promise before \"{heading}\" names no test");
            assert!(heading.starts_with(&format!("{expected}. ")), "\"{heading}\" should be number {expected}");
            (expected, proofs) = (expected + 1, 0);
        }
        if let Some((file, name)) = proof(line) {
            assert!(has_test(&read(file), name), "{file} has no test {name}");
            proofs += 1;
        } else {
            assert!(!line.starts_with("- `"), "not FILE::TEST: {line}");
        }
    }
    assert!(expected > 1 && proofs > 0, "the last promise names no test");
}

#[test]
fn a_function_that_is_no_test_proves_nothing() {
    let source = "#[test]\nfn yes() {}\n\nfn no() {}\n#[tokio::test(start_paused = true)]\nasync fn late() {}\n";
    assert!(has_test(source, "yes") && has_test(source, "late"));
    assert!(!has_test(source, "no") && !has_test(source, "ye") && !has_test(source, "other"));
}

#[test]
fn links_lead_somewhere() {
    for document in ["README.md", "docs/SEMANTICS.md", "docs/OPERATIONS.md", "docs/CONFIGURATION.md"] {
        let folder = Path::new(ROOT).join(document).parent().unwrap().to_owned();
        for link in read(document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            let outside = link.contains("://") || file.is_empty();
            assert!(outside || folder.join(file).exists(), "{document} links to {link}");
        }
    }
}
