//! The event that says so: home takes it first, without any of the work that it is about.

use gix::ObjectId;

use super::Whose;
use crate::git::objects;
use crate::git::refs::{Expected, Target};
use crate::git::remote::{Lease, Pushed, Remote, Update};
use crate::ops::error::{Error, Result};
use crate::ops::fetch::{Fate, follow};
use crate::ops::mode::Mode;
use crate::ops::push::{adopt, remember};
use crate::ops::record::{TRIES, load, propose};
use crate::ops::rejoin::merge_home;
use crate::ops::remotes::refused;
use crate::ops::tracking::{Here, Names, What, names};
use crate::ops::workspace::Workspace;
use crate::session::{Claim, Event, Kind, SessionId};
use crate::store::{Append, Session, names as refnames};

/// What the note says.
const NOTE: &str = "its work was forgotten";

/// Records that the work is forgotten, and gives which; where all of it is already, nothing is recorded again.
pub fn say_so(
    ws: &Workspace,
    home: Option<&Remote<'_>>,
    id: &SessionId,
    whose: Whose,
) -> Result<Vec<ObjectId>> {
    for _ in 0..TRIES {
        let there = match home {
            Some(home) => level(ws, home, id)?,
            None => Names::default(),
        };
        let ours = load(ws, id)?;
        super::check(ws, &ours, whose)?;
        let (works, known) = works(ws, &ours, &there)?;
        let all: Vec<ObjectId> = known.iter().chain(&works).copied().collect();
        let at_home = there.logs.get(id).copied();
        let is_said = works.is_empty() && ours.event.summary.work.is_none();
        if is_said && (home.is_none() || at_home == Some(ours.tip)) {
            return Ok(all);
        }
        let event = propose(ws, &ours, Kind::Note, Claim::Plain, |event| {
            say(event, &works);
            if !ws.owns(&ours.event.summary) {
                event.note = Some(format!("{NOTE}, by another clone than its owner's"));
            }
        })?;
        let Some(home) = home else {
            match ws.store().advance(&event, Expected::At(ours.tip))? {
                Append::Done(_) => return Ok(all),
                Append::Moved(_) => continue,
            }
        };
        let update = Update {
            name: refnames::log(id),
            new: Some(event.session.tip),
            lease: at_home.map_or(Lease::Absent, Lease::At),
        };
        let pushed = home.push(&[update]).map(|pushed| pushed.into_iter().next());
        // As for claims: an answer may be lost, what home has is what counts.
        let now = names(home, std::slice::from_ref(id), What::Logs)?;
        if now.logs.get(id) == Some(&event.session.tip) {
            adopt(ws, &ours, &event)?;
            remember(ws, home, id, event.session.tip)?;
            return Ok(all);
        }
        if let Some((_, Pushed::Refused(why))) = pushed? {
            return Err(refused(id, home, why));
        }
    }
    Err(Error::Busy(id.clone()))
}

fn say(event: &mut Event, works: &[ObjectId]) {
    event.note = Some(NOTE.to_owned());
    event.forgotten = works.to_vec();
    // What a merge brought back is dropped again by name.
    let dropped = event.summary.work.take();
    event
        .forgotten
        .extend(dropped.filter(|work| !works.contains(work)));
}

/// Brings what home has of the log into ours; ours is not sent, since its work would go along.
fn level(ws: &Workspace, home: &Remote<'_>, id: &SessionId) -> Result<Names> {
    let there = names(home, std::slice::from_ref(id), What::Work)?;
    let logs = Names {
        logs: there.logs.clone(),
        ..Names::default()
    };
    for line in follow(ws, home, &logs, &Here::read(ws, home)?, Mode::Do)?.lines {
        if let Some(why) = line.fate.refusal() {
            return Err(refused(id, home, why.to_owned()));
        }
        if let (Fate::Diverged, Some(tip)) = (line.fate, there.logs.get(id)) {
            merge_home(ws, &ws.store().at(id, *tip)?)?;
        }
    }
    Ok(there)
}

/// All work of all clones that is known here and at home and that the log doesn't call forgotten, and what it does.
fn works(ws: &Workspace, ours: &Session, there: &Names) -> Result<(Vec<ObjectId>, Vec<ObjectId>)> {
    let id = ours.id();
    let mut works: Vec<ObjectId> = ours.event.summary.work.into_iter().collect();
    for reference in ws.repo.refs().list(&refnames::works(id))? {
        if let Target::Object(oid) = reference.target {
            works.push(oid);
        }
    }
    works.extend(
        there
            .works
            .iter()
            .filter(|(of, _, _)| of == id)
            .map(|(_, _, oid)| *oid),
    );
    let (mut known, mut named) = (Vec::new(), Vec::new());
    ws.store().every_event(ours, |_, event| {
        known.extend(&event.forgotten);
        named.extend(event.summary.work);
    })?;
    // What an event names is an ancestor of a clone's newest work as a rule; else it is named by itself.
    named.sort();
    named.dedup();
    for work in named {
        let is_in = |newest: &ObjectId| objects::is_ancestor(&ws.repo, work, *newest).unwrap_or(false);
        if !works.iter().chain(&known).any(is_in) {
            works.push(work);
        }
    }
    works.sort();
    works.dedup();
    works.retain(|work| !known.contains(work));
    known.sort();
    known.dedup();
    Ok((works, known))
}
