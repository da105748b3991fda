use std::time::Duration;

use super::{
    super::finding::Verdict::{Failure, Ok as Fine, Skipped, Warning},
    *,
};

const PLACE: &str = "region eu-central-1 at https://s3.example.com";

/// The verdicts on endpoint and credentials, and the whole text.
fn judged(err: CheckError) -> (Vec<crate::doctor::finding::Verdict>, String) {
    let findings = answer("/m", &Err(err), PLACE);
    (findings.iter().map(|finding| finding.verdict).collect(), format!("{findings:?}"))
}

#[test]
fn each_refusal_is_a_finding_with_its_own_remedy() {
    let bucket = || "site".to_owned();
    for (err, verdicts, part) in [
        (CheckError::NoSuchBucket { bucket: bucket() }, [Failure, Fine], "aws s3 mb s3://site"),
        (
            CheckError::WrongRegion { given: "us-east-1".into(), right: Some("eu-west-1".into()) },
            [Failure, Skipped],
            "region=eu-west-1",
        ),
        (CheckError::WrongRegion { given: "us-east-1".into(), right: None }, [Failure, Skipped], "console"),
        (CheckError::BadKeyId, [Fine, Failure], "new keys"),
        (CheckError::BadSecret, [Fine, Failure], "bad signature"),
        (CheckError::Expired, [Fine, Failure], "expired"),
        (CheckError::NoCredentials("none found".into()), [Skipped, Failure], "passwd_file="),
        (CheckError::BadPasswdFile("/p: mode".into()), [Skipped, Failure], "/p: mode"),
        (CheckError::Denied { bucket: bucket(), prefix: "a/".into() }, [Fine, Failure], "s3:PutObject"),
        (CheckError::Dns { host: "h.example".into() }, [Failure, Skipped], "getent hosts h.example"),
        (CheckError::Refused { endpoint: "http://h:1".into() }, [Failure, Skipped], "http://h:1"),
        (CheckError::Tls { host: "h".into(), cause: "expired".into() }, [Failure, Skipped], "secure"),
        (
            CheckError::Timeout { endpoint: "http://h".into(), after: Duration::from_secs(3) },
            [Failure, Skipped],
            "within 3 s",
        ),
        (CheckError::Other("odd".into()), [Failure, Skipped], "odd"),
    ] {
        let (found, text) = judged(err);
        assert_eq!(found, verdicts, "{text}");
        assert!(text.contains(part), "{text}");
    }
    let well = answer("/m", &Ok(()), PLACE);
    assert!(well.iter().all(|finding| finding.verdict == Fine) && well[0].message.contains(PLACE));
}

#[test]
fn clocks() {
    for (ahead, expect) in [
        (Some(0), Fine),
        (Some(-5), Fine),
        (Some(6), Warning),
        (Some(-899), Warning),
        (Some(900), Failure),
        (Some(i64::MIN), Failure),
        (None, Skipped),
    ] {
        assert_eq!(skew("/m", ahead).verdict, expect, "{ahead:?}");
    }
    assert!(skew("/m", Some(-60)).message.contains("60 s behind"));
    let (_, text) = judged(CheckError::ClockSkew { seconds: Some(3600) });
    assert!(text.contains("3600 s ahead of") && text.contains("timedatectl"), "{text}");
    let (found, _) = judged(CheckError::ClockSkew { seconds: None });
    assert_eq!(found, [Fine, Skipped, Failure]);
}

#[test]
fn what_the_probes_showed() {
    let all =
        |support| Conditional { absent: support, version: support, delete: support, copy: support, complete: support };
    for (found, seen, expect) in [
        (all(Support::Yes), ReadAfterWrite::Yes, [Fine, Fine]),
        (all(Support::Unquoted), ReadAfterWrite::Yes, [Fine, Fine]),
        (all(Support::Racy), ReadAfterWrite::Yes, [Warning, Fine]),
        (all(Support::Ignored), ReadAfterWrite::No, [Warning, Failure]),
        (Conditional { version: Support::Refused, ..all(Support::Yes) }, ReadAfterWrite::Yes, [Warning, Fine]),
        (Conditional::default(), ReadAfterWrite::Unknown, [Skipped, Skipped]),
    ] {
        let findings = probed("/m", found, seen);
        assert_eq!(findings.iter().map(|finding| finding.verdict).collect::<Vec<_>>(), expect, "{found}");
    }
}

#[test]
fn files_with_keys_are_for_their_owner() {
    for (mode, expect) in
        [(Some(0o600), Fine), (Some(0o400), Fine), (Some(0o640), Warning), (Some(0o644), Failure), (None, Failure)]
    {
        let found = key_file("/m", Path::new("/root/.passwd a"), mode);
        assert_eq!(found.verdict, expect, "{found:?}");
    }
    assert_eq!(key_file("/m", Path::new("/a b"), Some(0o644)).fix.as_deref(), Some("chmod 0600 '/a b'"));
}
