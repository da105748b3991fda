//! Where servers differ from S3.

/// Deviations that are tolerated. A check for something that the server does not do is left out, or loosened as told.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact about a server")]
pub struct Quirks {
    /// Keys are paths of a tree: `//`, `.`, `..` and a leading or trailing slash do not stay as they are, a component
    /// has at most 255 bytes, a directory marker keeps no body, HEAD of an implicit directory may answer.
    pub tree: bool,
    /// Listings are not in UTF-8 byte order.
    pub unordered: bool,
    /// Keys of 1,024 bytes are too long.
    pub short_keys: bool,
    /// Keys above 1,024 bytes are taken.
    pub long_keys: bool,
    /// PUT ignores `If-None-Match: *`.
    pub put_absent_ignored: bool,
    /// PUT ignores or refuses `If-Match`.
    pub put_match_ignored: bool,
    /// CopyObject ignores the conditions on its target.
    pub copy_require_ignored: bool,
    /// CopyObject ignores `x-amz-copy-source-if-match`.
    pub copy_source_ignored: bool,
    /// UploadPartCopy ignores `x-amz-copy-source-if-match`.
    pub part_source_ignored: bool,
    /// DeleteObject ignores `If-Match`.
    pub delete_match_ignored: bool,
    /// CompleteMultipartUpload ignores conditions.
    pub complete_require_ignored: bool,
    /// Parts below [`PART_MIN`](crate::store::PART_MIN) are taken anywhere.
    pub small_parts: bool,
    /// Only `STANDARD` storage.
    pub no_storage_class: bool,
    /// `x-amz-website-redirect-location` is not kept.
    pub no_redirect: bool,
    /// A 304 tells no Last-Modified.
    pub silent_304: bool,
    /// `x-amz-checksum-crc32` is not verified, or not in every kind of upload.
    pub crc32_ignored: bool,
}

/// As measured; each line of a server can go when a newer one does better.
impl Quirks {
    /// SeaweedFS 4.48.
    pub fn seaweedfs() -> Self {
        Self { tree: true, unordered: true, short_keys: true, no_redirect: true, ..Self::default() }
    }

    /// Ceph RGW 16.2.
    pub fn rgw16() -> Self {
        Self {
            put_match_ignored: true,
            copy_require_ignored: true,
            copy_source_ignored: true,
            part_source_ignored: true,
            delete_match_ignored: true,
            complete_require_ignored: true,
            no_storage_class: true,
            ..Self::default()
        }
    }

    /// Ceph RGW 20.2.
    pub fn rgw20() -> Self {
        Self { copy_require_ignored: true, part_source_ignored: true, no_storage_class: true, ..Self::default() }
    }

    /// Garage 2.5.
    pub fn garage() -> Self {
        Self {
            short_keys: true,
            long_keys: true,
            put_absent_ignored: true,
            put_match_ignored: true,
            copy_require_ignored: true,
            delete_match_ignored: true,
            complete_require_ignored: true,
            small_parts: true,
            no_redirect: true,
            ..Self::default()
        }
    }
}
