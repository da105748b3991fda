//! Canned ACLs of objects: kept, told, and obeyed when somebody without credentials wants to read. They are in memory
//! alone: on a server that is started again all objects are private.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use hyper::HeaderMap;
use originfs::model::key::Key;
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        GetObjectAclInput, GetObjectAclOutput, Grant, Grantee, Permission, PutObjectAclInput, PutObjectAclOutput, Type,
    },
    s3_error,
};

use crate::{
    space::Space,
    wire::{no_key, owner},
};

/// What an object has of which nobody said otherwise.
const PRIVATE: &str = "private";
/// Those that let everybody read.
const PUBLIC: [&str; 2] = ["public-read", "public-read-write"];
const ACCOUNTS: &str = "authenticated-read";
/// Those about accounts that are not here.
const OTHERS: [&str; 3] = ["aws-exec-read", "bucket-owner-full-control", "bucket-owner-read"];
const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

/// The ACLs of one bucket that are not [`PRIVATE`].
#[derive(Debug, Default)]
pub(crate) struct Acls {
    objects: Mutex<BTreeMap<String, String>>,
    /// By the id of the upload, what its object will have.
    uploads: Mutex<BTreeMap<String, String>>,
}

impl Acls {
    /// An object was written, or its ACL was. Under the lock of the bucket.
    pub(crate) fn set(&self, key: &Key, acl: Option<String>) {
        match acl {
            Some(acl) => hold(&self.objects).insert(key.as_str().to_owned(), acl),
            None => hold(&self.objects).remove(key.as_str()),
        };
    }

    pub(crate) fn begin(&self, id: &str, acl: Option<String>) {
        hold(&self.uploads).extend(acl.map(|acl| (id.to_owned(), acl)));
    }

    /// What an upload was begun with, which is over.
    pub(crate) fn end(&self, id: &str) -> Option<String> {
        hold(&self.uploads).remove(id)
    }

    /// Whether everybody may read what is at the key.
    pub(crate) fn is_public(&self, key: &str) -> bool {
        PUBLIC.contains(&&*self.of(key))
    }

    fn of(&self, key: &str) -> String {
        hold(&self.objects).get(key).cloned().unwrap_or_else(|| PRIVATE.to_owned())
    }
}

fn hold<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().expect("nothing panics while it is held")
}

/// The ACL that a request asks for; `None`: the usual one.
pub(crate) fn asked(headers: &HeaderMap) -> S3Result<Option<String>> {
    let Some(value) = headers.get("x-amz-acl") else { return Ok(None) };
    match value.to_str().unwrap_or_default() {
        PRIVATE => Ok(None),
        acl if PUBLIC.contains(&acl) || acl == ACCOUNTS || OTHERS.contains(&acl) => Ok(Some(acl.to_owned())),
        _ => Err(s3_error!(InvalidArgument, "no such canned ACL")),
    }
}

pub(crate) fn get(space: &Space, req: &S3Request<GetObjectAclInput>) -> S3Result<S3Response<GetObjectAclOutput>> {
    let bucket = space.lock();
    bucket.get(&req.input.key).map_err(no_key)?;
    let acl = space.acls.of(&req.input.key);
    let group = match &*acl {
        ACCOUNTS => Some(AUTHENTICATED),
        acl => PUBLIC.contains(&acl).then_some(ALL_USERS),
    };
    let grantee = |kind: &'static str| Grantee {
        display_name: None,
        email_address: None,
        id: None,
        type_: Type::from_static(kind),
        uri: None,
    };
    let grant = |grantee, right| Grant { grantee: Some(grantee), permission: Some(Permission::from_static(right)) };
    let mut grants = vec![grant(Grantee { id: owner().id, ..grantee(Type::CANONICAL_USER) }, Permission::FULL_CONTROL)];
    grants.extend(
        group.map(|uri| grant(Grantee { uri: Some(uri.to_owned()), ..grantee(Type::GROUP) }, Permission::READ)),
    );
    let output = GetObjectAclOutput { grants: Some(grants), owner: Some(owner()), ..GetObjectAclOutput::default() };
    Ok(S3Response::new(output))
}

pub(crate) fn put(space: &Space, req: &S3Request<PutObjectAclInput>) -> S3Result<S3Response<PutObjectAclOutput>> {
    let grants = req.headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-"));
    if req.input.access_control_policy.is_some() || grants || !req.headers.contains_key("x-amz-acl") {
        return Err(s3_error!(NotImplemented, "only canned ACLs are kept"));
    }
    let acl = asked(&req.headers)?;
    let bucket = space.lock();
    bucket.get(&req.input.key).map_err(no_key)?;
    space.acls.set(&Key::new(&req.input.key), acl);
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
