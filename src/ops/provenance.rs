//! Notes on their way between clones: which session made a commit, brought together line by line.
//!
//! They are derived and only ever added to, so nothing about them keeps a session from being sent or followed.

use gix::ObjectId;

use super::error::Result;
use super::files::make_private_dir;
use super::files::write_atomically;
use super::workspace::Workspace;
use crate::git::Durability;
use crate::git::notes;
use crate::git::objects;
use crate::git::remote::{Lease, Pushed, Remote, Update};
use crate::session::SessionId;
use crate::session::text::is_deceptive;
use crate::store::names::{NOTES, encode};

/// How often notes are merged and sent again because others came first.
const TRIES: usize = 5;
/// How long one line may be.
const LINE: usize = 4096;

/// What was not taken of a remote's notes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Brought {
    /// How many lines and files there are no notes of ours.
    pub left_out: usize,
    /// Why nothing was taken.
    pub set_aside: Option<String>,
}

/// Whether a remote's notes have to be fetched.
pub fn is_wanted(ws: &Workspace, remote: &Remote<'_>, there: Option<ObjectId>) -> Result<bool> {
    let Some(there) = there else { return Ok(false) };
    Ok(seen(ws, remote) != Some(there)
        && notes::tip(&ws.repo, NOTES)? != Some(there)
        && !objects::exists(&ws.repo, there))
}

/// Adds a remote's notes to ours, unless that was done before.
pub fn bring(ws: &Workspace, remote: &Remote<'_>, there: Option<ObjectId>) -> Result<Brought> {
    let before = seen(ws, remote);
    let Some(there) = there else {
        if before.is_some() {
            remember(ws, remote, None)?;
        }
        return Ok(Brought::default());
    };
    if before == Some(there) {
        return Ok(Brought::default());
    }
    Ok(match take(ws, remote, there) {
        Ok(left_out) => Brought {
            left_out,
            set_aside: None,
        },
        Err(error) => Brought {
            left_out: 0,
            set_aside: Some(error.to_string()),
        },
    })
}

fn take(ws: &Workspace, remote: &Remote<'_>, there: ObjectId) -> Result<usize> {
    // What can't be fetched is tried again; what can't be merged stays so.
    if !objects::exists(&ws.repo, there) {
        remote.fetch_objects(&[NOTES.to_owned()])?;
    }
    let signature = ws.sign()?.signature;
    let durability = ws.store().durability();
    let message = "notes of sessions, merged";
    let merged = notes::merge(&ws.repo, NOTES, there, is_line, &signature, message, durability);
    remember(ws, remote, Some(there))?;
    Ok(merged?)
}

/// Whether it is a line as this or a later version writes it: JSON that names a session, and nothing that a terminal
/// would take for anything but text.
fn is_line(line: &[u8]) -> bool {
    let steers = |line: &str| line.chars().any(|c| c.is_control() || is_deceptive(c));
    let names_session = |line: &str| {
        let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
        let id = value.as_ref().and_then(|value| value.get("session")?.as_str());
        id.is_some_and(|id| id.parse::<SessionId>().is_ok())
    };
    line.len() <= LINE && std::str::from_utf8(line).is_ok_and(|line| !steers(line) && names_session(line))
}

/// What is to be sent along: our notes, if the remote wasn't last seen with them.
pub fn to_send(ws: &Workspace, remote: &Remote<'_>) -> Result<Option<Update>> {
    let ours = notes::tip(&ws.repo, NOTES)?.filter(|ours| seen(ws, remote) != Some(*ours));
    Ok(ours.map(|ours| Update {
        name: NOTES.to_owned(),
        new: Some(ours),
        lease: Lease::FastForward,
    }))
}

/// Does what is left to do after our notes were sent; gives why the remote doesn't have them, if it doesn't.
pub fn settle(ws: &Workspace, remote: &Remote<'_>, sent: &Update, pushed: &Pushed) -> Option<String> {
    match pushed {
        Pushed::Done | Pushed::UpToDate => remember(ws, remote, sent.new)
            .err()
            .map(|error| error.to_string()),
        Pushed::Moved => catch_up(ws, remote).unwrap_or_else(|error| Some(error.to_string())),
        Pushed::Refused(why) => Some(why.clone()),
    }
}

/// Sends our notes alone, if the remote lacks them.
pub fn send(ws: &Workspace, remote: &Remote<'_>) -> Result<Option<String>> {
    let Some(update) = to_send(ws, remote)? else {
        return Ok(None);
    };
    let pushed = remote.push(std::slice::from_ref(&update))?;
    Ok(pushed
        .first()
        .and_then(|(_, pushed)| settle(ws, remote, &update, pushed)))
}

/// Brings the remote's notes, of which ours are no continuation, and sends both together.
fn catch_up(ws: &Workspace, remote: &Remote<'_>) -> Result<Option<String>> {
    for _ in 0..TRIES {
        let named = remote.names(&[NOTES])?;
        let there = named
            .iter()
            .find(|(name, _)| name == NOTES)
            .map(|(_, there)| *there);
        if let Some(why) = bring_again(ws, remote, there)? {
            return Ok(Some(why));
        }
        let Some(update) = to_send(ws, remote)? else {
            return Ok(None);
        };
        let pushed = remote.push(std::slice::from_ref(&update))?;
        match pushed.into_iter().next() {
            Some((_, Pushed::Done | Pushed::UpToDate)) => {
                remember(ws, remote, update.new)?;
                return Ok(None);
            }
            Some((_, Pushed::Refused(why))) => return Ok(Some(why)),
            Some((_, Pushed::Moved)) | None => {}
        }
    }
    Ok(Some("others write them all the time".to_owned()))
}

/// Merges even what was seen before; gives why that can't be.
fn bring_again(ws: &Workspace, remote: &Remote<'_>, there: Option<ObjectId>) -> Result<Option<String>> {
    let Some(there) = there else {
        remember(ws, remote, None)?;
        return Ok(None);
    };
    let merged = take(ws, remote, there);
    Ok(merged
        .err()
        .map(|error| format!("the remote's can't be merged: {error}")))
}

/// Where the remote's notes were when they were last seen; none also where that is not known.
fn seen(ws: &Workspace, remote: &Remote<'_>) -> Option<ObjectId> {
    let path = ws.repo.local_dir().join("notes").join(encode(remote.name()));
    let text = std::fs::read(path).ok()?;
    ObjectId::from_hex(text.trim_ascii()).ok()
}

fn remember(ws: &Workspace, remote: &Remote<'_>, tip: Option<ObjectId>) -> Result<()> {
    let name = encode(remote.name());
    // A remote that is a long URL has no name that a file could have; its notes are looked at each time.
    if name.len() > 200 {
        return Ok(());
    }
    let dir = ws.repo.local_dir().join("notes");
    make_private_dir(&dir)?;
    let text = tip.map(|tip| format!("{tip}\n")).unwrap_or_default();
    write_atomically(&dir.join(name), text.as_bytes(), Durability::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_that_names_a_session_in_plain_text_is_a_line() {
        for line in [
            r#"{"session":"a"}"#,
            r#"{"session":"fix-1","later":{"more":[1,"\u001b[1m"]}}"#,
        ] {
            assert!(is_line(line.as_bytes()), "{line}");
        }
        let long = format!(r#"{{"session":"a","x":"{}"}}"#, "x".repeat(LINE));
        for line in [
            "",
            "text",
            "{}",
            "[]",
            r#"{"session":1}"#,
            r#"{"session":"A B"}"#,
            "{\"session\":\"a\",\"x\":\"\u{9b}1m\"}",
            "{\"session\":\"a\",\"x\":\"\u{202e}\"}",
            "{\"session\":\"a\"}\r",
            long.as_str(),
        ] {
            assert!(!is_line(line.as_bytes()), "{line:?}");
        }
        assert!(!is_line(b"{\"session\":\"a\",\"x\":\"\xff\"}"));
    }
}
