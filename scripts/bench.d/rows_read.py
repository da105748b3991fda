"""Rows about reading."""
import os
import re
import time

from lab import DELAY
from row import DISK, HELLO, OURS, RAW, WARM, Limit, Row, first_time, greet

MIB = 1 << 20
# The files of a warm directory: enough that no cache of one file decides.
FILES = 32
# What the raw client has under way: 64 MiB, more than any window of those that are compared.
RANGE, RANGES = 8 * MIB, 8


def large(lab):
    return (256 if lab.quick else 1024) * MIB


def cpu(system):
    """Seconds of processor time that its processes took so far."""
    ticks = 0
    for pid in system.pids():
        try:
            with open(f"/proc/{pid}/stat") as stat:
                ticks += sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def warm_small(kib, readers):
    def measure(lab, system, _round):
        folder = os.path.join(system.dir, f"r{kib}")
        if first_time(system, f"r{kib}"):
            lab.ops("read", folder, "--count", FILES, "--times", 2)
        times = (20 if lab.quick else 50) // readers
        got = lab.ops("read", folder, "--count", FILES, "--threads", readers, "--times", times)
        # So many readers have a file in their hands at once: what one file costs all of them.
        return {"value": got["seconds"] / got["count"] * 1e6, **got}

    many = "1 reader" if readers == 1 else f"{readers} readers"
    return Row(f"read-{kib}k-{readers}", f"warm open+fstat+read+close, {kib} KiB, {many}", "warm reads", "us", WARM,
               measure, Limit("floor", 1.15), sets=((f"r{kib}", FILES, kib * 1024),), ours="originfs-60s")


def nginx(lab):
    if not hasattr(lab, "web"):
        import lab as laboratory
        lab.web = laboratory.free_port()
        os.makedirs(lab.path("nginx"))
        paths = "".join(f"{kind}_temp_path {lab.path('nginx', kind)};" for kind in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        sites = "".join(f"location /{name}/ {{ alias {lab.path('mnt', name)}/; }}" for name in WARM if name != "ext4")
        with open(lab.path("nginx.conf"), "w") as conf:
            conf.write(
                f"user root; daemon off; worker_processes 2; pid {lab.path('nginx.pid')}; error_log stderr;"
                f"events {{ worker_connections 256; }} http {{ access_log off; sendfile on; {paths}"
                f"keepalive_requests 1000000; server {{ listen 127.0.0.1:{lab.web};"
                f"location /ext4/ {{ alias {lab.path('disk')}/; }} {sites} }} }}\n")
        lab.start("nginx", ["nginx", "-c", lab.path("nginx.conf"), "-e", lab.path("log", "nginx.log")])
        time.sleep(1)
    return lab.web


def measure_nginx(lab, system, _round):
    url = f"http://127.0.0.1:{nginx(lab)}/{system.name}/r100/f0"

    def load(seconds):
        said = lab.run("wrk", "-t", 1, "-c", 16, "-d", f"{seconds}s", url)
        if "Non-2xx" in said:
            raise RuntimeError(said)
        return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])

    if first_time(system, "nginx"):
        load(1)
    return load(2 if lab.quick else 3)


def warm_large(kind, title, reach, group="warm large file"):
    def measure(lab, system, _round):
        path = os.path.join(system.dir, "large1", "f0")
        if first_time(system, "large"):
            lab.ops("stream", path)
            lab.ops("stream", path)
        before = cpu(system)
        if kind == "random":
            got = lab.ops("random", path, "--count", 20_000)
            return {"value": got["per_second"], "daemon_cpu_seconds": cpu(system) - before, **got}
        got = lab.ops(kind, path)
        return {"value": got["mib_per_second"], "daemon_cpu_seconds": cpu(system) - before, **got}

    return Row(f"{kind}-1g", title, group, "reads/s" if kind == "random" else "MiB/s", DISK, measure,
               Limit("ext4", reach), sets=(("large1", 1, large),), more=True, ours="originfs-60s")


def cold_large(net, title):
    def measure(lab, system, _round):
        greet(system)
        return lab.ops("stream", os.path.join(system.dir, "large1", "f0"))["mib_per_second"]

    def raw(lab, net, _round):
        return lab.raw("ranges", net, "--key", "large1/f0", "--bytes", large(lab), "--part", RANGE, "--concurrency",
                       RANGES)["mib_per_second"]

    return Row(f"cold-1g-{net}", title, "cold reads", "MiB/s", RAW, measure, Limit("raw", 0.85), raw,
               sets=(HELLO, ("large1", 1, large)), net=net, cold=True, more=True)


def cold_small():
    # Five open what is to be open; twenty count.
    files, skip = 25, 5

    def measure(lab, system, _round):
        return lab.ops("read", os.path.join(system.dir, "c100"), "--count", files, "--skip", skip)["us"] / 1e3

    def raw(lab, net, _round):
        return lab.raw("get", net, "--prefix", "c100/", "--count", files)["us"] / 1e3

    return Row("cold-100k", "cold 100 KiB file, 15 ms: to its last byte", "cold reads", "ms", RAW, measure,
               Limit("raw", 1.2, plus=DELAY), raw, sets=(("c100", files, 102_400),), net="wan", cold=True)


def crowd():
    def measure(lab, system, _round):
        greet(system)
        lab.forget_counts()
        got = lab.ops("crowd", os.path.join(system.dir, "c100", "f0"), "--processes", 200)
        return {"value": lab.counts().get("GetObject", 0), **got}

    return Row("crowd", "200 processes read one cold file at once: GETs", "cold reads", "GETs", OURS, measure,
               Limit(None, 1), sets=(HELLO, ("c100", 25, 102_400)), net="wan", cold=True)


ROWS = (
    *(warm_small(kib, readers) for kib in (10, 100, 500) for readers in (1, 4)),
    Row("nginx", "warm 100 KiB through nginx, wrk with 16 connections", "web server", "requests/s", WARM, measure_nginx,
        Limit("ext4", 0.9), sets=(("r100", FILES, 102_400),), more=True, ours="originfs-60s"),
    warm_large("stream", "warm sequential read of 1 GiB", 0.95),
    warm_large("mmap", "warm mapped read of 1 GiB", 0.95),
    warm_large("random", "warm random 4 KiB reads of 1 GiB", 0.6, group="warm random reads"),
    cold_small(),
    cold_large("lan", "cold sequential 1 GiB, no delay"),
    cold_large("wan", "cold sequential 1 GiB, 15 ms"),
    crowd(),
)
