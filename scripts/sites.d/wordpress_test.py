"""WordPress on two webservers, a and b, over HTTP. Run by scripts/sites: wordpress_test.py WORK SITE QUESTIONS FRONT...

QUESTIONS is how many S3 requests that write nothing an upload may cost for each file of it.
"""

import json
import sys
import time
from pathlib import Path

from site_of import photo, servers, told
from web import Browser, Requests
from wordpress import Wordpress

WORK, SITE, QUESTIONS, FRONTS = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
# The month of the test's start, as WordPress names it.
MONTH = time.strftime("/wp-content/uploads/%Y/%m", time.gmtime())
KEPT = WORK / "kept.json"
UPLOADS = "var/www/html/wp-content/uploads"


def local(web):
    """The uploads as programs of that host see them."""
    return Path("/proc", (WORK / f"{web}.pid").read_text().strip(), "root", UPLOADS)


def dimensions(jpeg):
    """Width and height, from the frame header (ITU T.81, B.2.2)."""
    at = 2
    while not 0xC0 <= jpeg[at + 1] <= 0xC2:
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return int.from_bytes(jpeg[at + 7 : at + 9], "big"), int.from_bytes(jpeg[at + 5 : at + 7], "big")


class Site:
    def __init__(self, front):
        self.a, self.b = servers(WORK, front)
        self.browser = Browser(SITE)
        self.wordpress = Wordpress(self.browser)

    def same(self, urls, first, second):
        """The very same answer of both, asked in this order; gives the bodies."""
        bodies = {}
        for url in urls:
            one, other = self.browser.page(first, url), self.browser.page(second, url)
            assert one.body == other.body, f"{url} differs"
            assert one.headers["Content-Type"] == other.headers["Content-Type"], url
            assert None not in one.validators, f"{url} of {first.name} has no validators"
            # Apache says W/ while a file is younger than a second.
            validators = [answer.validators[0].removeprefix("W/") for answer in (one, other)]
            assert validators[0] == validators[1], f"{url}: {one.validators} {other.validators}"
            assert one.validators[1] == other.validators[1], f"{url}: {one.validators} {other.validators}"
            # What one said is known to the other.
            again = self.browser.get(first, url, If_None_Match=other.validators[0])
            assert (again.status, again.body) == (304, b""), f"{url}: {again.status}"
            if not one.validators[0].startswith("W/"):
                part = self.browser.get(second, url, Range="bytes=100-199", If_Range=one.validators[0])
                assert (part.status, part.body) == (206, one.body[100:200]), f"{url}: {part.status}"
            bodies[url] = one.body
        return bodies

    def gone(self, urls, server):
        for url in urls:
            status = self.browser.get(server, url).status
            assert status == 404, f"{url} on {server.name}: {status}"

    def upload(self, seed):
        """A photo to a; all its files at once on b, which looked for them in vain a moment before."""
        name, content = f"photo-{seed}.jpg", photo(WORK, seed).read_bytes()
        self.gone([f"{MONTH}/photo-{seed}{size}.jpg" for size in ("", "-150x150", "-scaled")], self.b)
        with Requests() as asked:
            attachment = self.wordpress.upload(self.a, name, content)
        _, urls = self.wordpress.files(self.b, attachment)
        bodies = self.same(urls, self.b, self.a)
        assert content in bodies.values(), "the original is not what was uploaded"
        told(f"a photo uploaded on a: its {len(urls)} files are at once on b, ETag and Last-Modified equal")
        told(f"that cost {asked}")
        # A file is written once, and what this host wrote it never fetches. The month's directories are the first
        # upload's. The rest are questions that freshness=open asks: one for each open and each absent name.
        directories = 2 if seed == 1 else 0
        assert (asked["PutObject"], asked["GetObject"]) == (len(urls) + directories, 0), asked
        assert sum(asked.counts.values()) - asked["PutObject"] <= QUESTIONS * len(urls), asked
        return attachment, urls

    def listed(self, attachment, server):
        picture = self.wordpress.library(server)[attachment]
        assert dimensions(self.browser.page(server, picture).body) == (150, 150)
        told(f"the media library of {server.name} shows it")

    def edit(self, attachment, old):
        """Edited on b, seen on a."""
        upright = dimensions(self.browser.page(self.a, old[-1]).body)
        self.wordpress.rotate(self.b, attachment)
        picture, urls = self.wordpress.files(self.a, attachment)
        new = [url for url in urls if url not in old]
        assert len(new) >= 7, urls
        self.same(new, self.a, self.b)
        turned = dimensions(self.browser.page(self.a, picture).body)
        assert turned[0] < turned[1] and upright[0] > upright[1], (upright, turned)
        told(f"rotated on b: its {len(new)} new files are at once on a")
        cropped = self.wordpress.crop(self.b, attachment)
        _, more = self.wordpress.files(self.a, cropped)
        self.same(more, self.a, self.b)
        told(f"cropped on b: the {len(more)} files of the new picture are at once on a")
        return cropped, new + more

    def delete(self, attachments, urls):
        """Deleted on a, absent on b."""
        for attachment in attachments:
            self.wordpress.delete(self.a, attachment)
        self.gone(urls, self.b)
        self.gone(urls, self.a)
        assert not set(attachments) & set(self.wordpress.library(self.b))
        told(f"deleted on a: all {len(urls)} files are at once 404 on b")

    def replace(self, times):
        """The same name with other content again and again, as plugins make thumbnails anew."""
        url, body = f"{MONTH}/replaced.jpg", b""
        for n in range(times):
            writer, reader = ("a", self.b) if n % 2 else ("b", self.a)
            self.browser.get(reader, url)
            body = b"%d " % n * (1000 + 100 * (n * 7 % 5))
            (local(writer) / f"{MONTH[-7:]}/replaced.jpg").write_bytes(body)
            got = self.browser.page(reader, url)
            assert got.body == body, f"{url} of {reader.name}: {len(got.body)} bytes where {len(body)} were due"
            self.same([url], self.a, self.b)
        (local("a") / f"{MONTH[-7:]}/replaced.jpg").unlink()
        told(f"replaced {times} times in place: always the new one on the other")

    def refuses_code(self):
        for name in ("shell.php", "shell.PHP", "shell.php5", "shell.phtml", "shell.phar", ".htaccess"):
            file = local("a") / name
            file.write_bytes(b"<?php echo 6 * 7; ?>")
            for url in (f"/wp-content/uploads/{name}", f"/wp-content/uploads/{name}/x"):
                got = self.browser.get(self.b, url)
                assert got.status in (403, 404), f"{url}: {got.status}"
                assert b"42" not in got.body and b"6 * 7" not in got.body, f"{url}: {got.body}"
            file.unlink()
        told("code among the uploads is neither run nor shown")


    def keep(self, seed):
        """A photo that stays; its validators are those that both webservers have after their next start."""
        self.wordpress.login(self.a)
        _, urls = self.wordpress.files(self.a, self.wordpress.upload(self.a, f"kept-{seed}.jpg", photo(WORK, seed).read_bytes()))
        self.same(urls, self.b, self.a)
        KEPT.write_text(json.dumps({url: self.browser.page(self.a, url).validators for url in urls}))

    def still_same(self):
        """After a restart with empty caches."""
        kept = json.loads(KEPT.read_text())
        for server in (self.a, self.b):
            now = {url: list(self.browser.page(server, url).validators) for url in kept}
            assert now == kept, f"{now} where {kept} were due"
        told(f"{len(kept)} files have the same ETag and Last-Modified after both mounts began anew, without a cache")


def main():
    first = not KEPT.exists()
    if not first:
        Site("nginx").still_same()
    for front in FRONTS:
        print(front, flush=True)
        site, seed = Site(front), len(list(WORK.glob("photo-*.jpg"))) + 1
        if seed == 1:
            site.wordpress.install(site.a)
        site.wordpress.login(site.a)
        attachment, urls = site.upload(seed)
        site.listed(attachment, site.b)
        cropped, more = site.edit(attachment, urls)
        site.delete([attachment, cropped], sorted({*urls, *more}))
        site.replace(20)
        site.refuses_code()
    if first:
        Site("nginx").keep(seed + 1)


main()
