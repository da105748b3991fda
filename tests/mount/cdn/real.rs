//! Caches of one's own as Debian has them, nginx and Varnish, with the very rules that `originfs cdn rules emit` writes:
//! before a bucket, and before a webserver that serves a mount.

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::{Bucket, Mount, Process, eventually, fresh_dir, run, start};

const CDN: &str = "cdn.example.test";
const WWW: &str = "www.example.test";
const NGINX: &str = "/usr/sbin/nginx";
const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_cache_purge_module.so";
const VARNISH: &str = "/usr/sbin/varnishd";

/// Two webservers, two caches, one bucket.
struct Site {
    bucket: Bucket,
    mounts: [Mount; 2],
    caches: [Cache; 2],
}

/// A cache that runs.
struct Cache {
    name: &'static str,
    port: u16,
    process: Process,
}

struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: String,
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.process.signal(Signal::SIGTERM);
    }
}

impl Cache {
    fn get(&self, host: &str, target: &str) -> Answer {
        let mut server = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(server, "GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
        let mut raw = Vec::new();
        server.read_to_end(&mut raw).unwrap();
        let text = String::from_utf8_lossy(&raw).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{}: {text:?}", self.name));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Answer { status, headers, body: body.to_owned() }
    }

    /// A second purge may come after the first.
    #[track_caller]
    fn keeps(&self, host: &str, target: &str) {
        eventually(&format!("{} keeps {target}", self.name), || self.get(host, target).is_hit());
    }

    /// The content, if there is any.
    fn content(&self, host: &str, target: &str) -> Option<String> {
        let answer = self.get(host, target);
        (answer.status == 200).then_some(answer.body)
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// It came from the cache alone.
    fn is_hit(&self) -> bool {
        self.header("cache-status").to_ascii_lowercase().ends_with("hit")
    }
}

/// A port of 127.0.0.1 that nobody has. The tests of a process ask one after the other.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn are_there() -> bool {
    let missing: Vec<_> = [NGINX, MODULE, VARNISH].into_iter().filter(|path| !Path::new(path).exists()).collect();
    assert!(missing.is_empty() || std::env::var_os("CI").is_none(), "no {missing:?}: scripts/setup edges");
    if !missing.is_empty() {
        println!("skipped: no {missing:?}");
    }
    missing.is_empty()
}

impl Site {
    fn new() -> Option<Self> {
        let bucket = Bucket::public_part().filter(|_| are_there())?;
        let dir = fresh_dir();
        let [nginx, varnish, web] = [port(), port(), port()];
        let file = dir.join("site.toml");
        let table = |port: u16, below: &str| {
            format!(
                "[[cdn]]\nvendor = 'http'\nbase = 'http://{CDN}/{{path}}'\nsite = 'http://{WWW}/images'\nedges = 'http://127.0.0.1:{port}'\nbelow = '{below}'\nrepurge_after = 1\n"
            )
        };
        let endpoint = &bucket.server.endpoint;
        let tables = [table(nginx, "never"), table(varnish, "ban")].concat();
        let text = format!(
            "source = '{}'\ndirectory = '/var/www/html/images'\n[options]\nendpoint = '{endpoint}'\nprivate = 'invoices/**'\n{tables}",
            bucket.source()
        );
        fs::write(&file, text).unwrap();
        let options = format!("freshness=strict,config={}", file.display());
        let mounts = [bucket.mount_with(&options), bucket.mount_with(&options)];
        let nginx = start_nginx(&dir, &file, nginx, web, mounts[1].dir());
        let varnish = start_varnish(&dir, &file, varnish, web);
        Some(Self { bucket, mounts, caches: [nginx, varnish] })
    }

    /// Every way to a file: its host, and what is before its name.
    const WAYS: [(&str, &str); 2] = [(CDN, "/"), (WWW, "/images/")];

    #[track_caller]
    fn shows(&self, name: &str, content: Option<&str>) {
        for cache in &self.caches {
            for (host, before) in Self::WAYS {
                let what = format!("{} at {host} has {name} as {content:?}", cache.name);
                eventually(&what, || cache.content(host, &format!("{before}{name}")).as_deref() == content);
                // What a purge removed does not come back, and is kept.
                assert_eq!(cache.content(host, &format!("{before}{name}")).as_deref(), content, "{what}");
            }
        }
    }
}

fn emit(file: &Path, format: &str, web: u16, more: &[&str]) -> String {
    let origin = format!("http://127.0.0.1:{web}");
    let words = [env!("CARGO_BIN_EXE_originfs"), "cdn", "rules", "emit", "--format", format, "--origin", &origin];
    let (code, said) = run(words.into_iter().chain(more.iter().copied()).chain([file.to_str().unwrap()]));
    assert_eq!(code, 0, "{said}");
    said
}

/// With a webserver beside it, in the same process, that serves a mount.
fn start_nginx(dir: &Path, file: &Path, port: u16, web: u16, images: &Path) -> Cache {
    let at = dir.display();
    let rules = emit(file, "nginx", web, &["--listen", &format!("127.0.0.1:{port}")]);
    assert!(rules.contains("proxy_cache_path /var/cache/nginx/originfs "), "{rules}");
    fs::write(dir.join("rules.conf"), rules.replace("/var/cache/nginx/originfs", &format!("{at}/kept"))).unwrap();
    let origin = format!(
        "server {{ listen 127.0.0.1:{web}; location /images/ {{ alias {}/; }}\n location / {{ add_header Set-Cookie session=1; return 200 $request_id; }} }}",
        images.display()
    );
    let temporary = ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {at}/{name};\n")).concat();
    let text = format!(
        "user root;\nload_module {MODULE};\ndaemon off;\npid {at}/pid;\nerror_log {at}/log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{origin}\ninclude {at}/rules.conf;\n}}\n"
    );
    fs::write(dir.join("nginx.conf"), text).unwrap();
    started("nginx", port, start([NGINX, "-c", &format!("{at}/nginx.conf")]))
}

fn start_varnish(dir: &Path, file: &Path, port: u16, web: u16) -> Cache {
    let vcl: PathBuf = dir.join("rules.vcl");
    fs::write(&vcl, emit(file, "varnish", web, &[])).unwrap();
    let (name, listen) = (dir.join("varnish"), format!("127.0.0.1:{port}"));
    let words = ["-F", "-j", "none", "-T", "none", "-s", "malloc,64m", "-a", &listen, "-f", vcl.to_str().unwrap()];
    let process = start([VARNISH].into_iter().chain(words).chain(["-n", name.to_str().unwrap()]));
    started("Varnish", port, process)
}

fn started(name: &'static str, port: u16, process: Process) -> Cache {
    eventually("the cache listens", || {
        assert_eq!(process.ended(), None, "{name}: {}", process.said());
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    Cache { name, port, process }
}

#[test]
fn what_changes_on_two_webservers_is_seen_through_nginx_and_varnish() {
    let Some(site) = Site::new() else { return };
    let [a, b] = &site.mounts;
    site.shows("a b.jpg".replace(' ', "%20").as_str(), None);
    a.write("a b.jpg", "1");
    site.shows("a%20b.jpg", Some("1"));
    for cache in &site.caches {
        cache.keeps(CDN, "/a%20b.jpg");
        cache.keeps(WWW, "/images/a%20b.jpg");
    }
    b.write("a b.jpg", "2");
    site.shows("a%20b.jpg", Some("2"));
    site.shows("c.jpg", None);
    fs::rename(a.path("a b.jpg"), a.path("c.jpg")).unwrap();
    site.shows("a%20b.jpg", None);
    site.shows("c.jpg", Some("2"));
    fs::remove_file(b.path("c.jpg")).unwrap();
    site.shows("c.jpg", None);

    fs::create_dir(a.path("d")).unwrap();
    for n in 0..60 {
        a.write(&format!("d/{n}.jpg"), n.to_string());
    }
    for n in 0..60 {
        site.shows(&format!("d/{n}.jpg"), Some(&n.to_string()));
    }
    fs::rename(b.path("d"), b.path("e")).unwrap();
    for n in 0..60 {
        site.shows(&format!("d/{n}.jpg"), None);
        site.shows(&format!("e/{n}.jpg"), Some(&n.to_string()));
    }
}

#[test]
fn nginx_and_varnish_never_show_what_is_private_and_keep_no_page() {
    let Some(site) = Site::new() else { return };
    let [a, _] = &site.mounts;
    fs::create_dir(a.path("invoices")).unwrap();
    for name in [".env", "x.php", "invoices/1.pdf", "dump.sql.gz"] {
        a.write(name, "secret");
        // The bucket would tell it: only the rules keep it back.
        assert_eq!(site.bucket.body(name), b"secret");
    }
    a.write("fine.jpg", "1");
    site.shows("fine.jpg", Some("1"));
    for cache in &site.caches {
        for (host, before) in Site::WAYS {
            for name in [".env", "x.php", "X.PHP", "invoices/1.pdf", "dump.sql.gz", "x.php/y", "x.php?v=0123456789ab"] {
                assert_eq!(cache.get(host, &format!("{before}{name}")).status, 404, "{} {host} {name}", cache.name);
            }
            for name in ["%2eenv", "x.ph%70", "invoices%2F1.pdf", "./.env", "a/../.env"] {
                let status = cache.get(host, &format!("{before}{name}")).status;
                assert!(matches!(status, 400 | 404), "{} {host} {name}: {status}", cache.name);
            }
        }
        assert_eq!(cache.get(CDN, "/").status, 404, "{} shows no listing", cache.name);
        assert_eq!(cache.get(CDN, "/?list-type=2").status, 404);
        let pages = [(); 2].map(|()| cache.get(WWW, "/page").body);
        assert_ne!(pages[0], pages[1], "{} keeps no page", cache.name);
    }
}

#[test]
fn nginx_and_varnish_send_the_headers_that_a_bucket_cannot() {
    let Some(site) = Site::new() else { return };
    let [a, _] = &site.mounts;
    a.write("logo.png", "one");
    a.write("drawing.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>");
    site.shows("logo.png", Some("one"));
    site.shows("drawing.svg", Some("<svg xmlns='http://www.w3.org/2000/svg'/>"));
    // The MD5 of "one", of which the token is the beginning.
    let (right, wrong) = ("f97c5d29941b", "0123456789ab");
    for cache in &site.caches {
        let plain = cache.get(CDN, "/logo.png");
        assert!(plain.header("cache-control").starts_with("public, max-age=300"), "{}", cache.name);
        assert_eq!(plain.header("x-content-type-options"), "nosniff");
        assert_eq!(plain.header("cross-origin-resource-policy"), "cross-origin", "{}", cache.name);
        assert_eq!(cache.get(WWW, "/images/logo.png").header("cross-origin-resource-policy"), "");
        assert!(cache.get(CDN, "/drawing.svg").header("content-security-policy").ends_with("sandbox"));
        for _ in 0..2 {
            let versioned = cache.get(CDN, &format!("/logo.png?v={right}"));
            assert_eq!(versioned.header("cache-control"), "public, max-age=31536000, immutable", "{}", cache.name);
            // Of another version than the URL says: it may come back, and nobody is to keep this under its name.
            let other = cache.get(CDN, &format!("/logo.png?v={wrong}"));
            assert!(!other.is_hit() && !other.header("cache-control").contains("immutable"), "{}", cache.name);
        }
        cache.keeps(CDN, &format!("/logo.png?v={right}"));
        cache.keeps(CDN, "/logo.png");
        assert!(cache.get(CDN, "/logo.png?tracker=2").is_hit(), "{}: only a version is in the key", cache.name);
    }
}
