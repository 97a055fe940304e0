//! What sessions take of the disk.

use std::fs;

use super::{Report, count};
use crate::ops::error::Result;
use crate::ops::select::local_ids;
use crate::ops::size::{human, size_of};
use crate::ops::standing::standing;
use crate::ops::workspace::Workspace;
use crate::session::State;
use crate::store::Session;

/// From how many packs on git packs everything again by itself, where nobody says otherwise.
const PACKS: usize = 50;

pub fn look(ws: &Workspace, sessions: &[Session], report: &mut Report) -> Result<()> {
    let local = ws.repo.local_dir();
    report.ok(
        "disk",
        format!("'{}' takes {}", local.display(), human(size_of(&local))),
    );
    let has_ended = |id: &crate::session::SessionId| {
        let session = sessions.iter().find(|session| session.id() == id);
        session.is_some_and(|session| session.event.summary.state == State::Terminated)
    };
    let (mut parked, mut size) = (0, 0);
    for id in local_ids(ws)?.into_iter().filter(has_ended) {
        match standing(ws, &ws.run_dir(&id)) {
            Ok(Some(found)) => {
                parked += 1;
                size += size_of(&found.path);
            }
            Ok(None) => {}
            Err(error) => {
                let message = format!("the worktree of session {id} can't be looked at: {error}");
                report.problem("worktree", message);
            }
        }
    }
    let message = format!(
        "{} of ended sessions, {}",
        count(parked, "worktree", "worktrees"),
        human(size)
    );
    match parked {
        0 => report.ok("worktrees", "no worktree of an ended session is left"),
        _ => {
            let line = report.hint("worktrees", message);
            line.but("'git session prune' removes those that hold nothing but what is saved");
            line
        }
    };
    let limit = ws
        .repo
        .config("gc.autoPackLimit")
        .and_then(|text| text.parse().ok());
    let limit: usize = limit.unwrap_or(PACKS);
    let packs = fs::read_dir(ws.repo.common_dir().join("objects/pack")).map_or(0, |entries| {
        let is_pack = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|end| end == "pack");
        entries.flatten().filter(is_pack).count()
    });
    if limit > 0 && packs > limit {
        report
            .hint(
                "packs",
                format!("{packs} packs, more than gc.autoPackLimit allows"),
            )
            .but("'git gc' makes one of them");
    }
    Ok(())
}
