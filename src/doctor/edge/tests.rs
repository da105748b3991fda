use super::*;
use crate::doctor::finding::Verdict;

fn look(body: &str, headers: &[(&str, &str)]) -> Look {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Look { status: 200, headers, body: body.into() }
}

const FINE: [(&str, &str); 3] =
    [("content-type", "image/png"), ("cache-control", "max-age=60"), ("x-content-type-options", "nosniff")];

/// An edge that does all as it should.
fn fine() -> Tried {
    let sample = Sample {
        url: "https://cdn.example/a.png".into(),
        bytes: b"new".to_vec(),
        content_type: Some("image/png".into()),
        cache_control: Some("public, max-age=300".into()),
        seen: Some(Ok(look("new", &FINE))),
    };
    Tried {
        base: "https://cdn.example/".into(),
        family: Family::Cdn,
        samples: vec![sample],
        private: vec![("https://cdn.example/.originfs/x".into(), Ok(false))],
        listing: Some(Ok(false)),
        written: Some(Ok(false)),
        purged: true,
    }
}

fn with(seen: Result<Look, String>) -> Tried {
    let mut tried = fine();
    tried.samples[0].seen = Some(seen);
    tried
}

#[track_caller]
fn check(tried: &Tried, bad: &str, expect: Verdict, part: &str) {
    for finding in judge("/m", tried) {
        if finding.check == bad {
            assert_eq!(finding.verdict, expect, "{finding:?}");
            assert!(finding.message.contains(part), "{finding:?}");
        } else if expect != Verdict::Skipped && bad != "cdn-reach" {
            assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
        }
    }
}

#[test]
fn each_misbehaviour_is_one_finding() {
    check(&fine(), "", Verdict::Ok, "");
    check(&with(Ok(look("old", &FINE))), "cdn-stale", Verdict::Failure, "a.png shows something else");
    check(&with(Ok(look("ne", &FINE))), "cdn-stale", Verdict::Failure, "a.png");
    check(&with(Ok(look("new", &FINE[..2]))), "cdn-headers", Verdict::Warning, "nosniff is missing");
    let html = [("content-type", "text/html"), FINE[1], FINE[2]];
    check(&with(Ok(look("new", &html))), "cdn-headers", Verdict::Warning, "and not \"image/png\"");
    check(&with(Ok(look("new", &[FINE[0], FINE[2]]))), "cdn-headers", Verdict::Warning, "no Cache-Control");
    let cookie = [FINE[0], FINE[1], FINE[2], ("set-cookie", "a=b")];
    check(&with(Ok(look("new", &cookie))), "cdn-headers", Verdict::Warning, "a cookie");
    check(&with(Ok(Look { status: 403, ..Look::default() })), "cdn-reach", Verdict::Failure, "answers 403");
    check(&with(Err("no route".into())), "cdn-reach", Verdict::Failure, "no route");
    let url = || "https://cdn.example/.originfs/x".to_owned();
    check(&Tried { private: vec![(url(), Ok(true))], ..fine() }, "cdn-private", Verdict::Failure, "everybody may read");
    check(&Tried { listing: Some(Ok(true)), ..fine() }, "cdn-listing", Verdict::Failure, "lists the bucket");
    check(&Tried { written: Some(Ok(true)), ..fine() }, "cdn-write", Verdict::Failure, "everybody may write");
}

#[test]
fn what_could_not_be_tried_is_not_well() {
    check(&Tried { written: None, ..fine() }, "cdn-write", Verdict::Skipped, "read-only");
    check(&Tried { listing: Some(Err("late".into())), ..fine() }, "cdn-listing", Verdict::Skipped, "late");
    check(
        &Tried { private: vec![("u".into(), Err("late".into()))], ..fine() },
        "cdn-private",
        Verdict::Skipped,
        "late",
    );
    check(&Tried { samples: Vec::new(), ..fine() }, "cdn-stale", Verdict::Skipped, "no file came");
}
