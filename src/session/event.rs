//! One step in a session's life, and what it says of the session as a whole.

use gix::ObjectId;
use jiff::Timestamp;

use super::id::SessionId;
use super::outcome::Outcome;
use super::state::{self, Claim, Kind, Refused, State};

/// The format that this version reads and writes.
pub const FORMAT: u32 = 1;

/// One event: the step itself, and the [`Summary`] of the session after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The format it was written in; a higher one than [`FORMAT`] is shown and never written to.
    pub format: u32,
    pub kind: Kind,
    /// The state before; none for the first event.
    pub from: Option<State>,
    /// Its place in the log, from 1.
    pub seq: u64,
    /// A random word that makes every event's commit unique.
    pub nonce: String,
    /// When it was written, in whole seconds.
    pub at: Timestamp,
    /// Who wrote it: `Name <email>`.
    pub by: String,
    /// The text of a note.
    pub note: Option<String>,
    /// `offline`, for a claim that no home confirmed.
    pub claim: Option<String>,
    /// `run`, for a claim that a start or resume is to follow.
    pub intent: Option<String>,
    /// The request that is answered.
    pub request: Option<String>,
    /// The other side of a merge.
    pub superseded: Option<ObjectId>,
    /// The work that was forgotten.
    pub forgotten: Vec<ObjectId>,
    pub summary: Summary,
}

/// What each event says of the whole session, so that the newest alone is enough for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub id: SessionId,
    pub state: State,
    /// How often ownership was taken, from 1.
    pub epoch: u64,
    /// The clone that may append.
    pub owner: String,
    /// The owner's host, for people.
    pub host: String,
    pub created: Timestamp,
    pub branch: Option<String>,
    /// The commit that the work began from.
    pub base: Option<ObjectId>,
    /// The worktree's HEAD at the last look.
    pub head: Option<ObjectId>,
    /// The newest work commit.
    pub work: Option<ObjectId>,
    pub title: Option<String>,
    pub worker: Option<String>,
    pub issue: Option<String>,
    pub labels: Vec<(String, String)>,
    /// The session that this one tries again.
    pub parent: Option<SessionId>,
    /// The remote on which ownership is decided.
    pub home: Option<String>,
    /// When a running worker's time limit ends.
    pub deadline: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub reason: Option<String>,
    /// What the last snapshot could not hold, a line each.
    pub unsaved: Vec<String>,
    /// Whether a suspended worker's processes are kept in memory.
    pub frozen: bool,
    /// Trailers that this version doesn't know, kept as they are.
    pub other: Vec<(String, String)>,
}

/// What is not derived from the event before: time, person and chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    pub at: Timestamp,
    pub by: String,
    pub nonce: String,
}

impl Event {
    /// Begins a log.
    pub fn create(summary: Summary, stamp: Stamp) -> Result<Event, Refused> {
        let state = state::next(None, Kind::Create, Claim::Plain)?;
        Ok(Event::made(
            Kind::Create,
            None,
            1,
            Summary { state, ..summary },
            stamp,
        ))
    }

    /// Makes the next event; what the step says beyond its state is then set on its summary.
    ///
    /// A step from one state to another leaves the last one's outcome, reason and deadline behind; what merely
    /// adds to a state carries them on.
    ///
    /// # Errors
    /// Steps that the table refuses.
    pub fn step(&self, kind: Kind, claim: Claim, stamp: Stamp) -> Result<Event, Refused> {
        let from = self.summary.state;
        let state = state::next(Some(from), kind, claim)?;
        let mut summary = Summary {
            state,
            ..self.summary.clone()
        };
        if kind.is_transition() {
            summary.outcome = None;
            summary.reason = None;
            summary.deadline = None;
            summary.frozen = false;
        }
        let seq = self.seq.saturating_add(1);
        let mut event = Event::made(kind, Some(from), seq, summary, stamp);
        // What is about to run is so until it does, or until its owner says otherwise.
        if !kind.is_transition() {
            event.intent.clone_from(&self.intent);
        }
        Ok(event)
    }

    fn made(kind: Kind, from: Option<State>, seq: u64, summary: Summary, stamp: Stamp) -> Event {
        Event {
            format: FORMAT,
            kind,
            from,
            seq,
            nonce: stamp.nonce,
            at: stamp.at,
            by: stamp.by,
            note: None,
            claim: None,
            intent: None,
            request: None,
            superseded: None,
            forgotten: Vec::new(),
            summary,
        }
    }

    /// Whether it was written by a version that knows more than this one.
    pub fn is_newer_format(&self) -> bool {
        self.format > FORMAT
    }

    /// The line for people.
    pub fn subject(&self) -> String {
        let Summary {
            id, state, outcome, ..
        } = &self.summary;
        match (self.kind.is_transition(), self.from) {
            (true, Some(from)) if from != *state => match outcome {
                Some(outcome) => format!("session {id}: {from} -> {state} ({outcome})"),
                None => format!("session {id}: {from} -> {state}"),
            },
            (_, None) => format!("session {id}: created"),
            (_, Some(_)) => format!("session {id}: {} while {state}", self.kind),
        }
    }
}
