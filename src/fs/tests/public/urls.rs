//! Where the public reads a file, and the token that follows its bytes.

use super::super::*;
use crate::{
    cdn::{
        policy::{Policy, Wishes},
        url::{Base, Family, Mapper},
    },
    fs::types::SetTime,
    model::{attr::Time, withheld::Withheld},
    store::Headers,
};

fn behind_a_cdn(perms: Perms) -> FsOptions {
    let prefix = Prefix::parse("site").unwrap();
    let bases = vec![
        Base::parse("https://cdn.example.org", Family::Cdn).unwrap(),
        Base::parse("https://www.example.org/images", Family::Site).unwrap(),
    ];
    let withheld = Withheld::some(prefix.clone(), []).unwrap();
    let policy = Policy::new(Wishes { prefix: prefix.clone(), withheld, ..Wishes::default() });
    FsOptions { headers: Arc::new(policy), urls: Arc::new(Mapper::new(prefix, bases)), perms, ..options() }
}

impl Host {
    async fn xattr(&self, path: &str, name: &str) -> Option<String> {
        let id = self.walk(path, self.who()).await.unwrap();
        match self.fs.getxattr(id, OsStr::new(name)).await {
            Ok(value) => Some(String::from_utf8(value.to_vec()).unwrap()),
            Err(Error::NoAttr) => None,
            Err(err) => panic!("{err:?}"),
        }
    }

    async fn token(&self, path: &str) -> Option<String> {
        self.xattr(path, "user.cdn.version").await
    }
}

#[tokio::test]
async fn extended_attributes_tell_the_urls() {
    let host = Host::with(&bucket(), behind_a_cdn(Perms::Uniform));
    host.mkdir("d").await.unwrap();
    host.write("d/a b.png", b"x").await.unwrap();
    host.write("d/.htaccess", b"x").await.unwrap();
    let token = host.token("d/a b.png").await.unwrap();
    assert_eq!(host.xattr("d/a b.png", "user.cdn.url").await.unwrap(), "https://cdn.example.org/site/d/a%20b.png");
    let versioned = format!("https://cdn.example.org/site/d/a%20b.png?v={token}");
    assert_eq!(host.xattr("d/a b.png", "user.cdn.vurl").await.unwrap(), versioned);
    for path in ["d", "d/.htaccess"] {
        assert_eq!(host.xattr(path, "user.cdn.url").await, None, "{path}");
    }
    let id = host.walk("d/a b.png", host.who()).await.unwrap();
    let names = host.fs.listxattr(id).unwrap();
    let names: Vec<_> = std::str::from_utf8(&names).unwrap().split_terminator('\0').skip(3).collect();
    assert_eq!(names, ["user.cdn.url", "user.cdn.vurl", "user.cdn.version"]);
    let urls = host.fs.urls("d/a b.png").await.unwrap();
    assert_eq!(urls.site.as_deref(), Some("https://www.example.org/images/d/a%20b.png"));
    assert_eq!((urls.public, urls.version, urls.size), (true, token, 1));
    let private = host.fs.urls("d/.htaccess").await.unwrap();
    assert_eq!((private.public, private.cdn, private.site), (false, None, None));
    assert!(matches!(host.fs.urls("none").await, Err(Error::NotFound)));
}

#[tokio::test]
async fn an_extended_attribute_tells_whether_the_cdn_knows() {
    let host = Host::with(&bucket(), behind_a_cdn(Perms::Uniform));
    host.write("a.png", b"x").await.unwrap();
    host.write(".htaccess", b"x").await.unwrap();
    assert_eq!(host.xattr("a.png", "user.cdn.state").await, None, "there is nobody to purge");
    host.fs.tell_purges(Box::new(|key| if key.as_str() == "site/a.png" { "pending" } else { "purged" }));
    assert_eq!(host.xattr("a.png", "user.cdn.state").await.as_deref(), Some("pending"));
    assert_eq!(host.xattr(".htaccess", "user.cdn.state").await.as_deref(), Some("withheld"));
    let id = host.walk("a.png", host.who()).await.unwrap();
    assert!(host.fs.listxattr(id).unwrap().ends_with(b"user.cdn.state\0"));
    // What the bucket does not have is purged nowhere.
    let open = host.open("new.png", TRUNCATE).await.unwrap();
    host.put(open, "one").await;
    assert_eq!(host.xattr("new.png", "user.cdn.state").await, None);
    host.close(open).await.unwrap();
    assert_eq!(host.xattr("new.png", "user.cdn.state").await.as_deref(), Some("purged"));
}

#[tokio::test]
async fn a_token_is_published_only_when_its_bytes_are_in_the_bucket() {
    let host = Host::with(&bucket(), behind_a_cdn(Perms::Uniform));
    let open = host.open("new.png", TRUNCATE).await.unwrap();
    host.put(open, "one").await;
    assert_eq!(host.token("new.png").await, None, "nobody could read it");
    assert!(matches!(host.fs.urls("new.png").await, Err(Error::NotFound)));
    host.close(open).await.unwrap();
    let first = host.token("new.png").await.unwrap();
    let open = host.open("new.png", TRUNCATE).await.unwrap();
    host.put(open, "two").await;
    assert_eq!(host.token("new.png").await.as_ref(), Some(&first), "a cache would keep the former bytes under another");
    assert_eq!(host.fs.urls("new.png").await.unwrap().version, first);
    host.close(open).await.unwrap();
    assert_ne!(host.token("new.png").await.unwrap(), first);
}

#[tokio::test]
async fn a_token_is_the_same_on_every_host_and_follows_the_bytes_alone() {
    let bucket = bucket();
    let [one, two] = [0, 1].map(|_| Host::with(&bucket, behind_a_cdn(Perms::Stored)));
    one.write("a.png", b"one").await.unwrap();
    let first = one.token("a.png").await.unwrap();
    assert_eq!(two.token("a.png").await.as_ref(), Some(&first));
    let set = SetAttr { mode: Some(0o600), mtime: Some(SetTime::At(Time::seconds(7))), ..SetAttr::default() };
    two.set("a.png", set).await.unwrap();
    assert_eq!(one.token("a.png").await.as_ref(), Some(&first), "the bytes are the same");
    two.rename("a.png", "b.png").await.unwrap();
    assert_eq!(one.token("b.png").await.as_ref(), Some(&first));
    bucket.inner().put_foreign("site/b.png", &b"two"[..], Headers::default());
    let second = one.token("b.png").await.unwrap();
    assert_ne!(second, first);
    assert_eq!(two.token("b.png").await, Some(second));
}
