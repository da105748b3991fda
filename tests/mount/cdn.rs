//! A CDN in front of the bucket shows what was written last, whatever happens to the mounts that wrote it.

mod admin;
mod beside;
mod direct;
mod documented;
mod edge;
mod keyed;
mod property;
mod real;
mod rules;
mod rulesets;
mod signed;
mod tables;
mod versions;

use std::{fs, path::PathBuf};

use nix::sys::signal::Signal;

use crate::harness::{Bucket, Mount, eventually, fresh_dir};
use edge::{Broken, Edge, TOKEN, ZONE};
use signed::{AWS, DISTRIBUTION, EDGERC};

/// Origin of a page that draws images on a canvas.
const PAGE: &str = "https://www.example.com";

struct Site {
    bucket: Bucket,
    edge: Edge,
    dir: PathBuf,
}

impl Site {
    /// With a CDN, if tests can mount; `vendor` is what the table says beside its URLs, which are those of the mount.
    fn new(vendor: &str) -> Option<Self> {
        let bucket = Bucket::public_part()?;
        let edge = Edge::before(&bucket.url());
        let dir = fresh_dir();
        let vendor = vendor.replace("EDGE", edge.address()).replace("DIR", dir.to_str().unwrap());
        for (name, secret) in [("token", TOKEN), ("aws", AWS), ("edgerc", EDGERC)] {
            fs::write(dir.join(name), format!("{secret}\n")).unwrap();
        }
        fs::write(
            dir.join("site.toml"),
            format!("[options]\ncdn_url = '{}/{{path}}'\n[[cdn]]\n{vendor}", edge.address()),
        )
        .unwrap();
        Some(Self { bucket, edge, dir })
    }

    fn http() -> Option<Self> {
        Self::new("vendor = 'http'\nedges = 'EDGE'\nbelow = 'star'\nrepurge_after = 0\n")
    }

    fn cloudflare() -> Option<Self> {
        let table = format!("vendor = 'cloudflare'\napi = 'EDGE'\nzone = '{ZONE}'\ntoken_file = 'token'\n");
        Self::new(&format!("{table}plan = 'enterprise'\norigins = ['{PAGE}']\nrepurge_after = 1\n"))
    }

    fn cloudfront(more: &str) -> Option<Self> {
        let table = format!("vendor = 'cloudfront'\napi = 'EDGE'\nzone = '{DISTRIBUTION}'\ntoken_file = 'aws'\n");
        Self::new(&format!("{table}{more}"))
    }

    fn akamai() -> Option<Self> {
        Self::new("vendor = 'akamai'\napi = 'EDGE'\ntoken_file = 'edgerc'\nrepurge_after = 1\n")
    }

    /// With vendors that want a key.
    fn keyed() -> [Option<Self>; 4] {
        let numbers = [("digitalocean", keyed::ENDPOINT), ("bunny", keyed::NUMBER), ("fastly", keyed::SERVICE)];
        let all = [numbers[0], numbers[1], numbers[2], ("keycdn", keyed::NUMBER)];
        // Their buckets are small: each change is purged once.
        all.map(|(vendor, zone)| {
            Self::new(&format!(
                "vendor = '{vendor}'\napi = 'EDGE'\nzone = '{zone}'\ntoken_file = 'token'\nrepurge_after = 0\n"
            ))
        })
    }

    fn options(&self) -> String {
        format!("freshness=strict,config={}", self.dir.join("site.toml").display())
    }

    fn mount(&self) -> Mount {
        self.bucket.mount_with(&self.options())
    }

    /// What visitors see of `name`, of every variant, each of which is kept from now on.
    fn seen(&self, name: &str) -> [Option<String>; 4] {
        [("http", ""), ("http", PAGE), ("https", ""), ("https", PAGE)].map(|(scheme, origin)| {
            let (answer, _) = self.edge.look(scheme, &format!("/{name}"), origin);
            (answer.status == 200).then(|| String::from_utf8(answer.body).unwrap())
        })
    }

    #[track_caller]
    fn shows(&self, name: &str, content: Option<&str>) {
        let expect = [(); 4].map(|()| content.map(str::to_owned));
        eventually(&format!("{name} is {content:?}"), || self.seen(name) == expect);
    }
}

#[test]
fn what_changes_is_seen_at_the_edge_and_a_404_does_not_stay() {
    let signed = [Site::cloudfront("repurge_after = 1\n"), Site::akamai()];
    for site in [Site::http(), Site::cloudflare()].into_iter().chain(signed).chain(Site::keyed()) {
        let Some(site) = site else { return };
        let mount = site.mount();
        site.shows("a.jpg", None);
        mount.write("a.jpg", "1");
        site.shows("a.jpg", Some("1"));
        mount.write("a.jpg", "2");
        site.shows("a.jpg", Some("2"));
        site.shows("b.jpg", None);
        fs::rename(mount.path("a.jpg"), mount.path("b.jpg")).unwrap();
        site.shows("a.jpg", None);
        site.shows("b.jpg", Some("2"));
        fs::remove_file(mount.path("b.jpg")).unwrap();
        site.shows("b.jpg", None);
        assert_eq!(mount.stop(), 0);
    }
}

#[test]
fn cloudfront_is_asked_once_for_a_batch_and_within_its_budget() {
    let Some(site) = Site::cloudfront("repurge_after = 0\nbudget = 3\nversions = false\n") else { return };
    let mount = site.mount();
    let status = || run(&mount, &["status"]).1;
    let paid = |count: u32| eventually("it is counted", || status().contains(&format!("{count} of 3 paths")));
    // It purges, and the answer is lost: what is sent again is the same invalidation.
    site.edge.break_it(Some(Broken::Mute));
    mount.write("a.jpg", "1");
    eventually("it was asked", || !site.edge.calls().is_empty());
    site.edge.break_it(None);
    paid(1);
    assert_eq!(site.edge.calls(), [""; 0]);
    mount.write("a.jpg", "2");
    paid(2);
    site.shows("a.jpg", Some("2"));
    assert_eq!(site.edge.calls(), ["invalidation /a.jpg"]);
    mount.write("b.jpg", "1");
    paid(3);
    site.shows("b.jpg", Some("1"));
    mount.write("b.jpg", "2");
    eventually("the status tells of it", || status().contains("paused: the budget of this month is spent"));
    assert!(mount.log().contains("cloudfront: purges wait: the budget"), "{}", mount.log());
    assert_eq!(site.seen("b.jpg")[0].as_deref(), Some("1"));
    let secret = AWS.lines().find_map(|line| line.strip_prefix("aws_secret_access_key = ")).unwrap();
    assert!(!status().contains(secret) && !mount.log().contains(secret), "nobody shows the secret");
}

/// One that comes after all that edges may have fetched meanwhile.
#[test]
fn a_change_costs_one_path_where_paths_are_paid_for() {
    let Some(site) = Site::cloudfront("repurge_after = 1\nversions = false\n") else { return };
    let mount = site.mount();
    let status = || run(&mount, &["status"]).1;
    for (count, content) in [(1, "1"), (2, "2")] {
        mount.write("a.jpg", content);
        // Kept by the edge before or after the change.
        site.seen("a.jpg");
        eventually("it is purged", || status().contains(": 0 changes to be purged"));
        assert!(status().contains(&format!("{count} of 1000 paths")), "{}", status());
        assert_eq!(site.seen("a.jpg"), [(); 4].map(|()| Some(content.to_owned())));
    }
    assert_eq!(site.edge.calls(), ["invalidation /a.jpg"; 2]);
    // What has not settled goes with the mount, and what was not sure then the next one makes sure of.
    mount.write("a.jpg", "3");
    assert_eq!(mount.stop(), 0);
    assert!(site.edge.calls().contains(&"invalidation /a.jpg".to_owned()));
}

#[test]
fn a_vendor_with_a_key_is_asked_for_everything_and_waits_for_the_right_key() {
    for site in Site::keyed() {
        let Some(site) = site else { return };
        let mount = site.mount();
        let at = mount.dir().to_str().unwrap();
        mount.write("a.jpg", "1");
        site.shows("a.jpg", Some("1"));
        // Behind the mount's back: nobody purges that.
        site.bucket.put("a.jpg", b"2");
        assert_eq!(site.seen("a.jpg")[0].as_deref(), Some("1"));
        let (code, said) = run(&mount, &["purge", "--at", at, "--everything", "--yes"]);
        assert_eq!(code, 0, "{said}");
        site.shows("a.jpg", Some("2"));
        fs::write(site.dir.join("token"), "another-secret").unwrap();
        mount.write("a.jpg", "3");
        let status = || run(&mount, &["status"]).1;
        eventually("the status tells of it", || status().contains("paused: 401"));
        assert!(!status().contains("another-secret") && !mount.log().contains("another-secret"));
        fs::write(site.dir.join("token"), TOKEN).unwrap();
        assert_eq!(run(&mount, &["purge", "--retry", "--at", at]).0, 0);
        site.shows("a.jpg", Some("3"));
        assert_eq!(mount.stop(), 0);
    }
}

#[test]
fn names_of_all_kinds_are_purged_under_their_urls() {
    let Some(site) = Site::http() else { return };
    let mount = site.mount();
    for (name, url) in
        [("a b.jpg", "a%20b.jpg"), ("\u{e4}?#.jpg", "%C3%A4%3F%23.jpg"), ("100%+1.jpg", "100%25%2B1.jpg")]
    {
        mount.write(name, "1");
        site.shows(url, Some("1"));
        mount.write(name, "2");
        site.shows(url, Some("2"));
    }
}

#[test]
fn a_directory_that_moves_takes_its_old_urls_along() {
    let Some(site) = Site::cloudflare() else { return };
    let mount = site.mount();
    fs::create_dir(mount.path("d")).unwrap();
    for n in 0..60 {
        mount.write(&format!("d/{n}.jpg"), n.to_string());
    }
    for n in 0..60 {
        site.shows(&format!("d/{n}.jpg"), Some(&n.to_string()));
        assert_eq!(site.seen(&format!("e/{n}.jpg")), [(); 4].map(|()| None));
    }
    fs::rename(mount.path("d"), mount.path("e")).unwrap();
    for n in 0..60 {
        site.shows(&format!("d/{n}.jpg"), None);
        site.shows(&format!("e/{n}.jpg"), Some(&n.to_string()));
    }
}

#[test]
fn a_mount_that_is_killed_before_it_purges_does_so_when_it_comes_back() {
    let Some(site) = Site::cloudflare() else { return };
    let mount = site.mount();
    mount.write("a.jpg", "1");
    site.shows("a.jpg", Some("1"));
    site.edge.break_it(Some(Broken::Fails));
    mount.write("a.jpg", "2");
    assert_eq!(site.seen("a.jpg")[0].as_deref(), Some("1"), "the edge does not know yet");
    mount.signal(Signal::SIGKILL);
    assert_ne!(mount.wait(), 0);
    mount.detach();
    site.edge.break_it(None);
    let again = format!("{},dir={},cache_dir={}", site.options(), mount.dir().display(), mount.cache_dir().display());
    let mount = site.bucket.mount_with(&again);
    site.shows("a.jpg", Some("2"));
    drop(mount);
}

#[test]
fn a_vendor_in_trouble_keeps_nobody_waiting_and_is_told_of() {
    let Some(site) = Site::cloudflare() else { return };
    let mount = site.mount();
    site.edge.break_it(Some(Broken::Forbids));
    site.shows("a.jpg", None);
    let begun = originfs::clock::now();
    for n in 0..20 {
        mount.write("a.jpg", n.to_string());
    }
    assert!(begun.elapsed().as_secs() < 10, "closing does not wait for the vendor");
    let status = || run(&mount, &["status"]).1;
    eventually("the status tells of it", || status().contains("paused: 403"));
    assert!(!status().contains(TOKEN) && !mount.log().contains(TOKEN), "nobody shows the secret");
    site.edge.break_it(None);
    assert_eq!(run(&mount, &["purge", "--retry", "--at", mount.dir().to_str().unwrap()]).0, 0);
    site.shows("a.jpg", Some("19"));
    eventually("nothing is left", || status().contains("0 changes to be purged"));
}

#[test]
fn a_close_waits_for_the_purge_where_that_is_wanted() {
    let Some(site) = Site::cloudflare() else { return };
    let mount = site.bucket.mount_with(&format!("{},purge=sync,xattr", site.options()));
    let path = mount.path("a.jpg");
    let state = || crate::harness::run(["getfattr", "--only-values", "-n", "user.cdn.state", path.to_str().unwrap()]).1;
    for n in 0..5 {
        site.seen("a.jpg");
        mount.write("a.jpg", n.to_string());
        let seen = site.seen("a.jpg")[0].clone();
        // A host that is too slow says so.
        assert!(seen == Some(n.to_string()) || mount.log().contains("not purged within"), "{seen:?}");
    }
    eventually("also for the second time", || state().contains("purged"));
    site.edge.break_it(Some(Broken::Fails));
    mount.write("a.jpg", "durable");
    assert_eq!(site.bucket.body("a.jpg"), b"durable");
    assert!(state().contains("pending"), "{}", state());
    site.edge.break_it(None);
    assert_eq!(run(&mount, &["purge", "--retry", "--at", mount.dir().to_str().unwrap()]).0, 0);
    site.shows("a.jpg", Some("durable"));
    eventually("it knows", || state().contains("purged"));
}

/// `originfs cdn ...`
fn run(mount: &Mount, words: &[&str]) -> (i32, String) {
    let mut command = vec![env!("CARGO_BIN_EXE_originfs"), "cdn"];
    command.extend(words);
    if words == ["status"] {
        command.push(mount.dir().to_str().unwrap());
    }
    crate::harness::run(command)
}
