//! `originfs url`.

use std::{
    io::{ErrorKind, Write},
    path::PathBuf,
    time::Duration,
};

use super::{
    Failure,
    job::{Ended, Host},
};
use crate::{
    cdn::url::{Token, versioned},
    config,
    fs::urls::Urls,
    store::s3::presign::SIGNED_MAX,
    telemetry::upkeep::{Done, Job},
};

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct UrlArgs {
    /// Files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The mount point; paths begin there then
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// The URL of whatever version there is; this is what is written without options, too
    #[arg(long, conflicts_with_all = ["versioned", "site", "origin", "signed"])]
    plain: bool,
    /// With what tells this version from others: such a URL may be cached for a year
    #[arg(long)]
    versioned: bool,
    /// On the site, not on the CDN
    #[arg(long)]
    site: bool,
    /// In the bucket, not on the CDN
    #[arg(long, conflicts_with_all = ["site", "versioned"])]
    origin: bool,
    /// In the bucket, with a signature that lets anybody read for so long (90s, 12h, 7d); also what is private
    #[arg(long, value_name = "TTL", value_parser = lifetime, conflicts_with_all = ["origin", "site", "versioned"])]
    signed: Option<Duration>,
    /// JSON, for programs: all there is to know
    #[arg(long)]
    json: bool,
}

pub(super) fn command(command: &UrlArgs, out: &mut impl Write) -> Result<(), Failure> {
    let target = Host::current()?.target(command.at.as_deref(), &command.paths)?;
    let all = match target
        .work(Job::Urls { paths: target.paths.clone(), sign: command.signed.map(|time| time.as_secs()) }, |_| ())?
    {
        Ended::Done(Done::Urls(all)) => all,
        Ended::Done(_) => return Err(Failure::system("the mount answered something else")),
        Ended::Interrupted => return Err(Failure::interrupted()),
    };
    let text = if command.json {
        serde_json::to_string_pretty(&all).map_err(Failure::system)?
    } else {
        let lines = all.iter().map(|urls| {
            let here = if command.signed.is_some() { &urls.signed } else { &urls.origin };
            if command.signed.is_none() && !command.origin {
                return line(urls, command.site, command.versioned);
            }
            here.clone().ok_or_else(|| Failure::system("the mount did not tell"))
        });
        lines.collect::<Result<Vec<_>, _>>()?.join("\n")
    };
    match writeln!(out, "{text}") {
        // Whoever read it has seen enough.
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::system(err)),
        _ => Ok(()),
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let time = config::duration(text).ok_or("expected a time such as 90s, 12h or 7d")?;
    if time < Duration::from_secs(1) || time > SIGNED_MAX {
        return Err("expected 1s to 7d, which is the longest that a signature is good for".to_owned());
    }
    Ok(time)
}

/// The URL that was asked for. What is private has none.
fn line(urls: &Urls, site: bool, with_version: bool) -> Result<String, Failure> {
    let path = &urls.path;
    if !urls.public {
        return Err(Failure::usage(format!("{path} is not for the public (exposure=, private=)")));
    }
    let (url, option) =
        if site { (urls.site.as_ref(), "site_url") } else { (urls.cdn.as_ref().or(urls.site.as_ref()), "cdn_url") };
    let url = url.ok_or_else(|| Failure::usage(format!("the mount does not know its URL: say it with {option}=")))?;
    match Token::parse(&urls.version) {
        Some(token) if with_version => Ok(versioned(url, &token)),
        None if with_version => Err(Failure::system("the mount told no version")),
        _ => Ok(url.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls() -> Urls {
        Urls {
            path: "a b.png".to_owned(),
            key: "up/a b.png".to_owned(),
            public: true,
            cdn: Some("https://cdn.example.org/up/a%20b.png".to_owned()),
            site: Some("https://www.example.org/images/a%20b.png".to_owned()),
            origin: None,
            signed: None,
            version: "0123456789ab".to_owned(),
            etag: "e".to_owned(),
            size: 1,
            content_type: None,
        }
    }

    #[test]
    fn a_signature_is_good_for_a_week_at_most() {
        assert_eq!(lifetime("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(lifetime("7d"), Ok(SIGNED_MAX));
        for text in ["0s", "8d", "soon"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_url_that_was_asked_for() {
        let plain =
            |urls: &Urls, site, versioned| line(urls, site, versioned).map_err(|failure| failure.message.unwrap());
        assert_eq!(plain(&urls(), false, false).unwrap(), "https://cdn.example.org/up/a%20b.png");
        assert_eq!(plain(&urls(), false, true).unwrap(), "https://cdn.example.org/up/a%20b.png?v=0123456789ab");
        assert_eq!(plain(&urls(), true, false).unwrap(), "https://www.example.org/images/a%20b.png");
        let site = Urls { cdn: None, ..urls() };
        assert_eq!(plain(&site, false, false).unwrap(), "https://www.example.org/images/a%20b.png");
        let none = Urls { site: None, cdn: None, ..urls() };
        assert!(plain(&none, false, false).unwrap_err().ends_with("say it with cdn_url="));
        assert!(plain(&Urls { public: false, ..urls() }, false, false).unwrap_err().contains("not for the public"));
    }
}
