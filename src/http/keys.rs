//! `/v1/pools/{pool}/keys`, `/v1/pools/{pool}/keys/{id}`, `POST /v1/pools/{pool}/reset`: what operators do with keys

use bytes::{Buf, Bytes};
use futures_util::Stream;
use serde::Deserialize;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;
use warp::{Filter, Reply};

use super::caller::{Caller, caller};
use super::export::{self, NDJSON};
use super::health::get_or_head;
use super::problem::{Answer, Code, Problem};
use super::{Limits, body, query, reply};
use crate::audit::Deed;
use crate::domain::{KeyId, Place, State};
use crate::pool::Pool;
use crate::pool::import::{Format, Import, SECRETS};
use crate::store::Page;
use crate::wire::admin::{ChangeBody, KeysReply, Reset, ResetBody, ResetReply};
use crate::wire::export::EXPORTED;
use crate::wire::keys::{AddKeysBody, AddedReply};
use crate::wire::record::KeyRecordReply;

/// How many keys a part of the list has where the caller does not say, and at most.
const LISTED: (u32, u32) = (100, 1000);

pub(super) fn routes(limits: Limits) -> BoxedFilter<(Response,)> {
    let list = warp::path!("v1" / "pools" / String / "keys")
        .and(get_or_head())
        .and(caller())
        .and(query::raw())
        .then(list_keys);
    let add = warp::path!("v1" / "pools" / String / "keys")
        .and(warp::post())
        .and(caller())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |pool: String, caller: Caller, headers: HeaderMap, stream| async move {
            add_keys(&pool, &caller, &headers, stream, &limits).await
        });
    let show = warp::path!("v1" / "pools" / String / "keys" / String).and(get_or_head()).and(caller()).then(show_key);
    let change = warp::path!("v1" / "pools" / String / "keys" / String)
        .and(warp::patch())
        .and(caller())
        .and(body::read())
        .then(change_key);
    let remove =
        warp::path!("v1" / "pools" / String / "keys" / String).and(warp::delete()).and(caller()).then(remove_key);
    let reset = warp::path!("v1" / "pools" / String / "reset")
        .and(warp::post())
        .and(caller())
        .and(body::read())
        .then(reset_keys);
    let export = warp::path!("v1" / "pools" / String / "export").and(get_or_head()).and(caller()).then(export_keys);
    let one = show.or(change).unify().or(remove).unify();
    list.or(add).unify().or(one).unify().or(reset).unify().or(export).unify().map(Reply::into_response).boxed()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    state: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

impl ListQuery {
    const EXPECTED: &'static str = "state is one of invalid, disabled, spent, resting, leased, usable; limit a whole \
                                    number from 1 to 1000; cursor the next_cursor of an answer, as it is";

    fn page(&self) -> Option<Page> {
        let state = self.state.as_deref().map(|word| State::of_word(word).ok_or(())).transpose().ok()?;
        let after = self.cursor.as_deref().map(str::parse::<Place>).transpose().ok()?;
        let limit = self.limit.unwrap_or(LISTED.0);
        (1..=LISTED.1).contains(&limit).then_some(Page { after, limit, state })
    }
}

/// The part of the list that a query asks for.
pub(super) fn page(query: &str) -> Result<Page, Problem> {
    let query: ListQuery = query::parse(query, ListQuery::EXPECTED)?;
    query.page().ok_or_else(|| Problem::invalid(ListQuery::EXPECTED))
}

async fn list_keys(pool: String, caller: Caller, query: String) -> Answer {
    let pool = caller.pool(&pool)?;
    let page = page(&query)?;
    let part = pool.list(page).await?;
    Ok(reply::ok(&KeysReply::new(pool.policy(), &part, page.limit)))
}

async fn show_key(pool: String, id: String, caller: Caller) -> Answer {
    let pool = caller.pool(&pool)?;
    let seen = pool.show(key_id(&id)?).await?;
    Ok(reply::ok(&KeyRecordReply::new(pool.policy(), &seen.value, seen.now)))
}

async fn change_key(pool: String, id: String, caller: Caller, body: Bytes) -> Answer {
    let pool = caller.pool(&pool)?;
    let id = key_id(&id)?;
    let body: ChangeBody = body::parse(&body, ChangeBody::EXPECTED)?;
    let change = body.change().ok_or_else(|| Problem::invalid(format!("send {}", ChangeBody::EXPECTED)))?;
    let deed = Deed { what: Some(change.fields().join(" ")), ..Deed::to_key("change", pool, id) };
    let begun = caller.begin_deed(deed).await?;
    let seen = pool.change(id, &change).await?;
    begun.done(None, "done");
    Ok(reply::ok(&KeyRecordReply::new(pool.policy(), &seen.value, seen.now)))
}

async fn remove_key(pool: String, id: String, caller: Caller) -> Answer {
    let pool = caller.pool(&pool)?;
    let id = key_id(&id)?;
    let begun = caller.begin("remove", pool, Some(id)).await?;
    pool.remove(id).await?;
    begun.done(None, "done");
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

async fn reset_keys(pool: String, caller: Caller, body: Bytes) -> Answer {
    let pool = caller.pool(&pool)?;
    let body: ResetBody = body::parse(&body, ResetBody::EXPECTED)?;
    let reset = body.reset().ok_or_else(|| Problem::invalid(format!("send {}", ResetBody::EXPECTED)))?;
    let reply = match reset {
        Reset::All => {
            let begun = caller.begin("reset all", pool, None).await?;
            let reset = pool.reset_all().await?;
            begun.done(None, "done");
            ResetReply { reset, unknown: Vec::new() }
        }
        Reset::Ids(ids) => {
            let mut begun = caller.begin("reset", pool, None).await?;
            let there = pool.reset(&ids).await?;
            there.iter().for_each(|id| begun.done_to(*id, "done"));
            let unknown = ids.iter().filter(|id| !there.contains(id)).map(KeyId::to_string);
            ResetReply { reset: there.len() as u64, unknown: unknown.collect() }
        }
    };
    Ok(reply::ok(&reply))
}

pub(super) fn key_id(text: &str) -> Result<KeyId, Problem> {
    text.parse().map_err(|error: crate::domain::key::InvalidKeyId| Problem::invalid(error.to_string()))
}

async fn export_keys(pool: String, caller: Caller) -> Answer {
    let pool = caller.pool(&pool)?;
    let begun = caller.begin("export", pool, None).await?;
    let answer = export::export(pool).await?;
    begun.done(None, "done");
    Ok(answer)
}

async fn add_keys(
    pool: &str,
    caller: &Caller,
    headers: &HeaderMap,
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limits: &Limits,
) -> Answer {
    let pool = caller.pool(pool)?;
    let begun = caller.begin("add", pool, None).await?;
    let summary = match body::media_type(headers).as_deref() {
        Some("application/json") | None => from_json(pool, stream, limits).await?,
        Some("text/plain") => from_lines(pool, SECRETS, stream, limits).await?,
        Some(NDJSON) => from_lines(pool, EXPORTED, stream, limits).await?,
        Some(_) => {
            return Err(Problem::new(
                Code::UnsupportedMediaType,
                "send content-type: application/json with {\"api_keys\": [..]}, text/plain with one key per line, \
                 or application/x-ndjson with the lines of an export",
            ));
        }
    };
    begun.done(None, "done");
    Ok(reply::ok(&summary))
}

async fn from_json(
    pool: &Pool,
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limits: &Limits,
) -> Result<AddedReply, Problem> {
    let body: AddKeysBody = body::parse(&body::collect(stream, limits).await?, AddKeysBody::EXPECTED)?;
    let mut import = Import::new(pool, SECRETS);
    for api_key in &body.api_keys {
        import.push_secret(api_key).await?;
    }
    Ok(import.finish().await?.into())
}

/// Reads and adds piece by piece, so that a long list needs little memory.
async fn from_lines(
    pool: &Pool,
    format: Format,
    stream: impl Stream<Item = Result<impl Buf, warp::Error>>,
    limits: &Limits,
) -> Result<AddedReply, Problem> {
    let mut stream = std::pin::pin!(stream);
    let mut import = Import::new(pool, format);
    let mut read = 0;
    while let Some(mut piece) = body::next_piece(&mut stream, limits).await.map_err(Problem::after_adding_some)? {
        let length = piece.remaining();
        read += length as u64;
        if read > limits.import {
            return Err(body::too_large(limits.import).after_adding_some());
        }
        let pushed = import.push(&piece.copy_to_bytes(length)).await;
        pushed.map_err(|error| Problem::from(error).after_adding_some())?;
    }
    Ok(import.finish().await?.into())
}
