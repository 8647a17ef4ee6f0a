//! `POST /v1/pools/{pool}/leases`; `GET`, `DELETE /v1/leases/{lease_id}`, and `POST` to its `/report` and `/renew`

use bytes::Bytes;
use warp::filters::BoxedFilter;
use warp::http::header::{HeaderValue, LOCATION};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;
use warp::{Filter, Reply};

use super::caller::{Caller, caller};
use super::health::get_or_head;
use super::problem::{Answer, Code, Problem};
use super::{body, prefer, reply};
use crate::audit::Deed;
use crate::domain::{LeaseId, Report};
use crate::pool::Ask;
use crate::wire::leases::{LeaseBody, LeaseReply, OpenLeaseReply, RenewBody, RenewReply, ReportBody, ReportReply};

/// The longest Idempotency-Key, in characters.
const MAX_IDEMPOTENCY_KEY: usize = 255;

pub(super) fn routes() -> BoxedFilter<(Response,)> {
    let make = warp::path!("v1" / "pools" / String / "leases")
        .and(warp::post())
        .and(caller())
        .and(warp::header::headers_cloned())
        .and(body::read())
        .then(make_lease);
    let report = warp::path!("v1" / "leases" / String / "report").and(warp::post()).and(caller()).and(body::read());
    let renew = warp::path!("v1" / "leases" / String / "renew").and(warp::post()).and(caller()).and(body::read());
    let show = warp::path!("v1" / "leases" / String).and(get_or_head()).and(caller()).then(show_lease);
    let end = warp::path!("v1" / "leases" / String).and(warp::delete()).and(caller()).then(end_lease);
    let (report, renew) = (report.then(report_lease), renew.then(renew_lease));
    make.or(report).unify().or(renew).unify().or(show).unify().or(end).unify().map(Reply::into_response).boxed()
}

async fn make_lease(pool: String, caller: Caller, headers: HeaderMap, body: Bytes) -> Answer {
    let pool = caller.pool(&pool)?;
    let body: LeaseBody = if body.is_empty() { LeaseBody::default() } else { body::parse(&body, LeaseBody::EXPECTED)? };
    let ask = Ask {
        ttl: body.ttl().map_err(|error| Problem::invalid(error.to_string()))?,
        by: caller.name().to_owned(),
        idempotency_key: idempotency_key(&headers)?,
        wait: prefer::wait(&headers),
    };
    let lent = pool.lease(ask).await?;
    caller.did(&Deed::with_lease("lease", lent.lease()));
    let status = if lent.is_new() { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = reply::json(status, &LeaseReply::new(&lent));
    let location = HeaderValue::try_from(format!("/v1/leases/{}", lent.lease().expose()));
    let location = location.map_err(|_| Problem::new(Code::Internal, "the lease has no address"))?;
    response.headers_mut().insert(LOCATION, location);
    lent.answered();
    Ok(response)
}

/// The Idempotency-Key of a request; None where it has none.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        _ if values.next().is_some() => Err(Problem::invalid("send one Idempotency-Key, not more")),
        Ok(key) if is_idempotency_key(key) => Ok(Some(key.to_owned())),
        _ => Err(Problem::invalid(format!("Idempotency-Key is 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters"))),
    }
}

fn is_idempotency_key(key: &str) -> bool {
    (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

async fn report_lease(lease: String, caller: Caller, body: Bytes) -> Answer {
    let lease = lease_id(&lease)?;
    let pool = caller.pool(lease.pool.as_str())?;
    let body: ReportBody = body::parse(&body, ReportBody::EXPECTED)?;
    let report = body.report().map_err(|error| Problem::invalid(error.to_string()))?;
    let reported = pool.report(&lease, report).await?;
    let outcome = report.outcome().as_str().to_owned();
    caller.did(&Deed { what: Some(outcome), ..Deed::with_lease("report", &lease) });
    Ok(reply::ok(&ReportReply::from(reported)))
}

async fn renew_lease(lease: String, caller: Caller, body: Bytes) -> Answer {
    let lease = lease_id(&lease)?;
    let pool = caller.pool(lease.pool.as_str())?;
    let body: RenewBody = body::parse(&body, RenewBody::EXPECTED)?;
    let ttl = body.ttl().map_err(|error| Problem::invalid(error.to_string()))?;
    let expires_at = pool.renew(&lease, ttl).await?;
    caller.did(&Deed::with_lease("renew", &lease));
    Ok(reply::ok(&RenewReply { expires_at }))
}

async fn show_lease(lease: String, caller: Caller) -> Answer {
    let lease = lease_id(&lease)?;
    let open = caller.pool(lease.pool.as_str())?.find_lease(&lease).await?;
    Ok(reply::ok(&OpenLeaseReply::new(&lease, open)))
}

/// Settles a lease as unused, for a caller who will not do it.
async fn end_lease(lease: String, caller: Caller) -> Answer {
    let lease = lease_id(&lease)?;
    let pool = caller.pool(lease.pool.as_str())?;
    let open = pool.find_lease(&lease).await?;
    let begun = caller.begin_deed(Deed::with_lease("end_lease", &lease)).await?;
    pool.report(&lease, Report::UNUSED).await?;
    begun.done(None, "done");
    Ok(reply::ok(&OpenLeaseReply::new(&lease, open)))
}

fn lease_id(text: &str) -> Result<LeaseId, Problem> {
    text.parse().map_err(|error: crate::domain::lease::InvalidLeaseId| Problem::invalid(error.to_string()))
}
