//! More callers than can be served, callers who waste connections, and an instance that dies among several: counted, never
//! timed. What it comes to in seconds is in `docs/reliability.md`.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../support/program.rs"]
mod program;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use program::{PATIENCE, Program, keylend, output};

const LEASES: &str = "/v1/pools/stability/leases";

/// A folder whose embedded store has so many keys.
fn folder_of(keys: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let keys: String = (0..keys).map(|n| format!("sk-load-{n:08}\n")).collect();
    assert!(output(keylend(&folder, &[], &["keys", "add", "-"]), &keys).status.success());
    folder
}

/// How many files a process has open.
fn files(id: u32) -> usize {
    std::fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
}

/// Its largest resident size so far, in MiB.
fn memory(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_too_many_is_told_to_come_again_and_is_served_then() {
    const CALLERS: usize = 400;
    const EACH: usize = 3;
    let folder = folder_of(1000);
    let settings = [("KEYLEND_MAX_IN_FLIGHT", "16".to_owned())];
    let server = Program::serve(keylend(&folder, &settings, &[]));
    let url = format!("{}{LEASES}", server.url);
    let before = files(server.id());
    let overloaded = AtomicUsize::new(0);
    let client = Client::builder().timeout(PATIENCE).build().unwrap();
    let calling = join_all((0..CALLERS).map(async |_| {
        let mut leases = 0;
        while leases < EACH {
            let answer = client.post(&url).send().await.unwrap();
            if answer.status() == 201 {
                leases += 1;
                continue;
            }
            assert_eq!((answer.status().as_u16(), answer.headers().get("retry-after").is_some()), (503, true));
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["code"], "overloaded");
            overloaded.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(5)).await;
        }
    }));
    let looking = async {
        for path in ["/livez", "/readyz"].iter().cycle().take(20) {
            let answer = client.get(format!("{}{path}", server.url)).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path} in the crowd");
        }
    };
    timeout(PATIENCE, async { tokio::join!(calling, looking) }).await.expect("all are served in the end");
    assert!(overloaded.load(Ordering::Relaxed) > 0, "nobody was too many");
    for _ in 0..50 {
        assert_eq!(client.post(&url).send().await.unwrap().status(), 201, "after the crowd");
    }
    drop(client);
    until("the files of the crowd to be closed", || files(server.id()) <= before).await;
    let memory = memory(server.id());
    assert!(memory < 200, "{memory} MiB for {CALLERS} callers");
}

/// Those who send nothing, half a head, half a body, rubbish in a row; and those who read nothing of what they asked for.
#[tokio::test(flavor = "multi_thread")]
async fn who_wastes_connections_keeps_none_and_keeps_nobody_out() {
    const EACH: usize = 60;
    let folder = folder_of(1000);
    let server = Program::serve(keylend(&folder, &[], &[]));
    let address: SocketAddr = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let before = files(server.id());
    let half_a_body = format!(
        "POST {LEASES} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{{"
    );
    let unread = "GET /v1/pools/stability/keys?limit=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(40);
    let huge = format!("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let rubbish = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n\0\u{ff}\u{ff}\r\n\r\n".repeat(20);
    let wastes = ["", "GET /livez HTTP/1.1\r\nho", &half_a_body, &unread, &huge, &rubbish];
    let mut wasted = Vec::new();
    for waste in wastes {
        for _ in 0..EACH {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // It may be closed before all is sent.
            let _ = timeout(Duration::from_millis(50), stream.write_all(waste.as_bytes())).await;
            wasted.push(stream);
        }
    }
    let client = Client::builder().timeout(PATIENCE).build().unwrap();
    for _ in 0..50 {
        let answer = client.post(format!("{}{LEASES}", server.url)).send().await.unwrap();
        assert_eq!(answer.status(), 201, "beside those who waste connections");
    }
    drop(client);
    // They keep theirs open.
    until("the server to close them", || files(server.id()) <= before).await;
    drop(wasted);
    let memory = memory(server.id());
    assert!(memory < 200, "{memory} MiB");
}

/// As a reverse proxy does: each connection to the next instance that takes it.
async fn proxy(instances: Vec<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (instances, next) = (Arc::new(instances), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = listener.accept().await {
            let (instances, next) = (Arc::clone(&instances), Arc::clone(&next));
            tokio::spawn(async move {
                for _ in 0..instances.len() {
                    let one = instances[next.fetch_add(1, Ordering::Relaxed) % instances.len()];
                    if let Ok(mut instance) = TcpStream::connect(one).await {
                        // Cut where either is gone.
                        let _ = copy_bidirectional(&mut caller, &mut instance).await;
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_instance_that_is_killed_only_what_it_had_in_hand_is_lost() {
    const CALLERS: usize = 12;
    const EACH: usize = 40;
    let folder = folder_of(1000);
    let servers: Vec<Program> = (0..3).map(|_| Program::serve(keylend(&folder, &[], &[]))).collect();
    let addresses = servers.iter().map(|server| server.url.strip_prefix("http://").unwrap().parse().unwrap()).collect();
    let url = format!("http://{}{LEASES}", proxy(addresses).await);
    // Each request takes a way of its own.
    let client = Client::builder().timeout(PATIENCE).pool_max_idle_per_host(0).build().unwrap();
    let (served, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let longest = Mutex::new(Duration::ZERO);
    let calling = join_all((0..CALLERS).map(async |_| {
        let (mut leases, mut last) = (0, Instant::now());
        while leases < EACH {
            match client.post(&url).send().await {
                Ok(answer) => {
                    assert_eq!(answer.status(), 201);
                    leases += 1;
                    let mut longest = longest.lock().unwrap();
                    *longest = last.elapsed().max(*longest);
                    last = Instant::now();
                    served.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => _ = lost.fetch_add(1, Ordering::Relaxed),
            }
        }
    }));
    let killing = async {
        until("a third of the work", || served.load(Ordering::Relaxed) > CALLERS * EACH / 3).await;
        servers[1].signal("KILL");
    };
    timeout(PATIENCE, async { tokio::join!(calling, killing) }).await.expect("all are served in the end");
    // At most the one request that each caller had under way.
    let lost = lost.load(Ordering::Relaxed);
    println!("{lost} requests were lost, the longest wait for a key was {:?}", longest.lock().unwrap());
    assert!(lost <= CALLERS, "{lost} requests were lost");
}
