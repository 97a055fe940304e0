//! An event as a commit message, and back.

use std::fmt::Write as _;

use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice};
use jiff::Timestamp;

use crate::session::event::FORMAT;
use crate::session::text::{escape, unescape};
use crate::session::{Ask, Event, Kind, Outcome, SessionId, State, Summary};

/// A commit is no event of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    #[error("its log doesn't begin with its creation")]
    Root,
    #[error("it is not what an inbox has under that name")]
    Inbox,
    #[error("the commit has no '{0}' trailer")]
    Missing(&'static str),
    #[error("its '{key}' trailer says '{value}'")]
    Bad { key: &'static str, value: String },
}

/// Writes the message: the subject, an empty line, one trailer block.
pub fn encode(event: &Event) -> String {
    let summary = &event.summary;
    let mut out = Block::begin(&event.subject());
    let hex = |oid: &Option<ObjectId>| oid.map(|oid| oid.to_string());
    out.put("Format", FORMAT);
    out.put("Id", &summary.id);
    out.put("Event", event.kind);
    out.maybe("From", event.from);
    out.put("State", summary.state);
    out.put("Seq", event.seq);
    out.put("Epoch", summary.epoch);
    out.put("Owner", &summary.owner);
    out.put("Host", &summary.host);
    out.put("Created", summary.created);
    out.maybe("Nonce", Some(&event.nonce));
    out.maybe("Branch", summary.branch.as_ref());
    out.maybe("Base", hex(&summary.base));
    out.maybe("Head", hex(&summary.head));
    out.maybe("Work", hex(&summary.work));
    out.maybe("Title", summary.title.as_ref());
    out.maybe("Worker", summary.worker.as_ref());
    out.maybe("Issue", summary.issue.as_ref());
    for (key, value) in &summary.labels {
        out.put("Label", format!("{key}={value}"));
    }
    out.maybe("Parent", summary.parent.as_ref());
    out.maybe("Home", summary.home.as_ref());
    out.maybe("Claim", event.claim.as_ref());
    out.maybe("Intent", event.intent.as_ref());
    out.maybe("Deadline", summary.deadline);
    if !event.forgotten.is_empty() {
        let oids: Vec<String> = event.forgotten.iter().map(ObjectId::to_string).collect();
        out.put("Forgotten", oids.join(" "));
    }
    out.maybe("Outcome", summary.outcome.as_ref());
    out.maybe("Reason", summary.reason.as_ref());
    out.maybe("Note", event.note.as_ref());
    out.maybe("Request", event.request.as_ref());
    out.maybe("Superseded", hex(&event.superseded));
    for what in &summary.unsaved {
        out.put("Unsaved", what);
    }
    if summary.frozen {
        out.put("Frozen", true);
    }
    for (key, value) in &summary.other {
        // A String can't refuse what is written to it.
        let _ = writeln!(out.text, "{key}: {value}");
    }
    out.text
}

/// A message that is being written.
pub(super) struct Block {
    text: String,
}

impl Block {
    /// Begins with the line for people.
    pub(super) fn begin(subject: &str) -> Block {
        Block {
            text: format!("{}\n\n", escape(subject)),
        }
    }

    /// The message.
    pub(super) fn end(self) -> String {
        self.text
    }

    pub(super) fn put(&mut self, key: &str, value: impl ToString) {
        let value = escape(&value.to_string());
        let _ = writeln!(self.text, "Session-{key}: {value}");
    }

    /// Leaves out what is absent or empty.
    pub(super) fn maybe(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value
            .map(|value| value.to_string())
            .filter(|value| !value.is_empty())
        {
            self.put(key, value);
        }
    }
}

/// Reads an event from its commit.
///
/// `at` and `by` are the committer's. Trailers that are unknown are kept as they are.
///
/// # Errors
/// Commits without the trailers that every event has, or with values that mean nothing.
pub fn decode(message: &BStr, at: Timestamp, by: String) -> Result<Event, Foreign> {
    let seen = Seen::of(message);
    let format = seen.read("Format")?;
    let kind: Kind = seen.read("Event")?;
    let id: SessionId = seen.read("Id")?;
    let from: Option<State> = seen.maybe("From")?;
    let labels = seen.all("Label").filter_map(|label| {
        label
            .split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
    });
    let summary = Summary {
        id,
        state: seen.read("State")?,
        epoch: seen.read("Epoch")?,
        owner: seen.read("Owner")?,
        host: seen.text("Host").unwrap_or_default(),
        created: seen.read("Created")?,
        branch: seen.text("Branch"),
        base: seen.maybe("Base")?,
        head: seen.maybe("Head")?,
        work: seen.maybe("Work")?,
        title: seen.text("Title"),
        worker: seen.text("Worker"),
        issue: seen.text("Issue"),
        labels: labels.collect(),
        parent: seen.maybe("Parent")?,
        home: seen.text("Home"),
        deadline: seen.maybe("Deadline")?,
        outcome: seen.maybe::<Outcome>("Outcome")?,
        reason: seen.text("Reason"),
        unsaved: seen.all("Unsaved").collect(),
        frozen: seen.text("Frozen").is_some_and(|value| value == "true"),
        other: Vec::new(),
    };
    let forgotten = match seen.text("Forgotten") {
        None => Vec::new(),
        Some(oids) => oids
            .split(' ')
            .map(|oid| parse("Forgotten", oid))
            .collect::<Result<_, _>>()?,
    };
    Ok(Event {
        format,
        kind,
        from,
        seq: seen.read("Seq")?,
        nonce: seen.text("Nonce").unwrap_or_default(),
        at,
        by,
        note: seen.text("Note"),
        claim: seen.text("Claim"),
        intent: seen.text("Intent"),
        request: seen.text("Request"),
        superseded: seen.maybe("Superseded")?,
        forgotten,
        summary: Summary {
            other: seen.other,
            ..summary
        },
    })
}

/// The last paragraph.
fn trailers(message: &BStr) -> &BStr {
    let message = message.trim_end();
    let start = message.rfind("\n\n").map_or(0, |at| at + 2);
    message[start..].as_bstr()
}

/// The trailers that this version knows, each with its place in [`Seen`].
const KEYS: usize = 32;

fn place(name: &str) -> Option<usize> {
    Some(match name {
        "Format" => 0,
        "Id" => 1,
        "Event" => 2,
        "From" => 3,
        "State" => 4,
        "Seq" => 5,
        "Epoch" => 6,
        "Owner" => 7,
        "Host" => 8,
        "Created" => 9,
        "Nonce" => 10,
        "Branch" => 11,
        "Base" => 12,
        "Head" => 13,
        "Work" => 14,
        "Title" => 15,
        "Worker" => 16,
        "Issue" => 17,
        "Label" => 18,
        "Parent" => 19,
        "Home" => 20,
        "Claim" => 21,
        "Intent" => 22,
        "Deadline" => 23,
        "Forgotten" => 24,
        "Outcome" => 25,
        "Reason" => 26,
        "Note" => 27,
        "Request" => 28,
        "Superseded" => 29,
        "Unsaved" => 30,
        "Frozen" => 31,
        _ => return None,
    })
}

/// The trailers of a message.
#[derive(Default)]
pub(super) struct Seen<'a> {
    /// The first value of each known one.
    known: [Option<&'a str>; KEYS],
    /// Further values of those that may occur several times.
    more: Vec<(usize, &'a str)>,
    other: Vec<(String, String)>,
}

impl<'a> Seen<'a> {
    /// Reads the trailer block of a message.
    pub(super) fn of(message: &'a BStr) -> Seen<'a> {
        let mut seen = Seen::default();
        for line in trailers(message).lines() {
            let Ok(line) = line.to_str() else { continue };
            let Some((key, value)) = line
                .split_once(": ")
                .or_else(|| Some((line.strip_suffix(':')?, "")))
            else {
                continue;
            };
            match key.strip_prefix("Session-").and_then(place) {
                Some(at) => match &mut seen.known[at] {
                    empty @ None => *empty = Some(value),
                    Some(_) => seen.more.push((at, value)),
                },
                None => seen.other.push((key.to_owned(), value.to_owned())),
            }
        }
        seen
    }

    /// Whether there is such a trailer.
    pub(super) fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    fn raw(&self, key: &str) -> Option<&str> {
        self.known[place(key)?]
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.raw(key).map(unescape)
    }

    fn all(&self, key: &str) -> impl Iterator<Item = String> {
        let at = place(key);
        let more = self
            .more
            .iter()
            .filter(move |(place, _)| Some(*place) == at)
            .map(|(_, value)| *value);
        self.raw(key).into_iter().chain(more).map(unescape)
    }

    pub(super) fn read<T: Word>(&self, key: &'static str) -> Result<T, Foreign> {
        parse(key, self.raw(key).ok_or(Foreign::Missing(key))?)
    }

    fn maybe<T: Word>(&self, key: &'static str) -> Result<Option<T>, Foreign> {
        self.raw(key).map(|value| parse(key, value)).transpose()
    }
}

fn parse<T: Word>(key: &'static str, value: &str) -> Result<T, Foreign> {
    T::word(&unescape(value)).ok_or_else(|| Foreign::Bad {
        key,
        value: value.to_owned(),
    })
}

/// A value that is one word of a trailer.
pub(super) trait Word: Sized {
    fn word(text: &str) -> Option<Self>;
}

impl Word for ObjectId {
    fn word(text: &str) -> Option<ObjectId> {
        ObjectId::from_hex(text.as_bytes()).ok()
    }
}

macro_rules! words {
    ($($kind:ty),*) => { $(impl Word for $kind {
        fn word(text: &str) -> Option<$kind> {
            text.parse().ok()
        }
    })* };
}
words!(u32, u64, String, Timestamp, SessionId, Kind, State, Outcome, Ask);
