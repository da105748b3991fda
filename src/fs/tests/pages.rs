//! Pages that the kernel keeps over an open: those of the very version that is opened, and no others.

use super::*;
use crate::{fs::types::SetTime, model::attr::Time};

impl Host {
    /// Whether an open for reading lets the kernel keep its pages.
    async fn keeps_pages(&self, path: &str) -> bool {
        let who = self.who();
        let id = self.walk(path, who).await.unwrap();
        let opened = self.fs.open(id, READ, who).await.unwrap();
        self.fs.release(opened.fh).await;
        opened.unchanged
    }
}

/// Two hosts, of which one has pages of a file that the other has replaced since by one of the same size.
async fn replaced() -> Host {
    let bucket = bucket();
    let (host, other) = (Host::new(&bucket), Host::new(&bucket));
    other.write("f", b"old").await.unwrap();
    assert!(!host.keeps_pages("f").await, "the first open fills them");
    assert!(host.keeps_pages("f").await);
    other.write("f", b"new").await.unwrap();
    host
}

#[tokio::test]
async fn pages_of_what_was_replaced_are_not_those_of_its_new_name() {
    let host = replaced().await;
    host.rename("f", "g").await.unwrap();
    assert!(!host.keeps_pages("g").await);
    assert_eq!(host.read("g").await.unwrap(), "new");
    host.rename("g", "h").await.unwrap();
    assert!(host.keeps_pages("h").await, "a rename alone changes no byte");
}

#[tokio::test]
async fn pages_of_what_was_replaced_are_not_those_of_its_new_attributes() {
    let host = replaced().await;
    let at = |sec| SetAttr { mtime: Some(SetTime::At(Time::seconds(sec))), ..SetAttr::default() };
    host.set("f", at(7)).await.unwrap();
    assert!(!host.keeps_pages("f").await);
    host.set("f", at(8)).await.unwrap();
    assert!(host.keeps_pages("f").await, "new times change no byte");
}
