//! AWS Signature Version 4, of a request without a query.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>
//!
//! The signer of the SDK belongs to the layers that have the network; an adapter is a pure function, and this is all that
//! it needs of it.

use super::{Stamp, hex, hmac_sha256, keys::Keys, sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Names in a file of credentials. The last two say nothing here, but the file often has them.
const NAMES: [&str; 5] = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region", "output"];

/// Who signs.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    pub keys: &'a Keys,
    pub region: &'a str,
    pub service: &'a str,
}

/// What is signed. Names of headers are in small letters.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    pub method: &'a str,
    /// Encoded; it begins with a slash.
    pub path: &'a str,
    /// All that go along, `host` among them, and none of those that [`Signer::headers`] adds.
    pub headers: &'a [(&'static str, String)],
    pub body: &'a str,
}

/// Reads a secret of AWS.
pub fn keys(text: &str) -> Result<Keys, String> {
    Keys::parse(text, &NAMES)
}

impl Signer<'_> {
    /// The headers that make a request a signed one. Fails if a part of the secret is missing.
    pub fn headers(&self, content: Content<'_>, stamp: Stamp) -> Result<Vec<(&'static str, String)>, String> {
        let (id, secret) = (self.keys.get("aws_access_key_id")?, self.keys.get("aws_secret_access_key")?);
        let (date, (hour, minute, second)) = (stamp.date(), stamp.time());
        let time = format!("{date}T{hour:02}{minute:02}{second:02}Z");
        let mut added = vec![("x-amz-date", time.clone())];
        if let Some(token) = self.keys.find("aws_session_token") {
            added.push(("x-amz-security-token", token.to_owned()));
        }
        let mut all: Vec<_> = content.headers.iter().chain(&added).collect();
        all.sort();
        let lines = all.iter().map(|(name, value)| format!("{name}:{}", value.trim())).collect::<Vec<_>>().join("\n");
        let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let body = hex(&sha256(content.body.as_bytes()));
        let request = format!("{}\n{}\n\n{lines}\n\n{names}\n{body}", content.method, content.path);
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex(&sha256(request.as_bytes())));
        let first = format!("AWS4{secret}").into_bytes();
        let steps = [&date, self.region, self.service, "aws4_request", &text];
        let signature = steps.iter().fold(first, |key, step| hmac_sha256(&key, step.as_bytes()).to_vec());
        let signature = hex(&signature);
        let value = format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        added.push(("authorization", value));
        Ok(added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2015-08-30T12:36:00Z, as all of AWS's test suite.
    const STAMP: Stamp = Stamp { seconds: 1_440_938_160, nonce: 0 };
    const SECRET: &str =
        "aws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n";
    const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    /// The last header: names that are signed, and the signature.
    #[track_caller]
    fn check(secret: &str, more: &[(&'static str, &str)], body: &str, names: &str, signature: &str) {
        let keys = keys(secret).unwrap();
        let mut headers = vec![("host", "example.amazonaws.com".to_owned())];
        headers.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let signer = Signer { keys: &keys, region: "us-east-1", service: "service" };
        let added = signer.headers(Content { method: "POST", path: "/", headers: &headers, body }, STAMP).unwrap();
        let scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        let value = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}");
        assert_eq!(added.last().unwrap(), &("authorization", value));
        assert_eq!(added[0], ("x-amz-date", "20150830T123600Z".to_owned()));
    }

    #[test]
    fn signatures_are_those_that_aws_publishes() {
        // post-vanilla, post-sts-header-before and post-x-www-form-urlencoded of the "AWS Signature Version 4 test suite".
        let signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
        check(SECRET, &[], "", "host;x-amz-date", signature);
        let secret = format!("[default]\n{SECRET}aws_session_token = {TOKEN}\n");
        let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
        check(&secret, &[], "", "host;x-amz-date;x-amz-security-token", signature);
        let more = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("content-length", "13"),
            ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
        ];
        let names = "content-length;content-type;host;x-amz-content-sha256;x-amz-date";
        let signature = "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b";
        check(SECRET, &more, "Param1=value1", names, signature);
    }

    #[test]
    fn a_secret_with_a_missing_part_signs_nothing() {
        let keys = keys("aws_access_key_id = AKIDEXAMPLE").unwrap();
        let signer = Signer { keys: &keys, region: "us-east-1", service: "service" };
        let content = Content { method: "POST", path: "/", headers: &[], body: "" };
        assert_eq!(signer.headers(content, STAMP).unwrap_err(), "the secret: aws_secret_access_key is missing");
    }
}
