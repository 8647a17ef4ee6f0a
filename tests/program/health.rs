//! `keylend health`: what it says of a server, and what it ends with.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;

use crate::place::Place;
use crate::program::{Program, keylend, output};

on_both_stores!(a_server_that_serves_is_ready_and_one_that_has_gone_cannot_be_asked);

/// Asks by the command, in a folder of its own.
fn ask(listen: &str, settings: &[(&str, String)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    output(keylend(&folder, settings, &["health", "--listen", listen]), "")
}

#[track_caller]
fn says(done: &Output, code: i32, stdout: &str, stderr: &str) {
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(code) && told.contains(stderr), "{done:?}");
    assert_eq!((String::from_utf8_lossy(&done.stdout).as_ref(), told.is_empty()), (stdout, stderr.is_empty()));
}

fn address(program: &Program) -> String {
    program.url.trim_start_matches("http://").to_owned()
}

async fn a_server_that_serves_is_ready_and_one_that_has_gone_cannot_be_asked(place: Place) {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve(keylend(&folder, &place.settings(), &[]));
    let address = address(&program);
    says(&ask(&address, &place.settings()), 0, "ready\n", "");
    // A server on all addresses is asked on this machine's own, and a proxy of the surroundings is none of its business.
    let everywhere = address.replace("127.0.0.1", "0.0.0.0");
    let proxy = [("HTTP_PROXY", "http://127.0.0.1:1".to_owned()), ("http_proxy", "http://127.0.0.1:1".to_owned())];
    says(&ask(&everywhere, &proxy), 0, "ready\n", "");
    assert!(program.terminate().0.success());
    says(&ask(&address, &[]), 2, "", &format!("http://{address}/readyz cannot be asked (Connection refused"));
}

#[test]
fn a_server_that_waits_for_its_store_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("MONGODB_URI", "mongodb://127.0.0.1:1/?directConnection=true".to_owned()),
        ("KEYLEND_STORE_TIMEOUT", "200ms".to_owned()),
        // By which name it is asked does not matter.
        ("KEYLEND_HOSTS", "keys.example".to_owned()),
    ];
    let program = Program::start(keylend(&folder, &settings, &[]), "settings_read");
    says(&ask(&address(&program), &settings), 1, "", "keylend: not ready: the store");
}

#[test]
fn a_server_with_tls_is_asked_by_it_whatever_name_its_certificate_has() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("cert.pem", include_str!("tls/one.pem")), ("key.pem", include_str!("tls/one.key"))] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    let settings = [("KEYLEND_TLS_CERT", path("cert.pem")), ("KEYLEND_TLS_KEY", path("key.pem"))];
    let program = Program::serve(keylend(&folder, &settings, &[]));
    // The certificate is one of 127.0.0.1, by a root that nobody here trusts.
    says(&ask(&address(&program), &settings), 0, "ready\n", "");
    says(&ask(&address(&program), &[]), 2, "", "cannot be asked");
}

/// Answers one caller with this, and nothing more.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut caller, _) = listener.accept().unwrap();
        let _ = caller.read(&mut [0; 4096]);
        let _ = caller.write_all(answer.as_bytes());
    });
    address
}

#[test]
fn what_is_no_keylend_is_not_taken_for_one() {
    for answer in [
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    ] {
        says(&ask(&answering(answer).to_string(), &[]), 2, "", "that is no keylend");
    }
    says(&ask(&answering("SSH-2.0-x\r\n").to_string(), &[]), 2, "", "cannot be asked");
}

#[test]
fn faulty_settings_end_with_64() {
    says(&ask("nowhere", &[]), 64, "", "KEYLEND_LISTEN: ");
}
