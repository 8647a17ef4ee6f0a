//! A way to a server that a test can break and mend.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What is wrong with the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every connection is closed, and every new one as soon as it is made.
    Cut,
    /// Nothing gets through, in neither direction; what was sent arrives when the way is mended.
    Stall,
    /// Requests get through, and answers arrive when the way is mended.
    StallAnswers,
    /// A connection gets its answers until a change is asked over it; from there on they arrive when the way is mended.
    StallAnswersToChanges,
    /// Requests get through; where the answer would come, the connection is closed.
    CutAnswers,
    /// Each piece arrives so much later.
    Slow(Duration),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

/// A way to one server. Gone when this is dropped, with all its connections.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    fault: watch::Sender<Fault>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A way to `server`, which need not be there yet.
    pub async fn to(server: SocketAddr, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, fault) = watch::channel(fault);
        let accepting = tokio::spawn(accept(listener, server, fault));
        Self { address, fault: sender, accepting }
    }

    /// From here on this is wrong with it.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, fault: watch::Receiver<Fault>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (client, _) = listener.accept().await.unwrap();
        connections.spawn(forward(client, server, fault.clone()));
    }
}

/// One connection, until either side ends it or the way is cut.
async fn forward(client: TcpStream, server: SocketAddr, mut fault: watch::Receiver<Fault>) {
    let cut = {
        let mut fault = fault.clone();
        async move { drop(fault.wait_for(|fault| *fault == Fault::Cut).await) }
    };
    let forwarding = async {
        if fault.wait_for(|fault| *fault != Fault::Stall).await.is_err() {
            return;
        }
        let Ok(server) = TcpStream::connect(server).await else { return };
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let changes = AtomicBool::new(false);
        tokio::select! {
            () = pump(from_client, to_server, Direction::ToServer, &changes, fault.clone()) => {}
            () = pump(from_server, to_client, Direction::ToClient, &changes, fault.clone()) => {}
        }
    };
    tokio::select! {
        biased;
        () = cut => {}
        () = forwarding => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    changes: &AtomicBool,
    mut fault: watch::Receiver<Fault>,
) {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = match from.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        let stalls_changes = *fault.borrow() == Fault::StallAnswersToChanges;
        if stalls_changes && direction == Direction::ToServer && is_change(&piece[..length]) {
            changes.store(true, Ordering::SeqCst);
        }
        let holds = |fault: &Fault| match fault {
            Fault::Stall => true,
            Fault::StallAnswers => direction == Direction::ToClient,
            Fault::StallAnswersToChanges => direction == Direction::ToClient && changes.load(Ordering::SeqCst),
            _ => false,
        };
        let Ok(fault) = fault.wait_for(|fault| !holds(fault)).await.map(|fault| *fault) else { return };
        match fault {
            Fault::CutAnswers if direction == Direction::ToClient => return,
            Fault::Slow(pause) => tokio::time::sleep(pause).await,
            _ => {}
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// Whether this holds the name of one of MongoDB's commands that change documents, as the key of a text.
fn is_change(piece: &[u8]) -> bool {
    let names: [&[u8]; 2] = [b"\x02findAndModify\0", b"\x02update\0"];
    names.iter().any(|name| piece.windows(name.len()).any(|window| window == *name))
}
