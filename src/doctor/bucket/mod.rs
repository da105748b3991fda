//! The bucket, asked with the credentials of the mount: what it answers, and what that means.

mod ask;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use ask::ask;

use super::finding::{About, Finding, about, quoted};
use crate::{
    config::CredentialSource,
    store::{
        probe::{Conditional, Support, depth::ReadAfterWrite},
        s3::CheckError,
    },
};

/// Seconds that clocks may differ without anybody noticing: HTTP dates have whole ones, and an answer takes its time.
const SKEW_SMALL: i64 = 5;
/// Seconds after which AWS refuses requests (S3 API, `RequestTimeTooSkewed`).
const SKEW_MAX: i64 = 900;

const NOTHING_WORKS: &str = "nothing of the mount works without it";

/// The answer to the first question: may this bucket be used? `place` is where, as `region us-east-1 at https://...`.
pub fn answer(subject: &str, answer: &Result<(), CheckError>, place: &str) -> Vec<Finding> {
    let (endpoint, credentials) = (about("endpoint", subject), about("credentials", subject));
    let unknown = |on: About<'_>| on.skipped("not known: the server did not get that far");
    let Err(err) = answer else {
        return vec![endpoint.ok(format!("the bucket answers ({place})")), credentials.ok("the server accepts them")];
    };
    let message = err.to_string();
    match err {
        CheckError::NoSuchBucket { bucket } => vec![
            endpoint.failure(message, NOTHING_WORKS, format!("create it, or correct the name: originfs plan; aws s3 mb s3://{bucket}")),
            credentials.ok("the server knows them"),
        ],
        CheckError::WrongRegion { right, .. } => vec![
            endpoint.failure(
                message,
                "the server sends every request elsewhere or refuses its signature",
                right.as_ref().map_or_else(
                    || "region= as the console of the provider shows it for the bucket".to_owned(),
                    |right| format!("region={right} in the options of the mount"),
                ),
            ),
            unknown(credentials),
        ],
        CheckError::BadKeyId | CheckError::BadSecret | CheckError::Expired => vec![
            endpoint.ok(format!("the server answers ({place})")),
            credentials.failure(message, NOTHING_WORKS, "new keys where the mount has them from; files are read again within a minute"),
        ],
        CheckError::NoCredentials(_) | CheckError::BadPasswdFile(_) => vec![
            unknown(endpoint),
            credentials.failure(
                message,
                NOTHING_WORKS,
                "passwd_file= or credentials_file= in the options, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the \
                 settings of the service",
            ),
        ],
        CheckError::Denied { bucket, prefix } => vec![
            endpoint.ok(format!("the server answers ({place})")),
            credentials.failure(
                message,
                "a mount lists, reads, writes and deletes below its prefix",
                format!(
                    "allow s3:ListBucket on {bucket}, and s3:GetObject, s3:PutObject, s3:DeleteObject and \
                     s3:AbortMultipartUpload on {bucket}/{prefix}*"
                ),
            ),
        ],
        CheckError::ClockSkew { seconds } => {
            let clock = about("clock", subject);
            let judged = seconds.map_or_else(|| clock.failure(message, CLOCK_WHY, CLOCK_FIX), |by| skew(subject, Some(by)));
            vec![endpoint.ok(format!("the server answers ({place})")), unknown(credentials), judged]
        }
        CheckError::Dns { host } => {
            vec![endpoint.failure(message, NOTHING_WORKS, format!("getent hosts {host}; correct endpoint=, or path_style if the \
                 bucket's name is in front of it")), unknown(credentials)]
        }
        CheckError::Refused { .. } | CheckError::Timeout { .. } | CheckError::Tls { .. } | CheckError::Other(_) => {
            vec![endpoint.failure(message, NOTHING_WORKS, "correct endpoint=, or look for a firewall: curl -sI of that URL"), unknown(credentials)]
        }
    }
}

const CLOCK_WHY: &str = "requests are refused when clocks differ by 15 minutes, and times of files are those of the writer's \
                         clock";
const CLOCK_FIX: &str = "timedatectl set-ntp true (or chronyc makestep)";

/// How far this clock is ahead of the server's, in seconds.
pub fn skew(subject: &str, ahead: Option<i64>) -> Finding {
    let on = about("clock", subject);
    let Some(ahead) = ahead else { return on.skipped("the server does not tell its time") };
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    let message = format!("this clock is {} s {way} the server's", ahead.saturating_abs());
    match ahead.saturating_abs() {
        0..=SKEW_SMALL => on.ok(format!("this clock and the server's agree within {SKEW_SMALL} s")),
        by if by < SKEW_MAX => on.warning(message, CLOCK_WHY, CLOCK_FIX),
        _ => on.failure(message, CLOCK_WHY, CLOCK_FIX),
    }
}

/// What the probes of the bucket showed.
pub fn probed(subject: &str, found: Conditional, seen: ReadAfterWrite) -> Vec<Finding> {
    let conditional = about("conditional-writes", subject);
    let Conditional { absent, version, .. } = found;
    let conditional = match (absent, version) {
        (Support::Unknown, _) => conditional.skipped("could not be tried: these credentials may not write"),
        (absent, version) if absent.works() && version.works() => conditional.ok(found.to_string()),
        _ => conditional.warning(
            found.to_string(),
            "the server does not keep two webservers from taking the same name, so O_EXCL and conflict=detect hold on \
             one host alone",
            "nothing on this host; a server that has conditional writes (AWS, MinIO, Ceph 18, SeaweedFS)",
        ),
    };
    let consistency = about("consistency", subject);
    let consistency = match seen {
        ReadAfterWrite::Yes => consistency.ok("the bucket shows at once what was written"),
        ReadAfterWrite::No => consistency.failure(
            "the bucket does not show at once what was written",
            "webservers see old files and names, and no option of a mount helps",
            "another server, or its setting for strong consistency (replicas, caching proxies in front of it)",
        ),
        ReadAfterWrite::Unknown => consistency.skipped("could not be tried"),
    };
    vec![conditional, consistency]
}

/// Who may read a file that has keys in it. `mode`: its permission bits.
pub fn key_file(subject: &str, path: &Path, mode: Option<u32>) -> Finding {
    let on = about("key-file", subject);
    let shown = path.display();
    let Some(mode) = mode else {
        return on.failure(
            format!("{shown} cannot be read"),
            NOTHING_WORKS,
            format!("ls -l {}", quoted(&shown.to_string())),
        );
    };
    let fix = format!("chmod 0600 {}", quoted(&shown.to_string()));
    let why = "whoever has the keys has the bucket, also every PHP script of this host";
    match mode & 0o777 {
        bits if bits & 0o007 != 0 => on.failure(format!("everybody may read {shown} (mode {bits:04o})"), why, fix),
        bits if bits & 0o070 != 0 => on.warning(format!("a group may read {shown} (mode {bits:04o})"), why, fix),
        _ => on.ok(format!("{shown} is closed to others")),
    }
}

/// The files of this host that the keys of a mount come from.
pub fn key_files(credentials: &CredentialSource) -> Vec<PathBuf> {
    match credentials {
        CredentialSource::PasswdFile(path) | CredentialSource::Chain { file: Some(path), .. } => vec![path.clone()],
        CredentialSource::Chain { file: None, .. } | CredentialSource::Keys(_) | CredentialSource::Unsigned => {
            Vec::new()
        }
    }
}
