//! Builds the SDK's client from our options. The SDK signs, encodes and decodes; it neither retries nor waits, which
//! `call` does.

use std::net::IpAddr;

use aws_config::{
    environment::EnvironmentVariableRegionProvider, meta::region::ProvideRegion, profile::ProfileFileRegionProvider,
};
use aws_sdk_s3::{
    Client, Config,
    config::{
        BehaviorVersion, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
};

use super::keyring::Keyring;
use crate::{
    config::{Checksum, CredentialSource, S3Options},
    error::{Error, Result},
};

/// Where no region is known. Most compatible servers accept it.
const DEFAULT_REGION: &str = "us-east-1";

/// The client, its credentials and the base URL that people know the server by.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) keys: Keyring,
    pub(super) endpoint: String,
    pub(super) region: String,
}

/// Fails with [`Error::Unavailable`] if the endpoint makes no sense. Nothing is sent yet.
pub(super) async fn connect(bucket: &str, options: &S3Options) -> Result<Connection> {
    let region = region(options).await;
    let keys = Keyring::new(options.credentials.clone(), bucket, region.clone());
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(region.clone())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(options.connect_timeout).build())
        // Stalls end in `call` (the attempt's time) and in `read::Stream` (the time of a chunk).
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    let (calculation, validation) = match options.checksum {
        Checksum::Crc32 => (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported),
        Checksum::Auto | Checksum::Md5 | Checksum::None => {
            (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired)
        }
    };
    config = config.request_checksum_calculation(calculation).response_checksum_validation(validation);
    config = match options.credentials {
        CredentialSource::Unsigned => config.allow_no_auth(),
        // The keyring is the cache.
        _ => config.credentials_provider(keys.clone()).identity_cache(IdentityCache::no_cache()),
    };
    let endpoint = match &options.endpoint {
        None => format!("https://s3.{region}.amazonaws.com"),
        Some(text) => {
            let endpoint = Endpoint::parse(text)?;
            config = config
                .endpoint_url(&endpoint.url)
                .force_path_style(options.path_style.unwrap_or_else(|| endpoint.wants_path_style()));
            endpoint.url
        }
    };
    if options.endpoint.is_none() {
        config = config.force_path_style(options.path_style.unwrap_or(false));
    }
    Ok(Connection { client: Client::from_conf(config.build()), keys, endpoint, region: region.to_string() })
}

/// The URL of a bucket, at which everybody may read what is public; without a slash at its end. Of AWS it has the region
/// of the option alone.
pub fn public_url(bucket: &str, options: &S3Options) -> String {
    let endpoint = options.endpoint.as_deref().and_then(|text| Endpoint::parse(text).ok());
    let by_path = endpoint.as_ref().is_some_and(Endpoint::wants_path_style);
    let url = endpoint.map_or_else(
        || format!("https://s3.{}.amazonaws.com", options.region.as_deref().unwrap_or(DEFAULT_REGION)),
        |endpoint| endpoint.url,
    );
    match url.split_once("://") {
        Some((scheme, rest)) if !options.path_style.unwrap_or(by_path) => format!("{scheme}://{bucket}.{rest}"),
        _ => format!("{url}/{bucket}"),
    }
}

/// The option, the environment, the profile, [`DEFAULT_REGION`]. The metadata service is not asked: it would delay
/// every mount outside of EC2.
async fn region(options: &S3Options) -> Region {
    if let Some(region) = &options.region {
        return Region::new(region.clone());
    }
    if let Some(region) = EnvironmentVariableRegionProvider::new().region().await {
        return region;
    }
    let mut profile = ProfileFileRegionProvider::builder();
    if let CredentialSource::Chain { profile: Some(name), .. } = &options.credentials {
        profile = profile.profile_name(name);
    }
    profile.build().region().await.unwrap_or_else(|| Region::from_static(DEFAULT_REGION))
}

/// `scheme://host[:port]`, and a path where a gateway wants one; no slash at its end.
#[derive(Debug, Eq, PartialEq)]
struct Endpoint {
    url: String,
}

impl Endpoint {
    /// Without a scheme it is https.
    fn parse(text: &str) -> Result<Self> {
        let url = if text.contains("://") { text.trim().to_owned() } else { format!("https://{}", text.trim()) };
        let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
            return Err(Error::unavailable(format!("the endpoint {text} is neither http nor https")));
        };
        let rest = rest.trim_end_matches('/');
        if rest.is_empty() || rest.contains(['@', '?', '#']) || rest.contains(char::is_whitespace) {
            return Err(Error::unavailable(format!("the endpoint {text} is not a URL of a server")));
        }
        Ok(Self { url: url.trim_end_matches('/').to_owned() })
    }

    fn host(&self) -> &str {
        host(&self.url)
    }

    /// No name can be put before an IP address or localhost.
    fn wants_path_style(&self) -> bool {
        let host = self.host().trim_matches(['[', ']']);
        host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok()
    }
}

/// The host of a URL, without port; an IPv6 address with its brackets.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    if let Some(end) = authority.find(']') {
        return &authority[..=end];
    }
    authority.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_has_a_name_before_its_host_or_a_path_after_it() {
        let of = |endpoint: Option<&str>, path_style| {
            let options = crate::config::parse::parse(
                &crate::config::parse::Request {
                    source: "site",
                    mountpoint: std::path::Path::new("/srv"),
                    words: &[],
                    unknown: crate::config::Unknown::Refuse,
                },
                &crate::config::parse::Host::current(),
            );
            let endpoint = endpoint.map(str::to_owned);
            public_url("site", &S3Options { endpoint, path_style, ..options.unwrap().options.s3 })
        };
        assert_eq!(of(None, None), "https://site.s3.us-east-1.amazonaws.com");
        assert_eq!(of(Some("fra1.example.com"), None), "https://site.fra1.example.com");
        assert_eq!(of(Some("fra1.example.com"), Some(true)), "https://fra1.example.com/site");
        assert_eq!(of(Some("http://127.0.0.1:9000"), None), "http://127.0.0.1:9000/site");
    }

    #[track_caller]
    fn check(text: &str, expect: Option<(&str, &str, bool)>) {
        let endpoint = Endpoint::parse(text).ok();
        let found = endpoint.as_ref().map(|found| (found.url.as_str(), found.host(), found.wants_path_style()));
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn endpoints() {
        check("fra1.example.com/", Some(("https://fra1.example.com", "fra1.example.com", false)));
        check("http://127.0.0.1:9000", Some(("http://127.0.0.1:9000", "127.0.0.1", true)));
        check("http://[::1]:9000", Some(("http://[::1]:9000", "[::1]", true)));
        check("localhost:9000", Some(("https://localhost:9000", "localhost", true)));
        check("ftp://example.com", None);
        check("https://", None);
        check("https://user@example.com", None);
    }
}
