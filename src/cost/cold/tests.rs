//! Small buckets, whose bills anybody can compute.

use super::*;
use crate::cost::price::prices;

const TODAY: Day = Day(1_000);
const GIGABYTE: u64 = 1_000_000_000;

fn aws() -> Price {
    prices(None).unwrap()["aws"].clone()
}

/// Objects of a size, all old, and reads of each in the year before.
fn access(objects: &[(&str, u64, u32)]) -> Access {
    let mut access = Access::default();
    for (key, size, reads) in objects {
        assert!(access.object(key, *size, Day(100)));
        for _ in 0..*reads {
            assert!(access.read(key, Day(950)));
        }
    }
    access.logged(Day(1_000 - 364));
    access.logged(TODAY);
    access
}

/// Prefixes and dollars of the rules.
fn rules(objects: &[(&str, u64, u32)]) -> Vec<(String, f64)> {
    let proposal = access(objects).propose(90, TODAY, &aws()).unwrap();
    proposal.rules.into_iter().map(|rule| (rule.prefix, (rule.saved * 1e6).round() / 1e6)).collect()
}

#[test]
fn a_year_of_storage_less_the_fees() {
    // 100 GB: 100 x (0.023 - 0.0125) x 12 = 12.60; one object moves for 0.00001.
    assert_eq!(rules(&[("old/a.mp4", 100 * GIGABYTE, 0)]), [("old/".to_owned(), 12.599_99)]);
    // Each of five reads: 100 x 0.01 for the bytes, 0.0000006 more for the request.
    assert_eq!(rules(&[("old/a.mp4", 100 * GIGABYTE, 5)]), [("old/".to_owned(), 7.599_987)]);
    assert_eq!(rules(&[("old/a.mp4", 100 * GIGABYTE, 13)]), [], "thirteen reads cost more than they save");
}

#[test]
fn small_and_young_objects_are_left_alone() {
    assert_eq!(rules(&[("old/a.jpg", (128 << 10) - 1, 0)]), []);
    let mut young = Access::default();
    young.object("new/a.mp4", 100 * GIGABYTE, Day(911));
    young.logged(TODAY);
    let proposal = young.propose(90, TODAY, &aws()).unwrap();
    assert_eq!((proposal.rules.len(), proposal.cold_objects, proposal.objects), (0, 0, 1));
    // 128 KiB for a year save 0.0000165, and moving costs 0.00001.
    assert_eq!(rules(&[("old/a.jpg", 128 << 10, 0)]), [("old/".to_owned(), 0.000_007)]);
}

#[test]
fn a_directory_is_one_rule_unless_a_part_of_it_is_popular() {
    let cold = [("a/1/x.mp4", GIGABYTE, 0), ("a/2/x.mp4", GIGABYTE, 0), ("a/y.mp4", GIGABYTE, 0)];
    assert_eq!(rules(&cold).iter().map(|rule| rule.0.as_str()).collect::<Vec<_>>(), ["a/"]);
    let popular = [("a/1/x.mp4", GIGABYTE, 500), ("a/2/x.mp4", GIGABYTE, 0), ("a/3/x.mp4", 2 * GIGABYTE, 0)];
    assert_eq!(rules(&popular).iter().map(|rule| rule.0.as_str()).collect::<Vec<_>>(), ["a/3/", "a/2/"]);
    assert_eq!(rules(&[("x.mp4", GIGABYTE, 0)]), [], "no rule is for the whole bucket");
}

#[test]
fn what_is_cold_is_counted_whether_it_pays_or_not() {
    let mut access = access(&[("a/1.jpg", 1_000, 0), ("a/2.jpg", 2_000, 3), ("a/3.jpg", 4_000, 0)]);
    access.read("a/3.jpg", Day(910));
    assert!(!access.read("a/4.jpg", TODAY), "it is not there");
    let proposal = access.propose(90, TODAY, &aws()).unwrap();
    assert_eq!((proposal.cold_objects, proposal.cold_bytes, proposal.bytes), (2, 5_000, 7_000));
    assert_eq!((proposal.logged_days, proposal.saved), (365, 0.0));
    let spaces = &prices(None).unwrap()["digitalocean"];
    assert_eq!(access.propose(90, TODAY, spaces), None, "it has one class");
}

#[test]
fn what_a_host_read_is_not_cold() {
    let mut access = access(&[("a/1.jpg", 1_000, 0), ("a/2.jpg", 2_000, 0)]);
    access.recorded((Key::new("a/1.jpg").ino(), Day(990)));
    access.recorded((Key::new("a/2.jpg").ino(), Day(910)));
    access.recorded((Key::new("a/3.jpg").ino(), Day(990)));
    let proposal = access.propose(90, TODAY, &aws()).unwrap();
    assert_eq!((proposal.cold_objects, proposal.cold_bytes, proposal.logged_days), (1, 2_000, 365));
}

#[test]
fn rules_of_others_stay_as_they_are_and_ours_are_replaced() {
    let proposal = access(&[("old/a.mp4", GIGABYTE, 0)]).propose(90, TODAY, &aws()).unwrap();
    let others = json!({ "TransitionDefaultMinimumObjectSize": "x", "Rules": [
        { "ID": "theirs", "Status": "Enabled", "Filter": {}, "Expiration": { "Days": 1 } },
        { "ID": "originfs-cold former/", "Status": "Enabled", "Filter": { "Prefix": "former/" } },
        { "ID": "originfs-cold shop/", "Status": "Enabled", "Filter": { "And": { "Prefix": "shop/" } } },
        { "Status": "Disabled", "Prefix": "no id" },
    ] });
    let all = lifecycle(&proposal, 128, Some(&others), "").unwrap();
    let ours = json!({
        "ID": "originfs-cold old/",
        "Status": "Enabled",
        "Filter": { "And": { "Prefix": "old/", "ObjectSizeGreaterThan": 131_071 } },
        "Transitions": [{ "Days": 90, "StorageClass": "STANDARD_IA" }],
    });
    assert_eq!(all, json!({ "Rules": [others["Rules"][0], others["Rules"][3], ours] }));
    let mount = lifecycle(&proposal, 128, Some(&others), "old/").unwrap();
    assert_eq!(mount["Rules"].as_array().unwrap().len(), 5, "those of other mounts stay");
    assert_eq!(lifecycle(&proposal, 0, None, "").unwrap()["Rules"][0]["Filter"], json!({ "Prefix": "old/" }));
    assert!(lifecycle(&proposal, 0, Some(&json!([])), "").is_err());
    assert!(id(&"x/".repeat(500)).len() <= 255);
}
