//! `originfs-dev-s3`: an S3 server for demos and tests, that breaks on demand.
//!
//! It keeps to S3 where a mount could notice: conditional writes are atomic, listings are in byte order, a reader
//! never sees a mix of two versions, odd keys stay as they are. It is no server for production: data is not synced to
//! the disk, and whoever reaches the loopback interface may break it through [`admin`].
//!
//! - [`space`]: a bucket on disk, with [`blob`] for bytes on their way in and out.
//! - [`service`]: the S3 API, in [`objects`], [`listing`], [`multipart`] and [`buckets`], with [`wire`] for what they
//!   share.
//! - [`acl`]: who may read an object without credentials.
//! - [`manner`]: other ways to treat the conditions of writes.
//! - [`faults`]: what breaks (or lies, with what [`former`] keeps), decided at [`gate`], planned through [`admin`].

mod acl;
mod admin;
mod blob;
mod buckets;
mod faults;
mod former;
mod gate;
mod lifecycle;
mod listing;
mod manner;
mod multipart;
mod objects;
mod serve;
mod service;
mod space;
mod wire;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use s3s::service::S3ServiceBuilder;

/// An S3 server for demos and tests of originfs.
#[derive(Debug, Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one. The address is printed when the server is ready.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The directory that keeps buckets; it is created.
    #[arg(long)]
    data: PathBuf,
    #[arg(long, default_value = "originfs")]
    access_key: String,
    #[arg(long, default_value = "originfs-secret")]
    secret_key: String,
    /// Create this bucket at the start, unless it is there. Can be repeated.
    #[arg(long = "bucket", value_name = "NAME")]
    buckets: Vec<String>,
    /// Let everyone GET and HEAD the objects of this bucket. Can be repeated.
    #[arg(long, value_name = "BUCKET")]
    public_read: Vec<String>,
    /// How conditions of writes are treated, to imitate other servers.
    #[arg(long, value_enum, default_value_t)]
    conditions: manner::Manner,
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,s3s=off")).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => return fail(&err),
    };
    match runtime.block_on(run(Args::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => fail(&err),
    }
}

fn fail(err: &std::io::Error) -> ExitCode {
    log::error!("{err}");
    ExitCode::FAILURE
}

async fn run(args: Args) -> std::io::Result<()> {
    let faults = Arc::new(faults::Faults::default());
    let spaces = buckets::Spaces::open(args.data, args.conditions, faults.remembers())?;
    for name in args.buckets.iter().chain(&args.public_read) {
        spaces.create_missing(name)?;
    }
    let spaces = Arc::new(spaces);
    let mut builder = S3ServiceBuilder::new(service::Service { spaces: Arc::clone(&spaces) });
    // Access is only checked, and so faults only strike, with an auth provider: there is always one.
    builder.set_auth(gate::Account { access_key: args.access_key, secret_key: args.secret_key });
    builder.set_access(gate::Gate { public: args.public_read, spaces, faults: Arc::clone(&faults) });
    serve::serve(args.listen, builder.build(), faults).await
}
