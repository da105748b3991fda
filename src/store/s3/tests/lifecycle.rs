//! Lifecycle rules, as they go over the wire.

use super::{
    super::Lifecycle,
    fake::{Fake, header, refuse, say},
};
use crate::{error::Error, store::s3::S3Store};

const RULES: &str = "<?xml version=\"1.0\"?>\n<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status>\
                     <Novelty>b &amp; c</Novelty></Rule></LifecycleConfiguration>";

async fn written(store: &S3Store, text: &str, minimum: Option<&str>) -> Result<(), Error> {
    let minimum = minimum.map(str::to_owned);
    store.set_lifecycle(&Lifecycle { text: text.to_owned(), minimum }).await
}

#[tokio::test]
async fn rules_are_read_and_written_as_text() {
    let size = "x-amz-transition-default-minimum-object-size: varies_by_storage_class";
    let fake = Fake::start(vec![say("200 OK", &[size], RULES), say("200 OK", &[], ""), say("204 No Content", &[], "")]);
    let fake = fake.await;
    let store = fake.store().await;
    let found = store.lifecycle().await.unwrap().unwrap();
    assert_eq!((found.text.as_str(), found.minimum.as_deref()), (RULES, Some("varies_by_storage_class")));
    written(&store, RULES, Some("varies_by_storage_class")).await.unwrap();
    store.remove_lifecycle().await.unwrap();
    let seen = fake.seen();
    assert!(
        seen[1].starts_with("PUT /photos/?lifecycle ") || seen[1].starts_with("PUT /photos?lifecycle "),
        "{}",
        seen[1]
    );
    assert!(seen[1].ends_with(&format!("\r\n\r\n{RULES}")), "to the byte: {}", seen[1]);
    let sum = super::super::wire::content_md5(RULES.as_bytes());
    assert_eq!(header(&seen[1], "content-md5"), Some(sum));
    assert_eq!(header(&seen[1], "content-length"), Some(RULES.len().to_string()));
    assert_eq!(
        header(&seen[1], "x-amz-transition-default-minimum-object-size").as_deref(),
        Some("varies_by_storage_class")
    );
    assert!(!seen[1].contains("x-amz-checksum-"), "no sum of another body: {}", seen[1]);
    assert!(seen[2].starts_with("DELETE "), "{}", seen[2]);
}

#[tokio::test]
async fn no_rules_and_no_such_thing_are_not_the_same() {
    let fake = Fake::start(vec![
        refuse("404 Not Found", "NoSuchLifecycleConfiguration", "none"),
        refuse("501 Not Implemented", "NotImplemented", "no"),
        refuse("404 Not Found", "NoSuchBucket", "no"),
        refuse("403 Forbidden", "AccessDenied", "no"),
        refuse("403 Forbidden", "AccessDenied", "no"),
    ])
    .await;
    let store = fake.store().await;
    assert_eq!(store.lifecycle().await.unwrap(), None);
    assert!(matches!(store.lifecycle().await, Err(Error::Unsupported)));
    assert!(matches!(store.lifecycle().await, Err(Error::Unavailable(_))), "the bucket is not there");
    assert!(matches!(written(&store, RULES, None).await, Err(Error::Denied)));
}
