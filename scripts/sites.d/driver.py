"""Chromium without a screen, driven by chromedriver (W3C WebDriver)."""

import base64
import http.client
import json
import time
from contextlib import contextmanager

# Seconds that a page may take on a busy machine.
PATIENCE = 120
# The name that a reference to an element has (W3C WebDriver, 12.2).
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Chromium:
    def __init__(self, driver_port, site, server_port, profile, others=()):
        self.driver, self.session = driver_port, ""
        names = "".join(f"MAP {name} 127.0.0.1:{port}, " for name, port in others)
        arguments = [
            "--headless=new",
            "--no-sandbox",  # root may not have one
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1280,900",
            f"--user-data-dir={profile}",
            # The site's name means one of the webservers, and no other name means anything but those that are given.
            f"--host-resolver-rules=MAP {site} 127.0.0.1:{server_port}, {names}MAP * ~NOTFOUND",
        ]
        options = {"goog:chromeOptions": {"args": arguments, "binary": "/usr/bin/chromium"}}
        answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": options}})
        self.session = f"/session/{answer['sessionId']}"
        self.site = f"http://{site}"

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.driver, timeout=PATIENCE)
        connection.request(method, self.session + path, None if body is None else json.dumps(body))
        answer = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{path}: {answer['error']}: {answer['message'][:500]}")
        return answer

    def open(self, path):
        self.ask("POST", "/url", {"url": self.site + path})

    def run(self, script, *arguments):
        """What a function with this body gives in the page."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": arguments})

    def until(self, what, script, *arguments):
        """Waits until the script gives something true, and gives that."""
        end = time.monotonic() + PATIENCE
        while True:
            if got := self.run(script, *arguments):
                return got
            assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
            time.sleep(0.1)

    def element(self, selector):
        found = self.ask("POST", "/element", {"using": "css selector", "value": selector})
        return f"/element/{found[ELEMENT]}"

    def type(self, selector, text):
        self.ask("POST", self.element(selector) + "/value", {"text": text})

    def click(self, selector):
        self.ask("POST", self.element(selector) + "/click", {})

    def screenshot(self, file):
        file.write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))

    def close(self):
        self.ask("DELETE", "")


@contextmanager
def chromium(*arguments):
    browser = Chromium(*arguments)
    try:
        yield browser
    finally:
        browser.close()
