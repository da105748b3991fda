//! mknod of what has no content: pipes, sockets and devices. The kernel does all that happens in them.

use std::ffi::OsStr;

use bytes::Bytes;

use super::{
    Fs,
    known::{self, Known},
    names::parse,
    types::{Caller, Found, NodeId},
};
use crate::{
    clock,
    config::Perms,
    error::{Error, Result},
    freshness::listing::Is,
    model::{
        attr::{Attr, Kind},
        patterns::Scope,
    },
    store::{Require, Store},
};

impl<S: Store> Fs<S> {
    /// An empty object whose mode tells its kind, as s3fs makes it. `mode`: `st_mode` after the umask; `rdev`: the number
    /// of a device. Fails with `NotPermitted` where permissions, and kinds with them, are not stored.
    pub async fn mknod(&self, parent: NodeId, name: &OsStr, (mode, rdev): (u32, u32), caller: Caller) -> Result<Found> {
        let kind = Kind::from_mode(mode).filter(|kind| kind.is_special() && self.options.perms == Perms::Stored);
        let kind = kind.ok_or(Error::NotPermitted)?;
        let _names = self.share_name(parent, &parse(parent, name)?).await?;
        let (name, key, above) = self.place(parent, name)?;
        if self.scope(&key) != Scope::Bucket {
            return Err(Error::NotPermitted);
        }
        let fence = self.fences.raise(&key);
        let rdev = if kind.is_device() { rdev } else { 0 };
        let attr = Attr { rdev, ..self.attr_below(&above, kind, mode, caller) };
        let headers = known::new_headers(&self.options, &key, &attr, b"");
        let require = if self.conditional().absent.works() { Require::Absent } else { Require::Anything };
        let asked = clock::now();
        let version = self.store.put(&key, Bytes::new(), &headers, require).await?;
        let is = Is::File(version.clone());
        let found = self.born(parent, name, &key, Known { version: Some(version), attr, asked: Some(asked) })?;
        fence.made(is);
        Ok(found)
    }
}
