//! `Prefer: wait=10` (RFC 7240): how long a caller is willing to wait. What is not understood is passed over.

use std::time::Duration;

use warp::http::HeaderMap;

/// The longest wait; who is willing to wait longer waits so long.
const LONGEST: Duration = Duration::from_secs(60);

/// How long the caller is willing to wait; None = not at all.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|value| value.split(','));
    let seconds = preferences.find_map(|preference| {
        // Parameters after a semicolon have no meaning for this one.
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse::<u32>().ok())
    });
    // Of several the first counts, as the RFC says.
    let wait = Duration::from_secs(seconds??.into()).min(LONGEST);
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    #[test]
    fn waits_as_long_as_is_preferred_up_to_a_minute() {
        let wait_of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("prefer", HeaderValue::from_str(value).expect("valid"));
            }
            wait(&headers).map(|wait| wait.as_secs())
        };
        for (values, seconds) in [
            (&["wait=10"][..], Some(10)),
            (&["Wait = 10"], Some(10)),
            (&["wait=\"10\""], Some(10)),
            (&["respond-async, wait=10; foo=bar"], Some(10)),
            (&["respond-async", "wait=10", "wait=20"], Some(10)),
            (&["wait=60"], Some(60)),
            (&["wait=61"], Some(60)),
            (&["wait=4294967295"], Some(60)),
            (&["wait=0"], None),
            (&["wait=-1"], None),
            (&["wait=1.5"], None),
            (&["wait=99999999999999999999"], None),
            (&["wait"], None),
            (&["await=10"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(wait_of(values), seconds, "{values:?}");
        }
    }
}
