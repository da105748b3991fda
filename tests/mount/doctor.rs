//! `originfs doctor` on real mounts: what is well is said to be, and each fault is found with the command that mends it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Bucket, Kind, Mount, fresh_dir, run, store};

const PROGRAM: &str = env!("CARGO_BIN_EXE_originfs");

/// The configuration of a host that has one mount, as Debian has it; nothing in it is to be complained about.
struct Host {
    root: PathBuf,
}

impl Host {
    fn with(mount: &Mount) -> Self {
        let host = Self { root: fresh_dir() };
        let dir = mount.dir().display();
        // What runs says more than this line; without it nothing outside of this machine may be asked.
        let nobody = "no_sign_request,endpoint=http://127.0.0.1:1";
        host.put("etc/fstab", &format!("site {dir} originfs _netdev,nofail,x-systemd.automount,{nobody} 0 0\n"));
        host.put("etc/systemd/system/multi-user.target.wants/php8.2-fpm.service", "");
        host.put("usr/lib/systemd/system/php8.2-fpm.service", "[Unit]\nAfter=network.target\n");
        host.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n");
        host.put("etc/updatedb.conf", "PRUNEFS=\"nfs fuse.originfs\"\n");
        host.put("etc/php/8.2/fpm/php.ini", "upload_max_filesize = 64M\n");
        host.put("etc/php/8.2/fpm/pool.d/www.conf", "[www]\nuser = www-data\n");
        let parent = mount.dir().parent().unwrap().display();
        let server = format!("root {parent};\nlocation ~ \\.php$ {{ fastcgi_pass php; }}\nlocation ^~ /mnt/ {{ }}");
        host.put("etc/nginx/nginx.conf", &format!("user www-data;\nhttp {{ server {{ {server} }} }}\n"));
        for file in ["proc/filesystems", "proc/sys/kernel/osrelease"] {
            host.put(file, &fs::read_to_string(Path::new("/").join(file)).unwrap());
        }
        host.see_mounts();
        host
    }

    /// Brings the list of mounts up to date.
    fn see_mounts(&self) {
        self.put("proc/self/mountinfo", &fs::read_to_string("/proc/self/mountinfo").unwrap());
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Without anything of this test's environment: keys must come from where the mount has them.
    fn doctor(&self, args: &[&str]) -> Report {
        let root = self.root.to_str().unwrap();
        let words = ["env", "-i", "AWS_EC2_METADATA_DISABLED=true", PROGRAM, "doctor", "--json", "--root", root];
        let (code, said) = run(words.into_iter().chain(args.iter().copied()));
        let json = serde_json::from_str(&said).unwrap_or_else(|err| panic!("{err}: {said}"));
        Report { code, json }
    }
}

struct Report {
    code: i32,
    json: Value,
}

impl Report {
    fn all(&self) -> &[Value] {
        self.json["findings"].as_array().unwrap()
    }

    /// The findings that ask for something. How full this machine's disk is is not the matter of a test.
    fn complaints(&self) -> Vec<String> {
        let bad = |finding: &&Value| finding["verdict"] == "warning" || finding["verdict"] == "failure";
        let own = self.all().iter().filter(bad).filter(|finding| finding["check"] != "cache-space");
        own.map(Value::to_string).collect()
    }

    #[track_caller]
    fn one(&self, check: &str) -> &Value {
        let found = self.all().iter().find(|finding| finding["check"] == check);
        found.unwrap_or_else(|| panic!("no {check} in {}", self.json))
    }

    #[track_caller]
    fn is(&self, check: &str, verdict: &str, part: &str) {
        let found = self.one(check);
        assert_eq!(found["verdict"], verdict, "{found}");
        assert!(found.to_string().contains(part), "{part} is not in {found}");
    }
}

#[test]
fn doctor_finds_nothing_wrong_with_a_host_that_is_well_and_leaves_nothing_behind() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("photo.jpg", b"picture");
    let mount = bucket.mount_with("uid=33,gid=33");
    let host = Host::with(&mount);
    let report = host.doctor(&[mount.dir().to_str().unwrap()]);
    assert_eq!(report.complaints(), [""; 0]);
    let fine =
        ["mounted", "web-user", "endpoint", "credentials", "clock", "exposure", "anonymous-write", "order", "links"];
    for check in
        fine.into_iter().chain(["open-file-cache", "php-execution", "other-tools", "lost-found", "pending", "updatedb"])
    {
        report.is(check, "ok", "");
    }
    if bucket.server.kind == Kind::Dev {
        report.is("conditional-writes", "ok", "put if absent: yes");
        report.is("consistency", "ok", "at once");
        // What it wrote is deleted, and trying what the web server may do uploads nothing.
        let log = bucket.server.admin("GET", "log", "");
        let requests = log["requests"].as_array().unwrap().iter();
        let own: Vec<_> = requests.filter(|request| request["bucket"] == bucket.source().as_str()).collect();
        let of =
            |op: &str| own.iter().filter(|r| r["op"] == op).map(|r| r["key"].as_str().unwrap()).collect::<Vec<_>>();
        let (put, deleted) = (of("PutObject"), of("DeleteObject"));
        let doctors: Vec<_> = put.iter().filter(|key| key.contains("doctor")).collect();
        assert!(!doctors.is_empty() && doctors.iter().all(|key| key.starts_with(".originfs/")), "{doctors:?}");
        assert!(doctors.iter().all(|key| deleted.contains(key)), "{doctors:?} {deleted:?}");
    }
    assert_eq!(bucket.keys(), ["photo.jpg"]);
}

#[test]
fn doctor_writes_nothing_to_the_bucket_of_a_read_only_mount() {
    let Some(bucket) = Bucket::alone() else { return };
    bucket.put("photo.jpg", b"picture");
    let mount = bucket.mount_with("uid=33,gid=33,ro");
    bucket.server.admin("DELETE", "log", "");
    let report = Host::with(&mount).doctor(&[mount.dir().to_str().unwrap()]);
    assert_eq!(report.complaints(), [""; 0]);
    report.is("web-user", "ok", "");
    report.is("exposure", "ok", "nobody reads");
    report.is("anonymous-write", "skipped", "read-only");
    for op in ["PutObject", "DeleteObject", "DeleteObjects", "CopyObject", "CreateMultipartUpload"] {
        assert_eq!(bucket.server.count(op), 0, "{op}");
    }
}

#[test]
fn doctor_finds_what_web_servers_and_other_tools_would_do_to_a_mount() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("uid=33,gid=33");
    let (host, dir) = (Host::with(&mount), mount.dir().to_str().unwrap().to_owned());
    let config = fs::read_to_string(host.root.join("etc/nginx/nginx.conf")).unwrap();
    host.put("etc/nginx/nginx.conf", &config.replace("location ^~", "open_file_cache max=9;\nlocation"));
    host.put("etc/crontab", &format!("@reboot root s3fs other {dir}\n"));
    host.put("etc/updatedb.conf", "PRUNEFS=\"nfs\"\n");
    let report = host.doctor(&[&dir]);
    assert_eq!(report.code, 2);
    report.is("open-file-cache", "warning", "open_file_cache off;");
    report.is("php-execution", "warning", "location ^~ /mnt/");
    report.is("other-tools", "failure", "/etc/crontab:1");
    report.is("updatedb", "warning", "PRUNEFS");
}

#[test]
fn doctor_tries_what_the_web_server_may_do_as_that_user() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("uid=0,gid=0");
    let report = Host::with(&mount).doctor(&[mount.dir().to_str().unwrap()]);
    report.is("web-user", "failure", "www-data may not create files");
    report.is("web-user", "failure", "uid=33,gid=33 in the options");
    let closed = bucket.mount_with("uid=0,gid=0,dir_mode=0700");
    let report = Host::with(&closed).doctor(&[closed.dir().to_str().unwrap()]);
    report.is("web-user", "failure", "may not pass through");
    let shut = bucket.mount_with("uid=33,gid=33");
    let base = shut.dir().parent().unwrap();
    fs::set_permissions(base, fs::Permissions::from_mode(0o700)).unwrap();
    let report = Host::with(&shut).doctor(&[shut.dir().to_str().unwrap()]);
    report.is("web-user", "failure", &format!("chmod o+x {}", base.display()));
}

#[test]
fn doctor_says_how_to_mend_a_dead_mount() {
    let Some(bucket) = Bucket::fresh() else { return };
    let mount = bucket.mount_with("uid=33,gid=33");
    let host = Host::with(&mount);
    mount.signal(Signal::SIGKILL);
    mount.wait();
    let dir = mount.dir().to_str().unwrap();
    let report = host.doctor(&[dir]);
    assert_eq!(report.code, 2);
    report.is("mounted", "failure", "Transport endpoint is not connected");
    report.is("web-user", "skipped", "");
    let fix = report.one("mounted")["fix"].as_str().unwrap();
    let (unmount, again) = fix.split_once("; ").unwrap();
    assert_eq!((unmount, again), (&*format!("umount -l {dir}"), &*format!("mount {dir}")));
    assert_eq!(run(["sh", "-c", unmount]), (0, String::new()));
    assert!(!mount.is_mounted());
    host.see_mounts();
    host.doctor(&[dir]).is("mounted", "failure", "it is not mounted");
}

#[test]
fn doctor_tells_a_readable_private_mount_from_a_public_one() {
    let Some(bucket) = Bucket::public_part() else { return };
    let place = fresh_dir();
    let mounted = |below: &str, options: &str| {
        let dir = place.join(below);
        (bucket.mount_with(&format!("dir={},uid=33,gid=33{options}", dir.display())), dir)
    };
    let (private, dir) = mounted("moodledata/filedir", "");
    private.write("hash", b"secret");
    let report = Host::with(&private).doctor(&[dir.to_str().unwrap()]);
    report.is("exposure", "failure", "moodledata/filedir of moodle");
    report.is("exposure-list", "ok", "");
    report.is("anonymous-write", "ok", "");

    let (public, dir) = mounted("images", "");
    Host::with(&public).doctor(&[dir.to_str().unwrap()]).is("exposure", "ok", "everybody may read");
    let (declared, dir) = mounted("files", ",acl=private");
    Host::with(&declared).doctor(&[dir.to_str().unwrap()]).is("exposure", "failure", "acl=private");

    let (shop, dir) = mounted("wp-content/uploads", "");
    fs::create_dir(shop.path("woocommerce_uploads")).unwrap();
    shop.write("woocommerce_uploads/invoice.pdf", b"paid");
    let report = Host::with(&shop).doctor(&[dir.to_str().unwrap()]);
    report.is("private-files", "failure", "woocommerce_uploads/invoice.pdf");
    drop((private, public, declared, shop));
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn doctor_of_a_bucket_says_what_is_wrong_with_keys_and_names() {
    let Some(bucket) = Bucket::fresh() else { return };
    let Some(absent) = Bucket::absent() else { return };
    let host = Host { root: fresh_dir() };
    let server = bucket.server;
    let asked = |source: &str, keys: &str, mode: u32| {
        let path = host.root.join("passwd");
        store(&path, keys).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let options =
            format!("endpoint={},region=us-east-1,path_style,passwd_file={}", server.endpoint, path.display());
        host.doctor(&[source, "-o", &options])
    };
    let right = format!("{}:{}\n", server.access_key, server.secret_key);
    let report = asked(&bucket.source(), &right, 0o600);
    assert_eq!(report.complaints(), [""; 0]);
    report.is("key-file", "ok", "");
    let wrong = format!("{}:oftestsecretkeythatiswrong0000000000000000\n", server.access_key);
    let report = asked(&bucket.source(), &wrong, 0o600);
    assert_eq!(report.code, 2);
    report.is("credentials", "failure", "secret access key");
    let unknown = format!("OFTESTUNKNOWNKEY0000:{}\n", server.secret_key);
    asked(&bucket.source(), &unknown, 0o600).is("credentials", "failure", "access key id");
    asked(&absent.source(), &right, 0o600).is("endpoint", "failure", "there is no bucket");
    let report = asked(&bucket.source(), &right, 0o644);
    report.is("key-file", "failure", "chmod 0600");
    report.is("credentials", "failure", "0644");
}
