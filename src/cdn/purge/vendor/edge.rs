//! Caches of one's own: Varnish and nginx, which take a PURGE or a BAN over HTTP. Each address of an edge is a
//! vendor of its own, because each has its own cache.

use super::{Common, Request, Response, Secret, by_status, said};
use crate::cdn::purge::{
    target::{Batch, Contract, Target, Verdict},
    urls::parts,
    versions::Versions,
};

/// How an edge is told that all below a directory is to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Below {
    /// Not at all: one request for each object.
    Never,
    /// `PURGE /dir/*`: `ngx_cache_purge`, and `proxy_cache_purge` of the commercial nginx.
    Star,
    /// `BAN` with the header `x-ban-url`, a regular expression for the URL: Varnish, with a line of VCL.
    Ban,
}

/// One cache.
#[derive(Clone, Debug)]
pub struct Edge {
    /// `http://host[:port]`, where it listens; without a slash at its end.
    pub address: String,
    pub below: Below,
}

impl Edge {
    pub(super) fn contract(&self, common: &Common) -> Contract {
        Contract { prefixes: self.below != Below::Never, parallel: 8, ..common.contract() }
    }

    pub(super) fn requests(&self, common: &Common, batch: &Batch, secret: &Secret) -> Vec<Request> {
        let of = |(target, versions): (&Target, &Versions)| match target {
            Target::Object(key) => {
                common.urls.all(key, versions).iter().map(|url| self.purge(url, "", secret)).collect()
            }
            Target::Below(dir) => common.urls.below(dir).iter().map(|url| self.below(url, secret)).collect(),
            Target::Everything => {
                common.urls.below(&common.root).iter().map(|url| self.below(url, secret)).collect::<Vec<_>>()
            }
            Target::Tag(_) => Vec::new(),
        };
        let mut all: Vec<Request> = Vec::new();
        for request in batch.items().flat_map(of) {
            // Whatever the scheme, a cache of one's own sees host and path.
            if !all.contains(&request) {
                all.push(request);
            }
        }
        all
    }

    fn below(&self, url: &str, secret: &Secret) -> Request {
        match self.below {
            Below::Ban => {
                let (_, _, path) = parts(url);
                let mut request = self.purge(url, "", secret);
                request.method = "BAN";
                request.headers.push(("x-ban-url", format!("^{}", escaped(path))));
                request
            }
            Below::Star | Below::Never => self.purge(url, "*", secret),
        }
    }

    fn purge(&self, url: &str, star: &str, secret: &Secret) -> Request {
        let (_, host, path) = parts(url);
        let mut headers = vec![("host", host.to_owned())];
        if !secret.expose().is_empty() {
            headers.push(("authorization", format!("Bearer {}", secret.expose())));
        }
        Request { method: "PURGE", url: format!("{}{path}{star}", self.address), headers, body: String::new() }
    }
}

/// A path in a regular expression.
fn escaped(path: &str) -> String {
    let escape =
        |c: char| if c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '%') { None } else { Some('\\') };
    path.chars().flat_map(|c| escape(c).into_iter().chain([c])).collect()
}

/// 404 and 412 (`ngx_cache_purge`) say that it was not cached.
pub(super) fn verdict(response: &Response) -> Verdict {
    match response.status {
        404 | 412 => Verdict::Done,
        // Not allowed, or no such method: nothing that another attempt changes.
        501 => Verdict::Refused(said(response)),
        _ => by_status(response),
    }
}
