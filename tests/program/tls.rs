//! TLS: keys and tokens do not travel in the clear, and a certificate is exchanged while the server serves.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use https_client::tls::TlsInfo;
use https_client::{Certificate, Client};
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use crate::program::{PATIENCE, Program, keylend, output};

const CA: &[u8] = include_bytes!("tls/ca.pem");
pub const ONE: (&str, &str) = (include_str!("tls/one.pem"), include_str!("tls/one.key"));
const TWO: (&str, &str) = (include_str!("tls/two.pem"), include_str!("tls/two.key"));

pub fn settings() -> Vec<(&'static str, String)> {
    vec![("KEYLEND_TLS_CERT", "cert.pem".to_owned()), ("KEYLEND_TLS_KEY", "key.pem".to_owned())]
}

pub fn write(folder: &TempDir, (certificate, key): (&str, &str)) {
    std::fs::write(folder.path().join("cert.pem"), certificate).unwrap();
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
}

fn serve(folder: &TempDir) -> (Program, String) {
    let program = Program::serve(keylend(folder, &settings(), &[]));
    let url = program.url.replace("http:", "https:");
    (program, url)
}

pub fn client() -> Client {
    let client = Client::builder().add_root_certificate(Certificate::from_pem(CA).unwrap()).tls_info(true);
    client.timeout(PATIENCE).build().unwrap()
}

/// What a server shows to a caller who comes now.
async fn certificate(url: &str) -> Vec<u8> {
    let answer = client().get(format!("{url}/livez")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.extensions().get::<TlsInfo>().unwrap().peer_certificate().unwrap().to_vec()
}

/// A way to a server on which everything that passes is written down.
pub fn tapped(to: &str) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (to, seen) = (to.rsplit('/').next().unwrap().to_owned(), Arc::new(Mutex::new(Vec::new())));
    let wire = Arc::clone(&seen);
    std::thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let to = TcpStream::connect(&to).unwrap();
            for (mut one, mut other) in [(from.try_clone().unwrap(), to.try_clone().unwrap()), (to, from)] {
                let wire = Arc::clone(&wire);
                std::thread::spawn(move || {
                    let mut piece = [0; 4096];
                    while let Ok(length @ 1..) = one.read(&mut piece) {
                        wire.lock().unwrap().extend_from_slice(&piece[..length]);
                        if other.write_all(&piece[..length]).is_err() {
                            break;
                        }
                    }
                });
            }
        }
    });
    (url, seen)
}

/// All that passes on this machine to and from a server, written down by tshark where `KEYLEND_TEST_TSHARK` says that
/// there is one and that it may.
pub struct Capture {
    child: Child,
    file: NamedTempFile,
    /// The server: once a last word to it is written down, all before it is.
    address: String,
}

impl Capture {
    pub fn start(url: &str) -> Option<Self> {
        std::env::var_os("KEYLEND_TEST_TSHARK")?;
        let address = url.rsplit('/').next().unwrap().to_owned();
        let (_, port) = address.split_once(':').unwrap();
        let file = NamedTempFile::new().unwrap();
        let mut command = Command::new("tshark");
        command.args(["-i", "lo", "-f", &format!("tcp port {port}"), "-w"]).arg(file.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let capture = Self { child, file, address };
        capture.wait_for("first word");
        Some(capture)
    }

    /// Says something to the server until it is written down.
    fn wait_for(&self, word: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.read().windows(word.len()).any(|piece| piece == word.as_bytes()) {
            assert!(Instant::now() < deadline, "tshark does not write down what passes");
            let _ = TcpStream::connect(&self.address).and_then(|mut to| to.write_all(word.as_bytes()));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn read(&self) -> Vec<u8> {
        std::fs::read(self.file.path()).unwrap_or_default()
    }

    /// What was written down, while the server still serves.
    pub fn end(self) -> Vec<u8> {
        self.wait_for("last word");
        self.read()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn who_listens_on_the_wire_learns_no_key() {
    crate::run(async {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, ONE);
        let (program, url) = serve(&folder);
        let (tapped, wire) = tapped(&url);
        let client = client();
        let add = client.post(format!("{tapped}/v1/pools/stability/keys"));
        let body = json!({"api_keys": ["sk-planted-0123456789"]}).to_string();
        let added = add.header("content-type", "application/json").bearer_auth("klt_planted").body(body).send().await;
        assert_eq!(added.unwrap().status(), 200);
        let leased = client.post(format!("{tapped}/v1/pools/stability/leases")).send().await.unwrap();
        let leased: Value = serde_json::from_slice(&leased.bytes().await.unwrap()).unwrap();
        assert_eq!(leased["api_key"], "sk-planted-0123456789");
        let wire = wire.lock().unwrap().clone();
        assert!(wire.len() > 500 && !wire.windows(7).any(|piece| piece == b"planted"), "it travels in the clear");
        // Who does not encrypt is not answered.
        assert!(reqwest::get(format!("{}/livez", program.url)).await.is_err());
        assert!(program.terminate().0.success());
    });
}

#[test]
fn a_certificate_is_exchanged_on_sighup_and_drops_nobody() {
    crate::run(async {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, ONE);
        let (mut program, url) = serve(&folder);
        let mut times = 1;
        let mut hang_up = |program: &mut Program| {
            program.signal("HUP");
            times += 1;
            program.wait_for(|log| (log.matches("event=\"settings_read\"").count() == times).then_some(()));
        };
        let kept = client();
        let ask = async || kept.get(format!("{url}/livez")).send().await.unwrap();
        let shown = async |ask: https_client::Response| {
            ask.extensions().get::<TlsInfo>().unwrap().peer_certificate().unwrap().to_vec()
        };
        let one = shown(ask().await).await;
        write(&folder, TWO);
        hang_up(&mut program);
        let two = certificate(&url).await;
        assert_ne!(one, two);
        // Whoever was there goes on with what it had, and what cannot be used is not taken.
        assert_eq!(shown(ask().await).await, one);
        write(&folder, ("hush", TWO.1));
        hang_up(&mut program);
        assert_eq!(certificate(&url).await, two);
        let log = program.log();
        assert!(log.contains("the old one is shown on") && !log.contains("hush"), "{log}");
    });
}

#[test]
fn files_that_cannot_be_used_are_faults_of_their_settings() {
    let folder = tempfile::tempdir().unwrap();
    for (files, expected) in [
        (("", ONE.1), "KEYLEND_TLS_CERT: there is no certificate in the file"),
        (("hush", ONE.1), "KEYLEND_TLS_CERT: there is no certificate in the file"),
        ((ONE.0, "hush"), "KEYLEND_TLS_KEY: the private key cannot be read"),
        ((ONE.0, TWO.1), "KEYLEND_TLS_CERT: the certificate and the key cannot be used"),
    ] {
        write(&folder, files);
        let done = output(keylend(&folder, &settings(), &["serve", "--listen", "127.0.0.1:0"]), "");
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(64) && said.contains(expected) && !said.contains("hush"), "{said}");
    }
    std::fs::remove_file(folder.path().join("cert.pem")).unwrap();
    let done = output(keylend(&folder, &settings(), &["serve", "--listen", "127.0.0.1:0"]), "");
    assert!(String::from_utf8(done.stderr).unwrap().contains("KEYLEND_TLS_CERT: the certificate cannot be read"));
    for (given, missing) in [(0, "KEYLEND_TLS_KEY"), (1, "KEYLEND_TLS_CERT")] {
        let one = &settings()[given..=given];
        let done = output(keylend(&folder, one, &["serve", "--listen", "127.0.0.1:0"]), "");
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(64) && said.contains(&format!("{missing}: it is not set")), "{said}");
    }
}
