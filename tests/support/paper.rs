//! Papers: their lines are typed in a folder, and what they print is compared with what they say.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};

/// The longest that all lines of a paper may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What stands before the output of a block, and then the line of the paper at which the block begins.
const NEXT: &str = "=== the block of line ";

/// A block of code.
#[derive(Clone, Debug)]
pub struct Block {
    /// The first word after the fence.
    pub language: String,
    /// What stands behind it, such as `run`: no reader of the page sees it.
    pub mark: String,
    pub text: String,
    /// The line of the paper at which it begins.
    pub line: usize,
}

/// The fenced blocks of a paper, in their order.
pub fn blocks(paper: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    for (event, place) in Parser::new(paper).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                let (language, mark) = info.split_once(' ').unwrap_or((&info, ""));
                let line = paper[..place.start].lines().count() + 1;
                let (language, mark) = (language.to_owned(), mark.trim().to_owned());
                blocks.push(Block { language, mark, text: String::new(), line });
                is_inside = true;
            }
            Event::Text(text) if is_inside => blocks.last_mut().unwrap().text.push_str(&text),
            Event::End(_) => is_inside = false,
            _ => {}
        }
    }
    blocks
}

/// The blocks of a part of a paper, from its heading to that of the next part.
pub fn part(paper: &str, heading: &str) -> Vec<Block> {
    let line = |place: usize| paper[..place].lines().count() + 1;
    let start = paper.find(heading).unwrap();
    let end = paper[start + heading.len()..].find("\n## Part ").map_or(paper.len(), |end| start + heading.len() + end);
    let part = line(start)..=line(end);
    blocks(paper).into_iter().filter(|block| part.contains(&block.line)).collect()
}

/// Whether a block of any paper can be typed.
pub fn is_typed(block: &Block) -> bool {
    matches!(block.language.as_str(), "sh" | "python")
}

/// Where lines are typed, and how.
pub struct Desk<'a> {
    /// The paper's name.
    pub paper: &'a str,
    pub folder: &'a Path,
    /// First in the PATH.
    pub programs: &'a [&'a Path],
    /// What the lines find in their environment beside the PATH.
    pub environment: &'a [(&'a str, String)],
    /// What the paper says, and what is typed in its place: addresses.
    pub in_place_of: &'a [(&'a str, String)],
}

impl Desk<'_> {
    /// Types the wanted `sh` blocks one after the other in one shell, and the `python` blocks each into a Python of its
    /// own, and compares the output of each with the `text` block after it; `tidy` makes both alike. Answers what came
    /// on stderr.
    pub fn type_lines(
        &self,
        blocks: &[Block],
        is_wanted: impl Fn(&Block) -> bool,
        tidy: impl Fn(&str) -> String,
    ) -> String {
        // Whatever becomes of the lines, what they started is stopped.
        let mut lines = "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n".to_owned();
        let mut wanted = Vec::new();
        for (at, block) in blocks.iter().enumerate().filter(|(_, block)| is_typed(block) && is_wanted(block)) {
            let text = match block.language.as_str() {
                "python" => format!("PYTHONDONTWRITEBYTECODE=1 python3 - <<'PYTHON'\n{}PYTHON\n", block.text),
                _ => block.text.clone(),
            };
            lines += &format!("echo; echo '{NEXT}{}'\n{text}", block.line);
            wanted.push((at, block));
        }
        assert!(!wanted.is_empty(), "{}: there is nothing to type", self.paper);
        let (said, complained) = self.run(&self.here(&lines));
        for (at, block) in wanted {
            let mark = format!("{NEXT}{}\n", block.line);
            let printed = said.split(&mark).nth(1).unwrap().split(&format!("\n{NEXT}")).next().unwrap();
            if let Some(expected) = blocks.get(at + 1).filter(|next| next.language == "text") {
                let (printed, expected) = (tidy(printed), tidy(&self.here(&expected.text)));
                let place = format!("{}, line {}", self.paper, block.line);
                assert!(printed == expected, "{place}: expected\n{expected}\nprinted\n{printed}\n{complained}");
            }
        }
        complained
    }

    /// The text with the addresses of this desk.
    fn here(&self, text: &str) -> String {
        self.in_place_of.iter().fold(text.to_owned(), |text, (said, typed)| text.replace(said, typed))
    }

    fn run(&self, lines: &str) -> (String, String) {
        let path = std::env::var("PATH").unwrap();
        let path = self.programs.iter().map(|folder| folder.display().to_string()).chain([path]);
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", lines]).current_dir(self.folder).env_clear().stdin(Stdio::null());
        shell.env("PATH", path.collect::<Vec<_>>().join(":"));
        shell.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // Files, not pipes: a server that outlived the lines would keep a pipe open.
        let (out, err) = (self.folder.join("typed.out"), self.folder.join("typed.err"));
        shell.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        // A group of its own, so that lines that hang are stopped with all that they started.
        let mut shell = shell.process_group(0).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = shell.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() > deadline {
                let _ = Command::new("kill").args(["-s", "KILL", "--", &format!("-{}", shell.id())]).status();
                let _ = shell.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (said, complained) = (fs::read_to_string(out).unwrap(), fs::read_to_string(err).unwrap());
        let outcome = status.map_or(format!("not done after {PATIENCE:?}"), |status| status.to_string());
        let (line, printed) = said.rsplit_once(NEXT).unwrap_or_default().1.split_once('\n').unwrap_or_default();
        let is_done = status.is_some_and(|status| status.success());
        assert!(is_done, "{}, line {line}: {outcome}; it printed\n{printed}\n{complained}", self.paper);
        (said, complained)
    }
}

/// What differs from run to run, alike: ids of keys and leases, digests, tokens, and instants.
pub fn alike(text: &str) -> String {
    let mut alike = String::new();
    let mut rest = text.trim_end();
    while let Some(first) = rest.chars().next() {
        let digits = rest.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(rest.len());
        let is_instant = rest.len() >= 24 && rest.as_bytes()[10] == b'T' && rest.as_bytes()[23] == b'Z';
        let token = rest.strip_prefix("klt_").map_or(0, |rest| {
            4 + rest
                .find(|letter: char| !letter.is_ascii_alphanumeric() && !"-_".contains(letter))
                .unwrap_or(rest.len())
        });
        let (shown, length) = match digits {
            _ if token > 0 => ('~', token),
            24 | 32 | 64 => ('~', digits),
            4 if is_instant => ('~', 24),
            _ => (first, first.len_utf8()),
        };
        alike.push(shown);
        rest = &rest[length..];
    }
    alike
}
