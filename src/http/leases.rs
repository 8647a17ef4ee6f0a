//! `POST /v1/pools/{pool}/leases`, `POST /v1/leases/{lease_id}/report`, `POST /v1/leases/{lease_id}/renew`

use bytes::Bytes;
use warp::filters::BoxedFilter;
use warp::http::header::{HeaderValue, LOCATION};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;
use warp::{Filter, Reply};

use super::problem::{Answer, Code, Problem};
use super::reply;
use super::{Limits, body};
use crate::domain::LeaseId;
use crate::pool::{Ask, Pools};
use crate::wire::leases::{LeaseBody, LeaseReply, RenewBody, RenewReply, ReportBody, ReportReply};

/// The longest Idempotency-Key, in characters.
const MAX_IDEMPOTENCY_KEY: usize = 255;

pub(super) fn lease(pools: Pools, limits: Limits) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "pools" / String / "leases")
        .and(warp::post())
        .and(warp::header::headers_cloned())
        .and(body::json(limits.body))
        .then(move |pool: String, headers: HeaderMap, body| make_lease(pools.clone(), pool, headers, body))
        .map(Reply::into_response)
        .boxed()
}

async fn make_lease(pools: Pools, pool: String, headers: HeaderMap, body: Result<Bytes, Problem>) -> Answer {
    let body = body?;
    let body: LeaseBody = if body.is_empty() { LeaseBody::default() } else { body::parse(&body, LeaseBody::EXPECTED)? };
    let ask = Ask {
        ttl: body.ttl().map_err(|error| Problem::invalid(error.to_string()))?,
        by: String::new(),
        idempotency_key: idempotency_key(&headers)?,
        wait: None,
    };
    let lent = pools.get(&pool)?.lease(ask).await?;
    let status = if lent.is_new() { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = reply::json(status, &LeaseReply::new(&lent));
    let location = HeaderValue::try_from(format!("/v1/leases/{}", lent.lease().expose()));
    let location = location.map_err(|_| Problem::new(Code::Internal, "the lease has no address"))?;
    response.headers_mut().insert(LOCATION, location);
    lent.answered();
    Ok(response)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::invalid(format!("Idempotency-Key is 1 to {MAX_IDEMPOTENCY_KEY} visible ASCII characters"))),
    }
}

pub(super) fn report(pools: Pools, limits: Limits) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "leases" / String / "report")
        .and(warp::post())
        .and(body::json(limits.body))
        .then(move |lease: String, body| report_lease(pools.clone(), lease, body))
        .map(Reply::into_response)
        .boxed()
}

async fn report_lease(pools: Pools, lease: String, body: Result<Bytes, Problem>) -> Answer {
    let lease = lease_id(&lease)?;
    let body: ReportBody = body::parse(&body?, ReportBody::EXPECTED)?;
    let report = body.report().map_err(|error| Problem::invalid(error.to_string()))?;
    let settled = pools.get(lease.pool.as_str())?.report(&lease, report).await?;
    Ok(reply::ok(&ReportReply::from(settled)))
}

pub(super) fn renew(pools: Pools, limits: Limits) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "leases" / String / "renew")
        .and(warp::post())
        .and(body::json(limits.body))
        .then(move |lease: String, body| renew_lease(pools.clone(), lease, body))
        .map(Reply::into_response)
        .boxed()
}

async fn renew_lease(pools: Pools, lease: String, body: Result<Bytes, Problem>) -> Answer {
    let lease = lease_id(&lease)?;
    let body: RenewBody = body::parse(&body?, RenewBody::EXPECTED)?;
    let ttl = body.ttl().map_err(|error| Problem::invalid(error.to_string()))?;
    let expires_at = pools.get(lease.pool.as_str())?.renew(&lease, ttl).await?;
    Ok(reply::ok(&RenewReply { expires_at }))
}

fn lease_id(text: &str) -> Result<LeaseId, Problem> {
    text.parse().map_err(|error: crate::domain::lease::InvalidLeaseId| Problem::invalid(error.to_string()))
}
