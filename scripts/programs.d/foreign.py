"""A foreign client (boto3) and a mount work on the same bucket, and each must see what the other did.

Run by scripts/programs: foreign.py MOUNT BUCKET PREFIX ENTRIES, the last being the size of the large directory. Fails with the first thing that is wrong.
"""

import errno
import io
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

MOUNT, BUCKET, PREFIX = sys.argv[1:4]
ENTRIES = int(sys.argv[4])
KIND = os.environ["ORIGINFS_TEST_S3"]
SMALL = 1 << 20  # what docs/SEMANTICS.md 18 calls small

S3 = boto3.client(
    "s3",
    endpoint_url=os.environ["ORIGINFS_TEST_ENDPOINT"],
    config=Config(
        s3={"addressing_style": "path"},
        max_pool_connections=32,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    ),
)


def path(name):
    return os.path.join(MOUNT, name)


def put(name, body, **headers):
    S3.put_object(Bucket=BUCKET, Key=PREFIX + name, Body=body, **headers)


def delete(name):
    S3.delete_object(Bucket=BUCKET, Key=PREFIX + name)


def body(name):
    return S3.get_object(Bucket=BUCKET, Key=PREFIX + name)["Body"].read()


def keys(below):
    pages = S3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=PREFIX + below)
    return sorted(item["Key"][len(PREFIX) :] for page in pages for item in page.get("Contents", []))


def multipart(name, parts):
    where = {"Bucket": BUCKET, "Key": PREFIX + name}
    upload = {**where, "UploadId": S3.create_multipart_upload(**where)["UploadId"]}
    done = [
        {"PartNumber": n, "ETag": S3.upload_part(**upload, PartNumber=n, Body=part)["ETag"]}
        for n, part in enumerate(parts, 1)
    ]
    S3.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


def write(name, content):
    with open(path(name), "wb") as file:
        file.write(content)


def fails(code, act):
    try:
        act()
    except OSError as err:
        assert err.errno == code, f"{errno.errorcode[err.errno]}, where {errno.errorcode[code]} was due"
    else:
        raise AssertionError(f"it succeeded, where {errno.errorcode[code]} was due")


def same(got, wanted, what):
    assert got == wanted, f"{what}: {got!r:.500}, not {wanted!r:.500}"


def each_change_is_seen_at_once():
    os.mkdir(path("seen"))
    for n in range(30):
        name = f"seen/file{n % 3}"
        content = f"version {n:05}".encode() * (1 + n * n)
        if n % 4 == 3:
            multipart(name, [content])
        else:
            put(name, content)
        if n % 2:
            assert os.path.basename(name) in os.listdir(path("seen")), f"{name} is not listed"
        same(read(name), content, f"{name} after a PUT")
        same(sorted(os.listdir(path("seen"))), [key[5:] for key in keys("seen/") if key != "seen/"], "the listing")
        if n % 5 == 4:
            delete(name)
            if n % 2:
                assert os.path.basename(name) not in os.listdir(path("seen")), f"{name} is still listed"
            fails(errno.ENOENT, lambda: open(path(name), "rb"))
            fails(errno.ENOENT, lambda: os.stat(path(name)))
    put("seen/new/deep/file", b"x")
    assert "new" in os.listdir(path("seen"))
    same(os.listdir(path("seen/new/deep")), ["file"], "an implicit directory")
    delete("seen/new/deep/file")
    # SeaweedFS makes directories of its own of prefixes, and removes them when it likes.
    assert KIND == "weed" or "new" not in os.listdir(path("seen")), "an implicit directory outlives its last object"


def new_metadata_are_seen():
    """A copy of an object onto itself keeps the ETag."""
    put("meta.txt", b"same bytes", Metadata={"mtime": "1000000000", "mode": "33188"}, CacheControl="max-age=7")
    for n in range(1, 8):
        S3.copy_object(
            Bucket=BUCKET,
            Key=PREFIX + "meta.txt",
            CopySource={"Bucket": BUCKET, "Key": PREFIX + "meta.txt"},
            MetadataDirective="REPLACE",
            Metadata={"mtime": str(1000000000 + n), "mode": str(0o100600 + n), "other": "kept"},
            CacheControl=f"max-age={n}",
            ContentType="text/plain",
        )
        with open(path("meta.txt"), "rb") as file:
            stat = os.fstat(file.fileno())
            same((int(stat.st_mtime), stat.st_mode & 0o777), (1000000000 + n, 0o600 + n), "metadata after a copy")
            same(file.read(), b"same bytes", "bytes after a copy")
    os.utime(path("meta.txt"), (5, 5))
    head = S3.head_object(Bucket=BUCKET, Key=PREFIX + "meta.txt")
    same((head["Metadata"]["other"], head["CacheControl"]), ("kept", "max-age=7"), "what we did not set")


def version(size, n):
    """Every 16 bytes tell which version they are of, and where in 64 KiB steps."""
    blocks = (b"%07d %07d\n" % (n, at) * 4096 for at in range(0, size, 65536))
    return b"".join(blocks)[:size]


def readers_never_see_a_mix():
    """Readers, fast and slow, by read and by mapping, of objects that are replaced all the time."""
    sizes = {"tiny": 4096, "small": 600_000, "large": 3 << 20, "huge": 20 << 20}
    for name, size in sizes.items():
        put(f"mix/{name}", version(size, 0))
    ends, wrong, counts, lock = time.monotonic() + 15, [], {"read": 0, "stale": 0, "put": 0}, threading.Lock()

    def count(what):
        with lock:
            counts[what] += 1

    def replace(seed):
        chance = random.Random(seed)
        n = seed
        while time.monotonic() < ends and not wrong:
            name = chance.choice(list(sizes))
            n += 10
            # Other sizes, too: never old bytes with a new size.
            size = sizes[name] + chance.choice((0, 0, 16, 160))
            if chance.random() < 0.2 and size > 6 << 20:
                content = version(size, n)
                multipart(f"mix/{name}", [content[: 5 << 20], content[5 << 20 :]])
            else:
                put(f"mix/{name}", version(size, n))
            count("put")
            time.sleep(chance.random() * 0.2)

    def check(name, content, size):
        if not content:
            return
        n = int(content[:7])
        if content != version(size, n)[: len(content)]:
            wrong.append(f"{name}: bytes of several versions")

    def look(seed):
        chance = random.Random(seed)
        while time.monotonic() < ends and not wrong:
            name = chance.choice(list(sizes))
            got = b""
            try:
                with open(path(f"mix/{name}"), "rb", buffering=0) as file:
                    size = os.fstat(file.fileno()).st_size
                    slow = chance.random() < 0.5
                    while step := file.read(chance.choice((4096, 128 << 10, 1 << 20))):
                        got += step
                        if slow:
                            time.sleep(chance.random() * 0.05)
                check(name, got, size)
                if len(got) != size:
                    wrong.append(f"{name}: {len(got)} bytes of {size}")
                count("read")
            except OSError as err:
                check(name, got, sizes[name] + 160)
                if err.errno != errno.ESTALE or sizes[name] + 160 <= SMALL:
                    wrong.append(f"{name}: {err}")
                count("stale")
            except ValueError:
                wrong.append(f"{name}: not bytes of any version: {got[:40]!r}")

    threads = [threading.Thread(target=replace, args=(n,)) for n in (1, 2)]
    threads += [threading.Thread(target=look, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    assert counts["read"] > 10 and counts["put"] > 10, counts
    print(f"mixed versions: none in {counts}")


def names():
    """Names of all byte classes. NFC and NFD are two names, and so are those that differ in a space at the end."""
    found = [
        "plain", " lead", "trail ", "in side", "two  spaces", "dot.", "dots...", "...", ".hidden", "-rf", "~home",
        "a+b", "a b+c%20d", "100%", "%", "%zz", "%2F", "%00", "&amp;", "a&b=c", "what?", "#hash", "a;b,c:d", "$@!*()[]{}^|",
        "quote'single", 'quote"double', "back`tick", "<tag>", "caf\u00e9", "cafe\u0301", "\u1e9b\u0323", "\u65e5\u672c",
        "\u0627\u0644", "\U0001f600", "\U0001f468\u200d\U0001f469", "\u202eright-to-left", "\u00a0nbsp", "\ufeffbom",
        "n" * 255, "\u00e9" * 127, "\U0001f600" * 63, "COM1", "con", "a" * 251 + ".jpg",
    ]  # fmt: skip
    if KIND != "weed":  # it takes a backslash for a slash
        found += ["back\\slash", "\\"]
    if KIND == "dev":  # XML 1.0 cannot carry them, and servers differ in what they then do
        found += ["line\nfeed", "car\rriage", "tab\ttab", "bell\a", "esc\x1b", "\x01", "del\x7f", "nel\u0085"]
        found += ["\ufffe", "\uffff"]
    return found


def names_go_both_ways():
    os.mkdir(path("ours"))
    for n, name in enumerate(names()):
        write(f"ours/{name}", b"ours %d" % n)
        same(body(f"ours/{name}"), b"ours %d" % n, f"{name!r}, made by us")
        put(f"theirs/{name}", b"theirs %d" % n)
        same(read(f"theirs/{name}"), b"theirs %d" % n, f"{name!r}, made by boto3")
    wanted = sorted(names())
    for where in ("ours", "theirs"):
        same(sorted(os.listdir(path(where))), wanted, f"the names of {where}")
        same(sorted(key.split("/", 1)[1] for key in keys(f"{where}/") if key != f"{where}/"), wanted, f"the keys of {where}")
    for name in names():
        os.rename(path(f"theirs/{name}"), path(f"ours/{name}"))
        assert body(f"ours/{name}").startswith(b"theirs"), f"{name!r} is not what was renamed to it"
        os.remove(path(f"ours/{name}"))
        os.mkdir(path(f"ours/{name}"))
        put(f"ours/{name}/{name}", b"below")
        same(os.listdir(path(f"ours/{name}")), [name], f"the directory {name!r}")
        same(read(f"ours/{name}/{name}"), b"below", f"{name!r} in a directory of that name")
        os.rename(path(f"ours/{name}"), path("passing"))
        same(os.listdir(path("passing")), [name], f"the directory {name!r} by another name")
        os.remove(path(f"passing/{name}"))
        os.rmdir(path("passing"))
    same(keys("ours/"), ["ours/"], "what is left")


def keys_that_are_no_paths_are_hidden():
    if KIND == "weed":
        return  # its keys are paths
    odd = ["odd//double", "odd/" + "n" * 256, "odd/a/" + "\u00e9" * 128]
    if KIND == "dev":
        odd += ["odd/./dot", "odd/../up", "odd/.", "odd/..", "/leading", "//", "odd/nul\0byte"]
    for key in odd:
        put(key, b"hidden")
    put("odd/seen", b"seen")
    put("odd/a/seen", b"seen")
    same(sorted(os.listdir(path("odd"))), ["a", "seen"], "what is listed beside odd keys")
    same(os.listdir(path("odd/a")), ["seen"], "what is listed beside a long name")
    same(read("odd/seen"), b"seen", "a file beside odd keys")
    assert "leading" not in os.listdir(MOUNT)
    fails(errno.ENOENT, lambda: os.stat(path("odd/double")))
    fails(errno.ENAMETOOLONG, lambda: os.stat(path("odd/" + "n" * 256)))
    os.remove(path("odd/seen"))
    os.remove(path("odd/a/seen"))
    fails(errno.ENOTEMPTY, lambda: os.rmdir(path("odd/a")))
    for key in odd:
        same(body(key), b"hidden", f"{key!r}, which no path reaches")
        delete(key)


def large_directories():
    wanted = [f"entry {n:05}.txt" for n in range(ENTRIES)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: put(f"large/{name}", name.encode()), wanted))
    same(sorted(os.listdir(path("large"))), wanted, "many names")
    with os.scandir(path("large")) as entries:
        sizes = {entry.name: entry.stat().st_size for n, entry in enumerate(entries) if n % 100 == 0}
    assert sizes and all(size == 15 for size in sizes.values()), "sizes in a large directory"
    for name in wanted[:: ENTRIES // 10]:
        same(read(f"large/{name}"), name.encode(), name)
    delete(f"large/{wanted[ENTRIES // 2]}")
    put("large/entry 99999.txt", b"new")
    now = sorted(set(wanted) - {wanted[ENTRIES // 2]} | {"entry 99999.txt"})
    same(sorted(os.listdir(path("large"))), now, "many names after two changes")
    # Removing while a listing is read.
    with os.scandir(path("large")) as entries:
        for n, entry in enumerate(entries):
            if n >= 300:
                break
            os.remove(entry.path)
    same(len(os.listdir(path("large"))), ENTRIES - 300, "names that are left")


def open_files_outlive_their_objects():
    put("gone/small", b"s" * 5000)
    put("gone/empty", b"")
    small, empty = open(path("gone/small"), "rb", buffering=0), open(path("gone/empty"), "rb", buffering=0)
    delete("gone/small")
    put("gone/empty", b"not empty any more")
    same(small.read(), b"s" * 5000, "a small file that was deleted while it was open")
    same(empty.read(), b"", "an empty file that was filled while it was open")
    fails(errno.ENOENT, lambda: open(path("gone/small"), "rb"))
    same(read("gone/empty"), b"not empty any more", "the filled file, opened again")
    # A writer whose object is replaced under it: the last close wins, whole.
    put("gone/edit", b"theirs, first")
    with open(path("gone/edit"), "r+b", buffering=0) as file:
        file.write(b"OURS")
        put("gone/edit", b"theirs, second, and longer")
    same(body("gone/edit"), b"OURSrs, first", "a change over a replaced object")
    same(read("gone/edit"), b"OURSrs, first", "the same, read back")


CHECKS = (
    each_change_is_seen_at_once,
    new_metadata_are_seen,
    names_go_both_ways,
    keys_that_are_no_paths_are_hidden,
    open_files_outlive_their_objects,
    readers_never_see_a_mix,
    large_directories,
)

if __name__ == "__main__":
    failed = 0
    for act in CHECKS:
        start = time.monotonic()
        try:
            act()
            outcome = "passed"
        except (AssertionError, OSError) as err:
            failed += 1
            outcome = f"FAILED: {type(err).__name__}: {err}"
        print(f"{act.__name__}: {outcome} ({time.monotonic() - start:.1f} s)", flush=True)
    sys.exit(bool(failed))
