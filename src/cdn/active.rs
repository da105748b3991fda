//! Whether bytes would act in a browser, whatever their name says.
//!
//! Programs that guess types do not answer this: an SVG behind a comment is text to them, and a picture with a script in
//! it a picture. So the start of a file is read as a browser that guesses reads it (WHATWG MIME Sniffing, section 7.1),
//! and what must be binary is searched for markup.

/// The bytes of a file's start that are looked at.
pub const HEAD_LEN: usize = 4 << 10;

/// Elements that make a document of what begins with them, or act by themselves.
const ELEMENTS: [&str; 31] = [
    "html", "head", "script", "iframe", "h1", "div", "font", "table", "a", "style", "title", "b", "body", "br", "p",
    "svg", "math", "img", "object", "embed", "form", "input", "meta", "link", "base", "frameset", "video", "audio",
    "details", "template", "applet",
];

/// Markup that has no business in a picture or an archive.
const PLANTED: [&[u8]; 8] = [b"<script", b"<?php", b"<html", b"<svg", b"<body", b"<iframe", b"<object", b"<embed"];

/// What an SVG holds that does or fetches something.
const ACTS: [&str; 10] = [
    "script",
    "<foreignobject",
    "<iframe",
    "<embed",
    "<object",
    "<!entity",
    "javascript:",
    "data:text",
    "&#",
    "<?xml-style",
];

/// Whether `head`, the start of a file, is a document that acts, or hides one. `text`: the file is of a type that may hold
/// markup as text, so that only its beginning counts.
pub fn acts(head: &[u8], text: bool) -> bool {
    let head = &head[..head.len().min(HEAD_LEN)];
    if is_also_a_script(head) {
        return true;
    }
    // Without the zeros, UTF-16 reads like ASCII.
    let plain: Vec<u8> = head.iter().filter(|byte| **byte != 0).map(u8::to_ascii_lowercase).collect();
    begins_a_document(&plain) || (!text && PLANTED.iter().any(|planted| has(&plain, planted)))
}

/// Whether a whole SVG only draws. Says no wherever it is not sure.
pub fn is_inert_svg(whole: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(whole) else { return false };
    let text = text.to_ascii_lowercase();
    !text.contains('\0') && !ACTS.iter().any(|act| text.contains(act)) && !has_handler(&text)
}

/// An attribute such as `onload=`.
fn has_handler(text: &str) -> bool {
    text.match_indices("on").any(|(at, _)| {
        let before = text[..at].bytes().next_back();
        let after = text[at..].trim_start_matches(|c: char| c.is_ascii_alphanumeric()).trim_start();
        before.is_some_and(|b| b.is_ascii_whitespace() || b"\"'/".contains(&b)) && after.starts_with('=')
    })
}

/// Pictures whose first bytes a script engine reads as the start of a comment or of an assignment.
fn is_also_a_script(head: &[u8]) -> bool {
    let gif = head.strip_prefix(b"GIF87a").or(head.strip_prefix(b"GIF89a"));
    let jpeg = head.strip_prefix(b"\xff\xd8\xff").and_then(|rest| rest.get(1..));
    gif.is_some_and(|rest| rest.starts_with(b"=") || rest.starts_with(b"/*"))
        || jpeg.is_some_and(|rest| rest.starts_with(b"/*"))
}

fn begins_a_document(lower: &[u8]) -> bool {
    let mut rest = lower;
    loop {
        rest = skip_marks(rest).trim_ascii_start();
        rest = if let Some(comment) = rest.strip_prefix(b"<!--") {
            // A comment without an end hides what follows.
            let Some(after) = after(comment, b"-->") else { return true };
            after
        } else if rest.starts_with(b"<!doctype") {
            let name = rest[b"<!doctype".len()..].trim_ascii_start();
            if name.starts_with(b"html") || name.starts_with(b"svg") {
                return true;
            }
            let end: &[u8] = if has(until(name, b'>'), b"[") { b"]>" } else { b">" };
            let Some(after) = after(name, end) else { return true };
            after
        } else if let Some(instruction) = rest.strip_prefix(b"<?") {
            let harmless = instruction.starts_with(b"xml ") || instruction.starts_with(b"xpacket");
            let Some(after) = after(instruction, b"?>").filter(|_| harmless) else {
                return instruction.starts_with(b"php")
                    || instruction.starts_with(b"=")
                    || instruction.starts_with(b"xml");
            };
            after
        } else {
            return begins_an_element(rest);
        };
    }
}

fn begins_an_element(rest: &[u8]) -> bool {
    let Some(tag) = rest.strip_prefix(b"<") else { return false };
    let len = tag.iter().take_while(|b| b.is_ascii_alphanumeric() || b":-_".contains(b)).count();
    let (name, after) = tag.split_at(len);
    // With whatever namespace before it.
    let local = name.rsplit(|b| *b == b':').next().unwrap_or(name);
    let ends = after.first().is_none_or(|b| b.is_ascii_whitespace() || b"/>".contains(b));
    ends && (name.contains(&b':') && local == b"stylesheet" || ELEMENTS.iter().any(|known| known.as_bytes() == local))
}

/// Without byte order marks.
fn skip_marks(bytes: &[u8]) -> &[u8] {
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xfe\xff", b"\xff\xfe"];
    marks.iter().find_map(|mark| bytes.strip_prefix(*mark)).unwrap_or(bytes)
}

fn until(bytes: &[u8], end: u8) -> &[u8] {
    bytes.split(|b| *b == end).next().unwrap_or_default()
}

fn after<'a>(bytes: &'a [u8], end: &[u8]) -> Option<&'a [u8]> {
    let at = bytes.windows(end.len()).position(|window| window == end)?;
    Some(&bytes[at + end.len()..])
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_behind_whatever_comes_first() {
        for text in [
            "<html>",
            "\u{feff}\r\n <HTML lang=de>",
            "<!DOCTYPE html><p>",
            "<!-- x --><script>1</script>",
            "<?xml version='1.0'?>\n<!-- logo -->\n<svg xmlns='http://www.w3.org/2000/svg'/>",
            "<?xml version='1.0'?><!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'x.dtd'><svg>",
            "<!DOCTYPE x [<!ENTITY y 'z'>]><svg:svg xmlns:svg='a'>",
            "<?php echo 1;",
            "<?= 1 ?>",
            "<?xml version='1.0'?><?xml-stylesheet href='a.xsl'?><a/>",
            "<xsl:stylesheet version='1.0'>",
            "<!-- never closed",
            "<img src=x onerror=1>",
            "<a\thref=x>",
            "<script",
        ] {
            assert!(acts(text.as_bytes(), true), "{text}");
            assert!(acts(text.as_bytes(), false), "{text}");
        }
        let wide: Vec<u8> = "<html>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(acts(&[&b"\xff\xfe"[..], &wide].concat(), true));
    }

    #[test]
    fn text_that_mentions_markup_is_text() {
        for text in [
            "",
            "Use <script> for that.",
            "a{background:url(\"data:image/svg+xml,<svg xmlns='x'/>\")}",
            "document.write('<html>')",
            "<rss version='2.0'><channel>",
            "<?xml version='1.0'?><urlset>",
            "<abbr>",
            "<",
            "{\"a\": \"<svg>\"}",
        ] {
            assert!(!acts(text.as_bytes(), true), "{text}");
        }
    }

    #[test]
    fn pictures_with_something_planted_act() {
        for bytes in [
            &b"GIF89a\x01\x00\x01\x00<script>alert(1)</script>"[..],
            b"GIF89a/*\x00\x00*/=1;alert(1)",
            b"GIF89a=1;alert(1)",
            b"\xff\xd8\xff\xe0/*JFIF",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR<?PHP system($_GET[0]); ?>",
            b"PK\x03\x04<IFRAME src=x>",
        ] {
            assert!(acts(bytes, false), "{}", bytes.escape_ascii());
        }
        for bytes in [
            &b"GIF89a\x01\x00\x01\x00\x80"[..],
            b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR<?xpacket begin='' id=''?><x:xmpmeta>",
        ] {
            assert!(!acts(bytes, false), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn only_the_head_is_searched() {
        let mut late = vec![b'a'; HEAD_LEN];
        late.extend(b"<script>");
        assert!(!acts(&late, false));
    }

    #[test]
    fn an_svg_that_only_draws_is_inert() {
        assert!(is_inert_svg(
            b"<svg xmlns='http://www.w3.org/2000/svg'><title>conversion = 1</title><path d='M0 0'/></svg>"
        ));
        for text in [
            "<svg><script>1</script></svg>",
            "<svg><s:ScRiPt xmlns:s='x'/></svg>",
            "<svg onload=\"x\">",
            "<svg/onload=x>",
            "<svg a='b'onclick = 'x'>",
            "<svg><foreignObject/>",
            "<svg><a href='JavaScript:x'>",
            "<svg><a href='&#106;avascript:x'>",
            "<!DOCTYPE svg [<!ENTITY x 'y'>]><svg/>",
        ] {
            assert!(!is_inert_svg(text.as_bytes()), "{text}");
        }
        assert!(!is_inert_svg(b"\xff\xfe<\0s\0v\0g\0"));
    }
}
