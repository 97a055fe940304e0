//! What becomes of two logs of one session that went different ways: one event on top of both.
//!
//! The result is a function of the two alone, so that whoever makes it makes the same one.

use gix::ObjectId;

use super::event::{Event, FORMAT};
use super::state::Kind;

/// Who is said to have written a merge: nobody, since everybody writes the same one.
pub const NAME: &str = "git-session";
/// As [`NAME`].
pub const EMAIL: &str = "session@localhost";

/// How one log stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// Both end with the same event.
    Same,
    /// This one has all of the other, and more.
    Ahead,
    /// The other one has all of this, and more.
    Behind,
    /// Each has events that the other lacks, or they have nothing to do with each other.
    Diverged,
}

/// Says how a log stands to another, given whether each has the other's newest event among its own, along all parents.
pub fn relation(has_theirs: bool, is_in_theirs: bool) -> Relation {
    match (has_theirs, is_in_theirs) {
        (true, true) => Relation::Same,
        (true, false) => Relation::Ahead,
        (false, true) => Relation::Behind,
        (false, false) => Relation::Diverged,
    }
}

/// The newest event of one side, with its commit.
pub type Side<'e> = (&'e Event, ObjectId);

/// What decides between sides: the one that has what is at home, then the higher epoch, sequence number, object id.
///
/// The side of the highest precedence is the mainline, and the others are merged onto it by falling precedence. So each
/// result takes precedence over what is still to come, and the end is a function of the set of sides. Merged in any
/// other order, as clones do that learn of them one after another, the end still has the state and the owner of home's
/// side, or where none has it, those of a side whose epoch is higher than all others'. Where several have the highest
/// epoch, which takes two clones that believed to be the same one, only this order decides alike everywhere.
pub fn precedence(has_home: bool, side: Side) -> (bool, u64, u64, ObjectId) {
    (has_home, side.0.summary.epoch, side.0.seq, side.1)
}

/// Makes the event that has two diverged logs for its parents, the mainline first.
///
/// State, owner and all else that it says of the session are the mainline's, what it says of its claim's intent too;
/// the epoch is the higher one, the sequence number the higher one and one more, the time the later one.
pub fn merged(mainline: &Event, other: Side) -> Event {
    let (other, superseded) = other;
    let mut summary = mainline.summary.clone();
    summary.epoch = summary.epoch.max(other.summary.epoch);
    Event {
        format: FORMAT,
        kind: Kind::Merge,
        from: Some(summary.state),
        seq: mainline.seq.max(other.seq).saturating_add(1),
        nonce: String::new(),
        at: mainline.at.max(other.at),
        by: format!("{NAME} <{EMAIL}>"),
        note: None,
        claim: None,
        intent: mainline.intent.clone(),
        request: None,
        superseded: Some(superseded),
        forgotten: Vec::new(),
        summary,
    }
}
