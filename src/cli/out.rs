//! The two streams: data on stdout, speech on stderr.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::Failure;
use crate::git::Repo;
use crate::ops::Error;
use crate::render::paint::Paint;
use crate::render::{harmless, is_deceptive};

/// Writes data. A reader that has gone away is no error: it has read what it wanted.
pub fn data(bytes: &[u8]) {
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        std::process::exit(unwritten(error).say());
    }
}

/// What data that could not be written is told as.
pub fn unwritten(error: io::Error) -> Failure {
    Failure::from(Error::io("cannot write to stdout")(error))
}

/// Writes a line for a person.
pub fn say(line: &str) {
    // There is nobody left to tell if this fails.
    let _ = writeln!(io::stderr().lock(), "{}", harmless(line));
}

/// Writes a question, whose answer is typed after it.
pub fn ask(question: &str) {
    // As above.
    let _ = write!(io::stderr().lock(), "{}", harmless(question));
}

/// Writes a JSON value as data, on one line. What speaks to a terminal, which JSON may hold, is written as its number.
pub fn json(value: &serde_json::Value) {
    let text = value.to_string();
    let mut line = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match is_deceptive(c) || c == '\u{7f}' {
            true => line.extend(
                c.encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}")),
            ),
            false => line.push(c),
        }
    }
    line.push('\n');
    data(line.as_bytes());
}

/// Whether stdout is to be coloured: on a terminal that can, unless `NO_COLOR` or git's own setting says no.
pub fn paint(repo: &Repo) -> Paint {
    let unwanted =
        repo.config_bool("color.ui") == Some(false) || repo.config("color.ui").as_deref() == Some("never");
    let wanted = !unwanted
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        && io::stdout().is_terminal();
    if wanted { Paint::On } else { Paint::Off }
}

/// The terminal's width in characters. Where stdout is none, it is what `COLUMNS` says, as `watch` sets it for what it
/// shows; without that there is no limit.
pub fn width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        let columns = std::env::var("COLUMNS").ok()?.parse().ok()?;
        return (columns > 0).then_some(columns);
    }
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Whether progress can be shown: stderr is a terminal.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Shows what git, and through it a remote, says of progress; control characters that do more than that are left out.
pub fn progress(bytes: &[u8]) {
    let harmless = |c: &char| matches!(c, '\n' | '\r' | '\t') || !(c.is_control() || is_deceptive(*c));
    let shown: String = String::from_utf8_lossy(bytes).chars().filter(harmless).collect();
    // There is nobody left to tell if this fails.
    let _ = io::stderr().lock().write_all(shown.as_bytes());
}

static CLOSED: AtomicBool = AtomicBool::new(false);
static CUT_OFF: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes a piece of a stream that may be long; after the reader has gone, or where there is no more room, nothing more
/// is written.
pub fn stream(bytes: &[u8]) {
    if is_closed() {
        return;
    }
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        CLOSED.store(true, Ordering::Relaxed);
        if error.kind() != io::ErrorKind::BrokenPipe {
            *CUT_OFF.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}

/// Gives what cut a stream off whose reader was still there, once.
pub fn streamed() -> Result<(), Failure> {
    let error = CUT_OFF.lock().unwrap_or_else(PoisonError::into_inner).take();
    error.map_or(Ok(()), |error| Err(unwritten(error)))
}

/// Whether a stream can't be written any more.
pub fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}
