//! Who may read an object: a canned ACL with each write, where one is wanted and the server takes it, and the ACLs of
//! what is there already.

use std::sync::atomic::Ordering;

use super::{
    S3Store,
    call::Pace,
    fault::{Cause, Fault, classify},
    write::add_content_md5,
};
use crate::{
    error::{Error, Result},
    model::key::Key,
    store::acl::{Acls, PRIVATE, Readers},
};

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
        if again.is_ok() {
            self.warn_of_none(&acl.unwrap_or_default(), &fault);
        }
        again
    }

    /// From now on nothing is written with an ACL.
    fn warn_of_none(&self, acl: &str, fault: &Fault) {
        if !self.no_acl.swap(true, Ordering::Relaxed) {
            log::warn!(
                "objects are written without acl={acl}, because {} takes none ({}): a policy of the bucket decides who reads",
                self.bucket,
                fault.cause
            );
        }
    }

    fn acl_of(&self, key: &Key) -> Option<String> {
        let acl = self.options.acl.as_ref().filter(|_| !self.no_acl.load(Ordering::Relaxed))?;
        let withheld = Readers::of_canned(acl) != Readers::Owner && self.options.withheld.covers(key);
        (!withheld).then(|| acl.clone())
    }

    fn none_or(&self, key: &Key, fault: Fault) -> Error {
        if !is_refusal(&fault) {
            return classify(fault);
        }
        if let Some(acl) = self.acl_of(key) {
            self.warn_of_none(&acl, &fault);
        }
        Error::Unsupported
    }
}

impl Acls for S3Store {
    fn wanted(&self, key: &Key) -> Option<String> {
        self.acl_of(key).or_else(|| self.options.withheld.covers(key).then(|| PRIVATE.to_owned()))
    }

    async fn readers(&self, key: &Key) -> Result<Readers> {
        let get = || {
            let request = self.client().get_object_acl().bucket(&*self.bucket).key(key.as_str());
            request.set_request_payer(self.payer()).send()
        };
        let answer = self.call("GetObjectAcl", Pace::Quick, get).await.map_err(|fault| self.none_or(key, fault))?;
        Ok(Readers::of_grants(answer.grants().iter().filter_map(|grant| {
            let group = grant.grantee.as_ref().and_then(|grantee| grantee.uri.as_deref())?;
            Some((group, grant.permission.as_ref().map_or("", |right| right.as_str())))
        })))
    }

    async fn set_acl(&self, key: &Key, acl: &str) -> Result<()> {
        let put = || {
            let request = self.client().put_object_acl().bucket(&*self.bucket).key(key.as_str()).acl(acl.into());
            request.set_request_payer(self.payer()).customize().mutate_request(add_content_md5).send()
        };
        let sent = self.call("PutObjectAcl", Pace::Quick, put).await;
        sent.map(drop).map_err(|fault| self.none_or(key, fault))
    }
}

fn is_refusal(fault: &Fault) -> bool {
    matches!(&fault.cause, Cause::Answer(answer) if REFUSALS.contains(&&*answer.code))
}
