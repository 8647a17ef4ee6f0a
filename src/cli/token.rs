//! `keylend token new`

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Failure, output, reached};
use crate::config::{Fault, Settings};
use crate::domain::token::InvalidToken;
use crate::domain::{PoolName, Role, Timestamp, Token, TokenSecret};

#[derive(Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token: shown once, with what goes into the settings
    #[command(after_help = EXAMPLES)]
    New(NewArguments),
}

const EXAMPLES: &str = "Examples:
  keylend token new web --role service
  keylend token new bot --role stats --pool plantid --pool healthid
  keylend token new guest --role service --until 2026-12-31
  keylend token new ops --role admin --json | jq -r .entry";

#[derive(Args)]
pub(super) struct NewArguments {
    /// Its name, which goes into leases and the log
    name: String,
    /// What it may do: service, stats, admin (which is all)
    #[arg(long = "role", required = true, value_name = "ROLE", value_parser = role)]
    roles: Vec<Role>,
    /// A pool that it is bound to; without any it reaches every pool
    #[arg(long = "pool", value_name = "POOL")]
    pools: Vec<String>,
    /// When it ends: a day, whose last moment it is by UTC, or an instant; without it, never
    #[arg(long, value_name = "DAY", value_parser = until)]
    until: Option<Timestamp>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

fn until(text: &str) -> Result<Timestamp, String> {
    Token::parse_until(text).ok_or_else(|| InvalidToken::Until.to_string())
}

fn role(word: &str) -> Result<Role, String> {
    Role::of_word(word).ok_or_else(|| format!("a role is one of {}", Role::ALL.map(Role::as_str).join(", ")))
}

/// A new token with all that is to be known of it.
#[derive(Serialize)]
struct NewToken<'a> {
    token: &'a str,
    entry: String,
    toml: String,
    curl: String,
}

pub(super) fn run(settings: &Settings, command: TokenCommand) -> Result<(), Failure> {
    let TokenCommand::New(arguments) = command;
    let secret = TokenSecret::from_random(rand::random());
    let token = token(settings, &arguments, &secret).map_err(Failure::Usage)?;
    let new = NewToken {
        token: secret.expose(),
        entry: token.entry(),
        toml: toml(&token),
        curl: curl(settings, &token, &secret),
    };
    if arguments.json {
        return output::print_json(&new);
    }
    let indented = new.toml.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    output::print(&format!(
        "The token, shown this once:\n  {}\n\nIts entry in KEYLEND_TOKENS, beside others by commas:\n  {}\n\nOr in \
         keylend.toml:\n{indented}\n\nOnce keylend was started anew, or told by SIGHUP:\n  {}",
        new.token, new.entry, new.curl
    ))
}

fn token(settings: &Settings, arguments: &NewArguments, secret: &TokenSecret) -> Result<Token, Vec<Fault>> {
    let mut faults = Vec::new();
    if settings.tokens.iter().any(|token| token.name() == arguments.name) {
        faults.push(Fault::new("NAME", "there is a token of this name: choose another"));
    }
    let known = || settings.pools.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>().join(", ");
    let mut pools: Vec<PoolName> = Vec::new();
    for name in &arguments.pools {
        match settings.pools.iter().find(|policy| policy.name.as_str() == name) {
            Some(policy) if pools.contains(&policy.name) => {}
            Some(policy) => pools.push(policy.name.clone()),
            None => faults.push(Fault::new("--pool", format!("there is no such pool; there are: {}", known()))),
        }
    }
    let mut roles: Vec<Role> = Vec::new();
    for role in &arguments.roles {
        if !roles.contains(role) {
            roles.push(*role);
        }
    }
    let pools = (!arguments.pools.is_empty()).then_some(pools);
    match Token::new(&arguments.name, roles, pools, secret.digest()) {
        Ok(token) if faults.is_empty() => return Ok(token.until(arguments.until)),
        Ok(_) => {}
        // Its pools are told of above.
        Err(_) if !faults.is_empty() => {}
        Err(why) => faults.push(Fault::new("NAME", why.to_string())),
    }
    Err(faults)
}

/// The same token as a section of `keylend.toml`.
fn toml(token: &Token) -> String {
    let list = |words: Vec<&str>| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let roles = list(token.roles().iter().map(|role| role.as_str()).collect());
    let pools = token.pools().map_or_else(String::new, |pools| {
        format!("pools = [{}]\n", list(pools.iter().map(PoolName::as_str).collect()))
    });
    let until = token.ends_at().map_or_else(String::new, |until| format!("until = \"{until}\"\n"));
    let (name, digest) = (token.name(), token.digest());
    format!("[[tokens]]\nname = \"{name}\"\nroles = [{roles}]\n{pools}{until}sha256 = \"{digest}\"")
}

/// A request that the token may make, to the address that is configured. Nothing is counted by it.
fn curl(settings: &Settings, token: &Token, secret: &TokenSecret) -> String {
    let pool = token.pools().and_then(<[PoolName]>::first).or(settings.pools.first().map(|policy| &policy.name));
    let request = match pool {
        Some(pool) if !token.has(Role::Stats) => format!("/v1/pools/{pool}/find_usable_key' -X POST"),
        _ => "/v1/stats'".to_owned(),
    };
    format!("curl '{}{request} -H 'Authorization: Bearer {}'", reached::url(settings), secret.expose())
}
