//! What the development server is told to do wrong.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::harness::{Bucket, Kind};

/// Adds a rule about this bucket (see `src/devs3/admin.rs`): `more` are its other fields. It lasts as long as the
/// server. False with servers of others.
#[must_use]
pub(crate) fn rule(bucket: &Bucket, more: &str) -> bool {
    if bucket.server.kind != Kind::Dev {
        println!("skipped: only the development server breaks on demand");
        return false;
    }
    let body = format!(r#"{{"bucket": "{}", {more}}}"#, bucket.source());
    let mut stream = TcpStream::connect(bucket.server.endpoint.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = "POST /_admin/faults HTTP/1.1\r\nhost: x\r\nconnection: close";
    stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    true
}
