//! From what a deployment says and what a host has, to what will be done. Pure: facts go in, steps come out.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    App,
    buckets::{self, Layout},
    directories::{self, Directory},
    preset::{self, Care, Preset},
    service,
    vendor::{self, Endpoint},
};
use crate::config::Keys;

/// What deployment scripts say, under the names of their variables (in lower case in TOML). Nothing is checked yet.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Wish {
    pub application: Option<String>,
    pub webroot: Option<PathBuf>,
    pub website_url: Option<String>,
    pub directories_to_mount: Option<String>,
    pub s3_access_key: Option<String>,
    pub s3_secret_key: Option<String>,
    pub s3_host_base: Option<String>,
    pub s3_location: Option<String>,
    /// The bucket of the whole site, where it has a name of its own.
    pub bucket: Option<String>,
    /// `site`, `directory` or `short`, see [`Layout`].
    pub layout: Option<String>,
    /// Who runs PHP.
    pub owner: Option<String>,
    /// More mount options, separated by commas.
    pub options: Option<String>,
}

/// What this host has.
pub trait Facts {
    /// Whether anything is at `path`, links followed.
    fn exists(&self, path: &Path) -> bool;
    /// What a directory holds: names, as far as it is one.
    fn names(&self, path: &Path) -> Vec<String>;
    /// The text of a file, if it can be read.
    fn text(&self, path: &Path) -> Option<String>;
    /// Where `path` really is: symbolic links resolved as far as they lead.
    fn real(&self, path: &Path) -> PathBuf;
    /// The type of the file system that is mounted exactly there.
    fn mounted(&self, path: &Path) -> Option<String>;
    /// The source of which [`adopt`](crate::adopt) found that it has what the directory holds.
    fn adopted(&self, path: &Path) -> Option<String>;
    /// The group of the user of that name, if there is one.
    fn group_of(&self, user: &str) -> Option<u32>;
}

/// A mount that will be made.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Mount {
    pub directory: PathBuf,
    pub source: String,
    /// As after `-o`.
    pub options: String,
    /// The instance of `originfs@.service`.
    pub unit: String,
    /// Names in the directory that have to go into the bucket first; none of one that was adopted.
    pub holds: usize,
    /// It is there already.
    pub mounted: bool,
    /// Nobody may read its objects without credentials.
    pub private: Vec<String>,
}

/// Everything that `apply` would do.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Plan {
    pub application: Option<&'static str>,
    pub webroot: PathBuf,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub owner: String,
    pub buckets: Vec<String>,
    pub mounts: Vec<Mount>,
    /// What was said and has no effect, with the reason.
    pub ignored: Vec<String>,
    /// What somebody should know before.
    pub warnings: Vec<String>,
    /// The first pair.
    #[serde(skip)]
    pub keys: Keys,
}

/// Who runs PHP: Debian, Fedora, Arch, Alpine, openSUSE.
const OWNERS: [&str; 5] = ["www-data", "apache", "http", "nginx", "wwwrun"];
/// Where webservers look where nothing else is said.
const WEBROOT: &str = "/var/www/html";

/// Decides. Fails with one line.
pub fn plan(wish: &Wish, facts: &impl Facts) -> Result<Plan, String> {
    let mut notes = Notes::default();
    let webroot = wish.webroot.clone().unwrap_or_else(|| WEBROOT.into());
    if !webroot.is_absolute() {
        return Err(format!("WEBROOT: {} is no absolute path", webroot.display()));
    }
    let app = application(wish, &webroot, facts, &mut notes)?;
    let preset = app.map(preset::preset);
    let mut directories = wanted(wish, preset, (&webroot, facts), &mut notes)?;
    for directory in &mut directories {
        if let Directory::Absolute(path) = &*directory
            && let Ok(below) = path.strip_prefix(&webroot)
        {
            *directory = Directory::Below(below.to_owned());
        }
    }
    let endpoint = endpoint(wish, &mut notes);
    let layout = layout(wish.layout.as_deref())?;
    notes
        .warnings
        .extend(wish.bucket.as_deref().filter(|name| !name.is_empty()).map(buckets::check).transpose()?.flatten());
    if layout == Layout::Short {
        notes
            .warnings
            .push("LAYOUT=short: sites whose names begin alike share a bucket: look at their plans".to_owned());
    }
    let owner = owner(wish, facts)?;
    let keys = Keys {
        access: first("S3_ACCESS_KEY", wish.s3_access_key.as_deref(), &mut notes),
        secret: first("S3_SECRET_KEY", wish.s3_secret_key.as_deref(), &mut notes),
    };
    let mut named = Vec::new();
    let mut mounts = Vec::new();
    for directory in &directories {
        let bucket = bucket(wish, layout, directory)?;
        let care = preset.map(|preset| preset.care_of(directory)).unwrap_or_default();
        mounts.push(mount(&Wanted { directory, bucket: &bucket, layout, care }, &webroot, facts, &mut notes)?);
        named.push((directory.clone(), bucket));
    }
    if layout != Layout::Site
        && let Some(collision) = buckets::collisions(&named).into_iter().next()
    {
        return Err(collision);
    }
    let mut buckets: Vec<String> = named.into_iter().map(|(_, bucket)| bucket).collect();
    buckets.dedup();
    let gid = facts.group_of(&owner).unwrap_or_default();
    for mount in &mut mounts {
        mount.options = options(mount, &endpoint, (&owner, gid), wish);
    }
    Ok(Plan {
        application: app.map(App::name),
        webroot,
        endpoint: endpoint.url,
        region: endpoint.region,
        owner,
        buckets,
        mounts,
        ignored: notes.ignored,
        warnings: notes.warnings,
        keys,
    })
}

#[derive(Default)]
struct Notes {
    ignored: Vec<String>,
    warnings: Vec<String>,
}

fn application(wish: &Wish, webroot: &Path, facts: &impl Facts, notes: &mut Notes) -> Result<Option<App>, String> {
    if let Some(name) = wish.application.as_deref().filter(|name| !name.trim().is_empty()) {
        return name.parse().map(Some);
    }
    let found = super::detect::detect(|path| facts.exists(&webroot.join(path)));
    if let [first, second, ..] = found[..] {
        return Err(format!("{} looks like {first} and like {second}: say which as APPLICATION", webroot.display()));
    }
    if found.is_empty() {
        notes.warnings.push(format!("no known application was found in {}", webroot.display()));
    }
    Ok(found.first().copied())
}

fn wanted(
    wish: &Wish,
    preset: Option<&Preset>,
    (webroot, facts): (&Path, &impl Facts),
    notes: &mut Notes,
) -> Result<Vec<Directory>, String> {
    let parsed = directories::parse(wish.directories_to_mount.as_deref().unwrap_or_default())?;
    notes.ignored.extend(parsed.remarks);
    if !parsed.directories.is_empty() {
        return Ok(parsed.directories);
    }
    let Some(preset) = preset else {
        return Err("say what to mount as DIRECTORIES_TO_MOUNT, or which APPLICATION it is".to_owned());
    };
    let mut found: Vec<Directory> = preset.directories.iter().map(|path| Directory::Below(path.into())).collect();
    if preset.app == App::Moodle
        && let Some(data) = facts.text(&webroot.join("config.php")).and_then(|text| dataroot(&text))
    {
        found = vec![Directory::Absolute(data.join("filedir"))];
    }
    for pattern in preset.also {
        for path in there(pattern, webroot, facts) {
            let directory = Directory::Below(path);
            if !found.contains(&directory) {
                found.push(directory);
            }
        }
    }
    Ok(found)
}

/// The directories below the webroot that are there, of a path in which `*` is any one name.
fn there(pattern: &str, webroot: &Path, facts: &impl Facts) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.split('/') {
        let next = |path: &PathBuf| match part {
            "*" => {
                let mut names = facts.names(&webroot.join(path));
                names.sort();
                names.iter().map(|name| path.join(name)).collect()
            }
            part => vec![path.join(part)],
        };
        found = found.iter().flat_map(next).collect();
    }
    found.retain(|path| facts.exists(&webroot.join(path)));
    found
}

/// `$CFG->dataroot = '...';` of Moodle's config.php.
fn dataroot(text: &str) -> Option<PathBuf> {
    let value = text.lines().find_map(|line| {
        let rest = line.trim_start().strip_prefix("$CFG->dataroot")?.trim_start().strip_prefix('=')?.trim_start();
        let quote = rest.chars().next().filter(|c| "'\"".contains(*c))?;
        rest[1..].split(quote).next()
    })?;
    let path = PathBuf::from(value);
    (path.is_absolute() && !value.contains('$') && path.parent().is_some()).then_some(path)
}

/// The first of a `|` chain: the others were replicas that a script kept equal.
fn first(variable: &str, value: Option<&str>, notes: &mut Notes) -> String {
    let mut parts = value.unwrap_or_default().split('|').map(str::trim);
    let first = parts.next().unwrap_or_default().to_owned();
    let rest: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    if !rest.is_empty() {
        let shown = if variable.ends_with("_KEY") { format!("{} more", rest.len()) } else { rest.join(", ") };
        notes.ignored.push(format!(
            "{variable}: {shown}: one bucket is mounted; let the provider replicate it, or a job of rclone"
        ));
    }
    first
}

fn endpoint(wish: &Wish, notes: &mut Notes) -> Endpoint {
    let host = first("S3_HOST_BASE", wish.s3_host_base.as_deref(), notes);
    let location = first("S3_LOCATION", wish.s3_location.as_deref(), notes);
    let endpoint = vendor::endpoint(&host, &location);
    if !location.is_empty() && endpoint.region.as_deref() != Some(&location) {
        notes.ignored.push(format!("S3_LOCATION: {location} is no region that requests to {host} are signed for"));
    }
    endpoint
}

fn layout(text: Option<&str>) -> Result<Layout, String> {
    match text.unwrap_or_default() {
        "" | "site" => Ok(Layout::Site),
        "directory" => Ok(Layout::Directory),
        "short" => Ok(Layout::Short),
        other => Err(format!("LAYOUT: {other:?} is none of site, directory, short")),
    }
}

fn owner(wish: &Wish, facts: &impl Facts) -> Result<String, String> {
    if let Some(owner) = wish.owner.as_deref().filter(|owner| !owner.is_empty()) {
        return if facts.group_of(owner).is_some() {
            Ok(owner.to_owned())
        } else {
            Err(format!("OWNER: there is no user {owner}"))
        };
    }
    let found = OWNERS.into_iter().find(|name| facts.group_of(name).is_some()).map(str::to_owned);
    found.ok_or_else(|| format!("none of the users {} exists: say who runs PHP as OWNER", OWNERS.join(", ")))
}

fn bucket(wish: &Wish, layout: Layout, directory: &Directory) -> Result<String, String> {
    match (wish.bucket.as_deref().filter(|bucket| !bucket.is_empty()), layout) {
        (Some(bucket), Layout::Site) => return Ok(bucket.to_owned()),
        (Some(_), _) => return Err("BUCKET names one bucket, and LAYOUT asks for several".to_owned()),
        (None, _) => {}
    }
    let Some(site) = wish.website_url.as_deref().filter(|url| !url.trim().is_empty()) else {
        return Err("say WEBSITE_URL, of which the bucket's name is made, or BUCKET".to_owned());
    };
    buckets::name(layout, site, directory)
}

struct Wanted<'a> {
    directory: &'a Directory,
    bucket: &'a str,
    layout: Layout,
    care: Care,
}

fn mount(wanted: &Wanted<'_>, webroot: &Path, facts: &impl Facts, notes: &mut Notes) -> Result<Mount, String> {
    let Wanted { directory, bucket, layout, ref care } = *wanted;
    let path = directory.path(webroot);
    let real = facts.real(&path);
    if real != path {
        notes.warnings.push(format!("{} is {}, and is mounted there", path.display(), real.display()));
    }
    let kind = facts.mounted(&real);
    let mounted = kind.as_deref() == Some("fuse.originfs");
    if let Some(kind) = kind.filter(|_| !mounted) {
        return Err(format!("{} is mounted already, as {kind}: unmount that first", real.display()));
    }
    if *directory == Directory::Below(PathBuf::new()) {
        notes.warnings.push("the webroot as a whole holds code: mount the directories of uploads alone".to_owned());
    }
    notes.warnings.extend(care.warning.map(|why| format!("{directory}: {why}")));
    let names = if mounted { Vec::new() } else { facts.names(&real) };
    for name in names.iter().filter(|name| is_database(name)) {
        notes.warnings.push(format!(
            "{}/{name} looks like an SQLite database, which must not be in a bucket: move it away",
            real.display()
        ));
    }
    let prefix = match (layout, directory) {
        (Layout::Site, Directory::Below(below)) => format!("/{}", below.display()),
        (Layout::Site, Directory::Absolute(path)) => path.display().to_string(),
        _ => String::new(),
    };
    let source = if prefix.len() > 1 { format!("{bucket}:{prefix}") } else { bucket.to_owned() };
    let mut options = Vec::new();
    options.extend((!care.local.is_empty()).then(|| format!("local={}", care.local.join(":"))));
    options.extend((!care.hold.is_empty()).then(|| format!("hold={}", care.hold.join(":"))));
    let adopted = facts.adopted(&real).is_some_and(|adopted| adopted == source);
    Ok(Mount {
        unit: service::instance(&real),
        directory: real,
        source,
        options: options.join(","),
        holds: if adopted { 0 } else { names.len() },
        mounted,
        private: care.private.clone(),
    })
}

fn options(mount: &Mount, endpoint: &Endpoint, (owner, gid): (&str, u32), wish: &Wish) -> String {
    let mut options = Vec::new();
    options.extend(endpoint.url.as_ref().map(|url| format!("endpoint={url}")));
    options.extend(endpoint.region.as_ref().map(|region| format!("region={region}")));
    options.push(format!("uid={owner},gid={gid}"));
    options.extend(Some(mount.options.clone()).filter(|options| !options.is_empty()));
    options.extend(wish.options.clone().filter(|options| !options.is_empty()));
    options.join(",")
}

fn is_database(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".sqlite", ".sqlite3", ".db", ".db3"].iter().any(|end| lower.ends_with(end)) || lower.contains(".ht.sqlite")
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
