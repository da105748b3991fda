//! The commands of docs/CDN.md, word for word: each is run, against the development server and the vendor's API, on
//! a host with the files of that page, whose fstab has the mounts. Places alone are others: where the bucket, the
//! directories and the API are.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use originfs::{
    clock,
    cost::{day::Day, reads},
};

use super::{
    edge::{Edge, TOKEN, ZONE},
    rulesets::Rulesets,
};
use crate::harness::{Bucket, Kind, Mount, fresh_dir, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_originfs");
pub(super) const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CDN.md");

/// A command of the page.
struct Tried {
    line: &'static str,
    /// What must be said beside it: nobody sells the bucket of a test, and other mounts of this machine are not meant.
    more: &'static str,
    /// Of what it says, or of what is in the file that it writes.
    told: &'static str,
}

const fn tried(line: &'static str, more: &'static str, told: &'static str) -> Tried {
    Tried { line, more, told }
}

const SELLER: &str = "--vendor aws";

/// In the order in which they are run. Each succeeds.
const ALL: [Tried; 30] = [
    tried("originfs headers apply --dry-run /var/www/html/images", "", "theirs.png"),
    tried("originfs headers apply /var/www/html/images", "", ""),
    tried(
        "originfs headers apply site-bucket:/images /var/www/html/images -o cdn_url=https://cdn.example.org --prefix 2026/",
        "",
        "",
    ),
    tried("originfs url \"/var/www/html/images/2026/a photo.jpg\"", "", "/2026/a%20photo.jpg"),
    tried("originfs url --versioned /var/www/html/images/logo.png", "", "/logo.png?v="),
    tried("originfs manifest /var/www/html/images > files.jsonl", "", "\"path\":\"logo.png\""),
    tried("originfs manifest --format json --output /var/www/html/manifest.json /var/www/html/images", "", "logo.png"),
    tried(
        "originfs manifest --format urls --plain --prefix 2026/11/ /var/www/html/images | xargs -n 20 -P 4 curl -sfo /dev/null",
        "",
        "",
    ),
    tried(
        "originfs manifest site-bucket:/images /var/www/html/images -o cdn_url=https://cdn.example.org --format php",
        "",
        "'logo.png'",
    ),
    tried(
        "originfs cdn rules emit --format cloudflare-json /var/www/html/images /var/www/html/media",
        "",
        "set_cache_settings",
    ),
    tried(
        "originfs cdn rules apply --vendor cloudflare --dry-run",
        "/etc/originfs/images.toml /etc/originfs/media.toml",
        "would change",
    ),
    tried(
        "originfs cdn rules apply --vendor cloudflare --dry-run /etc/originfs/images.toml /etc/originfs/media.toml",
        "",
        "would change",
    ),
    tried(
        "originfs cdn rules apply --vendor cloudflare /etc/originfs/images.toml /etc/originfs/media.toml",
        "",
        "changed",
    ),
    tried("originfs cdn rules emit --format cloudfront /etc/originfs/images.toml > originfs.json", "", "CachePolicy"),
    tried("originfs cdn status /var/www/html/images", "", "cloudflare"),
    tried("originfs cdn purge --tag example.org/2026 --at /var/www/html/images", "", "cloudflare"),
    tried(
        "originfs cdn rules emit --format s3-cors /etc/originfs/images.toml > cors.json",
        "",
        "https://www.example.org",
    ),
    tried("originfs cdn verify /var/www/html/images/logo.png", "", "logo.png"),
    tried(
        "originfs cdn rules emit --format nginx --origin http://127.0.0.1:8080 --purger 10.0.0.0/24 > /etc/nginx/conf.d/originfs.conf",
        "/etc/originfs/images.toml",
        "proxy_cache_path",
    ),
    tried(
        "originfs cdn rules emit --format varnish --origin http://127.0.0.1:8080 --purger 10.0.0.0/24 > /etc/varnish/default.vcl",
        "/etc/originfs/images.toml",
        "acl ",
    ),
    tried(
        "originfs cdn rules emit --format apache > /etc/apache2/originfs-headers.conf",
        "/etc/originfs/images.toml",
        "Header",
    ),
    tried("originfs cdn onerror > /var/www/html/originfs-onerror.js", "", "data-cdn"),
    tried("originfs cost --stored 120G /var/www/html/images", SELLER, "US dollars"),
    tried("originfs cost --ttl /var/www/html/images", SELLER, "how long caches may keep files"),
    tried("originfs cold --days 90 --log s3-access.log --log nginx-access.log /var/www/html/images", SELLER, ""),
    tried(
        "originfs cold --days 90 --log s3://site-logs/images/ --reads web2.reads /var/www/html/images",
        SELLER,
        "web2.reads",
    ),
    tried("zcat cloudfront-*.gz | originfs cold --days 90 --log - /var/www/html/images", SELLER, ""),
    tried("originfs cold --days 90 --log access.log --apply --dry-run /var/www/html/images", SELLER, ""),
    tried("originfs cold --days 90 --log access.log --apply /var/www/html/images", SELLER, ""),
    tried(
        "originfs cold --days 90 --log access.log --lifecycle --keep now.json /var/www/html/images > next.json",
        SELLER,
        "Rules",
    ),
];

/// The lines of the page that are commands of ours.
fn commands(page: &str) -> Vec<&str> {
    let shown = page.lines().filter(|line| line.starts_with("    "));
    let lines = shown.map(|line| line.trim().trim_start_matches("$ "));
    lines.filter(|line| line.starts_with("originfs ") || line.contains("| originfs ")).collect()
}

/// The lines that follow a mark of the page.
pub(super) fn fragment(title: &str) -> String {
    let page = fs::read_to_string(PAGE).unwrap();
    let (_, rest) = page.split_once(&format!("<!-- tested: {title} -->\n\n")).unwrap_or_else(|| panic!("no {title}"));
    let lines: Vec<&str> = rest.lines().take_while(|line| line.starts_with("    ")).collect();
    lines.join("\n") + "\n"
}

/// A host that serves the directories of the page.
struct Host {
    base: PathBuf,
    images: Mount,
    media: Mount,
    bucket: Bucket,
    _edge: Edge,
}

impl Host {
    fn new() -> Option<Self> {
        let bucket = Bucket::public().filter(|bucket| bucket.server.kind == Kind::Dev)?;
        let (dir, edge, api) = (fresh_dir(), Edge::before(&bucket.below("images").url()), Rulesets::start());
        for below in ["html", "etc/originfs", "etc/nginx/conf.d", "etc/varnish", "etc/apache2"] {
            fs::create_dir_all(dir.join(below)).unwrap();
        }
        fs::write(dir.join("etc/originfs/token"), format!("{TOKEN}\n")).unwrap();
        for name in ["images", "media"] {
            let site = format!("https://www.example.org/{name}");
            let vendor = format!("[[cdn]]\nvendor = 'cloudflare'\nzone = '{ZONE}'\ntoken_file = 'token'\n");
            let urls = format!("cdn_url = '{}/{{path}}'\n", edge.address());
            let source = format!("source = 'site-bucket:/{name}'\ndirectory = '/var/www/html/{name}'\n");
            // The interface for rules and that for purges are two servers here, and one at the vendor.
            let rules =
                format!("{source}[options]\nsite_url = '{site}'\n{vendor}site = '{site}'\napi = '{}'\n", api.address());
            fs::write(dir.join(format!("etc/originfs/{name}.toml")), rules).unwrap();
            let mount = format!(
                "[options]\n{urls}site_url = '{site}'\n{vendor}api = '{}'\nrepurge_after = 0\n",
                edge.address()
            );
            fs::write(dir.join(format!("etc/originfs/{name}-mount.toml")), mount).unwrap();
        }
        let mount = |name: &str| {
            let config = dir.join(format!("etc/originfs/{name}-mount.toml"));
            bucket.below(name).mount_with(&format!("freshness=strict,config={}", config.display()))
        };
        let (images, media) = (mount("images"), mount("media"));
        let host = Self { base: dir, images, media, bucket, _edge: edge };
        let lines = [("images", &host.images), ("media", &host.media)].map(|(name, mount)| host.line(name, mount));
        fs::write(host.base.join("fstab"), lines.concat()).unwrap();
        host.fill();
        Some(host)
    }

    /// What fstab says of a mount.
    fn line(&self, name: &str, mount: &Mount) -> String {
        let config = self.base.join(format!("etc/originfs/{name}-mount.toml"));
        format!(
            "{} {} originfs _netdev,endpoint={},path_style,region=us-east-1,cache_dir={},config={} 0 0\n",
            self.bucket.below(name).source(),
            mount.dir().display(),
            self.bucket.server.endpoint,
            mount.cache_dir().display(),
            config.display()
        )
    }

    fn fill(&self) {
        self.bucket.put("images/theirs.png", b"\x89PNG\r\n\x1a\n");
        fs::create_dir_all(self.images.path("2026/11")).unwrap();
        for name in ["2026/a photo.jpg", "2026/11/b.jpg", "logo.png"] {
            self.images.write(name, name);
        }
        let today = Day::of(clock::wall().sec);
        let days = || (0..=100).map(move |ago| Day(today.0 - ago));
        let write = |name: &str, lines: String| fs::write(self.base.join(name), lines).unwrap();
        write("s3-access.log", days().map(s3).collect());
        write("access.log", days().map(s3).collect());
        write("nginx-access.log", days().map(nginx).collect());
        write("cloudfront-1", days().map(cloudfront).collect());
        write("now.json", "{\"Rules\": []}".to_owned());
        self.bucket.put("logs/images/2026-11-22", days().map(s3).collect::<String>().as_bytes());
        reads::add(&self.base.join("web2.reads"), &[], today, None).unwrap();
        assert_eq!(self.shell("gzip cloudfront-1").0, 0);
    }

    /// What the page says, as it is on this host.
    fn here(&self, text: &str) -> String {
        let server = self.bucket.server;
        let options = format!("-o endpoint={},path_style,region=us-east-1,cache_dir=cache,", server.endpoint);
        let (base, name) = (self.base.to_str().unwrap(), self.bucket.name());
        let places = [
            ("/var/www/html/images", self.images.dir().to_str().unwrap()),
            ("/var/www/html/media", self.media.dir().to_str().unwrap()),
            ("/var/www/html/", &format!("{base}/html/")),
            ("/etc/", &format!("{base}/etc/")),
            ("s3://site-logs/", &format!("s3://{name}/logs/")),
            ("site-bucket:", &format!("{name}:")),
            ("-o ", &options),
        ];
        let mut text = text.to_owned();
        for (theirs, ours) in places {
            text = text.replace(theirs, ours);
        }
        text
    }

    fn shell(&self, script: &str) -> (i32, String) {
        let server = self.bucket.server;
        let keys = [("AWS_ACCESS_KEY_ID", &server.access_key), ("AWS_SECRET_ACCESS_KEY", &server.secret_key)];
        let keys = keys.map(|(name, value)| format!("{name}={value}"));
        let script = format!("set -eo pipefail; cd '{}'; mount --bind fstab /etc/fstab; {script}", self.base.display());
        // Its own mounts, gone with it; those of the host are there as well.
        let private = ["unshare", "--mount", "bash", "-c", &script];
        let env = ["env", &keys[0], &keys[1], "AWS_EC2_METADATA_DISABLED=true"];
        run(env.into_iter().chain(private))
    }

    /// Runs a command of the page; gives its exit code and what it tells.
    fn run(&self, tried: &Tried) -> (i32, String) {
        let (before, after) = tried.line.split_once(" > ").unwrap_or((tried.line, ""));
        let (first, rest) = before.split_once(" | xargs").unwrap_or((before, ""));
        let mut script = format!("{first} {}", tried.more);
        if !rest.is_empty() {
            write!(script, " | xargs{rest}").unwrap();
        }
        if !after.is_empty() {
            write!(script, " > {after}").unwrap();
        }
        let script = self.here(&script);
        let start = script.find("originfs ").unwrap();
        let script = format!("{}{PROGRAM} {}", &script[..start], &script[start + "originfs ".len()..]);
        let (code, said) = self.shell(&script);
        let output = tried.line.split_once("--output ").map(|(_, rest)| rest.split(' ').next().unwrap());
        let file = output.or(Some(after).filter(|file| !file.is_empty()));
        let written = file.map(|file| self.base.join(self.here(file)));
        let written = written.filter(|file| Path::exists(file)).map(|file| fs::read_to_string(file).unwrap());
        (code, format!("{script}\n{said}{}", written.unwrap_or_default()))
    }
}

fn clf(day: Day) -> String {
    let (year, month, day) = day.civil();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    format!("[{day:02}/{}/{year}:00:00:38 +0000]", months[month as usize - 1])
}

fn s3(day: Day) -> String {
    let at = clf(day);
    format!(
        "0a b {at} 192.0.2.3 r 3E57 REST.GET.OBJECT images/logo.png \"GET /b/images/logo.png HTTP/1.1\" 200 - 1 1 7 6 \"-\" \"x\" -\n"
    )
}

fn nginx(day: Day) -> String {
    format!("192.0.2.1 - - {} \"GET /logo.png HTTP/1.1\" 200 8 \"-\" \"x\"\n", clf(day))
}

fn cloudfront(day: Day) -> String {
    format!(
        "{day}\t21:02:31\tLAX1\t392\t192.0.2.1\tGET\td1.cloudfront.net\t/images/logo.png\t200\t-\tMozilla/5.0\t-\t-\tHit\n"
    )
}

#[test]
fn the_commands_of_the_page_do_what_it_says() {
    let page = fs::read_to_string(PAGE).unwrap();
    let mut said: Vec<_> = commands(&page);
    said.sort_unstable();
    said.dedup();
    let mut known: Vec<_> = ALL.iter().map(|tried| tried.line).collect();
    known.sort_unstable();
    assert_eq!(said, known, "each command of docs/CDN.md is to be tried here");

    let Some(host) = Host::new() else { return };
    let failed = ALL.iter().filter_map(|tried| {
        let (code, told) = host.run(tried);
        (code != 0 || !told.contains(tried.told))
            .then(|| format!("exit code {code}, wanted {:?}: {told}\n", tried.told))
    });
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "{} commands:\n{}", failed.len(), failed.join("\n"));
    assert_eq!((host.images.stop(), host.media.stop()), (0, 0));
}
