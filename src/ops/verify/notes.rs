//! Notes: lines of JSON that name the session which made a commit.

use std::collections::{BTreeMap, HashMap, HashSet};

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::{Finding, Here};
use crate::git::{self, notes, objects};
use crate::ops::workspace::Workspace;
use crate::session::SessionId;
use crate::store::names;

/// Checks that every line can be read, and that no session is said to have made what it began from.
///
/// A session that is not here may be another clone's, whose notes came along.
pub fn verify(ws: &Workspace, here: &Here, findings: &mut Vec<Finding>) {
    let bad = |message: String| Finding {
        id: None,
        seq: None,
        code: "notes",
        message: format!("{}: {message}", names::NOTES),
    };
    let all = match notes::all(&ws.repo, names::NOTES) {
        Ok(all) => all,
        Err(error) => return findings.push(bad(error.to_string())),
    };
    let bases: HashMap<&SessionId, ObjectId> = here
        .sessions
        .iter()
        .filter_map(|session| Some((session.id(), session.event.summary.base?)))
        .collect();
    let mut claims: BTreeMap<ObjectId, Vec<(ObjectId, SessionId)>> = BTreeMap::new();
    for (commit, note) in all {
        for line in note.lines().filter(|line| !line.trim().is_empty()) {
            match session_of(line) {
                None => findings.push(bad(format!(
                    "the note of {commit} has a line that names no session"
                ))),
                Some(id) => {
                    if let Some(base) = bases.get(&id)
                        && objects::exists(&ws.repo, commit)
                        && objects::exists(&ws.repo, *base)
                    {
                        claims.entry(*base).or_default().push((commit, id));
                    }
                }
            }
        }
    }
    for (base, claims) in claims {
        match from_before(ws, base, &claims) {
            Ok(false_ones) => findings.extend(false_ones.into_iter().map(|(commit, id)| {
                let message = format!("a note says that it made {commit}, which it began from");
                Finding::of(&id, "notes", message)
            })),
            Err(error) => findings.push(bad(error.to_string())),
        }
    }
}

fn session_of(line: &[u8]) -> Option<SessionId> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    value.get("session")?.as_str()?.parse().ok()
}

/// Those of the commits that are the base, or in its history.
fn from_before(
    ws: &Workspace,
    base: ObjectId,
    claims: &[(ObjectId, SessionId)],
) -> git::Result<Vec<(ObjectId, SessionId)>> {
    let mut input: String = claims.iter().map(|(commit, _)| format!("{commit}\n")).collect();
    input += &format!("^{base}\n");
    let listed = ws.repo.git()?.args(["rev-list", "--stdin"]).input(input).run()?;
    let after: HashSet<ObjectId> = listed
        .lines()
        .filter_map(|hex| ObjectId::from_hex(hex).ok())
        .collect();
    let before = claims.iter().filter(|(commit, _)| !after.contains(commit));
    Ok(before.cloned().collect())
}
