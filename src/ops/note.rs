//! `note`: adds a line to a session's log, whatever its state; nothing is stopped for it.

use super::error::Result;
use super::record::record;
use super::workspace::Workspace;
use crate::session::{Kind, SessionId};
use crate::store::Session;

/// Writes a note.
pub fn note(ws: &mut Workspace, id: &SessionId, text: &str) -> Result<Session> {
    ws.prepare_files()?;
    record(ws, id, Kind::Note, |event| event.note = Some(text.to_owned()))
}
