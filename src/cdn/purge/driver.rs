//! Does what the engine decides: sends requests, and tells it what came of them.

use std::{borrow::Cow, future, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{
    purger::{Purger, Station},
    target::{Batch, Target, Verdict},
    vendor::{Request, Response, Secret, Vendor, command::Command, sign::Stamp},
};
use crate::cdn::url::Token;

/// How long a vendor may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The world outside.
pub trait Outside: Send + Sync + 'static {
    /// Sends a request. An error is one line, without secrets.
    fn call(&self, request: Request) -> impl Future<Output = Result<Response, String>> + Send;

    /// Runs a program to its end. The status is its exit code.
    fn run(
        &self,
        words: &[String],
        input: String,
        secret: Secret,
    ) -> impl Future<Output = Result<Response, String>> + Send;

    /// The version that the bucket has of a key now; `None`: it has none. An error is one line.
    fn version(&self, key: &str) -> impl Future<Output = Result<Option<Token>, String>> + Send;

    /// The secret of a station, read anew each time, so that a new one needs no restart. An error is one line.
    fn secret(&self, station: usize) -> Result<Secret, String>;

    /// The time, and a number that was never there before.
    fn stamp(&self) -> Stamp;
}

/// Purges until it is dropped. What was under way then is purged again by the next run.
pub async fn run(purger: Arc<Purger>, outside: Arc<impl Outside>) {
    let mut tasks = JoinSet::new();
    loop {
        purger.refill();
        for parcel in purger.step() {
            let (purger, outside) = (Arc::clone(&purger), Arc::clone(&outside));
            tasks.spawn(async move {
                let verdict = deliver(&purger, &*outside, parcel.lane, &parcel.batch).await;
                tell(&purger.stations()[parcel.lane].name, &parcel.batch, &verdict);
                purger.answered(parcel.lane, parcel.batch.number, verdict);
            });
        }
        let sleep = async {
            match purger.sleep() {
                Some(time) => tokio::time::sleep(time).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            () = purger.poke.notified() => {}
            () = sleep => {}
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// Sends the requests of a batch, until one of them fails.
async fn deliver(purger: &Purger, outside: &impl Outside, lane: usize, batch: &Batch) -> Verdict {
    let station = &purger.stations()[lane];
    let batch = match sure(station, outside, batch).await {
        Ok(batch) => batch,
        Err(why) => return Verdict::Failed(why),
    };
    let secret = match outside.secret(lane) {
        Ok(secret) => secret,
        Err(why) => return Verdict::Refused(why),
    };
    if let Vendor::Command(command) = &station.vendor {
        let run = outside.run(&command.words, Command::input(&station.common, &batch), secret);
        return match timeout(ANSWER_MAX, run).await {
            Ok(Ok(ended)) => station.vendor.verdict(&ended),
            Ok(Err(why)) => Verdict::Failed(why),
            Err(_) => Verdict::Failed(format!("no end within {} s", ANSWER_MAX.as_secs())),
        };
    }
    for request in station.vendor.requests(&station.common, &batch, &secret) {
        let request = match station.vendor.signed(request, &secret, outside.stamp()) {
            Ok(request) => request,
            Err(why) => return Verdict::Refused(why),
        };
        let what = format!("{request:?}");
        let verdict = match timeout(ANSWER_MAX, outside.call(request)).await {
            Ok(Ok(response)) => station.vendor.verdict(&response),
            Ok(Err(why)) => Verdict::Failed(format!("{what}: {why}")),
            Err(_) => Verdict::Failed(format!("{what}: no answer within {} s", ANSWER_MAX.as_secs())),
        };
        if verdict != Verdict::Done {
            return verdict;
        }
    }
    Verdict::Done
}

/// A batch with the versions that the bucket has now, of changes of which nobody knows what came: their process was killed,
/// or the bucket did not answer.
async fn sure<'b>(station: &Station, outside: &impl Outside, batch: &'b Batch) -> Result<Cow<'b, Batch>, String> {
    let unsure = |batch: &Batch| batch.members.iter().any(|member| member.versions.unsure);
    if !station.common.urls.are_versioned() || !unsure(batch) {
        return Ok(Cow::Borrowed(batch));
    }
    let mut batch = batch.clone();
    for member in batch.members.iter_mut().filter(|member| member.versions.unsure) {
        let Target::Object(key) = &member.target else { continue };
        let asked = timeout(ANSWER_MAX, outside.version(key)).await;
        let found = asked.map_err(|_| format!("the bucket: no answer within {} s", ANSWER_MAX.as_secs()))?;
        if let Some(token) = found.map_err(|why| format!("the bucket: {why}"))? {
            member.versions.add(token);
        }
    }
    Ok(Cow::Owned(batch))
}

fn tell(name: &str, batch: &Batch, verdict: &Verdict) {
    let count = batch.members.len();
    match verdict {
        Verdict::Done => log::debug!("{name}: {count} purged"),
        Verdict::Busy(_, why) => log::info!("{name}: busy, tried again later: {why}"),
        Verdict::Failed(why) => log::warn!("{name}: {count} not purged, tried again: {why}"),
        Verdict::Refused(why) => log::error!("{name}: purges wait until somebody helps: {why}"),
        Verdict::Bad(why) => match &batch.members[..] {
            [member] => log::error!("{name}: {} is given up: {why}", member.target),
            _ => log::warn!("{name}: one of {count} makes no sense to it, looking for it: {why}"),
        },
    }
}
