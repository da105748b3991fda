//! What the mount-time check says of servers and credentials that do not work.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    super::{CheckError, Creation, S3Store},
    fake::{Fake, Reply, options, refuse, say},
};
use crate::{clock, config::CredentialSource};

#[track_caller]
fn check_says(found: Result<(), CheckError>, expect: &str) {
    assert_eq!(found.unwrap_err().to_string(), expect);
}

#[tokio::test]
async fn the_check_names_the_cause() {
    let message = "the region 'us-east-1' is wrong; expecting 'eu-west-1'";
    let fake = Fake::start(vec![
        refuse("400 Bad Request", "AuthorizationHeaderMalformed", message),
        say(
            "301 Moved Permanently",
            &["x-amz-bucket-region: eu-central-1"],
            "<Error><Code>PermanentRedirect</Code></Error>",
        ),
        refuse("403 Forbidden", "InvalidAccessKeyId", "x"),
        refuse("403 Forbidden", "SignatureDoesNotMatch", "x"),
        refuse("404 Not Found", "NoSuchBucket", "x"),
        refuse("403 Forbidden", "AccessDenied", "x"),
        say("200 OK", &[], "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"),
    ])
    .await;
    let store = fake.store().await;
    check_says(
        store.check("").await,
        "the bucket is in region eu-west-1, not in us-east-1: mount with region=eu-west-1",
    );
    check_says(
        store.check("").await,
        "the bucket is in region eu-central-1, not in us-east-1: mount with region=eu-central-1",
    );
    check_says(store.check("").await, "the server does not know this access key id");
    check_says(store.check("").await, "the secret access key does not fit the access key id (bad signature)");
    check_says(store.check("").await, "there is no bucket photos");
    check_says(store.check("a/").await, "access denied: these credentials may not list s3://photos/a/");
    store.check("").await.unwrap();
}

#[tokio::test]
async fn the_check_tells_how_wrong_the_clock_is() {
    let skewed = say(
        "403 Forbidden",
        &["Date: Tue, 14 Nov 2023 22:13:20 GMT"],
        "<Error><Code>RequestTimeTooSkewed</Code></Error>",
    );
    let fake = Fake::start(vec![skewed; 9]).await;
    let Err(CheckError::ClockSkew { seconds: Some(seconds) }) = fake.store().await.check("").await else {
        panic!("skew")
    };
    assert!((clock::wall().sec - 1_700_000_000 - seconds).abs() < 60, "{seconds}");
}

#[tokio::test]
async fn the_check_tells_servers_that_are_not_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let store = S3Store::connect("photos", &options(port)).await.unwrap();
    check_says(store.check("").await, &format!("nothing listens at http://127.0.0.1:{port} (connection refused)"));

    let fake = Fake::start(vec![Reply::Stall(String::new()); 9]).await;
    let expect = format!("http://127.0.0.1:{} did not answer within 1.5 s", fake.port);
    check_says(fake.store().await.check("").await, &expect);

    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut tls = options(0);
    tls.endpoint = Some(format!("https://{}", plain.local_addr().unwrap()));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            stream.read_u8().await.ok();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    let found = S3Store::connect("photos", &tls).await.unwrap().check("").await;
    assert!(matches!(&found, Err(CheckError::Tls { host, .. }) if host == "127.0.0.1"), "{found:?}");

    let mut lost = options(1);
    lost.endpoint = Some("http://no-such-host.invalid".into());
    let found = S3Store::connect("photos", &lost).await.unwrap().check("").await;
    assert_eq!(found, Err(CheckError::Dns { host: "no-such-host.invalid".into() }));

    let mut nobody = options(port);
    nobody.credentials = CredentialSource::PasswdFile("/nonexistent/passwd".into());
    let found = S3Store::connect("photos", &nobody).await.unwrap().check("").await.unwrap_err().to_string();
    assert!(found.starts_with("no credentials: ") && found.contains("/nonexistent/passwd: No such file"), "{found}");
}

#[tokio::test]
async fn a_bucket_is_created_once_and_where_it_belongs() {
    let fake = Fake::start(vec![
        say("200 OK", &["Location: /photos"], ""),
        refuse("409 Conflict", "BucketAlreadyOwnedByYou", "x"),
        refuse("409 Conflict", "BucketAlreadyExists", "x"),
        refuse("403 Forbidden", "InvalidAccessKeyId", "x"),
    ])
    .await;
    let store = fake.store().await;
    assert_eq!(store.create().await, Ok(Creation::Made));
    assert_eq!(store.create().await, Ok(Creation::There));
    let taken = store.create().await.unwrap_err().to_string();
    assert_eq!(taken, "the bucket name photos belongs to somebody else");
    assert_eq!(store.create().await, Err(CheckError::BadKeyId));
    let seen = fake.seen();
    assert!(seen[0].starts_with("PUT /photos"), "{}", seen[0]);
    // A service that is no AWS knows where it is, and may not know the name of its region.
    assert!(!seen[0].contains("LocationConstraint"), "{}", seen[0]);
}
