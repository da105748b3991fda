//! Which objects everybody may read.

use super::{
    fake::{Fake, header, options, refuse, say},
    *,
};
use crate::model::{key::Prefix, withheld::Withheld};

/// A store that is to write for everybody, but for `secret/`.
async fn public(fake: &Fake) -> S3Store {
    let mut options = options(fake.port);
    options.acl = Some("public-read".into());
    options.withheld = Withheld::some(Prefix::default(), ["secret/**"]).unwrap();
    S3Store::connect("photos", &options).await.unwrap()
}

#[tokio::test]
async fn what_is_withheld_gets_no_public_acl() {
    let ok = say("200 OK", &["ETag: \"e\""], "");
    let copied = say("200 OK", &[], "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>");
    let begun = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
    let begun = say("200 OK", &[], begun);
    let fake = Fake::start(vec![ok.clone(), ok, copied.clone(), copied, begun.clone(), begun]).await;
    let store = public(&fake).await;
    let keys = [Key::new("a.jpg"), Key::new("secret/a.jpg")];
    for key in &keys {
        store.put(key, BODY, &Headers::default(), Require::Anything).await.unwrap();
    }
    for key in &keys {
        let copy = Copy { headers: Some(Headers::default()), size: Some(5), ..Copy::default() };
        store.copy(&keys[1], key, copy).await.unwrap();
    }
    for key in &keys {
        store.begin(key, &Headers::default()).await.unwrap();
    }
    let seen = fake.seen();
    let acls: Vec<_> = seen.iter().map(|request| header(request, "x-amz-acl")).collect();
    let public = Some("public-read".to_owned());
    assert_eq!(acls, [public.clone(), None, public.clone(), None, public, None]);
}

#[tokio::test]
async fn a_server_without_acls_is_written_to_without() {
    for (status, code) in
        [("400 Bad Request", "AccessControlListNotSupported"), ("501 Not Implemented", "NotImplemented")]
    {
        let ok = say("200 OK", &["ETag: \"e\""], "");
        let fake = Fake::start(vec![refuse(status, code, "no ACLs here"), ok.clone(), ok]).await;
        let store = public(&fake).await;
        assert_eq!(put(&store, Require::Anything).await.unwrap(), "\"e\"");
        assert_eq!(put(&store, Require::Anything).await.unwrap(), "\"e\"");
        let seen = fake.seen();
        let acls: Vec<_> = seen.iter().map(|request| header(request, "x-amz-acl").is_some()).collect();
        assert_eq!(acls, [true, false, false], "{code}");
    }
}

#[tokio::test]
async fn what_is_refused_for_another_reason_stays_refused() {
    let refused = refuse("501 Not Implemented", "NotImplemented", "no such condition");
    let ok = say("200 OK", &["ETag: \"e\""], "");
    let fake = Fake::start(vec![refused.clone(), refused, ok]).await;
    let store = public(&fake).await;
    assert!(put(&store, Require::Anything).await.is_err());
    put(&store, Require::Anything).await.unwrap();
    assert!(header(&fake.seen()[2], "x-amz-acl").is_some());
}
