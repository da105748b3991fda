//! Access logs: which path was read on which day. Pure, line by line, so that a log may be as long as it likes.
//!
//! Forms: S3 server access logs, `CloudFront` standard logs, Cloudflare Logpush (JSON lines of HTTP requests), and the
//! `combined` form of nginx and Apache. Each line tells by itself which one it is of.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::day::{Day, SECONDS};

/// A whole read, or a part of one, that brought bytes or said that they are the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Read<'l> {
    pub day: Day,
    pub of: Of<'l>,
}

/// What was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Of<'l> {
    /// A key, encoded once or twice: S3 and `CloudFront` encode what came encoded.
    Key(Cow<'l, str>),
    /// The path of a URL, as it came, without its query.
    Path(Cow<'l, str>),
}

/// What a line is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Line<'l> {
    Read(Read<'l>),
    /// Something else that happened on that day.
    Other(Day),
    /// A comment, or an empty line.
    Nothing,
    Unknown,
}

/// Reads a line. Its time is taken for UTC unless it says otherwise.
pub fn parse(line: &str) -> Line<'_> {
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.starts_with('#') {
        return Line::Nothing;
    }
    let read = if line.starts_with('{') {
        cloudflare(line)
    } else if line.contains('\t') {
        cloudfront(line)
    } else {
        combined_or_s3(line)
    };
    read.unwrap_or(Line::Unknown)
}

/// 200, 206 and 304 are reads; an error is none.
fn line(day: Day, is_get: bool, status: u16, of: Of<'_>) -> Line<'_> {
    if is_get && matches!(status, 200 | 206 | 304) { Line::Read(Read { day, of }) } else { Line::Other(day) }
}

fn without_query(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Logpush<'l> {
    #[serde(borrow)]
    client_request_method: Cow<'l, str>,
    #[serde(borrow, rename = "ClientRequestURI")]
    client_request_uri: Cow<'l, str>,
    edge_response_status: u16,
    /// RFC 3339, or seconds or nanoseconds since 1970, as the job is set.
    edge_start_timestamp: serde_json::Value,
}

fn cloudflare(text: &str) -> Option<Line<'_>> {
    /// Seconds are below it until the year 5138, nanoseconds above it since two minutes after 1970.
    const NANOSECONDS_FROM: i64 = 100_000_000_000;
    let log: Logpush<'_> = serde_json::from_str(text).ok()?;
    let day = match &log.edge_start_timestamp {
        serde_json::Value::String(text) => text.get(..10)?.parse().ok()?,
        number => match number.as_i64()? {
            nanoseconds @ NANOSECONDS_FROM.. => Day::of(nanoseconds / 1_000_000_000),
            seconds => Day::of(seconds),
        },
    };
    let path = match log.client_request_uri {
        Cow::Borrowed(uri) => Cow::Borrowed(without_query(uri)),
        Cow::Owned(uri) => Cow::Owned(without_query(&uri).to_owned()),
    };
    Some(line(day, log.client_request_method == "GET", log.edge_response_status, Of::Path(path)))
}

/// Fields by their place, which is the same in all versions of the form.
fn cloudfront(text: &str) -> Option<Line<'_>> {
    let fields: Vec<&str> = text.splitn(10, '\t').collect();
    let [date, _, _, _, _, method, _, stem, status, ..] = fields[..] else { return None };
    let key = Of::Key(Cow::Borrowed(stem.strip_prefix('/')?));
    Some(line(date.parse().ok()?, method == "GET", status.parse().ok()?, key))
}

/// Both have the time in brackets: after the bucket's owner and name, or after address, identity and user.
fn combined_or_s3(text: &str) -> Option<Line<'_>> {
    let (before, rest) = text.split_once(" [")?;
    let (time, rest) = rest.split_once("] ")?;
    let day = bracketed(time)?;
    if before.split(' ').count() == 2 {
        // Address, requester, id, operation, key, "request", status.
        let mut words = rest.splitn(6, ' ');
        let (operation, key) = (words.nth(3)?, words.next()?);
        let (_, after) = words.next()?.strip_prefix('"')?.split_once("\" ")?;
        let status = after.split(' ').next()?.parse().ok()?;
        return Some(line(day, operation.ends_with(".GET.OBJECT"), status, Of::Key(Cow::Borrowed(key))));
    }
    let (request, after) = rest.strip_prefix('"')?.split_once("\" ")?;
    let status = after.split(' ').next()?.parse().ok()?;
    let mut words = request.split(' ');
    let (method, target) = (words.next()?, words.next().unwrap_or_default());
    Some(line(day, method == "GET", status, Of::Path(Cow::Borrowed(without_query(target)))))
}

/// The day of `22/Nov/2026:23:30:00 -0100`, in UTC.
fn bracketed(time: &str) -> Option<Day> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (date, zone) = time.split_once(' ').unwrap_or((time, "+0000"));
    let mut parts = date.split(['/', ':']);
    let mut next = || parts.next();
    let (day, month, year) = (next()?.parse().ok()?, next()?, next()?.parse().ok()?);
    let (hours, minutes): (i64, i64) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let month = u32::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let zone: i64 = zone.parse().ok()?;
    let ahead = (zone / 100 * 60 + zone % 100) * 60;
    let day = Day::new(year, month, day)?;
    Some(Day::of(i64::from(day.0) * SECONDS + hours * 3_600 + minutes * 60 - ahead))
}

/// `text` without its percent-encoding; `None`: it is no UTF-8 then.
pub fn decoded(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S3: &str = r#"79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be site-bucket [06/Feb/2026:00:00:38 +0000] 192.0.2.3 79a59df9 3E57427F3EXAMPLE REST.GET.OBJECT images/a%2520b.png "GET /site-bucket/images/a%20b.png?versionId=1 HTTP/1.1" 200 - 113 113 7 6 "-" "curl/8" - id SigV4 ECDHE AuthHeader site-bucket.s3.amazonaws.com TLSv1.2 - -"#;
    const CLOUDFRONT: &str = "2026-02-06\t21:02:31\tLAX1\t392\t192.0.2.100\tGET\td111111abcdef8.cloudfront.net\t/images/a%2520b.png\t200\t-\tMozilla/5.0\tv=1\t-\tHit\tid\thost\thttps\t23";
    const CLOUDFLARE: &str = r#"{"ClientIP":"192.0.2.1","ClientRequestHost":"www.example.org","ClientRequestMethod":"GET","ClientRequestURI":"/images/a%20b.png?v=1","EdgeResponseStatus":206,"EdgeStartTimestamp":"2026-02-06T21:02:31Z","RayID":"1"}"#;
    const NGINX: &str = r#"192.0.2.1 - - [06/Feb/2026:23:30:00 -0100] "GET /images/a%20b.png?v=1 HTTP/1.1" 304 0 "https://www.example.org/" "Mozilla/5.0 \"x\"""#;

    fn read(line: &str) -> Option<(String, Of<'_>)> {
        match parse(line) {
            Line::Read(Read { day, of }) => Some((day.to_string(), of)),
            _ => None,
        }
    }

    #[test]
    fn each_form_tells_path_and_day() {
        assert_eq!(read(S3), Some(("2026-02-06".to_owned(), Of::Key("images/a%2520b.png".into()))));
        assert_eq!(read(CLOUDFRONT), Some(("2026-02-06".to_owned(), Of::Key("images/a%2520b.png".into()))));
        assert_eq!(read(CLOUDFLARE), Some(("2026-02-06".to_owned(), Of::Path("/images/a%20b.png".into()))));
        // An hour behind Greenwich it is the next day there.
        assert_eq!(read(NGINX), Some(("2026-02-07".to_owned(), Of::Path("/images/a%20b.png".into()))));
        let nanoseconds = CLOUDFLARE.replace("\"2026-02-06T21:02:31Z\"", "1770411751000000000");
        assert_eq!(read(&nanoseconds).unwrap().0, "2026-02-06");
        let seconds = CLOUDFLARE.replace("\"2026-02-06T21:02:31Z\"", "1770411751");
        assert_eq!(read(&seconds).unwrap().0, "2026-02-06");
    }

    #[test]
    fn what_is_no_read_of_bytes_still_tells_the_day() {
        for (line, from, to) in [
            (S3, "REST.GET.OBJECT", "REST.HEAD.OBJECT"),
            (S3, "REST.GET.OBJECT", "REST.PUT.OBJECT"),
            (S3, "\" 200 ", "\" 404 "),
            (CLOUDFRONT, "\t200\t", "\t403\t"),
            (CLOUDFRONT, "\tGET\t", "\tHEAD\t"),
            (CLOUDFLARE, ":206", ":404"),
            (NGINX, "\"GET", "\"POST"),
            (NGINX, " 304 ", " 499 "),
        ] {
            let changed = line.replacen(from, to, 1);
            assert!(changed != line && matches!(parse(&changed), Line::Other(_)), "{changed}");
        }
    }

    #[test]
    fn comments_are_nothing_and_nonsense_is_unknown() {
        assert_eq!(parse("#Fields: date time x-edge-location"), Line::Nothing);
        assert_eq!(parse("\r\n"), Line::Nothing);
        for line in [
            "hello",
            "{}",
            "a\tb",
            "a b [c] d",
            "{\"ClientRequestMethod\":1}",
            "1 - - [99/Foo/2026:0:0:0] \"GET / H\" 200 1",
        ] {
            assert_eq!(parse(line), Line::Unknown, "{line}");
        }
        // A name in a log may hold anything, but no line panics.
        for end in 0..S3.len() {
            parse(&S3[..end]);
            parse(NGINX.get(..end).unwrap_or_default());
            parse(CLOUDFRONT.get(..end).unwrap_or_default());
        }
    }
}
