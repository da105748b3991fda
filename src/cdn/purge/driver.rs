//! Does what the engine decides: sends requests, and tells it what came of them.

use std::{future, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{
    purger::Purger,
    target::{Batch, Verdict},
    vendor::{Request, Response, Secret, Vendor, command::Command, sign::Stamp},
};

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
    let secret = match outside.secret(lane) {
        Ok(secret) => secret,
        Err(why) => return Verdict::Refused(why),
    };
    if let Vendor::Command(command) = &station.vendor {
        let run = outside.run(&command.words, Command::input(&station.common, batch), secret);
        return match timeout(ANSWER_MAX, run).await {
            Ok(Ok(ended)) => station.vendor.verdict(&ended),
            Ok(Err(why)) => Verdict::Failed(why),
            Err(_) => Verdict::Failed(format!("no end within {} s", ANSWER_MAX.as_secs())),
        };
    }
    for request in station.vendor.requests(&station.common, batch, &secret) {
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
