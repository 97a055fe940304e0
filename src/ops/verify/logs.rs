//! Logs, replayed, against what was last seen elsewhere and what was asked.

use std::collections::HashSet;

use super::{Finding, Here, Report};
use crate::ops::own_name::said;
use crate::ops::requests::why_left;
use crate::ops::workspace::Workspace;
use crate::session::log::Illegal;
use crate::session::merge::Relation;
use crate::session::{Kind, SessionId};
use crate::store::check::Flaw;
use crate::store::inbox::Inbox;
use crate::store::{self, Session};

/// Replays a log and compares it with what was seen of it elsewhere.
pub fn verify(ws: &Workspace, session: &Session, here: &Here, findings: &mut Vec<Finding>) {
    let id = session.id();
    if let Err(error) = ws.store().check(session, None) {
        // A log that can't be replayed can't be compared either.
        findings.push(flaw(id, &error));
        return;
    }
    if let Err(error) = ws.store().spec(session)
        && !session.event.is_newer_format()
    {
        findings.push(flaw(id, &error));
    }
    for (remote, tip) in here.seen.get(id).into_iter().flatten() {
        if *tip == session.tip {
            continue;
        }
        let theirs = match ws.store().at(id, *tip) {
            Ok(theirs) => theirs,
            // Somebody else's, under the same name there.
            Err(store::Error::NotOurs { .. }) => continue,
            Err(error) => {
                findings.push(elsewhere(remote, flaw(id, &error)));
                continue;
            }
        };
        match compare(ws, session, remote, &theirs) {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(elsewhere(remote, flaw(id, &error))),
        }
    }
    match unanswered(ws, session) {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(flaw(id, &error)),
    }
}

fn compare(ws: &Workspace, ours: &Session, remote: &str, theirs: &Session) -> store::Result<Option<Finding>> {
    let id = ours.id();
    let relation = ws.store().relation(ours, theirs)?;
    if matches!(relation, Relation::Behind | Relation::Diverged) {
        ws.store().check(theirs, Some(ours))?;
    }
    // Only this clone writes what this clone owns: that can't have come from elsewhere.
    let is_own = ws.owns(&theirs.event.summary);
    if is_own
        && matches!(relation, Relation::Behind | Relation::Diverged)
        && let Some(own) = ws.clone_id()
        && let Some(event) = ws.store().in_the_name_of(own, theirs, ours)?
    {
        let message = format!("its log on '{remote}' {}", said(&event));
        return Ok(Some(Finding {
            seq: Some(event.seq),
            ..Finding::of(id, "not-ours", message)
        }));
    }
    // A claim that home has taken, and that was killed before it could follow here.
    let is_claim = theirs.event.kind == Kind::Claim && theirs.event.seq == ours.event.seq + 1;
    Ok(match relation {
        Relation::Behind if is_own && !is_claim => Some(Finding::of(
            id,
            "rewound",
            format!(
                "its log was rewound: '{remote}' has event {} of this clone, and here it ends with {}",
                theirs.event.seq, ours.event.seq
            ),
        )),
        Relation::Diverged => {
            ws.store().check_same_root(ours, theirs)?;
            (is_own && ws.owns(&ours.event.summary)).then(|| {
                let message = format!("this clone's events here and on '{remote}' are not the same");
                Finding::of(id, "diverged", message)
            })
        }
        Relation::Same | Relation::Ahead | Relation::Behind => None,
    })
}

/// What was asked of this clone, is here, and has no answer in the log.
fn unanswered(ws: &Workspace, session: &Session) -> store::Result<Vec<Finding>> {
    let id = session.id();
    if !ws.owns(&session.event.summary) {
        return Ok(Vec::new());
    }
    let inbox = ws.store().inbox(Some(id))?;
    let drop = |name: &str| {
        format!("to drop it: 'git push REMOTE :{name}' at its home, then 'git update-ref -d {name}' here")
    };
    let mut findings = Vec::new();
    for (name, why) in inbox.skipped {
        let drop = drop(&name.to_string());
        let message =
            format!("'{name}' can't be answered, and 'git session sync' leaves it alone: {why} ({drop})");
        findings.push(Finding::of(id, "unanswerable", message));
    }
    if inbox.entries.is_empty() {
        return Ok(findings);
    }
    let (mut events, mut answered) = (HashSet::new(), HashSet::new());
    ws.store().every_event(session, |commit, event| {
        events.insert(commit);
        // A step that was asked for names the request too; the answer comes after it.
        answered.extend(event.request.clone().filter(|_| event.kind == Kind::Answer));
    })?;
    for entry in inbox.entries {
        match entry.inbox {
            Inbox::Request { request, .. }
                if let Some(why) = why_left(&request, &session.event.summary)
                    && !answered.contains(&request.nonce) =>
            {
                let message = format!(
                    "'{}' asked to {}, which 'git session sync' leaves alone: {why}",
                    request.host,
                    request.ask.phrase()
                );
                findings.push(Finding::of(id, "unanswerable", message));
            }
            Inbox::Request { request, .. } if !answered.contains(&request.nonce) => {
                let message = format!(
                    "'{}' asked to {}, which was not answered ('git session sync' does)",
                    request.host,
                    request.ask.phrase()
                );
                findings.push(Finding::of(id, "unanswered", message));
            }
            Inbox::Superseded(other) if events.contains(&other.tip) => {}
            Inbox::Superseded(other) if let Err(error) = mergeable(ws, session, &other) => {
                let message = format!(
                    "'{}' can't be merged, and 'git session sync' leaves it alone: {error} ({})",
                    entry.name,
                    drop(&entry.name)
                );
                findings.push(Finding::of(id, "unanswerable", message));
            }
            Inbox::Superseded(other) => {
                let message = format!(
                    "events up to {} of '{}' wait to be merged ('git session sync' does)",
                    other.event.seq, other.event.summary.host
                );
                findings.push(Finding::of(id, "unmerged", message));
            }
            Inbox::Request { .. } => {}
        }
    }
    Ok(findings)
}

/// Whether the owner's sync would merge a superseded log.
fn mergeable(ws: &Workspace, ours: &Session, other: &Session) -> store::Result<()> {
    ws.store().check_same_root(ours, other)?;
    ws.store().check(other, Some(ours))
}

/// Replays logs that were seen elsewhere and are not followed here.
pub fn only_elsewhere(ws: &Workspace, here: &Here, report: &mut Report) {
    let known: HashSet<&SessionId> = here.sessions.iter().map(|session| session.id()).collect();
    let mut ids: Vec<&SessionId> = here.seen.keys().filter(|id| !known.contains(id)).collect();
    ids.sort();
    for id in ids {
        for (remote, tip) in &here.seen[id] {
            let checked = ws.store().at(id, *tip);
            match checked.and_then(|theirs| ws.store().check(&theirs, None)) {
                Ok(()) => {}
                Err(store::Error::NotOurs { .. }) => report.skipped += 1,
                Err(error) => report.findings.push(elsewhere(remote, flaw(id, &error))),
            }
        }
    }
}

fn elsewhere(remote: &str, finding: Finding) -> Finding {
    let message = format!("as '{remote}' was seen to have it: {}", finding.message);
    Finding { message, ..finding }
}

/// What an error of the store says of a log.
fn flaw(id: &SessionId, error: &store::Error) -> Finding {
    let (code, seq) = match error {
        store::Error::Illegal { why, .. } => ("illegal-log", seq(why)),
        store::Error::OtherRoot { .. } => ("other-root", None),
        store::Error::Spec { .. } => ("bad-specification", None),
        store::Error::Git(_) => ("unreadable", None),
        _ => ("illegal-log", None),
    };
    // The line begins with the id already.
    let message = match error {
        store::Error::Illegal { why, .. } => format!("its log is not legal: {why}"),
        error => error.to_string(),
    };
    Finding {
        seq,
        ..Finding::of(id, code, message)
    }
}

fn seq(why: &Flaw) -> Option<u64> {
    match why {
        Flaw::Parents { seq, .. } | Flaw::Merge { seq } | Flaw::Spec { seq } => Some(*seq),
        Flaw::Step(illegal) => match illegal {
            Illegal::Empty => None,
            Illegal::Step { seq, .. }
            | Illegal::From { seq, .. }
            | Illegal::State { seq, .. }
            | Illegal::Sequence { seq, .. }
            | Illegal::Epoch { seq, .. }
            | Illegal::Owner { seq, .. }
            | Illegal::Branch { seq, .. }
            | Illegal::Fixed { seq, .. }
            | Illegal::Id { seq, .. }
            | Illegal::Created { seq, .. }
            | Illegal::Forgets { seq } => Some(*seq),
        },
    }
}
