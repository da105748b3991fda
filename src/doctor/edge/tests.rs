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
        versioned: Some(("https://cdn.example/a.png?v=1".into(), Ok(look("new", &FINE)))),
        ..Sample::default()
    };
    Tried {
        base: "https://cdn.example/".into(),
        family: Family::Cdn,
        samples: vec![sample],
        private: vec![("https://cdn.example/.originfs/x".into(), Ok(false))],
        absent: Some(("https://cdn.example/none".into(), Ok(404))),
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

/// With a file of that class, that comes with `headers`, also to a page.
fn of(class: Class, headers: &[(&str, &str)]) -> Tried {
    let mut tried = with(Ok(look("new", &FINE)));
    let (seen, page) = (look("new", &[&FINE, headers].concat()), "https://www.example".to_owned());
    tried.samples[0].class = class;
    tried.samples[0].page = (class == Class::Font).then(|| (page, Ok(seen.clone())));
    tried.samples[0].versioned = None;
    tried.samples[0].seen = Some(Ok(seen));
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
fn what_acts_and_what_pages_use_needs_headers_of_its_own() {
    let policy = |text| of(Class::Active, &[("content-security-policy", text)]);
    for text in ["default-src 'none'; style-src 'unsafe-inline'; sandbox", "SANDBOX allow-forms", "script-src 'none'"] {
        check(&policy(text), "", Verdict::Ok, "");
    }
    for text in ["", "default-src 'self'", "sandbox allow-scripts", "default-src 'none'; script-src 'unsafe-inline'"] {
        check(&policy(text), "cdn-headers", Verdict::Warning, "Content-Security-Policy");
    }
    check(&of(Class::Image, &[]), "", Verdict::Ok, "");
    let allowed = |text| of(Class::Font, &[("access-control-allow-origin", text)]);
    check(&allowed("*"), "", Verdict::Ok, "");
    check(&allowed("https://www.example"), "", Verdict::Ok, "");
    check(&allowed("https://other.example"), "cdn-headers", Verdict::Warning, "may not use the font");
    check(&of(Class::Font, &[]), "cdn-headers", Verdict::Warning, "may not use the font");
    let classes = ["a/b.SVG", "x.html", "x.woff2", "x.eot", "x.png", "x.pdf", "x"].map(Class::of);
    let [active, font, image, other] = Class::ALL;
    assert_eq!(classes, [active, active, font, font, image, other, other]);
}

#[test]
fn a_version_is_asked_for_and_so_is_what_is_not_there() {
    let versioned = |seen| {
        let mut tried = fine();
        tried.samples[0].versioned = Some(("https://cdn.example/a.png?v=1".into(), Ok(seen)));
        tried
    };
    check(&versioned(look("old", &FINE)), "cdn-stale", Verdict::Failure, "a.png?v=1 shows something else");
    let refused = Look { status: 403, ..Look::default() };
    check(&versioned(refused), "cdn-reach", Verdict::Failure, "a.png?v=1 answers 403");
    let absent = |got| Tried { absent: Some(("https://cdn.example/none".into(), got)), ..fine() };
    check(&absent(Ok(403)), "", Verdict::Ok, "");
    check(&absent(Ok(200)), "cdn-absent", Verdict::Failure, "none answers 200");
    check(&absent(Ok(302)), "cdn-absent", Verdict::Warning, "none answers 302");
    check(&absent(Err("late".into())), "cdn-absent", Verdict::Skipped, "late");
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
