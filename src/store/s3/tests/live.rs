//! The same list of checks as for the store in memory, against the server that `ORIGINFS_TEST_ENDPOINT` names. With
//! `ORIGINFS_TEST_BUCKET` (default `test`), `ORIGINFS_TEST_SERVER` (whose quirks are tolerated) and the usual
//! `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`. Without an endpoint there is nothing to check.

use std::{env, time::Duration};

use super::super::S3Store;
use crate::{
    config::{Checksum, CredentialSource, S3Options},
    store::{
        conformance::{Quirks, conforms},
        probe::probe,
    },
};

async fn store() -> Option<S3Store> {
    let options = S3Options {
        endpoint: Some(env::var("ORIGINFS_TEST_ENDPOINT").ok()?),
        credentials: CredentialSource::Chain { profile: None, file: None },
        checksum: Checksum::Auto,
        retries: 3,
        timeout: Duration::from_secs(30),
        ..super::fake::options(0)
    };
    let bucket = env::var("ORIGINFS_TEST_BUCKET").unwrap_or_else(|_| "test".into());
    let store = S3Store::connect(&bucket, &options).await.unwrap();
    store.check("").await.unwrap();
    Some(store)
}

fn quirks() -> Quirks {
    match env::var("ORIGINFS_TEST_SERVER").as_deref() {
        Ok("seaweedfs") => Quirks::seaweedfs(),
        Ok("rgw16") => Quirks::rgw16(),
        Ok("rgw20") => Quirks::rgw20(),
        Ok("garage") => Quirks::garage(),
        _ => Quirks::default(),
    }
}

#[tokio::test]
async fn the_server_conforms() {
    let Some(store) = store().await else { return };
    store.set_conditions(probe(&store, "", &S3Store::token()).await);
    store.probe_sums("", &S3Store::token()).await;
    conforms(&store, &format!("{}/", S3Store::token()), &quirks()).await;
}

#[tokio::test]
async fn the_probe_finds_what_the_quirks_say() {
    let Some(store) = store().await else { return };
    let (found, quirks) = (probe(&store, "", &S3Store::token()).await, quirks());
    println!("{found}");
    assert_eq!(found.absent.works(), !quirks.put_absent_ignored);
    assert_eq!(found.copy.works(), !quirks.copy_require_ignored);
    assert_eq!(found.complete.works(), !quirks.complete_require_ignored);
    assert_eq!(found.delete.works(), !quirks.delete_match_ignored);
    assert_eq!(store.probe_sums("", &S3Store::token()).await, !quirks.crc32_ignored);
}
