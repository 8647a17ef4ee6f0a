//! Request ids: that of the caller where it is a sane one, else a new one.

use tower_http::request_id::{MakeRequestId, RequestId};
use warp::http::Request;
use warp::http::header::{HeaderName, HeaderValue};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken over, in characters.
const LONGEST: usize = 128;

/// Takes away what is no id that could stand in a log.
pub(super) fn keep_sane<B>(mut request: Request<B>) -> Request<B> {
    let mut ids = request.headers().get_all(REQUEST_ID).iter();
    let sane = ids.next().is_some_and(is_sane) && ids.next().is_none();
    if !sane {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

fn is_sane(id: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:/+=-".contains(byte);
    (1..=LONGEST).contains(&id.len()) && id.as_bytes().iter().all(allowed)
}

/// Makes ids of 128 random bits.
#[derive(Clone, Copy)]
pub(super) struct Random;

impl MakeRequestId for Random {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let id = format!("{:032x}", rand::random::<u128>());
        Some(RequestId::new(HeaderValue::try_from(id).expect("hexadecimal digits fit into a header")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_sane_id_is_taken_over() {
        let kept = |ids: &[&[u8]]| {
            let mut request = Request::new(());
            for id in ids {
                request.headers_mut().append(REQUEST_ID, HeaderValue::from_bytes(id).expect("valid"));
            }
            keep_sane(request).headers().contains_key(REQUEST_ID)
        };
        let longest = [b'x'; LONGEST];
        for id in [&b"1"[..], b"Root=1-67891233-abcdef012345678912345678", b"a.b_c:d/e+f", &longest] {
            assert!(kept(&[id]), "{}", id.escape_ascii());
        }
        for id in [&b""[..], b"a b", b"a\"b", b"a,b", b"\xff", b"\xc3\xa4", b"{}", &[b'x'; LONGEST + 1]] {
            assert!(!kept(&[id]), "{}", id.escape_ascii());
        }
        assert!(!kept(&[b"a", b"b"]));
        assert!(!kept(&[]));
    }
}
