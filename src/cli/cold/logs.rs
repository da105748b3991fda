//! Access logs, from files and from buckets, line by line.

use std::{
    borrow::Cow,
    fs::File,
    io::{self},
    path::Path,
};

use crate::{
    cdn::url::Mapper,
    config::S3Options,
    cost::{
        access::{Line, Of, Read, decoded, parse},
        cold::Access,
    },
    store::{Get, Got, List, Store as _, s3::S3Store},
};

/// The longest line of a log in bytes; more of it is skipped.
const LINE_MAX: usize = 64 << 10;
/// Bytes of a file that are read at a time.
const STEP: usize = 64 << 10;
/// What a compressed file begins with (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// How a log in a bucket is named.
const SCHEME: &str = "s3://";

/// Reads the log `name`: a file, `-` for the input, or `s3://BUCKET/PREFIX` for all objects whose keys begin so, in a bucket
/// of the same service. Gives the lines that nobody understands. An error is one line.
pub(super) async fn take(name: &Path, options: &S3Options, urls: &Mapper, access: &mut Access) -> Result<u64, String> {
    let shown = name.display();
    let wrong = |why: String| format!("{shown}: {why}");
    if let Some(place) = name.to_str().and_then(|name| name.strip_prefix(SCHEME)) {
        return of_bucket(place, options, urls, access).await.map_err(wrong);
    }
    let mut log = Log::new(urls, access);
    let read = if name.as_os_str() == "-" {
        feed(io::stdin().lock(), &mut log)
    } else {
        File::open(name).map_err(|err| err.to_string()).and_then(|file| feed(file, &mut log))
    };
    read.map_err(wrong)?;
    Ok(log.end())
}

fn feed(mut from: impl io::Read, log: &mut Log<'_>) -> Result<(), String> {
    let mut bytes = vec![0; STEP];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(len) => log.feed(&bytes[..len])?,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err.to_string()),
        }
    }
}

async fn of_bucket(place: &str, options: &S3Options, urls: &Mapper, access: &mut Access) -> Result<u64, String> {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let store = S3Store::connect(bucket, options).await.map_err(|err| err.to_string())?;
    store.check(prefix).await.map_err(|err| err.to_string())?;
    let (mut unknown, mut objects, mut token) = (0, 0_u64, None);
    loop {
        let list = List { prefix: prefix.to_owned(), token, ..List::default() };
        let page = store.list(list).await.map_err(|err| err.to_string())?;
        for entry in page.entries.iter().filter(|entry| entry.version.size > 0) {
            let failed = |why: String| format!("{}: {why}", entry.key);
            let got = store.get(&entry.key, Get::default()).await.map_err(|err| failed(err.to_string()))?;
            let Got::Bytes(_, mut body) = got else { return Err(failed("an answer without bytes".to_owned())) };
            let mut log = Log::new(urls, access);
            while let Some(chunk) = body.next().await {
                let chunk = chunk.map_err(|err| failed(err.to_string()))?;
                log.feed(&chunk).map_err(failed)?;
            }
            unknown += log.end();
            objects += 1;
        }
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    if objects == 0 { Err("there is no log".to_owned()) } else { Ok(unknown) }
}

/// One log, in pieces of any length.
struct Log<'a> {
    urls: &'a Mapper,
    access: &'a mut Access,
    line: Vec<u8>,
    begun: bool,
    unknown: u64,
}

impl<'a> Log<'a> {
    fn new(urls: &'a Mapper, access: &'a mut Access) -> Self {
        Self { urls, access, line: Vec::new(), begun: false, unknown: 0 }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        if !std::mem::replace(&mut self.begun, true) && bytes.starts_with(GZIP) {
            return Err("it is compressed: unpack it (zcat), and hand it over with --log -".to_owned());
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_MAX - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.line_is_whole();
            }
        }
        Ok(())
    }

    /// The lines that nobody understands.
    fn end(mut self) -> u64 {
        if !self.line.is_empty() {
            self.line_is_whole();
        }
        self.unknown
    }

    fn line_is_whole(&mut self) {
        let line = std::mem::take(&mut self.line);
        match parse(&String::from_utf8_lossy(&line)) {
            Line::Read(read) => note(&read, self.urls, self.access),
            Line::Other(day) => self.access.logged(day),
            Line::Nothing => {}
            Line::Unknown => self.unknown += 1,
        }
        self.line = line;
        self.line.clear();
    }
}

fn note(read: &Read<'_>, urls: &Mapper, access: &mut Access) {
    let day = read.day;
    access.logged(day);
    match &read.of {
        Of::Path(path) => {
            let path = decoded(path).unwrap_or_default();
            urls.keys(&path).any(|key| access.read(&key, day));
        }
        Of::Key(raw) => {
            let once = decoded(raw).unwrap_or_default();
            let twice = decoded(&once).map(Cow::into_owned);
            // Before a CDN the path may be that in the mount.
            let any = |text: &str, access: &mut Access| {
                access.read(text, day) || urls.keys(&format!("/{text}")).any(|key| access.read(&key, day))
            };
            if !any(&once, access)
                && let Some(twice) = twice
            {
                any(&twice, access);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cdn::url::{Base, Family},
        cost::{day::Day, price::prices},
        model::key::Prefix,
    };

    fn urls() -> Mapper {
        let cdn = Base::parse("https://cdn.example.org", Family::Cdn).unwrap();
        let site = Base::parse("https://www.example.org/pictures", Family::Site).unwrap();
        Mapper::new(Prefix::parse("images").unwrap(), vec![cdn, site])
    }

    /// One line of each form.
    const LOGS: &str = "\
0a b [22/Nov/2026:00:00:38 +0000] 192.0.2.3 r 3E57 REST.GET.OBJECT images/a%2520b.png \"GET /b/images/a%20b.png HTTP/1.1\" 200 - 1 1 7 6 \"-\" \"x\" -
#Fields: date time
2026-11-22\t21:02:31\tLAX1\t392\t192.0.2.1\tGET\tx.cloudfront.net\t/images/a%20b.png\t200\t-
{\"ClientRequestMethod\":\"GET\",\"ClientRequestURI\":\"/images/a%20b.png?v=1\",\"EdgeResponseStatus\":200,\"EdgeStartTimestamp\":\"2026-11-22T21:02:31Z\"}
192.0.2.1 - - [01/Sep/2026:23:30:00 +0000] \"GET /pictures/a%20b.png HTTP/1.1\" 200 9 \"-\" \"x\"
what is this
";

    #[test]
    fn each_log_finds_its_file() {
        let today: Day = "2026-11-22".parse().unwrap();
        let all = format!("{}\n{LOGS}", "x".repeat(200_000));
        // Whatever the pieces are that it comes in.
        for step in [1, 7, 4_096, all.len()] {
            let mut access = Access::default();
            assert!(access.object("images/a b.png", 200_000_000_000, Day(0)));
            assert!(access.object("images/old/b.mp4", 200_000_000_000, Day(0)));
            let (urls, mut unknown) = (urls(), 0);
            let mut log = Log::new(&urls, &mut access);
            for piece in all.as_bytes().chunks(step) {
                log.feed(piece).unwrap();
            }
            unknown += log.end();
            assert_eq!((unknown, access.logged_days()), (2, 83));
            let proposal = access.propose(80, today, &prices(None).unwrap()["aws"]).unwrap();
            // Four reads in 83 days are 18 in a year, each of which costs $2.
            let rules: Vec<&str> = proposal.rules.iter().map(|rule| rule.prefix.as_str()).collect();
            assert_eq!((proposal.objects, proposal.cold_objects, rules), (2, 1, vec!["images/old/"]));
        }
    }

    #[test]
    fn a_log_without_a_newline_at_its_end_is_read_to_its_end_and_a_compressed_one_is_refused() {
        let (urls, mut access) = (urls(), Access::default());
        access.object("images/a b.png", 1, Day(0));
        let mut log = Log::new(&urls, &mut access);
        log.feed(LOGS.lines().next().unwrap().as_bytes()).unwrap();
        assert_eq!((log.end(), access.logged_days()), (0, 1));
        assert!(Log::new(&urls, &mut access).feed(&[0x1f, 0x8b, 8, 0]).unwrap_err().contains("zcat"));
    }
}
