//! The cache directory of a mount: its disk, and what of it should not stay there.

use std::path::Path;

use super::finding::{Finding, about, quoted};

/// The disk of a cache directory; sizes in bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disk {
    pub total: u64,
    pub free: u64,
    /// Type of the file system, where it is known.
    pub kind: Option<String>,
}

/// What is in the directory, counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Left {
    /// Files in lost+found: uploads that failed.
    pub lost: usize,
    /// Journals of renames that cannot be read.
    pub broken: usize,
    /// Files that are not in the bucket yet, and renames and uploads that were begun.
    pub pending: usize,
}

/// Bytes that an upload of a usual size needs twice over: below it writers get ENOSPC before long.
const ROOM: u64 = 1 << 30;

/// Free space and limits. `size` and `floor`: `cache_size` and `cache_min_free`, if they are set.
pub fn space(subject: &str, dir: &Path, disk: &Disk, size: Option<u64>, floor: Option<u64>) -> Finding {
    let on = about("cache-space", subject);
    let shown = dir.display();
    let floor = floor.unwrap_or(disk.total / 20);
    let limit = size.unwrap_or(disk.total / 4);
    if matches!(disk.kind.as_deref(), Some("tmpfs" | "ramfs")) {
        return on.warning(
            format!("{shown} is in memory ({})", disk.kind.as_deref().unwrap_or_default()),
            "uploads in progress and lost+found go with a power failure, and the cache takes memory from PHP",
            "cache_dir= on a disk, as /var/cache/originfs",
        );
    }
    if disk.free < ROOM {
        return on.warning(
            format!("{} free on the disk of {shown}", mib(disk.free)),
            "an upload stays on this disk until the bucket has it: writers get ENOSPC when it is full",
            format!("make room, or move it with cache_dir=; du -xh --max-depth=1 {}", quoted(&shown.to_string())),
        );
    }
    if disk.free <= floor {
        return on.warning(
            format!("{} free on the disk of {shown}, of which the cache leaves {}", mib(disk.free), mib(floor)),
            "nothing is cached: each read of a file asks the bucket for its bytes",
            "make room, or lower cache_min_free=",
        );
    }
    if limit > disk.total {
        return on.warning(
            format!("cache_size is {}, and the disk of {shown} has {}", mib(limit), mib(disk.total)),
            "the cache fills the disk up to cache_min_free, which other programs may need",
            "a smaller cache_size=",
        );
    }
    on.ok(format!("{} free for {shown}, limit {}, {} left to others", mib(disk.free), mib(limit), mib(floor)))
}

/// What should not be there. `running`: the mount is served now.
pub fn leftovers(subject: &str, dir: &Path, left: Left, running: bool, mount: &str) -> Vec<Finding> {
    let lost = about("lost-found", subject);
    let shown = quoted(&dir.join("lost+found").display().to_string());
    let lost = if left.lost > 0 {
        lost.warning(
            format!("{} uploads that failed are in lost+found", left.lost),
            "they may be the only copy of what somebody uploaded",
            format!("grep . {shown}/*.meta names keys and reasons; see docs/OPERATIONS.md, \"Uploads that failed\""),
        )
    } else {
        lost.ok("lost+found is empty")
    };
    let pending = about("pending", subject);
    let pending = match (left, running) {
        (Left { broken: 1.., .. }, _) => pending.warning(
            format!("{} journals of renames cannot be read", left.broken),
            "a rename was interrupted, and both directories may hold the same files",
            format!(
                "ls {}/*.broken; see docs/OPERATIONS.md, \"Renames that were interrupted\"",
                quoted(&dir.join("renames").display().to_string())
            ),
        ),
        (Left { pending: 1.., .. }, false) => pending.warning(
            format!("{} uploads or renames of a process that is gone are not ended", left.pending),
            "until then parts in the bucket cost money, and a directory may be half renamed",
            mount,
        ),
        (Left { pending: 1.., .. }, true) => pending.ok(format!("{} uploads or renames are under way", left.pending)),
        _ => pending.ok("nothing waits for the bucket"),
    };
    vec![lost, pending]
}

fn mib(bytes: u64) -> String {
    if bytes >> 30 > 0 { format!("{} GiB", bytes >> 30) } else { format!("{} MiB", bytes >> 20) }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    const GIB: u64 = 1 << 30;

    #[test]
    fn disks_and_limits() {
        let disk = |total, free| Disk { total: total * GIB, free: free * GIB, kind: Some("ext4".into()) };
        let tmpfs = Disk { kind: Some("tmpfs".into()), ..disk(100, 50) };
        for (disk, size, floor, expect) in [
            (disk(100, 50), None, None, Verdict::Ok),
            (disk(100, 4), None, None, Verdict::Warning),
            (disk(100, 4), None, Some(GIB), Verdict::Ok),
            (disk(100, 0), None, Some(0), Verdict::Warning),
            (disk(100, 50), Some(200 * GIB), None, Verdict::Warning),
            (tmpfs, None, None, Verdict::Warning),
        ] {
            let found = space("/m", Path::new("/c"), &disk, size, floor);
            assert_eq!(found.verdict, expect, "{found:?}");
        }
    }

    #[test]
    fn what_was_left() {
        let verdicts = |left, running| {
            let found = leftovers("/m", Path::new("/c"), left, running, "mount /m");
            (found[0].verdict, found[1].verdict)
        };
        let none = Left::default();
        assert_eq!(verdicts(none, false), (Verdict::Ok, Verdict::Ok));
        assert_eq!(verdicts(Left { lost: 2, ..none }, true), (Verdict::Warning, Verdict::Ok));
        assert_eq!(verdicts(Left { pending: 2, ..none }, true), (Verdict::Ok, Verdict::Ok));
        assert_eq!(verdicts(Left { pending: 2, ..none }, false), (Verdict::Ok, Verdict::Warning));
        assert_eq!(verdicts(Left { broken: 1, ..none }, true), (Verdict::Ok, Verdict::Warning));
    }
}
