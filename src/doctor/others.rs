//! Other tools that mount the same directory or the same bucket: what a change of tools leaves behind.

use std::path::Path;

use super::{
    files::{self, Files},
    finding::{Finding, about},
    tables::{self, Line},
    targets::Target,
};

/// Programs that mount a bucket.
const TOOLS: [&str; 6] = ["s3fs", "rclone", "goofys", "geesefs", "mount-s3", "s3ql"];

/// Where commands are written down that are started at some time.
const SCHEDULES: [&str; 9] = [
    "/etc/crontab",
    "/etc/cron.d/*",
    "/var/spool/cron/crontabs/*",
    "/var/spool/cron/*",
    "/etc/rc.local",
    "/etc/systemd/system/*.service",
    "/etc/systemd/system/*.mount",
    "/usr/lib/systemd/system/*.service",
    "/lib/systemd/system/*.service",
];

/// One line that starts or is a mount of another tool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Use {
    tool: &'static str,
    place: String,
    text: String,
    /// It is mounted now.
    mounted: bool,
}

/// All that is found on this host.
pub fn uses(files: &impl Files) -> Vec<Use> {
    let mut all = Vec::new();
    let mut of_line = |line: Line, mounted: bool| {
        let text = format!("{} {} {} {}", line.source, line.dir.display(), line.kind, line.options);
        // `s3fs#bucket` as the source, `fuse.s3fs` or `s3fs` as the type.
        let tool = tool(&format!("{} {}", line.kind.trim_start_matches("fuse."), line.source.replace('#', " ")));
        all.extend(tool.map(|tool| Use { tool, place: line.from, text, mounted }));
    };
    for line in tables::mounted(files) {
        of_line(line, true);
    }
    for line in tables::fstab(files) {
        of_line(line, false);
    }
    for path in SCHEDULES.iter().flat_map(|pattern| files::glob(files, Path::new(pattern))) {
        let Some(text) = files.read(&path) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            let Some(tool) = tool(line).filter(|_| !line.starts_with(['#', ';'])) else { continue };
            // Copying with rclone is no mount.
            if tool == "rclone" && !line.contains("mount") {
                continue;
            }
            all.push(Use {
                tool,
                place: format!("{}:{number}", path.display()),
                text: line.to_owned(),
                mounted: false,
            });
        }
    }
    all
}

/// Whether one of them has to do with a target.
pub fn judge(uses: &[Use], target: &Target, mount: Option<&Path>) -> Vec<Finding> {
    let subject = target.subject();
    let on = about("other-tools", &subject);
    let dirs = [target.dir.as_deref(), mount];
    let same_dir = |found: &&Use| dirs.iter().flatten().any(|dir| names(&found.text, &dir.display().to_string()));
    let mut findings = Vec::new();
    for found in uses.iter().filter(same_dir) {
        let Use { tool, place, .. } = found;
        let fix = if found.mounted {
            format!("umount {subject}, then: {}", target.mount_command())
        } else {
            format!("remove it from {place}")
        };
        findings.push(on.failure(
            format!("{tool} mounts the same directory ({place})"),
            "whichever comes last hides the other: uploads go through a tool that other webservers do not wait for",
            fix,
        ));
    }
    let bucket = target.bucket();
    for found in uses.iter().filter(|found| !same_dir(found) && names(&found.text, bucket)) {
        let Use { tool, place, .. } = found;
        findings.push(on.warning(
            format!("{tool} mounts the same bucket ({place})"),
            "what is written there may come late, and what is written here is seen there late: its caches know nothing \
             of other hosts",
            format!("stop it and remove it from {place}, or let it mount read-only"),
        ));
    }
    if findings.is_empty() {
        findings.push(on.ok("no other tool mounts this directory or bucket"));
    }
    findings
}

/// The tool that a command line or type names: as a word, or as the last part of a path.
fn tool(line: &str) -> Option<&'static str> {
    let words = line.split(|c: char| c.is_whitespace() || "=\"';&|".contains(c));
    let names: Vec<&str> = words.map(|word| word.rsplit('/').next().unwrap_or(word)).collect();
    TOOLS.into_iter().find(|tool| names.contains(tool))
}

/// Whether a command line has `word` as a word of its own: a path, or a bucket with or without a key behind it.
fn names(line: &str, word: &str) -> bool {
    let words =
        line.split(|c: char| c.is_whitespace() || "=\"';,#".contains(c)).map(|found| found.trim_end_matches('/'));
    let word = word.trim_end_matches('/');
    words.filter(|_| !word.is_empty()).any(|found| {
        let parts: Vec<&str> =
            found.split(':').map(|part| part.trim_start_matches("//").trim_end_matches('/')).collect();
        found == word || parts.contains(&word) || parts.iter().any(|part| part.split('/').next() == Some(word))
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{files::Fixture, finding::Verdict},
        *,
    };

    fn target() -> Target {
        Target { source: "site-assets:/uploads".into(), dir: Some("/var/www/html/uploads".into()), ..Target::default() }
    }

    fn found(path: &str, text: &str) -> Vec<(Verdict, String)> {
        let files = Fixture::new(&[(path, text)]);
        judge(&uses(&files), &target(), None).into_iter().map(|found| (found.verdict, found.message)).collect()
    }

    #[test]
    fn the_same_directory_is_a_failure() {
        for (path, text) in [
            ("/etc/fstab", "s3fs#other /var/www/html/uploads fuse _netdev 0 0"),
            ("/etc/fstab", "other:/ /var/www/html/uploads/ fuse.s3fs _netdev 0 0"),
            ("/etc/fstab", "remote:other /var/www/html/uploads rclone rw 0 0"),
            ("/proc/self/mountinfo", "36 35 0:98 / /var/www/html/uploads rw - fuse.geesefs other rw"),
            ("/etc/crontab", "* * * * * root /usr/bin/s3fs other /var/www/html/uploads -o use_cache=/x"),
            ("/var/spool/cron/crontabs/root", "@reboot rclone mount a:b '/var/www/html/uploads' --daemon"),
            (
                "/etc/systemd/system/old.service",
                "[Service]\nExecStart=/usr/local/bin/goofys -f other /var/www/html/uploads",
            ),
        ] {
            let found = found(path, text);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].0, Verdict::Failure, "{text}");
            assert!(found[0].1.contains(path), "{found:?}");
        }
    }

    #[test]
    fn the_same_bucket_is_a_warning() {
        for (path, text) in [
            ("/etc/fstab", "s3fs#site-assets /mnt/old fuse _netdev 0 0"),
            ("/etc/fstab", "site-assets:/x /mnt/old fuse.s3fs _netdev 0 0"),
            ("/etc/cron.d/mounts", "@reboot root rclone mount remote:site-assets/uploads /mnt/old"),
        ] {
            assert_eq!(found(path, text)[0].0, Verdict::Warning, "{text}");
        }
    }

    #[test]
    fn others_and_comments_are_no_matter() {
        for (path, text) in [
            ("/etc/fstab", "# s3fs#site-assets /var/www/html/uploads fuse _netdev 0 0"),
            ("/etc/fstab", "s3fs#site-assets-old /var/www/html/uploads2 fuse _netdev 0 0"),
            ("/etc/fstab", "site-assets:/uploads /var/www/html/uploads originfs _netdev 0 0"),
            ("/etc/crontab", "0 3 * * * root rclone sync remote:site-assets /backup"),
            ("/etc/crontab", "0 3 * * * root tar cf /backup.tar /var/www/html/uploads"),
        ] {
            assert_eq!(found(path, text)[0].0, Verdict::Ok, "{text}");
        }
    }
}
