//! Keys are bytes: whatever a name holds must come back as it went in.

use bytes::Bytes;

use super::{Bench, Checked, Report, fails, not_found, refused, same};
use crate::{
    model::key::{KEY_MAX, Key},
    store::{Copy, Headers, List, Require, Store},
};

/// Names that every server keeps.
const ODD: [(&str, &str); 15] = [
    ("a space", "a b/c d"),
    ("a trailing space", "trailing "),
    ("a trailing dot", "trailing."),
    ("a plus", "a+b"),
    ("a percent sign", "a%20b%"),
    ("query characters", "a&b=c?d#e;f"),
    ("quotes and angles", "q\"'<>&amp;"),
    ("other ASCII", "a:*~!(),@$^`{}|[]"),
    ("umlauts", "\u{fc}n\u{ef}"),
    ("composed (NFC)", "caf\u{e9}"),
    ("decomposed (NFD)", "cafe\u{301}"),
    ("CJK and emoji", "\u{65e5}\u{672c}/\u{1f600}.txt"),
    ("a line feed", "a\nb"),
    ("a tab", "a\tb"),
    ("a control character", "a\u{1}b"),
];

/// Names that only a flat keyspace keeps.
const FLAT: [(&str, &str); 6] = [
    ("two slashes", "ds//x"),
    ("a component ..", "p/../q"),
    ("a component .", "p/./q"),
    ("a backslash", "a\\b"),
    ("a leading slash", "/lead"),
    ("only slashes", "///"),
];

pub(super) async fn all<S: Store>(bench: &Bench<'_, S>, report: &mut Report) {
    let flat = FLAT.iter().filter(|_| !bench.quirks.tree);
    for (what, name) in ODD.iter().chain(flat) {
        report.add(&format!("a key with {what}"), odd(bench, name).await);
    }
    report.add("NFC and NFD, upper and lower case are different keys", distinct(bench).await);
    report.add("an object and objects below its name", object_and_directory(bench).await);
    report.add("no object at a directory's name", implicit(bench).await);
    report.add("a directory marker", marker(bench).await);
    if !bench.quirks.tree {
        report.add("a key with a component of 300 bytes", odd(bench, &"y".repeat(300)).await);
    }
    if !bench.quirks.short_keys {
        let fill = KEY_MAX - bench.prefix.len() - "odd/".len();
        let longest: String = "w/".chars().cycle().take(fill - 1).chain(['w']).collect();
        report.add("a key of 1024 bytes", odd(bench, &longest).await);
    }
    if !bench.quirks.long_keys {
        report.add("a longer key is refused", too_long(bench).await);
    }
}

/// Every call that has the key in a path, a query, a header or a body.
async fn odd<S: Store>(bench: &Bench<'_, S>, name: &str) -> Checked {
    let full = format!("odd/{name}");
    let key = bench.key(&full);
    let body = Bytes::from(name.to_owned());
    bench.store.put(&key, body.clone(), &Headers::default(), Require::Anything).await?;
    same("GET", &bench.get(&full).await?.1, &body)?;
    bench.store.head(&key).await?;
    bench.store.copy(&key, &key, Copy { headers: Some(Headers::default()), ..Copy::default() }).await?;
    let listed = bench.list(List { prefix: full.clone(), ..List::default() }).await?.0;
    same("LIST with the key as prefix", listed, [full.as_str()])?;
    let listed = bench.list(List { prefix: "odd/".to_owned(), ..List::default() }).await?.0;
    same("LIST", listed.contains(&full), true)?;
    same("batch delete", bench.store.delete_many(std::slice::from_ref(&key)).await?.len(), 0)?;
    fails("HEAD after the batch delete", bench.store.head(&key).await, not_found)?;
    bench.store.put(&key, body, &Headers::default(), Require::Anything).await?;
    bench.store.delete(&key, Require::Anything).await?;
    fails("HEAD after the delete", bench.store.head(&key).await, not_found)
}

async fn distinct<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let names: [(&str, &[u8]); 4] = [("A", b"1"), ("a", b"2"), ("\u{e9}", b"3"), ("e\u{301}", b"4")];
    for (name, body) in names {
        bench.put(&format!("distinct/{name}"), body).await?;
    }
    for (name, body) in names {
        same(name, &bench.get(&format!("distinct/{name}")).await?.1[..], body)?;
    }
    Ok(())
}

async fn object_and_directory<S: Store>(bench: &Bench<'_, S>) -> Checked {
    bench.put("both", b"1").await?;
    bench.put("both/x", b"2").await?;
    same("the object", &bench.get("both").await?.1[..], b"1")?;
    same("the object below", &bench.get("both/x").await?.1[..], b"2")?;
    let (keys, prefixes) = bench.list(List { prefix: "both".to_owned(), delimiter: true, ..List::default() }).await?;
    same("keys", keys, ["both"])?;
    same("prefixes", prefixes, ["both/"])
}

async fn implicit<S: Store>(bench: &Bench<'_, S>) -> Checked {
    bench.put("implicit/dir/x", b"1").await?;
    if bench.quirks.tree {
        return Ok(());
    }
    fails("HEAD", bench.store.head(&bench.key("implicit/dir")).await, not_found)?;
    fails("HEAD with a slash", bench.store.head(&bench.key("implicit/dir/")).await, not_found)
}

async fn marker<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let key = bench.key("marker/");
    let user = [("mode".to_owned(), "16877".to_owned())].into();
    let content_type = Some("application/x-directory".to_owned());
    let mut headers = Headers { content_type, user, ..Headers::default() };
    bench.store.put(&key, Bytes::new(), &headers, Require::Anything).await?;
    bench.put("marker/x", b"x").await?;
    let object = bench.store.head(&key).await?;
    same("metadata", &object.headers.user, &headers.user)?;
    same("size", object.version.size, 0)?;
    fails("HEAD without the slash", bench.store.head(&bench.key("marker")).await, not_found)
        .or_else(|failure| if bench.quirks.tree { Ok(()) } else { Err(failure) })?;
    if bench.quirks.tree {
        return Ok(());
    }
    headers.user.insert("mode".to_owned(), "16832".to_owned());
    bench.store.copy(&key, &key, Copy { headers: Some(headers.clone()), ..Copy::default() }).await?;
    same("headers after a copy onto itself", bench.store.head(&key).await?.headers, headers)?;
    bench.put("marker/", b"body").await?;
    same("a body", &bench.get("marker/").await?.1[..], b"body")?;
    bench.store.delete(&key, Require::Anything).await?;
    fails("HEAD of the deleted marker", bench.store.head(&key).await, not_found)?;
    bench.store.head(&bench.key("marker/x")).await?;
    Ok(())
}

async fn too_long<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let key = Key::new(&format!("{}{}", bench.prefix, "w/".repeat(KEY_MAX / 2)));
    let put = bench.store.put(&key, Bytes::new(), &Headers::default(), Require::Anything).await;
    fails("PUT", put, refused)
}
