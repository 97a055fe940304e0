//! `--porcelain`: a line a field, an empty line after each record, as in `git worktree list --porcelain`.

use super::fields::{Fields, text};
use crate::session::text::escape;

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
        let values = match value {
            serde_json::Value::Array(items) if name != "command" => items.iter().map(text).collect(),
            value => vec![text(value)],
        };
        for value in values {
            out.extend_from_slice(name.as_bytes());
            out.push(b' ');
            match ending {
                Ending::Newline => out.extend_from_slice(escape(&value).as_bytes()),
                Ending::Nul => out.extend(value.bytes().filter(|byte| *byte != 0)),
            }
            out.push(end);
        }
    }
    out.push(end);
    out
}
