//! What is left of a session that failed: its last output, what it changed, its last commit.

use gix::ObjectId;

use super::diff::{Difference, difference};
use super::error::{Error, Result};
use super::follow::{copy, recorded, tail, tail_start};
use super::workspace::Workspace;
use crate::store::Session;

/// How many lines of output are shown.
const LINES: usize = 10;
/// How many changed files are named.
const FILES: usize = 20;
/// The longest line that is kept, in bytes.
const LONGEST: usize = 2000;

/// The findings.
#[derive(Debug, Default)]
pub struct Autopsy {
    /// The last lines of output, oldest first; none where it is not here.
    pub output: Option<Vec<String>>,
    /// Lines of `git diff --stat` from the base to the work.
    pub changed: Vec<String>,
    /// The last commit that the session made: id and subject.
    pub last_commit: Option<String>,
}

/// Looks at a failed session; none for one that has not failed.
pub fn autopsy(ws: &Workspace, session: &Session) -> Result<Option<Autopsy>> {
    let summary = &session.event.summary;
    let lost = summary.reason.as_deref() == Some("lost");
    if !lost
        && !summary
            .outcome
            .as_ref()
            .is_some_and(|outcome| outcome.is_failure())
    {
        return Ok(None);
    }
    let mut autopsy = Autopsy {
        output: last_lines(ws, session)?,
        ..Autopsy::default()
    };
    if let Some(head) = summary.head.filter(|head| Some(*head) != summary.base) {
        autopsy.last_commit = subject(ws, head)?;
    }
    match difference(ws, session) {
        Ok(difference) if !difference.is_empty() => autopsy.changed = stat(ws, &difference)?,
        Ok(_) | Err(Error::Forgotten(_) | Error::WorkElsewhere { .. } | Error::Lacking { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(Some(autopsy))
}

fn last_lines(ws: &Workspace, session: &Session) -> Result<Option<Vec<String>>> {
    let path = ws.run_dir(session.id()).output();
    let mut bytes = Vec::new();
    if path.exists() {
        copy(&path, tail_start(&path, LINES)?, &mut |piece: &[u8]| {
            // A line without an end must not fill the memory; its end is what matters.
            bytes.extend_from_slice(piece);
            shorten(&mut bytes);
        })?;
    } else {
        // Where the session ran elsewhere, there is what was recorded.
        let Some(all) = recorded(ws, session)? else {
            return Ok(None);
        };
        bytes.extend_from_slice(tail(&all, LINES));
        shorten(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Some(text.lines().map(str::to_owned).collect()))
}

fn shorten(bytes: &mut Vec<u8>) {
    let excess = bytes.len().saturating_sub(LINES * LONGEST);
    bytes.drain(..excess);
}

fn subject(ws: &Workspace, commit: ObjectId) -> Result<Option<String>> {
    let object = ws.repo.gix().try_find_object(commit).ok().flatten();
    let Some(Ok(commit)) = object.map(|object| object.try_into_commit()) else {
        return Ok(None);
    };
    let hex = commit.id.to_hex_with_len(12).to_string();
    let subject = commit.message_raw_sloppy().to_string();
    Ok(Some(format!(
        "{hex} {}",
        subject.lines().next().unwrap_or_default()
    )))
}

fn stat(ws: &Workspace, difference: &Difference) -> Result<Vec<String>> {
    let count = format!("--stat-count={FILES}");
    let summary = difference.summary(ws, &["--no-color", "--stat=72", &count])?;
    let summary = summary.unwrap_or_else(|| "too many files to be counted".to_owned());
    Ok(summary.lines().map(|line| line.trim().to_owned()).collect())
}
