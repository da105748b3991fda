"""WordPress on two webservers as a person uses it. Run by scripts/sites browser:

browser_test.py WORK SITE DRIVER-PORT BALANCER-PORT SCREENSHOTS
"""

import sys
from pathlib import Path

from driver import chromium
from site_of import photo, servers, told
from web import Browser
from wordpress import PASSWORD, USER, Wordpress

WORK, SITE, DRIVER, BALANCER, SCREENSHOTS = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:5]), Path(sys.argv[5])
A, B = servers(WORK, "nginx")


def on(port, name):
    return chromium(DRIVER, SITE, port, WORK / f"chromium-{name}")


def login(browser):
    browser.open("/wp-login.php")
    browser.type("#user_login", USER)
    browser.type("#user_pass", PASSWORD)
    browser.click("#wp-submit")
    browser.until("the dashboard", "return !!document.querySelector('#wpadminbar')")


def upload(browser, *files):
    """By the media page, whose hidden input is what its button and its drop zone fill."""
    browser.open("/wp-admin/media-new.php")
    browser.until("the uploader", "return !!document.querySelector('.moxie-shim input[type=file]')")
    browser.type(".moxie-shim input[type=file]", "\n".join(str(file) for file in files))
    # Each upload ends with its picture, 150 pixels wide, from whatever webserver is asked for it.
    browser.until(
        "the uploaded pictures",
        """const shown = [...document.querySelectorAll('#media-items .media-item img.pinkynail')];
        return shown.length == arguments[0] && shown.every(image => image.complete && image.naturalWidth > 0)""",
        len(files),
    )


def library(browser, names):
    """The media library's grid shows all of them, and no picture is broken."""
    browser.open("/wp-admin/upload.php?mode=grid")
    browser.until(
        "the pictures of the library",
        """const shown = [...document.querySelectorAll('.attachment img')];
        const whole = shown.filter(image => image.complete && image.naturalWidth > 0).map(image => image.src);
        return arguments[0].every(name => whole.some(source => source.includes(name)))""",
        names,
    )


def size_of(browser, url):
    """Of a picture that is opened in a tab of its own."""
    browser.open(url)
    return browser.run("const image = document.images[0]; return [image.naturalWidth, image.naturalHeight]")


def two_visits():
    """Uploaded at one webserver, looked at on the other."""
    file, name = photo(WORK, 1), "photo-1"
    with on(A.port, "a") as browser:
        login(browser)
        upload(browser, file)
        browser.screenshot(SCREENSHOTS / "1-uploaded-on-a.png")
    told("logged in and uploaded a photo by the media page of a")
    with on(B.port, "b") as browser:
        login(browser)
        library(browser, [name])
        browser.screenshot(SCREENSHOTS / "2-library-of-b.png")
        told("the media library of b shows it")
        source = browser.run("return document.querySelector('.attachment img').src")
        month = source[source.index("/wp-content") :].rsplit("/", 1)[0]
        assert size_of(browser, f"{month}/{name}.jpg") == [3000, 2000]
        browser.screenshot(SCREENSHOTS / "3-photo-of-b.png")
        told("b shows the photo itself, 3000 by 2000")


def through_the_balancer():
    """Each request of one visit at another webserver than the last one."""
    files = [photo(WORK, seed) for seed in (2, 3, 4)]
    with on(BALANCER, "balancer") as browser:
        login(browser)
        upload(browser, *files)
        library(browser, [file.stem for file in files])
        browser.screenshot(SCREENSHOTS / "4-library-through-the-balancer.png")
    asked = (WORK / "balancer-access.log").read_text().splitlines()
    pictures = [line for line in asked if "/wp-content/uploads/" in line]
    assert pictures and all(" 200 " in line or " 304 " in line for line in pictures), pictures
    told(f"three photos through a balancer that takes a and b in turn: {len(pictures)} pictures asked for, none missing")


Wordpress(Browser(SITE)).install(A)
two_visits()
through_the_balancer()
