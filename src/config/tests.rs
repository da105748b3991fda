//! Requests as people write them, and what becomes of them.

mod public;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    time::Duration,
};

use proptest::prelude::*;

use super::{
    Checksum, CredentialSource, Error, Perms, Unknown,
    parse::{Host, Parsed, Request, parse},
    table::{self, Kind},
    words::{self, Word},
};
use crate::{
    freshness::Freshness,
    model::{key::Key, patterns::Scope},
};

fn root() -> Host {
    Host { uid: 0, gid: 0, dir: PathBuf::from("/home/me"), caches: PathBuf::from("/var/cache") }
}

fn user() -> Host {
    Host { uid: 1000, gid: 100, dir: PathBuf::from("/home/me"), caches: PathBuf::from("/home/me/.cache") }
}

fn try_parse(source: &str, options: &str, host: &Host, unknown: Unknown) -> Result<Parsed, Error> {
    let words = words::split(options)?;
    parse(&Request { source, mountpoint: Path::new("/var/www/images"), words: &words, unknown }, host)
}

#[track_caller]
fn good(options: &str) -> Parsed {
    try_parse("site", options, &root(), Unknown::Refuse).unwrap()
}

#[track_caller]
fn bad(source: &str, options: &str, message: &str) {
    let err = try_parse(source, options, &root(), Unknown::Refuse).unwrap_err().to_string();
    assert_eq!(err, message, "{source} {options}");
    assert!(!err.contains('\n'), "{err}");
}

#[test]
fn patterns_of_local_only_names() {
    let patterns = good("local=php:/logs/*.log,hold=*.tmp").options.fs.patterns;
    assert_eq!(patterns.local.texts().collect::<Vec<_>>(), ["php", "logs/*.log"]);
    assert_eq!(patterns.scope("2026/x.tmp"), Scope::Held);
    assert!(good("").options.fs.patterns.is_empty());
    bad("site", "local=a:[b", "option local: pattern \"[b\": invalid range pattern");
    bad("site", "hold=a::b", "option hold: pattern \"\": it is empty");
    bad("site", "hold=*", "option hold: pattern \"*\": it covers everything");
    bad("site", "local=", "local=: expected a value");
}

#[test]
fn defaults() {
    let Parsed { options, warnings, env } = good("");
    assert_eq!((warnings.len(), env.len()), (0, 0));
    assert_eq!((options.bucket.as_str(), options.prefix.as_str()), ("site", ""));
    assert_eq!(options.mountpoint, Path::new("/var/www/images"));
    let s3 = options.s3;
    assert_eq!((s3.endpoint, s3.region, s3.path_style), (None, None, None));
    assert_eq!(s3.credentials, CredentialSource::Chain { profile: None, file: None });
    assert_eq!(s3.checksum, Checksum::Auto);
    assert_eq!((s3.retries, s3.timeout, s3.connect_timeout), (10, Duration::from_secs(30), Duration::from_secs(5)));
    assert_eq!(
        (s3.storage_class, s3.acl, s3.sse, s3.sse_kms_key_id, s3.requester_pays),
        (None, None, None, None, false)
    );
    let fs = options.fs;
    assert_eq!(fs.freshness, Freshness::Open { stat_ttl: Duration::from_secs(1) });
    assert_eq!((fs.perms, fs.uid, fs.gid, fs.file_mode, fs.dir_mode), (Perms::Uniform, 0, 0, 0o644, 0o755));
    assert_eq!((fs.mtime_ns, fs.xattr, fs.read_only), (false, false, false));
    assert_eq!((fs.rename_limit, fs.part_size, fs.upload_concurrency), (10_000, 16 << 20, 4));
    let mount = options.mount;
    assert_eq!((mount.foreground, mount.allow_other, mount.nonempty, mount.nofail), (false, true, false, false));
    assert_eq!((mount.fsname.as_str(), mount.log_file, mount.debug), ("site", None, false));
    assert_eq!((options.cache.size, options.cache.min_free), (None, None));
}

#[test]
fn a_user_mounts_for_himself() {
    let options = try_parse("site", "", &user(), Unknown::Refuse).unwrap().options;
    assert_eq!((options.fs.uid, options.fs.gid, options.mount.allow_other), (1000, 100, false));
    assert!(options.cache.dir.starts_with("/home/me/.cache/originfs"), "{:?}", options.cache.dir);
}

#[test]
fn every_mount_has_its_own_cache() {
    let mut seen = HashSet::new();
    for (source, options) in [
        ("site", ""),
        ("site2", ""),
        ("site:/a", ""),
        ("site:/a/b", ""),
        ("site", "url=https://one.example.com"),
        ("site", "url=https://two.example.com"),
        ("site", "cache_dir=/data"),
    ] {
        let dir = try_parse(source, options, &root(), Unknown::Refuse).unwrap().options.cache.dir;
        let name = dir.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{}-", &source[..4])) || name.starts_with("site2-"), "{name}");
        assert_eq!(name.rsplit('-').next().unwrap().len(), 12, "{name}");
        assert!(seen.insert(dir), "{source} {options}");
    }
    let again = try_parse("site:a/", "", &root(), Unknown::Refuse).unwrap().options.cache.dir;
    assert!(!seen.insert(again), "the same mount in other words has the same cache");
}

/// The mount lines of a deployment that is to be moved over, option by option.
#[test]
fn an_s3fs_line_works_unchanged() {
    let Parsed { options, warnings, .. } = good(
        "_netdev,passwd_file=/root/.passwd-s3fs,use_cache=/home/s3mount_cache,allow_other,kernel_cache,\
         use_path_request_style,uid=33,gid=33,max_stat_cache_size=10000,stat_cache_expire=20,multireq_max=3,\
         url=https://nyc3.example.com,multipart_size=10,ensure_diskfree=1024,default_acl=public_read,use_sse,\
         storage_class=standard_ia,umask=0022,nonempty,retries=5,ro,dbglevel=info",
    );
    assert_eq!(options.s3.credentials, CredentialSource::PasswdFile(PathBuf::from("/root/.passwd-s3fs")));
    assert!(options.cache.dir.starts_with("/home/s3mount_cache"));
    assert_eq!(options.cache.min_free, Some(1 << 30));
    assert_eq!((options.s3.endpoint.as_deref(), options.s3.path_style), (Some("https://nyc3.example.com"), Some(true)));
    assert_eq!(options.s3.acl.as_deref(), Some("public-read"));
    assert_eq!(options.s3.sse.as_deref(), Some("AES256"));
    assert_eq!(options.s3.storage_class.as_deref(), Some("STANDARD_IA"));
    assert_eq!((options.fs.uid, options.fs.gid, options.fs.part_size), (33, 33, 10 << 20));
    assert_eq!((options.fs.file_mode, options.fs.dir_mode), (0o644, 0o755));
    assert_eq!(options.fs.freshness, Freshness::Open { stat_ttl: Duration::from_secs(20) });
    assert!(options.fs.read_only && options.mount.nonempty);
    assert_eq!(
        warnings,
        [
            "option kernel_cache has no effect: the kernel's caches follow freshness=",
            "option max_stat_cache_size has no effect: the kernel's caches follow freshness=",
            "option multireq_max has no effect: transfers are sized by part_size and upload_concurrency",
            "option dbglevel has no effect: use debug",
        ]
    );
}

#[test]
fn lines_of_other_tools_work() {
    let geesefs = good(
        "_netdev,allow_other,--file-mode=0666,--dir-mode=0777,--endpoint=https://s.example.com,--stat-cache-ttl=60m0s,\
         --list-type=1,--memory-limit=3072,--max-parallel-parts=32,--part-sizes=50,--no-checksum,--no-specials",
    )
    .options;
    assert_eq!((geesefs.fs.file_mode, geesefs.fs.dir_mode), (0o666, 0o777));
    assert_eq!((geesefs.fs.part_size, geesefs.fs.upload_concurrency), (50 << 20, 32));
    assert_eq!(geesefs.s3.checksum, Checksum::None);

    let mountpoint = good(
        "allow-other,endpoint-url=http://127.0.0.1:9000,force-path-style,max-cache-size=512,cache=/c,no-sign-request",
    );
    assert_eq!(mountpoint.options.cache.size, Some(512 << 20));
    assert_eq!(mountpoint.options.s3.credentials, CredentialSource::Unsigned);

    let rclone = good(
        "rw,noauto,x-systemd.automount,args2env,vfs_cache_mode=writes,vfs_cache_max_size=20G,env.AWS_PROFILE=web,dir_cache_time=10s",
    );
    assert_eq!(rclone.options.cache.size, Some(20 << 30));
    assert_eq!(rclone.env, [("AWS_PROFILE".to_owned(), "web".to_owned())]);
    assert!(!rclone.options.fs.read_only);
}

#[test]
fn options_of_mount_itself_are_silent() {
    let parsed = good(
        "rw,dev,nodev,suid,nosuid,exec,noexec,atime,noatime,relatime,auto,noauto,user,nouser,users,owner,group,_netdev,\
         nofail,defaults,x-systemd.requires=network-online.target,x-gvfs-hide,comment=hello,default_permissions",
    );
    assert_eq!(parsed.warnings, Vec::<String>::new());
    assert!(parsed.options.mount.nofail);
}

#[test]
fn later_words_win() {
    assert!(!good("ro,rw").options.fs.read_only);
    assert!(good("rw,ro").options.fs.read_only);
    assert_eq!(good("part_size=8M,multipart_size=10").options.fs.part_size, 10 << 20);
    assert!(!good("allow_other=no").options.mount.allow_other);
    assert_eq!(good("path-style,subdomain").options.s3.path_style, Some(false));
}

#[test]
fn services_and_credentials() {
    let endpoint = |options: &str| good(options).options.s3.endpoint;
    assert_eq!(endpoint("endpoint=s3.example.com/").as_deref(), Some("https://s3.example.com"));
    assert_eq!(endpoint("url=http://[::1]:9000").as_deref(), Some("http://[::1]:9000"));
    assert_eq!(endpoint("url=localhost:9000").as_deref(), Some("https://localhost:9000"));
    let s3fs = good("endpoint=eu-central-1,url=https://s3.example.com");
    assert_eq!(s3fs.options.s3.endpoint.as_deref(), Some("https://s3.example.com"), "the later of two aliases");
    let region = good("endpoint=eu-central-1");
    assert_eq!((region.options.s3.endpoint, region.options.s3.region.as_deref()), (None, Some("eu-central-1")));
    assert_eq!(region.warnings.len(), 1);

    let chain = good("profile=web,credentials_file=aws/credentials").options.s3.credentials;
    let file = Some(PathBuf::from("/home/me/aws/credentials"));
    assert_eq!(chain, CredentialSource::Chain { profile: Some("web".to_owned()), file });
    let kms = good("use_sse=kmsid:abc").options.s3;
    assert_eq!((kms.sse.as_deref(), kms.sse_kms_key_id.as_deref()), (Some("aws:kms"), Some("abc")));
}

#[test]
fn the_source_shown_is_the_one_of_fstab() {
    let shown = |source, options| try_parse(source, options, &root(), Unknown::Refuse).unwrap().options.mount.fsname;
    assert_eq!(shown("s3://site/a/", ""), "s3://site/a/");
    assert_eq!(shown("none", "bucket=site,prefix=a"), "none");
    assert_eq!(shown("", "bucket=site,prefix=a"), "site:/a");
    assert_eq!(shown("site", "fsname=web"), "web");
}

#[test]
fn messages() {
    for (source, options, message) in [
        ("", "", "the bucket's name is empty"),
        ("site:/a/../b", "", "the prefix \"/a/../b\" cannot be a path: no part of it may be empty, \".\" or \"..\""),
        ("site:/a", "prefix=b", "two different prefixes: \"/a\" in the source, \"b\" in the options"),
        ("site", "endpont=x", "unknown option endpont, did you mean endpoint?"),
        ("site", "Read-Only", "unknown option Read-Only, did you mean read_only?"),
        ("site", "flux_capacitor=1", "unknown option flux_capacitor"),
        ("site", "cache-size=12Q", "cache-size=12Q: expected a size such as 16M, 16MiB or 1G"),
        ("site", "part_size", "part_size: expected a size such as 16M, 16MiB or 1G"),
        ("site", "part_size=1M", "part_size=1M is 1MiB: it must be from 5MiB to 5GiB"),
        ("site", "cache_size=204800", "cache_size=204800 is 200KiB: it must be from 1MiB to 18446744073709551615"),
        ("site", "timeout=soon", "timeout=soon: expected a duration such as 500ms, 30s, 5m or 2h"),
        ("site", "timeout=0", "timeout=0 is 0ns: it must be from 1ms to 31536000s"),
        ("site", "file_mode=rw", "file_mode=rw: expected an octal mode such as 0644"),
        ("site", "uid=nobody-here", "uid=nobody-here: expected a number or the name of a user"),
        ("site", "gid=", "gid=: expected a number or the name of a group"),
        ("site", "ro=maybe", "ro=maybe: expected true or false"),
        ("site", "retries=0", "retries=0: expected a number from 1 to 1000"),
        ("site", "perms=posix", "perms=posix: expected one of uniform, stored"),
        ("site", "attrs=list,perms=stored", "attrs=list: a listing does not tell what perms=stored is to show"),
        ("site", "freshness=bus", "freshness=bus: expected open, strict or a duration such as 30s"),
        ("site", "url=ftp://x", "url=ftp://x: expected a URL such as https://s3.example.com"),
        ("site", "url=https://h/bucket", "url=https://h/bucket: expected a URL such as https://s3.example.com"),
        ("site", "url=https://h:port", "url=https://h:port: expected a URL such as https://s3.example.com"),
        ("site", "public_bucket=1,passwd_file=/p", "no_sign_request and passwd_file exclude each other"),
        ("site", "passwd_file=/p,profile=x", "passwd_file and profile exclude each other"),
        ("site", "use_sse=custom", "use_sse=custom: expected AES256 or aws:kms (keys of your own are not supported)"),
        ("site", "sse=AES256,sse_kms_key_id=k", "sse_kms_key_id needs sse=aws:kms"),
        ("site", "env.A-B=1", "env.A-B: expected env.NAME=value"),
        ("site", "config=/a.toml", "config: a file cannot name another one"),
        ("site", "acl=a\nb", "acl=a\\nb: expected a value"),
        ("site", "log_file=\"/a,b", "log_file: the quote is not closed"),
    ] {
        bad(source, options, message);
    }
    let inside =
        try_parse("site", "cache_dir=/var/www/images/cache", &root(), Unknown::Refuse).unwrap_err().to_string();
    assert!(inside.ends_with("is inside the mount point"), "{inside}");
}

#[test]
fn a_sloppy_mount_warns() {
    let parsed = try_parse("site", "flux_capacitor=1", &root(), Unknown::Warn).unwrap();
    assert_eq!(parsed.warnings, ["option flux_capacitor is unknown and ignored"]);
    assert!(try_parse("site", "timeout=soon", &root(), Unknown::Warn).is_err(), "a known one must still make sense");
}

/// No row is there for show: each one changes the outcome.
#[test]
fn every_option_does_something() {
    let rules = std::env::temp_dir().join(format!("originfs-rules-{}.toml", std::process::id()));
    std::fs::write(&rules, "[[rule]]\ncache_control = 'no-cache'\n").unwrap();
    // `config` stands for others, which `cli::asked` puts in its place.
    for row in table::sections().iter().flat_map(|section| section.rows).filter(|row| row.name != "config") {
        let value = match (row.name, row.kind) {
            ("bucket", _) => "site", // proved by `the_source_shown_is_the_one_of_fstab`
            ("sse", _) => "aws:kms",
            ("endpoint", _) => "s3.example.com",
            ("stat_ttl", _) => "7s",
            ("headers", _) => rules.to_str().unwrap(),
            ("cdn_url" | "site_url", _) => "https://example.org",
            (_, Kind::Flag) if row.default.text() == "true as root" => "false",
            (_, Kind::Flag) => "true",
            (_, Kind::Size { .. }) => "77M",
            (_, Kind::Mode) => "0077",
            (_, Kind::User | Kind::Group | Kind::Number { .. }) => "77",
            (_, Kind::Word(words)) => words.last().unwrap(),
            (_, Kind::Path) => "/tmp/77",
            (_, Kind::Text) => "text",
            (_, Kind::Span { .. } | Kind::Freshness) => "77s",
        };
        // What is about outages of the CDN needs to know of two ways, and of something to look at.
        let with = match row.name {
            "cdn_url" | "site_url" => "",
            "cdn_probe" => "cdn_url=https://a.example,site_url=https://b.example,",
            name if name.starts_with("cdn_") => {
                "cdn_url=https://a.example,site_url=https://b.example,cdn_probe=a.png,cdn_map=/tmp/7,"
            }
            _ => "",
        };
        let before = format!("{:?}", good(with).options);
        let after = format!("{:?}", good(&format!("{with}{}={value}", row.name)).options);
        assert!(row.name == "bucket" || after != before, "{}={value} changes nothing", row.name);
    }
    std::fs::remove_file(rules).unwrap();
}

proptest! {
    #[test]
    fn no_request_panics_and_every_error_is_one_line(
        source in "\\PC{0,20}|[a-z]{3,8}(:/?[a-z./]{0,8})?|s3://[a-z/]{0,10}",
        names in proptest::collection::vec(("\\PC{0,12}|[a-z_]{1,10}", proptest::option::of("\\PC{0,12}|[0-9.a-zA-Z:/]{0,12}")), 0..4),
        known in proptest::collection::vec((0..1000_usize, "\\PC{0,8}|[0-9]{0,22}[kKmMgsh]{0,2}"), 0..4),
    ) {
        let rows: Vec<_> = table::sections().iter().flat_map(|section| section.rows).collect();
        let mut words: Vec<_> = names.into_iter().map(|(name, value)| Word { name, value }).collect();
        words.extend(known.iter().map(|(at, value)| Word::new(rows[at % rows.len()].name, value)));
        for unknown in [Unknown::Refuse, Unknown::Warn] {
            let request = Request { source: &source, mountpoint: Path::new("/m"), words: &words, unknown };
            match parse(&request, &user()) {
                Ok(parsed) => prop_assert!(parsed.options.bucket.len() >= 3),
                Err(err) => prop_assert!(!err.to_string().contains('\n')),
            }
        }
    }
}
