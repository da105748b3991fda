//! Akamai's `EdgeGrid`, `EG1-HMAC-SHA256`, of a POST without signed headers.
//! <https://techdocs.akamai.com/developer/docs/edgegrid>

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Stamp, hmac_sha256, keys::Keys, sha256};
use crate::cdn::purge::urls::parts;

/// Bytes of a body that are signed, from its begin.
pub const BODY: usize = 131_072;

/// Names in `.edgerc`. The last one is [`BODY`] for all who have one today.
const NAMES: [&str; 5] = ["client_token", "client_secret", "access_token", "host", "max_body"];

/// Reads a secret of Akamai.
pub fn keys(text: &str) -> Result<Keys, String> {
    Keys::parse(text, &NAMES)
}

/// The value of `authorization` for a POST of `body` to `url`, of which the first `max` bytes are signed. Fails if a part
/// of the secret is missing.
pub fn authorization(keys: &Keys, url: &str, body: &str, max: usize, stamp: Stamp) -> Result<String, String> {
    let (date, (hour, minute, second)) = (stamp.date(), stamp.time());
    authorized(keys, url, body, max, &format!("{date}T{hour:02}:{minute:02}:{second:02}+0000"), &nonce(stamp))
}

/// In the form of a UUID.
fn nonce(stamp: Stamp) -> String {
    let text = format!("{:032x}", stamp.nonce);
    [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-")
}

fn authorized(keys: &Keys, url: &str, body: &str, max: usize, time: &str, nonce: &str) -> Result<String, String> {
    let (scheme, host, path) = parts(url);
    let (client, access) = (keys.get("client_token")?, keys.get("access_token")?);
    let start = format!("EG1-HMAC-SHA256 client_token={client};access_token={access};timestamp={time};nonce={nonce};");
    let begin = &body.as_bytes()[..body.len().min(max)];
    let hash = if begin.is_empty() { String::new() } else { STANDARD.encode(sha256(begin)) };
    let text = ["POST", scheme, host, path, "", &hash, &start].join("\t");
    let key = STANDARD.encode(hmac_sha256(keys.get("client_secret")?.as_bytes(), time.as_bytes()));
    Ok(format!("{start}signature={}", STANDARD.encode(hmac_sha256(key.as_bytes(), text.as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "https://akaa-baseurl-xxxxxxxxxxx-xxxxxxxxxxxxx.luna.akamaiapis.net";
    const SECRET: &str = "client_token = akab-client-token-xxx-xxxxxxxxxxxxxxxx\naccess_token = akab-access-token-xxx-xxxxxxxxxxxxxxxx\nclient_secret = xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx=\n";
    const TIME: &str = "20140321T19:34:21+0000";
    /// That second.
    const SECONDS: i64 = 1_395_430_461;

    #[test]
    fn signatures_are_those_that_akamai_publishes() {
        // The POSTs of the test cases that its libraries share; 2,048 bytes are signed there.
        let keys = keys(SECRET).unwrap();
        let long = "d".repeat(2060);
        for (path, body, signature) in [
            ("/testapi/v1/t3", "datadatadatadatadatadatadatadata", "hXm4iCxtpN22m4cbZb4lVLW5rhX8Ca82vCFqXzSTPe4="),
            ("/testapi/v1/t3", &long[..2048], "6Q6PiTipLae6n4GsSIDTCJ54bEbHUBp+4MUXrbQCBoY="),
            ("/testapi/v1/t3", &long, "6Q6PiTipLae6n4GsSIDTCJ54bEbHUBp+4MUXrbQCBoY="),
            ("/testapi/v1/t6", "", "1gEDxeQGD5GovIkJJGcBaKnZ+VaPtrc4qBUHixjsPCQ="),
        ] {
            let nonce = "nonce-xx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
            let value = authorized(&keys, &format!("{HOST}{path}"), body, 2048, TIME, nonce).unwrap();
            assert_eq!(value.split_once("signature=").unwrap().1, signature, "{path}");
        }
    }

    #[test]
    fn a_stamp_is_time_and_nonce() {
        let keys = keys(SECRET).unwrap();
        let stamp = Stamp { seconds: SECONDS, nonce: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef };
        let value = authorization(&keys, HOST, "", BODY, stamp).unwrap();
        assert!(value.contains(&format!("timestamp={TIME};nonce=01234567-89ab-cdef-0123-456789abcdef;")), "{value}");
    }
}
