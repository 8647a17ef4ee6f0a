//! Papers, such as that on moving over: their lines are typed in a folder, and what they print is compared with what
//! they say.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

const PAPER: &str = include_str!("../../docs/moving-over.md");

/// What stands between the outputs of two blocks.
const NEXT: &str = "=== the next block ===";

/// A part of the paper on moving over, from its heading to that of the next part.
pub fn part(heading: &str) -> &'static str {
    let part = &PAPER[PAPER.find(heading).unwrap()..];
    let end = part[heading.len()..].find("\n## Part ").map_or(part.len(), |end| heading.len() + end);
    &part[..end]
}

/// The blocks of a part with their languages, in their order.
pub fn blocks(part: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut pieces = part.split("```");
    let mut blocks = Vec::new();
    // Text and blocks take turns.
    while let (Some(_), Some(block)) = (pieces.next(), pieces.next()) {
        blocks.push(block.split_once('\n').unwrap());
    }
    blocks
}

/// Types the `sh` blocks one after the other in one shell, and the `python` blocks each into a Python of its own,
/// `programs` first in the PATH and keylend on this port, and compares the output of each with the `text` block after
/// it; `tidy` makes both alike. Answers what came on stderr.
pub fn type_lines(
    blocks: &[(&str, &str)],
    folder: &Path,
    programs: &Path,
    port: u16,
    tidy: impl Fn(&str) -> String,
) -> String {
    let typed = blocks.iter().filter_map(|(language, text)| match *language {
        "sh" => Some((*text).to_owned()),
        "python" => Some(format!("PYTHONDONTWRITEBYTECODE=1 python3 - <<'PYTHON'\n{text}PYTHON\n")),
        _ => None,
    });
    let typed: Vec<String> = typed.collect();
    assert!(typed.len() > 8);
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    // Whatever becomes of the lines, what they started is stopped.
    let lines =
        format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", typed.join(&format!("echo; echo '{NEXT}'\n")));
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &lines.replace("127.0.0.1:5000", &format!("127.0.0.1:{port}"))]);
    shell.current_dir(folder).env_clear().env("PATH", path).stdin(Stdio::null());
    // Files, not pipes: a server that outlived the lines would keep a pipe open.
    let (out, err) = (folder.join("typed.out"), folder.join("typed.err"));
    let status = shell.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).status().unwrap();
    let (said, complained) = (fs::read_to_string(out).unwrap(), fs::read_to_string(err).unwrap());
    assert!(status.success(), "{status}: {said}\n{complained}");
    let between = format!("{NEXT}\n");
    let mut outputs = said.split(between.as_str());
    let mut last = "";
    for (language, text) in blocks {
        match *language {
            "sh" | "python" => last = outputs.next().unwrap(),
            "text" => assert_eq!(tidy(last), tidy(text)),
            _ => {}
        }
    }
    complained
}
