//! A CDN that dies and comes back: pictures are shown all the time, and nothing goes to and fro. With the distribution's
//! nginx, and the very configuration that docs/CDN.md gives.

mod cdn;
mod nginx;

use std::{fs, path::PathBuf, time::Duration};

use originfs::clock;
use serde_json::Value;

use crate::harness::{Bucket, Mount, eventually, fresh_dir, run};
use cdn::{Cdn, Manner};
use nginx::Nginx;

/// How long an outage lasts at least.
const HOLD: Duration = Duration::from_secs(2);
const PICTURE: &[u8] = b"a picture";

/// A webserver whose pictures are on a CDN.
struct Site {
    /// What is below `/images` of the CDN.
    bucket: Bucket,
    cdn: Cdn,
    root: PathBuf,
}

impl Site {
    fn new() -> Option<Self> {
        let all = Bucket::public_part()?;
        let (cdn, bucket) = (Cdn::before(&all.url()), all.below("images"));
        let root = fresh_dir();
        fs::create_dir(root.join("images")).unwrap();
        bucket.put("logo.png", b"a logo");
        Some(Self { bucket, cdn, root })
    }

    fn options(&self, more: &str) -> String {
        let dir = self.root.join("images");
        format!("freshness=strict,dir={},{more}", dir.display())
    }

    /// With a prober that is in a hurry, and does as `more` says.
    fn looked_at(&self, more: &str) -> Mount {
        let hurry = "cdn_probe=logo.png,cdn_probe_interval=100ms,cdn_probe_timeout=5s,cdn_up_after=3";
        let (cdn, hold) = (self.cdn.address(), HOLD.as_secs());
        let urls = format!("cdn_url={cdn}/images/{{path}},site_url=http://www.example.org/images");
        self.bucket.mount_with(&self.options(&format!("{urls},{hurry},cdn_hold={hold}s,{more}")))
    }
}

/// `GET /v1/base`, as anybody asks on the socket.
fn base(socket: &str) -> Value {
    let (code, said) = run(["curl", "--silent", "--fail", "--unix-socket", socket, "http://localhost/v1/base"]);
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap()
}

fn status(mount: &Mount) -> Value {
    let (_, said) = run([env!("CARGO_BIN_EXE_originfs"), "status", "--json", mount.dir().to_str().unwrap()]);
    serde_json::from_str(&said).unwrap()
}

#[test]
fn redirects_go_to_the_cdn_while_it_lives_and_not_before_it_has_lived_for_a_while() {
    let Some(site) = Site::new() else { return };
    let map = site.root.join("cdn.map");
    let Some(nginx) = Nginx::redirecting(&site.root, site.cdn.address(), &map) else { return };
    let reload = format!("nginx -s reload -c {}", nginx.config().display());
    let mount = site.looked_at(&format!("cdn_map={},cdn_reload={reload}", map.display()));
    mount.write("a b.png", PICTURE);
    let shown = || nginx.visit("/images/a%20b.png?v=1");
    let by_cdn = || shown() == (site.cdn.address().to_owned(), 200, PICTURE.to_vec());
    let by_site = || shown() == (nginx.address(), 200, PICTURE.to_vec());
    eventually("the CDN shows it", by_cdn);

    let killed = clock::now();
    site.cdn.be(Manner::Dead);
    // While nginx reloads, its old worker still answers some.
    eventually("the site shows it, and no old worker answers", || (0..20).all(|_| by_site()));
    for _ in 0..20 {
        assert!(by_site(), "and does not send anybody to the CDN");
    }
    site.cdn.be(Manner::Fine);
    eventually("the CDN shows it again", by_cdn);
    assert!(killed.elapsed() > HOLD, "not before the hold time is over: {:?}", killed.elapsed());
    let log = mount.log();
    assert_eq!(log.matches("the CDN is down").count(), 1, "{log}");
    assert_eq!(log.matches("the CDN is up again").count(), 1, "{log}");
}

#[test]
fn a_proxy_shows_what_the_cdn_does_not_at_every_single_visit() {
    let Some(site) = Site::new() else { return };
    let Some(nginx) = Nginx::proxying(&site.root, site.cdn.address()) else { return };
    let mount = site.bucket.mount_with(&site.options(""));
    mount.write("a b.png", PICTURE);
    for manner in [Manner::Fine, Manner::Dead, Manner::Fails, Manner::Mute, Manner::Fine, Manner::EveryOther] {
        site.cdn.be(manner);
        site.cdn.take_asked();
        for _ in 0..4 {
            assert_eq!(nginx.visit("/images/a%20b.png"), (nginx.address(), 200, PICTURE.to_vec()), "{manner:?}");
        }
        let asked = site.cdn.take_asked();
        assert_eq!(asked.is_empty(), manner == Manner::Dead, "{manner:?}: {asked:?}");
        assert!(asked.iter().all(|path| path == "/images/a%20b.png"), "{asked:?}");
    }
    assert_eq!(nginx.visit("/images/none.png").1, 404);
}

#[test]
fn an_edge_that_fails_every_other_time_is_left_once_and_for_all() {
    let Some(site) = Site::new() else { return };
    let socket = site.root.join("base.sock");
    let socket = socket.to_str().unwrap();
    let mount = site.looked_at(&format!("cdn_socket={socket}"));
    site.cdn.be(Manner::EveryOther);
    eventually("it is left", || base(socket)["cdn_up"] == false);
    let looks = || status(&mount)["outage"]["looks"].as_u64().unwrap();
    let before = looks();
    // Three times the hold time.
    eventually("it was looked at for long", || looks() > before + 60);
    assert_eq!(base(socket)["base_url"], "http://www.example.org/images");
    let log = mount.log();
    assert_eq!((log.matches("the CDN is down").count(), log.matches("up again").count()), (1, 0), "{log}");
}

#[test]
fn error_pages_and_silence_are_an_outage_and_programs_are_told() {
    let Some(site) = Site::new() else { return };
    let socket = site.root.join("base.sock");
    let socket = socket.to_str().unwrap();
    let mount = site.looked_at(&format!("cdn_probe_timeout=1s,cdn_socket={socket}"));
    let cdn = format!("{}/images", site.cdn.address());
    for manner in [Manner::Strange, Manner::Mute] {
        eventually("the CDN is up", || base(socket)["base_url"] == *cdn);
        site.cdn.be(manner);
        eventually("it is down", || base(socket)["base_url"] == "http://www.example.org/images");
        site.cdn.be(Manner::Fine);
    }
    eventually("the CDN is up", || base(socket)["base_url"] == *cdn);
    // As PHP asks, and as root on the socket of the mount itself. On one line, as commands are here.
    let ask = format!(r#"$s = stream_socket_client("unix://{socket}"); fwrite($s, "GET /v1/base HTTP/1.0\r\n\r\n");"#);
    let show = r#"echo json_decode(explode("\r\n\r\n", stream_get_contents($s), 2)[1])->base_url;"#;
    assert_eq!(run(["php", "-n", "-r", &format!("{ask} {show}")]), (0, cdn));
    let own = originfs::telemetry::control::path(&originfs::telemetry::control::directory().unwrap(), mount.dir());
    assert_eq!(base(own.to_str().unwrap()), base(socket));
    assert_eq!(mount.stop(), 0);
    assert!(!std::path::Path::new(socket).exists(), "it goes with the mount");
}

#[test]
fn what_is_down_at_the_end_of_a_run_is_down_in_the_next() {
    let Some(site) = Site::new() else { return };
    let socket = site.root.join("base.sock");
    let socket = socket.to_str().unwrap();
    let more = format!("cdn_socket={socket},cache_dir={}", site.root.join("cache").display());
    let mount = site.looked_at(&more);
    site.cdn.be(Manner::Dead);
    eventually("it is down", || base(socket)["cdn_up"] == false);
    assert_eq!(mount.stop(), 0);
    site.cdn.be(Manner::Fine);
    let again = site.looked_at(&more);
    assert_eq!(base(socket)["cdn_up"], false, "a restart is no recovery");
    eventually("it is up", || base(socket)["cdn_up"] == true);
    drop(again);
}
