//! Credentials that are read anew when they change, expire or are refused, so that a rotation needs no remount.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use aws_config::{
    default_provider::credentials::DefaultCredentialsChain,
    profile::{ProfileFileCredentialsProvider, profile_file},
};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, error::CredentialsError, future},
};
use aws_sdk_s3::config::Region;
use tokio::sync::Mutex;

use crate::{clock, config::CredentialSource};

/// Files are read again after this long: cheap, and a rotated key is picked up before the old one is revoked.
const FILE_AGE: Duration = Duration::from_mins(1);
/// Credentials of the chain that do not say when they expire; their sources may be a process or a login.
const CHAIN_AGE: Duration = Duration::from_hours(1);
/// Credentials are renewed this long before they expire, so that no request carries expired ones.
const EXPIRY_MARGIN: Duration = Duration::from_mins(5);
/// After a load the next refusal within this time loads nothing: a 403 for lack of permission must not turn every
/// request into one of the metadata service too.
const RENEW_PAUSE: Duration = Duration::from_secs(10);

/// The credentials of one mount.
#[derive(Clone, Debug)]
pub(super) struct Keyring {
    source: Arc<CredentialSource>,
    bucket: Arc<str>,
    region: Region,
    held: Arc<Mutex<Option<Held>>>,
}

#[derive(Debug)]
struct Held {
    credentials: Credentials,
    loaded: Instant,
    good_until: Instant,
}

impl Keyring {
    pub(super) fn new(source: CredentialSource, bucket: &str, region: Region) -> Self {
        Self { source: Arc::new(source), bucket: Arc::from(bucket), region, held: Arc::default() }
    }

    /// Loads the credentials again because a server refused them. Whether there are others now, so that asking again
    /// makes sense; `refused_since` is when the refused request was sent.
    pub(super) async fn renew(&self, refused_since: Instant) -> bool {
        if *self.source == CredentialSource::Unsigned {
            return false;
        }
        let mut held = self.held.lock().await;
        let now = clock::now();
        if let Some(held) = held.as_ref() {
            if held.loaded > refused_since {
                return true; // another request's refusal has just brought newer ones
            }
            if now.saturating_duration_since(held.loaded) < RENEW_PAUSE && !self.is_file() {
                return false;
            }
        }
        let Ok(credentials) = self.load().await else { return false };
        let new = held.as_ref().is_none_or(|held| !same(&held.credentials, &credentials));
        *held = Some(self.hold(credentials, now));
        new
    }

    async fn get(&self) -> provider::Result {
        let mut held = self.held.lock().await;
        let now = clock::now();
        if let Some(held) = held.as_ref().filter(|held| now < held.good_until) {
            return Ok(held.credentials.clone());
        }
        match (self.load().await, held.as_ref()) {
            (Ok(credentials), _) => Ok(held.insert(self.hold(credentials, now)).credentials.clone()),
            // Old credentials may still do; if not, the server says so.
            (Err(err), Some(old)) => {
                log::warn!("credentials could not be read again, going on with the old ones: {err}");
                Ok(old.credentials.clone())
            }
            (Err(err), None) => Err(err),
        }
    }

    fn is_file(&self) -> bool {
        !matches!(&*self.source, CredentialSource::Chain { profile: None, file: None })
    }

    fn hold(&self, credentials: Credentials, now: Instant) -> Held {
        let age = match credentials.expiry().and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
            Some(expiry) => {
                let wall = Duration::from_secs(u64::try_from(clock::wall().sec).unwrap_or(0));
                expiry.saturating_sub(wall).saturating_sub(EXPIRY_MARGIN).max(Duration::from_secs(1))
            }
            None if self.is_file() => FILE_AGE,
            None => CHAIN_AGE,
        };
        Held { credentials, loaded: now, good_until: now + age.min(CHAIN_AGE) }
    }

    async fn load(&self) -> provider::Result {
        match &*self.source {
            CredentialSource::PasswdFile(path) => {
                let pair = read_passwd(path, &self.bucket).map_err(CredentialsError::invalid_configuration)?;
                Ok(Credentials::new(pair.0, pair.1, None, None, "passwd_file"))
            }
            CredentialSource::Keys(keys) => {
                Ok(Credentials::new(keys.access.clone(), keys.secret.clone(), None, None, "keys"))
            }
            CredentialSource::Chain { profile: None, file: None } => {
                // Built anew each time, because its parts read their files only once.
                let chain = DefaultCredentialsChain::builder().region(self.region.clone()).build().await;
                chain.provide_credentials().await
            }
            CredentialSource::Chain { profile, file } => {
                let mut chosen = ProfileFileCredentialsProvider::builder();
                if let Some(name) = profile {
                    chosen = chosen.profile_name(name);
                }
                if let Some(path) = file {
                    chosen = chosen.profile_files(files(path));
                }
                chosen.build().provide_credentials().await
            }
            CredentialSource::Unsigned => Err(CredentialsError::not_loaded("requests are not signed")),
        }
    }
}

impl ProvideCredentials for Keyring {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

/// The usual config file and this credentials file.
#[expect(deprecated, reason = "the new names are in a crate that is no direct dependency")]
fn files(credentials: &Path) -> profile_file::ProfileFiles {
    let files = profile_file::ProfileFiles::builder().include_default_config_file(true);
    files.with_file(profile_file::ProfileFileKind::Credentials, credentials).build()
}

fn same(a: &Credentials, b: &Credentials) -> bool {
    a.access_key_id() == b.access_key_id()
        && a.secret_access_key() == b.secret_access_key()
        && a.session_token() == b.session_token()
}

/// Reads the key and secret for `bucket` from a passwd file of s3fs. Errors say what is wrong with which line, and
/// never show a secret.
pub(super) fn read_passwd(path: &Path, bucket: &str) -> io::Result<(String, String)> {
    let name = path.display();
    let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let about = |err: io::Error| io::Error::new(err.kind(), format!("{name}: {err}"));
    let mode = std::fs::metadata(path).map_err(about)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(wrong(format!("{name}: others may access it (mode {:04o}); chmod 0600 it", mode & 0o7777)));
    }
    let text = std::fs::read_to_string(path).map_err(about)?;
    parse_passwd(&text, bucket).map_err(|text| wrong(format!("{name}: {text}")))
}

/// The line of the bucket wins over the line for all buckets.
fn parse_passwd(text: &str, bucket: &str) -> Result<(String, String), String> {
    let (mut own, mut any) = (None, None);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parts: Vec<&str> = line.split(':').map(str::trim).collect();
        if parts.iter().any(|part| part.is_empty() || part.contains(char::is_whitespace)) {
            return Err(format!("line {number}: an empty part or a space in it"));
        }
        let (slot, pair) = match parts[..] {
            [key, secret] => (&mut any, (key, secret)),
            [name, key, secret] if name == bucket => (&mut own, (key, secret)),
            [_, _, _] => continue,
            _ => return Err(format!("line {number}: neither KEY:SECRET nor BUCKET:KEY:SECRET")),
        };
        if slot.replace(pair).is_some() {
            return Err(format!("line {number}: a second entry for the same bucket"));
        }
    }
    let (key, secret) = own.or(any).ok_or_else(|| format!("no entry for bucket {bucket}"))?;
    Ok((key.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(&str, &str), &str>) {
        let expect = expect.map(|(key, secret)| (key.to_owned(), secret.to_owned())).map_err(ToOwned::to_owned);
        assert_eq!(parse_passwd(text, "photos"), expect, "{text:?}");
    }

    #[test]
    fn passwd_lines() {
        check("AK:se/c+ret=\n", Ok(("AK", "se/c+ret=")));
        check("# old\n\n  AK:secret  \r\n", Ok(("AK", "secret")));
        check("AK:secret\nphotos:PK:ps\nvideos:VK:vs\n", Ok(("PK", "ps")));
        check("videos:VK:vs\n", Err("no entry for bucket photos"));
        check("", Err("no entry for bucket photos"));
        check("AKsecret\n", Err("line 1: neither KEY:SECRET nor BUCKET:KEY:SECRET"));
        check("#\na:b:c:d\n", Err("line 2: neither KEY:SECRET nor BUCKET:KEY:SECRET"));
        check("AK:\n", Err("line 1: an empty part or a space in it"));
        check("AK:sec ret\n", Err("line 1: an empty part or a space in it"));
        check("A:b\nC:d\n", Err("line 2: a second entry for the same bucket"));
    }

    #[tokio::test]
    async fn rotated_passwd_file_is_read_again() {
        let path = std::env::temp_dir().join(format!("originfs-passwd-{}", std::process::id()));
        let write = |text: &str, mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write("OLD:secret", 0o600);
        let keys = Keyring::new(CredentialSource::PasswdFile(path.clone()), "photos", Region::from_static("r"));
        assert_eq!(keys.get().await.unwrap().access_key_id(), "OLD");
        assert!(!keys.renew(clock::now()).await, "nothing new, so nothing to try again with");
        write("NEW:secret", 0o600);
        assert!(keys.renew(clock::now()).await);
        assert_eq!(keys.get().await.unwrap().access_key_id(), "NEW");
        write("NEWER:secret", 0o644);
        assert!(!keys.renew(clock::now()).await, "a file that others may read is refused");
        let err = read_passwd(&path, "photos").unwrap_err().to_string();
        assert!(err.ends_with("others may access it (mode 0644); chmod 0600 it"), "{err}");
        std::fs::remove_file(&path).unwrap();
        assert!(read_passwd(&path, "photos").unwrap_err().to_string().contains("No such file"));
    }

    #[tokio::test]
    async fn rotated_credentials_file_is_read_again() {
        let path = std::env::temp_dir().join(format!("originfs-credentials-{}", std::process::id()));
        let write = |id: &str| {
            std::fs::write(&path, format!("[site]\naws_access_key_id={id}\naws_secret_access_key=s\n")).unwrap();
        };
        write("OLD");
        let source = CredentialSource::Chain { profile: Some("site".into()), file: Some(path.clone()) };
        let keys = Keyring::new(source, "photos", Region::from_static("r"));
        assert_eq!(keys.get().await.unwrap().access_key_id(), "OLD");
        write("NEW");
        assert!(keys.renew(clock::now()).await);
        assert_eq!(keys.get().await.unwrap().access_key_id(), "NEW");
        assert!(!format!("{keys:?}").contains("\"s\""), "a secret must not be logged");
        std::fs::remove_file(&path).unwrap();
    }
}
