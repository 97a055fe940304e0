//! `--porcelain`: a line a field, an empty line after each record, as in `git worktree list --porcelain`.

use super::fields::{Fields, items};
use crate::session::text::escape_bytes;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By a newline; values are escaped.
    Newline,
    /// By NUL; values are as they are.
    Nul,
}

/// Writes one record.
pub fn record(fields: &Fields, ending: Ending) -> Vec<u8> {
    let mut out = Vec::new();
    let end = match ending {
        Ending::Newline => b'\n',
        Ending::Nul => 0,
    };
    for (name, value) in fields {
        for value in items(value) {
            out.extend_from_slice(name.as_bytes());
            out.push(b' ');
            match ending {
                Ending::Newline => out.extend_from_slice(escape_bytes(&value).as_bytes()),
                Ending::Nul => out.extend(value.into_iter().filter(|byte| *byte != 0)),
            }
            out.push(end);
        }
    }
    out.push(end);
    out
}
