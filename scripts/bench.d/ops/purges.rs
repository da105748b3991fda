//! The purges of a mount without a mount: changes as closes tell of them, an outbox on the disk, and a vendor in this
//! process.

use std::{
    fs, io, mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{Args, ValueEnum};
use originfs::{
    cdn::{
        purge::{
            driver::{self, Outside},
            purger::{Purger, Station},
            urls::Urls,
            vendor::{
                Common, Request, Response, Secret, Vendor,
                edge::{Below, Edge},
                sign::Stamp,
                webhook::Webhook,
            },
        },
        url::{Base, Family, Mapper, Token},
    },
    clock,
    model::{
        key::{Key, Prefix},
        version::{ETag, Version},
    },
    store::{
        Require,
        watched::{Change, Notice as _, Watch as _},
    },
};
use serde_json::json;
use tokio::{task::JoinSet, time::sleep};

use crate::report::{Report, micros, of_times};

/// Directories that the changes are spread over.
const DIRS: u64 = 500;
/// Ticks of `/proc/self/stat` in a second, on Linux everywhere.
const TICKS: f64 = 100.0;
/// Between looks at what is left.
const LOOK: Duration = Duration::from_millis(5);

/// Changes a second through the engine, and what they cost.
#[derive(Args, Debug)]
pub(crate) struct Purges {
    /// Of the outbox.
    #[arg(long)]
    dir: PathBuf,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Changes in a second; 0: as many as there can be.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Files that are closed at once.
    #[arg(long, default_value_t = 32)]
    concurrency: u32,
    #[arg(long, value_enum, default_value = "edge")]
    vendor: Which,
    /// The vendor is away.
    #[arg(long)]
    down: bool,
    /// Instead: a run that was killed left so many, and the next one loads them.
    #[arg(long)]
    left: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// A request for each object, or for a crowd in one directory.
    Edge,
    /// A hundred in a request.
    Webhook,
}

/// Answers at once, or not at all.
#[derive(Debug)]
struct Always {
    down: bool,
}

impl Outside for Always {
    async fn call(&self, _: Request) -> Result<Response, String> {
        if self.down {
            Err("connection refused".to_owned())
        } else {
            Ok(Response { status: 200, ..Response::default() })
        }
    }

    async fn run(&self, _: &[String], _: String, _: Secret) -> Result<Response, String> {
        Err("no program is asked".to_owned())
    }

    async fn version(&self, _: &str) -> Result<Option<Token>, String> {
        Ok(None)
    }

    fn secret(&self, _: usize) -> Result<Secret, String> {
        Ok(Secret::default())
    }

    fn stamp(&self) -> Stamp {
        Stamp { seconds: clock::wall().sec, nonce: 0 }
    }
}

impl Purges {
    /// On one thread, so what it does in a second it does on one core; syncing the disk waits on another.
    pub(crate) fn run(&self) -> io::Result<Report> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.left {
                Some(count) => self.load(count).await,
                None => self.sustain().await,
            }
        })
    }

    async fn sustain(&self) -> io::Result<Report> {
        let purger = self.open()?;
        let vendor = tokio::spawn(driver::run(Arc::clone(&purger), Arc::new(Always { down: self.down })));
        let (begun, cpu) = (clock::now(), cpu()?);
        let end = begun + Duration::from_secs(self.seconds);
        let (mut tasks, concurrency) = (JoinSet::new(), f64::from(self.concurrency));
        for task in 0..self.concurrency {
            let purger = Arc::clone(&purger);
            // Each task has its share of the rate.
            let every = Duration::from_secs(u64::from(self.concurrency)).checked_div(self.rate).unwrap_or_default();
            tasks.spawn(async move {
                let (mut times, mut next) = (Vec::new(), begun + every.mul_f64(f64::from(task) / concurrency));
                while clock::now() < end {
                    tokio::time::sleep_until(next.into()).await;
                    let before = clock::now();
                    change(&purger, u64::from(task) << 32 | times.len() as u64).await;
                    times.push(before.elapsed());
                    next += every;
                }
                times
            });
        }
        let times: Vec<Duration> = tasks.join_all().await.concat();
        let wall = begun.elapsed();
        let waiting = purger.look(|lanes| lanes[0].waiting());
        let pending = purger.pending();
        while !self.down && !purger.is_drained() {
            sleep(LOOK).await;
        }
        let (drained, spent) = (begun.elapsed(), self::cpu()?.saturating_sub(cpu));
        vendor.abort();
        let max = times.iter().max().copied().map_or(0.0, micros);
        let (requests, count) = (purger.look(|lanes| lanes[0].tally().requests), times.len());
        let mut report = of_times(times, wall);
        report["max_us"] = json!(max);
        report["cpu_share"] = json!(spent.as_secs_f64() / drained.as_secs_f64());
        report["cpu_us_per_change"] = json!(micros(spent) / f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
        report["drained_after_s"] = json!(drained.as_secs_f64());
        report["requests"] = json!(requests);
        report["in_memory_at_end"] = json!(waiting);
        report["pending_at_end"] = json!(pending);
        report["peak_rss_mib"] = json!(peak_mib()?);
        Ok(report)
    }

    async fn load(&self, count: u64) -> io::Result<Report> {
        let purger = self.open()?;
        let keys: Vec<Key> = (0..count).map(key).collect();
        for keys in keys.chunks(1000) {
            // A process that is killed settles nothing.
            mem::forget(purger.announce(keys).await);
        }
        mem::forget(purger);
        drop(keys);
        let begun = clock::now();
        let purger = self.open()?;
        let opened = begun.elapsed();
        if purger.pending() != count {
            return Err(io::Error::other(format!("{} of {count} are there", purger.pending())));
        }
        let vendor = tokio::spawn(driver::run(Arc::clone(&purger), Arc::new(Always { down: self.down })));
        while purger.look(|lanes| lanes[0].waiting() == 0) && !purger.is_drained() {
            sleep(Duration::from_millis(1)).await;
        }
        let loaded = begun.elapsed();
        while !self.down && !purger.is_drained() {
            sleep(LOOK).await;
        }
        vendor.abort();
        Ok(json!({
            "us": micros(loaded), "count": count, "opened_s": opened.as_secs_f64(), "loaded_s": loaded.as_secs_f64(),
            "drained_s": begun.elapsed().as_secs_f64(), "pending_at_end": purger.pending(), "peak_rss_mib": peak_mib()?,
        }))
    }

    fn open(&self) -> io::Result<Arc<Purger>> {
        Purger::open(&self.dir, "site/", vec![self.station()?], 1)
    }

    fn station(&self) -> io::Result<Station> {
        let base = Base::parse("https://cdn.example", Family::Cdn).map_err(io::Error::other)?;
        let prefix = Prefix::parse("site").map_err(io::Error::other)?;
        let address = "http://127.0.0.1:1".to_owned();
        let vendor = match self.vendor {
            Which::Edge => Vendor::Edge(Edge { address, below: Below::Star }),
            Which::Webhook => Vendor::Webhook(Webhook { url: address }),
        };
        let common = Common {
            urls: Urls::new(Mapper::new(prefix, vec![base]), false),
            root: "site/".into(),
            hosts: 1,
            collapse_at: 50,
            everything: false,
            repurge_after: Some(Duration::from_secs(5)),
        };
        Ok(Station { name: "fake".to_owned(), vendor, common })
    }
}

/// What a close does beside its upload.
async fn change(purger: &Arc<Purger>, number: u64) {
    let key = key(number);
    let notice = purger.announce(std::slice::from_ref(&key)).await;
    let new = Version { etag: ETag::new("\"e\""), size: 1, modified: None };
    if let Some(notice) = notice {
        notice.settle(vec![Change::Written { key, old: Require::Absent, new }]);
    }
}

fn key(number: u64) -> Key {
    Key::new(&format!("site/wp-content/uploads/{}/a-picture-of-something-{number}-1024x768.jpg", number % DIRS))
}

/// Of this process so far.
fn cpu() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // After the name, which may have spaces: fields 14 and 15 of proc(5).
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_ascii_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(Duration::from_secs_f64(ticks.sum::<f64>() / TICKS))
}

fn peak_mib() -> io::Result<f64> {
    let status = fs::read_to_string(Path::new("/proc/self/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| io::Error::other("no VmHWM"))
}
