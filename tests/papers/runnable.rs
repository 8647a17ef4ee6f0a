//! Each block that can be typed has a mark behind its language, which no reader of the page sees: `run`; or `not run:`
//! and why. The blocks to run are typed here, all of a paper in one shell, in an empty folder.
//!
//! `run on mongodb` and `run with python` need a MongoDB, and the Python of the client's tests; `run beside keylend` needs
//! a server, which is then started before the first block.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread;

use tempfile::TempDir;

use crate::database::TestDatabase;
use crate::typed::{self, Block, Desk, alike, blocks};
use crate::{ROOT, papers};

// Makes cargo build the tests anew when the variable comes or goes: test-with looks at it while they are built.
const _: Option<&str> = option_env!("KEYLEND_TEST_PYTHON");

/// Papers of which every block is typed elsewhere, each with documents or a folder of its own.
const TYPED_ELSEWHERE: [&str; 2] = ["docs/api.md", "docs/moving-over.md"];

/// The addresses that papers speak of; each gets a port of its own.
const ADDRESSES: [&str; 2] = ["127.0.0.1:5000", "127.0.0.1:5001"];

/// The database that papers speak of.
const DATABASE: &str = "mongodb://127.0.0.1:27017/keylend";

const BESIDE: &str =
    "keylend 2> beside.log &\nuntil curl -sf http://127.0.0.1:5000/readyz > beside.json; do sleep 0.1; done\n";

/// What there is to run blocks with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum With {
    /// The program and its embedded store.
    Nothing,
    MongoDb,
    Python,
}

impl With {
    /// The further mark of blocks that need it.
    fn mark(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::MongoDb => Some("run on mongodb"),
            Self::Python => Some("run with python"),
        }
    }

    fn can_run(self, block: &Block) -> bool {
        ["run", "run beside keylend"].contains(&block.mark.as_str()) || self.mark() == Some(&block.mark)
    }
}

/// Types the blocks of all papers that have such as need it, each paper in a folder of its own, all at once.
fn type_all(with: With) {
    let papers = papers();
    let mut count = 0;
    thread::scope(|scope| {
        let mut typed = Vec::new();
        for (path, text) in &papers {
            let (name, blocks) = (path.display().to_string(), blocks(text));
            let wants = |block: &Block| with.mark().map_or(with.can_run(block), |mark| block.mark == mark);
            if !TYPED_ELSEWHERE.contains(&name.as_str()) && blocks.iter().any(wants) {
                typed.push(scope.spawn(move || type_paper(&name, blocks, with)));
            }
        }
        count = typed.len();
        let failed: Vec<String> = typed.into_iter().filter_map(|paper| paper.join().err().map(told)).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    });
    assert!(count > 0, "no paper has such blocks");
}

fn told(panic: Box<dyn std::any::Any + Send>) -> String {
    panic.downcast::<String>().map_or_else(|_| "a paper failed without a word".to_owned(), |text| *text)
}

fn type_paper(name: &str, mut blocks: Vec<Block>, with: With) {
    let folder = TempDir::new().unwrap();
    // All of them are bound before one is free again, so that no two are the same.
    let sockets = ADDRESSES.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = sockets.each_ref().map(|socket| socket.local_addr().unwrap().port());
    drop(sockets);
    let mut in_place_of: Vec<_> =
        ADDRESSES.into_iter().zip(ports).map(|(said, port)| (said, format!("127.0.0.1:{port}"))).collect();
    let database = (with == With::MongoDb).then(TestDatabase::new);
    if let Some(database) = &database {
        in_place_of.push((DATABASE, inside(&database.uri, &database.name)));
    }
    // Those who type in a checkout have the client at hand. pip is kept from the network and from the Python of others.
    symlink(Path::new(ROOT).join("clients"), folder.path().join("clients")).unwrap();
    let installed = folder.path().join("installed").display().to_string();
    let environment = [
        ("FLASK_RUN_PORT", ports[0].to_string()),
        ("KEYLEND_URL", format!("http://127.0.0.1:{}", ports[0])),
        ("PIP_NO_INDEX", "1".to_owned()),
        ("PIP_NO_DEPS", "1".to_owned()),
        // So it is said that the build takes what is installed.
        ("PIP_NO_BUILD_ISOLATION", "0".to_owned()),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1".to_owned()),
        ("PIP_TARGET", installed.clone()),
        ("PYTHONPATH", installed),
    ];
    let python = std::env::var("KEYLEND_TEST_PYTHON").ok().filter(|_| with == With::Python);
    let mut programs = vec![Path::new(env!("CARGO_BIN_EXE_keylend")).parent().unwrap()];
    programs.extend(python.as_deref().map(Path::new));
    if let Some(first) = blocks.iter_mut().find(|block| block.mark == "run beside keylend") {
        first.text.insert_str(0, BESIDE);
    }
    let desk = Desk {
        paper: name,
        folder: folder.path(),
        programs: &programs,
        environment: &environment,
        in_place_of: &in_place_of,
    };
    let tidy = |text: &str| alike(text).lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    desk.type_lines(&blocks, |block| with.can_run(block), tidy);
}

/// The URI with a database of that name.
fn inside(uri: &str, name: &str) -> String {
    let (hosts, options) = uri.split_once('?').unwrap_or((uri, ""));
    let hosts = hosts.trim_end_matches('/');
    let hosts = hosts.rsplit_once('/').map_or(hosts, |(before, _)| if before.ends_with('/') { hosts } else { before });
    format!("{hosts}/{name}?{options}")
}

#[test]
fn the_lines_of_the_papers_do_what_they_say() {
    type_all(With::Nothing);
}

#[test_with::env(KEYLEND_TEST_MONGODB_URI)]
#[test]
fn the_lines_about_mongodb_do_what_they_say() {
    type_all(With::MongoDb);
}

#[test_with::env(KEYLEND_TEST_PYTHON)]
#[test]
fn the_lines_in_python_do_what_they_say() {
    type_all(With::Python);
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let mut wrong = Vec::new();
    for (path, text) in papers() {
        let name = path.display().to_string();
        if TYPED_ELSEWHERE.contains(&name.as_str()) {
            continue;
        }
        for block in blocks(&text) {
            let Block { language, mark, line, .. } = &block;
            let is_run = [With::Nothing, With::MongoDb, With::Python].iter().any(|with| with.can_run(&block));
            let reason = mark.strip_prefix("not run:").is_some_and(|reason| !reason.trim().is_empty());
            if ["bash", "shell", "console", "zsh"].contains(&language.as_str()) {
                wrong.push(format!("{name}, line {line}: a block of {language} is run by nobody: call it sh"));
            } else if language == "sh" && !is_run && !reason {
                wrong.push(format!("{name}, line {line}: write ```sh run, or ```sh not run: and why"));
            } else if !mark.is_empty() && !(typed::is_typed(&block) && (is_run || reason)) {
                wrong.push(format!("{name}, line {line}: there is no mark \"{mark}\" for {language}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
