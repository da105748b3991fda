"""What is measured: each is a directory to work in, and most are mounts of the same bucket."""
import os
import shutil
import subprocess
import time

import lab as laboratory
from lab import BUCKET, JUICE_BUCKET, OPS, Failed

MIB = 1 << 20
# Seconds until a mount must answer.
MOUNT_LIMIT = 60


class Disk:
    """The file system below all caches."""
    name = "ext4"
    # Its files are not those of the bucket.
    own = True

    def __init__(self, lab):
        self.lab, self.dir = lab, lab.path("disk")
        self.mounts, self.warmed = 0, set()

    def at(self, net, cold):
        pass

    def unmount(self):
        pass

    def pids(self):
        return []

    def fill(self, name, count, size):
        write_files(os.path.join(self.dir, name), count, size)


class Mount:
    """Base of all that have a daemon. `at` mounts where it is not mounted so yet."""
    own = False

    def __init__(self, lab):
        self.lab, self.process, self.net, self.mounts, self.warmed = lab, None, None, 0, set()
        self.dir = lab.path("mnt", self.name)
        self.cache = lab.path("cache", self.name)
        os.makedirs(self.dir)

    def at(self, net, cold):
        """Mounted, with the bucket as far as `net`; cold: nothing is known and nothing cached."""
        if self.process and (cold or self.net != net or self.process.poll() is not None):
            self.unmount()
        if self.process:
            return
        if cold:
            shutil.rmtree(self.cache, ignore_errors=True)
        os.makedirs(self.cache, exist_ok=True)
        self.process = self.lab.start(self.name, *self.command(self.lab.endpoints[net]))
        self.net, self.warmed = net, set()
        self.mounts += 1
        self.wait_until_mounted()

    def wait_until_mounted(self):
        end, device = time.monotonic() + MOUNT_LIMIT, os.stat(self.lab.work).st_dev
        while self.process.poll() is None and time.monotonic() < end:
            if laboratory.is_mounted(self.dir) and os.stat(self.dir).st_dev != device:
                return
            time.sleep(0.002)
        self.unmount()
        raise Failed("does not mount: " + self.lab.last_words(self.name, 1))

    def unmount(self):
        if not self.process:
            return
        # Signals first, as systemd does; what does not end is taken away.
        self.lab.stop(self.process)
        if laboratory.is_mounted(self.dir):
            subprocess.run(["umount", "--lazy", self.dir], check=False)
        self.process = None

    def pids(self):
        """Its daemon with all that it started."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    if int(stat.read().rpartition(")")[2].split()[3]) == self.process.pid:
                        found.append(int(pid))
            except OSError:
                continue
        return found


class Floor(Mount):
    name = "floor"
    own = True
    # As the sets of files that rows ask for.
    DIRS = ("r10:32:10240", "r100:32:102400", "r500:32:512000", "n10000:10000:0")

    def command(self, _endpoint):
        return ([OPS, "floor", self.dir, *(word for one in self.DIRS for word in ("--dir", one))],)

    def fill(self, name, count, size):
        """It was born with them."""


class Originfs(Mount):
    name = "originfs"
    options = ""

    def command(self, endpoint):
        options = f"endpoint={endpoint},path_style,region=us-east-1,cache_dir={self.cache},cache_min_free=256MiB" + \
            f",cache_size=100GiB,allow_other{self.options}"
        return ([os.environ["BENCH_ORIGINFS"], "mount", BUCKET, self.dir, "-f", "-o", options],)


class OriginfsMinute(Originfs):
    name = "originfs-60s"
    options = ",freshness=60s"


class OriginfsAttrsList(Originfs):
    name = "originfs-attrs-list"
    options = ",attrs=list"


class S3fs(Mount):
    name = "s3fs"

    def command(self, endpoint):
        keys = self.lab.path("s3fs.passwd")
        with open(os.open(keys, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{laboratory.ACCESS_KEY}:{laboratory.SECRET_KEY}\n")
        options = f"passwd_file={keys},url={endpoint},use_path_request_style,endpoint=us-east-1,use_cache={self.cache}," \
            "ensure_diskfree=2048,stat_cache_expire=60,max_stat_cache_size=200000,enable_noobj_cache,parallel_count=16," \
            "multipart_size=16,multireq_max=64,kernel_cache,allow_other"
        return (["s3fs", BUCKET, self.dir, "-f", "-o", options],)


class Rclone(Mount):
    name = "rclone"

    def command(self, endpoint):
        program = os.path.join(os.environ["BENCH_PEERS"], "rclone")
        return ([program, "mount", f"lab:{BUCKET}", self.dir, "--config", "/dev/null", "--vfs-cache-mode", "full",
                 "--cache-dir", self.cache, "--vfs-cache-max-size", "20G", "--vfs-read-ahead", "64M", "--buffer-size",
                 "32M", "--dir-cache-time", "1m", "--attr-timeout", "1s", "--vfs-write-back", "1s",
                 "--vfs-fast-fingerprint", "--transfers", "16", "--s3-upload-concurrency", "8", "--s3-chunk-size", "8M",
                 "--no-checksum", "--allow-other"],
                {"RCLONE_CONFIG_LAB_TYPE": "s3", "RCLONE_CONFIG_LAB_PROVIDER": "Other",
                 "RCLONE_CONFIG_LAB_ENV_AUTH": "true", "RCLONE_CONFIG_LAB_ENDPOINT": endpoint,
                 "RCLONE_CONFIG_LAB_REGION": "us-east-1"})


class Juicefs(Mount):
    """Keeps files in pieces of its own and their names in Redis, here next to it: the network delays its data only."""
    name = "juicefs"
    own = True
    meta = None

    def program(self):
        return os.path.join(os.environ["BENCH_PEERS"], "juicefs")

    def command(self, endpoint):
        if not self.meta:
            self.prepare()
        return ([self.program(), "mount", "--no-usage-report", "--bucket", f"{endpoint}/{JUICE_BUCKET}", "--cache-dir",
                 self.cache, "--cache-size", "20480", "--buffer-size", "512", "--enable-xattr", "--attr-cache", "1",
                 "--entry-cache", "1", "--dir-entry-cache", "1", "--backup-meta", "0", "-o", "allow_other", self.meta,
                 self.dir],)

    def prepare(self):
        port, folder = laboratory.free_port(), self.lab.path("redis")
        os.mkdir(folder)
        # What has returned is to be there after a power loss, as with all others.
        self.lab.start("redis", ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", folder, "--save", "",
                                 "--appendonly", "yes", "--appendfsync", "always"])
        meta, end = f"redis://127.0.0.1:{port}/1", time.monotonic() + 20
        while True:
            try:
                self.lab.run(self.program(), "format", "--storage", "s3", "--bucket",
                             f"{self.lab.endpoints['lan']}/{JUICE_BUCKET}", "--access-key", laboratory.ACCESS_KEY,
                             "--secret-key", laboratory.SECRET_KEY, "--trash-days", "0", meta, "bench")
                break
            except Failed:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
        self.meta = meta

    def fill(self, name, count, size):
        # Files without bytes where only names matter: everything else goes to its bucket one by one.
        self.at(self.net or "lan", cold=False)
        write_files(os.path.join(self.dir, name), count, size if size > 1000 else 0)


ALL = (Disk, Floor, Originfs, OriginfsMinute, OriginfsAttrsList, S3fs, Rclone, Juicefs)
PEERS = ("s3fs", "rclone", "juicefs")
# Success of close means that the bytes are where another host finds them.
DURABLE_PEERS = ("s3fs", "juicefs")


def write_files(folder, count, size):
    os.makedirs(folder, exist_ok=True)
    content = os.urandom(min(size, MIB))
    for n in range(count):
        with open(os.path.join(folder, f"f{n}"), "wb") as file:
            for at in range(0, size, MIB):
                file.write(content[:min(MIB, size - at)])
