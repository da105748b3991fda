"""A web browser without a screen: cookies, forms, files; and what the bucket was asked meanwhile."""

import http.client
import json
import os
import urllib.parse
import uuid
from dataclasses import dataclass

# Seconds that PHP may take for a page or an upload on a busy machine.
PATIENCE = 120


@dataclass(frozen=True)
class Server:
    """One web server of one webserver host: `nginx of a`."""

    name: str
    port: int


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def validators(self):
        return self.headers["ETag"], self.headers["Last-Modified"]


class Browser:
    """One visitor of one site; each request says which webserver a balancer would have sent it to."""

    def __init__(self, site):
        self.site = site
        self.cookies = {}

    def path(self, url):
        """The path of a URL of the site."""
        parts = urllib.parse.urlsplit(url)
        assert parts.netloc in ("", self.site), f"{url} is not of {self.site}"
        return parts.path + (f"?{parts.query}" if parts.query else "")

    def ask(self, server, method, url, body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        sent = {"Host": self.site, **dict(headers)}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection.request(method, self.path(url), body, sent)
        got = connection.getresponse()
        answer = Answer(got.status, got.headers, got.read())
        connection.close()
        for cookie in got.headers.get_all("Set-Cookie", ()):
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        return answer

    def get(self, server, url, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask(server, "GET", url, headers=headers)

    def page(self, server, url):
        """GET of what must be there."""
        answer = self.get(server, url)
        assert answer.status == 200, f"{url} on {server.name}: {answer.status} {answer.body[:300]}"
        return answer

    def submit(self, server, url, fields, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self.ask(server, "POST", url, urllib.parse.urlencode(fields), headers)

    def upload(self, server, url, fields, name, content):
        """A form with a file, as multipart/form-data (RFC 7578)."""
        boundary = uuid.uuid4().hex
        heads = [(f'form-data; name="{key}"', str(value).encode()) for key, value in fields.items()]
        heads.append((f'form-data; name="async-upload"; filename="{name}"\r\nContent-Type: image/jpeg', content))
        body = b"".join(
            f"--{boundary}\r\nContent-Disposition: {head}\r\n\r\n".encode() + value + b"\r\n" for head, value in heads
        )
        body += f"--{boundary}--\r\n".encode()
        return self.ask(server, "POST", url, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})


class Requests:
    """What the S3 server was asked while this was open, by operation: `with Requests() as asked: ...`."""

    def __init__(self):
        self.endpoint = urllib.parse.urlsplit(os.environ["ORIGINFS_TEST_ENDPOINT"]).netloc

    def admin(self, method):
        connection = http.client.HTTPConnection(self.endpoint, timeout=PATIENCE)
        connection.request(method, "/_admin/log")
        return json.loads(connection.getresponse().read())

    def __enter__(self):
        self.admin("DELETE")
        return self

    def __exit__(self, *_):
        self.counts = self.admin("GET")["counts"]

    def __getitem__(self, operation):
        return self.counts.get(operation, 0)

    def __str__(self):
        return ", ".join(f"{count} {operation}" for operation, count in sorted(self.counts.items())) or "none"
