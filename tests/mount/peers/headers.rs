//! Headers that others set survive what is done here, and ours survive what they do, as far as that is up to us.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use super::{
    AT_FDCWD, Bucket, Peer, STORED, TimeSpec, UtimensatFlags, begin, chown, eventually, fresh_dir, fs, rclone, remote,
    run, store, utimensat,
};
use crate::harness::Mount;

const CACHE: &str = "public, max-age=7";

/// What a visitor gets, and what somebody keeps for himself; not the attributes of the file.
#[derive(Debug, Eq, PartialEq)]
struct Kept {
    headers: [Option<String>; 5],
    user: BTreeMap<String, String>,
}

fn kept(bucket: &Bucket, name: &str) -> Kept {
    let seen = bucket.see(name).unwrap_or_else(|| panic!("{name} is not there"));
    let mut user = seen.user;
    user.retain(|name, _| !["mode", "uid", "gid", "mtime", "atime", "ctime"].contains(&name.as_str()));
    let (disposition, language) = (seen.content_disposition, seen.content_language);
    Kept { headers: [seen.content_type, seen.cache_control, disposition, seen.content_encoding, language], user }
}

/// The AWS tools, which `scripts/setup peers` puts below `target`.
fn aws(bucket: &Bucket, words: &[&str]) {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/aws/bin/aws");
    let server = bucket.server;
    let (access, secret) = (&server.access_key, &server.secret_key);
    let env = [
        "env",
        &format!("AWS_ACCESS_KEY_ID={access}"),
        &format!("AWS_SECRET_ACCESS_KEY={secret}"),
        "AWS_DEFAULT_REGION=us-east-1",
        "AWS_REQUEST_CHECKSUM_CALCULATION=when_required",
        program,
        "--endpoint-url",
        &server.endpoint,
        "s3",
    ];
    let (code, said) = run(env.into_iter().chain(words.iter().copied()));
    assert_eq!(code, 0, "{said}");
}

/// Something with a single file, which rclone refuses where names are filtered.
fn rclone_one(bucket: &Bucket, words: &[&str]) {
    let mut command = rclone(bucket, words);
    command.retain(|word| !word.starts_with("--exclude"));
    let (code, said) = run(command.iter().map(String::as_str));
    assert_eq!(code, 0, "{said}");
}

/// An object as the AWS tools call it.
fn url(bucket: &Bucket, name: &str) -> String {
    format!("s3://{}/{name}", bucket.source().replacen(":/", "/", 1).trim_end_matches('/'))
}

/// All that changes metadata and leaves the bytes.
fn touch_all(bucket: &Bucket, mount: &Mount, name: &str) {
    let before = kept(bucket, name);
    let path = mount.path(name);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(kept(bucket, name), before, "{name} after chmod");
    chown(&path, Some(1234), Some(4321)).unwrap();
    assert_eq!(kept(bucket, name), before, "{name} after chown");
    let time = TimeSpec::new(1_580_702_706, 0);
    utimensat(AT_FDCWD, &path, &time, &time, UtimensatFlags::FollowSymlink).unwrap();
    assert_eq!(kept(bucket, name), before, "{name} after touch");
    let other = format!("moved-{name}");
    fs::rename(&path, mount.path(&other)).unwrap();
    assert_eq!(kept(bucket, &other), before, "{name} after rename");
}

#[test]
#[ignore = "needs the AWS tools: scripts/test peers"]
fn headers_of_the_aws_tools_stay() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, file) = (bucket.mount_with(STORED), fresh_dir().join("file"));
    store(&file, b"bytes").unwrap();
    let words = ["--cache-control", CACHE, "--content-disposition", "inline", "--content-language", "de"];
    let more = ["--content-type", "image/x-own", "--metadata", "own=kept"];
    let there = url(&bucket, "a.png");
    aws(&bucket, &[&["cp", "--quiet", file.to_str().unwrap(), &there], &words[..], &more].concat());
    let made = kept(&bucket, "a.png");
    assert_eq!(
        made.headers,
        ["image/x-own", CACHE, "inline", "", "de"].map(|text| (!text.is_empty()).then(|| text.to_owned()))
    );
    assert_eq!(made.user["own"], "kept");
    touch_all(&bucket, &mount, "a.png");
}

#[test]
#[ignore = "needs rclone: scripts/test peers"]
fn headers_of_rclone_stay() {
    let Some(bucket) = Bucket::fresh() else { return };
    let (mount, file) = (bucket.mount_with(STORED), fresh_dir().join("file"));
    store(&file, b"bytes").unwrap();
    let headers = ["Cache-Control: public, max-age=7", "Content-Disposition: inline", "Content-Language: de"];
    let headers = headers.map(|header| format!("--header-upload={header}"));
    let there = format!("{}/a.png", remote(&bucket).trim_end_matches('/'));
    let mut words = vec!["copyto", file.to_str().unwrap(), &there];
    words.extend(headers.iter().map(String::as_str));
    rclone_one(&bucket, &words);
    let made = kept(&bucket, "a.png");
    let [_, cache, disposition, _, language] = &made.headers;
    assert_eq!([cache, disposition, language].map(|text| text.as_deref().unwrap()), [CACHE, "inline", "de"]);
    touch_all(&bucket, &mount, "a.png");
}

#[test]
#[ignore = "needs s3fs: scripts/test peers"]
fn headers_of_s3fs_stay() {
    let Some(bucket) = Bucket::fresh() else { return };
    begin(&bucket);
    let rules = fresh_dir().join("ahbe");
    store(&rules, format!(".png Cache-Control {CACHE}\n.png X-Amz-Meta-Own kept\n")).unwrap();
    let peer = Peer::s3fs_with(&bucket, &format!(",ahbe_conf={}", rules.display()));
    let mount = bucket.mount_with(STORED);
    store(peer.dir.join("a.png"), b"bytes").unwrap();
    eventually("s3fs has written it", || bucket.see("a.png").is_some_and(|seen| seen.body == b"bytes"));
    let made = kept(&bucket, "a.png");
    assert_eq!((made.headers[1].as_deref(), made.user["own"].as_str()), (Some(CACHE), "kept"));
    touch_all(&bucket, &mount, "a.png");
}

/// Both copy inside the bucket and leave the metadata to it.
#[test]
#[ignore = "needs rclone and the AWS tools: scripts/test peers"]
fn our_headers_stay_when_others_move_files() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with(&format!("{STORED},cache_tags=site"));
    mount.write("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>");
    let made = kept(&bucket, "a.svg");
    assert!(made.headers[1].is_some() && made.headers[2].is_some() && !made.user.is_empty(), "{made:?}");
    let at = |name: &str| format!("{}/{name}", remote(&bucket).trim_end_matches('/'));
    rclone_one(&bucket, &["moveto", &at("a.svg"), &at("b.svg")]);
    assert_eq!(kept(&bucket, "b.svg"), made, "moved by rclone");
    aws(&bucket, &["mv", "--quiet", &url(&bucket, "b.svg"), &url(&bucket, "c.svg")]);
    assert_eq!(kept(&bucket, "c.svg"), made, "moved by the AWS tools");
}

/// s3fs sends of an object's headers only the type and the metadata again when it changes the mode. What it drops comes
/// back by `headers apply`.
#[test]
#[ignore = "needs s3fs: scripts/test peers"]
fn headers_that_s3fs_drops_come_back() {
    let Some(bucket) = Bucket::fresh() else { return };
    begin(&bucket);
    let (peer, mount) = (Peer::s3fs(&bucket), bucket.mount_with(STORED));
    mount.write("a.css", b"a{}");
    let made = kept(&bucket, "a.css");
    fs::set_permissions(peer.dir.join("a.css"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(mount.stat("a.css").permissions().mode() & 0o777, 0o600);
    assert_eq!(kept(&bucket, "a.css").user, made.user);
    let server = bucket.server;
    let options = format!(
        "endpoint={},path_style,region=us-east-1,{STORED},cache_dir={}",
        server.endpoint,
        fresh_dir().display()
    );
    let (access, secret) = (&server.access_key, &server.secret_key);
    let (source, dir) = (bucket.source(), fresh_dir());
    let (code, said) = run([
        "env",
        &format!("AWS_ACCESS_KEY_ID={access}"),
        &format!("AWS_SECRET_ACCESS_KEY={secret}"),
        env!("CARGO_BIN_EXE_originfs"),
        "headers",
        "apply",
        &source,
        dir.to_str().unwrap(),
        "-o",
        &options,
    ]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(kept(&bucket, "a.css"), made);
    assert_eq!(mount.stat("a.css").permissions().mode() & 0o777, 0o600);
}
