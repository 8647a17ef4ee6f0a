//! `keylend serve`

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Failure, store};
use crate::audit::Audit;
use crate::back_off::BackOff;
use crate::config::{Fault, Flags, Purpose, Settings, Source};
use crate::domain::{State, Tokens};
use crate::http::{self, Frame, Hosts, Limits, Tls, TlsError};
use crate::key_files::{self, Followed};
use crate::pool::{self, ComingKeys, Pools};
use crate::shutdown::Signals;
use crate::store::StoreError;
use crate::telemetry::Log;

pub(super) const EXAMPLES: &str = "Examples:
  keylend serve
  keylend serve --listen 0.0.0.0:5000              with tokens: keylend token new
  kill -HUP PID                                    reopen the log, read the tokens again
  kill PID                                         stop; twice: at once";

/// How long leases that nobody could be told of have to go back where requests took all of the time to end.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How long the word that keys are served waits for the key files.
const FIRST_LOOKS: Duration = Duration::from_secs(10);

pub(super) async fn serve(settings: &Settings, flags: &Flags, log: &Log) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let listener = super::listen(settings.listen, "KEYLEND_LISTEN").await?;
    let address = listener.local_addr()?;
    tell_read(settings, address);
    if !address.ip().is_loopback() && settings.tokens.is_empty() {
        tracing::warn!(%address, "serving without tokens (--insecure-open): whoever reaches the address gets keys");
    }
    let tokens = watch::Sender::new(Arc::new(settings.tokens.clone()));
    let audit = Audit::open(settings.audit.file.as_deref(), settings.audit.required).map_err(|error| {
        let advice = format!("the file cannot be opened ({}): see to its folder and rights", error.kind());
        Failure::Usage(vec![Fault::new("KEYLEND_AUDIT_FILE", advice)])
    })?;
    let tls = read_tls(settings)?.map(watch::Sender::new);
    if !address.ip().is_loopback() && tls.is_none() {
        tracing::warn!(%address, "serving other machines without TLS: keys and tokens travel in the clear, unless a proxy encrypts them (KEYLEND_TLS_CERT, KEYLEND_TLS_KEY)");
    }
    let hung_up = || {
        if let Err(error) = audit.reopen() {
            tracing::warn!(%error, "KEYLEND_AUDIT_FILE cannot be opened anew: the old file is written on");
        }
        read_again(flags, log, address, &tokens, tls.as_ref());
    };
    let pools = tokio::select! {
        pools = connect(settings, address) => pools?,
        signal = signals.stop(hung_up) => {
            tracing::info!(event = "stopped", signal, "stopped while it waited for the store");
            return Ok(());
        }
    };
    let stop = CancellationToken::new();
    let limits = Limits::new(settings.body_limit, settings.max_in_flight, settings.store_timeout);
    let limits = raise_file_limit(limits);
    let frame = Frame {
        limits,
        tokens: tokens.subscribe(),
        open_flask: settings.open_flask,
        hosts: hosts(settings),
        tls: tls.as_ref().map(watch::Sender::subscribe),
        audit: audit.clone(),
        stopping: stop.clone(),
    };
    let files = followed(settings, &pools);
    let coming: Vec<ComingKeys> = files.iter().map(|file| file.pool.expect_keys()).collect();
    let server = tokio::spawn(http::serve(listener, pools.clone(), frame));
    let working = tokio::spawn({
        let (pools, stop, tokens) = (pools.clone(), stop.clone(), tokens.subscribe());
        async move {
            tokio::select! {
                () = stop.cancelled() => return,
                () = prepare(&pools, address) => {}
            }
            let mut following = key_files::follow(files, &stop);
            let announced = stop.run_until_cancelled(async {
                following.first_looks(FIRST_LOOKS).await;
                drop(coming);
                let tokens = Arc::clone(&tokens.borrow());
                announce(&pools, address, &tokens).await;
            });
            tokio::join!(
                announced,
                pool::sweep_until(pools.clone(), stop.cancelled()),
                pool::verify_until(pools.clone(), stop.clone()),
                pool::keep_above_low_water(pools.clone(), stop.clone()),
            );
            following.ended().await;
        }
    });
    let signal = signals.stop(hung_up).await;
    tracing::info!(event = "stopping", signal, "no more requests are accepted; a second signal stops at once");
    stop.cancel();
    pools.stop_waiting();
    let asked = tokio::time::Instant::now();
    let ended = async {
        let _ = server.await;
        let _ = working.await;
        // Leases that nobody could be told of go back before the process ends.
        pools.settle(limits.drain.saturating_sub(asked.elapsed()).max(LAST_WORD)).await;
    };
    tokio::select! {
        () = ended => {
            tracing::info!(event = "stopped", "stopped: all that was answered is stored");
            Ok(())
        }
        signal = signals.stop(hung_up) => {
            tracing::warn!(event = "stopped", signal, "stopped at once: requests in flight were cut off");
            Err(Failure::Failed("stopped at once by a second signal; requests in flight were cut off".to_owned()))
        }
    }
}

/// What connections are encrypted with.
fn read_tls(settings: &Settings) -> Result<Option<Tls>, Failure> {
    let Some((certificate, key)) = &settings.tls else { return Ok(None) };
    let tls = Tls::read(certificate, key).map_err(|error| {
        let setting = if matches!(error, TlsError::Key(_)) { "KEYLEND_TLS_KEY" } else { "KEYLEND_TLS_CERT" };
        Failure::Usage(vec![Fault::new(setting, error.to_string())])
    })?;
    Ok(Some(tls))
}

/// By which names the server may be called: where nobody needs a token, by those that lead to this machine alone. With
/// `--insecure-open` something in front of it knows its callers, and calls it as it likes.
fn hosts(settings: &Settings) -> Hosts {
    let is_for_anybody_here = settings.tokens.is_empty() && !settings.insecure_open;
    if is_for_anybody_here || !settings.hosts.is_empty() { Hosts::own_and(&settings.hosts) } else { Hosts::any() }
}

/// As many open files as the system lets the process have: each caller's connection is one.
fn raise_file_limit(limits: Limits) -> Limits {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    let within = limits.within(usize::try_from(files).unwrap_or(usize::MAX));
    if within.connections < limits.connections {
        tracing::warn!(
            files,
            connections = within.connections,
            wanted = limits.connections,
            "fewer connections than could be answered: raise the limit of open files (ulimit -n, LimitNOFILE)"
        );
    }
    within
}

/// One line for each time the settings were read. `address` is the one that is listened on.
fn tell_read(settings: &Settings, address: SocketAddr) {
    let (pools, tokens) = (settings.pools.len(), settings.tokens.iter().count());
    tracing::info!(event = "settings_read", pools, tokens, %address, "the settings are read");
    for token in settings.tokens.iter().filter(|token| token.has_ended(pool::clock())) {
        tracing::warn!(token = token.name(), until = token.ends_at().map(tracing::field::display), "a token has ended");
    }
}

/// The certificate as it is now, for the connections that come from here on. A server that began without TLS goes on
/// without it, and one with it with the old one where the new one cannot be used.
fn exchange(settings: &Settings, tls: Option<&watch::Sender<Tls>>) {
    let (Some(tls), Some((certificate, key))) = (tls, &settings.tls) else { return };
    match Tls::read(certificate, key) {
        Ok(read) => drop(tls.send_replace(read)),
        Err(error) => tracing::warn!(%error, "the certificate cannot be read anew: the old one is shown on"),
    }
}

/// After SIGHUP: the log is opened anew, and tokens and certificate are those of the settings as they are now.
fn read_again(
    flags: &Flags,
    log: &Log,
    address: SocketAddr,
    tokens: &watch::Sender<Arc<Tokens>>,
    tls: Option<&watch::Sender<Tls>>,
) {
    if let Err(error) = log.reopen() {
        tracing::warn!(%error, "LOG_FILE cannot be opened anew: the old file is written on");
    }
    let read = Settings::read(Source::of_process(flags.clone()), Purpose::Serving).and_then(|settings| {
        // A file that is just being written must not open a server that has callers with tokens.
        if settings.tokens.is_empty() && !tokens.borrow().is_empty() {
            return Err(vec![Fault::new("KEYLEND_TOKENS", "no token is left; to serve without any, start anew")]);
        }
        Ok(settings)
    });
    match read {
        Ok(settings) => {
            // Who reads the line finds the tokens in force.
            tokens.send_replace(Arc::new(settings.tokens.clone()));
            exchange(&settings, tls);
            tell_read(&settings, address);
        }
        Err(faults) => {
            let error = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ");
            tracing::warn!(event = "settings_read", error, "the settings are faulty: the tokens stay as they were");
        }
    }
}

/// The pools over the store, as soon as its name is known: the addresses behind a mongodb+srv:// name are looked up.
async fn connect(settings: &Settings, address: SocketAddr) -> Result<Pools, StoreError> {
    let mut back_off = BackOff::new();
    loop {
        match store::pools(settings).await {
            Err(error @ StoreError::Away(_)) => tell_waiting(address, &error.chain()),
            other => return other,
        }
        sleep(back_off.next()).await;
    }
}

/// The key files of the settings, each with its pool.
fn followed(settings: &Settings, pools: &Pools) -> Vec<Followed> {
    let files = settings.key_files.keys.iter();
    // Their pools are there without any configuration.
    let files = files.filter_map(|(pool, path)| Some((pools.get(pool).ok()?.clone(), path.clone())));
    files.map(|(pool, path)| Followed { pool, path, state: settings.key_files.state.clone() }).collect()
}

/// Prepares the store, as often as it takes. Requests are answered meanwhile: that the store is not available.
async fn prepare(pools: &Pools, address: SocketAddr) {
    let mut back_off = BackOff::new();
    let mut notices = loop {
        match pools.prepare().await {
            Ok(notices) => break notices,
            Err(error) => tell_waiting(address, &error.chain()),
        }
        sleep(back_off.next()).await;
    };
    // Keys are lent all the same where the policies cannot be recorded.
    notices.extend(pools.record_policies().await.unwrap_or_else(|error| vec![error.chain()]));
    for notice in notices {
        tracing::warn!("{notice}");
    }
}

fn tell_waiting(address: SocketAddr, error: &str) {
    tracing::warn!(error, %address, "waiting for the store");
}

/// One line that says what is served, where, and to whom.
async fn announce(pools: &Pools, address: SocketAddr, tokens: &Tokens) {
    let mut usable = Vec::new();
    for pool in pools.all() {
        let keys = pool.stats().await.map(|stats| stats.keys.of(State::Usable).to_string());
        usable.push(format!("{} {}", pool.policy().name, keys.unwrap_or_else(|_| "?".to_owned())));
    }
    let tokens = match tokens.iter().count() {
        0 => "none needed".to_owned(),
        1 => "1 token".to_owned(),
        count => format!("{count} tokens"),
    };
    tracing::info!(
        event = "started",
        store = pools.store(),
        usable = usable.join(", "),
        %address,
        tokens,
        "serving keys"
    );
}
