//! What the name of an S3 service tells: its URL, and the region that requests to it are signed for.

/// Where the bucket is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Endpoint {
    /// `None`: AWS.
    pub url: Option<String>,
    pub region: Option<String>,
}

/// Services whose host names carry the region: what precedes it, and what follows.
const NAMED: [(&str, &str); 8] = [
    ("", ".digitaloceanspaces.com"),
    ("sos-", ".exo.io"),
    ("", ".linodeobjects.com"),
    ("", ".vultrobjects.com"),
    ("s3.", ".backblazeb2.com"),
    ("s3.", ".wasabisys.com"),
    ("s3.", ".scw.cloud"),
    ("s3.", ".io.cloud.ovh.net"),
];

/// `host` as in `S3_HOST_BASE`: a host, or a URL. `location` counts only where the host tells no region, and only if it
/// looks like one: templates say `US` for every service.
pub fn endpoint(host: &str, location: &str) -> Endpoint {
    let host = host.trim().trim_end_matches('/');
    let bare = host.split_once("://").map_or(host, |(_, rest)| rest).to_ascii_lowercase();
    let looks = location.contains('-') && location.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let said = looks.then(|| location.to_ascii_lowercase());
    if bare.is_empty() || bare == "s3.amazonaws.com" || bare == "amazonaws.com" {
        return Endpoint { url: None, region: said };
    }
    if let Some(region) = between(&bare, "s3.", ".amazonaws.com").or_else(|| between(&bare, "s3-", ".amazonaws.com")) {
        return Endpoint { url: None, region: Some(region.trim_start_matches("dualstack.").to_owned()) };
    }
    let named = NAMED.iter().find_map(|(before, after)| between(&bare, before, after)).map(str::to_owned);
    let region = named.or_else(|| bare.ends_with(".r2.cloudflarestorage.com").then(|| "auto".to_owned()));
    let url = if host.contains("://") { host.to_owned() } else { format!("https://{host}") };
    Endpoint { url: Some(url), region: region.or(said) }
}

fn between<'a>(host: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let region = host.strip_prefix(before)?.strip_suffix(after)?;
    (!region.is_empty() && !region.contains('.')).then_some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_by_their_names() {
        for (host, location, url, region) in [
            ("", "", None, None),
            ("", "eu-west-1", None, Some("eu-west-1")),
            ("s3.eu-central-1.amazonaws.com", "US", None, Some("eu-central-1")),
            ("fra1.digitaloceanspaces.com", "US", Some("https://fra1.digitaloceanspaces.com"), Some("fra1")),
            ("sos-de-fra-1.exo.io", "US", Some("https://sos-de-fra-1.exo.io"), Some("de-fra-1")),
            ("gb-lon-1.linodeobjects.com", "US", Some("https://gb-lon-1.linodeobjects.com"), Some("gb-lon-1")),
            ("ewr1.vultrobjects.com", "", Some("https://ewr1.vultrobjects.com"), Some("ewr1")),
            ("https://minio.example.com:9000/", "US", Some("https://minio.example.com:9000"), None),
            ("minio.example.com", "eu-west-1", Some("https://minio.example.com"), Some("eu-west-1")),
            ("abc.r2.cloudflarestorage.com", "", Some("https://abc.r2.cloudflarestorage.com"), Some("auto")),
        ] {
            let expect = Endpoint { url: url.map(str::to_owned), region: region.map(str::to_owned) };
            assert_eq!(endpoint(host, location), expect, "{host} {location}");
        }
    }
}
