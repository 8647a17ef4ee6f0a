//! Every setting as people read of it. `docs/settings.md` is written from these tables, and held to them by a test; the
//! defaults shown here are held to those that are read.

/// A setting, or several that go together.
#[derive(Debug)]
pub struct Setting {
    /// The names of its variables.
    pub names: &'static [&'static str],
    /// What holds where it is not set, in Markdown: a value in backticks stands for itself.
    pub default: &'static str,
    /// What it is for, in Markdown.
    pub says: &'static str,
}

/// The server's, and of its commands.
pub const SERVER: &[Setting] = &[
    row(
        &["MONGODB_URI", "MONGO_URI"],
        "none: the embedded store",
        "connection string. Where both a MongoDB and `KEYLEND_DATA` are set, the one set closer to the command \
         line is meant",
    ),
    row(
        &["MONGODB_URI_FILE", "MONGO_URI_FILE"],
        "none",
        "a file that holds it: every secret setting has such a [form](#secrets-in-files)",
    ),
    row(&["MONGODB_DATABASE"], "the URI's, else `keylend`", "the database"),
    row(
        &["KEYLEND_DATA"],
        "`keylend.db`",
        "the embedded store's file; made where it is missing, readable for its owner only",
    ),
    row(&["KEYLEND_STORE_TIMEOUT"], "`5s`", "the longest that a request waits for the store: 100ms to 5m"),
    row(
        &["KEYLEND_LISTEN"],
        "`127.0.0.1:5000`",
        "the address to serve on. Other machines are served only with tokens, or with `--insecure-open`",
    ),
    row(&["FLASK_RUN_PORT"], "`5000`", "the port of that default"),
    row(&["KEYLEND_TOKENS"], "none: callers need none", "see [tokens](#tokens)"),
    row(&["KEYLEND_TOKENS_FILE"], "none", "a file that holds them, one a line"),
    row(
        &["KEYLEND_ENCRYPTION_KEYS"],
        "none",
        "keys for the secrets of the pools with `encrypt = true`, `ID:KEY` each, the KEY 32 bytes in base64, separated \
         by commas or newlines: the first encrypts, all decrypt. See [secrets at rest](encryption.md)",
    ),
    row(
        &["KEYLEND_DIGEST_KEY"],
        "none",
        "the key of the digests by which encrypted secrets are found and kept unique: 32 bytes in base64, which never \
         change",
    ),
    row(&["KEYLEND_ENCRYPTION_KEYS_FILE", "KEYLEND_DIGEST_KEY_FILE"], "none", "files that hold them"),
    row(
        &["KEYLEND_HOSTS"],
        "none",
        "names, separated by commas, by which the server may be called besides `localhost` and loopback \
         addresses, such as that of a proxy which passes its own name on. Looked at where there are no tokens, \
         and wherever it is set: a page in somebody's browser cannot reach the server by a name of its own that \
         leads to this machine",
    ),
    row(
        &["KEYLEND_TLS_CERT", "KEYLEND_TLS_KEY"],
        "none: plain HTTP",
        "PEM files: the certificate with those that lead to its root, the server's own first, and its private \
         key. Read again on SIGHUP: connections that come from then on get the new one, and none is dropped. \
         Without them the log of a server on other than a loopback address says that keys travel in the clear",
    ),
    row(
        &["KEYLEND_OPEN_FLASK"],
        "`false`",
        "`true`: `/api/plantid`, `/api/healthid` and `/api/stats` need no token, whatever tokens are set",
    ),
    row(&["KEYLEND_MAX_IN_FLIGHT"], "`1024`", "how many requests are answered at once: 1 to 100,000"),
    row(
        &["KEYLEND_BODY_LIMIT"],
        "`64 KiB`",
        "the largest JSON body: 1 KiB to 64 MiB, such as `65536`, `64 KiB`, `1 MiB`. Imports are streamed, up to \
         256 MiB",
    ),
    row(
        &["KEYLEND_COMBINE"],
        "`on`",
        "`off`: each caller goes to the store alone. `on`: those who come while others are served go together, \
         which serves a crowd many times as fast and a lone caller the same",
    ),
    row(&["KEYLEND_CONFIG"], "`keylend.toml` where it exists", "the file below; a named one must be there"),
    row(
        &["PLANTID_FILE", "HEALTHID_FILE"],
        "`plantid.txt`, `healthid.txt` where they exist",
        "[key files](keys.md#key-files) of the pools `plantid` and `healthid`: taken over at start and followed, \
         never written. A named one that is missing is a warning",
    ),
    row(
        &["API_STATE_FILE"],
        "`api_state.json` where it exists",
        "the older server's counters: taken over once, with the first import of each key file",
    ),
    row(&["LOG_FILE"], "stderr", "the log file: appended to, made readable for its owner only, opened anew on SIGHUP"),
    row(&["KEYLEND_LOG_FORMAT"], "`text`", "or `json`: one object per line, its fields flat"),
    row(&["RUST_LOG"], "`info`", "what is logged: a level, or a list such as `keylend=debug,warn`"),
    row(
        &["KEYLEND_AUDIT_FILE"],
        "none",
        "the [audit](cli.md#the-audit): who did what to which key. Appended to, made readable for its owner only, \
         opened anew on SIGHUP",
    ),
    row(&["KEYLEND_AUDIT_REQUIRED"], "`false`", "`true`: an admin act that cannot be written there is refused"),
    row(&["FLASK_DEBUG"], "`False`", "`True`: the default of `RUST_LOG` is `debug`"),
];

/// The Discord bot's.
pub const BOT: &[Setting] = &[
    row(&["DISCORD_BOT_TOKEN"], "none: it is needed", "the bot's token, from the developer portal"),
    row(
        &["STATS_API"],
        "`http://localhost:5000/api/stats`",
        "where the statistics are, keylend's or the older Flask server's. Redirects are not followed",
    ),
    row(
        &["STATS_TOKEN"],
        "none",
        "the token with the role `stats` that keylend wants for them; none where it wants none, or \
         `KEYLEND_OPEN_FLASK` is set",
    ),
    row(&["DISCORD_BOT_TOKEN_FILE", "STATS_TOKEN_FILE"], "none", "files that hold them"),
    row(
        &["REFRESH_INTERVAL"],
        "`300`",
        "how often the statistics are looked at: seconds from 1 to 86400, or a duration such as `5m`",
    ),
    row(&["COMMAND_PREFIX"], "`!`", "what stands before `stats` in a message: 1 to 16 characters without a space"),
    row(
        &["ALERT_CHANNEL_ID"],
        "none: nobody is told",
        "the channel that is told when a pool runs low, runs dry or recovers",
    ),
    row(
        &["ALERT_LOW"],
        "`3`",
        "the number of keys with uses left at which a pool is low; pools can have their own: \
         `3,plantid=1,stability=20`. 0 is never",
    ),
    row(
        &["KEYLEND_BOT_STATE"],
        "`keylend-bot.json`",
        "the file of what was announced, so that a restart does not announce it once more; written only with \
         `ALERT_CHANNEL_ID`",
    ),
    row(
        &["KEYLEND_BOT_LISTEN"],
        "none",
        "an address such as `127.0.0.1:5001` on which `/livez` and `/readyz` say how the bot is",
    ),
    row(
        &["DISCORD_API_BASE"],
        "none: Discord itself",
        "a server that stands for Discord, as tests have one. The token goes there",
    ),
];

/// All that can be set, by the names of the variables: the server's, and the Discord bot's. One `.env` and one
/// `keylend.toml` hold both; each program reads its own.
pub const SETTINGS: [&str; count(SERVER) + count(BOT)] = names();

const fn row(names: &'static [&'static str], default: &'static str, says: &'static str) -> Setting {
    Setting { names, default, says }
}

const fn count(table: &[Setting]) -> usize {
    let (mut count, mut row) = (0, 0);
    while row < table.len() {
        count += table[row].names.len();
        row += 1;
    }
    count
}

const fn names() -> [&'static str; count(SERVER) + count(BOT)] {
    let mut names = [""; count(SERVER) + count(BOT)];
    let (mut at, tables, mut table) = (0, [SERVER, BOT], 0);
    while table < tables.len() {
        let mut row = 0;
        while row < tables[table].len() {
            let mut name = 0;
            while name < tables[table][row].names.len() {
                names[at] = tables[table][row].names[name];
                at += 1;
                name += 1;
            }
            row += 1;
        }
        table += 1;
    }
    names
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::config::{BotSettings, Flags, Purpose, Settings, Source};

    /// What the server's settings are in a folder, with these variables, as `keylend check` shows them.
    fn told(folder: &Path, variables: &[(&str, &str)]) -> BTreeMap<&'static str, String> {
        let environment: Vec<(OsString, OsString)> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let source = Source::of(Flags::default(), environment.into_iter(), folder);
        let settings = Settings::read(source, Purpose::Command).expect("valid");
        settings.told.into_iter().map(|told| (told.setting, told.value)).collect()
    }

    /// What the bot's settings are.
    fn bots(name: &str, value: &str) -> String {
        let token = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GhIjKl.abcdefghijklmnopqrstuvwxyz0123456789AB";
        let variables = [("DISCORD_BOT_TOKEN", token), (name, value)];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let source = Source::new(Flags::default(), HashMap::from(variables), HashMap::new(), "");
        format!("{:?}", BotSettings::read(source).expect("valid"))
    }

    /// The values in backticks.
    fn values(default: &str) -> Vec<&str> {
        default.split('`').skip(1).step_by(2).collect()
    }

    #[test]
    fn the_defaults_shown_are_those_that_are_read() {
        let (empty, old) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
        for name in ["plantid.txt", "healthid.txt", "api_state.json", "keylend.toml"] {
            std::fs::write(old.path().join(name), "").expect("written");
        }
        let unset = told(empty.path(), &[]);
        for Setting { names, default, .. } in SERVER {
            let values = values(default);
            for (at, name) in names.iter().enumerate() {
                if default.starts_with('`') && values.len() == 1 && default.ends_with('`') {
                    assert_eq!(told(empty.path(), &[(name, values[0])]), unset, "{name}");
                } else if default.contains("where") {
                    let shown = (unset[name].as_str(), told(old.path(), &[])[name].clone());
                    assert_eq!(shown, ("none", values[at].to_owned()), "{name}");
                } else if default.starts_with("none") {
                    assert_eq!(unset.get(name).map_or("none", String::as_str), "none", "{name}");
                } else {
                    let on_mongodb = told(empty.path(), &[("MONGODB_URI", "mongodb://h/")]);
                    assert_eq!(on_mongodb[name], default.replace('`', ""), "{name}");
                }
            }
        }
        for Setting { names, default, .. } in BOT {
            for name in *names {
                match values(default)[..] {
                    [value] => assert_eq!(bots(name, value), bots(name, ""), "{name}"),
                    _ => assert!(default.starts_with("none"), "{name}: {default}"),
                }
            }
        }
    }
}
