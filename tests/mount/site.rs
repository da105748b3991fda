//! `originfs apply`: a site is set up on its webservers, each a tree of files of its own.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::mount::{MntFlags, umount2};
use serde_json::Value;

use crate::harness::{Bucket, Server, fresh_dir, run, store};

const PROGRAM: &str = env!("CARGO_BIN_EXE_originfs");
const UPLOADS: &str = "var/www/html/wp-content/uploads";
const CONFIG: &str = r"etc/originfs/var-www-html-wp\x2dcontent-uploads.toml";
const PASSWD: &str = r"etc/originfs/var-www-html-wp\x2dcontent-uploads.passwd";
const FSTAB: &str = "/dev/sda1 / ext4 defaults 0 1\n";

/// A webserver with WordPress on it.
struct Host<'a> {
    server: &'a Server,
    root: PathBuf,
    site: String,
    /// Variables of the deployment beside those that every test has.
    variables: Vec<String>,
}

impl<'a> Host<'a> {
    fn fresh(bucket: &'a Bucket, site: &str) -> Self {
        let root = fresh_dir();
        for (name, text) in
            [("var/www/html/wp-load.php", ""), ("etc/fstab", FSTAB), ("etc/passwd", "www-data:x:33:33::/:/bin/false\n")]
        {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        }
        fs::create_dir(root.join("var/www/html/wp-content")).unwrap();
        Self { server: bucket.server, root, site: site.to_owned(), variables: Vec::new() }
    }

    fn with(mut self, variable: &str) -> Self {
        self.variables.push(variable.to_owned());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Exit code and what was said.
    fn said(&self, args: &[&str]) -> (i32, String) {
        let Server { endpoint, access_key, secret_key, .. } = self.server;
        let cache = self.root.join("cache");
        let options = format!(
            "OPTIONS=path_style,region=us-east-1,freshness=strict,timeout=10s,cache_min_free=256MiB,cache_dir={}",
            cache.display()
        );
        let mut words = vec!["env".to_owned(), "-i".to_owned(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
        words.extend([
            format!("WEBSITE_URL={}", self.site),
            format!("S3_HOST_BASE={endpoint}"),
            format!("S3_ACCESS_KEY={access_key}|second"),
            format!("S3_SECRET_KEY={secret_key}|second"),
            options,
        ]);
        words.extend(self.variables.iter().cloned());
        words.extend([PROGRAM, "apply", "--root", self.root.to_str().unwrap()].map(str::to_owned));
        words.extend(args.iter().map(|&arg| arg.to_owned()));
        run(words.iter().map(String::as_str))
    }

    /// What was done, of a run that succeeded.
    #[track_caller]
    fn apply(&self, args: &[&str]) -> Value {
        let (code, said) = self.said(&[&["--json"], args].concat());
        assert_eq!(code, 0, "{said}");
        assert!(!said.contains(&self.server.secret_key), "{said}");
        serde_json::from_str(&said).unwrap()
    }

    fn umount(&self, name: &str) -> (i32, String) {
        run([PROGRAM, "umount", self.path(name).to_str().unwrap()])
    }
}

impl Drop for Host<'_> {
    fn drop(&mut self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        for point in table.lines().filter_map(|line| line.split(' ').nth(4)) {
            let point = point.replace("\\134", "\\");
            if Path::new(&point).starts_with(&self.root) && run([PROGRAM, "umount", "--lazy", &point]).0 != 0 {
                umount2(Path::new(&point), MntFlags::MNT_DETACH).unwrap_or_default();
            }
        }
    }
}

/// The steps that changed something: what and which.
fn changes(report: &Value) -> Vec<String> {
    let steps = report["steps"].as_array().unwrap().iter();
    let changed = steps.filter(|step| step["state"] != "unchanged");
    changed.map(|step| format!("{} {}", step["state"].as_str().unwrap(), step["name"].as_str().unwrap())).collect()
}

/// Without what a mount writes to find out what the server can do.
fn keys(bucket: &Bucket) -> Vec<String> {
    bucket.keys().into_iter().filter(|key| !key.contains("/.originfs/")).collect()
}

fn unique(name: &str) -> String {
    format!("{name}{}.example.com", std::process::id())
}

fn bucket_of(site: &str) -> Option<Bucket> {
    Bucket::to_be(&format!("{}-assets", site.replace('.', "-")))
}

#[test]
fn a_site_is_set_up_on_two_hosts_once() {
    let site = unique("two");
    let Some(bucket) = bucket_of(&site) else { return };
    let (a, b) = (Host::fresh(&bucket, &site), Host::fresh(&bucket, &site));
    let name = format!("{}-assets", site.replace('.', "-"));

    let expect = [
        format!("created {name}"),
        format!("created /{UPLOADS}"),
        format!("created /{CONFIG}"),
        format!("created /{PASSWD}"),
        "changed /etc/fstab".to_owned(),
        format!("mounted /{UPLOADS}"),
    ];
    assert_eq!(changes(&a.apply(&["--dry-run"])), expect);
    assert!(!bucket.exists() && !a.path(UPLOADS).exists() && !a.path("etc/originfs").exists());
    assert_eq!(a.text("etc/fstab"), FSTAB);

    assert_eq!(changes(&a.apply(&[])), expect);
    assert!(bucket.exists());
    assert_eq!(changes(&b.apply(&[])), expect[1..], "the bucket was there");
    for host in [&a, &b] {
        assert_eq!(changes(&host.apply(&[])), [""; 0]);
        assert!(host.said(&[]).1.ends_with("all of it was there already, nothing is changed\n"));
    }

    store(a.path(UPLOADS).join("photo.jpg"), b"of a").unwrap();
    assert_eq!(fs::read(b.path(UPLOADS).join("photo.jpg")).unwrap(), b"of a");
    fs::remove_file(b.path(UPLOADS).join("photo.jpg")).unwrap();
    fs::write(a.path(UPLOADS).join("photo.jpg.tmp"), b"held").unwrap();
    store(b.path(UPLOADS).join("from-b.jpg"), b"of b").unwrap();
    assert_eq!(keys(&bucket), ["wp-content/uploads/from-b.jpg"], "the key is the path of the URL; *.tmp is held");
    assert_eq!(fs::metadata(a.path(UPLOADS).join("from-b.jpg")).unwrap().uid(), 33);
    assert_eq!(a.umount(UPLOADS), (0, String::new()));
    assert_eq!(fs::metadata(a.path(UPLOADS)).unwrap().mode() & 0o777, 0o555, "nobody uploads while it is away");
    assert_eq!(changes(&a.apply(&[])), [format!("mounted /{UPLOADS}")]);
    assert_eq!((a.umount(UPLOADS).0, b.umount(UPLOADS).0), (0, 0));
}

#[test]
fn keys_are_for_root_alone_and_in_no_other_place() {
    let site = unique("keys");
    let Some(bucket) = bucket_of(&site) else { return };
    let host = Host::fresh(&bucket, &site);
    host.apply(&[]);
    let secret = &bucket.server.secret_key;
    assert_eq!(fs::metadata(host.path(PASSWD)).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(host.text(PASSWD), format!("{}:{secret}\n", bucket.server.access_key));
    for name in [CONFIG, "etc/fstab"] {
        assert!(!host.text(name).contains(secret), "{name}");
    }
    let (_, status) = run([PROGRAM, "status", "--json", host.path(UPLOADS).to_str().unwrap()]);
    let status: Value = serde_json::from_str(&status).unwrap();
    for name in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{}/{name}", status["mount"]["pid"])).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(name == "environ" || !text.contains(secret), "{text}");
    }
    // A mode that somebody loosened is put right, and nothing else.
    fs::set_permissions(host.path(PASSWD), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(changes(&host.apply(&[])), [format!("changed /{PASSWD}")]);
    assert_eq!(fs::metadata(host.path(PASSWD)).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn a_changed_variable_changes_just_that() {
    let site = unique("change");
    let Some(bucket) = bucket_of(&site) else { return };
    let mut host = Host::fresh(&bucket, &site).with("APPLICATION=wordpress");
    host.apply(&[]);
    let options = host.text(CONFIG);

    host.variables.push("APPLICATION=joomla".to_owned());
    host.variables.push("DIRECTORIES_TO_MOUNT=wp-content.uploads:images".to_owned());
    let done = host.apply(&[]);
    let images = "etc/originfs/var-www-html-images";
    let expect = [
        format!("changed /{CONFIG}"),
        "created /var/www/html/images".to_owned(),
        format!("created /{images}.toml"),
        format!("created /{images}.passwd"),
        "changed /etc/fstab".to_owned(),
        "mounted /var/www/html/images".to_owned(),
    ];
    assert_eq!(changes(&done), expect);
    assert!(options.contains("local = ") && !host.text(CONFIG).contains("local = "), "{}", host.text(CONFIG));
    let note = |report: &Value| {
        let steps = report["steps"].as_array().unwrap().clone();
        steps.iter().find_map(|step| step["note"].as_str().map(str::to_owned)).unwrap_or_default()
    };
    assert!(note(&done).contains("the options of before"), "{done}");
    assert_eq!(host.umount(UPLOADS).0, 0);
    let done = host.apply(&[]);
    assert_eq!((changes(&done), note(&done)), (vec![format!("mounted /{UPLOADS}")], String::new()));

    // What is not wanted any more is not made at boot, and stays while it is there.
    host.variables.push("DIRECTORIES_TO_MOUNT=images".to_owned());
    let done = host.apply(&[]);
    assert_eq!(changes(&done), ["changed /etc/fstab"]);
    assert!(note(&done).contains("originfs umount") && host.path(PASSWD).exists(), "{done}");
    assert!(host.text("etc/fstab").starts_with(FSTAB) && !host.text("etc/fstab").contains("uploads"));
    assert_eq!(host.umount(UPLOADS).0, 0);
    assert_eq!(changes(&host.apply(&[])), [format!("removed /{CONFIG}"), format!("removed /{PASSWD}")]);
    assert!(bucket.exists(), "a bucket is never deleted");
}

#[test]
fn what_a_directory_holds_is_not_hidden() {
    let site = unique("holds");
    let Some(bucket) = bucket_of(&site) else { return };
    let host = Host::fresh(&bucket, &site).with("DIRECTORIES_TO_MOUNT=wp-content.uploads:images");
    fs::create_dir_all(host.path(UPLOADS).join("2026/11")).unwrap();
    let (code, said) = host.said(&[]);
    let fix = format!(
        "originfs: mount /{UPLOADS}: it holds 1 names that the mount would hide: `originfs adopt --no-mount /{UPLOADS}` puts \
         them into the bucket, then apply again"
    );
    assert!(code == 32 && said.lines().any(|line| line == fix), "{code} {said}");
    assert!(host.path(UPLOADS).join("2026/11").exists());
    let fstab = host.text("etc/fstab");
    assert!(fstab.contains("/var/www/html/images originfs") && !fstab.contains("uploads originfs"), "{fstab}");
    store(host.path("var/www/html/images/a.jpg"), b"a").unwrap();
    assert_eq!(keys(&bucket), ["images/a.jpg"], "the other directory is mounted");

    fs::write(host.path(UPLOADS).join("2026/11/b.jpg"), b"b").unwrap();
    let (directory, config) = (host.path(UPLOADS), host.path(CONFIG));
    let source = format!("{}-assets:/wp-content/uploads", site.replace('.', "-"));
    let (directory, config) = (directory.to_str().unwrap(), format!("config={}", config.to_str().unwrap()));
    let (code, said) = run([PROGRAM, "adopt", "--no-mount", &source, directory, "-o", &config]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(changes(&host.apply(&[])), ["changed /etc/fstab".to_owned(), format!("mounted /{UPLOADS}")]);
    assert_eq!(fs::read(host.path(UPLOADS).join("2026/11/b.jpg")).unwrap(), b"b");
    assert_eq!(keys(&bucket), ["images/a.jpg", "wp-content/uploads/2026/11/b.jpg"]);
}

#[test]
fn what_is_wrong_is_told_with_its_fix_before_anything_is_changed() {
    let site = unique("wrong");
    let Some(bucket) = bucket_of(&site) else { return };
    let [access, secret] = [&bucket.server.access_key, &bucket.server.secret_key];
    for (variable, words) in [
        ("S3_SECRET_KEY=oftestsecretkeythatiswrong0000000000000000".to_owned(), "look at S3_SECRET_KEY"),
        ("S3_ACCESS_KEY=OFTESTUNKNOWNKEY0000".to_owned(), "look at S3_ACCESS_KEY"),
        (format!("S3_SECRET_KEY={access}:{secret}"), "a colon"),
        ("OPTIONS=fleshness=strict".to_owned(), "OPTIONS: unknown option fleshness, did you mean freshness?"),
        ("WEBSITE_URL=".to_owned(), "say WEBSITE_URL"),
        ("BUCKET=a_bucket_with_a_name_that_is_much_too_long_for_any_bucket_of_s3_at_all".to_owned(), "3 to 63"),
    ] {
        let host = Host::fresh(&bucket, &site).with(&variable);
        let (code, said) = host.said(&[]);
        let last = said.lines().last().unwrap();
        assert!(code != 0 && last.starts_with("originfs: ") && said.contains(words), "{variable}: {code} {said}");
        assert!(!said.contains(secret), "{said}");
        assert!(!host.path(UPLOADS).exists() && !host.path(CONFIG).exists(), "{variable}");
        assert_eq!(host.text("etc/fstab"), FSTAB);
    }
    let host = Host::fresh(&bucket, &site);
    let line = "bucket /var/www/html/wp-content/uploads fuse.s3fs _netdev 0 0\n";
    fs::write(host.path("etc/fstab"), line).unwrap();
    assert!(host.said(&[]).1.contains("a line that apply did not write mounts /var/www/html/wp-content/uploads"));
    fs::write(host.path("etc/fstab"), FSTAB).unwrap();
    fs::create_dir(host.path("etc/originfs")).unwrap();
    fs::write(host.path(CONFIG), "source = 'mine'\n").unwrap();
    assert!(host.said(&[]).1.contains("was not written by apply"));
    assert_eq!(host.text(CONFIG), "source = 'mine'\n");
    assert!(!bucket.exists());
}

#[test]
fn where_systemd_mounts_fstab_does_not() {
    if run(["systemctl", "--version"]).0 != 0 {
        println!("skipped: there is no systemctl");
        return;
    }
    let site = unique("systemd");
    let Some(bucket) = bucket_of(&site) else { return };
    let host = Host::fresh(&bucket, &site);
    let unit = host.path("usr/lib/systemd/system/originfs@.service");
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    let text = "[Service]\nExecStart=/usr/bin/originfs mount ${SOURCE} %f -f -o ${OPTIONS}\n[Install]\nWantedBy=nginx.service\n";
    fs::write(unit, text).unwrap();
    let instance = r"originfs@var-www-html-wp\x2dcontent-uploads.service";
    let enabled = || fs::symlink_metadata(host.path("etc/systemd/system/nginx.service.wants").join(instance)).is_ok();
    let env = CONFIG.replace(".toml", ".env");
    let args = ["--boot", "systemd", "--no-mount"];

    let expect = [
        format!("created /{UPLOADS}"),
        format!("created /{CONFIG}"),
        format!("created /{PASSWD}"),
        format!("created /{env}"),
        format!("enabled {instance}"),
    ];
    assert_eq!(changes(&host.apply(&args))[1..], expect);
    assert!(enabled() && host.text("etc/fstab") == FSTAB);
    assert_eq!(changes(&host.apply(&args)), [""; 0]);

    // The unit that reads this file mounts the same.
    let (code, said) = run(["systemd-escape", "--unescape", "--path", instance.trim_start_matches("originfs@")]);
    assert_eq!((code, said.trim_end().trim_end_matches(".service")), (0, "/var/www/html/wp-content/uploads"));
    let options = host.text(&env).lines().find_map(|line| line.strip_prefix("OPTIONS=").map(str::to_owned)).unwrap();
    assert_eq!(options.replace(r"\\\\", r"\"), format!("\"config=/{CONFIG}\""));

    let done = changes(&host.apply(&["--boot", "fstab", "--no-mount"]));
    assert_eq!(done, ["changed /etc/fstab".to_owned(), format!("disabled {instance}"), format!("removed /{env}")]);
    assert!(!enabled() && host.text("etc/fstab").contains("uploads originfs"));
    assert_eq!(changes(&host.apply(&args)).len(), 3, "and back");
    assert!(enabled() && host.text("etc/fstab") == FSTAB);
}
