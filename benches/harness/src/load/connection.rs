//! A keep-alive connection that sends bytes as they are and reads as little of the answers as it must: whatever the
//! generator spends, the servers on the same machine lack.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest wait for an answer. Longer than any time limit of the servers, so that only what hangs meets it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The largest answer that is read.
const LARGEST: usize = 1024 * 1024;

pub(crate) struct Connection {
    stream: TcpStream,
    /// What came; answers do not outlive the next request.
    read: Vec<u8>,
}

/// An answer, in the connection's buffer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(4096) })
    }

    /// Sends one request and reads its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        timeout(PATIENCE, self.exchange(request)).await?
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.read.clear();
        let head = loop {
            self.read_on().await?;
            if let Some(head) = Head::read(&self.read)? {
                break head;
            }
        };
        while self.read.len() < head.length + head.body {
            self.read_on().await?;
        }
        Ok(Answer { status: head.status, body: &self.read[head.length..head.length + head.body] })
    }

    async fn read_on(&mut self) -> io::Result<()> {
        if self.read.len() > LARGEST {
            return Err(io::Error::other("an answer is too large"));
        }
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// What must be known of an answer's head.
#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    /// Of the head itself, in bytes.
    length: usize,
    /// Of the body, in bytes.
    body: usize,
}

impl Head {
    /// None: it is not complete yet.
    fn read(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let strange = || io::Error::other("an answer is no HTTP/1.1 with a length");
        let head = str::from_utf8(&bytes[..end]).map_err(|_| strange())?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let status = status.ok_or_else(strange)?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then_some(value.trim())
        });
        let body = match length {
            Some(length) => length.parse().map_err(|_| strange())?,
            None if status == 204 => 0,
            None => return Err(strange()),
        };
        Ok(Some(Self { status, length: end + 4, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_where_the_body_begins_and_ends() {
        let bytes = b"HTTP/1.1 201 Created\r\nContent-Length: 7\r\nx: y\r\n\r\n{\"a\":1}";
        assert_eq!(Head::read(bytes).unwrap(), Some(Head { status: 201, length: 49, body: 7 }));
        assert_eq!(Head::read(&bytes[..47]).unwrap(), None);
    }

    #[test]
    fn what_has_no_length_is_not_guessed_at() {
        assert!(Head::read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(Head::read(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n").is_err());
        assert!(Head::read(b"SSH-2.0-x\r\n\r\n").is_err());
        let nothing = Some(Head { status: 204, length: 27, body: 0 });
        assert_eq!(Head::read(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), nothing);
    }
}
