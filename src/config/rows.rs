//! The rows of the [`table`](super::table): data alone.

mod cdn;

use std::time::Duration;

pub(super) use cdn::CDN;

use super::table::{
    Kind::{self, Flag, Freshness, Group, Mode, Number, Path, Size, Span, Text, User, Word},
    Meaning::{self, Absent, Bare, Not, Same},
    Otherwise::{self, Chosen, Value},
    Row,
};
use crate::store::{PART_MIN, SINGLE_MAX};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// The longest deadline or age that makes sense: a year. It also keeps every sum of times far from overflow.
const YEAR: Duration = Duration::from_hours(365 * 24);
const MILLISECOND: Duration = Duration::from_millis(1);

const fn row(
    name: &'static str,
    kind: Kind,
    default: Otherwise,
    aliases: &'static [(&'static str, Meaning)],
    help: &'static str,
) -> Row {
    Row { name, kind, default, aliases, help }
}

pub(super) const BUCKET: &[Row] = &[
    row("bucket", Text, Chosen("the source"), &[], "The bucket, where the source does not name it."),
    row(
        "prefix",
        Text,
        Chosen("the source, else the whole bucket"),
        &[("only_dir", Same), ("subdir", Same), ("subdirectory", Same)],
        "The part of the bucket to show.",
    ),
    row(
        "endpoint",
        Text,
        Chosen("AWS"),
        &[("url", Same), ("endpoint_url", Same), ("host", Same), ("s3_endpoint", Same), ("custom_endpoint", Same)],
        "URL of the S3 service; https:// where it names no scheme.",
    ),
    row(
        "region",
        Text,
        Chosen("environment or profile, else us-east-1"),
        &[("s3_region", Same)],
        "Region that requests are signed for.",
    ),
    row(
        "path_style",
        Flag,
        Chosen("true for an endpoint on an IP address or localhost"),
        &[
            ("use_path_request_style", Same),
            ("force_path_style", Same),
            ("s3_force_path_style", Same),
            ("subdomain", Not),
        ],
        "Put the bucket's name in the path of the URL, not in the host name.",
    ),
    row(
        "passwd_file",
        Path,
        Chosen("none"),
        &[],
        "File of s3fs with KEY:SECRET or BUCKET:KEY:SECRET lines; nobody else may be able to read it.",
    ),
    row(
        "credentials_file",
        Path,
        Chosen("the SDK's"),
        &[("shared_config", Same), ("shared_credentials_file", Same)],
        "AWS credentials file.",
    ),
    row("profile", Text, Chosen("AWS_PROFILE, else default"), &[("s3_profile", Same)], "Profile in the AWS files."),
    row(
        "no_sign_request",
        Flag,
        Value("false"),
        &[("public_bucket", Same), ("anonymous_access", Same), ("anonymous", Same)],
        "Send requests without credentials.",
    ),
    row(
        "requester_pays",
        Flag,
        Value("false"),
        &[("s3_requester_pays", Same)],
        "Agree to pay for requests to somebody else's bucket.",
    ),
];

pub(super) const FILES: &[Row] = &[
    row(
        "freshness",
        Freshness,
        Value("open"),
        &[],
        "How old an answer may be: open (the bucket is asked at every open and readdir), strict (also at every stat), or \
         an age for everything, absent names too.",
    ),
    row(
        "stat_ttl",
        Span { min: Duration::ZERO, max: YEAR },
        Value("1s"),
        &[
            ("stat_cache_expire", Same),
            ("stat_cache_ttl", Same),
            ("metadata_ttl", Same),
            ("metadata_ttl_ms", Bare(1)),
            ("metadata_cache_ttl_secs", Same),
            ("attr_timeout", Same),
            ("attr_cache", Same),
            ("attr_cache_timeout", Same),
            ("dir_cache_time", Same),
        ],
        "How old the attributes of a known name may be with freshness=open.",
    ),
    row(
        "perms",
        Word(&["uniform", "stored"]),
        Value("uniform"),
        &[],
        "Whose permissions files show: the mount's, with chmod and chown free of effect and cost, or each object's own.",
    ),
    row(
        "attrs",
        Word(&["exact", "list"]),
        Value("exact"),
        &[],
        "Attributes of files from each object, or from listings too, which saves a HEAD per name: the time of modification \
         is that of the upload, there are no symlinks.",
    ),
    row("uid", User, Chosen("the mounting user"), &[], "Owner of files without one, and of all with perms=uniform."),
    row("gid", Group, Chosen("the mounting group"), &[], "Group of files without one, and of all with perms=uniform."),
    row(
        "file_mode",
        Mode,
        Chosen("0644, or 0666 less umask"),
        &[("file_perms", Same), ("fmode", Same)],
        "Permissions of files without any, and of all with perms=uniform.",
    ),
    row(
        "dir_mode",
        Mode,
        Chosen("0755, or 0777 less umask"),
        &[("dir_perms", Same)],
        "Permissions of directories without any, and of all with perms=uniform.",
    ),
    row("umask", Mode, Chosen("none"), &[("fmask", Same)], "Bits taken from 0666 and 0777 where no mode is given."),
    row("mp_umask", Mode, Chosen("umask"), &[("dmask", Same)], "The same, for directories alone."),
    row("mtime", Word(&["s", "ns"]), Value("s"), &[], "What is kept of modification times: seconds or nanoseconds."),
    row("xattr", Flag, Value("false"), &[("use_xattr", Same), ("enable_xattr", Same)], "Show extended attributes."),
    row(
        "conflict",
        Word(&["last", "detect"]),
        Value("last"),
        &[],
        "Of hosts that write one file at once: the last close wins, or a close fails with EIO if somebody else changed \
         the file since it was opened.",
    ),
    row(
        "exclusive",
        Word(&["open", "close"]),
        Value("open"),
        &[],
        "When a file created with O_EXCL is exclusive among hosts: at open, by an empty object, or at its first close, \
         which saves a PUT for each file that cp, tar and rsync make.",
    ),
    row(
        "rename_limit",
        Number { min: 0, max: 100_000_000 },
        Value("10000"),
        &[("rename_dir_limit", Same)],
        "Most objects that the rename of a directory moves; above it, mv copies.",
    ),
    row(
        "local",
        Text,
        Chosen("none"),
        &[],
        "Names that stay on this host and never reach the bucket: patterns with ':' between, such as php:*.log.",
    ),
    row(
        "hold",
        Text,
        Chosen("none"),
        &[],
        "Names that stay on this host until they are renamed to another: patterns with ':' between, such as *.tmp.",
    ),
];

pub(super) const TRANSFERS: &[Row] = &[
    row(
        "part_size",
        Size { min: PART_MIN, max: SINGLE_MAX },
        Value("16MiB"),
        &[
            ("multipart_size", Bare(MIB)),
            ("write_part_size", Same),
            ("part_sizes", Bare(MIB)),
            ("single_part", Bare(MIB)),
            ("s3_chunk_size", Bare(KIB)),
            ("chunk_size", Bare(KIB)),
            ("block_size_mb", Bare(MIB)),
            ("write_block_size_mb", Bare(MIB)),
        ],
        "Files up to this size are one PUT, larger ones are uploaded in parts of it.",
    ),
    row(
        "upload_concurrency",
        Number { min: 1, max: 1_000 },
        Value("4"),
        &[
            ("parallel_count", Same),
            ("max_parallel_parts", Same),
            ("max_thread_count", Same),
            ("max_threads", Same),
            ("max_concurrency", Same),
            ("max_uploads", Same),
            ("max_flushers", Same),
            ("s3_upload_concurrency", Same),
        ],
        "Parts of one file that are uploaded at once.",
    ),
    row(
        "retries",
        Number { min: 1, max: 1_000 },
        Value("10"),
        &[("sdk_max_retries", Same), ("low_level_retries", Same), ("max_retry_attempts", Same), ("io_retries", Same)],
        "Attempts per request, the first included, as far as the timeout allows.",
    ),
    row(
        "timeout",
        Span { min: MILLISECOND, max: YEAR },
        Value("30s"),
        &[("readwrite_timeout", Same), ("http_timeout", Same), ("http_client_timeout", Same), ("get_timeout", Same)],
        "Deadline of one operation, all its attempts together; then the application gets EIO.",
    ),
    row(
        "connect_timeout",
        Span { min: MILLISECOND, max: YEAR },
        Value("5s"),
        &[("contimeout", Same)],
        "Deadline of one connection attempt.",
    ),
    row(
        "checksum",
        Word(&["auto", "md5", "crc32", "none"]),
        Value("auto"),
        &[("enable_content_md5", Absent("md5")), ("content_md5", Absent("md5")), ("no_checksum", Absent("none"))],
        "What the server verifies uploads with: Content-MD5 or x-amz-checksum-crc32 (both signed, with UNSIGNED-PAYLOAD), or \
         the signature of the bytes alone. auto is crc32 where the bucket refuses a wrong one at the mount, else md5.",
    ),
    row(
        "storage_class",
        Text,
        Chosen("the bucket's"),
        &[("s3_storage_class", Same)],
        "Storage class of objects written, such as STANDARD_IA.",
    ),
    row(
        "acl",
        Text,
        Chosen("none sent"),
        &[("default_acl", Same), ("s3_acl", Same)],
        "Canned ACL of objects written, such as public-read.",
    ),
    row(
        "sse",
        Text,
        Chosen("the bucket's"),
        &[("use_sse", Absent("AES256")), ("s3_server_side_encryption", Same)],
        "Server-side encryption of objects written: AES256 or aws:kms.",
    ),
    row(
        "sse_kms_key_id",
        Text,
        Chosen("the account's"),
        &[("sse_kms", Same), ("s3_sse_kms_key_id", Same)],
        "KMS key for sse=aws:kms.",
    ),
];

pub(super) const CACHE: &[Row] = &[
    row(
        "cache_dir",
        Path,
        Chosen("/var/cache/originfs as root, else $XDG_CACHE_HOME/originfs"),
        &[("cache", Same), ("use_cache", Same), ("tmp_path", Same), ("tmpdir", Same)],
        "Where each mount keeps a directory of its own for cached and not yet uploaded content.",
    ),
    row(
        "cache_size",
        Size { min: MIB, max: u64::MAX },
        Chosen("a quarter of the disk"),
        &[
            ("max_cache_size", Bare(MIB)),
            ("vfs_cache_max_size", Bare(KIB)),
            ("file_cache_max_size_mb", Bare(MIB)),
            ("cache_size_mb", Bare(MIB)),
        ],
        "Most content that is cached.",
    ),
    row(
        "cache_min_free",
        Size { min: 0, max: u64::MAX },
        Chosen("a twentieth of the disk"),
        &[("ensure_diskfree", Bare(MIB)), ("vfs_cache_min_free_space", Bare(KIB))],
        "What the cache leaves free on its disk.",
    ),
    row(
        "staging_size",
        Size { min: 0, max: u64::MAX },
        Chosen("all, while the disk has room"),
        &[],
        "How much of a file that is being written stays on the local disk once the bucket has it; what goes cannot be \
         read or changed before the file is closed.",
    ),
];

pub(super) const MOUNT: &[Row] = &[
    row(
        "config",
        Path,
        Chosen("none"),
        &[],
        "File with source, directory and options of the mount, as apply writes it; what is said beside it wins.",
    ),
    row(
        "foreground",
        Flag,
        Value("false"),
        &[("daemon", Not), ("background", Not)],
        "Stay in the foreground; else return as soon as the mount answers.",
    ),
    row("read_only", Flag, Value("false"), &[("ro", Same), ("rw", Not)], "Refuse all changes."),
    row(
        "allow_other",
        Flag,
        Chosen("true as root"),
        &[],
        "Let other users in; as a user it needs user_allow_other in fuse.conf.",
    ),
    row(
        "nonempty",
        Flag,
        Value("false"),
        &[("allow_non_empty", Same)],
        "Mount over a directory that has something in it.",
    ),
    row(
        "nofail",
        Flag,
        Value("false"),
        &[],
        "Mount also while the bucket cannot be reached, and answer as soon as it can.",
    ),
    row("fsname", Text, Chosen("the source"), &[], "Source that /proc/mounts shows."),
    row(
        "log_file",
        Path,
        Chosen("stderr in the foreground, else syslog"),
        &[("logfile", Same), ("log", Same)],
        "File that the log is appended to.",
    ),
    row(
        "debug",
        Flag,
        Value("false"),
        &[("debug_s3", Same), ("verbose", Same)],
        "Log every request that fails, and why.",
    ),
];
