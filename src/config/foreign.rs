//! Options that are not ours but stand in fstab lines: those of mount(8), and those of other tools that mean nothing
//! here and do no harm.

/// What to do about an option that is not ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Foreign {
    /// mount(8) or systemd has dealt with it.
    Ignore,
    /// It has no effect here; the user hears why.
    Harmless(&'static str),
}

/// The options of mount(8), systemd.mount(5) and fuse(8) that every helper is handed and none acts on.
const GENERIC: &[&str] = &[
    "_netdev",
    "async",
    "atime",
    "auto",
    "comment",
    "default_permissions",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "group",
    "lazytime",
    "loud",
    "no_netdev",
    "noatime",
    "noauto",
    "nodev",
    "nodiratime",
    "noexec",
    "nolazytime",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nouser",
    "owner",
    "relatime",
    "silent",
    "strictatime",
    "subtype",
    "suid",
    "user",
    "users",
];

const OWN_CACHE: &str = "the kernel's caches follow freshness=";
const ABSENT: &str = "only freshness=DURATION answers for absent names from memory";
const DIRS: &str = "directories with and without marker objects are both understood";
const CHAIN: &str = "environment, container and instance roles are tried by themselves";
const TYPES: &str = "the Content-Type always follows the name";
const BOUNDED: &str = "memory is bounded by itself";
const SIGNED: &str = "requests are always signed with version 4";
const LISTS: &str = "listings always use ListObjectsV2";
const LOG: &str = "use debug";
const SYNC: &str = "close always waits for the bucket";
const TRANSFER: &str = "transfers are sized by part_size and upload_concurrency";
const KERNEL: &str = "it is negotiated with the kernel";

/// Options of other tools, by reason.
const HARMLESS: &[(&str, &[&str])] = &[
    (
        OWN_CACHE,
        &[
            "kernel_cache",
            "auto_cache",
            "direct_io",
            "entry_timeout",
            "ac_attr_timeout",
            "noforget",
            "max_stat_cache_size",
            "stat_cache_max_size_mb",
            "stat_cache_interval_expire",
            "readdir_check_size",
            "entry_limit",
            "entry_cache",
            "dir_entry_cache",
            "open_cache",
            "poll_interval",
            "type_cache_ttl",
            "vfs_cache_mode",
            "vfs_cache_max_age",
            "vfs_cache_poll_interval",
            "vfs_fast_fingerprint",
            "del_cache",
            "free_space_ratio",
            "kernel_list_cache_ttl_secs",
            "cache_timeout",
        ],
    ),
    (
        ABSENT,
        &[
            "enable_noobj_cache",
            "disable_noobj_cache",
            "disable_negative_cache",
            "negative_timeout",
            "negative_metadata_ttl",
            "metadata_cache_negative_ttl_secs",
            "negative_entry_cache",
        ],
    ),
    (
        DIRS,
        &[
            "compat_dir",
            "notsup_compat_dir",
            "complement_stat",
            "implicit_dirs",
            "implicit_dir",
            "no_implicit_dir",
            "no_dir_object",
            "s3_directory_markers",
            "dir_markers",
            "virtual_directory",
            "no_specials",
            "cheap",
        ],
    ),
    (CHAIN, &["iam_role", "iam", "env_auth", "s3_env_auth", "ecs", "imdsv1only"]),
    (TYPES, &["use_content_type", "infer_content_type", "mime"]),
    (BOUNDED, &["memory_limit", "memory_target", "buffer_size", "use_mmap", "gc_interval", "use_enomem"]),
    (SIGNED, &["sigv2", "sigv4"]),
    (LISTS, &["listobjectsv2", "list_type", "s3_list_version", "list_object_max_keys"]),
    (
        LOG,
        &[
            "dbglevel",
            "curldbg",
            "debug_fuse",
            "log_level",
            "log_severity",
            "log_format",
            "log_directory",
            "no_log",
            "set_check_cache_sigusr1",
            "vv",
        ],
    ),
    (SYNC, &["fsync_on_close", "ignore_fsync", "sync", "vfs_write_back", "streamupload"]),
    (
        TRANSFER,
        &[
            "multireq_max",
            "multipart_copy_size",
            "singlepart_copy_limit",
            "max_dirty_data",
            "nomultipart",
            "nocopyapi",
            "norenameapi",
            "nomixupload",
            "transfers",
            "max_conns_per_host",
            "read_part_size",
            "vfs_read_ahead",
            "vfs_read_chunk_size",
            "read_ahead_kb",
            "read_ahead_large",
            "maximum_throughput_gbps",
            "bwlimit",
            "fetch_parallel",
            "upload_checksums",
        ],
    ),
    (
        KERNEL,
        &[
            "big_writes",
            "large_read",
            "max_read",
            "max_write",
            "async_read",
            "sync_read",
            "max_background",
            "congestion_threshold",
            "max_idle_threads",
            "clone_fd",
            "use_ino",
            "readdir_ino",
            "hard_remove",
            "intr",
            "splice_read",
            "splice_write",
            "splice_move",
            "blkdev",
            "blksize",
            "max_readahead",
            "remember",
        ],
    ),
    ("certificates are always checked", &["ssl_verify_hostname", "no_check_certificate"]),
    ("the mount always ends with its process", &["auto_unmount"]),
    ("permissions follow perms=", &["allow_root"]),
    (
        "it has no meaning here",
        &[
            "args2env",
            "createbucket",
            "parent_pid",
            "use_wtf8",
            "no_time_stamp_msg",
            "allow_delete",
            "allow_overwrite",
            "incremental_upload",
        ],
    ),
];

/// What to do about `name`, in the spelling with underscores; `None` if nobody knows it.
pub(super) fn find(name: &str) -> Option<Foreign> {
    if GENERIC.contains(&name) || name.starts_with("x_") || name.starts_with("X_") {
        return Some(Foreign::Ignore);
    }
    HARMLESS.iter().find(|(_, names)| names.contains(&name)).map(|(why, _)| Foreign::Harmless(why))
}
