//! ListObjectsV2: order, grouping, pages, and that it shows what was just written.

use super::{Bench, Checked, Report, same};
use crate::store::{List, Require, Store};

/// A small tree; `e/` is a marker.
const TREE: [&str; 8] = ["a/1", "a/2", "a/b/3", "b", "c/1", "d", "e/", "f"];

pub(super) async fn all<S: Store>(bench: &Bench<'_, S>, report: &mut Report) {
    report.add("a listing without delimiter", flat(bench).await);
    report.add("a listing with delimiter", grouped(bench).await);
    report.add("a listing tells versions", versions(bench).await);
    report.add("pages count keys and prefixes, and miss none", pages(bench).await);
    report.add("start-after", after(bench).await);
    report.add("a listing of one name", one_name(bench).await);
    report.add("an empty listing", empty(bench).await);
    report.add("more than one full page", full_page(bench).await);
    report.add("a listing shows the last write and delete", last_write(bench).await);
    if !bench.quirks.unordered {
        report.add("UTF-8 byte order", order(bench).await);
    }
}

fn below(prefix: &str) -> List {
    List { prefix: prefix.to_owned(), ..List::default() }
}

fn grouped_below(prefix: &str) -> List {
    List { delimiter: true, ..below(prefix) }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

async fn plant<S: Store>(bench: &Bench<'_, S>, root: &str) -> Checked {
    for name in TREE {
        bench.put(&format!("{root}{name}"), if name.ends_with('/') { b"" } else { b"x" }).await?;
    }
    Ok(())
}

async fn flat<S: Store>(bench: &Bench<'_, S>) -> Checked {
    plant(bench, "L/").await?;
    let (keys, prefixes) = bench.list(below("L/")).await?;
    same("keys", sorted(keys), TREE.map(|name| format!("L/{name}")))?;
    same("prefixes", prefixes, [""; 0])?;
    same("a prefix in the middle of a name", bench.list(below("L/a/b")).await?.0, ["L/a/b/3"])
}

async fn grouped<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let (keys, prefixes) = bench.list(grouped_below("L/")).await?;
    same("keys", sorted(keys), ["L/b", "L/d", "L/f"])?;
    same("prefixes", sorted(prefixes), ["L/a/", "L/c/", "L/e/"])?;
    let (keys, prefixes) = bench.list(grouped_below("L/a/")).await?;
    same("keys of a/", sorted(keys), ["L/a/1", "L/a/2"])?;
    same("prefixes of a/", prefixes, ["L/a/b/"])?;
    same("the name of a directory", bench.list(grouped_below("L/a")).await?.1, ["L/a/"])?;
    same("the marker itself", bench.list(grouped_below("L/e/")).await?.0, ["L/e/"])
}

/// With the name itself as prefix, one listing tells file, directory and absence apart, beside longer names.
async fn one_name<S: Store>(bench: &Bench<'_, S>) -> Checked {
    for name in ["P/f", "P/f-1", "P/f.d/x", "P/f0", "P/d-1", "P/d/x", "P/d0/x", "P/m.txt"] {
        bench.put(name, b"x").await?;
    }
    bench.put("P/m/", b"").await?;
    let want: [(&str, &[&str], &[&str]); 5] = [
        ("P/f", &["P/f", "P/f-1", "P/f0"], &["P/f.d/"]),
        ("P/d", &["P/d-1"], &["P/d/", "P/d0/"]),
        ("P/m", &["P/m.txt"], &["P/m/"]),
        ("P/f-", &["P/f-1"], &[]),
        ("P/f-2", &[], &[]),
    ];
    for (name, keys, prefixes) in want {
        let page = bench.store.list(grouped_below(&format!("{}{name}", bench.prefix))).await?;
        same("it is one page", page.next, None)?;
        let listed = bench.list(grouped_below(name)).await?;
        same(name, (sorted(listed.0), sorted(listed.1)), (sorted(owned(keys)), sorted(owned(prefixes))))?;
    }
    bench.store.delete(&bench.key("P/f"), Require::Anything).await?;
    same("keys after a DELETE", sorted(bench.list(grouped_below("P/f")).await?.0), ["P/f-1", "P/f0"])?;
    bench.put("P/f", b"y").await?;
    same("keys after a PUT", sorted(bench.list(grouped_below("P/f")).await?.0), ["P/f", "P/f-1", "P/f0"])
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn versions<S: Store>(bench: &Bench<'_, S>) -> Checked {
    bench.put("version/of", b"12345").await?;
    let head = bench.store.head(&bench.key("version/of")).await?.version;
    let page = bench.store.list(below(&format!("{}version/", bench.prefix))).await?;
    let listed: Vec<_> = page.entries.into_iter().map(|entry| entry.version).collect();
    same("entries", listed.len(), 1)?;
    same("same content as HEAD", listed[0].same_content(&head), true)?;
    same("Last-Modified as HEAD", listed[0].modified, head.modified)
}

async fn pages<S: Store>(bench: &Bench<'_, S>) -> Checked {
    for max in 1..=3 {
        let mut list = List { max, ..grouped_below(&format!("{}L/", bench.prefix)) };
        let mut seen = Vec::new();
        loop {
            let page = bench.store.list(list.clone()).await?;
            let count = page.entries.len() + page.prefixes.len();
            same("a page is not too long", count <= usize::from(max), true)?;
            same("a page that goes on is not empty", count > 0 || page.next.is_none(), true)?;
            seen.extend(page.entries.iter().map(|entry| entry.key.as_str().to_owned()));
            seen.extend(page.prefixes.iter().map(|prefix| prefix.as_str().to_owned()));
            list.token = page.next;
            if list.token.is_none() {
                break;
            }
        }
        let want = ["a/", "b", "c/", "d", "e/", "f"].map(|name| format!("{}L/{name}", bench.prefix));
        same("all pages", sorted(seen), want)?;
    }
    Ok(())
}

async fn after<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let from = |name: &str| Some(format!("{}{name}", bench.prefix));
    let flat = List { after: from("L/b"), ..below("L/") };
    same("keys after b", bench.list(flat).await?.0, ["L/c/1", "L/d", "L/e/", "L/f"])?;
    let flat = List { after: from("L/bb"), ..below("L/") };
    same("keys after a name that is not there", bench.list(flat).await?.0, ["L/c/1", "L/d", "L/e/", "L/f"])?;
    let grouped = List { after: from("L/a0"), ..grouped_below("L/") };
    same("prefixes after a/", sorted(bench.list(grouped).await?.1), ["L/c/", "L/e/"])?;
    let paged = List { after: from("L/b"), max: 1, ..below("L/") };
    same("pages after b", bench.list(paged).await?.0, ["L/c/1", "L/d", "L/e/", "L/f"])?;
    let last = List { after: from("L/f"), ..below("L/") };
    same("keys after the last", bench.list(last).await?.0, [""; 0])
}

async fn empty<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let (keys, prefixes) = bench.list(grouped_below("nothing/here/")).await?;
    same("keys", keys, [""; 0])?;
    same("prefixes", prefixes, [""; 0])
}

async fn full_page<S: Store>(bench: &Bench<'_, S>) -> Checked {
    // Eight at a time: more connections than that gain nothing on a small machine.
    for first in (0..1008).step_by(8) {
        let names: Vec<_> = (first..first + 8).map(|n| format!("N/{n:05}")).collect();
        for outcome in super::together(names.iter().map(|name| bench.put(name, b"x"))).await {
            outcome?;
        }
    }
    let page = bench.store.list(below(&format!("{}N/", bench.prefix))).await?;
    same("keys of the first page", page.entries.len(), 1000)?;
    same("there is more", page.next.is_some(), true)?;
    let (keys, _) = bench.list(below("N/")).await?;
    same("all keys", sorted(keys), (0..1008).map(|n| format!("N/{n:05}")).collect::<Vec<_>>())
}

async fn last_write<S: Store>(bench: &Bench<'_, S>) -> Checked {
    for n in 0..10 {
        bench.put(&format!("fresh/{n}"), b"x").await?;
        same("keys after a PUT", bench.list(below("fresh/")).await?.0.len(), n + 1)?;
    }
    for n in (0..10).rev() {
        bench.store.delete(&bench.key(&format!("fresh/{n}")), Require::Anything).await?;
        same("keys after a DELETE", bench.list(below("fresh/")).await?.0.len(), n)?;
    }
    if bench.quirks.tree {
        return Ok(());
    }
    same("an emptied prefix is gone", bench.list(grouped_below("fresh")).await?.1, [""; 0])
}

async fn order<S: Store>(bench: &Bench<'_, S>) -> Checked {
    let names = ["O/A", "O/_", "O/a", "O/a-b", "O/a/b", "O/a0", "O/a\u{e9}", "O/a\u{ff01}", "O/a\u{1f600}"];
    for name in names {
        bench.put(name, b"x").await?;
    }
    same("keys", bench.list(below("O/")).await?.0, names)
}
