//! For `CloudFront`, as a template of `CloudFormation`: a cache policy, a policy for the headers of answers, and two functions
//! of the edge, to be named in the behavior of the distribution that has the bucket as its origin.

use serde_json::json;

use super::{
    Area, CROSS_ORIGIN, HEAD, IMMUTABLE, Refused, Rules, SANDBOX, TOKEN, YEAR, active, cloudflare, glob::Spelling,
};

/// The template. Private names are refused before anything is looked up: a least TTL overrides what the bucket says.
pub fn emit(rules: &Rules, name: &str) -> Result<String, Refused> {
    if let Some(area) = rules.areas.iter().find(|area| area.private) {
        return Err(format!("{}{} is private (exposure=): nothing may keep it", area.host, area.path));
    }
    let id = format!("originfs-{}", name.replace('_', "-"));
    let least = rules.wishes.edge.unwrap_or(0);
    let mut headers = json!({
        "Name": format!("{id}-headers"),
        "SecurityHeadersConfig": { "ContentTypeOptions": { "Override": true } },
        "CustomHeadersConfig": {
            "Items": [{ "Header": "Cross-Origin-Resource-Policy", "Value": CROSS_ORIGIN, "Override": true }],
        },
        "RemoveHeadersConfig": { "Items": [{ "Header": "Set-Cookie" }] },
    });
    if rules.wishes.cors {
        headers["CorsConfig"] = json!({
            "AccessControlAllowCredentials": false,
            "AccessControlAllowHeaders": { "Items": ["*"] },
            "AccessControlAllowMethods": { "Items": ["GET", "HEAD"] },
            "AccessControlAllowOrigins": { "Items": ["*"] },
            "OriginOverride": true,
        });
    }
    let function = |part: &str, code: String| {
        json!({
            "Type": "AWS::CloudFront::Function",
            "Properties": {
                "Name": format!("{id}-{part}"),
                "AutoPublish": true,
                "FunctionConfig": { "Comment": HEAD[0], "Runtime": "cloudfront-js-2.0" },
                "FunctionCode": code,
            },
        })
    };
    let template = json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": HEAD.join(" "),
        "Resources": {
            "Files": {
                "Type": "AWS::CloudFront::CachePolicy",
                "Properties": { "CachePolicyConfig": {
                    "Name": format!("{id}-files"),
                    "MinTTL": least,
                    "DefaultTTL": least.max(300),
                    "MaxTTL": YEAR,
                    "ParametersInCacheKeyAndForwardedToOrigin": {
                        "EnableAcceptEncodingBrotli": true,
                        "EnableAcceptEncodingGzip": true,
                        "CookiesConfig": { "CookieBehavior": "none" },
                        "HeadersConfig": { "HeaderBehavior": "none" },
                        "QueryStringsConfig": { "QueryStringBehavior": "whitelist", "QueryStrings": ["v"] },
                    },
                } },
            },
            "Headers": {
                "Type": "AWS::CloudFront::ResponseHeadersPolicy",
                "Properties": { "ResponseHeadersPolicyConfig": headers },
            },
            "Request": function("request", request(rules)),
            "Response": function("response", response(rules)),
        },
        "Outputs": {
            "CachePolicyId": { "Value": { "Ref": "Files" } },
            "ResponseHeadersPolicyId": { "Value": { "Ref": "Headers" } },
            "ViewerRequestFunction": { "Value": { "Fn::GetAtt": ["Request", "FunctionARN"] } },
            "ViewerResponseFunction": { "Value": { "Fn::GetAtt": ["Response", "FunctionARN"] } },
        },
    });
    Ok(format!("{template:#}\n"))
}

/// Names that are private, directories, and keys that are of no mount are not there.
fn request(rules: &Rules) -> String {
    let hosts = rules.hosts();
    let areas: Vec<&Area> = hosts.iter().flat_map(|host| rules.at(host)).collect();
    let mut paths: Vec<String> = Vec::new();
    for area in areas {
        let test = format!("  [{:?}, /^{}/i]", area.path, area.hidden(Spelling::Raw).replace('/', "\\/"));
        if !paths.contains(&test) {
            paths.push(test);
        }
    }
    format!(
        "// Directories, and what in them is private.\nvar areas = [\n{}\n];\nfunction handler(event) {{\n  var uri = event.request.uri.replace(/%([2-7][0-9a-f])/gi, function (all, hex) {{\n    var c = String.fromCharCode(parseInt(hex, 16));\n    return /[A-Za-z0-9._~\\/-]/.test(c) ? c : all;\n  }});\n  for (var i = 0; i < areas.length; i++) {{\n    if (uri.startsWith(areas[i][0])) {{\n      var rest = uri.slice(areas[i][0].length);\n      if (rest !== '' && !rest.endsWith('/') && !areas[i][1].test(rest)) return event.request;\n      break;\n    }}\n  }}\n  return {{ statusCode: 404, statusDescription: 'Not Found' }};\n}}\n",
        paths.join(",\n")
    )
}

/// It runs for each answer to a visitor, kept or not: what shows by its ETag not to be the version that its URL names, and
/// so was kept while another one was in the bucket, is not marked as unchanging.
fn response(rules: &Rules) -> String {
    let browser = rules.wishes.browser.map_or_else(String::new, |seconds| {
        format!("  else if (fine) headers['cache-control'] = {{ value: 'public, max-age={seconds}' }};\n")
    });
    format!(
        "function handler(event) {{\n  var headers = event.response.headers, v = event.request.querystring.v;\n  var said = headers['cache-control'] ? headers['cache-control'].value : '';\n  var etag = headers.etag ? headers.etag.value.replace(/^W\\//, '') : '';\n  var other = v && /^\"[0-9a-f]{{32}}\"$/.test(etag) && etag.slice(1, 13) !== v.value;\n  var fine = event.response.statusCode < 300 && !other && !/private|no-store|no-cache/i.test(said);\n  if (fine && v && /^{TOKEN}$/.test(v.value)) headers['cache-control'] = {{ value: '{IMMUTABLE}' }};\n{browser}  if (/[.](?:{})$/i.test(event.request.uri)) headers['content-security-policy'] = {{ value: \"{SANDBOX}\" }};\n  return event.response;\n}}\n",
        active().join("|")
    )
}

/// A name for the rules of a site, if nobody gave one.
pub fn name(rules: &Rules) -> String {
    cloudflare::name(rules)
}
