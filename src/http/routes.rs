//! The route table, top to bottom.

use std::convert::Infallible;

use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter, Reply};

use super::{Limits, find_usable_key, health, increment_usage, keys, leases, look_up, recover, stats};
use crate::pool::Pools;

/// All routes. Whatever is asked, there is an answer: what no route takes becomes a problem.
pub fn routes(pools: Pools, limits: Limits) -> impl Filter<Extract = (impl Reply,), Error = Infallible> + Clone {
    table(pools, limits).recover(|rejection| async move { recover::problem(&rejection) })
}

#[rustfmt::skip]
fn table(pools: Pools, limits: Limits) -> BoxedFilter<(Response,)> {
    let find_usable_key = find_usable_key::route(pools.clone());         // POST /v1/pools/{pool}/find_usable_key
    let increment_usage = increment_usage::route(pools.clone(), limits); // POST /v1/pools/{pool}/increment_usage
    let look_up = look_up::route(pools.clone(), limits);                 // POST /v1/pools/{pool}/look_up
    let lease = leases::lease(pools.clone(), limits);                    // POST /v1/pools/{pool}/leases
    let report = leases::report(pools.clone(), limits);                  // POST /v1/leases/{lease_id}/report
    let renew = leases::renew(pools.clone(), limits);                    // POST /v1/leases/{lease_id}/renew
    let add_keys = keys::add(pools.clone(), limits);                     // POST /v1/pools/{pool}/keys
    let policies = stats::policies(pools.clone());                       // GET  /v1/pools
    let all_stats = stats::all(pools.clone());                           // GET  /v1/stats
    let pool_stats = stats::one(pools.clone());                          // GET  /v1/pools/{pool}/stats
    let livez = health::livez();                                         // GET  /livez
    let readyz = health::readyz(pools);                                  // GET  /readyz

    find_usable_key
        .or(increment_usage).unify()
        .or(look_up).unify()
        .or(lease).unify()
        .or(report).unify()
        .or(renew).unify()
        .or(add_keys).unify()
        .or(policies).unify()
        .or(all_stats).unify()
        .or(pool_stats).unify()
        .or(livez).unify()
        .or(readyz).unify()
        .boxed()
}
