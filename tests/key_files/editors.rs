//! The ways in which editors and scripts write a file.

use std::fs;

use crate::folder::{Folder, Instance, is_withdrawn};
use crate::place::Place;

on_both_stores!(every_way_of_writing_is_followed,);

type Way = (&'static str, fn(&Folder, &str));

const WAYS: [Way; 7] = [
    ("in its place", |folder, text| folder.write(text)),
    ("emptied, then written", |folder, text| {
        folder.write("");
        folder.write(text);
    }),
    ("another file put in its place", |folder, text| {
        fs::write(folder.path("plantid.txt.new"), text).unwrap();
        fs::rename(folder.path("plantid.txt.new"), folder.keys()).unwrap();
    }),
    ("moved away, then written", |folder, text| {
        fs::rename(folder.keys(), folder.path("plantid.txt~")).unwrap();
        folder.write(text);
    }),
    ("removed, then made", |folder, text| {
        fs::remove_file(folder.keys()).unwrap();
        folder.write(text);
    }),
    ("a link put in its place", |folder, text| {
        let real = folder.path("real.txt");
        fs::write(&real, text).unwrap();
        fs::remove_file(folder.keys()).unwrap();
        std::os::unix::fs::symlink(real, folder.keys()).unwrap();
    }),
    ("what the link names, in its place", |folder, text| folder.write(text)),
];

async fn every_way_of_writing_is_followed(place: Place) {
    let folder = Folder::with("sk-first\n");
    let instance = Instance::start(&place, &folder).await;
    let mut lines = vec!["sk-first".to_owned()];
    for (number, (way, write)) in WAYS.into_iter().enumerate() {
        lines.push(format!("sk-{number}"));
        write(&folder, &(lines.join("\n") + "\n"));
        instance.until_active(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert!(!instance.records().await.iter().any(is_withdrawn), "{way}");
    }
    // And a line is taken out in each.
    for (number, (_, write)) in WAYS.into_iter().enumerate().take(3) {
        lines.retain(|line| *line != format!("sk-{number}"));
        write(&folder, &(lines.join("\n") + "\n"));
        instance.until_active(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
    instance.stop().await;
}
