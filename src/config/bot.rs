//! The settings of the Discord bot, which reads them from the same places as the server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use secrecy::SecretString;

use super::{Fault, LogSettings, Reader, Source};
use crate::domain::PoolName;

/// All that the bot was told.
#[derive(Debug)]
pub struct BotSettings {
    /// `STATS_API` (http://localhost:5000/api/stats): where the statistics are, keylend's or the older Flask server's.
    pub stats_api: String,
    /// `STATS_TOKEN`: the token that keylend wants for them; None = it wants none.
    pub stats_token: Option<SecretString>,
    /// `DISCORD_BOT_TOKEN`: by which Discord knows the bot.
    pub discord_token: SecretString,
    /// `REFRESH_INTERVAL` (300 s): how often the statistics are looked at.
    pub refresh_interval: Duration,
    /// `COMMAND_PREFIX` (!): what stands before `stats` in a message.
    pub command_prefix: String,
    /// `ALERT_CHANNEL_ID`: the channel that is told of what runs out; None = none is.
    pub alert_channel: Option<u64>,
    /// `ALERT_LOW` (3): when a pool is low.
    pub alert_low: AlertLow,
    /// `KEYLEND_BOT_STATE` (keylend-bot.json): the file of what was announced.
    pub state_file: PathBuf,
    /// `DISCORD_API_BASE`: a server that stands for Discord, as tests have one; None = Discord.
    pub discord_api_base: Option<String>,
    /// `KEYLEND_BOT_LISTEN`: where the bot says how it is; None = nowhere.
    pub listen: Option<SocketAddr>,
    /// What is logged, and where: set as the server's is.
    pub log: LogSettings,
}

/// `ALERT_LOW`: the number of keys with uses left at which a pool is low, and below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertLow {
    /// Of every pool that has no number of its own; 0 = never low.
    pub others: u64,
    /// Of these pools.
    pub pools: BTreeMap<String, u64>,
}

impl AlertLow {
    /// The number of this pool.
    pub fn of(&self, pool: &str) -> u64 {
        self.pools.get(pool).copied().unwrap_or(self.others)
    }

    /// Understands `3` or `3,plantid=1,stability=20`; None for another text.
    fn parse(text: &str) -> Option<Self> {
        let mut low = Self { others: LOW, ..Self::default() };
        for entry in text.split(',').map(str::trim) {
            match entry.split_once('=') {
                Some((pool, keys)) => {
                    let pool: PoolName = pool.trim().parse().ok()?;
                    low.pools.insert(pool.as_str().to_owned(), keys.trim().parse().ok()?);
                }
                None => low.others = entry.parse().ok()?,
            }
        }
        Some(low)
    }
}

/// Where keylend serves its statistics, as the older server did.
const STATS_API: &str = "http://localhost:5000/api/stats";

/// The default of `ALERT_LOW`.
const LOW: u64 = 3;

/// The bounds of `REFRESH_INTERVAL`.
const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// The longest `COMMAND_PREFIX`, in characters.
const PREFIX: usize = 16;

impl BotSettings {
    /// Reads them all.
    ///
    /// # Errors
    /// Every fault there is.
    pub fn read(source: Source) -> Result<Self, Vec<Fault>> {
        let mut source = source;
        let faults = std::mem::take(&mut source.faults);
        let mut reader = Reader { source: &source, faults, told: Vec::new() };
        let stats_api = reader.address("STATS_API").unwrap_or_else(|| STATS_API.to_owned());
        let stats_token = reader.stats_token();
        let discord_api_base = reader.address("DISCORD_API_BASE");
        let discord_token = reader.discord_token(discord_api_base.is_some());
        let settings = Self {
            stats_api,
            stats_token,
            discord_token,
            refresh_interval: reader.refresh_interval(),
            command_prefix: reader.command_prefix(),
            alert_channel: reader.alert_channel(),
            alert_low: reader.alert_low(),
            state_file: reader.state_file(),
            discord_api_base,
            listen: reader.bot_listen(),
            log: reader.log(),
        };
        if reader.faults.is_empty() { Ok(settings) } else { Err(reader.faults) }
    }
}

impl Reader<'_> {
    /// An address on the web; None where it is not set, or a fault.
    fn address(&mut self, setting: &'static str) -> Option<String> {
        let expected = "an address such as http://localhost:5000/api/stats, without a name and a password in it";
        let parse = |text: &str| is_address(text).then(|| Some(text.to_owned()));
        self.parsed(setting, None, expected, parse, untold)
    }

    fn stats_token(&mut self) -> Option<SecretString> {
        let expected = "a token as keylend token new shows it: visible ASCII, no spaces";
        let parse = |text: &str| is_visible(text).then(|| Some(SecretString::from(text)));
        self.parsed("STATS_TOKEN", None, expected, parse, untold)
    }

    /// `is_elsewhere`: what stands for Discord has tokens of a shape of its own.
    fn discord_token(&mut self, is_elsewhere: bool) -> SecretString {
        let place =
            "the developer portal (https://discord.com/developers/applications) gives it, under Bot > Reset Token";
        if self.source.find(&["DISCORD_BOT_TOKEN"]).is_none() {
            self.faults.push(Fault::new("DISCORD_BOT_TOKEN", format!("it is not set: {place}")));
            return SecretString::default();
        }
        let expected = format!("a bot's token, three parts with dots between them, and no other text: {place}");
        let fits = if is_elsewhere { is_visible } else { is_bot_token };
        let parse = |text: &str| fits(text).then(|| SecretString::from(text));
        self.parsed("DISCORD_BOT_TOKEN", SecretString::default(), &expected, parse, untold)
    }

    fn refresh_interval(&mut self) -> Duration {
        let parse = |text: &str| {
            let seconds = text.parse().ok().map(Duration::from_secs);
            seconds.or_else(|| humantime::parse_duration(text).ok()).filter(|interval| INTERVAL.contains(interval))
        };
        let expected = "seconds from 1 to 86400, such as 300, or a duration such as 5m";
        self.parsed("REFRESH_INTERVAL", Duration::from_secs(300), expected, parse, untold)
    }

    fn command_prefix(&mut self) -> String {
        let fits = |text: &str| text.chars().count() <= PREFIX && !text.contains(|c: char| c.is_whitespace());
        let parse = |text: &str| fits(text).then(|| text.to_owned());
        self.parsed("COMMAND_PREFIX", "!".to_owned(), "1 to 16 characters without a space", parse, untold)
    }

    fn alert_channel(&mut self) -> Option<u64> {
        let expected = "a channel's id, a long number: right-click on the channel in Discord, Copy Channel ID";
        let parse = |text: &str| text.parse().ok().filter(|id| (1..u64::MAX).contains(id)).map(Some);
        self.parsed("ALERT_CHANNEL_ID", None, expected, parse, untold)
    }

    fn alert_low(&mut self) -> AlertLow {
        let expected = "a number of keys, such as 3, and those of single pools, such as 3,plantid=1,stability=20";
        let default = AlertLow { others: LOW, ..AlertLow::default() };
        self.parsed("ALERT_LOW", default, expected, AlertLow::parse, untold)
    }

    fn state_file(&mut self) -> PathBuf {
        let parse = |path: &str| Some(PathBuf::from(path));
        self.parsed("KEYLEND_BOT_STATE", PathBuf::from("keylend-bot.json"), "the path of a file", parse, untold)
    }

    fn bot_listen(&mut self) -> Option<SocketAddr> {
        let parse = |text: &str| text.replace("localhost:", "127.0.0.1:").parse().ok().map(Some);
        let expected = "an address and a port, such as 127.0.0.1:5001";
        self.parsed("KEYLEND_BOT_LISTEN", None, expected, parse, untold)
    }
}

/// No command of the bot shows its settings.
fn untold<T>(_: &T) -> String {
    String::new()
}

fn is_address(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    is_web && uri.authority().is_some_and(|host| !host.host().is_empty() && !host.as_str().contains('@'))
}

fn is_visible(text: &str) -> bool {
    text.len() <= 4096 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Three parts of base64 for addresses, with dots between them: no placeholder looks like that.
fn is_bot_token(text: &str) -> bool {
    let of_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3
        && parts.iter().all(|part| !part.is_empty() && part.bytes().all(of_base64))
        && (40..=200).contains(&text.len())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::config::{Flags, Purpose, Settings};

    const TOKEN: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GhIjKl.abcdefghijklmnopqrstuvwxyz0123456789AB";

    fn map(variables: &[(&str, &str)]) -> HashMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read(variables: &[(&str, &str)]) -> Result<BotSettings, Vec<Fault>> {
        let all: Vec<_> = [("DISCORD_BOT_TOKEN", TOKEN)].into_iter().chain(variables.iter().copied()).collect();
        BotSettings::read(Source::new(Flags::default(), map(&all), HashMap::new(), ""))
    }

    #[test]
    fn everything_but_the_token_has_a_default() {
        let settings = read(&[]).expect("valid");
        assert_eq!(settings.stats_api, "http://localhost:5000/api/stats");
        assert_eq!(settings.refresh_interval, Duration::from_secs(300));
        assert_eq!((settings.command_prefix.as_str(), settings.alert_channel), ("!", None));
        assert_eq!(settings.alert_low, AlertLow { others: 3, pools: BTreeMap::new() });
        assert_eq!(settings.state_file, PathBuf::from("keylend-bot.json"));
        assert!(settings.stats_token.is_none() && settings.discord_api_base.is_none() && settings.listen.is_none());
        assert_eq!(settings.log.filter, "info");
        let faults = read(&[("DISCORD_BOT_TOKEN", " ")]).expect_err("faults");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].to_string().starts_with("DISCORD_BOT_TOKEN: it is not set: the developer portal"));
    }

    #[test]
    fn each_setting_is_understood_within_its_bounds() {
        let cases = [
            ("STATS_API", "https://keylend.example:8443/api/stats?x=1", true),
            ("STATS_API", "localhost:5000/api/stats", false),
            ("STATS_API", "ftp://localhost/", false),
            ("STATS_API", "http://me:hush@localhost/", false),
            ("STATS_TOKEN", "kl_0123", true),
            ("STATS_TOKEN", "two words", false),
            ("DISCORD_BOT_TOKEN", "your_bot_token_here", false),
            ("DISCORD_BOT_TOKEN", "your.token.here", false),
            ("DISCORD_BOT_TOKEN", "Bot MTIzNDU2Nzg5MDEyMzQ1Njc4.GhIjKl.abcdefghijklmnopqrstuvwxyz", false),
            ("REFRESH_INTERVAL", "1", true),
            ("REFRESH_INTERVAL", "86400", true),
            ("REFRESH_INTERVAL", "5m", true),
            ("REFRESH_INTERVAL", "0", false),
            ("REFRESH_INTERVAL", "86401", false),
            ("REFRESH_INTERVAL", "500ms", false),
            ("COMMAND_PREFIX", "$$", true),
            ("COMMAND_PREFIX", "🌱", true),
            ("COMMAND_PREFIX", "a b", false),
            ("COMMAND_PREFIX", "12345678901234567", false),
            ("ALERT_CHANNEL_ID", "123456789012345678", true),
            ("ALERT_CHANNEL_ID", "0", false),
            ("ALERT_CHANNEL_ID", "#alerts", false),
            ("ALERT_LOW", "0", true),
            ("ALERT_LOW", "plantid=2, stability = 20", true),
            ("ALERT_LOW", "2,Plant=2", false),
            ("ALERT_LOW", "10%", false),
            ("DISCORD_API_BASE", "http://127.0.0.1:1", true),
            ("DISCORD_API_BASE", "discord", false),
            ("KEYLEND_BOT_LISTEN", "localhost:5001", true),
            ("KEYLEND_BOT_LISTEN", "5001", false),
            ("RUST_LOG", "[", false),
        ];
        for (setting, text, valid) in cases {
            let read = read(&[(setting, text)]);
            assert_eq!(read.is_ok(), valid, "{setting} {text}");
            for fault in read.err().into_iter().flatten() {
                assert!(fault.setting == setting && !fault.to_string().contains("hush"), "{setting} {text}: {fault}");
            }
        }
    }

    #[test]
    fn what_stands_for_discord_has_tokens_of_its_own() {
        let read = |token| read(&[("DISCORD_API_BASE", "http://127.0.0.1:1"), ("DISCORD_BOT_TOKEN", token)]);
        assert!(read("any-token").is_ok() && read("two words").is_err());
    }

    #[test]
    fn a_pool_has_its_own_number_or_that_of_the_others() {
        let low = read(&[("ALERT_LOW", "5,plantid=1")]).expect("valid").alert_low;
        assert_eq!((low.of("plantid"), low.of("healthid")), (1, 5));
        let low = read(&[("ALERT_LOW", "plantid=0")]).expect("valid").alert_low;
        assert_eq!((low.of("plantid"), low.of("healthid")), (0, 3));
    }

    #[test]
    fn one_file_starts_the_server_and_the_bot_and_neither_minds_the_others_settings() {
        let faulty = |names: &[&str]| map(&names.iter().map(|name| (*name, "hush hush=[")).collect::<Vec<_>>());
        let bots = faulty(&["STATS_API", "REFRESH_INTERVAL", "ALERT_CHANNEL_ID", "DISCORD_BOT_TOKEN", "ALERT_LOW"]);
        let file = "stats_api = 'x'\nbot_listen = 'x'\ndiscord_bot_token = 'x'\n";
        assert!(Settings::read(Source::new(Flags::default(), HashMap::new(), bots, file), Purpose::Serving).is_ok());
        let mut servers = faulty(&["MONGODB_URI", "KEYLEND_LISTEN", "KEYLEND_TOKENS", "KEYLEND_BODY_LIMIT"]);
        servers.insert("DISCORD_BOT_TOKEN".to_owned(), TOKEN.to_owned());
        let file = "refresh_interval = 7\nlisten = 'x'\n[pools.mine]\nuses_per_key = 0\n";
        let settings = BotSettings::read(Source::new(Flags::default(), servers, HashMap::new(), file)).expect("valid");
        assert_eq!(settings.refresh_interval, Duration::from_secs(7));
    }

    #[test]
    fn no_secret_is_shown() {
        let settings = read(&[("STATS_TOKEN", "kl_hush")]).expect("valid");
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hush") && !shown.contains("GhIjKl"), "{shown}");
    }
}
