//! Part one of the paper on moving over, typed in a folder that the older server left.

use std::path::Path;

use crate::old_folder::{OldFolder, get};
use crate::place::Place;
use crate::program::output;
use crate::typed::{self, Desk};

const PAPER: &str = include_str!("../../docs/moving-over.md");

const PART_ONE: &str = "## Part one";

#[test]
fn the_lines_of_part_one_do_what_it_says() {
    let folder = OldFolder::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    folder.write(".env", &folder.read(".env").replace("5000", &port.to_string()));
    let programs = Path::new(env!("CARGO_BIN_EXE_keylend")).parent().unwrap();
    let in_place_of = [("127.0.0.1:5000", format!("127.0.0.1:{port}"))];
    let desk = Desk {
        paper: "docs/moving-over.md",
        folder: folder.0.path(),
        programs: &[programs],
        environment: &[],
        in_place_of: &in_place_of,
    };
    let blocks = typed::part(PAPER, PART_ONE);
    let complained = desk.type_lines(&blocks, typed::is_typed, |text| text.trim_end().to_owned());
    assert!(complained.contains("plantid.txt: 3 keys"), "{complained}");
}

on_both_stores!(the_settings_of_part_one_are_understood,);

async fn the_settings_of_part_one_are_understood(place: Place) {
    let folder = OldFolder::new();
    let blocks = typed::part(PAPER, PART_ONE);
    let of = |wanted: &str| blocks.iter().find(|block| block.language == wanted).unwrap().text.as_str();
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
    for (setting, value) in [("KEYLEND_LISTEN", "0.0.0.0:5000"), ("KEYLEND_OPEN_FLASK", "true")] {
        let shown = |line: &str| line.split_whitespace().take(2).eq([setting, value]);
        assert!(said.lines().any(shown), "{said}");
    }
}
