//! Rules as an administrator makes them, and as the programs that they are for read them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    documented::fragment,
    edge::{Edge, TOKEN, TagRule, ZONE},
    rulesets::Rulesets,
};
use crate::harness::{Bucket, eventually, fresh_dir, run};

const CACHE: &str = "http_request_cache_settings";
const HEADERS: &str = "http_response_headers_transform";
const PROGRAM: &str = env!("CARGO_BIN_EXE_originfs");

/// A rule of somebody else, written as nobody else would.
const OTHER: &str = r#"{"id":"theirs","ref":"theirs","expression":"(http.host eq \"shop.example.org\")","action":"set_cache_settings","action_parameters":{"cache":true,"edge_ttl":{"default":1e4,"mode":"override_origin","more":0.10}},"description":"caf\u00e9","enabled":false}"#;

/// The file of a mount whose site is behind Cloudflare.
fn site(api: &str, more: &str) -> PathBuf {
    let dir = fresh_dir();
    fs::write(dir.join("token"), format!("{TOKEN}\n")).unwrap();
    let file = dir.join("images.toml");
    let text = format!(
        "source = 'site:/images'\ndirectory = '/var/www/html/images'\n[options]\nsite_url = 'https://www.example.org/images'\nprivate = 'invoices/**'\n[[cdn]]\nvendor = 'cloudflare'\nsite = 'https://www.example.org/images'\nzone = '{ZONE}'\ntoken_file = 'token'\napi = '{api}'\n{more}"
    );
    fs::write(&file, text).unwrap();
    file
}

fn apply(file: &Path, more: &[&str]) -> (i32, String) {
    let words = [PROGRAM, "cdn", "rules", "apply", "--vendor", "cloudflare", file.to_str().unwrap()];
    run(words.into_iter().chain(more.iter().copied()))
}

fn emit(file: &Path, format: &str, more: &[&str]) -> (i32, String) {
    let words = [PROGRAM, "cdn", "rules", "emit", "--format", format, file.to_str().unwrap()];
    run(words.into_iter().chain(more.iter().copied()))
}

#[test]
fn rules_of_others_stay_as_they_are_and_a_second_time_changes_nothing() {
    let api = Rulesets::start();
    api.write(CACHE, &[OTHER]);
    let file = site(api.address(), "");
    let (code, said) = apply(&file, &["--dry-run"]);
    assert!(code == 0 && said.contains("http_request_cache_settings: 4 would change"), "{said}");
    assert!(said.contains("+ originfs_www_example_org_assets") && !said.contains(TOKEN), "{said}");
    assert!(api.calls().iter().all(|call| call.starts_with("GET ")), "a dry run writes nothing");

    let (code, said) = apply(&file, &[]);
    assert!(code == 0 && said.contains("http_response_headers_transform: 2 changed"), "{said}");
    let rules = api.rules(CACHE);
    assert_eq!((rules.len(), rules[0].as_str()), (5, OTHER));
    assert!(rules[4].contains("invoices") && rules[4].contains(r#""cache":false"#), "what is private comes last");
    api.calls();

    let (code, said) = apply(&file, &[]);
    assert!(code == 0 && said.matches("nothing to change").count() == 3, "{said}");
    assert!(api.calls().iter().all(|call| call.starts_with("GET ")));
    assert_eq!(api.rules(CACHE), rules);

    let (code, said) = apply(&file, &["--edge-ttl", "1d"]);
    assert!(code == 0 && said.contains("2678400") && said.contains("86400"), "{said}");
    assert_eq!(api.rules(CACHE)[0], OTHER);
    assert_eq!(api.rules(HEADERS).len(), 2);
}

#[test]
fn what_somebody_else_wrote_meanwhile_is_kept() {
    let api = Rulesets::start();
    api.write(CACHE, &[OTHER]);
    let late = OTHER.replace("theirs", "late");
    api.meanwhile(&late);
    let file = site(api.address(), "");
    let (code, said) = apply(&file, &[]);
    assert!(code == 0 && said.contains("theirs are kept"), "{said}");
    let rules = api.rules(CACHE);
    // It was gone for a moment, so it has another id.
    let after_id = |rule: &str| rule.split_once(',').unwrap().1.to_owned();
    assert_eq!((rules.len(), rules[0].as_str(), after_id(&rules[1])), (6, OTHER, after_id(&late)));
    assert!(apply(&file, &[]).1.matches("nothing to change").count() == 3);
}

/// `cache_tags` is metadata of a bucket, and only with the rule an edge knows of it.
#[test]
fn a_tag_is_purged_where_the_rule_is() {
    let Some(bucket) = Bucket::public_part() else { return };
    let (edge, api, dir) = (Edge::before(&bucket.url()), Rulesets::start(), fresh_dir());
    let table = format!(
        "cache_tags = 'Example.org'\n[[cdn]]\nvendor = 'cloudflare'\nzone = '{ZONE}'\ntoken_file = 'token'\nrepurge_after = 0\n"
    );
    let hosts = "cdn_url = 'https://cdn.example.org'\nsite_url = 'https://www.example.org/images'\n";
    let source = "source = 'site:/images'\ndirectory = '/var/www/html/images'\n";
    let rules = format!("{source}[options]\n{hosts}{table}api = '{}'\n", api.address());
    let site = format!("[options]\ncdn_url = '{0}/{{path}}'\n{table}api = '{0}'\n", edge.address());
    for (name, text) in [("token", TOKEN), ("rules.toml", &rules), ("site.toml", &site)] {
        fs::write(dir.join(name), text).unwrap();
    }
    let mount = bucket.mount_with(&format!("freshness=strict,config={}", dir.join("site.toml").display()));
    fs::create_dir_all(mount.path("2026/11")).unwrap();
    let names = ["a.jpg", "2026/11/b.jpg"];
    let seen = || names.map(|name| String::from_utf8(edge.look("http", &format!("/{name}"), "").0.body).unwrap());
    let write = |content: &str| {
        for name in names {
            mount.write(name, content);
        }
        eventually("it is purged", || super::run(&mount, &["status"]).1.contains(": 0 changes to be purged"));
        assert_eq!(seen(), [content; 2]);
        // Behind the mount's back: nobody purges that.
        for name in names {
            bucket.put(name, b"theirs");
        }
    };
    let purge = |tag: &str| {
        edge.calls();
        let (code, said) = super::run(&mount, &["purge", "--at", mount.dir().to_str().unwrap(), "--tag", tag]);
        assert_eq!(code, 0, "{said}");
        eventually("the vendor takes it", || edge.calls() == ["tags 1"]);
    };
    write("1");
    purge("example.org");
    assert_eq!(seen(), ["1"; 2], "without the rule nothing has a tag");

    assert_eq!(apply(&dir.join("rules.toml"), &[]).0, 0);
    let rules = api.rules("http_response_cache_settings");
    edge.tag_by(rules.iter().find_map(|rule| TagRule::of(rule)).unwrap());
    assert!(rules[1].contains(r#""values":["example.org"]"#), "files of the site have one tag: {}", rules[1]);
    write("2");
    purge("example.org/2026");
    assert_eq!(seen(), ["2", "theirs"]);
    purge("EXAMPLE.org");
    assert_eq!(seen(), ["theirs"; 2]);
}

#[test]
fn what_a_plan_does_not_have_is_told_before_anything_is_sent() {
    let api = Rulesets::start();
    let file = site(api.address(), "");
    let (code, said) = apply(&file, &["--edge-ttl", "60"]);
    assert!(code == 1 && said.contains("the least on this plan is 7200 s"), "{said}");
    assert_eq!(api.calls(), [""; 0]);
    assert_eq!(emit(&file, "cloudflare-json", &["--edge-ttl", "60", "--plan", "business"]).0, 0);
    let many: Vec<String> = (0..8).map(|n| OTHER.replace("theirs", &format!("r{n}"))).collect();
    api.write(CACHE, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let (code, said) = apply(&file, &[]);
    assert!(code == 2 && said.contains("12 cache rules with those of others: the plan has 10"), "{said}");
    assert_eq!(api.rules(CACHE), many);
}

#[test]
fn a_token_that_lacks_something_is_told_and_never_shown() {
    let api = Rulesets::start();
    let file = site(api.address(), "");
    fs::write(file.with_file_name("token"), "another-secret").unwrap();
    let (code, said) = apply(&file, &[]);
    assert!(code == 2 && said.contains("Zone > Cache Rules > Edit"), "{said}");
    assert!(!said.contains("another-secret"), "{said}");
    fs::remove_file(file.with_file_name("token")).unwrap();
    assert_eq!(apply(&file, &[]).0, 1);
    // What it may not see and need not.
    fs::write(file.with_file_name("token"), TOKEN).unwrap();
    api.hide("http_response_cache_settings");
    let (code, said) = apply(&file, &[]);
    assert!(code == 0 && said.contains("whether rules of ours are left there is not known"), "{said}");
    assert_eq!(api.rules(CACHE).len(), 4);
    let text = fs::read_to_string(&file).unwrap().replace("[options]", "[options]\ncache_tags = 'site'");
    fs::write(&file, text).unwrap();
    let (code, said) = apply(&file, &[]);
    assert!(code == 2 && said.contains("cache response rules: 403"), "{said}");
}

/// A program that is to judge rules. `None`: it is not here, which is a failure where `CI` is set.
fn program(path: &str) -> Option<&str> {
    let there = Path::new(path).exists();
    assert!(there || std::env::var_os("CI").is_none(), "no {path}: scripts/setup edges");
    if !there {
        println!("skipped: no {path}");
    }
    there.then_some(path)
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cdn/rules/golden").join(name)
}

#[track_caller]
fn accepts(words: &[&str]) {
    let (code, said) = run(words.iter().copied());
    let tail = &said[said.len().saturating_sub(2000)..];
    assert_eq!(code, 0, "{tail}");
}

#[test]
fn nginx_varnish_and_apache_take_their_rules() {
    let dir = fresh_dir();
    let at = dir.display();
    if let Some(nginx) = program("/usr/sbin/nginx") {
        let rules = fs::read_to_string(golden("nginx.conf")).unwrap();
        fs::write(dir.join("rules.conf"), rules.replace("/var/cache/nginx", dir.to_str().unwrap())).unwrap();
        let module = "/usr/lib/nginx/modules/ngx_http_cache_purge_module.so";
        let text = format!(
            "load_module {module};\npid {at}/pid;\nerror_log {at}/log;\nevents {{}}\nhttp {{ include {at}/rules.conf; }}\n"
        );
        fs::write(dir.join("nginx.conf"), text).unwrap();
        if program(module).is_some() {
            accepts(&[nginx, "-t", "-c", &format!("{at}/nginx.conf")]);
        }
    }
    if let Some(varnish) = program("/usr/sbin/varnishd") {
        accepts(&[varnish, "-C", "-n", &format!("{at}/varnish"), "-f", golden("varnish.vcl").to_str().unwrap()]);
    }
    if let Some(apache) = program("/usr/sbin/apache2") {
        let modules = ["mpm_event", "headers", "authz_core"];
        let loads = modules.map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
        let text = format!(
            "ServerName localhost\n{}Listen 127.0.0.1:8099\nPidFile {at}/apid\nErrorLog {at}/alog\nInclude {}\n",
            loads.concat(),
            golden("apache.conf").display()
        );
        fs::write(dir.join("apache.conf"), text).unwrap();
        accepts(&[apache, "-t", "-f", &format!("{at}/apache.conf")]);
    }
}

/// Recipes of docs/CDN.md: pages, and tags.
#[test]
fn nginx_and_varnish_take_the_recipes_of_the_page() {
    let dir = fresh_dir();
    let at = dir.display();
    if let Some(nginx) = program("/usr/sbin/nginx") {
        let http = fragment("pages-http").replace("/var/cache/nginx", dir.to_str().unwrap());
        let location = fragment("pages-server");
        let text = format!(
            "pid {at}/pid;\nerror_log {at}/log;\nevents {{}}\nhttp {{\n{http}server {{ listen 127.0.0.1:8098;\nlocation / {{\nproxy_pass http://127.0.0.1:8080;\n{location}}} }} }}\n"
        );
        fs::write(dir.join("nginx.conf"), text).unwrap();
        accepts(&[nginx, "-t", "-c", &format!("{at}/nginx.conf")]);
    }
    if let Some(varnish) = program("/usr/sbin/varnishd") {
        let (pages, tags) = (fragment("pages-varnish"), fragment("fastly-fetch"));
        let text = format!(
            "vcl 4.1;\nbackend a {{ .host = \"127.0.0.1\"; }}\nsub vcl_recv {{\n{pages}}}\nsub vcl_backend_response {{\n{tags}}}\n"
        );
        fs::write(dir.join("pages.vcl"), text).unwrap();
        accepts(&[varnish, "-C", "-n", &format!("{at}/varnish"), "-f", &format!("{at}/pages.vcl")]);
    }
}

/// What the functions for `CloudFront` do, run by Node.
const FUNCTIONS: &str = r#"
const fs = require('fs'), assert = require('assert');
const of = (part) => new Function(JSON.parse(fs.readFileSync(process.argv[2])).Resources[part].Properties.FunctionCode + ';return handler;')();
const request = of('Request'), response = of('Response');
const status = (uri) => request({ request: { uri } }).statusCode || 200;
for (const uri of ['/images/a.png', '/images/2026/a%20b.png', '/wp-content/uploads/a.pdf']) assert.equal(status(uri), 200, uri);
for (const uri of ['/', '/images/', '/images/2026/', '/other', '/images/.env', '/images/a.PHP', '/images/%2Eenv',
    '/images/a.%70hp', '/images/x%2F.git/config', '/wp-content/uploads/woocommerce_uploads/a.pdf'])
    assert.equal(status(uri), 404, uri);
const said = (uri, v, headers, statusCode = 200) =>
    response({ request: { uri, querystring: v ? { v: { value: v } } : {} }, response: { statusCode, headers } }).headers;
assert.match(said('/a.png', '0123456789ab', {})['cache-control'].value, /immutable/);
assert.equal(said('/a.png', 'nothing', {})['cache-control'], undefined);
assert.equal(said('/a.png', '0123456789ab', { 'cache-control': { value: 'private' } })['cache-control'].value, 'private');
assert.equal(said('/a.png', '0123456789ab', {}, 404)['cache-control'], undefined);
const etag = (value) => ({ etag: { value }, 'cache-control': { value: 'max-age=5' } });
const own = '"0123456789ab' + 'c'.repeat(20) + '"', other = '"' + 'c'.repeat(32) + '"';
for (const is of [own, 'W/' + own, '"an-etag-of-another-kind"'])
    assert.match(said('/a.png', '0123456789ab', etag(is))['cache-control'].value, /immutable/, is);
for (const is of [other, 'W/' + other])
    assert.equal(said('/a.png', '0123456789ab', etag(is))['cache-control'].value, 'max-age=5', is);
assert.match(said('/a.SVG', '', {})['content-security-policy'].value, /sandbox/);
assert.equal(said('/a.png', '', {})['content-security-policy'], undefined);
"#;

#[test]
fn functions_of_cloudfront_refuse_what_is_private() {
    let Some(node) = program("/usr/bin/node") else { return };
    let script = fresh_dir().join("functions.js");
    fs::write(&script, FUNCTIONS).unwrap();
    accepts(&[node, script.to_str().unwrap(), golden("cloudfront.json").to_str().unwrap()]);
}

#[test]
fn each_format_comes_from_the_file_of_a_mount() {
    let file = site("https://api.example", "origins = ['https://www.example.org']\n");
    for (format, part) in [
        ("cloudflare-json", "starts_with(http.request.uri.path, \\\"/images/\\\")"),
        ("terraform", "phase   = \"http_request_cache_settings\""),
        ("cloudfront", "AWS::CloudFront::CachePolicy"),
        ("nginx", "        allow 127.0.0.1;\n        deny all;\n        proxy_cache_purge originfs "),
        ("varnish", "origin_0"),
        ("apache", "<LocationMatch \"^/images/\">"),
        ("s3-cors", "\"https://www.example.org\""),
    ] {
        let own = ["--origin", "http://127.0.0.1:8080"];
        let (code, said) = emit(&file, format, if matches!(format, "nginx" | "varnish") { &own } else { &[] });
        assert!(code == 0 && said.contains(part), "{format}: {said}");
    }
    let (code, said) = emit(&file, "nginx", &[]);
    assert!(code == 1 && said.contains("--origin"), "{said}");
    let (code, said) = emit(&file, "nginx", &["--origin", "http://a", "--purger", "1;}"]);
    assert!(code == 1 && said.contains("is no address"), "{said}");
    let private = fresh_dir().join("filedir.toml");
    let text = "source = 'site:/filedir'\ndirectory = '/srv/moodledata/filedir'\n[options]\ncdn_url = 'https://cdn.example.org'\n";
    fs::write(&private, text).unwrap();
    let (code, said) = emit(&private, "cloudflare-json", &[]);
    assert!(code == 0 && said.contains("\"cache\": false") && !said.contains("\"cache\": true"), "{said}");
    assert_eq!(emit(&private, "cloudfront", &[]).0, 1);
}

#[test]
fn an_option_that_means_nothing_to_a_format_is_refused() {
    let file = site("https://api.example", "");
    for (format, option, value, useful) in [
        ("apache", "--origin", "http://a", "nginx, varnish"),
        ("varnish", "--listen", "80", "nginx"),
        ("cloudfront", "--purger", "10.0.0.1", "nginx, varnish"),
        ("nginx", "--plan", "pro", "cloudflare-json, terraform"),
        ("varnish", "--name", "a", "cloudflare-json, terraform, cloudfront"),
    ] {
        let (code, said) = emit(&file, format, &[option, value]);
        let expect = format!("{option} means nothing to --format {format}: it is for {useful}");
        assert!(code == 1 && said.contains(&expect), "{said}");
    }
}
