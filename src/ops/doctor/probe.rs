//! Whether a remote takes references of sessions, and shows them: tried with three that mean nothing to anybody.

use gix::ObjectId;
use gix::objs::Kind;

use super::{Report, count, few};
use crate::git;
use crate::git::objects::{self, Object};
use crate::git::remote::{Lease, Pushed, Remote, Update};
use crate::ops::error::Result;
use crate::ops::machine::random_word;
use crate::ops::remotes::chosen;
use crate::ops::tracking::{What, last_seen, names};
use crate::ops::workspace::Workspace;
use crate::store::names::{INBOXES, SESSIONS, WORKS};

/// A session's id has no upper case, so that every version takes what is called so for somebody else's.
const PROBE: &str = "PROBE";

pub fn look(ws: &Workspace, name: Option<&str>, report: &mut Report) -> Result<()> {
    let remote = chosen(ws, name)?;
    let seen = last_seen(ws, remote.name())?.len();
    match names(&remote, &[], What::Work) {
        Ok(there) => {
            let shown = there.logs.len();
            let logs = count(shown, "session", "sessions");
            report.ok("remote", format!("'{}' shows {logs}", remote.name()));
            if shown == 0 && seen > 0 {
                let message = format!(
                    "'{}' showed {} before",
                    remote.name(),
                    count(seen, "session", "sessions")
                );
                report
                    .problem("hidden", message)
                    .but("it hides them by now (transfer.hideRefs, uploadpack.hideRefs), or they were deleted there");
            }
        }
        Err(error) => {
            report.problem("remote", error.to_string());
            return Ok(());
        }
    }
    let probe = write(ws)?;
    let nonce = random_word(16)?;
    let all = [
        (SESSIONS, format!("{SESSIONS}{PROBE}-{nonce}")),
        (WORKS, format!("{WORKS}{PROBE}-{nonce}/probe")),
        (INBOXES, format!("{INBOXES}{PROBE}-{nonce}/probe")),
    ];
    let update = |(_, name): &(&str, String)| Update {
        name: name.clone(),
        new: Some(probe),
        lease: Lease::Absent,
    };
    let pushed = remote.push(&all.each_ref().map(update));
    // Whatever the answer was, what is there now has to go again.
    let shown = remote.names(&all.each_ref().map(|(_, name)| name.as_str()));
    let taken: Vec<&str> = match &pushed {
        Ok(pushed) => pushed
            .iter()
            .filter(|(_, pushed)| matches!(pushed, Pushed::Done | Pushed::UpToDate))
            .map(|(name, _)| name.as_str())
            .collect(),
        Err(_) => all.iter().map(|(_, name)| name.as_str()).collect(),
    };
    let left = remove(&remote, &taken, probe);
    let pushed = match pushed {
        Ok(pushed) => pushed,
        Err(error) => {
            report.problem("refused", format!("nothing can be pushed: {error}"));
            return Ok(());
        }
    };
    let shown = match shown {
        Ok(shown) => shown,
        Err(error) => {
            report.problem("remote", error.to_string());
            undeleted(report, &remote, &left);
            return Ok(());
        }
    };
    for ((prefix, name), (_, pushed)) in all.iter().zip(pushed) {
        let is_shown = shown.iter().any(|(known, _)| known == name);
        let place = format!("'{}' below '{prefix}'", remote.name());
        match pushed {
            Pushed::Refused(why) if why.contains("hidden ref") => {
                hides(report, format!("{place} hides everything, and takes nothing"))
            }
            Pushed::Refused(why) => report
                .problem("refused", format!("{place} takes nothing: {why}"))
                .but("a rule or a hook there has to allow it, or another remote to be used"),
            Pushed::Moved => {
                report.problem("refused", format!("{place} takes nothing, and doesn't say why"));
            }
            Pushed::Done | Pushed::UpToDate if is_shown => {
                report.ok("probe", format!("{place} takes and shows what it is sent"));
            }
            Pushed::Done | Pushed::UpToDate => hides(
                report,
                format!("{place} takes what it is sent, and doesn't show it"),
            ),
        }
    }
    undeleted(report, &remote, &left);
    Ok(())
}

/// Tells what stays on a remote of what was tried.
fn undeleted(report: &mut Report, remote: &Remote<'_>, left: &[String]) {
    if !left.is_empty() {
        report
            .problem(
                "undeletable",
                format!("'{}' lets nothing be deleted: {}", remote.name(), few(left)),
            )
            .but("answered requests stay there, and no leaked work can be taken back");
    }
}

fn hides(report: &mut Report, message: String) {
    report.problem("hidden", message).but(
        "other clones can't see sessions there: transfer.hideRefs, or the like, has to let them through",
    );
}

/// Removes what was made, and names what stays there with the reason.
fn remove(remote: &Remote<'_>, taken: &[&str], probe: ObjectId) -> Vec<String> {
    if taken.is_empty() {
        return Vec::new();
    }
    let update = |name: &&str| Update {
        name: (*name).to_owned(),
        new: None,
        lease: Lease::At(probe),
    };
    let updates: Vec<Update> = taken.iter().map(update).collect();
    match remote.push(&updates) {
        Ok(pushed) => {
            let left = pushed.into_iter().filter_map(|(name, pushed)| match pushed {
                Pushed::Refused(why) => Some(format!("{name} ({why})")),
                Pushed::Done | Pushed::UpToDate | Pushed::Moved => None,
            });
            left.collect()
        }
        Err(error) => taken.iter().map(|name| format!("{name} ({error})")).collect(),
    }
}

/// Writes a commit that is neither an event nor a request.
fn write(ws: &Workspace) -> Result<ObjectId> {
    let tree = Object {
        kind: Kind::Tree,
        data: Vec::new(),
    };
    let by = ws.sign()?.signature;
    let tree_id = objects::id_of(&ws.repo, &tree)?;
    let message = b"git-session: a trial whether this is taken and shown, removed right away\n";
    let commit = objects::commit(tree_id, &[], &by, &by, message);
    let id = objects::id_of(&ws.repo, &commit)?;
    objects::write_loose(&ws.repo, &[tree, commit], git::Durability::Relaxed)?;
    Ok(id)
}
