//! For a bucket that browsers read without a cache that adds headers: who may load its fonts and draw its images, as
//! `aws s3api put-bucket-cors` takes it. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html>

use serde_json::json;

use super::{Refused, Rules};
use crate::cdn::url::Family;

/// Seconds for which a browser remembers what it was told.
const REMEMBERED: u32 = 3600;

/// The configuration. `origins`: whose pages may; those of the sites of the mounts if there are none, and anybody's with
/// the wish for CORS: then an edge has one answer for all, and no page can be given that of another.
pub fn emit(rules: &Rules, origins: &[String]) -> Result<String, Refused> {
    let mut all: Vec<String> = origins.to_vec();
    if rules.wishes.cors {
        all = vec!["*".to_owned()];
    } else if all.is_empty() {
        for area in rules.areas.iter().filter(|area| area.family == Family::Site) {
            all.push(area.origin.clone());
        }
    }
    all.sort_unstable();
    all.dedup();
    if all.is_empty() {
        return Err("whose pages may? Say origins in [[cdn]], site_url= of the mount, or --cors for all".to_owned());
    }
    let rule = json!({
        "AllowedOrigins": all,
        "AllowedMethods": ["GET", "HEAD"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": REMEMBERED,
    });
    Ok(format!("{:#}\n", json!({ "CORSRules": [rule] })))
}
