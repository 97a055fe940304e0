//! What can be worked out again is made anew; a log is never touched.

use gix::ObjectId;
use gix::bstr::ByteSlice;

use super::Report;
use crate::git::refs::{Expected, Outcome, Target};
use crate::ops::error::Result;
use crate::ops::remotes::is_bare;
use crate::ops::workspace::Workspace;
use crate::session::SessionId;
use crate::store::names;

/// Makes the cache anew, and lets go what was seen at remotes that are configured no more.
pub fn before(ws: &Workspace) -> Result<Vec<String>> {
    let mut done = Vec::new();
    ws.store().rebuild_cache()?;
    done.push("the cache of newest events was made anew".to_owned());
    let configured = ws.repo.remotes();
    let mut gone: Vec<(String, usize)> = Vec::new();
    for reference in ws.repo.refs().list(names::REMOTES)? {
        let Some((remote, id)) = reference.name.to_str().ok().and_then(names::tracked) else {
            continue;
        };
        let is_there = configured.iter().any(|name| *name == remote) || is_bare(&remote);
        let Target::Object(tip) = reference.target else {
            continue;
        };
        if is_there || !has_all(ws, &id, tip) {
            continue;
        }
        let name = names::tracking(&remote, &id);
        let (refs, durability) = (ws.repo.refs(), ws.store().durability());
        if refs.update(&name, None, Expected::At(tip), durability)? == Outcome::Done {
            match gone.last_mut() {
                Some((last, count)) if *last == remote => *count += 1,
                _ => gone.push((remote, 1)),
            }
        }
    }
    let line = |(remote, count): (String, usize)| {
        format!("{count} logs as they were seen at '{remote}', which is no remote any more, were let go")
    };
    done.extend(gone.into_iter().map(line));
    Ok(done)
}

/// Whether the log here has all that was seen, so that nothing is lost with it.
fn has_all(ws: &Workspace, id: &SessionId, tip: ObjectId) -> bool {
    let (ours, theirs) = (ws.store().load(id), ws.store().at(id, tip));
    match (ours, theirs) {
        (Ok(Some(ours)), Ok(theirs)) => ws.store().contains(&ours, &theirs).unwrap_or(false),
        _ => false,
    }
}

/// Lets this clone's work references keep what no reference keeps, and takes those findings back.
pub fn keep(ws: &Workspace, unkept: &[(SessionId, ObjectId)], report: &mut Report) -> Result<()> {
    let clone = ws.clone_id().unwrap_or_default();
    for (id, work) in unkept {
        let name = names::work(id, clone);
        let (refs, durability) = (ws.repo.refs(), ws.store().durability());
        if refs.update(&name, Some(*work), Expected::Absent, durability)? == Outcome::Done {
            report
                .repaired
                .push(format!("{id}: '{name}' keeps its work again"));
            report
                .findings
                .retain(|finding| finding.code != "unkept-work" || finding.id.as_ref() != Some(id));
        }
    }
    Ok(())
}
