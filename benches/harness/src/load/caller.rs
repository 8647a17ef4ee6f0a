//! A caller: one connection, and what it asks for again and again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::connection::{Answer, Connection};
use super::told::Told;

/// How long a caller whose connection cannot be opened waits before it tries again.
const PAUSE: Duration = Duration::from_millis(20);

/// One unit of work, as the issue's table has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A lease that is kept.
    Lease,
    /// A lease, and its report `used`.
    LeaseAndReport,
    /// `find_usable_key`.
    Find,
    /// `find_usable_key`, then `increment_usage` of what was found: what a lease and its report replace.
    FindAndCount,
    /// The older Flask server's route: one use of the current key.
    Take,
    /// `/livez`: what HTTP alone costs.
    Live,
    /// `/v1/stats`.
    Stats,
}

/// What became of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// Answered, with a status that is not the one wanted.
    Refused(u16),
    /// Not answered.
    Lost,
}

/// Does one unit after another.
pub(crate) trait Ask {
    async fn ask(&mut self) -> Outcome;
}

pub(crate) struct Caller {
    address: SocketAddr,
    connection: Option<Connection>,
    work: Work,
    first: Vec<u8>,
    second: Vec<u8>,
    pub(crate) told: Told,
    /// What the first answer that was not the wanted one said; it holds no secret.
    pub(crate) complaint: Option<String>,
}

impl Caller {
    pub(crate) fn new(address: SocketAddr, work: Work) -> Self {
        let first = match work {
            Work::Lease | Work::LeaseAndReport => request("POST", "/v1/pools/stability/leases"),
            Work::Find | Work::FindAndCount => request("POST", "/v1/pools/stability/find_usable_key"),
            Work::Take => request("GET", "/api/plantid"),
            Work::Live => request("GET", "/livez"),
            Work::Stats => request("GET", "/v1/stats"),
        };
        Self { address, connection: None, work, first, second: Vec::new(), told: Told::default(), complaint: None }
    }

    /// Opens the connection, so that the first unit does not pay for it.
    pub(crate) async fn connect(&mut self) -> io::Result<()> {
        self.connection = Some(Connection::open(self.address).await?);
        Ok(())
    }

    async fn unit(&mut self) -> io::Result<Outcome> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            gone => gone.insert(Connection::open(self.address).await?),
        };
        let answer = connection.ask(&self.first).await?;
        let wanted = if matches!(self.work, Work::Lease | Work::LeaseAndReport) { 201 } else { 200 };
        if answer.status != wanted {
            return Ok(refused(&mut self.complaint, &answer));
        }
        let and_then = match self.work {
            Work::Lease | Work::Find => {
                self.told.keep(answer.body);
                return Ok(Outcome::Done);
            }
            // Its errors are answered with 200 as well.
            Work::Take if field(answer.body, "Key").is_none_or(|key| key == "File is empty") => {
                return Ok(refused(&mut self.complaint, &answer));
            }
            Work::Take => {
                self.told.keep(answer.body);
                return Ok(Outcome::Done);
            }
            Work::Live | Work::Stats => return Ok(Outcome::Done),
            Work::LeaseAndReport => field(answer.body, "lease_id")
                .map(|lease| (format!("/v1/leases/{lease}/report"), r#"{"outcome":"used"}"#.to_owned())),
            Work::FindAndCount => field(answer.body, "id")
                .map(|id| ("/v1/pools/stability/increment_usage".to_owned(), format!("{{\"id\":\"{id}\"}}"))),
        };
        self.told.keep(answer.body);
        let (path, body) = and_then.ok_or_else(|| io::Error::other("an answer lacks its id"))?;
        self.second.clear();
        write_request(&mut self.second, "POST", &path, &body);
        let answer = connection.ask(&self.second).await?;
        if answer.status != 200 {
            return Ok(refused(&mut self.complaint, &answer));
        }
        self.told.counted += 1;
        Ok(Outcome::Done)
    }
}

impl Ask for Caller {
    async fn ask(&mut self) -> Outcome {
        match self.unit().await {
            Ok(outcome) => outcome,
            Err(_) => {
                if self.connection.take().is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
                Outcome::Lost
            }
        }
    }
}

fn refused(complaint: &mut Option<String>, answer: &Answer<'_>) -> Outcome {
    complaint.get_or_insert_with(|| String::from_utf8_lossy(answer.body).into_owned());
    Outcome::Refused(answer.status)
}

fn request(method: &str, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_request(&mut bytes, method, path, "");
    bytes
}

fn write_request(bytes: &mut Vec<u8>, method: &str, path: &str, body: &str) {
    let content = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    bytes.extend_from_slice(
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{content}content-length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
}

/// The text of a member of a flat JSON object that escapes nothing in it: ids and the secrets of a benchmark.
pub(crate) fn field<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let body = str::from_utf8(body).ok()?;
    body.match_indices(name).find_map(|(at, _)| {
        body[..at].strip_suffix('"')?;
        let value = body[at + name.len()..].strip_prefix('"')?.trim_start().strip_prefix(':')?;
        Some(value.trim_start().strip_prefix('"')?.split_once('"')?.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let body = br#"{"lease_id":"stability.a.b","id": "a", "n":3}"#;
        assert_eq!(field(body, "lease_id"), Some("stability.a.b"));
        assert_eq!(field(body, "id"), Some("a"));
        assert_eq!(field(body, "n"), None);
        assert_eq!(field(body, "api_key"), None);
    }

    #[test]
    fn a_request_tells_its_length() {
        let mut bytes = Vec::new();
        write_request(&mut bytes, "POST", "/x", "{}");
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("content-length: 2\r\n") && text.ends_with("\r\n\r\n{}"), "{text}");
    }
}
