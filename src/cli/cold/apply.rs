//! Puts what is proposed into the bucket, beside the rules of others.

use std::{fmt::Display, time::Duration};

use crate::{
    cli::Failure,
    cost::{cold::Proposal, price::Cold, rules::Plan},
    error::Error,
    store::s3::{Lifecycle, S3Store},
};

/// How often the bucket is asked for what was written: AWS may show the former configuration for a while.
const LOOKS: u32 = 5;
/// Between looks.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// What changes, line by line. Without `dry_run` the bucket has it then, and says so; if it does not, it has again what it
/// had before.
pub(super) async fn apply(
    store: &S3Store,
    proposal: &Proposal,
    cold: &Cold,
    root: &str,
    dry_run: bool,
) -> Result<Vec<String>, Failure> {
    if proposal.days < cold.minimum_days {
        let least = cold.minimum_days;
        return Err(Failure::usage(format!("{} is for what is older than {least} days: --days {least}", cold.class)));
    }
    let former = store.lifecycle().await.map_err(|err| refused("read", &err))?;
    let text = former.as_ref().map(|former| former.text.as_str());
    let plan = Plan::new(text, proposal, cold.minimum_kib, root).map_err(Failure::usage)?;
    if dry_run || plan.changes.is_empty() {
        return Ok(said(&plan));
    }
    let minimum = former.as_ref().and_then(|former| former.minimum.clone());
    write(store, plan.text().map(|text| Lifecycle { text, minimum }).as_ref()).await?;
    let Err(why) = verify(store, &plan).await else { return Ok(said(&plan)) };
    let back = match write(store, former.as_ref()).await {
        Ok(()) => "what was there before is put back".to_owned(),
        Err(failure) => {
            format!("and what was there before could not be put back: {}", failure.message.unwrap_or_default())
        }
    };
    Err(Failure::mount(format!("{why}; {back}")))
}

async fn write(store: &S3Store, lifecycle: Option<&Lifecycle>) -> Result<(), Failure> {
    let written = match lifecycle {
        Some(lifecycle) => store.set_lifecycle(lifecycle).await,
        None => store.remove_lifecycle().await,
    };
    written.map_err(|err| refused("changed", &err))
}

/// Asks the bucket whether it has what was written. An error is one line.
async fn verify(store: &S3Store, plan: &Plan) -> Result<(), String> {
    for look in 1.. {
        let now = store.lifecycle().await.map_err(|err| err.to_string())?;
        match plan.is_kept(now.as_ref().map(|now| now.text.as_str())) {
            Err(_) if look < LOOKS => tokio::time::sleep(LOOK_PAUSE).await,
            kept => return kept,
        }
    }
    Ok(())
}

fn refused(what: &str, err: &Error) -> Failure {
    let why: &dyn Display = match err {
        Error::Unsupported => &"this service has none",
        Error::Denied => &"access denied; it takes s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration",
        other => other,
    };
    Failure::mount(format!("the lifecycle configuration of the bucket cannot be {what}: {why}; nothing is changed"))
}

fn said(plan: &Plan) -> Vec<String> {
    let mut lines = plan.changes.clone();
    lines.push(format!("{} rules of others stay as they are", plan.others.len()));
    lines
}
