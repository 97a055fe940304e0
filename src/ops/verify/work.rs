//! Work: what logs name and what references keep, read whole.

use std::collections::{HashMap, HashSet};

use gix::ObjectId;

use super::{Finding, Here};
use crate::git::objects;
use crate::git::refs::Target;
use crate::git::whole;
use crate::ops::error::Result;
use crate::ops::workspace::Workspace;
use crate::session::{SessionId, State};
use crate::store::{Session, names};

/// Checks all work that is here, and that what this clone made is; gives the work that no reference keeps.
pub fn verify(
    ws: &Workspace,
    here: &Here,
    findings: &mut Vec<Finding>,
) -> Result<Vec<(SessionId, ObjectId)>> {
    let mut wanted: HashMap<ObjectId, (SessionId, Option<ObjectId>)> = HashMap::new();
    let mut unkept = Vec::new();
    // A fetch that was cut may have left some of these.
    let mut strays = HashSet::new();
    for session in &here.sessions {
        let (id, summary) = (session.id(), &session.event.summary);
        let kept: Vec<ObjectId> = here
            .works
            .get(id)
            .map_or_else(Vec::new, |works| works.iter().map(|(_, work)| *work).collect());
        for work in &kept {
            wanted.insert(*work, (id.clone(), summary.base));
        }
        match summary.work {
            Some(work) if kept.contains(&work) => {}
            Some(work) if !objects::exists(&ws.repo, work) => {
                if made_here(ws, session, work) {
                    let message = format!("its work {work}, which was made here, is missing");
                    findings.push(Finding::of(id, "missing-work", message));
                }
            }
            Some(work) => {
                wanted.insert(work, (id.clone(), summary.base));
                let is_kept = |kept: &ObjectId| objects::is_ancestor(&ws.repo, work, *kept).unwrap_or(false);
                if kept.iter().any(is_kept) {
                    continue;
                }
                if !ws.owns(summary) {
                    strays.insert(work);
                } else {
                    unkept.push((id.clone(), work));
                    let message = format!("no reference here keeps its work {work}");
                    findings.push(Finding::of(id, "unkept-work", message));
                }
            }
            None => findings.extend(missing_base(ws, session)),
        }
    }
    let asked: Vec<(ObjectId, Option<ObjectId>)> =
        wanted.iter().map(|(work, (_, base))| (*work, *base)).collect();
    let mut told = HashSet::new();
    for broken in whole::broken(&ws.repo, &asked)? {
        let Some((id, _)) = wanted
            .get(&broken.commit)
            .filter(|_| !strays.contains(&broken.commit))
        else {
            continue;
        };
        if told.insert((id.clone(), broken.why.clone())) {
            let message = format!("its work {} can't be read whole: {}", broken.commit, broken.why);
            findings.push(Finding::of(id, "broken-work", message));
        }
    }
    broken_branches(ws, here, findings)?;
    Ok(unkept)
}

/// Finds branches whose commit is gone: nothing can be committed on them, nor saved where they are checked out.
fn broken_branches(ws: &Workspace, here: &Here, findings: &mut Vec<Finding>) -> Result<()> {
    let heads = ws.repo.refs().list(&names::full_branch(""))?;
    let heads = heads.into_iter().filter_map(|head| match head.target {
        Target::Object(tip) => Some((head.name.to_string(), tip)),
        _ => None,
    });
    let heads: HashMap<String, ObjectId> = heads.collect();
    for session in &here.sessions {
        let branch = session.event.summary.branch.as_deref();
        if let Some(branch) = branch.filter(|_| ws.owns(&session.event.summary))
            && let Some(tip) = heads.get(&names::full_branch(branch))
            && !objects::exists(&ws.repo, *tip)
        {
            let message = format!("the commit {tip} of its branch '{branch}' is missing");
            findings.push(Finding::of(session.id(), "missing-branch", message));
        }
    }
    Ok(())
}

/// Whether the work was named first by this clone; of another clone's it may never have been fetched.
fn made_here(ws: &Workspace, session: &Session, work: ObjectId) -> bool {
    let mut maker = None;
    let seen = ws.store().every_event(session, |_, event| {
        if event.summary.work == Some(work) && maker.as_ref().is_none_or(|(seq, _)| event.seq < *seq) {
            maker = Some((event.seq, event.summary.owner.clone()));
        }
    });
    seen.is_ok() && maker.is_some_and(|(_, owner)| ws.clone_id() == Some(owner.as_str()))
}

/// A session that has to begin, or to go on, from a commit that is gone.
fn missing_base(ws: &Workspace, session: &Session) -> Option<Finding> {
    let summary = &session.event.summary;
    let base = summary.head.or(summary.base)?;
    let matters = summary.state != State::Terminated && ws.owns(summary);
    (matters && !objects::exists(&ws.repo, base)).then(|| {
        let message = format!("the commit {base} that it stands on is missing");
        Finding::of(session.id(), "missing-base", message)
    })
}
