//! The trace that a request belongs to, as its caller says: W3C Trace Context, the header `traceparent`.

use warp::http::HeaderMap;

/// The ids of a trace and of the caller's own part in it, in lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TraceContext<'a> {
    pub(super) trace: &'a str,
    pub(super) parent: &'a str,
}

/// What the caller sent, where it is what the recommendation says
/// (<https://www.w3.org/TR/trace-context/#traceparent-header-field-values>). Anything else is as if it were not there.
pub(super) fn of(headers: &HeaderMap) -> Option<TraceContext<'_>> {
    let mut values = headers.get_all("traceparent").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let mut parts = value.to_str().ok()?.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // A later version may say more, in parts of its own.
    let ends = version != "00" || parts.next().is_none();
    let is_sane = is_hex(version, 2) && version != "ff" && is_hex(flags, 2) && ends;
    let is_there = |id: &str, digits| is_hex(id, digits) && id.bytes().any(|digit| digit != b'0');
    (is_sane && is_there(trace, 32) && is_there(parent, 16)).then_some(TraceContext { trace, parent })
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[test]
    fn only_what_the_recommendation_allows_is_taken_over() {
        let taken = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("traceparent", HeaderValue::from_str(value).expect("valid"));
            }
            of(&headers).map(|context| (context.trace.to_owned(), context.parent.to_owned()))
        };
        let good = format!("00-{TRACE}-{PARENT}-01");
        let both = Some((TRACE.to_owned(), PARENT.to_owned()));
        assert_eq!(taken(&[&good]), both);
        assert_eq!(taken(&[&format!("00-{TRACE}-{PARENT}-00")]), both);
        assert_eq!(taken(&[&format!("cc-{TRACE}-{PARENT}-01-what-comes-later")]), both);
        for bad in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("0-{TRACE}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{}-{PARENT}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}x-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-0x"),
        ] {
            assert_eq!(taken(&[&bad]), None, "{bad}");
        }
        assert_eq!(taken(&[&good, &good]), None);
        assert_eq!(taken(&[]), None);
    }
}
