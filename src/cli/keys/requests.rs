//! `keylend keys requests`

use clap::Args;

use crate::cli::act::Acts;
use crate::cli::{Failure, output, store};
use crate::config::{Fault, Settings};
use crate::domain::RequestId;
use crate::wire::provider::KeyRequestReply;

pub(super) const EXAMPLES: &str = "Examples:
  keylend keys requests                            of all pools
  keylend keys requests stability --json
  keylend keys requests stability --close low_water

Adding keys closes as many, the oldest first.";

const HEADINGS: [&str; 4] = ["POOL", "REQUEST", "ASKED BY", "ASKED AT"];

#[derive(Args)]
pub(in crate::cli) struct RequestsArguments {
    /// The pool; all of them without it
    pool: Option<String>,
    /// Close these: nobody will bring a key for them
    #[arg(long, value_name = "REQUEST", requires = "pool")]
    close: Vec<String>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(settings: &Settings, arguments: RequestsArguments) -> Result<(), Failure> {
    let ids: Result<Vec<RequestId>, _> = arguments.close.iter().map(|id| id.parse()).collect();
    let ids = ids.map_err(|why: crate::domain::key_request::InvalidRequestId| {
        Failure::Usage(vec![Fault::new("--close", why.to_string())])
    })?;
    let pools = store::prepared(settings).await?;
    let asked = arguments.pool.as_deref().map(|pool| pools.get(pool)).transpose()?;
    if let Some(pool) = asked.filter(|_| !ids.is_empty()) {
        let begun = Acts::of(settings)?.begin("close requests", Some(&pool.policy().name), None).await?;
        let closed = pool.close_key_requests(&ids).await?;
        begun.done(None, "requests for keys were closed");
        output::print(&format!("{closed} closed"))?;
        return if closed == ids.len() as u64 { Ok(()) } else { Err(Failure::NotAll) };
    }
    let mut rows = Vec::new();
    for pool in pools.all().filter(|pool| asked.is_none_or(|asked| asked.policy().name == pool.policy().name)) {
        for request in pool.key_requests().await? {
            if arguments.json {
                output::print_json(&KeyRequestReply::new(pool.policy(), &request))?;
                continue;
            }
            let by = Some(&request.by).filter(|by| !by.is_empty());
            rows.push(vec![
                pool.policy().name.to_string(),
                request.id.to_string(),
                output::or_dash(by),
                request.asked_at.to_string(),
            ]);
        }
    }
    if arguments.json { Ok(()) } else { output::print_table(&HEADINGS, rows) }
}
