//! The paper itself: its lines are typed in a folder that the older server left, and its outputs are compared.

use std::process::{Command, Stdio};

use crate::old_folder::{OldFolder, get};
use crate::place::Place;
use crate::program::output;

const PAPER: &str = include_str!("../../docs/moving-over.md");

/// The part of the paper that these tests type.
fn part_one() -> &'static str {
    let start = PAPER.find("## Part one").unwrap();
    let end = PAPER.find("## Part two").unwrap_or(PAPER.len());
    &PAPER[start..end]
}

/// The blocks of a part with their languages, in their order.
fn blocks(part: &str) -> Vec<(&str, &str)> {
    let mut blocks = Vec::new();
    let mut rest = part;
    while let Some(start) = rest.find("```") {
        let (language, after) = rest[start + 3..].split_once('\n').unwrap();
        let end = after.find("```").unwrap();
        blocks.push((language, &after[..end]));
        rest = &after[end + 3..];
    }
    blocks
}

/// What stands between the outputs of two blocks.
const NEXT: &str = "=== the next block ===";

#[test]
fn the_lines_of_part_one_do_what_it_says() {
    let folder = OldFolder::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    folder.write(".env", &folder.read(".env").replace("5000", &port));
    let blocks = blocks(part_one());
    let typed: Vec<&str> = blocks.iter().filter(|(language, _)| *language == "sh").map(|(_, text)| *text).collect();
    assert!(typed.len() > 8);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_keylend")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    // Whatever becomes of the lines, what they started is stopped.
    let lines =
        format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", typed.join(&format!("echo; echo '{NEXT}'\n")));
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &lines.replace("127.0.0.1:5000", &format!("127.0.0.1:{port}"))]);
    shell.current_dir(folder.0.path()).env_clear().env("PATH", path);
    // Files, not pipes: a server that outlived the lines would keep a pipe open.
    let (out, err) = (folder.path("typed.out"), folder.path("typed.err"));
    let file = |path| Stdio::from(std::fs::File::create(path).unwrap());
    let status = shell.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err)).status().unwrap();
    let (said, complained) = (folder.read("typed.out"), folder.read("typed.err"));
    assert!(status.success(), "{status}: {said}\n{complained}");

    let between = format!("{NEXT}\n");
    let mut outputs = said.split(between.as_str());
    let mut last = "";
    for (language, text) in &blocks {
        match *language {
            "sh" => last = outputs.next().unwrap(),
            "text" => assert_eq!(last.trim_end(), text.trim_end()),
            _ => {}
        }
    }
    assert!(complained.contains("plantid.txt: 3 keys"), "{complained}");
}

on_both_stores!(the_settings_of_part_one_are_understood,);

async fn the_settings_of_part_one_are_understood(place: Place) {
    let folder = OldFolder::new();
    let blocks = blocks(part_one());
    let of = |wanted: &str| blocks.iter().find(|(language, _)| *language == wanted).unwrap().1;
    folder.write("keylend.toml", of("toml"));
    let program = folder.serve(&place);
    let stats = get(&format!("{}/api/stats", program.url)).await;
    assert_eq!(stats["pools"][2]["uses_per_key"], 2);
    program.terminate();

    let token = output(folder.keylend(&place, &["token", "new", "desk", "--role", "admin", "--json"]), "");
    let token: serde_json::Value = serde_json::from_slice(&token.stdout).unwrap();
    let entry = token["entry"].as_str().unwrap();
    folder.write(".env", &of("ini").replace("...", entry));
    let checked = output(folder.keylend(&place, &["check"]), "");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(said.contains("0.0.0.0:5000") && said.contains("KEYLEND_OPEN_FLASK     true"), "{said}");
}
