//! Which objects everybody may read.

use super::{
    fake::{Fake, header, options, refuse, say},
    *,
};
use crate::{
    model::{key::Prefix, withheld::Withheld},
    store::acl::{Acls, PRIVATE, Readers},
};

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

const GROUP: &str = "<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\">\
                     <URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission>\
                     </Grant>";

#[tokio::test]
async fn the_acl_of_what_is_there_is_seen_and_set() {
    let acl = |grants: &str| {
        let owner = "<Owner><ID>me</ID></Owner>";
        let list = format!("<AccessControlList>{grants}</AccessControlList>");
        say("200 OK", &[], &format!("<AccessControlPolicy>{owner}{list}</AccessControlPolicy>"))
    };
    let fake = Fake::start(vec![acl(GROUP), acl(""), say("200 OK", &[], "")]).await;
    let store = public(&fake).await;
    let [open, secret] = [Key::new("a b.jpg"), Key::new("secret/a.jpg")];
    assert_eq!(
        (store.wanted(&open).as_deref(), store.wanted(&secret).as_deref()),
        (Some("public-read"), Some(PRIVATE))
    );
    assert_eq!(store.readers(&open).await.unwrap(), Readers::Everybody);
    assert_eq!(store.readers(&open).await.unwrap(), Readers::Owner);
    store.set_acl(&open, "public-read").await.unwrap();
    let seen = fake.seen();
    assert!(seen[0].starts_with("GET /photos/a%20b.jpg?acl"), "{}", seen[0]);
    assert!(seen[2].starts_with("PUT /photos/a%20b.jpg?acl"), "{}", seen[2]);
    assert_eq!(header(&seen[2], "x-amz-acl").as_deref(), Some("public-read"));
    assert!(header(&seen[2], "content-md5").is_some(), "not all servers know another sum: {}", seen[2]);
}

#[tokio::test]
async fn a_server_without_acls_is_not_asked_for_any_again() {
    let fake = Fake::start(vec![
        refuse("501 Not Implemented", "NotImplemented", "no ACLs here"),
        refuse("403 Forbidden", "AccessDenied", "no"),
        refuse("404 Not Found", "NoSuchKey", "no"),
    ])
    .await;
    let store = public(&fake).await;
    let key = Key::new("a.jpg");
    assert!(matches!(store.readers(&key).await, Err(Error::Unsupported)));
    assert_eq!(store.wanted(&key), None);
    assert!(matches!(store.readers(&key).await, Err(Error::Denied)));
    assert!(matches!(store.readers(&key).await, Err(Error::NotFound)));
}
