//! The program as mount(8), scripts and people call it.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Output},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_originfs");

fn run(name: &str, args: &[&str]) -> Output {
    Command::new(PROGRAM).arg0(name).args(args).output().unwrap()
}

/// An empty directory of this test.
fn directory(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("originfs-cli-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir.canonicalize().unwrap()
}

#[track_caller]
fn fails(output: &Output, code: i32, message: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("originfs: {message}\n"));
    assert_eq!(output.status.code(), Some(code));
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn wrong_use_is_one_line_and_code_1() {
    let dir = directory("wrong");
    let dir = dir.to_str().unwrap();
    for (args, message) in [
        (&["mount", "site", dir, "--endpont=x"][..], "unknown option endpont, did you mean endpoint?"),
        (&["mount", "site", dir, "-o", "cache_size=big"], "cache_size=big: expected a size such as 16M, 16MiB or 1G"),
        (&["site", dir, "-o", "uid"], "uid: expected a number or the name of a user"),
        (
            &["mount", "site:/../etc", dir],
            "the prefix \"/../etc\" cannot be a path: no part of it may be empty, \".\" or \"..\"",
        ),
        (&["mount", "", dir], "the bucket's name is empty"),
        (&["mount", "site"], "the following required arguments were not provided: <DIR>"),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
    ] {
        fails(&run("originfs", args), 1, message);
    }
    fs::remove_dir(dir).unwrap();
}

#[test]
fn the_mount_point_must_be_a_directory() {
    let dir = directory("point");
    let file = dir.join("file");
    fs::write(&file, "").unwrap();
    let (missing, file) = (format!("{}/none", dir.display()), file.to_str().unwrap());
    fails(&run("originfs", &["mount", "site", file]), 1, &format!("cannot mount on {file}: not a directory"));
    let message = format!("cannot mount on {missing}: No such file or directory (os error 2)");
    fails(&run("originfs", &["mount", "site", &missing]), 1, &message);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn mount_calls_the_helper() {
    let dir = directory("helper");
    let dir = dir.to_str().unwrap();
    let options = "rw,_netdev,noauto,x-systemd.automount,uid=33,multireq_max=3";
    let fake = run("/sbin/mount.originfs", &["site:/images", dir, "-fn", "-o", options]);
    assert!(fake.status.success(), "{fake:?}");
    let warning = "originfs: warning: option multireq_max has no effect: transfers are sized by part_size and upload_concurrency\n";
    assert_eq!(String::from_utf8_lossy(&fake.stderr), warning);

    let strict = run("mount.fuse.originfs", &["site", dir, "-f", "-o", "flux"]);
    fails(&strict, 1, "unknown option flux");
    let sloppy = run("mount.fuse.originfs", &["site", dir, "-sf", "-o", "flux"]);
    assert!(sloppy.status.success(), "{sloppy:?}");
    fs::remove_dir(dir).unwrap();
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = run("originfs", &["mount", "--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && help.stderr.is_empty());
    assert!(text.contains("cache_min_free=SIZE") && text.contains("16MiB"), "{text}");
    for args in [&["version"][..], &["--version"]] {
        let version = run("originfs", args);
        assert_eq!(String::from_utf8_lossy(&version.stdout), format!("originfs {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn what_is_not_mounted_has_no_status_and_no_unmount() {
    let dir = directory("unmounted");
    let dir = dir.to_str().unwrap();
    // As root there is always a place for sockets; a user needs one.
    let status = Command::new(PROGRAM).args(["status", dir]).env("XDG_RUNTIME_DIR", dir).output().unwrap();
    fails(&status, 1, &format!("no originfs mount of this user at {dir}"));
    let umount = run("originfs", &["umount", dir]);
    assert_eq!(umount.status.code(), Some(32), "{umount:?}");
    assert_eq!(String::from_utf8_lossy(&umount.stderr).lines().count(), 1, "{umount:?}");
    fs::remove_dir(dir).unwrap();
}

#[test]
fn a_plan_is_made_of_variables_and_of_a_file_and_keeps_secrets() {
    let dir = directory("plan");
    fs::write(dir.join("wp-load.php"), "").unwrap();
    fs::create_dir_all(dir.join("wp-content/uploads/2026")).unwrap();
    let plan = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.env_clear().arg("plan").args(args);
        command.env("WEBROOT", &dir).env("WEBSITE_URL", "https://www.example.com/").env("OWNER", "root");
        command.env("S3_ACCESS_KEY", "key").env("S3_SECRET_KEY", "hush|hush2");
        command
    };
    let output = plan(&["--json"]).env("S3_HOST_BASE", "ams3.digitaloceanspaces.com").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !text.contains("hush"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["application"], "wordpress");
    assert_eq!(json["buckets"], serde_json::json!(["www-example-com-assets"]));
    assert_eq!(json["mounts"][0]["source"], "www-example-com-assets:/wp-content/uploads");
    assert_eq!(json["mounts"][0]["holds"], 1);

    let file = dir.join("site.toml");
    fs::write(&file, "directories_to_mount = 'files:wp-content.uploads'\nbucket = 'of-the-file'\n").unwrap();
    let file = file.to_str().unwrap();
    let output = plan(&[file]).env("BUCKET", "of-the-environment").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("of-the-environment:/files") && !text.contains("of-the-file"), "{text}");

    fs::write(dir.join("bad.toml"), "bukket = 'x'\n").unwrap();
    let output = plan(&[dir.join("bad.toml").to_str().unwrap()]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.lines().count() == 1 && text.contains("bukket"), "{text}");
    fs::remove_dir_all(dir).unwrap();
}

/// What `originfs doctor` says about a host that is a directory, and its exit code.
fn doctor(root: &std::path::Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(PROGRAM);
    command.arg("doctor").args(args).arg("--root").arg(root);
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", root);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), text)
}

fn put(root: &std::path::Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn doctor_reads_a_host_and_says_what_to_do() {
    let root = directory("doctor");
    let (code, text) = doctor(&root, &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("no mount of originfs runs here or is configured"), "{text}");

    put(&root, "etc/php.ini", "realpath_cache_ttl = 3600\n");
    let (code, text) = doctor(&root, &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("warning  realpath-cache") && text.contains("fix: realpath_cache_ttl=120"), "{text}");

    let mount = root.join("nowhere");
    let mount = mount.to_str().unwrap();
    let line = format!("site {mount} originfs nofail,no_sign_request,endpoint=http://127.0.0.1:1 0 0\n");
    put(&root, "etc/fstab", &line);
    put(&root, "etc/systemd/system/x.service", "");
    let (code, text) = doctor(&root, &[mount, "--json"]);
    assert_eq!(code, 2, "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["version"], &json["verdict"]), (&serde_json::json!(1), &serde_json::json!("failure")));
    let finding = |check: &str| {
        let all = json["findings"].as_array().unwrap();
        all.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check} in {text}"))
    };
    assert_eq!(finding("mounted")["verdict"], "failure");
    assert_eq!(finding("web-user")["verdict"], "skipped");
    assert!(finding("endpoint")["message"].as_str().unwrap().contains("127.0.0.1:1"), "{text}");
    let order = finding("order");
    assert!(order["fix"].as_str().unwrap().contains("_netdev") && order["why"].is_string(), "{text}");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn wrong_use_of_doctor_is_not_a_warning() {
    let root = directory("doctor-wrong");
    for args in [&["--frobnicate"][..], &["/nonexistent"]] {
        let (code, text) = doctor(&root, args);
        assert_eq!((code, text.lines().count()), (2, 1), "{text}");
    }
    put(&root, "etc/fstab", "site /srv/x originfs flux 0 0\n");
    let (code, text) = doctor(&root, &[]);
    assert!(code == 2 && text.contains("unknown option flux"), "{text}");
    fs::remove_dir_all(root).unwrap();
}
