"""Pictures of a page on a CDN, as a browser shows them. Run by scripts/cdn-browser:

cdn_test.py WORK PROGRAM BUCKET SITE:PORT CDN:PORT DRIVER-PORT SCREENSHOTS
"""

import http.server
import os
import struct
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import zlib
from pathlib import Path

from driver import chromium
from site_of import told

WORK, PROGRAM, BUCKET = Path(sys.argv[1]), *sys.argv[2:4]
(SITE, SITE_PORT), (CDN, CDN_PORT) = (argument.split(":") for argument in sys.argv[4:6])
DRIVER, SCREENSHOTS = int(sys.argv[6]), Path(sys.argv[7])
ORIGIN = f"{os.environ['ORIGINFS_TEST_ENDPOINT']}/{BUCKET}"
IMAGES = WORK / "html" / "images"


class Cdn:
    """Keeps what it once had for ever, by path and query, and allows browsers the same. Nobody purges it."""

    def __init__(self):
        self.kept, self.asked, self.server = {}, [], None

    def live(self):
        cdn = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                cdn.asked.append(self.path)
                status, body = cdn.get(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "image/png")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "public, max-age=31536000")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", int(CDN_PORT)), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def die(self):
        self.server.shutdown()
        self.server.server_close()

    def get(self, target):
        if target not in self.kept:
            try:
                with urllib.request.urlopen(ORIGIN + target.split("?")[0], timeout=30) as answer:
                    self.kept[target] = 200, answer.read()
            except urllib.error.HTTPError as error:
                self.kept[target] = error.code, b""
        return self.kept[target]


def picture(width):
    """A PNG of one colour, known by its width."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x30\x70\xc0" * width) * 10
    header = struct.pack(">IIBBBBB", width, 10, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def url(name, *options):
    command = [PROGRAM, "url", *options, IMAGES / name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def page(name, *images):
    """A page of the site, with the script, as an application would write it."""
    tag = f'<script src="/originfs-onerror.js" data-cdn="http://{CDN}/images" data-site="http://{SITE}/images"></script>'
    text = f"<!doctype html><title>{name}</title>{tag}\n" + "\n".join(images)
    (WORK / "html" / name).write_text(text)
    return f"/{name}"


def img(source):
    return f'<img src="{source}">'


def shown(browser, path, count):
    """Width and host of each picture of a page, when none is loading any more."""
    browser.open(path)
    return browser.until(
        "the pictures",
        """const images = [...document.images];
        if (images.length != arguments[0] || !images.every(image => image.complete)) return null;
        if (arguments[1] && images.some(image => !image.naturalWidth)) return null;
        return images.map(image => [image.naturalWidth, new URL(image.currentSrc).host])""",
        count,
        True,
    )


def visitor(name):
    """With a cache of its own."""
    return chromium(DRIVER, SITE, SITE_PORT, WORK / f"chromium-{name}", [(CDN, CDN_PORT)])


def overwritten():
    (IMAGES / "a b.png").write_bytes(picture(10))
    with visitor("overwritten") as browser:
        first = url("a b.png", "--versioned")
        assert first.startswith(f"http://{CDN}/images/a%20b.png?v="), first
        assert shown(browser, page("1.html", img(first), img(url("a b.png"))), 2) == [[10, CDN]] * 2
        (IMAGES / "a b.png").write_bytes(picture(20))
        second = url("a b.png", "--versioned")
        seen = shown(browser, page("2.html", img(second), img(url("a b.png"))), 2)
        assert seen == [[20, CDN], [10, CDN]], seen
        browser.screenshot(SCREENSHOTS / "cdn-1-overwritten.png")
    told("an overwritten picture shows at once under its new URL, where the plain one is still the old")


def without_cdn(cdn):
    source = url("a b.png", "--versioned")
    responsive = f'<picture><source srcset="{source}&amp;w=1 1x, {source}&amp;w=2 2x"><img src="{source}"></picture>'
    both = page("3.html", img(source), responsive, f'<img srcset="{source}&amp;w=3 1x">')
    cdn.die()
    with visitor("outage") as browser:
        seen = shown(browser, both, 3)
        assert seen == [[20, SITE]] * 3, seen
        browser.screenshot(SCREENSHOTS / "cdn-2-dead.png")
        told("with a dead CDN every picture shows, from the site: plain, <picture> and srcset")

        browser.open(page("4.html", img(f"http://{CDN}/images/none.png"), img(source)))
        browser.until("the other picture", "return document.images.length == 2 && document.images[1].naturalWidth == 20")
        browser.until("the end of the page", "return document.readyState == 'complete'")
        asked = (WORK / "nginx-access.log").read_text().count("GET /images/none.png")
        assert asked == 1, f"{asked} times"
        told("what is nowhere is asked of the site once")
    cdn.live()
    with visitor("back") as browser:
        assert shown(browser, both, 3) == [[20, CDN]] * 3
    told("when the CDN is back it is used again")


cdn = Cdn()
cdn.live()
overwritten()
without_cdn(cdn)
