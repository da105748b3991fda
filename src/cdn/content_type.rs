//! `Content-Type` and `Content-Encoding` of an object, by the name it has in the bucket.
//!
//! The table is our own, because the general ones are wrong or dated for what sites upload (`m4a`, `woff`, `mjs`,
//! `m3u8`, `mbz`), and because a server must never be told that an upload is PHP. Types are those of the IANA media type
//! registry where it has one; the others are what browsers and the application itself use.

use std::borrow::Cow;

/// What a name without a known extension gets. S3's own `binary/octet-stream` is no registered type.
pub const UNKNOWN: &str = "application/octet-stream";

/// The bytes of a body's start that decide about its charset: [`with_charset`] needs no more.
pub const HEAD_LEN: usize = 64 << 10;

/// The longest extension of [`TYPES`] in bytes: a longer one is not looked up.
const EXTENSION_MAX: usize = 12;

/// The type of a file by its last extension, in any case of letters. Never empty.
pub fn content_type(name: &str) -> &'static str {
    headers_for(name).0
}

/// The type, and `Content-Encoding` where the name says that the stored bytes are a packed form of that type.
///
/// Only SVG is stored so. An archive (`.gz`, `.tgz`, `.tar.gz`) gets no encoding: a browser would unpack the download.
pub fn headers_for(name: &str) -> (&'static str, Option<&'static str>) {
    let file = name.rsplit('/').next().unwrap_or(name);
    // A dot at the start hides a file; it does not begin an extension.
    let Some((stem, extension)) = file.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) else {
        return (UNKNOWN, None);
    };
    if extension.len() > EXTENSION_MAX {
        return (UNKNOWN, None);
    }
    let extension = extension.to_ascii_lowercase();
    let packed_svg = extension == "gz" && stem.len() > 4 && ends_with_ignoring_case(stem, ".svg");
    if packed_svg || extension == "svgz" {
        return ("image/svg+xml", Some("gzip"));
    }
    let found = TYPES.binary_search_by_key(&extension.as_str(), |&(extension, _)| extension);
    (found.map_or(UNKNOWN, |at| TYPES[at].1), None)
}

/// The type with `; charset=utf-8`, if it is a text type and `head`, the first [`HEAD_LEN`] bytes of the body, is UTF-8.
/// A character that is cut off at the end of `head` does not count against it.
pub fn with_charset<'a>(content_type: &'a str, head: &[u8]) -> Cow<'a, str> {
    let head = &head[..head.len().min(HEAD_LEN)];
    let utf8 = std::str::from_utf8(head).map_or_else(|err| err.error_len().is_none(), |_| true);
    if is_text(content_type) && utf8 && !content_type.contains(';') {
        Cow::Owned(format!("{content_type}; charset=utf-8"))
    } else {
        Cow::Borrowed(content_type)
    }
}

/// Whether a file of this type is text.
pub fn is_text(content_type: &str) -> bool {
    content_type.starts_with("text/")
        || content_type.ends_with("+json")
        || content_type.ends_with("+xml")
        || matches!(content_type, "application/json" | "application/javascript" | "application/xml")
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    text.len() >= end.len() && text.as_bytes()[text.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
}

/// Extension (lower case) and type, in byte order of the extension. PHP-like extensions are left out on purpose: a type
/// that names a program could make a server run it, so they are [`UNKNOWN`].
const TYPES: &[(&str, &str)] = &[
    ("3g2", "video/3gpp2"),
    ("3gp", "video/3gpp"),
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("ai", "application/postscript"),
    ("aif", "audio/aiff"),
    ("aiff", "audio/aiff"),
    ("apk", "application/vnd.android.package-archive"),
    ("apng", "image/apng"),
    ("atom", "application/atom+xml"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("cbr", "application/vnd.comicbook-rar"),
    ("cbz", "application/vnd.comicbook+zip"),
    ("cfg", "text/plain"),
    ("conf", "text/plain"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("deb", "application/vnd.debian.binary-package"),
    ("dmg", "application/x-apple-diskimage"),
    ("doc", "application/msword"),
    ("docm", "application/vnd.ms-word.document.macroEnabled.12"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("dotx", "application/vnd.openxmlformats-officedocument.wordprocessingml.template"),
    ("dwg", "image/vnd.dwg"),
    ("dxf", "image/vnd.dxf"),
    ("eml", "message/rfc822"),
    ("eot", "application/vnd.ms-fontobject"),
    ("eps", "application/postscript"),
    ("epub", "application/epub+zip"),
    ("exe", "application/vnd.microsoft.portable-executable"),
    ("flac", "audio/flac"),
    ("flv", "video/x-flv"),
    ("geojson", "application/geo+json"),
    ("gif", "image/gif"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
    ("gpx", "application/gpx+xml"),
    ("gz", "application/gzip"),
    ("h5p", "application/zip.h5p"),
    ("hdr", "image/vnd.radiance"),
    ("heic", "image/heic"),
    ("heics", "image/heic-sequence"),
    ("heif", "image/heif"),
    ("heifs", "image/heif-sequence"),
    ("htc", "text/x-component"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ics", "text/calendar"),
    ("ini", "text/plain"),
    ("jar", "application/java-archive"),
    ("jfif", "image/jpeg"),
    ("jp2", "image/jp2"),
    ("jpe", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("key", "application/vnd.apple.keynote"),
    ("kml", "application/vnd.google-earth.kml+xml"),
    ("kmz", "application/vnd.google-earth.kmz"),
    ("log", "text/plain"),
    ("m2ts", "video/mp2t"),
    ("m3u", "audio/mpegurl"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4b", "audio/mp4"),
    ("m4s", "video/iso.segment"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("markdown", "text/markdown"),
    ("mbz", "application/vnd.moodle.backup"),
    ("md", "text/markdown"),
    ("mdb", "application/vnd.ms-access"),
    ("mht", "multipart/related"),
    ("mid", "audio/midi"),
    ("midi", "audio/midi"),
    ("mjs", "text/javascript"),
    ("mka", "audio/matroska"),
    ("mkv", "video/matroska"),
    ("mobi", "application/x-mobipocket-ebook"),
    ("mov", "video/quicktime"),
    ("mp2", "audio/mpeg"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpd", "application/dash+xml"),
    ("mpeg", "video/mpeg"),
    ("mpg", "video/mpeg"),
    ("mpga", "audio/mpeg"),
    ("msg", "application/vnd.ms-outlook"),
    ("msi", "application/x-msi"),
    ("mts", "video/mp2t"),
    ("numbers", "application/vnd.apple.numbers"),
    ("obj", "model/obj"),
    ("odb", "application/vnd.oasis.opendocument.base"),
    ("odf", "application/vnd.oasis.opendocument.formula"),
    ("odg", "application/vnd.oasis.opendocument.graphics"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("ogx", "application/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("ott", "application/vnd.oasis.opendocument.text-template"),
    ("pages", "application/vnd.apple.pages"),
    ("pdf", "application/pdf"),
    ("pjpeg", "image/jpeg"),
    ("png", "image/png"),
    ("po", "text/plain"),
    ("pot", "application/vnd.ms-powerpoint"),
    ("potx", "application/vnd.openxmlformats-officedocument.presentationml.template"),
    ("pps", "application/vnd.ms-powerpoint"),
    ("ppsx", "application/vnd.openxmlformats-officedocument.presentationml.slideshow"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptm", "application/vnd.ms-powerpoint.presentation.macroEnabled.12"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("ps", "application/postscript"),
    ("psd", "image/vnd.adobe.photoshop"),
    ("pub", "application/vnd.ms-publisher"),
    ("qt", "video/quicktime"),
    ("rar", "application/vnd.rar"),
    ("rss", "application/rss+xml"),
    ("rtf", "application/rtf"),
    ("shtml", "text/html"),
    ("sql", "application/sql"),
    ("srt", "application/x-subrip"),
    ("stl", "model/stl"),
    ("svg", "image/svg+xml"),
    ("swf", "application/vnd.adobe.flash.movie"),
    ("tar", "application/x-tar"),
    ("tgz", "application/gzip"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("torrent", "application/x-bittorrent"),
    ("ts", "video/mp2t"),
    ("tsv", "text/tab-separated-values"),
    ("ttc", "font/collection"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain"),
    ("usdz", "model/vnd.usdz+zip"),
    ("vcf", "text/vcard"),
    ("vcs", "text/x-vcalendar"),
    ("vsd", "application/vnd.visio"),
    ("vtt", "text/vtt"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("wma", "audio/x-ms-wma"),
    ("wmv", "video/x-ms-wmv"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xht", "application/xhtml+xml"),
    ("xhtml", "application/xhtml+xml"),
    ("xla", "application/vnd.ms-excel"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsb", "application/vnd.ms-excel.sheet.binary.macroEnabled.12"),
    ("xlsm", "application/vnd.ms-excel.sheet.macroEnabled.12"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xltx", "application/vnd.openxmlformats-officedocument.spreadsheetml.template"),
    ("xml", "application/xml"),
    ("xsl", "application/xslt+xml"),
    ("xz", "application/x-xz"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What the names of an upload directory must be served as, apart from the table above.
    const GOLDEN: &str = include_str!("content_type.golden");

    #[test]
    fn the_table_can_be_searched() {
        assert!(TYPES.is_sorted_by(|a, b| a.0 < b.0));
        for (extension, _) in TYPES {
            assert!(extension.len() <= EXTENSION_MAX && extension.to_ascii_lowercase() == *extension, "{extension}");
        }
    }

    #[test]
    fn types_are_the_golden_ones() {
        let mut rows = 0;
        for line in GOLDEN.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let mut columns = line.split_whitespace();
            let (name, wanted) = (columns.next().expect("name"), columns.next().expect("type"));
            assert_eq!(headers_for(name), (wanted, columns.next()), "{name}");
            assert_eq!(content_type(name), wanted, "{name}");
            rows += 1;
        }
        assert!(rows >= 100, "{rows}");
    }

    #[test]
    fn letters_of_any_case_and_directories_do_not_matter() {
        assert_eq!(content_type("2026/11/Photo.JPG"), "image/jpeg");
        assert_eq!(content_type("photo.jpg/readme"), UNKNOWN);
        assert_eq!(content_type("a.png.Php"), UNKNOWN);
    }

    #[test]
    fn a_name_without_extension_is_unknown() {
        for name in ["", "README", ".htaccess", ".png", "a.", "a.unheard-of-long", "dir.d/", "\u{e9}.\u{e9}"] {
            assert_eq!(headers_for(name), (UNKNOWN, None), "{name:?}");
        }
    }

    #[test]
    fn utf8_text_gets_a_charset() {
        assert_eq!(with_charset("text/css", b"a{}"), "text/css; charset=utf-8");
        assert_eq!(with_charset("image/svg+xml", "\u{fc}".as_bytes()), "image/svg+xml; charset=utf-8");
        assert_eq!(with_charset("application/json", b"{}"), "application/json; charset=utf-8");
    }

    #[test]
    fn other_bytes_and_other_types_get_none() {
        assert_eq!(with_charset("text/plain", b"caf\xe9 au lait"), "text/plain");
        assert_eq!(with_charset("image/svg+xml", b"\x1f\x8b\x08"), "image/svg+xml");
        assert_eq!(with_charset("image/png", b"abc"), "image/png");
        assert_eq!(with_charset("text/html; charset=big5", b"abc"), "text/html; charset=big5");
    }

    #[test]
    fn a_character_cut_at_the_end_of_the_head_is_no_error() {
        let mut text = vec![b'a'; HEAD_LEN - 1];
        text.extend("\u{20ac}".bytes());
        assert_eq!(with_charset("text/plain", &text), "text/plain; charset=utf-8");
        assert_eq!(with_charset("text/plain", &text[..HEAD_LEN]), "text/plain; charset=utf-8");
    }
}
