//! Who may read an object by its ACL: for servers whose buckets have no policy that says it.

use crate::{error::Result, model::key::Key};

/// The canned ACL of what nobody but the owner may read (S3 API, "Canned ACL").
pub const PRIVATE: &str = "private";
/// Everybody, in a grant (S3 API, "Amazon S3 predefined groups").
const ALL_USERS: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
/// Everybody with an account of the vendor.
const AUTHENTICATED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";

/// Whom an ACL lets read, of those that it names by group. What it grants to single accounts is not looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readers {
    Owner,
    /// Whoever has an account of the vendor.
    Accounts,
    Everybody,
    /// A group has rights, and reading is none of them: no canned ACL of an object says so.
    Odd,
}

impl Readers {
    /// Of a canned ACL.
    pub fn of_canned(acl: &str) -> Self {
        match acl {
            "public-read" | "public-read-write" => Self::Everybody,
            "authenticated-read" => Self::Accounts,
            _ => Self::Owner,
        }
    }

    /// Of grants: the URI of a group, and its right.
    pub fn of_grants<'a>(grants: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut found = Self::Owner;
        for (group, right) in grants {
            let reads = matches!(right, "READ" | "FULL_CONTROL");
            found = match (group, reads, found) {
                (ALL_USERS, true, _) | (_, _, Self::Everybody) => Self::Everybody,
                (AUTHENTICATED, true, _) | (ALL_USERS | AUTHENTICATED, _, Self::Accounts) => Self::Accounts,
                (ALL_USERS | AUTHENTICATED, false, _) => Self::Odd,
                (_, _, found) => found,
            };
        }
        found
    }
}

/// A bucket whose objects may have ACLs.
pub trait Acls: Send + Sync + 'static {
    /// The canned ACL that an object is to have; `None`: whatever it has is none of our business.
    fn wanted(&self, key: &Key) -> Option<String>;

    /// Whom the ACL of an object lets read (`GetObjectAcl`). Fails with [`crate::error::Error::Unsupported`] where the
    /// server has no ACLs.
    fn readers(&self, key: &Key) -> impl Future<Output = Result<Readers>> + Send;

    /// Gives an object a canned ACL (`PutObjectAcl`); nothing else of it changes. Fails as [`Acls::readers`] does.
    fn set_acl(&self, key: &Key, acl: &str) -> impl Future<Output = Result<()>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_and_canned_acls_mean_the_same() {
        for (acl, grants) in [
            ("private", &[][..]),
            ("bucket-owner-full-control", &[("", "FULL_CONTROL")]),
            ("public-read", &[("", "FULL_CONTROL"), (ALL_USERS, "READ")]),
            ("public-read-write", &[(ALL_USERS, "WRITE"), (AUTHENTICATED, "READ"), (ALL_USERS, "READ")]),
            ("authenticated-read", &[(AUTHENTICATED, "READ"), (ALL_USERS, "READ_ACP")]),
        ] {
            assert_eq!(Readers::of_grants(grants.iter().copied()), Readers::of_canned(acl), "{acl}");
        }
        assert_eq!(Readers::of_grants([(ALL_USERS, "FULL_CONTROL"), (ALL_USERS, "WRITE_ACP")]), Readers::Everybody);
        assert_eq!(Readers::of_grants([(ALL_USERS, "WRITE_ACP"), ("", "READ")]), Readers::Odd);
        assert_eq!(Readers::of_grants([("http://acs.amazonaws.com/groups/s3/LogDelivery", "READ")]), Readers::Owner);
    }
}
