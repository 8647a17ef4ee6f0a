//! Settings as a user meets them.

use crate::bot::{is_clean, output};
use crate::discord::TOKEN;

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
