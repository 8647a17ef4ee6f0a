//! What commands print: data on stdout, complaints on stderr.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use super::Failure;
use crate::domain::State;
use crate::telemetry;

/// One line for the person at the terminal.
pub(super) fn complain(text: &str) {
    complain_as("keylend", text);
}

/// One line for the person at the terminal, from this program.
pub fn complain_as(program: &str, text: &str) {
    let _ = writeln!(io::stderr(), "{program}: {text}");
}

/// Data for the next program or the person. A reader who has left is no failure.
///
/// # Errors
/// Where it cannot be written.
pub fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// One value as JSON.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&serde_json::to_string(value).map_err(|error| Failure::Failed(error.to_string()))?)
}

/// Rows under headings, as wide as the terminal; unbroken where the output is not one.
///
/// # Errors
/// As [`print()`].
pub fn print_table(headings: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let mut table = table();
    table.set_header(headings.to_vec());
    table.add_rows(rows.into_iter().map(|row| row.into_iter().map(cell).collect::<Vec<_>>()));
    print(&table.trim_fmt())
}

/// Names with their values, one below the other.
///
/// # Errors
/// As [`print()`].
pub fn print_pairs(pairs: Vec<(&str, String)>) -> Result<(), Failure> {
    let mut table = table();
    table.add_rows(pairs.into_iter().map(|(name, value)| [Cell::new(name), cell(value)]));
    print(&table.trim_fmt())
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    // On a terminal alone; that is looked at by the table itself.
    if telemetry::no_color() {
        table.force_no_tty();
    }
    table
}

/// A value; the word of a state has its colour.
fn cell(value: String) -> Cell {
    let colour = State::ALL.into_iter().find(|state| state.as_str() == value).map(|state| match state {
        State::Usable => Color::Green,
        State::Leased | State::Resting => Color::Yellow,
        State::Spent | State::Disabled => Color::DarkGrey,
        State::Invalid => Color::Red,
    });
    match colour {
        Some(colour) => Cell::new(value).fg(colour),
        None => Cell::new(value),
    }
}

/// A value that may be missing.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
