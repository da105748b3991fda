//! Lines of fstab through the real mount(8), in a mount namespace with an fstab and helpers of its own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
};

use crate::harness::{Bucket, Server, fresh_dir, run};

const PROGRAM: &str = env!("CARGO_BIN_EXE_originfs");

/// Everything that is mounted in here ends with it, however it ends: its processes are told, and the namespace with its
/// last mounts goes with the last process.
const SHELL: &str = r#"
set -u
mount --make-rprivate /
mount --bind "$BASE/fstab" /etc/fstab
mount --bind "$BASE/sbin" /usr/sbin
[ "$(readlink -f /sbin)" = /usr/sbin ] || mount --bind "$BASE/sbin" /sbin
point="$BASE/mnt"
end() { "$PROGRAM" umount --lazy "$point" >/dev/null 2>&1; for more in "$BASE"/more*; do "$PROGRAM" umount --lazy "$more" >/dev/null 2>&1; done; }
trap end EXIT
fail() { echo "FAILED: $*"; exit 1; }
"#;

/// A host with an fstab.
struct Host<'a> {
    server: &'a Server,
    source: String,
    base: PathBuf,
}

impl<'a> Host<'a> {
    fn fresh(bucket: &'a Bucket) -> Self {
        let base = fresh_dir();
        fs::create_dir(base.join("mnt")).unwrap();
        fs::create_dir(base.join("sbin")).unwrap();
        for name in ["mount.originfs", "mount.fuse.originfs"] {
            symlink(PROGRAM, base.join("sbin").join(name)).unwrap();
        }
        let host = Self { server: bucket.server, source: bucket.source(), base };
        let passwd = host.base.join("passwd");
        fs::write(&passwd, format!("{}:{}\n", host.server.access_key, host.server.secret_key)).unwrap();
        fs::set_permissions(&passwd, fs::Permissions::from_mode(0o600)).unwrap();
        host.fstab("");
        host
    }

    fn fstab(&self, text: &str) {
        fs::write(self.base.join("fstab"), text).unwrap();
    }

    /// A line for `mnt` with options beside those that every mount here has.
    fn line(&self, kind: &str, options: &str) -> String {
        let base = self.base.display();
        let Server { endpoint, .. } = self.server;
        let all = format!(
            "endpoint={endpoint},path_style,region=us-east-1,passwd_file={base}/passwd,cache_dir={base}/cache,cache_min_free=256MiB"
        );
        format!("{} {base}/mnt {kind} {all},{options} 0 0\n", self.source)
    }

    /// Runs `script` there; `fail` in it fails the test.
    #[track_caller]
    fn run(&self, script: &str) -> String {
        let (base, program) = (format!("BASE={}", self.base.display()), format!("PROGRAM={PROGRAM}"));
        // The harness takes commands of one line.
        let file = self.base.join("script");
        fs::write(&file, format!("{SHELL}\n{script}")).unwrap();
        let (code, said) = run(["env", &base, &program, "unshare", "--mount", "bash", file.to_str().unwrap()]);
        assert_eq!(code, 0, "{said}");
        said
    }
}

#[test]
fn mount_a_makes_what_fstab_says_once() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    for kind in ["originfs", "fuse.originfs"] {
        let host = Host::fresh(&bucket);
        host.fstab(&host.line(kind, "_netdev,nofail,x-systemd.automount,x-systemd.before=nginx.service,uid=33"));
        host.run(
            r#"
            mount -a || fail "mount -a ends with $?"
            [ "$(cat "$point/file")" = x ] || fail content
            [ "$(stat -c %u "$point/file")" = 33 ] || fail owner
            mount -a || fail "mount -a a second time"
            [ "$(grep -c " $point fuse.originfs " /proc/mounts)" = 1 ] || fail "$(grep "$point" /proc/mounts)"
            findmnt --noheadings --output SOURCE,FSTYPE "$point" || fail findmnt
            umount "$point" || fail "umount ends with $?"
            mount -t originfs -a -O no_netdev || fail "mount -a -O no_netdev"
            mountpoint -q "$point" && fail "_netdev is not heard"
            mount "$point" && mountpoint -q "$point" || fail "mount DIR"
            "#,
        );
    }
}

#[test]
fn another_fstab_can_be_named() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let host = Host::fresh(&bucket);
    fs::write(host.base.join("other"), host.line("originfs", "noauto")).unwrap();
    host.run(
        r#"
        mount -a -T "$BASE/other" || fail "mount -a ends with $?"
        mountpoint -q "$point" && fail "noauto is not heard"
        mount -T "$BASE/other" "$point" || fail "mount ends with $?"
        [ "$(cat "$point/file")" = x ] || fail content
        "#,
    );
}

#[test]
fn nofail_of_a_line_mounts_while_the_bucket_is_away() {
    let Some(bucket) = Bucket::fresh() else { return };
    let host = Host::fresh(&bucket);
    let away = |options: &str| host.line("originfs", options).replace(&host.server.endpoint, "http://127.0.0.1:1");
    host.fstab(&away("timeout=2s,_netdev,nofail"));
    host.run(
        r#"
        mount -a || fail "mount -a ends with $?"
        mountpoint -q "$point" || fail "it is not mounted"
        ls "$point" 2>&1 | grep -q "Input/output error" || fail "an answer without the bucket: $(ls "$point" 2>&1)"
        "#,
    );
}

#[test]
fn a_wrong_line_fails_with_its_cause() {
    let Some(bucket) = Bucket::fresh() else { return };
    let host = Host::fresh(&bucket);
    host.fstab(&host.line("originfs", "fleshness=strict"));
    let said =
        host.run(r#"mount -a; [ $? != 0 ] || fail "it succeeded"; mountpoint -q "$point" && fail mounted; true"#);
    assert!(said.contains("unknown option fleshness, did you mean freshness?"), "{said}");
}

#[test]
fn remount_changes_between_ro_and_rw_and_keeps_the_rest() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let host = Host::fresh(&bucket);
    host.fstab(&host.line("originfs", "_netdev"));
    host.run(
        r#"
        mount "$point" || fail mount
        exec 7>"$point/open"
        mount -o remount,ro "$point" 2>&1 | grep -q "open for writing" || fail "ro while a file is being written"
        exec 7>&-
        mount -o remount,ro "$point" || fail "remount,ro ends with $?"
        touch "$point/new" 2>/dev/null && fail "a change after remount,ro"
        [ "$(cat "$point/file")" = x ] || fail "content after remount,ro"
        mount -o remount,rw "$point" || fail "remount,rw ends with $?"
        echo y >"$point/new" || fail "no change after remount,rw"
        grep " $point " /proc/mounts | grep -q "nosuid,nodev" || fail "$(grep "$point" /proc/mounts)"
        mount -o remount "$point" || fail "remount as fstab says"
        umount "$point"
        mount -o ro "$point" || fail "mount -o ro"
        mount -o remount,rw "$point" 2>&1 | grep -q "was mounted with ro" || fail "rw of what refuses changes"
        umount "$point"
        mount -o remount,ro "$point" && fail "a remount of nothing"
        true
        "#,
    );
    assert_eq!(bucket.body("new"), b"y\n");
}

/// x-systemd.automount: what looks into the directory waits until it is mounted, and so does a mount that looks.
#[test]
fn a_mount_over_an_automount_point_does_not_wait_for_itself() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let host = Host::fresh(&bucket);
    host.fstab(&host.line("originfs", "noauto,x-systemd.automount"));
    host.run(
        r#"
        # As systemd mounts it, for a process group that never answers.
        mkfifo "$BASE/asked" && exec 7<>"$BASE/asked"
        setsid sleep 600 &
        sleeper=$!
        trap 'kill "$sleeper"; end' EXIT
        until [ "$(ps -o pgid= -p "$sleeper" | tr -d ' ')" = "$sleeper" ]; do sleep 0.01; done
        mount -i -t autofs -o "fd=7,pgrp=$sleeper,minproto=5,maxproto=5,direct" systemd-1 "$point" || fail "autofs"
        timeout --signal KILL 1 ls "$point" >/dev/null && fail "nobody waits"
        timeout --signal KILL 15 mount "$point" || fail "mount ends with $?"
        [ "$(cat "$point/file")" = x ] || fail content
        umount "$point" || fail "umount ends with $?"
        [ "$(findmnt --noheadings --output FSTYPE "$point")" = autofs ] || fail "the automount point is gone"
        timeout --signal KILL 15 "$PROGRAM" mount "$(awk '{ print $1 }' /etc/fstab)" "$point" \
            -o "$(awk '{ print $4 }' /etc/fstab | sed 's/,noauto,x-systemd.automount//')" || fail "originfs mount ends with $?"
        [ "$(cat "$point/file")" = x ] || fail content
        "$PROGRAM" umount "$point" || fail "originfs umount ends with $?"
        umount "$point"
        "#,
    );
}

/// While somebody waits for it, an automount point holds up everybody who passes by it, but for the process group that
/// mounts.
#[test]
fn a_mount_that_somebody_waits_for_stays_in_its_process_group() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let host = Host::fresh(&bucket);
    host.fstab(&host.line("originfs", "noauto,x-systemd.automount"));
    host.run(
        r#"
        mkfifo "$BASE/asked" && exec 7<>"$BASE/asked"
        group=$(ps -o pgid= -p $$ | tr -d ' ')
        mount -i -t autofs -o "fd=7,pgrp=$group,minproto=5,maxproto=5,direct" systemd-1 "$point" || fail "autofs"
        setsid ls "$point" >"$BASE/listed" 2>&1 &
        asker=$!
        trap 'kill -9 "$asker"; end' EXIT
        # autofs_v5_packet of include/uapi/linux/auto_fs.h.
        timeout --foreground 20 head -c 304 <&7 >/dev/null || fail "nobody asks"
        timeout --foreground --signal KILL 20 mount "$point" || fail "mount ends with $?"
        kill -9 "$asker"
        # Until it is gone its question stands, and whoever comes now would wait for the same answer.
        wait "$asker" || :
        [ "$(setsid --wait timeout --signal KILL 20 cat "$point/file")" = x ] || fail content
        daemon=$(pgrep --full "originfs .*$point")
        [ "$(ps -o sid= -p $daemon | tr -d ' ')" = "$daemon" ] || fail "no session of its own: $daemon"
        "#,
    );
}

#[test]
fn a_line_with_user_is_mounted_and_unmounted_by_a_user() {
    let Some(bucket) = Bucket::fresh() else { return };
    bucket.put("file", b"x");
    let host = Host::fresh(&bucket);
    // The helper runs as the user, who needs the keys, a place for the cache, and the directory.
    let base = host.base.display().to_string();
    host.fstab(&host.line("originfs", "noauto,user"));
    let script = format!(
        r#"
        chown -R 65534 "{base}/mnt" "{base}/passwd"
        install -d -o 65534 "{base}/cache" "{base}/run"
        user() {{ setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="{base}" XDG_RUNTIME_DIR="{base}/run" "$@"; }}
        user mount "$point" || fail "mount as a user ends with $?"
        [ "$(user cat "$point/file")" = x ] || fail content
        user sh -c 'echo y >"$1/new"' sh "$point" || fail "a write of the user"
        ls "$point" >/dev/null 2>&1 && fail "others are let in"
        grep " $point " /proc/mounts | grep -q "nosuid,nodev.*user_id=65534" || fail "$(grep "$point" /proc/mounts)"
        user umount "$point" || fail "umount as a user ends with $?"
        user "$PROGRAM" umount "$point" 2>/dev/null && fail "it was mounted still"
        true
        "#
    );
    host.run(&script);
    assert_eq!(bucket.body("new"), b"y\n");
}

#[test]
fn a_line_may_name_a_file_with_the_rest() {
    let Some(bucket) = Bucket::fresh() else { return };
    let host = Host::fresh(&bucket);
    let text = format!(
        "[options]\nendpoint = '{}'\npath_style = true\nregion = 'us-east-1'\npasswd_file = 'passwd'\ncache_dir = 'cache'\ncache_min_free = '256MiB'\n\
         read_only = true\nfile_mode = '0640'\n",
        host.server.endpoint
    );
    bucket.put("file", b"x");
    fs::write(host.base.join("site.toml"), text).unwrap();
    let base = host.base.display();
    host.fstab(&format!("{} {base}/mnt originfs _netdev,config={base}/site.toml 0 0\n", host.source));
    host.run(
        r#"
        mount -a || fail "mount -a ends with $?"
        [ "$(stat -c %a "$point/file")" = 640 ] || fail mode
        touch "$point/new" 2>/dev/null && fail "mount(8) says rw by itself, and the file says read_only"
        mount -a || fail "mount -a a second time"
        [ "$(grep -c " $point fuse.originfs " /proc/mounts)" = 1 ] || fail twice
        "#,
    );
}
