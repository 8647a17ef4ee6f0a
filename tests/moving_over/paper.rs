//! Part one of the paper on moving over, typed in a folder that the older server left.

use std::path::Path;

use crate::old_folder::{OldFolder, get};
use crate::place::Place;
use crate::program::output;
use crate::typed;

const PART_ONE: &str = "## Part one";

#[test]
fn the_lines_of_part_one_do_what_it_says() {
    let folder = OldFolder::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    folder.write(".env", &folder.read(".env").replace("5000", &port.to_string()));
    let programs = Path::new(env!("CARGO_BIN_EXE_keylend")).parent().unwrap();
    let blocks = typed::blocks(typed::part(PART_ONE));
    let complained = typed::type_lines(&blocks, folder.0.path(), programs, port, |text| text.trim_end().to_owned());
    assert!(complained.contains("plantid.txt: 3 keys"), "{complained}");
}

on_both_stores!(the_settings_of_part_one_are_understood,);

async fn the_settings_of_part_one_are_understood(place: Place) {
    let folder = OldFolder::new();
    let blocks = typed::blocks(typed::part(PART_ONE));
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
    let is_open = |line: &str| line.split_whitespace().take(2).eq(["KEYLEND_OPEN_FLASK", "true"]);
    assert!(said.contains("0.0.0.0:5000") && said.lines().any(is_open), "{said}");
}
