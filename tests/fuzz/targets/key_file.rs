//! Key files, one key a line, as the older Flask server's people leave them.

use std::collections::BTreeSet;
use std::io::BufReader;

use keylend::domain::Secret;
use keylend::domain::secret::{InvalidSecret, MAX_LEN};
use keylend::key_files::read::{KeyFile, parse};

use super::{assert_secret, assert_untold, lines, written_out};

/// How many lines are told of that are no keys.
const TOLD: usize = 20;

/// A key file says what its lines say one by one, however it is read, and is written and read again to the same.
pub fn key_file(input: &[u8]) {
    let text = written_out(input);
    let file = read(&text, 8192);
    let seen = seen(&file, &text);
    assert_eq!(seen, self::seen(&read(&text, 7), &text), "it depends on how it comes");
    assert_eq!(seen, expected(&text));
    for (fingerprint, secret) in &file.keys {
        assert_secret(secret);
        assert_eq!(*fingerprint, secret.fingerprint());
    }
    assert_eq!(file.invalid.len() as u64, file.invalid_lines.min(TOLD as u64));
    file.invalid.iter().for_each(|(_, reason)| assert_untold(&reason.to_string()));
    assert_untold(&format!("{file:?}"));
    let written: String = file.keys.iter().map(|(_, secret)| format!("{}\n", secret.expose())).collect();
    let again = read(written.as_bytes(), 8192);
    assert_eq!((again.invalid_lines, again.repeated, again.is_open), (0, 0, false));
    assert_eq!(self::seen(&again, written.as_bytes()).keys, seen.keys);
}

fn read(text: &[u8], piece: usize) -> KeyFile {
    parse(BufReader::with_capacity(piece, text)).expect("memory can be read")
}

#[derive(Debug, Default, PartialEq)]
struct Seen {
    keys: Vec<String>,
    /// A line that is too long is called so, whatever else is in it: no more of it is read than shows that.
    invalid: Vec<(u64, InvalidSecret)>,
    invalid_lines: u64,
    repeated: u64,
    is_open: bool,
}

fn seen(file: &KeyFile, text: &[u8]) -> Seen {
    let long: BTreeSet<u64> = lines(text).filter(|(_, line, _)| line.len() > MAX_LEN).map(|(n, ..)| n).collect();
    let reason = |(number, reason)| (number, if long.contains(&number) { InvalidSecret::TooLong } else { reason });
    Seen {
        keys: file.keys.iter().map(|(_, secret)| secret.expose().to_owned()).collect(),
        invalid: file.invalid.iter().copied().map(reason).collect(),
        invalid_lines: file.invalid_lines,
        repeated: file.repeated,
        is_open: file.is_open,
    }
}

/// The same by the words of the documents, from the whole text at once.
fn expected(text: &[u8]) -> Seen {
    let mut expected = Seen::default();
    for (number, line, has_end) in lines(text) {
        expected.is_open = !has_end;
        match std::str::from_utf8(line).map_err(|_| InvalidSecret::NotVisibleAscii).and_then(Secret::parse) {
            Ok(secret) if expected.keys.iter().any(|key| key == secret.expose()) => expected.repeated += 1,
            Ok(secret) => expected.keys.push(secret.expose().to_owned()),
            Err(reason) => {
                expected.invalid_lines += 1;
                if expected.invalid.len() < TOLD {
                    expected.invalid.push((number, told(line).unwrap_or(reason)));
                }
            }
        }
    }
    expected
}

/// What a line that is too long is called.
fn told(line: &[u8]) -> Option<InvalidSecret> {
    (line.len() > MAX_LEN).then_some(InvalidSecret::TooLong)
}
