//! A provider on this machine: what it answers is in the key that it is asked about.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A provider, and what it was asked.
pub struct Provider {
    /// Its address, to which any path can be appended.
    pub url: String,
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
    stood: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Provider {
    /// Starts it. It ends with the process.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, stood) = (Arc::default(), Arc::default());
        let provider = Self { url, asked: Arc::clone(&asked), stood: Arc::clone(&stood) };
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (asked, stood) = (Arc::clone(&asked), Arc::clone(&stood));
                std::thread::spawn(move || serve(connection, &asked, &stood));
            }
        });
        provider
    }

    /// How often it was asked about this key, by whatever path.
    pub fn asked(&self, key: &str) -> u32 {
        self.asked.lock().unwrap().get(key).copied().unwrap_or(0)
    }

    /// How often it was asked at all.
    pub fn asked_in_all(&self) -> u32 {
        self.asked.lock().unwrap().values().sum()
    }

    /// From here on it answers about this key as about one that is `like`: `alive`, `rejected`, ..
    #[allow(dead_code, reason = "not every test changes its mind")]
    pub fn stands(&self, key: &str, like: &str) {
        self.stood.lock().unwrap().insert(key.to_owned(), like.to_owned());
    }

    /// The sections of `keylend.toml` by which the pool asks it.
    pub fn verify(&self, pool: &str, more: &str) -> String {
        format!("[pools.{pool}.verify]\nurl = \"{}/v1/user/balance\"\ntimeout_seconds = 2\n{more}\n", self.url)
    }
}

fn serve(mut connection: TcpStream, asked: &Mutex<BTreeMap<String, u32>>, stood: &Mutex<BTreeMap<String, String>>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    loop {
        let mut key = None;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).is_ok_and(|read| read == 0) || line.is_empty() {
                return;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("authorization")
            {
                key = Some(value.trim().trim_start_matches("Bearer ").to_owned());
            }
            if line == "\r\n" {
                break;
            }
        }
        let key = key.unwrap_or_default();
        *asked.lock().unwrap().entry(key.clone()).or_default() += 1;
        let like = stood.lock().unwrap().get(&key).cloned().unwrap_or(key);
        if answer(&mut connection, &like).is_err() {
            return;
        }
    }
}

fn answer(connection: &mut TcpStream, like: &str) -> std::io::Result<()> {
    let mut say = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
    };
    let is = |word: &str| like.contains(word);
    match () {
        () if is("alive") => say("200 OK", "", r#"{"credits": 24.5}"#),
        () if is("empty") => say("200 OK", "", r#"{"credits": 0}"#),
        () if is("rejected") => say("401 Unauthorized", "", "{}"),
        () if is("forbidden") => say("403 Forbidden", "", ""),
        () if is("exhausted") => say("402 Payment Required", "", ""),
        () if is("limited") => say("429 Too Many Requests", "Retry-After: 90\r\n", ""),
        () if is("page") => say("200 OK", "Content-Type: text/html\r\n", "<html>alive</html>"),
        () if is("elsewhere") => say("302 Found", "Location: /elsewhere\r\n", ""),
        () if is("failing") => say("503 Service Unavailable", "", "{}"),
        () if is("silent") => {
            std::thread::sleep(Duration::from_secs(30));
            Ok(())
        }
        () if is("endless") => {
            write!(connection, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")?;
            (0..1600).try_for_each(|_| connection.write_all(&[b' '; 64 * 1024]))
        }
        () => Err(std::io::ErrorKind::ConnectionAborted.into()),
    }
}
