//! Who may read an object: a canned ACL with each write, where one is wanted and the server takes it.

use std::sync::atomic::Ordering;

use super::{
    S3Store,
    fault::{Cause, Fault},
};
use crate::model::key::Key;

/// How the ACLs begin that let everybody read.
const PUBLIC: &str = "public-";
/// What servers answer that have no ACLs: AWS where the bucket's owner owns all objects, R2 and others.
const REFUSALS: [&str; 2] = ["AccessControlListNotSupported", "NotImplemented"];

impl S3Store {
    /// Sends a write with the ACL that the object is to have. Where the server takes none it goes without, and so does
    /// every later one: the object is as private as its bucket.
    pub(super) async fn with_acl<T, F>(&self, key: &Key, send: impl Fn(Option<String>) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let acl = self.acl_of(key);
        let fault = match send(acl.clone()).await {
            Err(fault) if acl.is_some() && is_refusal(&fault) => fault,
            other => return other,
        };
        let again = send(None).await;
        // Else the ACL was not the reason.
        if again.is_ok() && !self.no_acl.swap(true, Ordering::Relaxed) {
            log::warn!(
                "objects are written without acl={}, because {} takes none ({}): a policy of the bucket decides who reads",
                acl.unwrap_or_default(),
                self.bucket,
                fault.cause
            );
        }
        again
    }

    fn acl_of(&self, key: &Key) -> Option<String> {
        let acl = self.options.acl.as_ref().filter(|_| !self.no_acl.load(Ordering::Relaxed))?;
        let withheld = acl.starts_with(PUBLIC) && self.options.withheld.covers(key);
        (!withheld).then(|| acl.clone())
    }
}

fn is_refusal(fault: &Fault) -> bool {
    matches!(&fault.cause, Cause::Answer(answer) if REFUSALS.contains(&&*answer.code))
}
