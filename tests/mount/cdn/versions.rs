//! URLs with a version in them, which edges and browsers keep for a year.

use std::fs;

use nix::sys::signal::Signal;

use super::{Site, edge::Broken, run};
use crate::harness::{Mount, eventually};

/// Writes, and gives the URL with the version that it got, when all is purged.
fn write(site: &Site, mount: &Mount, content: &str) -> String {
    mount.write("a.jpg", content);
    purged(mount);
    let token = site.edge.behind("/a.jpg").token().expect("it was written");
    format!("a.jpg?v={token}")
}

fn purged(mount: &Mount) {
    eventually("all of it is purged", || run(mount, &["status"]).1.contains(": 0 changes to be purged"));
}

fn sites() -> impl Iterator<Item = Site> {
    let signed = [Site::cloudfront("repurge_after = 1\n"), Site::akamai()];
    [Site::http(), Site::cloudflare()].into_iter().chain(signed).flatten()
}

/// An old page that is read while the bucket has something else leaves that at the edge, under the version of the page.
#[test]
fn what_returns_to_a_former_version_is_shown_under_it() {
    for site in sites() {
        let mount = site.mount();
        let first = write(&site, &mount, "A");
        site.shows(&first, Some("A"));
        let second = write(&site, &mount, "B");
        assert_ne!(first, second);
        site.shows(&second, Some("B"));
        site.shows(&first, Some("B"));
        assert_eq!(write(&site, &mount, "A"), first);
        site.shows(&first, Some("A"));
        assert_eq!(mount.stop(), 0);
    }
}

#[test]
fn what_is_deleted_is_gone_under_its_versions_too() {
    for site in sites() {
        let mount = site.mount();
        let first = write(&site, &mount, "A");
        site.shows(&first, Some("A"));
        fs::rename(mount.path("a.jpg"), mount.path("b.jpg")).unwrap();
        site.shows(&first, None);
        let moved = first.replace("a.jpg", "b.jpg");
        site.shows(&moved, Some("A"));
        fs::remove_file(mount.path("b.jpg")).unwrap();
        site.shows(&moved, None);
        assert_eq!(mount.stop(), 0);
    }
}

/// It knows no version of what it never saw, and asks before there is nothing to ask for.
#[test]
fn what_another_host_wrote_is_gone_under_its_version_when_it_is_deleted() {
    let Some(site) = Site::cloudflare() else { return };
    let url = write(&site, &site.mount(), "A");
    site.shows(&url, Some("A"));
    let mount = site.mount();
    fs::remove_file(mount.path("a.jpg")).unwrap();
    site.shows(&url, None);
    // Nor of what was replaced since it saw it, though it need not ask to delete that.
    let url = write(&site, &mount, "B");
    let late = format!("freshness=1h,config={}", site.dir.join("site.toml").display());
    let late = site.bucket.mount_with(&late);
    assert_eq!(late.read("a.jpg"), b"B");
    site.shows(&url, Some("B"));
    let url = write(&site, &mount, "C");
    site.shows(&url, Some("C"));
    fs::remove_file(late.path("a.jpg")).unwrap();
    site.shows(&url, None);
}

#[test]
fn a_mount_that_is_killed_before_it_purges_knows_the_versions_when_it_comes_back() {
    let Some(site) = Site::cloudflare() else { return };
    let mount = site.mount();
    let first = write(&site, &mount, "A");
    let second = write(&site, &mount, "B");
    site.shows(&first, Some("B"));
    site.shows(&second, Some("B"));
    site.edge.break_it(Some(Broken::Fails));
    mount.write("a.jpg", "A");
    fs::remove_file(mount.path("a.jpg")).unwrap();
    mount.write("a.jpg", "A");
    mount.signal(Signal::SIGKILL);
    assert_ne!(mount.wait(), 0);
    mount.detach();
    assert_eq!(site.seen(&first)[0].as_deref(), Some("B"), "the edge does not know yet");
    site.edge.break_it(None);
    let again = format!("{},dir={},cache_dir={}", site.options(), mount.dir().display(), mount.cache_dir().display());
    let next = site.bucket.mount_with(&again);
    site.shows(&first, Some("A"));
    site.shows(&second, Some("A"));
    drop((next, mount));
}

/// The plain URL, and those of the version before and of the one after.
#[test]
fn each_version_is_a_path_where_paths_are_paid_for() {
    let Some(site) = Site::cloudfront("repurge_after = 0\n") else { return };
    let mount = site.mount();
    let first = write(&site, &mount, "A");
    assert_eq!(site.edge.calls(), [format!("invalidation /a.jpg /{first}")]);
    let second = write(&site, &mount, "B");
    assert_eq!(site.edge.calls(), [format!("invalidation /a.jpg /{first} /{second}")]);
    let third = write(&site, &mount, "C");
    assert_eq!(site.edge.calls(), [format!("invalidation /a.jpg /{second} /{third}")]);
    let status = run(&mount, &["status"]).1;
    assert!(status.contains("8 of 1000 paths"), "{status}");
    drop(mount);
    let Some(site) = Site::cloudfront("repurge_after = 0\nversions = false\n") else { return };
    let mount = site.mount();
    write(&site, &mount, "A");
    assert_eq!(site.edge.calls(), ["invalidation /a.jpg"]);
}
