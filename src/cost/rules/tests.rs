//! Configurations as servers write them.

use super::*;

fn proposal(prefixes: &[&str], days: u32) -> Proposal {
    let rule = |prefix: &&str| Rule {
        prefix: (*prefix).to_owned(),
        objects: 1,
        bytes: 1,
        saved: 1.0,
        transition: 0.0,
        reads: 0.0,
    };
    Proposal {
        class: "STANDARD_IA".to_owned(),
        days,
        logged_days: days,
        objects: 1,
        bytes: 1,
        cold_objects: 1,
        cold_bytes: 1,
        rules: prefixes.iter().map(rule).collect(),
        saved: 1.0,
    }
}

fn plan(now: Option<&str>, prefixes: &[&str]) -> Plan {
    Plan::new(now, &proposal(prefixes, 90), 128, "site/").unwrap()
}

/// With what no program of ours knows.
const THEIRS: &str = "<Rule><ID>theirs &amp; mine</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status>\n \
                      <Expiration><Days>1</Days><Novelty a=\"b\">x</Novelty></Expiration></Rule>";
const OTHER_MOUNT: &str = "<Rule><ID>originfs-cold shop/old/</ID><Filter><Prefix>shop/old/</Prefix></Filter>\
                           <Status>Enabled</Status><Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass>\
                           </Transition></Rule>";

fn theirs() -> String {
    format!("{HEAD}\n{THEIRS}\n  {OTHER_MOUNT}\n{END}\n")
}

#[test]
fn rules_of_others_stay_to_the_byte_and_those_of_other_mounts_too() {
    let first = plan(Some(&theirs()), &["site/a & b/", "site/old/"]);
    assert_eq!(first.others, [THEIRS, OTHER_MOUNT]);
    let said = "site/old/ as STANDARD_IA after 90 days, what has more than 131071 bytes";
    assert_eq!((first.changes.len(), first.changes[1].as_str()), (2, format!("+ {said}").as_str()));
    let text = first.text().unwrap();
    assert!(text.contains(&format!("{THEIRS}{OTHER_MOUNT}<Rule><ID>originfs-cold site/a &amp; b/</ID>")), "{text}");
    first.is_kept(Some(&text)).unwrap();
    // Once more: nothing is to be done.
    let again = plan(Some(&text), &["site/a & b/", "site/old/"]);
    assert_eq!((again.changes.len(), again.text().as_ref()), (0, Some(&text)));
    // Other days, and one of the two is not proposed any more.
    let later = Plan::new(Some(&text), &proposal(&["site/old/"], 120), 128, "site/").unwrap();
    assert!(later.changes[0].starts_with("~ site/old/ as STANDARD_IA after 120 days"), "{:?}", later.changes);
    assert!(later.changes[1].starts_with("- site/a & b/ "), "{:?}", later.changes);
    assert_eq!(later.others, [THEIRS, OTHER_MOUNT]);
}

#[test]
fn a_bucket_without_rules_is_left_without_any() {
    let none = plan(None, &[]);
    assert_eq!((none.text(), none.changes.len()), (None, 0));
    let one = plan(None, &["site/old/"]).text().unwrap();
    let gone = plan(Some(&one), &[]);
    assert_eq!((gone.text(), gone.changes.len()), (None, 1));
    gone.is_kept(None).unwrap();
}

#[test]
fn what_a_server_made_of_it_is_seen() {
    let plan = plan(Some(&theirs()), &["site/old/"]);
    let text = plan.text().unwrap();
    let without = text.replace("<Transition><Days>90</Days><StorageClass>STANDARD_IA</StorageClass></Transition>", "");
    assert!(plan.is_kept(Some(&without)).unwrap_err().contains("does not have it as it was sent"));
    assert!(
        plan.is_kept(Some(&text.replace("<Novelty a=\"b\">x</Novelty>", ""))).unwrap_err().contains("somebody else")
    );
    assert!(plan.is_kept(None).is_err());
    // Its own way to write is its own.
    let spaced = text.replace("<Transition>", "\n  <Transition>\n    ").replace("</Filter>", "</Filter>\n");
    plan.is_kept(Some(&spaced)).unwrap();
}

#[test]
fn what_is_not_known_is_refused() {
    for text in [
        "",
        "<Other/>",
        "<LifecycleConfiguration><Policy/></LifecycleConfiguration>",
        "<LifecycleConfiguration><Rule><Rule></Rule></Rule></LifecycleConfiguration>",
        "<LifecycleConfiguration><!-- x --></LifecycleConfiguration>",
        "<LifecycleConfiguration><Rule><ID>x</ID>",
    ] {
        let refused = Plan::new(Some(text), &proposal(&[], 90), 128, "").unwrap_err();
        assert!(refused.contains("does not know"), "{text}: {refused}");
    }
    for text in ["<LifecycleConfiguration/>", "\u{feff}<LifecycleConfiguration xmlns=\"x\"></LifecycleConfiguration>"] {
        assert_eq!(Plan::new(Some(text), &proposal(&[], 90), 128, "").unwrap().others.len(), 0, "{text}");
    }
    let many: String = "<Rule><ID>x</ID></Rule>".repeat(RULES_MAX);
    let full = format!("{HEAD}{many}{END}");
    assert!(Plan::new(Some(&full), &proposal(&["site/"], 90), 128, "").unwrap_err().contains("1001 rules"));
}

#[test]
fn text_comes_back_as_it_was() {
    for text in ["a & b", "<x>", "a\r\n\tb", "plain", "&amp;"] {
        assert_eq!(plain(&escaped(text)), text);
    }
    assert_eq!(plain("&#x41;&#66;&quot;&apos;&none;& x"), "AB\"'&none;& x");
}
