//! What an interrupt of a followed session does: `session.interrupt`.

use super::error::{Error, Result};
use super::workspace::Workspace;

/// What becomes of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// It is terminated as stopped.
    Stop,
    Suspend,
    /// It goes on in the background.
    Detach,
}

impl Interrupt {
    /// Reads `session.interrupt`; `stop` where nothing is said.
    pub fn configured(ws: &Workspace) -> Result<Interrupt> {
        match ws.repo.config("session.interrupt").as_deref() {
            None | Some("stop") => Ok(Interrupt::Stop),
            Some("suspend") => Ok(Interrupt::Suspend),
            Some("detach") => Ok(Interrupt::Detach),
            Some(other) => Err(Error::Option {
                option: "session.interrupt".to_owned(),
                why: format!("'{other}' is not stop, suspend or detach"),
            }),
        }
    }
}
