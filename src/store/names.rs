//! Where a session's refs are.

use crate::session::{IdError, SessionId};

/// Logs: `refs/sessions/<id>`.
pub const SESSIONS: &str = "refs/sessions/";
/// Provenance.
pub const NOTES: &str = "refs/notes/sessions";
/// The prefix of branches that we name.
pub const BRANCHES: &str = "session/";

/// The ref of a session's log.
pub fn log(id: &SessionId) -> String {
    format!("{SESSIONS}{id}")
}

/// The session whose log a ref is.
///
/// # Errors
/// Refs elsewhere, nested ones and those with an illegal name.
pub fn session_of(refname: &str) -> Result<SessionId, IdError> {
    refname.strip_prefix(SESSIONS).unwrap_or(refname).parse()
}

/// The ref of a clone's work on a session.
pub fn work(id: &SessionId, clone: &str) -> String {
    format!("refs/session-work/{id}/{clone}")
}

/// The prefix of every clone's work on a session.
pub fn works(id: &SessionId) -> String {
    format!("refs/session-work/{id}/")
}

/// The short name of the branch that a session gets when none is asked for.
pub fn branch(id: &SessionId) -> String {
    format!("{BRANCHES}{id}")
}

/// The full name of a branch.
pub fn full_branch(short: &str) -> String {
    format!("refs/heads/{short}")
}
