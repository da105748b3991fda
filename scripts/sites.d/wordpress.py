"""What a person does in WordPress, as the requests that the pages of it make."""

import html
import re

USER, PASSWORD = "admin", "correct horse battery staple"


class Wordpress:
    def __init__(self, browser):
        self.browser = browser

    def install(self, server):
        fields = {
            "weblog_title": "Two webservers",
            "user_name": USER,
            "admin_password": PASSWORD,
            "admin_password2": PASSWORD,
            "admin_email": "admin@example.test",
            "blog_public": "0",
        }
        answer = self.browser.submit(server, "/wp-admin/install.php?step=2", fields)
        assert "wp-login.php" in answer.text and "Success" in answer.text, answer.text[:2000]

    def login(self, server):
        self.browser.page(server, "/wp-login.php")  # sets the cookie that the next one is tried with
        answer = self.browser.submit(server, "/wp-login.php", {"log": USER, "pwd": PASSWORD, "testcookie": "1"})
        assert answer.status == 302 and "wp-admin" in answer.headers["Location"], answer.text[:2000]

    def upload(self, server, name, content):
        """The media page's upload; gives the attachment's number."""
        page = self.browser.page(server, "/wp-admin/media-new.php").text
        nonce = re.search(r'"multipart_params":\{[^}]*"_wpnonce":"(\w+)"', page)[1]
        fields = {"name": name, "action": "upload-attachment", "_wpnonce": nonce}
        answer = self.browser.upload(server, "/wp-admin/async-upload.php", fields, name, content).json
        assert answer["success"], answer
        return answer["data"]["id"]

    def rest(self, server, method, route, body=None):
        nonce = self.browser.page(server, "/wp-admin/admin-ajax.php?action=rest-nonce").text
        headers = {"X-WP-Nonce": nonce, "Content-Type": "application/json"}
        answer = self.browser.ask(server, method, f"/index.php?rest_route=/wp/v2/{route}", body, headers)
        assert answer.status < 300, f"{method} {route} on {server.name}: {answer.status} {answer.text[:500]}"
        return answer.json

    def files(self, server, attachment):
        """The URLs of an attachment, as this server knows them: the picture, its sizes, the original."""
        media = self.rest(server, "GET", f"media/{attachment}")
        urls = {media["source_url"]} | {size["source_url"] for size in media["media_details"]["sizes"].values()}
        if original := media["media_details"].get("original_image"):
            urls.add(media["source_url"].rsplit("/", 1)[0] + "/" + original)
        return media["source_url"], sorted(self.browser.path(url) for url in urls)

    def library(self, server):
        """The media library as a list: each attachment's number and the picture shown for it."""
        page = self.browser.page(server, "/wp-admin/upload.php?mode=list").text
        rows = re.findall(r'<tr id="post-(\d+)".*?</tr>', page, re.S)
        pictures = re.findall(r'<tr id="post-\d+".*?<img[^>]* src="([^"]+)"', page, re.S)
        return dict(zip(map(int, rows), map(html.unescape, pictures), strict=True))

    def rotate(self, server, attachment):
        """The image editor: a quarter turn, saved for all sizes."""
        page = self.browser.page(server, f"/wp-admin/post.php?post={attachment}&action=edit").text
        nonce = re.search(rf'imageEdit\.open\( {attachment}, (?:&quot;|")(\w+)(?:&quot;|")', page)[1]
        fields = {
            "action": "image-editor",
            "_ajax_nonce": nonce,
            "postid": attachment,
            "history": '[{"r":90}]',
            "target": "all",
            "context": "",
            "do": "save",
        }
        answer = self.browser.submit(server, "/wp-admin/admin-ajax.php", fields).json
        assert "error" not in answer.get("data", answer), answer

    def crop(self, server, attachment):
        """The block editor's crop: makes another attachment, whose number it gives."""
        picture, _ = self.files(server, attachment)
        body = f'{{"src": "{picture}", "x": 10, "y": 10, "width": 50, "height": 50}}'
        return self.rest(server, "POST", f"media/{attachment}/edit", body)["id"]

    def delete(self, server, attachment):
        """The link on the attachment's page."""
        page = self.browser.page(server, f"/wp-admin/post.php?post={attachment}&action=edit").text
        pattern = rf'href=["\']([^"\']*post\.php\?post={attachment}&(?:amp;|#038;)?action=delete&[^"\']*)["\']'
        link = re.search(pattern, page)
        answer = self.browser.get(server, html.unescape(link[1]))
        assert answer.status == 302, answer.text[:2000]
