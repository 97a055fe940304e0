//! What a clone asks of the one that owns a session.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::event::{FORMAT, Summary};
use super::id::SessionId;
use super::state::{Kind, UnknownWord};

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    Terminate,
    Suspend,
    Note,
}

/// One ask, and what was seen of the session when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The format it was written in.
    pub format: u32,
    pub id: SessionId,
    pub ask: Ask,
    /// The epoch that was seen; an owner of a later one refuses.
    pub epoch: u64,
    /// The sequence number of the newest event that was seen.
    pub seq: u64,
    /// The clone that asks.
    pub owner: String,
    /// Its host, for people.
    pub host: String,
    /// The random word that names the request, and by which it is answered.
    pub nonce: String,
    pub reason: Option<String>,
    /// The text of a note.
    pub note: Option<String>,
    /// When it was made, in whole seconds.
    pub at: Timestamp,
    /// Who made it: `Name <email>`.
    pub by: String,
}

impl Ask {
    /// Everything that may be asked for.
    pub const ALL: [Ask; 3] = [Ask::Terminate, Ask::Suspend, Ask::Note];

    /// Gives the word that is written into requests.
    pub fn word(self) -> &'static str {
        self.kind().word()
    }

    /// What the owner is to do, for people.
    pub fn phrase(self) -> &'static str {
        match self {
            Ask::Terminate => "terminate it",
            Ask::Suspend => "suspend it",
            Ask::Note => "note that",
        }
    }

    /// The step that carries it out.
    pub fn kind(self) -> Kind {
        match self {
            Ask::Terminate => Kind::Terminate,
            Ask::Suspend => Kind::Suspend,
            Ask::Note => Kind::Note,
        }
    }
}

impl Request {
    /// Whether ownership was taken after it was made, so that it must not be carried out.
    pub fn is_outdated(&self, now: &Summary) -> bool {
        self.epoch < now.epoch
    }

    /// Whether it was written by a version that knows more than this one.
    pub fn is_newer_format(&self) -> bool {
        self.format > FORMAT
    }

    /// The line for people.
    pub fn subject(&self) -> String {
        let Request { id, ask, host, .. } = self;
        format!("session {id}: {ask} asked for by {host}")
    }
}

impl FromStr for Ask {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Ask, UnknownWord> {
        let found = Ask::ALL.into_iter().find(|ask| ask.word() == text);
        found.ok_or_else(|| UnknownWord::new(text, &Ask::ALL.map(Ask::word)))
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
