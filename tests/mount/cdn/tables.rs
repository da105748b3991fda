//! The tables `[[cdn]]` of the documents: each is one that a mount takes, and has what changes purged at an edge with the API
//! of its vendor. Places alone are others.

use std::fs;

use originfs::{
    cdn::{
        purge::setup,
        url::{Base, Family, Mapper},
    },
    config::file::File,
    model::key::Prefix,
};

use super::{
    documented::PAGE,
    edge::{Edge, TOKEN},
    signed::{AWS, EDGERC},
};
use crate::harness::{Bucket, eventually, fresh_dir, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_originfs");
const OPERATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md");

/// Files of mounts with a table of a CDN.
fn tables(page: &str) -> Vec<&str> {
    let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.filter(|block| block.contains("[[cdn]]")).collect()
}

#[test]
fn a_mount_takes_each_table_of_the_pages() {
    let pages = [PAGE, OPERATIONS].map(fs::read_to_string);
    let mut vendors = Vec::new();
    for page in pages.map(Result::unwrap) {
        for table in tables(&page) {
            let file = File::parse(table).unwrap_or_else(|err| panic!("{err}:\n{table}"));
            let (prefix, base) =
                (Prefix::parse("images").unwrap(), Base::parse("https://a.example", Family::Cdn).unwrap());
            let public = Mapper::new(prefix.clone(), vec![base]);
            let stations = setup::stations(&file.cdn, &prefix, &public).unwrap_or_else(|err| panic!("{err}:\n{table}"));
            vendors.extend(stations.into_iter().map(|planned| planned.station.name));
            // And the rest of the file, as a mount reads it.
            let path = fresh_dir().join("images.toml");
            let mut text = table.to_owned();
            if !text.contains("[options]") {
                text = format!("[options]\ncdn_url = 'https://cdn.example.org'\n{text}");
            }
            if !text.contains("source = ") {
                text = format!("source = 'site-bucket:/images'\ndirectory = '/var/www/html/images'\n{text}");
            }
            fs::write(&path, text).unwrap();
            let emit = [PROGRAM, "cdn", "rules", "emit", "--format", "nginx", "--origin", "http://127.0.0.1:8080"];
            let (code, said) = run(emit.into_iter().chain([path.to_str().unwrap()]));
            assert_eq!(code, 0, "{said}\n{table}");
        }
    }
    for vendor in ["cloudflare", "cloudfront", "digitalocean", "bunny", "fastly", "keycdn", "akamai", "http 10.0.0.1"] {
        assert!(vendors.iter().any(|known| known.starts_with(vendor)), "no table of {vendor}: {vendors:?}");
    }
}

/// The table of each vendor, before an edge with its API: what changes is purged, and the commands of the page say so.
#[test]
fn the_tables_of_the_page_purge() {
    let page = fs::read_to_string(PAGE).unwrap();
    for table in tables(&page) {
        let file = File::parse(table).unwrap();
        let vendor = &file.cdn[0].vendor;
        // Caches of one's own are tried as programs, and those of the page are at other addresses.
        let Some(secret) = file.cdn[0].token_file.as_ref().filter(|_| vendor != "http") else { continue };
        let Some(bucket) = Bucket::public_part() else { return };
        let (edge, dir) = (Edge::before(&bucket.url()), fresh_dir());
        let text = match &**vendor {
            "cloudfront" => AWS,
            "akamai" => EDGERC,
            _ => TOKEN,
        };
        fs::write(dir.join(secret), text).unwrap();
        // Places alone are others.
        let own = ["source", "directory", "endpoint", "region", "acl", "cdn_url", "site_url", "site"];
        let is_own = |line: &&str| !own.iter().any(|name| line.starts_with(&format!("{name} = ")));
        let lines: Vec<&str> = table.lines().filter(is_own).collect();
        let lines = lines.join("\n").replace("[options]", "");
        let (options, table) = lines.split_once("[[cdn]]").unwrap();
        let address = edge.address();
        let text = format!(
            "[options]\ncdn_url = '{address}/{{path}}'\n{options}\n[[cdn]]{table}\napi = '{address}'\nrepurge_after = 0\n"
        );
        fs::write(dir.join("images.toml"), text).unwrap();
        let mount = bucket.mount_with(&format!("freshness=strict,config={}", dir.join("images.toml").display()));
        let see = || edge.look("http", "/logo.png", "").0;
        for content in ["1", "2"] {
            see();
            mount.write("logo.png", content);
            let status = || run([PROGRAM, "cdn", "status", mount.dir().to_str().unwrap()]);
            eventually(&format!("{vendor} purges it"), || status().1.contains(": 0 changes to be purged"));
            assert_eq!(see().body, content.as_bytes(), "{vendor}");
            assert!(status().1.contains(&**vendor), "{}", status().1);
        }
        let path = mount.path("logo.png");
        let (code, said) = run([PROGRAM, "cdn", "verify", path.to_str().unwrap()]);
        assert_eq!(code, 0, "{vendor}: {said}");
        assert!(!edge.calls().is_empty(), "{vendor} was asked");
        assert_eq!(mount.stop(), 0);
    }
}
