//! What an administrator says of a CDN, and asks of it.

use std::fs;

use super::{
    PAGE, Site,
    edge::{TOKEN, ZONE},
    run,
};
use crate::harness::{Mount, eventually, fresh_dir};

/// Exit code for what was done in part.
const PARTLY: i32 = 64;

fn purged(mount: &Mount) {
    eventually("all of it is purged", || run(mount, &["status"]).1.contains(": 0 changes to be purged"));
}

/// The lines about `http`: the edge speaks nothing else.
fn verified(mount: &Mount, path: &str) -> (i32, Vec<String>) {
    let (code, said) = run(mount, &["verify", "--at", mount.dir().to_str().unwrap(), path]);
    (code, said.lines().filter(|line| line.contains(" http://")).map(str::to_owned).collect())
}

fn words(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split(' ').next().unwrap()).collect()
}

#[test]
fn an_administrator_purges_and_verifies() {
    let Some(site) = Site::cloudflare() else { return };
    let mount = site.mount();
    let at = mount.dir().to_str().unwrap();
    mount.write("a.jpg", "1");
    purged(&mount);
    let url = format!("{}/a.jpg", site.edge.address());
    let version = format!("?v={}", site.edge.behind("/a.jpg").token().unwrap());
    assert_eq!(site.seen("a.jpg")[0].as_deref(), Some("1"));
    let (code, lines) = verified(&mount, "a.jpg");
    assert_eq!((code, words(&lines)), (0, vec!["fresh"; 4]), "{lines:?}");
    for (line, variant) in
        lines.iter().zip([String::new(), format!(" from {PAGE}"), version.clone(), format!("{version} from {PAGE}")])
    {
        assert!(line.starts_with(&format!("fresh  {url}{variant} (200")), "{line}: {variant}");
    }
    assert!(lines[0].contains(", age 0 s)") || lines[0].contains(", age 1 s)"), "{lines:?}");
    // Behind the mount's back: nobody purges that.
    site.bucket.put("a.jpg", b"2");
    assert_eq!(site.seen("a.jpg")[0].as_deref(), Some("1"));
    let (code, lines) = verified(&mount, "a.jpg");
    // Under its version nobody has asked for it yet.
    assert_eq!((code, words(&lines)), (PARTLY, vec!["STALE", "STALE", "fresh", "fresh"]), "{lines:?}");
    let (code, said) = run(&mount, &["purge", "--dry-run", "--at", at, "a.jpg"]);
    assert!(code == 0 && said.contains(&url), "{said}");
    assert_eq!(site.seen("a.jpg")[0].as_deref(), Some("1"));
    assert_eq!(run(&mount, &["purge", "--at", at, "a.jpg"]).0, 0);
    site.shows("a.jpg", Some("2"));
    assert_eq!(verified(&mount, "a.jpg").0, 0);
    fs::remove_file(mount.path("a.jpg")).unwrap();
    site.shows("a.jpg", None);
    purged(&mount);
    let (code, lines) = verified(&mount, "a.jpg");
    assert!(code == 0 && lines.iter().all(|line| line.starts_with("fresh") && line.contains("(404")), "{lines:?}");
    let (code, said) = run(&mount, &["purge", "--at", at, "--everything"]);
    assert!(code == 1 && said.contains("--yes"), "{said}");
}

#[test]
fn a_mount_that_tells_nobody_is_verified_at_its_urls() {
    let Some(site) = Site::new("vendor = 'exoscale'\n") else { return };
    let mount = site.mount();
    mount.write("a.jpg", "1");
    let url = format!("cdn_url={}/{{path}}", site.edge.address());
    let alone = site.bucket.mount_with(&format!("freshness=strict,{url}"));
    let reads = site.bucket.mount_with(&format!("{},ro", site.options()));
    for mount in [&mount, &alone, &reads] {
        eventually("it is there", || mount.path("a.jpg").exists());
        let (code, lines) = verified(mount, "a.jpg");
        assert_eq!((code, words(&lines)), (0, vec!["fresh"; 2]), "{lines:?}");
    }
    site.bucket.put("a.jpg", b"2");
    for mount in [&mount, &alone, &reads] {
        let (code, lines) = verified(mount, "a.jpg");
        assert_eq!((code, words(&lines)), (PARTLY, vec!["STALE", "fresh"]), "{lines:?}");
    }
    let nowhere = site.bucket.mount_with("freshness=strict");
    let (code, said) = run(&nowhere, &["verify", "--at", nowhere.dir().to_str().unwrap(), "a.jpg"]);
    assert!(code != 0 && said.contains("cdn_url=, site_url="), "{said}");
}

#[test]
fn a_secret_comes_from_a_file_a_variable_or_a_credential() {
    let credentials = fresh_dir();
    fs::write(credentials.join("cdn"), format!("{TOKEN}\n")).unwrap();
    let unit = format!(",CREDENTIALS_DIRECTORY={}", credentials.display());
    for (key, more, wrong) in [
        ("token_file = 'token'", "", None),
        ("token_env = 'CDN_SECRET'", &*format!(",CDN_SECRET={TOKEN}"), None),
        ("token_credential = 'cdn'", &unit, None),
        ("token_file = 'nothing'", "", Some("No such file")),
        ("token_env = 'CDN_SECRET'", "", Some("the variable CDN_SECRET is not set")),
        ("token_credential = 'cdn'", "", Some("no credentials (LoadCredential=)")),
        ("token_credential = 'other'", &unit, Some("No such file")),
    ] {
        let table = format!(
            "vendor = 'cloudflare'\napi = 'EDGE'\nzone = '{ZONE}'\norigins = ['{PAGE}']\nrepurge_after = 1\n{key}\n"
        );
        let Some(site) = Site::new(&table) else { return };
        let mount = site.bucket.mount_with(&format!("{}{more}", site.options()));
        site.shows("a.jpg", None);
        mount.write("a.jpg", "1");
        let status = || run(&mount, &["status"]).1;
        match wrong {
            None => site.shows("a.jpg", Some("1")),
            Some(why) => eventually(why, || status().contains("paused: ") && status().contains(why)),
        }
        assert!(!status().contains(TOKEN) && !mount.log().contains(TOKEN), "nobody shows the secret");
    }
}

#[test]
fn what_a_table_says_for_nothing_is_told() {
    let table = "vendor = 'http'\nedges = 'EDGE'\n";
    let Some(site) = Site::new(table) else { return };
    let reads = site.bucket.mount_with(&format!("{},ro", site.options()));
    assert!(reads.log().contains("nothing is purged: the mount is read-only"), "{}", reads.log());
    let Some(site) = Site::new("vendor = 'vultr'\nzone = '1'\n") else { return };
    let refused = site.bucket.try_mount(&site.options()).unwrap_err();
    assert!(refused.said.contains("zone: means nothing to this vendor"), "{}", refused.said);
}
