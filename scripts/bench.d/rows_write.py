"""Rows about writing."""
import os
import shutil

from row import DISK, HELLO, RAW, RAW_60S, Limit, Row, fresh, greet, make_set
from rows_read import MIB, large

# The defaults of originfs, that the raw client shall not beat by other numbers.
PART, PARTS = 16 * MIB, 4


def peak(system):
    """Most memory of its processes since `forget_peak`, in MiB. Of shared pages each counts its own."""
    return sum(status(pid, "VmHWM") for pid in system.pids())


def resident(system):
    return sum(status(pid, "VmRSS") for pid in system.pids())


def status(pid, field):
    try:
        with open(f"/proc/{pid}/status") as lines:
            return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":")), 0)
    except OSError:
        return 0


def forget_peak(system):
    for pid in system.pids():
        with open(f"/proc/{pid}/clear_refs", "w") as clear:
            clear.write("5")


def create_one():
    def measure(lab, system, number):
        greet(system)
        folder = fresh(system, "one", number)
        got = lab.ops("create", folder, "--count", 20, "--bytes", 10_240)
        return {"value": got["us"] / 1e3, **got}

    def raw(lab, net, number):
        return lab.raw("put", net, "--prefix", f"one-raw-{number}/", "--count", 20, "--bytes", 10_240)["us"] / 1e3

    return Row("create-10k", "create+write+close 10 KiB, 15 ms", "creates", "ms", RAW_60S, measure, Limit("raw", 1.15),
               raw, sets=(HELLO,), net="wan", ours="originfs-60s")


def create_many(net, title):
    def measure(lab, system, number):
        greet(system)
        return lab.ops("create", fresh(system, "many", number), "--threads", 64, "--count", 10, "--bytes",
                       10_240)["per_second"]

    def raw(lab, net, number):
        return lab.raw("put", net, "--prefix", f"many-raw-{number}/", "--count", 640, "--bytes", 10_240,
                       "--concurrency", 64)["per_second"]

    return Row(f"create-64-{net}", title, "parallel creates", "files/s", RAW_60S, measure, Limit("raw", 0.85),
               raw, sets=(HELLO,), net=net, more=True, ours="originfs-60s")


def write_large(net, title):
    def measure(lab, system, number):
        greet(system)
        folder = fresh(system, "large", number)
        os.mkdir(folder)
        forget_peak(system)
        got = lab.ops("write", os.path.join(folder, "f0"), "--bytes", large(lab))
        seen = {"peak_rss_mib": peak(system)}
        lab.settle()
        lab.run("rm", "-r", folder)
        lab.settle()
        return {"value": got["mib_per_second"], **seen, **got}

    def raw(lab, net, number):
        key = f"large-raw-{number}/f0"
        return lab.raw("multipart", net, "--key", key, "--bytes", large(lab), "--part", PART, "--concurrency",
                       PARTS)["mib_per_second"]

    return Row(f"write-1g-{net}", title, "large writes", "MiB/s", RAW, measure, Limit("raw", 0.85), raw, sets=(HELLO,),
               net=net, more=True)


def wordpress():
    def measure(lab, system, number):
        greet(system)
        month = fresh(system, "month", number)
        os.mkdir(month)
        lab.forget_counts()
        got = lab.ops("upload", month, f"picture{number}")
        return {"value": got["us"] / 1e3, "requests": lab.counts(), **got}

    def raw(lab, net, number):
        return lab.raw("put", net, "--prefix", f"month-raw-{number}/", "--count", 20, "--bytes", 10_240)["us"] / 1e3

    return Row("wordpress", "WordPress uploads a picture (8 files), 15 ms", "uploads", "ms", RAW_60S, measure,
               Limit("raw", 1, times=10), raw, sets=(HELLO,), net="wan", ours="originfs-60s")


def copy_in():
    def measure(lab, system, number):
        folders, files = (16, 40) if lab.quick else (64, 100)
        source = lab.path("source")
        if not os.path.isdir(source):
            for n in range(folders):
                os.makedirs(os.path.join(source, f"d{n}"))
                for name in range(files):
                    with open(os.path.join(source, f"d{n}", f"f{name}"), "wb") as file:
                        file.write(os.urandom(8192))
        greet_if_mounted(system)
        to = fresh(system, "copy", number)
        seconds = lab.seconds("cp", "-r", source, to)
        lab.settle()
        if system.name == "ext4":
            shutil.rmtree(to)
        return seconds

    return Row("cp-6400", "cp -r of 6,400 files of 8 KiB into the mount", "trees", "s", DISK, measure,
               Limit("durable peers", 1), sets=(HELLO,), ours="originfs-60s")


def remove():
    def measure(lab, system, number):
        count = 500 if lab.quick else 5000
        folder = fresh(system, "gone", number)
        make_set(lab, (system,), os.path.basename(folder), count, 100)
        greet_if_mounted(system)
        seconds = lab.seconds("rm", "-r", folder)
        lab.settle()
        return seconds

    return Row("rm-5000", "rm -r of 5,000 files", "trees", "s", DISK, measure, Limit("durable peers", 1),
               sets=(HELLO,), cold=True, ours="originfs-60s")


def rename():
    def measure(lab, system, number):
        count = 100 if lab.quick else 1000
        folder = fresh(system, "old", number)
        make_set(lab, (system,), os.path.basename(folder), count, 100)
        greet_if_mounted(system)
        seconds = lab.seconds("mv", "-T", folder, fresh(system, "new", number))
        lab.settle()
        return seconds

    return Row("mv-1000", "rename of a directory of 1,000 files", "trees", "s", DISK, measure,
               Limit("durable peers", 1), sets=(HELLO,), cold=True, ours="originfs-60s")


def greet_if_mounted(system):
    if system.pids():
        greet(system)


ROWS = (
    create_one(),
    create_many("lan", "64 parallel creates of 10 KiB, no delay"),
    create_many("wan", "64 parallel creates of 10 KiB, 15 ms"),
    write_large("lan", "sequential write of 1 GiB + close, no delay"),
    write_large("wan", "sequential write of 1 GiB + close, 15 ms"),
    wordpress(),
    copy_in(),
    remove(),
    rename(),
)
