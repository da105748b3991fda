"""What both tests know of the site that scripts/sites has started."""

import subprocess
from pathlib import Path

from web import Server


def servers(work, front):
    """That web server program of both hosts."""
    for web in "ab":
        ports = dict(line.split("=") for line in (work / web / "ports").read_text().splitlines())
        yield Server(f"{front} of {web}", int(ports[front]))


def photo(work, seed):
    """A file that is the same for the same seed."""
    file = work / f"photo-{seed}.jpg"
    subprocess.run(["php", Path(__file__).parent / "photo.php", str(seed), file], check=True)
    return file


def told(what):
    print(f"  ok {what}", flush=True)
