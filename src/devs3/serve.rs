//! Connections: accept, answer, and an orderly end.

use std::{io, io::Write, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::service::S3Service;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::{admin, faults::Faults, gate};

/// How long requests that are under way at SIGTERM may take to end: longer than any of them takes that no rule holds.
const GRACE: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT. Prints the address when it is ready.
pub(crate) async fn serve(listen: SocketAddr, service: S3Service, faults: Arc<Faults>) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    io::stdout().flush()?;
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection { service: service.clone(), faults: Arc::clone(&faults), peer };
                    connections.spawn(connection.run(stream, stopping.clone()));
                }
                // Out of descriptors or so: this connection is lost, the next may not be.
                Err(err) => log::warn!("accept: {err}"),
            },
            Some(_) = connections.join_next() => {}
            _ = term.recv() => break,
            _ = int.recv() => break,
        }
    }
    drop((listener, stop));
    let ended = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        log::warn!("{} connections are cut off", connections.len());
    }
    Ok(())
}

#[derive(Clone)]
struct Connection {
    service: S3Service,
    faults: Arc<Faults>,
    peer: SocketAddr,
}

impl Connection {
    async fn run(self, stream: TcpStream, mut stopping: watch::Receiver<()>) {
        // Header and body are two writes: with Nagle's algorithm a small GET takes 40 ms.
        if let Err(err) = stream.set_nodelay(true) {
            log::debug!("TCP_NODELAY: {err}");
        }
        let peer = self.peer;
        let answer = service_fn(move |req: Request<Incoming>| {
            let this = self.clone();
            async move {
                if admin::is_for(&req) {
                    return Ok(admin::answer(&this.faults, this.peer, req).await);
                }
                gate::answer(&this.service, &this.faults, req).await
            }
        });
        let builder = Builder::new(TokioExecutor::new());
        let mut connection = Box::pin(builder.serve_connection(TokioIo::new(stream), answer));
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome,
            _ = stopping.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(err) = outcome {
            log::debug!("{peer}: {err}");
        }
    }
}
