"""The laboratory: one folder, the processes started in it, and the server they talk to. All of it ends with it."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

OPS = os.environ["BENCH_OPS"]
BUCKET = "bench"
JUICE_BUCKET = "bench-juicefs"
# They guard nothing but loopback.
ACCESS_KEY = "OFBENCHACCESSKEY0000"
SECRET_KEY = "ofbenchsecretkey00000000000000000000000000"
# Of a round trip of the slow network, in milliseconds.
DELAY = 15.0
# Longest measurement in seconds: what takes longer gets no figure.
LIMIT = 180


class TookTooLong(Exception):
    """An operation that was ended because a bench must."""


class Failed(Exception):
    """An operation that said it failed."""


class Lab:
    def __init__(self, quick, keep):
        self.quick = quick
        self.work = tempfile.mkdtemp(prefix="originfs-bench.")
        self.keep = keep
        self.processes = []
        self.endpoints = {}
        self.sets = {}
        self.env = {name: os.environ[name] for name in ("PATH", "LANG", "TERM") if name in os.environ} | {
            # Nothing of the user's: neither settings nor keys nor proxies.
            "HOME": self.path("home"),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name in ("home", "log", "disk", "mnt", "cache"):
            os.mkdir(self.path(name))

    def path(self, *names):
        return os.path.join(self.work, *names)

    # Processes

    def start(self, name, argv, env=None, stdout=None):
        """In a session of its own, that ends with this process even if that is killed."""
        log = open(self.path("log", name + ".log"), "ab")
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *map(str, argv)],
            env=self.env | (env or {}), stdin=subprocess.DEVNULL, stdout=stdout or log, stderr=log,
            start_new_session=True, cwd=self.work)
        log.close()
        self.processes.append(process)
        return process

    def stop(self, process, grace=30):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                # The session is its own: nobody else's process is in the group.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        if process in self.processes:
            self.processes.remove(process)

    def last_words(self, name, lines=3):
        with contextlib.suppress(OSError):
            with open(self.path("log", name + ".log"), errors="replace") as log:
                return " / ".join(line.strip()[:200] for line in log.readlines()[-lines:])
        return ""

    # Server and networks

    def start_server(self):
        self.server = self.start("server", [
            os.environ["BENCH_SERVER"], "--listen", "127.0.0.1:0", "--data", self.path("server"), "--bucket", BUCKET,
            "--bucket", JUICE_BUCKET, "--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY], stdout=subprocess.PIPE)
        self.endpoints["lan"] = self.server.stdout.readline().decode().strip()
        address = self.endpoints["lan"].removeprefix("http://")
        proxy = self.start("proxy", [OPS, "proxy", "--upstream", address, "--delay", DELAY], stdout=subprocess.PIPE)
        self.endpoints["wan"] = "http://" + proxy.stdout.readline().decode().strip()
        if not address or self.endpoints["wan"] == "http://":
            raise Failed("the server or the proxy did not start: " + self.last_words("server"))

    def admin(self, method, what):
        request = urllib.request.Request(f"{self.endpoints['lan']}/_admin/{what}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def counts(self):
        """Requests by name since they were forgotten."""
        return self.admin("GET", "counts")

    def forget_counts(self):
        self.admin("DELETE", "log")

    def settle(self, quiet=0.5, limit=60):
        """Until nobody asks the server anything: some write back after close."""
        end, since, last = time.monotonic() + limit, time.monotonic(), self.counts()
        while time.monotonic() < end and time.monotonic() - since < quiet:
            time.sleep(0.1)
            now = self.counts()
            if now != last:
                since, last = time.monotonic(), now

    # Operations

    def run(self, *argv, limit=LIMIT):
        """Runs a program to its end; gives its stdout."""
        process = subprocess.Popen([str(word) for word in argv], env=self.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.work)
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise TookTooLong(f"longer than {limit} s") from None
        finally:
            if process.poll() is None:
                process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
        if process.returncode:
            raise Failed((out + err).decode(errors="replace").strip()[-300:])
        return out.decode()

    def ops(self, *argv, limit=LIMIT):
        """An operation of originfs-bench-ops; gives its figures."""
        return json.loads(self.run(OPS, *argv, limit=limit).splitlines()[-1])

    def raw(self, what, net, *argv, limit=LIMIT):
        return self.ops("raw", what, "--endpoint", self.endpoints[net], "--bucket", BUCKET, *argv, limit=limit)

    def seconds(self, *argv, limit=LIMIT):
        """How long a program takes."""
        start = time.perf_counter()
        self.run(*argv, limit=limit)
        return time.perf_counter() - start

    # Ends

    def close(self):
        """Safe to call at any time, and once more."""
        for point in reversed(mount_points()):
            if point.startswith(self.work + "/"):
                subprocess.run(["umount", "--lazy", point], check=False)
        for process in reversed(self.processes[:]):
            self.stop(process, grace=10)
        if not self.keep:
            shutil.rmtree(self.work, ignore_errors=True)


def mount_points():
    """From the kernel's table: asking a mount itself may hang."""
    with open("/proc/mounts") as mounts:
        return [line.split()[1] for line in mounts]


def is_mounted(path):
    return path in mount_points()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
