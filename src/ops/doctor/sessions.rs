//! Sessions that need somebody: stale ones, half-made worktrees, work that is nobody's, more ended ones than is good.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gix::bstr::ByteSlice;

use super::{Report, count, few};
use crate::git::worktree::{self, Head};
use crate::ops::error::Result;
use crate::ops::select::local_ids;
use crate::ops::view::{Depth, Filter, list};
use crate::ops::workspace::Workspace;
use crate::session::State;
use crate::store::{Listing, names};

/// From how many references on they are felt by each fetch.
const MANY: usize = 500;
/// How long the making of a worktree is given, which writes its own files first.
const SOON: Duration = Duration::from_secs(30);

pub fn look(ws: &Workspace, listing: &Listing, report: &mut Report) -> Result<()> {
    let sessions = &listing.sessions;
    let ended = sessions
        .iter()
        .filter(|session| session.event.summary.state == State::Terminated);
    let ended = ended.count();
    let total = count(sessions.len(), "session", "sessions");
    let message = format!("{total}, {ended} of them ended");
    match ended >= MANY {
        true => report
            .hint("sessions", message)
            .but("each is a ref, and every git fetch pays for all refs of a remote"),
        false => {
            report.ok("sessions", message);
        }
    }
    if !listing.skipped.is_empty() {
        let refs = count(listing.skipped.len(), "ref is", "refs are");
        report.hint(
            "foreign",
            format!("{refs} no session of ours, below '{}'", names::SESSIONS),
        );
    }
    stale(ws, report)?;
    worktrees(ws, report)?;
    works(ws, listing, report)
}

fn stale(ws: &Workspace, report: &mut Report) -> Result<()> {
    let everything = Filter {
        all: true,
        ..Filter::default()
    };
    let overview = list(ws, &everything, Depth::Row)?;
    for (id, why) in overview.unread {
        report.problem("record", format!("session {id}: {why}")).but(
            "move that file away; what it told of is then found out by other means, as far as there are any",
        );
    }
    for view in overview.views {
        let id = view.session.id();
        let host = &view.session.event.summary.host;
        if view.unsaid {
            let state = view.session.event.summary.state;
            let whose = match view.here {
                true => String::new(),
                false => format!(" on '{host}'"),
            };
            report
                .problem(
                    "alive",
                    format!(
                        "a worker of session {id} lives here, and its log says that it is {state}{whose}"
                    ),
                )
                .but(format!("'git session recover {id}' stops it and keeps its work"));
        }
        match (view.stale, view.unsupervised, view.overdue) {
            (Some(true), true, _) => report
                .problem(
                    "unsupervised",
                    format!("the worker of session {id} lives on without its supervisor"),
                )
                .but(format!("'git session recover {id}' stops it and saves its work")),
            (Some(true), false, _) => report
                .problem("stale", format!("nobody supervises session {id} any more"))
                .but(format!("'git session recover {id}' finds out what became of it")),
            (_, _, true) => report
                .hint(
                    "overdue",
                    format!("session {id} should have ended on '{host}' by now"),
                )
                .but(format!(
                    "'git session fetch' asks for news, 'git session claim --force {id}' takes it"
                )),
            _ => {}
        }
    }
    Ok(())
}

fn worktrees(ws: &Workspace, report: &mut Report) -> Result<()> {
    let found = worktree::list(&ws.repo)?;
    let mut half = BTreeMap::new();
    for worktree in &found {
        // One that is being made right now is young.
        let made = worktree.git_dir.metadata().and_then(|meta| meta.modified());
        let age = made.ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
        if worktree.head == Head::Unknown && age >= SOON {
            half.insert(worktree.path.as_path(), worktree.git_dir.as_path());
        }
    }
    for id in local_ids(ws)? {
        let run_dir = ws.run_dir(&id);
        let found = run_dir
            .place()
            .and_then(|place| Ok((place, run_dir.is_guarded()?)));
        let (place, is_guarded) = match found {
            Ok(found) => found,
            Err(error) => {
                report
                    .problem("record", format!("session {id}: {error}"))
                    .but("move that file away; the worktree is then found again by what it was made for");
                continue;
            }
        };
        if let Some(place) = place
            && !place.whole
            // What was only begun went when its session ended.
            && !place.parked
            && !is_guarded
        {
            half.remove(std::path::Path::new(place.path.as_os_str()));
            report
                .problem("half-made", format!("the worktree of session {id} is half made"))
                .but(format!("'git session start {id}' or 'resume' completes it"));
        }
    }
    for (path, git_dir) in half {
        report
            .problem(
                "half-made",
                format!("the worktree '{}' is half made", path.display()),
            )
            .but(format!(
                "if nobody is making it, '{}' is to be removed, and what stands there; git can't",
                git_dir.display()
            ));
    }
    Ok(())
}

/// Work without a log, which a fetch of everything brings from somebody who has it, and which nobody looks at.
fn works(ws: &Workspace, listing: &Listing, report: &mut Report) -> Result<()> {
    let known: BTreeSet<&str> = listing
        .sessions
        .iter()
        .map(|session| session.id().as_str())
        .collect();
    let mut unknown = BTreeSet::new();
    for reference in ws.repo.refs().list(names::WORKS)? {
        if let Some((id, _)) = reference.name.to_str().ok().and_then(names::work_of)
            && !known.contains(id.as_str())
        {
            unknown.insert(id.to_string());
        }
    }
    if !unknown.is_empty() {
        let ids: Vec<String> = unknown.into_iter().collect();
        report
            .hint(
                "work",
                format!("there is work of sessions that are not here: {}", few(&ids)),
            )
            .but("'git session fetch' brings their logs, if the remote has them");
    }
    Ok(())
}
