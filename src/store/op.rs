//! Names for the calls of [`Store`](super::Store), for logs, counters and faults.

/// One method of the trait.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Op {
    Head,
    Get,
    List,
    Put,
    Copy,
    Delete,
    DeleteMany,
    Begin,
    Part,
    PartCopy,
    Complete,
    Abort,
    Uploads,
}

impl Op {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::Head,
        Self::Get,
        Self::List,
        Self::Put,
        Self::Copy,
        Self::Delete,
        Self::DeleteMany,
        Self::Begin,
        Self::Part,
        Self::PartCopy,
        Self::Complete,
        Self::Abort,
        Self::Uploads,
    ];

    /// Its name in the S3 API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "HeadObject",
            Self::Get => "GetObject",
            Self::List => "ListObjectsV2",
            Self::Put => "PutObject",
            Self::Copy => "CopyObject",
            Self::Delete => "DeleteObject",
            Self::DeleteMany => "DeleteObjects",
            Self::Begin => "CreateMultipartUpload",
            Self::Part => "UploadPart",
            Self::PartCopy => "UploadPartCopy",
            Self::Complete => "CompleteMultipartUpload",
            Self::Abort => "AbortMultipartUpload",
            Self::Uploads => "ListMultipartUploads",
        }
    }
}

/// A call that reached the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    pub op: Op,
    /// The key that is asked for or changed (of a copy: the target); the prefix of a listing; empty for a batch.
    pub key: String,
}

impl Call {
    pub fn new(op: Op, key: &str) -> Self {
        Self { op, key: key.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_stand_in_order() {
        for (at, op) in Op::ALL.into_iter().enumerate() {
            assert_eq!(op as usize, at);
        }
    }
}
