//! What only a remote can tell: whether its logs are what they were, and has the work that is not here.

use std::collections::BTreeMap;

use gix::ObjectId;

use super::{Ask, Finding, Here};
use crate::git::objects;
use crate::git::remote::Remote;
use crate::ops::error::{Error, Result};
use crate::ops::remotes::{chosen, home};
use crate::ops::tracking::{Names, What, names};
use crate::ops::work::is_forgotten;
use crate::ops::workspace::Workspace;
use crate::store::Session;

/// Asks the remotes and compares what they have with what is here.
pub fn verify(ws: &Workspace, here: &Here, ask: Ask<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let mut asked: BTreeMap<String, (Remote<'_>, Vec<&Session>)> = BTreeMap::new();
    for session in &here.sessions {
        let remote = match ask {
            Ask::Nobody => return Ok(()),
            Ask::One(name) => chosen(ws, Some(name))?,
            Ask::Homes => match home(ws, &session.event.summary) {
                Ok(Some(home)) => home,
                Ok(None) => continue,
                Err(error @ Error::NoHome { .. }) => {
                    findings.push(Finding::of(session.id(), "no-home", error.to_string()));
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        let name = remote.name().to_owned();
        let (_, sessions) = asked.entry(name).or_insert_with(|| (remote, Vec::new()));
        sessions.push(session);
    }
    for (remote, sessions) in asked.into_values() {
        let there = names(&remote, &[], What::Work)?;
        for session in sessions {
            one(ws, here, &remote, &there, session, findings);
        }
    }
    Ok(())
}

fn one(
    ws: &Workspace,
    here: &Here,
    remote: &Remote<'_>,
    there: &Names,
    session: &Session,
    findings: &mut Vec<Finding>,
) {
    let (id, summary, name) = (session.id(), &session.event.summary, remote.name());
    let seen = here.seen.get(id).into_iter().flatten();
    let seen = seen.filter(|(at, _)| at == name).map(|(_, tip)| *tip).next();
    match (seen, there.logs.get(id)) {
        (Some(_), None) => {
            let message = format!("its log is gone from '{name}'");
            findings.push(Finding::of(id, "gone", message));
        }
        (Some(seen), Some(now)) if is_rewound(ws, session, seen, *now) => {
            let message = format!("its log was rewound on '{name}', from {seen} to {now}");
            findings.push(Finding::of(id, "rewound", message));
        }
        _ => {}
    }
    let has_work = there.works.iter().any(|(of, _, _)| of == id);
    if has_work && is_forgotten(ws, session).unwrap_or(false) {
        let message =
            format!("'{name}' has work of it again, which was forgotten ('git session forget' removes it)");
        findings.push(Finding::of(id, "forgotten-work", message));
    }
    if let Some(work) = summary.work
        && !objects::exists(&ws.repo, work)
        && !has_work
    {
        let message = format!("its work {work} is neither here nor on '{name}'");
        findings.push(Finding::of(id, "missing-work", message));
    }
}

/// Whether the remote had more than it has now; what is not here is newer.
fn is_rewound(ws: &Workspace, session: &Session, seen: ObjectId, now: ObjectId) -> bool {
    let at = |tip| ws.store().at(session.id(), tip).ok();
    match (at(seen), at(now)) {
        (Some(seen), Some(now)) => !ws.store().contains(&now, &seen).unwrap_or(true),
        _ => false,
    }
}
