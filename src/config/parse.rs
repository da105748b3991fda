//! Text to [`Options`]: the only way to get them.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    Attrs, CacheOptions, Checksum, Conflict, CredentialSource, Error, Exclusive, FsOptions, MountOptions, Options,
    Perms, S3Options,
    given::{Given, Unknown, written},
    outage,
    public::{self, Public},
    source, value,
    words::Word,
};
use crate::{
    freshness::Freshness,
    model::{
        key::Prefix,
        patterns::{List, Patterns},
    },
};

/// What a user asked for, before it means anything.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub source: &'a str,
    /// Absolute, and canonical as far as it can be read.
    pub mountpoint: &'a Path,
    /// In the order in which they were given; later ones win.
    pub words: &'a [Word],
    pub unknown: Unknown,
}

/// Who mounts, and where from.
#[derive(Clone, Debug)]
pub struct Host {
    pub uid: u32,
    pub gid: u32,
    /// Absolute; where relative paths start.
    pub dir: PathBuf,
    /// Where caches go, without `originfs`: /var/cache for root, else `$XDG_CACHE_HOME` or `~/.cache`.
    pub caches: PathBuf,
}

impl Host {
    /// This process.
    pub fn current() -> Self {
        let uid = nix::unistd::geteuid();
        let dir = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = if uid.is_root() {
            None
        } else {
            absolute("XDG_CACHE_HOME").or(absolute("HOME").map(|home| home.join(".cache")))
        };
        Self {
            uid: uid.as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            dir,
            caches: caches.unwrap_or_else(|| PathBuf::from("/var/cache")),
        }
    }
}

/// Checked options, and what is to be said or done about them.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub options: Options,
    /// One line each.
    pub warnings: Vec<String>,
    /// Environment variables to set before anything else starts (`env.NAME=value`).
    pub env: Vec<(String, String)>,
}

/// Parses a request. An error is one line that names the option and says what was expected.
pub fn parse(request: &Request<'_>, host: &Host) -> Result<Parsed, Error> {
    let mut given = Given::collect(request.words, request.unknown)?;
    // Whoever asks has read it, and given its words.
    if given.word("config").is_some() {
        return Err(Error::new("config: a file cannot name another one"));
    }
    let (bucket, prefix) = bucket(request.source, &mut given)?;
    let public = public::read(&mut given, host, &prefix, request.mountpoint)?;
    let s3 = s3(&mut given, host, &public)?;
    let fs = fs(&mut given, host, public)?;
    let own =
        Own { bucket: &bucket, prefix: &prefix, mountpoint: request.mountpoint, endpoint: s3.endpoint.as_deref() };
    let cache = cache(&given, host, &own)?;
    let mount = MountOptions {
        foreground: given.is("foreground")?,
        allow_other: given.flag("allow_other")?.unwrap_or(host.uid == 0),
        nonempty: given.is("nonempty")?,
        nofail: given.is("nofail")?,
        fsname: given.text("fsname")?.unwrap_or_else(|| shown_source(request.source, &bucket, &prefix)),
        log_file: given.path("log_file")?.map(|path| host.dir.join(path)),
        debug: given.is("debug")?,
    };
    let outage = outage::read(&given, host, &fs)?;
    let options = Options {
        bucket,
        prefix,
        mountpoint: request.mountpoint.to_owned(),
        s3,
        fs,
        cache,
        mount,
        cdn: Vec::new(),
        outage,
        sync_purges: given.one_word("purge")? == Some("sync"),
    };
    Ok(Parsed { options, warnings: given.warnings, env: given.env })
}

fn bucket(source: &str, given: &mut Given) -> Result<(String, Prefix), Error> {
    let (bucket, prefix) = source::split(source)?;
    let bucket = source::one_of("buckets", bucket, given.text("bucket")?.as_deref())?.to_owned();
    // An empty prefix is a value too: the whole bucket.
    let option = given.value("prefix", |text| Some(text.to_owned()))?;
    let prefix = source::prefix(source::one_of("prefixes", prefix, option.as_deref())?)?;
    given.warnings.extend(source::check_bucket(&bucket)?);
    Ok((bucket, prefix))
}

/// mount(8) takes a line of fstab for mounted only if /proc/mounts shows its very words.
fn shown_source(source: &str, bucket: &str, prefix: &Prefix) -> String {
    match (source, prefix.as_str()) {
        ("", "") => bucket.to_owned(),
        ("", prefix) => format!("{bucket}:/{}", prefix.trim_end_matches('/')),
        (source, _) => source.to_owned(),
    }
}

fn s3(given: &mut Given, host: &Host, public: &Public) -> Result<S3Options, Error> {
    let (endpoint, region) = service(given)?;
    let (sse, sse_kms_key_id) = encryption(given)?;
    let number = |name| Ok::<_, Error>(given.number(name)?.unwrap_or(1));
    let span = |name| Ok::<_, Error>(given.span(name)?.unwrap_or(Duration::ZERO));
    Ok(S3Options {
        endpoint,
        region,
        path_style: given.flag("path_style")?,
        credentials: credentials(given, host)?,
        checksum: match given.one_word("checksum")? {
            Some("md5") => Checksum::Md5,
            Some("crc32") => Checksum::Crc32,
            Some("none") => Checksum::None,
            _ => Checksum::Auto,
        },
        storage_class: given.text("storage_class")?.map(|class| class.to_ascii_uppercase()),
        acl: public.acl.clone(),
        withheld: public.withheld.clone(),
        sse,
        sse_kms_key_id,
        requester_pays: given.is("requester_pays")?,
        retries: number("retries")?,
        timeout: span("timeout")?,
        connect_timeout: span("connect_timeout")?,
    })
}

/// Endpoint and region. s3fs calls the region `endpoint` and the endpoint `url`; a word without a dot, a colon or a
/// slash is taken for that.
fn service(given: &mut Given) -> Result<(Option<String>, Option<String>), Error> {
    let region = given.text("region")?;
    let Some(raw) = given.text("endpoint")? else { return Ok((None, region)) };
    if !raw.contains(['.', ':', '/']) && raw != "localhost" {
        given.warnings.push(format!("endpoint={raw} is taken for region={raw}; an endpoint is a URL or a host"));
        return Ok((None, region.or(Some(raw))));
    }
    let word = given.word("endpoint").map(written).unwrap_or_default();
    let refuse = || Error::new(format!("{word}: expected a URL such as https://s3.example.com"));
    let (scheme, rest) = raw.split_once("://").unwrap_or(("https", &raw));
    let authority = rest.trim_end_matches('/');
    let clean = authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if !["http", "https"].contains(&scheme) || authority.is_empty() || authority.starts_with(':') || !clean {
        return Err(refuse());
    }
    // A colon that is not inside the brackets of IPv6 begins a port.
    if let Some((_, port)) = authority.rsplit_once(':').filter(|(_, tail)| !tail.ends_with(']'))
        && port.parse::<u16>().is_err()
    {
        return Err(refuse());
    }
    Ok((Some(format!("{scheme}://{authority}")), region))
}

fn credentials(given: &Given, host: &Host) -> Result<CredentialSource, Error> {
    let passwd_file = given.path("passwd_file")?;
    let file = given.path("credentials_file")?.map(|path| host.dir.join(path));
    let profile = given.text("profile")?;
    let named: Vec<_> =
        ["passwd_file", "credentials_file", "profile"].into_iter().filter_map(|name| given.word(name)).collect();
    let unsigned = given.is("no_sign_request")?;
    let clash = match (unsigned, &passwd_file, named.as_slice()) {
        (true, _, [other, ..]) => Some(("no_sign_request", other)),
        (false, Some(_), [_, other, ..]) => Some(("passwd_file", other)),
        _ => None,
    };
    if let Some((one, other)) = clash {
        return Err(Error::new(format!("{one} and {} exclude each other", other.name)));
    }
    if unsigned {
        return Ok(CredentialSource::Unsigned);
    }
    match passwd_file {
        Some(path) => Ok(CredentialSource::PasswdFile(host.dir.join(path))),
        None => Ok(CredentialSource::Chain { profile, file }),
    }
}

/// `sse` and its key. s3fs writes `use_sse=1`, `use_sse=kmsid` and `use_sse=kmsid:KEY`.
fn encryption(given: &Given) -> Result<(Option<String>, Option<String>), Error> {
    const KMS: &str = "aws:kms";
    let key = given.text("sse_kms_key_id")?;
    let Some(sse) = given.text("sse")? else {
        return Ok((key.is_some().then(|| KMS.to_owned()), key));
    };
    let (sse, key) = match sse.as_str() {
        "1" | "true" | "AES256" | "aes256" => ("AES256", key),
        "kmsid" | "k" | "kms" | KMS => (KMS, key),
        other => {
            let id = other.strip_prefix("kmsid:").or(other.strip_prefix("k:")).filter(|id| !id.is_empty());
            let Some(id) = id else {
                let word = given.word("sse").map(written).unwrap_or_default();
                let expected = "expected AES256 or aws:kms (keys of your own are not supported)";
                return Err(Error::new(format!("{word}: {expected}")));
            };
            (KMS, Some(id.to_owned()))
        }
    };
    if sse != KMS && key.is_some() {
        return Err(Error::new("sse_kms_key_id needs sse=aws:kms"));
    }
    Ok((Some(sse.to_owned()), key))
}

fn fs(given: &mut Given, host: &Host, public: Public) -> Result<FsOptions, Error> {
    let stat_ttl = given.span("stat_ttl")?.unwrap_or(Duration::ZERO);
    let freshness = given.value("freshness", |text| value::freshness(text, stat_ttl))?.unwrap_or_default();
    if let (Some(word), Freshness::Strict | Freshness::Age(_)) = (given.word("stat_ttl"), freshness) {
        let warning = format!("option {} has no effect: it belongs to freshness=open", word.name);
        given.warnings.push(warning);
    }
    let umask = given.mode("umask")?;
    let dir_umask = given.mode("mp_umask")?.or(umask);
    let perms = if given.one_word("perms")? == Some("stored") { Perms::Stored } else { Perms::Uniform };
    let attrs = if given.one_word("attrs")? == Some("list") { Attrs::List } else { Attrs::Exact };
    if (perms, attrs) == (Perms::Stored, Attrs::List) {
        return Err(Error::new("attrs=list: a listing does not tell what perms=stored is to show"));
    }
    Ok(FsOptions {
        freshness,
        perms,
        attrs,
        uid: given.id("uid")?.unwrap_or(host.uid),
        gid: given.id("gid")?.unwrap_or(host.gid),
        file_mode: given.mode("file_mode")?.unwrap_or_else(|| umask.map_or(0o644, |mask| 0o666 & !mask)),
        dir_mode: given.mode("dir_mode")?.unwrap_or_else(|| dir_umask.map_or(0o755, |mask| 0o777 & !mask)),
        mtime_ns: given.one_word("mtime")? == Some("ns"),
        xattr: given.is("xattr")?,
        read_only: given.is("read_only")?,
        patterns: Patterns { local: patterns(given, "local")?, hold: patterns(given, "hold")? },
        conflict: if given.one_word("conflict")? == Some("detect") { Conflict::Detect } else { Conflict::Last },
        exclusive: if given.one_word("exclusive")? == Some("close") { Exclusive::Close } else { Exclusive::Open },
        rename_limit: given.number("rename_limit")?.unwrap_or(0),
        part_size: given.size("part_size")?.unwrap_or(0),
        upload_concurrency: given.number("upload_concurrency")?.and_then(|n| u16::try_from(n).ok()).unwrap_or(1),
        staging_size: given.size("staging_size")?,
        headers: public.headers,
        urls: public.urls,
    })
}

fn patterns(given: &Given, name: &str) -> Result<List, Error> {
    let Some(text) = given.text(name)? else { return Ok(List::default()) };
    List::parse(&text).map_err(|bad| Error::new(format!("option {name}: {bad}")))
}

/// What makes a mount this one and no other.
struct Own<'a> {
    bucket: &'a str,
    prefix: &'a Prefix,
    mountpoint: &'a Path,
    endpoint: Option<&'a str>,
}

impl Own<'_> {
    /// The name of the mount's own cache directory: the same at every mount, different for every other.
    fn dir_name(&self) -> String {
        let mut hash = Sha256::new();
        let parts = [self.bucket, self.prefix.as_str(), self.endpoint.unwrap_or_default()];
        for part in parts.map(str::as_bytes).into_iter().chain([self.mountpoint.as_os_str().as_encoded_bytes()]) {
            // No part can hold a NUL, so no two lists of parts read the same.
            hash.update(part);
            hash.update([0]);
        }
        let mut first = [0; 8];
        first[2..].copy_from_slice(&hash.finalize()[..6]);
        format!("{}-{:012x}", self.bucket, u64::from_be_bytes(first))
    }
}

fn cache(given: &Given, host: &Host, own: &Own<'_>) -> Result<CacheOptions, Error> {
    let chosen = given.path("cache_dir")?.map(|path| host.dir.join(path));
    // A directory of its own below the one given: fstab lines tend to share one.
    let dir = chosen.unwrap_or_else(|| host.caches.join("originfs")).join(own.dir_name());
    if dir.starts_with(own.mountpoint) {
        return Err(Error::new(format!("the cache directory {} is inside the mount point", dir.display())));
    }
    Ok(CacheOptions { dir, size: given.size("cache_size")?, min_free: given.size("cache_min_free")? })
}
