//! The command that makes a key: a program with its arguments, without a shell, for a limited time.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::domain::{Generate, PoolName, Secret};

/// How much a command may print; of its complaints, how much of it is kept.
const LONGEST_OUTPUT: usize = 64 * 1024;
const LONGEST_COMPLAINT: usize = 16 * 1024;

/// How long what a command that has ended left behind may hold its output open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Words shorter than this are not taken for parts of a key.
const SHORTEST_PART: usize = 6;

/// What holds keylend's own secrets in its environment, besides all that begins with `KEYLEND_`: none of a command's
/// business.
const OWN: [&str; 5] = ["MONGODB_URI", "MONGO_URI", "DISCORD_BOT_TOKEN", "STATS_TOKEN", "STATS_API"];

/// What a command made.
#[derive(Debug)]
pub struct Made {
    /// The key.
    pub secret: Secret,
    /// What it says of it, for operators.
    pub note: Option<String>,
}

/// Why a command made no key. No text repeats what it printed.
#[derive(Debug, Error)]
pub enum GenerateError {
    /// The program cannot be started.
    #[error("the command cannot be started ({0}): see to generate.command and the program's rights")]
    NotStarted(#[source] io::Error),
    /// It took too long, and was killed.
    #[error("the command was not done within {} s and was killed", .0.as_secs())]
    TimedOut(Duration),
    /// It said that it failed.
    #[error("the command failed ({0}); what it complained of is in the log")]
    Failed(ExitStatus),
    /// It printed more than a key.
    #[error("the command printed more than {LONGEST_OUTPUT} bytes and was killed")]
    TooMuch,
    /// It printed nothing.
    #[error("the command printed nothing: it must print one key")]
    Nothing,
    /// It printed more than one key.
    #[error("the command printed more than one key: none of them was added")]
    Several,
    /// It printed something that is no key.
    #[error("what the command printed is no key: it must print one key, or {{\"api_key\": \"..\"}}")]
    NoKey,
    /// It printed a key that the pool has already.
    #[error("the command printed a key that the pool has already")]
    Known,
}

/// Has the pool's command make a key.
///
/// # Errors
/// [`GenerateError`] where it made none.
pub async fn make(generate: &Generate, pool: &PoolName) -> Result<Made, GenerateError> {
    let mut child = command(generate, pool).spawn().map_err(GenerateError::NotStarted)?;
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let (mut printed, mut complained) = (Vec::new(), Vec::new());
    let ended = timeout(generate.timeout, follow(&mut child, &mut printed, &mut complained)).await;
    drop(group);
    let made = match ended {
        Err(_) => Err(GenerateError::TimedOut(generate.timeout)),
        Ok(Err(error)) => Err(error),
        Ok(Ok(status)) if !status.success() => Err(GenerateError::Failed(status)),
        Ok(Ok(_)) => understand(&printed),
    };
    tell(pool, &complained, &printed);
    made
}

fn command(generate: &Generate, pool: &PoolName) -> Command {
    let mut command = Command::new(&generate.program);
    command.args(&generate.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_none_or(|name| name.starts_with("KEYLEND_") || OWN.contains(&name)) {
            command.env_remove(name);
        }
    }
    // A group of its own: what it starts is ended with it.
    command.env("KEYLEND_POOL", pool.as_str()).process_group(0).kill_on_drop(true);
    command
}

/// Ends all that a command has started, when it is over or given up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        // It is gone already where the command started nothing that goes on.
        let _ = self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}

/// Reads what it prints until it has ended.
async fn follow(
    child: &mut Child,
    printed: &mut Vec<u8>,
    complained: &mut Vec<u8>,
) -> Result<ExitStatus, GenerateError> {
    let (out, complaints) = (child.stdout.take(), child.stderr.take());
    let reading =
        async { tokio::join!(read(out, printed, LONGEST_OUTPUT), read(complaints, complained, LONGEST_COMPLAINT)) };
    let mut reading = std::pin::pin!(reading);
    let mut whole = None;
    let status = loop {
        tokio::select! {
            // A command that never stops to print would not end: it is told of as soon as there is too much.
            read = &mut reading, if whole.is_none() => whole = Some(read.0),
            status = child.wait() => break status.map_err(GenerateError::NotStarted)?,
        }
        if whole == Some(false) {
            return Err(GenerateError::TooMuch);
        }
    };
    if whole.is_none() {
        whole = timeout(LAST_WORDS, reading).await.ok().map(|read| read.0);
    }
    if whole == Some(false) { Err(GenerateError::TooMuch) } else { Ok(status) }
}

/// Reads to the end, and keeps so much of it. False = there was more. What is printed goes on being read past that only
/// where it is a complaint.
async fn read(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>, most: usize) -> bool {
    let Some(mut from) = from else { return true };
    let mut piece = [0; 4096];
    let mut whole = true;
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let room = most - kept.len();
        kept.extend_from_slice(&piece[..length.min(room)]);
        whole &= length <= room;
        if !whole && most == LONGEST_OUTPUT {
            break;
        }
    }
    whole
}

/// The one key in what was printed: a line of its own, or a JSON object that names it.
pub fn understand(printed: &[u8]) -> Result<Made, GenerateError> {
    #[derive(Deserialize)]
    struct Named {
        api_key: String,
        note: Option<String>,
    }
    let text = std::str::from_utf8(printed).map_err(|_| GenerateError::NoKey)?.trim();
    let named = if text.starts_with('[') {
        // Read as a shape with names, a list would be taken by the order of its values.
        let several = serde_json::from_str::<Vec<Named>>(text).is_ok_and(|several| several.len() > 1);
        return Err(if several { GenerateError::Several } else { GenerateError::NoKey });
    } else if text.starts_with('{') {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<Named>();
        match (values.next(), values.next()) {
            (Some(Ok(named)), None) => named,
            (Some(Ok(_)), Some(Ok(_))) => return Err(GenerateError::Several),
            _ => return Err(GenerateError::NoKey),
        }
    } else {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        match (lines.next(), lines.next()) {
            (None, _) => return Err(GenerateError::Nothing),
            (Some(line), None) => Named { api_key: line.to_owned(), note: None },
            (Some(_), Some(_)) => return Err(GenerateError::Several),
        }
    };
    let secret = Secret::parse(&named.api_key).map_err(|_| GenerateError::NoKey)?;
    let note = named.note.map(|note| note.chars().take(crate::domain::record::MAX_NOTE).collect());
    Ok(Made { secret, note })
}

/// What it complained of, for the log, line by line: without any word that it printed, for that may be a key.
fn tell(pool: &PoolName, complained: &[u8], printed: &[u8]) {
    let printed = String::from_utf8_lossy(printed);
    let is_part = |character: char| character.is_whitespace() || matches!(character, '"' | '{' | '}' | ',' | ':');
    let mut parts: Vec<&str> = printed.split(is_part).filter(|part| part.len() >= SHORTEST_PART).collect();
    // A longer one may hold a shorter one.
    parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.len()));
    let complained = String::from_utf8_lossy(complained);
    let told = parts.iter().fold(complained.into_owned(), |told, part| told.replace(part, "..."));
    for line in told.lines().map(str::trim).filter(|line| !line.is_empty()) {
        tracing::info!(event = "command_said", %pool, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_line_or_named_in_a_json_object() {
        let key =
            |printed: &str| understand(printed.as_bytes()).map(|made| (made.secret.expose().to_owned(), made.note));
        assert_eq!(key("\n sk-1 \r\n\n").ok(), Some(("sk-1".to_owned(), None)));
        assert_eq!(key(r#"{"api_key": "sk-2", "id": 7}"#).ok(), Some(("sk-2".to_owned(), None)));
        let noted = key("{\"api_key\": \"sk-3\",\n \"note\": \"ours\"}\n").ok();
        assert_eq!(noted, Some(("sk-3".to_owned(), Some("ours".to_owned()))));
        for nothing in ["", "\n \n"] {
            assert!(matches!(key(nothing), Err(GenerateError::Nothing)), "{nothing:?}");
        }
        for several in
            ["sk-1\nsk-2", "{\"api_key\":\"sk-1\"}\n{\"api_key\":\"sk-2\"}", r#"[{"api_key":"a"},{"api_key":"b"}]"#]
        {
            assert!(matches!(key(several), Err(GenerateError::Several)), "{several:?}");
        }
        for none in [
            "a b",
            "<html></html> x",
            "{}",
            r#"{"api_key": 3}"#,
            r#"{"api_key": "a b"}"#,
            "[]",
            r#"["sk-1", "a note"]"#,
            "{\"api_key\":",
            "ä",
        ] {
            assert!(matches!(key(none), Err(GenerateError::NoKey)), "{none:?}");
        }
        assert!(matches!(understand(&[0xff, 0xfe]), Err(GenerateError::NoKey)));
    }
}
