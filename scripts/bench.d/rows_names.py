"""Rows about names, attributes, memory and starting."""
import hashlib
import os
import time

from row import HELLO, OURS, RAW, WARM, Limit, Row, first_time, greet
from rows_read import large
from rows_write import forget_peak, peak, resident


MIB = 1 << 20


def names(count):
    return (f"n{count}", count, 100)


def raw_list(count):
    return lambda lab, net, _round: lab.raw("list", net, "--prefix", f"n{count}/")["us"] / 1e3


def cold_ls(count):
    def measure(lab, system, _round):
        greet(system)
        got = lab.ops("list", os.path.join(system.dir, f"n{count}"))
        if got["entries"] != count:
            raise RuntimeError(f"{got['entries']} names")
        return got["us"] / 1e3

    return Row(f"ls-{count}", f"cold ls of {count:,} names, 15 ms", f"cold ls, {count:,}", "ms", RAW, measure,
               Limit("raw", 1.2), raw_list(count), sets=(HELLO, names(count)), net="wan", cold=True)


def ls_memory():
    def measure(lab, system, _round):
        greet(system)
        # Once for all rounds: the raw client tells how large the listing is.
        listing = lab.raw("list", "lan", "--prefix", "n100000/")["bytes"] / MIB
        before = resident(system)
        forget_peak(system)
        lab.ops("list", os.path.join(system.dir, "n100000"))
        return {"value": max(peak(system) - before, 0) / listing, "listing_mib": listing, "before_mib": before,
                "peak_mib": peak(system)}

    return Row("ls-100000-memory", "memory for a cold ls of 100,000 names, in sizes of the listing", "memory of a listing",
               "x", OURS, measure, Limit(None, 2), sets=(HELLO, names(100_000)), cold=True)


def ls_long():
    def measure(lab, system, _round):
        greet(system)
        lab.forget_counts()
        got = lab.ops("list", "--stat", os.path.join(system.dir, "n10000"))
        return {"value": got["us"] / 1e3, "requests": lab.counts(), **got}

    def raw(lab, net, _round):
        heads = lab.raw("head", net, "--prefix", "n10000/", "--count", 10_000, "--concurrency", 64)["seconds"] * 1e3
        return heads + raw_list(10_000)(lab, net, _round)

    exact = Row("ls-l-10000", "cold ls -l of 10,000 files, 15 ms; raw: LIST, then HEADs by 64", "cold ls -l", "ms", RAW,
                measure, Limit("raw", 1), raw, sets=(HELLO, names(10_000)), net="wan", cold=True)
    listed = Row("ls-l-10000-list", "the same with attrs=list; raw: LIST", "cold ls -l", "ms",
                 ("raw", "originfs-attrs-list"), measure, Limit("raw", 1.2), raw_list(10_000),
                 sets=(HELLO, names(10_000)), net="wan", cold=True, ours="originfs-attrs-list")
    return exact, listed


def ls_long_again():
    def measure(lab, system, _round):
        folder = os.path.join(system.dir, "n10000")
        if first_time(system, "ls-l"):
            lab.ops("list", "--stat", folder)
        lab.forget_counts()
        got = lab.ops("list", "--stat", folder)
        seen = lab.counts()
        return {"value": seen.get("HeadObject", 0), "requests": seen, **got}

    return Row("ls-l-again", "ls -l of 10,000 files for the second time: HEADs", "ls -l again", "HEADs", OURS, measure,
               Limit(None, 0), sets=(names(10_000),), net="wan")


def warm_stat():
    def measure(lab, system, _round):
        got = lab.ops("stat", os.path.join(system.dir, "n10000"))
        return {"value": got["per_second"], **got}

    return Row("stat-10000", "warm stat of 10,000 names", "warm stat", "names/s", WARM, measure, Limit("peers", 3),
               sets=(names(10_000),), more=True, ours="originfs-60s")


def memory(name, title, reach, work, sets=()):
    def measure(lab, system, number):
        time.sleep(1)
        forget_peak(system)
        at_end = work(lab, system, number)
        return {"value": at_end if at_end is not None else resident(system), "peak_mib": peak(system)}

    return Row(name, title, "memory", "MiB", OURS, measure, Limit(None, reach), sets=sets, cold=True)


def read_and_write(lab, system, number):
    lab.ops("stream", os.path.join(system.dir, "large1", "f0"))
    path = os.path.join(system.dir, f"rss-{system.name}-{number}")
    lab.ops("write", path, "--bytes", large(lab))
    most = peak(system)
    lab.settle()
    os.unlink(path)
    lab.settle()
    return most


def mount_time():
    """How long a mount takes that finds 500,000 files of 100 KiB in its cache (they take no space here)."""
    def measure(lab, system, _round):
        fill_cache(lab, system)
        system.unmount()
        start = time.perf_counter()
        system.at("lan", cold=False)
        return time.perf_counter() - start

    return Row("mount-500000", "mount with a cache of 500,000 files, 50 GiB", "mount", "s", ("originfs",), measure,
               Limit(None, 1))


def fill_cache(lab, system):
    if first_time(system, "cache") and not getattr(lab, "cache_filled", False):
        system.unmount()
        places = [path for path, folders, _ in os.walk(system.cache) if "content" in folders and "staging" in folders]
        for n in range(50_000 if lab.quick else 500_000):
            name = hashlib.sha256(str(n).encode()).hexdigest()
            folder = os.path.join(places[0], "content", name[:2])
            if n < 20_000:
                os.makedirs(folder, mode=0o700, exist_ok=True)
            file = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT, 0o600)
            os.ftruncate(file, 102_400)
            os.close(file)
        lab.cache_filled = True


ROWS = (
    cold_ls(1_000),
    cold_ls(10_000),
    cold_ls(100_000),
    *ls_long(),
    ls_long_again(),
    warm_stat(),
    ls_memory(),
    memory("rss-idle", "memory, idle after the mount", 40, lambda *_: None),
    memory("rss-known", "memory with 100,000 known files", 128,
           # A request for each of them, where attributes are exact.
           lambda lab, system, _: lab.ops("list", "--stat", os.path.join(system.dir, "n100000"), limit=900) and None,
           sets=(names(100_000),)),
    memory("rss-large", "most memory while 1 GiB is read and 1 GiB written", 192, read_and_write,
           sets=(("large1", 1, large),)),
    mount_time(),
)
