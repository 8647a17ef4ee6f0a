//! Settings as a user meets them.

use std::time::{Duration, Instant};

use crate::bot::{Bot, is_clean, output};
use crate::discord::{Discord, TOKEN};
use crate::stats_server::StatsServer;
use crate::{PATIENCE, run};

fn said(settings: &[(&str, &str)], files: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let done = output(settings, files, arguments);
    let said = String::from_utf8(done.stderr).unwrap();
    is_clean(&said);
    (done.status.code(), said)
}

#[test]
fn the_fault_of_each_setting_is_told_in_each_place_and_ends_with_64() {
    /// No setting takes it.
    const WRONG: &str = "hush hush=[";
    for setting in [
        "STATS_API",
        "STATS_TOKEN",
        "DISCORD_BOT_TOKEN",
        "REFRESH_INTERVAL",
        "COMMAND_PREFIX",
        "ALERT_CHANNEL_ID",
        "ALERT_LOW",
        "DISCORD_API_BASE",
        "KEYLEND_BOT_LISTEN",
        "KEYLEND_LOG_FORMAT",
        "FLASK_DEBUG",
        "RUST_LOG",
    ] {
        let token = [("DISCORD_BOT_TOKEN", TOKEN)];
        let token = if setting == "DISCORD_BOT_TOKEN" { &[][..] } else { &token[..] };
        let variables: Vec<(&str, &str)> = token.iter().copied().chain([(setting, WRONG)]).collect();
        let dot_env = format!("{setting}='{WRONG}'\n");
        let in_file = format!("\n{} = '{WRONG}'\n", setting.trim_start_matches("KEYLEND_").to_lowercase());
        for (variables, files) in [
            (variables.as_slice(), vec![]),
            (token, vec![(".env", dot_env.as_str())]),
            (token, vec![("keylend.toml", in_file.as_str())]),
        ] {
            let (code, said) = said(variables, &files, &[]);
            assert_eq!(code, Some(64), "{setting} {files:?}: {said}");
            assert!(said.starts_with(&format!("keylend-bot: {setting}: ")) && !said.contains("hush"), "{said}");
            assert_eq!(said.lines().count(), 1, "{setting}: {said}");
        }
    }
}

#[test]
fn a_missing_token_and_a_placeholder_say_where_there_is_one() {
    let (code, missing) = said(&[], &[], &[]);
    assert_eq!(code, Some(64));
    assert!(missing.starts_with("keylend-bot: DISCORD_BOT_TOKEN: it is not set: the developer portal"), "{missing}");
    for placeholder in ["your_discord_bot_token_here", "YOUR.TOKEN.HERE", "xxx"] {
        let (code, said) = said(&[("DISCORD_BOT_TOKEN", placeholder)], &[], &[]);
        assert_eq!(code, Some(64));
        assert!(said.contains("it must be a bot's token") && said.contains("Reset Token"), "{said}");
        assert!(!said.contains(placeholder), "{said}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let settings = [("STATS_API", "x"), ("REFRESH_INTERVAL", "0"), ("LOG_FILE", "x.log")];
    let (code, said) = said(&settings, &[("keylend.toml", "listn = 1\n")], &["--config", "keylend.toml"]);
    assert_eq!((code, said.lines().count()), (Some(64), 4), "{said}");
}

#[test]
fn the_command_line_has_help_and_nothing_else() {
    let done = output(&[], &[], &["--help"]);
    let help = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && help.contains("Examples:") && help.contains("--config"), "{help}");
    assert_eq!(said(&[], &[], &["--token", "x"]).0, Some(64));
}

#[test]
fn a_log_file_that_was_moved_is_opened_anew_on_sighup() {
    run(async {
        let (discord, stats) = (Discord::start().await, StatsServer::flask(1, 1).await);
        let folder = tempfile::tempdir().unwrap();
        let settings = [("LOG_FILE", "bot.log"), ("KEYLEND_LOG_FORMAT", "json")];
        let bot = Bot::start_in(&folder, &discord, &stats.address, &settings);
        discord.until_watching().await;
        let (log, moved) = (folder.path().join("bot.log"), folder.path().join("bot.log.1"));
        std::fs::rename(&log, &moved).unwrap();
        bot.signal("HUP");
        let deadline = Instant::now() + PATIENCE;
        while !log.exists() {
            assert!(Instant::now() < deadline, "it is not opened anew");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bot.terminate();
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert!(read(&moved).contains("\"event\":\"started\"") && read(&log).contains("\"event\":\"stopped\""));
    });
}
