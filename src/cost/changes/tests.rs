//! Small histories, whose advice anybody can tell.

use std::fs;

use super::*;
use crate::model::patterns::List;

const DAY: u64 = 86_400;

fn tally(came: u64, replaced: &[(u64, u64)]) -> Tally {
    let mut changes = Changes::default();
    for _ in 0..came {
        changes.came("a/b.jpg", Day(0));
    }
    for (age, count) in replaced {
        for _ in 0..*count {
            changes.replaced("a/b.jpg", Day(0), *age);
        }
    }
    let classes = changes.months.values().next();
    classes.and_then(|classes| classes.values().next()).copied().unwrap_or_default()
}

#[test]
fn the_longest_age_within_which_hardly_anything_is_replaced() {
    // 1 in 100 within a day, 2 in 100 within a week.
    assert_eq!(tally(200, &[(4_000, 2), (2 * DAY, 2)]).max_age(100), Some(DAY));
    assert_eq!(tally(200, &[(30, 3)]).max_age(100), Some(0), "not even a minute");
    assert_eq!(tally(200, &[(60, 3)]).max_age(100), Some(60), "a minute is enough for what reached a minute");
    assert_eq!(tally(200, &[(40 * DAY, 200)]).max_age(100), Some(30 * DAY), "it is longer than any");
    assert_eq!(tally(0, &[(200, 50)]).max_age(100), Some(60), "all of them came before anything was counted");
}

#[test]
fn what_is_not_known_is_not_advised() {
    assert_eq!(tally(19, &[]).max_age(400), None, "too few");
    assert_eq!(tally(20, &[]).max_age(0), None, "since today");
    // Half of the time that is known.
    for (days, expect) in [(1, 3_600), (2, DAY), (13, DAY), (14, 7 * DAY), (59, 7 * DAY), (60, 30 * DAY)] {
        assert_eq!(tally(20, &[]).max_age(days), Some(expect), "{days} days");
    }
    assert_eq!(tally(20, &[(10, 20)]).max_age(0), Some(0), "that it is replaced at once is known at once");
}

#[test]
fn classes_are_patterns_of_rules() {
    for (path, names) in [
        ("2026/11/a.JPG", "2026/**/*.jpg"),
        ("a.css", "/*.css"),
        ("a/.htaccess", "a/**/*"),
        ("a/b.tar.gz", "a/**/*.gz"),
        ("a/b.thisisnoextension", "a/**/*"),
        ("[x]/y.png", "[[]x[]]/**/*.png"),
    ] {
        let class = Class::of(path);
        assert_eq!(class.to_string(), names);
        assert!(List::parse(names).unwrap().covers(&path.to_lowercase()), "{path}: {names}");
    }
    assert!(!List::parse("/*.css").unwrap().covers("b/a.css"));
}

#[test]
fn many_classes_are_fewer_and_none_is_lost() {
    let mut changes = Changes::default();
    for n in 0..1_000 {
        changes.came(&format!("{n}/a.x{}", n % 100), Day(0));
        changes.came(&format!("b/a.y{n}"), Day(0));
    }
    let classes = &changes.months[&Day(0)];
    assert!(classes.len() <= CLASSES_MAX + 1, "{}", classes.len());
    assert_eq!(classes.values().map(|tally| tally.came).sum::<u64>(), 2_000);
    assert!(classes.contains_key(&Class::default()), "the rest");
}

#[test]
fn what_is_kept_is_read_again_and_old_months_go() {
    let path = std::env::temp_dir().join(format!("originfs-changes-{}", std::process::id()));
    assert_eq!(Changes::load(&path).unwrap(), Changes::default());
    let mut changes = Changes::default();
    for month in 0..20 {
        changes.came("a/b.jpg", Day(31 * month));
        changes.replaced("b.css", Day(31 * month), 70);
    }
    assert_eq!(changes.months.len(), MONTHS_MAX);
    assert_eq!(changes.days(Day(31 * 19)), 31 * 19 - 212, "since the first of August");
    changes.save(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(Changes::load(&path).unwrap(), changes);
    assert_eq!(Changes::parse(&format!("torn{text}{}", &text[..30])).months.len(), MONTHS_MAX);
    let first =
        r#"{"month":"1970-08-01","since":"1970-08-01","dir":"","extension":"css","came":0,"replaced":[0,1,0,0,0,0,0]}"#;
    assert_eq!(text.lines().next(), Some(first));
    let advice = changes.advice(Day(31 * 19));
    assert_eq!((advice.len(), advice[0].names.as_str(), advice[0].max_age), (2, "a/**/*.jpg", None));
    fs::remove_file(path).unwrap();
}
