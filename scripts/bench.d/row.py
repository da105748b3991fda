"""What a row is, what it is compared with, and what its rows share."""
import dataclasses
import os
import typing

from systems import DURABLE_PEERS, PEERS

WARM = ("ext4", "floor", "originfs", "originfs-60s", *PEERS)
DISK = ("ext4", "originfs", "originfs-60s", *PEERS)
RAW = ("raw", "originfs", *PEERS)
OURS = ("originfs", *PEERS)
# Where the default asks the bucket for every absent name, which the kernel then does under a lock of the directory.
RAW_60S = ("raw", "originfs", "originfs-60s", *PEERS)


@dataclasses.dataclass
class Limit:
    """What `ours` is compared with: `of` a system (or the best of several), times `times`, plus `plus`; its ratio to
    that shall be at most (or, where more is better, at least) `reach`. Without `of`, the figure itself."""
    of: typing.Optional[str]
    reach: float
    times: float = 1
    plus: float = 0

    def base(self, figures, more):
        if self.of is None:
            return 1
        names = {"peers": PEERS, "durable peers": DURABLE_PEERS}.get(self.of, (self.of,))
        known = [figures[name] for name in names if figures.get(name) is not None]
        return (max if more else min)(known) * self.times + self.plus if known else None

    def words(self, more, unit):
        sign = "at least" if more else "at most"
        if self.of is None:
            return f"{sign} {self.reach:g} {unit}"
        times = f"{self.times:g} x " if self.times != 1 else ""
        plus = f" + {self.plus:g} {unit}" if self.plus else ""
        name = {"peers": "the best peer", "durable peers": "the best peer as durable"}.get(self.of, self.of)
        return f"{sign} {self.reach:g} of {times}{name}{plus}"


@dataclasses.dataclass
class Row:
    name: str
    title: str
    group: str
    unit: str
    systems: tuple
    # (lab, system, round) -> figure, or a dict with "value" and what else was seen
    measure: typing.Callable
    limit: typing.Optional[Limit] = None
    # (lab, net, round) -> the same, of a client without a file system
    raw: typing.Optional[typing.Callable] = None
    # (name, count, bytes of each, or a function of the lab): files that exist before
    sets: tuple = ()
    net: str = "lan"
    cold: bool = False
    more: bool = False
    ours: str = "originfs"


def make_set(lab, systems, name, count, size):
    """Files `f0`, `f1`, .. in the directory `name` of each system: of their bucket, or their own. No systems: of the
    bucket."""
    size = size(lab) if callable(size) else size
    there = lab.sets.setdefault(name, set())
    for system in systems:
        if system.own and system.name not in there:
            system.fill(name, count, size)
            there.add(system.name)
    shared = not systems or not all(system.own for system in systems)
    if shared and "bucket" not in there:
        lab.raw("put", "lan", "--prefix", f"{name}/", "--count", count, "--bytes", size, "--concurrency", 32, limit=1200)
        there.add("bucket")


def first_time(system, what):
    """Whether this mount has not done `what` before."""
    key = (system.mounts, what)
    if key in system.warmed:
        return False
    system.warmed.add(key)
    return True


def greet(system):
    """A first request, so that connections are open and what comes is measured alone."""
    with open(os.path.join(system.dir, "hello", "f0"), "rb") as file:
        file.read()


def fresh(system, what, round_number):
    """A directory that nobody saw before."""
    return os.path.join(system.dir, f"{what}-{system.name}-{round_number}-{system.mounts}")


HELLO = ("hello", 1, 1024)
