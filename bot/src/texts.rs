//! Every text that people read on Discord, as a function of the statistics; within Discord's limits, whatever these say.

use keylend::domain::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::alerts::Alert;
use crate::snapshot::{FilePool, HEALTH, PLANT, Pool, Snapshot};

/// What is said where the statistics cannot be had.
pub const UNAVAILABLE: &str = "❌ Unable to fetch API statistics. Please try again later.";

/// The command's name, on Discord and after the prefix.
pub const COMMAND: &str = "stats";

/// What Discord shows beside the command.
const COMMAND_DESCRIPTION: &str = "Show what the API key pools hold";

/// Blue, as the older bot's embed was.
const BLUE: u32 = 0x0034_98db;

/// Discord's limits, in UTF-16 units: no character counts more there.
mod limits {
    pub(super) const FIELDS: usize = 25;
    pub(super) const NAME: usize = 256;
    pub(super) const VALUE: usize = 1024;
    pub(super) const EMBED: usize = 6000;
    pub(super) const MESSAGE: usize = 2000;
    pub(super) const ACTIVITY: usize = 128;
}

/// The longest text from outside within a value: a status, or a pool's name in a sentence.
const QUOTED: usize = 100;

/// The embed of the command's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Embed {
    title: &'static str,
    color: u32,
    fields: Vec<Field>,
    footer: Footer,
    /// Discord shows it beside the footer, in each reader's own time.
    timestamp: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Field {
    name: String,
    value: String,
    inline: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Footer {
    text: &'static str,
}

impl Field {
    fn new(name: &str, value: &str) -> Self {
        Self { name: shortened(name, limits::NAME), value: shortened(value, limits::VALUE), inline: true }
    }

    fn length(&self) -> usize {
        units(&self.name) + units(&self.value)
    }
}

/// The dashboard. `at` is when the statistics were had.
pub fn dashboard(snapshot: &Snapshot, at: Timestamp) -> Embed {
    let mut embed = Embed {
        title: "API Statistics Dashboard",
        color: BLUE,
        fields: vec![
            Field::new("🌱 Plant ID Keys", &file(&snapshot.plant)),
            Field::new("❤️ Health ID Keys", &file(&snapshot.health)),
            Field::new("🔄 Requests Until Rotation", &rotation(snapshot)),
        ],
        footer: Footer { text: "Last Updated" },
        timestamp: at,
    };
    let room = limits::FIELDS - embed.fields.len();
    let mut fields: Vec<Field> = snapshot.further_pools().take(room).map(pool).collect();
    let mut rest = snapshot.further_pools().skip(room).count();
    let fixed = embed.length();
    let fits = |fields: &[Field], rest: usize| {
        let more = if rest == 0 { 0 } else { more_pools(rest).length() };
        let length = fixed + fields.iter().map(Field::length).sum::<usize>() + more;
        fields.len() + usize::from(rest > 0) <= room && length <= limits::EMBED
    };
    while !fits(&fields, rest) && fields.pop().is_some() {
        rest += 1;
    }
    embed.fields.append(&mut fields);
    if rest > 0 {
        embed.fields.push(more_pools(rest));
    }
    embed
}

impl Embed {
    /// All that Discord counts.
    fn length(&self) -> usize {
        units(self.title) + units(self.footer.text) + self.fields.iter().map(Field::length).sum::<usize>()
    }
}

fn file(file: &FilePool) -> String {
    let status = match (&file.status, file.available) {
        (Some(status), _) => quoted(status),
        (None, Some(0)) => "File is empty".to_owned(),
        (None, Some(_)) => "Keys available".to_owned(),
        (None, None) => "unknown".to_owned(),
    };
    format!("Available: {}\nStatus: {status}", or_unknown(file.available))
}

fn rotation(snapshot: &Snapshot) -> String {
    let (plant, health) = (snapshot.plant.until_rotation, snapshot.health.until_rotation);
    format!("Plant ID: {}\nHealth ID: {}", or_unknown(plant), or_unknown(health))
}

fn pool(pool: &Pool) -> Field {
    let mut value = String::new();
    let lines = [
        ("Usable", pool.usable),
        ("Leased", pool.leased),
        ("Resting", pool.resting),
        ("Spent", pool.spent),
        ("Disabled", pool.disabled),
        ("Uses left", pool.uses_left),
    ];
    let wanted = pool.key_requests.filter(|wanted| *wanted > 0).map(|wanted| ("Wanted", Some(wanted)));
    for (name, number) in lines.into_iter().chain(wanted) {
        value += &format!("{name}: {}\n", or_unknown(number));
    }
    if let (Some(left), Some(capacity)) = (pool.uses_left, pool.capacity()) {
        value += &bar(left, capacity);
    }
    Field::new(&format!("🔑 {}", escaped(&pool.name)), value.trim_end())
}

/// Ten small squares and the percentage: full only when all is left, empty only when nothing is.
fn bar(left: u64, capacity: u64) -> String {
    let left = left.min(capacity);
    let of = |whole: u128| {
        let part = u128::from(left) * whole / u128::from(capacity.max(1));
        if left > 0 { part.max(1) } else { 0 }
    };
    let (full, percent) = (usize::try_from(of(10)).unwrap_or(10), of(100));
    format!("{}{} {percent}%", "▰".repeat(full), "▱".repeat(10 - full))
}

fn more_pools(count: usize) -> Field {
    Field::new("…", &format!("and {count} more {}", if count == 1 { "pool" } else { "pools" }))
}

/// What the bot watches; None = the statistics cannot be had.
pub fn presence(snapshot: Option<&Snapshot>) -> String {
    let Some(snapshot) = snapshot else { return "stats unavailable".to_owned() };
    let number = |file: &FilePool| file.available.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let text = format!("🌱 {} Plant | ❤️ {} Health", number(&snapshot.plant), number(&snapshot.health));
    shortened(&text, limits::ACTIVITY)
}

/// The answer to the command, as the body of a message; None = the statistics cannot be had. Nobody is pinged by it.
pub fn answer(dashboard: Option<&Embed>) -> Value {
    match dashboard {
        Some(embed) => json!({"embeds": [embed], "allowed_mentions": {"parse": []}}),
        None => json!({"content": UNAVAILABLE, "allowed_mentions": {"parse": []}}),
    }
}

/// The commands as Discord is told of them.
pub fn commands() -> Value {
    json!([{"name": COMMAND, "type": 1, "description": COMMAND_DESCRIPTION}])
}

/// All alerts of one look in one message.
pub fn announcement(alerts: &[Alert]) -> Value {
    let lines: Vec<String> = alerts.iter().map(alert).collect();
    let mut content = String::new();
    for (number, line) in lines.iter().enumerate() {
        let rest = format!("… and {} more", lines.len() - number);
        let is_last = number + 1 == lines.len();
        // Room for the next line, and where it is not the last one, for the word that there are more.
        let needed = units(line) + if is_last { 0 } else { 1 + units(&rest) };
        if units(&content) + 1 + needed > limits::MESSAGE {
            content += &format!("\n{rest}");
            break;
        }
        if number > 0 {
            content.push('\n');
        }
        content += line;
    }
    json!({"content": content, "allowed_mentions": {"parse": []}})
}

fn alert(alert: &Alert) -> String {
    match alert {
        Alert::Low { pool, keys } => format!("🟡 **{}** runs low: {}", named(pool), keys_left(*keys)),
        Alert::Dry { pool } => format!("🔴 **{}** is dry: no key has uses left", named(pool)),
        Alert::NoLongerDry { pool, keys } => {
            format!("🟠 **{}** is no longer dry, but low: {}", named(pool), keys_left(*keys))
        }
        Alert::Recovered { pool, keys } => format!("🟢 **{}** has recovered: {}", named(pool), keys_left(*keys)),
        Alert::Rejected { pool, more, now } => {
            let (keys, were) = if *more == 1 { ("key", "was") } else { ("keys", "were") };
            format!("🚫 **{}**: {more} more {keys} {were} rejected by the provider ({now} now)", named(pool))
        }
        Alert::Wanted { pool, more, now } => {
            let keys = if *more == 1 { "key is" } else { "keys are" };
            let hint = format!("keylend keys add --pool {} --verify -", quoted(pool));
            format!("🙋 **{}**: {more} more {keys} wanted ({now} now); who has one: {hint}", named(pool))
        }
        Alert::Away { why } => format!("⚠️ The API statistics cannot be had: {}", quoted(why)),
        Alert::Back => "✅ The API statistics are back".to_owned(),
    }
}

fn keys_left(keys: u64) -> String {
    format!("{keys} {} with uses left", if keys == 1 { "key" } else { "keys" })
}

/// A pool as people call it.
fn named(pool: &str) -> String {
    match pool {
        PLANT => "Plant ID".to_owned(),
        HEALTH => "Health ID".to_owned(),
        other => quoted(other),
    }
}

fn or_unknown(number: Option<u64>) -> String {
    number.map_or_else(|| "unknown".to_owned(), |number| number.to_string())
}

/// A text from outside, short, and as it is.
fn quoted(text: &str) -> String {
    escaped(&shortened(text, QUOTED))
}

/// A text from outside in which Discord sees no formatting, no mention and no line.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\*_~`|<>#[]()@:".contains(character) {
            escaped.push('\\');
        }
        escaped.push(if character.is_control() { ' ' } else { character });
    }
    escaped
}

/// As much of the text as there is room for.
fn shortened(text: &str, room: usize) -> String {
    if units(text) <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        if units(&short) + character.len_utf16() + 1 > room {
            break;
        }
        short.push(character);
    }
    short + "…"
}

fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_767_323_045_678);

    fn file(available: u64, status: &str, until_rotation: u64) -> FilePool {
        FilePool { available: Some(available), status: Some(status.to_owned()), until_rotation: Some(until_rotation) }
    }

    fn pool(name: &str) -> Pool {
        let some = Some(1_000_000);
        Pool {
            name: name.to_owned(),
            uses_per_key: Some(4),
            total: some,
            usable: some,
            leased: some,
            resting: some,
            spent: some,
            disabled: Some(0),
            invalid: Some(0),
            uses_left: some,
            rejected: Some(0),
            key_requests: Some(0),
        }
    }

    /// The fields of the dashboard, after a look at Discord's limits.
    #[track_caller]
    fn fields(snapshot: &Snapshot) -> Vec<(String, String)> {
        let embed = dashboard(snapshot, AT);
        assert!(embed.length() <= 6000 && embed.fields.len() <= 25, "{} {}", embed.length(), embed.fields.len());
        for field in &embed.fields {
            let (name, value) = (field.name.encode_utf16().count(), field.value.encode_utf16().count());
            assert!((1..=256).contains(&name) && (1..=1024).contains(&value) && field.inline, "{field:?}");
            assert!(!field.name.trim().is_empty() && !field.value.trim().is_empty(), "{field:?}");
        }
        embed.fields.into_iter().map(|field| (field.name, field.value)).collect()
    }

    fn values(snapshot: &Snapshot) -> Vec<String> {
        fields(snapshot).into_iter().map(|(_, value)| value).collect()
    }

    #[test]
    fn the_dashboard_is_that_of_the_older_bot() {
        let (plant, health) = (file(12, "Keys available", 37), file(0, "File is empty", 100));
        let snapshot = Snapshot { plant, health, pools: Vec::new() };
        let expected = json!({
            "title": "API Statistics Dashboard",
            "color": 3_447_003,
            "fields": [
                {"name": "🌱 Plant ID Keys", "value": "Available: 12\nStatus: Keys available", "inline": true},
                {"name": "❤️ Health ID Keys", "value": "Available: 0\nStatus: File is empty", "inline": true},
                {"name": "🔄 Requests Until Rotation", "value": "Plant ID: 37\nHealth ID: 100", "inline": true},
            ],
            "footer": {"text": "Last Updated"},
            "timestamp": "2026-01-02T03:04:05.678Z",
        });
        let embed = dashboard(&snapshot, AT);
        assert_eq!(serde_json::to_value(&embed).unwrap(), expected);
        let embed = json!({"embeds": [expected], "allowed_mentions": {"parse": []}});
        assert_eq!(answer(Some(&dashboard(&snapshot, AT))), embed);
        assert_eq!(answer(None)["content"], "❌ Unable to fetch API statistics. Please try again later.");
    }

    #[test]
    fn what_was_not_said_is_unknown_and_large_numbers_are_whole() {
        let unknown = ["Available: unknown\nStatus: unknown", "Available: unknown\nStatus: unknown"];
        assert_eq!(values(&Snapshot::default())[..2], unknown);
        assert_eq!(values(&Snapshot::default())[2], "Plant ID: unknown\nHealth ID: unknown");
        let plant = FilePool { available: Some(0), ..FilePool::default() };
        let health = FilePool { available: Some(1_000_000), ..FilePool::default() };
        let snapshot = Snapshot { plant, health, pools: vec![Pool { name: "a".into(), ..Pool::default() }] };
        let values = values(&snapshot);
        assert_eq!(values[0], "Available: 0\nStatus: File is empty");
        assert_eq!(values[1], "Available: 1000000\nStatus: Keys available");
        let unknown =
            ["Usable", "Leased", "Resting", "Spent", "Disabled", "Uses left"].map(|name| format!("{name}: unknown"));
        assert_eq!(values[3], unknown.join("\n"));
    }

    #[test]
    fn a_further_pool_has_its_states_and_a_bar() {
        let stability = Pool {
            name: "stability".to_owned(),
            uses_per_key: Some(4),
            total: Some(9),
            usable: Some(3),
            leased: Some(1),
            resting: Some(1),
            spent: Some(2),
            disabled: Some(1),
            invalid: Some(1),
            uses_left: Some(9),
            rejected: Some(1),
            key_requests: Some(0),
        };
        let snapshot = Snapshot { pools: vec![pool(PLANT), stability, pool(HEALTH)], ..Snapshot::default() };
        let fields = fields(&snapshot);
        let value = "Usable: 3\nLeased: 1\nResting: 1\nSpent: 2\nDisabled: 1\nUses left: 9\n▰▰▰▱▱▱▱▱▱▱ 32%";
        assert_eq!(fields[3..], [("🔑 stability".to_owned(), value.to_owned())]);
    }

    #[test]
    fn a_bar_is_full_or_empty_only_when_the_pool_is() {
        for (left, capacity, expected) in [
            (0, 0, "▱▱▱▱▱▱▱▱▱▱ 0%"),
            (0, 4, "▱▱▱▱▱▱▱▱▱▱ 0%"),
            (1, 4_000_000, "▰▱▱▱▱▱▱▱▱▱ 1%"),
            (5, 10, "▰▰▰▰▰▱▱▱▱▱ 50%"),
            (3_999_999, 4_000_000, "▰▰▰▰▰▰▰▰▰▱ 99%"),
            (4, 4, "▰▰▰▰▰▰▰▰▰▰ 100%"),
            (9, 4, "▰▰▰▰▰▰▰▰▰▰ 100%"),
            (u64::MAX, u64::MAX, "▰▰▰▰▰▰▰▰▰▰ 100%"),
        ] {
            assert_eq!(bar(left, capacity), expected, "{left} {capacity}");
        }
    }

    #[test]
    fn names_from_outside_format_nothing_and_are_cut_to_discords_limits() {
        let named = |name: &str| Snapshot { pools: vec![pool(name)], ..Snapshot::default() };
        for (name, shown) in [
            ("my_pool", "🔑 my\\_pool".to_owned()),
            ("**@everyone**", "🔑 \\*\\*\\@everyone\\*\\*".to_owned()),
            ("a\nb", "🔑 a b".to_owned()),
            // The key's sign counts two, and the space after it one.
            (&"x".repeat(253), format!("🔑 {}", "x".repeat(253))),
            (&"x".repeat(254), format!("🔑 {}…", "x".repeat(252))),
            (&"🌱".repeat(300), format!("🔑 {}…", "🌱".repeat(126))),
        ] {
            assert_eq!(fields(&named(name))[3].0, shown, "{name}");
        }
        let odd = file(1, &format!("[x](http://y)\n{}", "*".repeat(5000)), 1);
        let value = values(&Snapshot { plant: odd, ..Snapshot::default() }).remove(0);
        assert!(value.starts_with("Available: 1\nStatus: \\[x\\]\\(http\\://y\\) \\*"), "{value}");
        assert_eq!(value.lines().count(), 2);
    }

    #[test]
    fn more_pools_than_there_is_room_for_are_counted() {
        let of = |count: usize, name: &str| {
            let pools = (0..count).map(|number| pool(&format!("{name}{number}"))).collect();
            fields(&Snapshot { pools, ..Snapshot::default() })
        };
        // By the number of fields.
        assert_eq!(of(22, "p").len(), 25);
        let fields = of(23, "p");
        assert_eq!((fields.len(), fields[24].1.as_str()), (25, "and 2 more pools"));
        // About as many as the statistics can hold: not each is looked at again for each that is left out.
        assert_eq!(of(30_000, "p")[24].1, "and 29979 more pools");
        // By the number of characters.
        let fields = of(22, &"x".repeat(250));
        assert!((10..25).contains(&fields.len()), "{}", fields.len());
        let shown = fields.len() - 4;
        assert_eq!(fields.last().unwrap().1, format!("and {} more pools", 22 - shown));
    }

    #[test]
    fn what_is_watched_is_short_and_never_an_old_number() {
        let of = |plant, health| {
            let file = |available| FilePool { available, ..FilePool::default() };
            presence(Some(&Snapshot { plant: file(plant), health: file(health), pools: Vec::new() }))
        };
        assert_eq!(of(Some(12), Some(5)), "🌱 12 Plant | ❤️ 5 Health");
        assert_eq!(of(Some(0), Some(1_000_000)), "🌱 0 Plant | ❤️ 1000000 Health");
        assert_eq!(of(None, Some(0)), "🌱 ? Plant | ❤️ 0 Health");
        assert!(of(Some(u64::MAX), Some(u64::MAX)).encode_utf16().count() <= 128);
        assert_eq!(presence(None), "stats unavailable");
    }

    #[test]
    fn alerts_are_lines_of_one_message_and_no_longer_than_discord_allows() {
        let name = |pool: &str| pool.to_owned();
        let text = |alerts: &[Alert]| announcement(alerts)["content"].as_str().unwrap().to_owned();
        for (alert, expected) in [
            (Alert::Low { pool: name("plantid"), keys: 3 }, "🟡 **Plant ID** runs low: 3 keys with uses left"),
            (Alert::Low { pool: name("healthid"), keys: 1 }, "🟡 **Health ID** runs low: 1 key with uses left"),
            (Alert::Dry { pool: name("my_pool") }, "🔴 **my\\_pool** is dry: no key has uses left"),
            (Alert::Recovered { pool: name("a"), keys: 9 }, "🟢 **a** has recovered: 9 keys with uses left"),
            (
                Alert::NoLongerDry { pool: name("a"), keys: 1 },
                "🟠 **a** is no longer dry, but low: 1 key with uses left",
            ),
            (
                Alert::Rejected { pool: name("a"), more: 1, now: 4 },
                "🚫 **a**: 1 more key was rejected by the provider (4 now)",
            ),
            (
                Alert::Wanted { pool: name("a"), more: 1, now: 3 },
                "🙋 **a**: 1 more key is wanted (3 now); who has one: keylend keys add --pool a --verify -",
            ),
            (Alert::Away { why: name("timed out") }, "⚠️ The API statistics cannot be had: timed out"),
            (Alert::Back, "✅ The API statistics are back"),
        ] {
            assert_eq!(text(&[alert]), expected);
        }
        for count in [1, 2, 20, 30, 40, 1000] {
            let alerts: Vec<Alert> = (0..count).map(|number| Alert::Dry { pool: format!("pool-{number}-*") }).collect();
            let text = text(&alerts);
            assert!(text.encode_utf16().count() <= 2000, "{count}");
            let lines: Vec<&str> = text.lines().collect();
            let rest = count - lines.iter().filter(|line| line.starts_with('🔴')).count();
            let expected = if rest == 0 { alert(&alerts[count - 1]) } else { format!("… and {rest} more") };
            assert_eq!(lines.last(), Some(&expected.as_str()), "{count}");
        }
    }
}
