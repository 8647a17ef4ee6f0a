//! Hosts: by which names a server may be called. Where no token is needed, a page of another site could otherwise reach a
//! server of its visitor's machine by a name of its own that leads there (DNS rebinding), and read what it answers.

use std::net::IpAddr;
use std::sync::Arc;

use warp::http::header::{HOST, HeaderMap};
use warp::http::uri::Authority;

use super::problem::{Code, Problem};

/// The names by which the server may be called.
#[derive(Clone, Debug)]
pub struct Hosts(Option<Arc<[String]>>);

impl Hosts {
    /// Any: callers have tokens, or something in front of the server knows them.
    pub const fn any() -> Self {
        Self(None)
    }

    /// Those of the machine itself, and these.
    pub fn own_and(names: &[String]) -> Self {
        Self(Some(names.iter().map(|name| name.to_ascii_lowercase()).collect()))
    }

    /// Refuses a request that calls the server by another name. One without a name comes of no browser.
    pub(super) fn check(&self, headers: &HeaderMap, authority: Option<&Authority>) -> Result<(), Problem> {
        let Some(names) = &self.0 else { return Ok(()) };
        let mut called = headers.get_all(HOST).iter().map(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let called: Vec<Option<Authority>> = match authority {
            // As a whole in the request's line: that is what counts (RFC 9112, 3.2.2).
            Some(authority) => vec![Some(authority.clone())],
            None => called.by_ref().collect(),
        };
        let may_be = |name: &Option<Authority>| name.as_ref().is_some_and(|name| is_own(name.host(), names));
        match &called[..] {
            [] => Ok(()),
            [one] if may_be(one) => Ok(()),
            _ => Err(Problem::new(
                Code::Forbidden,
                "this server is not called by that name: add it to KEYLEND_HOSTS if it is yours, or set KEYLEND_TOKENS",
            )),
        }
    }
}

fn is_own(host: &str, names: &[String]) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_this_machine = match address {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    };
    is_this_machine || names.contains(&host)
}

#[cfg(test)]
mod tests {
    use warp::http::header::HeaderValue;

    use super::*;

    fn passes(hosts: &Hosts, called: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for name in called {
            headers.append(HOST, HeaderValue::from_str(name).expect("valid"));
        }
        hosts.check(&headers, None).is_ok()
    }

    #[test]
    fn a_server_is_called_by_its_own_names() {
        let hosts = Hosts::own_and(&["Keys.Example".to_owned()]);
        for own in [
            "localhost",
            "localhost:5000",
            "LOCALHOST.:5000",
            "keys.localhost:80",
            "127.0.0.1:5000",
            "127.1.2.3",
            "[::1]:5000",
            "keys.example",
            "KEYS.example:443",
        ] {
            assert!(passes(&hosts, &[own]), "{own}");
        }
        for other in [
            "evil.example:5000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "10.0.0.1:5000",
            "[::2]:5000",
            "other.keys.example",
            "",
            "a b",
        ] {
            assert!(!passes(&hosts, &[other]), "{other}");
        }
        assert!(passes(&hosts, &[]));
        assert!(!passes(&hosts, &["localhost", "localhost"]));
        assert!(passes(&Hosts::any(), &["evil.example"]));
    }

    #[test]
    fn a_name_in_the_line_of_the_request_goes_before_the_header() {
        let hosts = Hosts::own_and(&[]);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        let evil = Authority::from_static("evil.example:5000");
        assert!(hosts.check(&headers, Some(&evil)).is_err());
        let own = Authority::from_static("127.0.0.1:5000");
        headers.insert(HOST, HeaderValue::from_static("evil.example"));
        assert!(hosts.check(&headers, Some(&own)).is_ok());
    }
}
