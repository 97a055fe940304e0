//! The one table of legal steps; nothing else assigns a state.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Recorded, never started.
    Pending,
    /// Its worker runs.
    Running,
    /// Its worker is stopped and its work saved, to be resumed.
    Suspended,
    /// Ended for good.
    Terminated,
}

/// What kind of step an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Create,
    Start,
    Restart,
    Suspend,
    Resume,
    Terminate,
    Checkpoint,
    Claim,
    Note,
    Answer,
    Home,
    Merge,
    /// A step of a newer format, which this version has no word for: it is read and never written.
    #[serde(rename = "unknown")]
    Newer,
}

/// How ownership is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Only of what nobody runs.
    Plain,
    /// Of a running session too, whose worker can't be observed.
    Forced,
}

/// A step that the table doesn't have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot {kind} a session that {}", .from.map_or("does not exist yet", State::phrase))]
pub struct Refused {
    /// The state it was asked in.
    pub from: Option<State>,
    /// The step that was asked for.
    pub kind: Kind,
}

/// The state after a step, or a refusal.
///
/// The source of the rule is the table of states and events in the format's description; a claim counts as
/// [`Claim::Plain`] unless said otherwise, and for other kinds `claim` is without meaning.
pub fn next(from: Option<State>, kind: Kind, claim: Claim) -> Result<State, Refused> {
    use Kind::*;
    use State::*;
    match (from, kind) {
        (None, Create) => Ok(Pending),
        (Some(Pending), Start) => Ok(Running),
        (Some(Running), Restart) => Ok(Running),
        (Some(Running), Suspend) => Ok(Suspended),
        (Some(Suspended), Resume) => Ok(Running),
        (Some(Pending | Running | Suspended), Terminate) => Ok(Terminated),
        (Some(state @ (Running | Suspended)), Checkpoint) => Ok(state),
        (Some(state @ (Pending | Suspended)), Kind::Claim) => Ok(state),
        (Some(Running), Kind::Claim) if claim == self::Claim::Forced => Ok(Suspended),
        (Some(state), Note | Answer | Home | Merge) => Ok(state),
        (from, kind) => Err(Refused { from, kind }),
    }
}

impl State {
    /// Every state, in the order of a life.
    pub const ALL: [State; 4] = [
        State::Pending,
        State::Running,
        State::Suspended,
        State::Terminated,
    ];

    /// Gives the word that is written into events.
    pub fn word(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Running => "running",
            State::Suspended => "suspended",
            State::Terminated => "terminated",
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            State::Pending => "is pending",
            State::Running => "is running",
            State::Suspended => "is suspended",
            State::Terminated => "is terminated",
        }
    }
}

impl Kind {
    /// Every kind of event that this version knows.
    pub const ALL: [Kind; 12] = [
        Kind::Create,
        Kind::Start,
        Kind::Restart,
        Kind::Suspend,
        Kind::Resume,
        Kind::Terminate,
        Kind::Checkpoint,
        Kind::Claim,
        Kind::Note,
        Kind::Answer,
        Kind::Home,
        Kind::Merge,
    ];

    /// Gives the word that is written into events, and what is shown for one that can't be.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Create => "create",
            Kind::Start => "start",
            Kind::Restart => "restart",
            Kind::Suspend => "suspend",
            Kind::Resume => "resume",
            Kind::Terminate => "terminate",
            Kind::Checkpoint => "checkpoint",
            Kind::Claim => "claim",
            Kind::Note => "note",
            Kind::Answer => "answer",
            Kind::Home => "home",
            Kind::Merge => "merge",
            Kind::Newer => "unknown",
        }
    }

    /// Whether the event moves a session from one state to another, rather than adding to one.
    pub fn is_transition(self) -> bool {
        !matches!(
            self,
            Kind::Checkpoint | Kind::Note | Kind::Answer | Kind::Home | Kind::Merge
        )
    }

    /// Whether it counts towards the cap on a log's length.
    pub fn is_capped(self) -> bool {
        matches!(self, Kind::Note | Kind::Checkpoint | Kind::Restart)
    }
}

/// The text names no state or event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is not one of {known}")]
pub struct UnknownWord {
    word: String,
    known: String,
}

impl UnknownWord {
    /// With the words that are known.
    pub fn new(word: &str, known: &[&str]) -> UnknownWord {
        UnknownWord {
            word: word.to_owned(),
            known: known.join(", "),
        }
    }
}

impl FromStr for State {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<State, UnknownWord> {
        let found = State::ALL.into_iter().find(|state| state.word() == text);
        found.ok_or_else(|| UnknownWord::new(text, &State::ALL.map(State::word)))
    }
}

impl FromStr for Kind {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Kind, UnknownWord> {
        Kind::ALL
            .into_iter()
            .find(|kind| kind.word() == text)
            .ok_or_else(|| UnknownWord::new(text, &Kind::ALL.map(Kind::word)))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the format's description: a row a kind, a column a state, `-` for refused.
    const TABLE: &str = "
        create     -       -         -         -
        start      running -         -         -
        restart    -       running   -         -
        suspend    -       suspended -         -
        resume     -       -         running   -
        terminate  terminated terminated terminated -
        checkpoint -       running   suspended -
        claim      pending -         suspended -
        note       pending running   suspended terminated
        answer     pending running   suspended terminated
        home       pending running   suspended terminated
        merge      pending running   suspended terminated";

    #[test]
    fn every_step_from_every_state_is_as_the_table_says() {
        let mut kinds = 0;
        for row in TABLE.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<&str> = row.split_whitespace().collect();
            let kind: Kind = words[0].parse().unwrap();
            for (state, word) in State::ALL.into_iter().zip(&words[1..]) {
                let expected = word.parse().map_err(|_| Refused {
                    from: Some(state),
                    kind,
                });
                assert_eq!(
                    next(Some(state), kind, Claim::Plain),
                    expected,
                    "{kind} from {state}"
                );
            }
            kinds += 1;
        }
        assert_eq!(kinds, Kind::ALL.len());
    }

    #[test]
    fn only_create_begins_a_session() {
        for kind in Kind::ALL {
            let began = next(None, kind, Claim::Forced);
            assert_eq!(began.is_ok(), kind == Kind::Create, "{kind}");
        }
    }

    #[test]
    fn a_running_session_is_claimed_by_force_only_and_is_suspended_then() {
        assert_eq!(
            next(Some(State::Running), Kind::Claim, Claim::Forced),
            Ok(State::Suspended)
        );
        assert!(next(Some(State::Terminated), Kind::Claim, Claim::Forced).is_err());
    }

    #[test]
    fn a_refusal_names_state_and_event() {
        let refused = next(Some(State::Terminated), Kind::Resume, Claim::Plain).unwrap_err();
        assert_eq!(refused.to_string(), "cannot resume a session that is terminated");
    }
}
