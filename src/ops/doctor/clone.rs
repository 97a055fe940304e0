//! Which clone this is, and what became of the one that it was made from.

use super::{Report, few};
use crate::ops::clone::{Elsewhere, Standing, standing};
use crate::ops::error::Result;
use crate::ops::machine::host;
use crate::ops::workspace::Workspace;
use crate::session::State;
use crate::store::Session;

pub fn look(ws: &Workspace, sessions: &[Session], report: &mut Report) -> Result<()> {
    let alive = |owner: &str| -> Vec<String> {
        let is_its = |session: &&Session| {
            let summary = &session.event.summary;
            summary.owner == owner && summary.state != State::Terminated
        };
        sessions
            .iter()
            .filter(is_its)
            .map(|session| session.id().to_string())
            .collect()
    };
    match standing(&ws.repo.local_dir())? {
        Standing::Named(id) => {
            report.ok(
                "clone",
                format!("this clone is '{id}', as GIT_SESSION_CLONE says"),
            );
        }
        Standing::Ours(id) => {
            report.ok("clone", format!("this clone is '{id}'"));
        }
        Standing::New => {
            report.ok("clone", "this clone has no name yet: nothing was recorded here");
        }
        Standing::Copy { id, elsewhere } => {
            let how = match elsewhere {
                Elsewhere::Machine => "on another machine",
                Elsewhere::Directory => "in another directory",
            };
            let message = format!(
                "this is a copy of the clone '{id}', which was made {how}; it gets a name of its own"
            );
            let ids = alive(&id);
            if ids.is_empty() {
                report.hint("clone", message);
            } else {
                report
                    .problem(
                        "clone",
                        format!("{message}, and the other one owns {}", few(&ids)),
                    )
                    .but("if that clone is gone, 'git session claim --force SESSION' takes them over");
            }
        }
    }
    // A copy that has got its name has forgotten whose it was; files of a session of somebody else's remind of it.
    let others: Vec<String> = sessions
        .iter()
        .filter(|session| {
            let summary = &session.event.summary;
            let has_files = || ws.run_dir(session.id()).path().join("worktree.json").exists();
            !ws.owns(summary) && summary.state != State::Terminated && summary.host == host() && has_files()
        })
        .map(|session| session.id().to_string())
        .collect();
    if !others.is_empty() && ws.clone_id().is_some() {
        report
            .hint(
                "clone",
                format!(
                    "sessions that another clone on this machine owns have files here: {}",
                    few(&others)
                ),
            )
            .but("if this is a copy or a backup of that clone, 'git session claim SESSION' takes them over");
    }
    Ok(())
}
