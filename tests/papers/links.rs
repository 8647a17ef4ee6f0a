//! Links lead somewhere: those to files and headings of the repository are followed, others are looked at only.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::{ROOT, papers};

/// What a paper has that can be linked to, and where it leads.
#[derive(Default)]
struct Paper {
    anchors: BTreeSet<String>,
    /// With their lines.
    links: Vec<(usize, String)>,
}

fn read(text: &str) -> Paper {
    let mut paper = Paper::default();
    let mut heading = None;
    let mut seen: HashMap<String, usize> = HashMap::new();
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    for (event, place) in Parser::new_ext(text, options).into_offset_iter() {
        let line = text[..place.start].lines().count().max(1);
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().unwrap());
                let times = seen.entry(slug.clone()).or_default();
                paper.anchors.insert(if *times == 0 { slug } else { format!("{slug}-{times}") });
                *times += 1;
            }
            Event::Text(text) | Event::Code(text) if heading.is_some() => heading.as_mut().unwrap().push_str(&text),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                paper.links.push((line, dest_url.into_string()));
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                paper.links.extend(attributes(&html, &["href", "src", "srcset"]).map(|link| (line, link.to_owned())));
                paper.anchors.extend(attributes(&html, &["id", "name"]).map(str::to_owned));
            }
            _ => {}
        }
    }
    paper
}

/// The anchor that forges give a heading.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The values of these attributes in a piece of HTML.
fn attributes<'a>(html: &'a str, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let after = names.iter().flat_map(move |name| {
        html.match_indices(name).filter_map(move |(at, _)| {
            let is_whole = html[..at].ends_with(|letter: char| letter.is_whitespace());
            html[at + name.len()..].strip_prefix("=\"").filter(|_| is_whole)
        })
    });
    after.filter_map(|after| after.split('"').next())
}

/// The path without `.` and `..`, None where it leads out of the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop().then_some(())?),
            Component::Normal(name) => normal.push(name),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

/// What is wrong with a link of a paper, if anything.
fn fault(link: &str, from: &Path, all: &HashMap<PathBuf, Paper>) -> Option<String> {
    if let Some((scheme, _)) = link.split_once("://") {
        let is_well_formed =
            reqwest::Url::parse(link).is_ok_and(|url| url.has_host()) && ["http", "https"].contains(&scheme);
        return (!is_well_formed).then(|| "it is no address on the web".to_owned());
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let beside = if file.is_empty() { from.to_owned() } else { from.parent().unwrap().join(file) };
    let Some(path) = normal(&beside) else { return Some("it leads out of the repository".to_owned()) };
    if !Path::new(ROOT).join(&path).exists() {
        return Some(format!("there is no {}", path.display()));
    }
    let anchor = anchor?;
    let Some(paper) = all.get(&path) else { return Some("an anchor in what is no paper".to_owned()) };
    let is_there = paper.anchors.contains(anchor);
    (!is_there).then(|| format!("{} has no heading #{anchor}", path.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let all: HashMap<PathBuf, Paper> = papers().into_iter().map(|(path, text)| (path, read(&text))).collect();
    let mut wrong = Vec::new();
    let mut followed = 0;
    for (path, paper) in &all {
        for (line, link) in &paper.links {
            followed += 1;
            if let Some(fault) = fault(link, path, &all) {
                wrong.push(format!("{}, line {line}: {link}: {fault}", path.display()));
            }
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(followed > 50, "{followed} links in all papers");
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let paper = read(
        "# A `b` c.d: É_f\n\n# Twice\n\n## Twice\n\n<a name=\"own\"></a>\n\n[x](b.md \"t\") ![y](z.png) <https://h.example/>",
    );
    assert_eq!(paper.anchors, BTreeSet::from(["a-b-cd-é_f", "twice", "twice-1", "own"].map(str::to_owned)));
    assert_eq!(
        paper.links.iter().map(|(_, link)| link.as_str()).collect::<Vec<_>>(),
        ["b.md", "z.png", "https://h.example/"]
    );
    let all = HashMap::from([(PathBuf::from("docs/keys.md"), paper)]);
    for (link, is_good) in [
        ("#twice-1", true),
        ("#twice-2", false),
        ("keys.md#own", true),
        ("../docs/keys.md", true),
        ("../README.md", true),
        ("no.md", false),
        ("../../etc/passwd", false),
        ("/docs/keys.md", false),
        ("../Cargo.toml#a", false),
        ("https://keys.example/a#b", true),
        ("https://", false),
        ("ftp://keys.example/", false),
    ] {
        assert_eq!(fault(link, Path::new("docs/keys.md"), &all).is_none(), is_good, "{link}");
    }
}

#[test]
fn the_index_leads_to_every_paper() {
    let (index, all) = (Path::new("docs/README.md"), papers());
    let text = &all.iter().find(|(path, _)| path == index).unwrap().1;
    let links: Vec<String> = read(text).links.into_iter().map(|(_, link)| link).collect();
    let beside = all.iter().filter(|(path, _)| path.parent() == Some(Path::new("docs")) && path != index);
    let names = beside.map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned());
    let missing: Vec<String> = names.filter(|name| !links.contains(name)).collect();
    assert!(missing.is_empty(), "docs/README.md does not lead to {missing:?}");
}
