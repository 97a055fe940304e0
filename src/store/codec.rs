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
    #[error("what it points to is no commit")]
    Kind,
    #[error("'{0}' is no session's id")]
    Name(String),
    #[error("it is the log of session '{0}'")]
    Other(SessionId),
    #[error("the commit has no 'Session-{0}' trailer")]
    Missing(&'static str),
    #[error("its 'Session-{key}' trailer says '{value}'")]
    Bad { key: &'static str, value: String },
}

/// Writes the message: the subject, an empty line, one trailer block.
pub fn encode(event: &Event) -> String {
    let summary = &event.summary;
    let mut out = Block::begin(&event.subject());
    let hex = |oid: &Option<ObjectId>| oid.map(|oid| oid.to_string());
    out.put(Key::Format, FORMAT);
    out.put(Key::Id, &summary.id);
    out.put(Key::Event, event.kind);
    out.maybe(Key::From, event.from);
    out.put(Key::State, summary.state);
    out.put(Key::Seq, event.seq);
    out.put(Key::Epoch, summary.epoch);
    out.put(Key::Owner, &summary.owner);
    out.put(Key::Host, &summary.host);
    out.put(Key::Created, summary.created);
    out.maybe(Key::Nonce, Some(&event.nonce));
    out.maybe(Key::Branch, summary.branch.as_ref());
    out.maybe(Key::Base, hex(&summary.base));
    out.maybe(Key::Head, hex(&summary.head));
    out.maybe(Key::Work, hex(&summary.work));
    out.maybe(Key::Title, summary.title.as_ref());
    out.maybe(Key::Worker, summary.worker.as_ref());
    out.maybe(Key::Issue, summary.issue.as_ref());
    for (key, value) in &summary.labels {
        out.put(Key::Label, format!("{key}={value}"));
    }
    out.maybe(Key::Parent, summary.parent.as_ref());
    out.maybe(Key::Home, summary.home.as_ref());
    out.maybe(Key::Claim, event.claim.as_ref());
    out.maybe(Key::Intent, event.intent.as_ref());
    out.maybe(Key::Deadline, summary.deadline);
    if !event.forgotten.is_empty() {
        let oids: Vec<String> = event.forgotten.iter().map(ObjectId::to_string).collect();
        out.put(Key::Forgotten, oids.join(" "));
    }
    out.maybe(Key::Outcome, summary.outcome.as_ref());
    out.maybe(Key::Reason, summary.reason.as_ref());
    out.maybe(Key::Note, event.note.as_ref());
    out.maybe(Key::Request, event.request.as_ref());
    out.maybe(Key::Superseded, hex(&event.superseded));
    for what in &summary.unsaved {
        out.put(Key::Unsaved, what);
    }
    if summary.frozen {
        out.put(Key::Frozen, true);
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

    pub(super) fn put(&mut self, key: Key, value: impl ToString) {
        let value = escape(&value.to_string());
        let _ = writeln!(self.text, "Session-{}: {value}", key.name());
    }

    /// Leaves out what is absent or empty.
    pub(super) fn maybe(&mut self, key: Key, value: Option<impl ToString>) {
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
/// `at` and `by` are the committer's. Trailers that are unknown are kept as they are. Of a newer format, a kind of event
/// that is unknown is [`Kind::Newer`], and any other value that is, absent, so that the rest can be shown.
///
/// # Errors
/// Commits without the trailers that every event has, or with values that mean nothing.
pub fn decode(message: &BStr, at: Timestamp, by: String) -> Result<Event, Foreign> {
    let seen = Seen::of(message);
    let format = seen.read(Key::Format)?;
    let is_newer = format > FORMAT;
    let kind: Kind = match seen.read(Key::Event) {
        Err(Foreign::Bad { .. }) if is_newer => Kind::Newer,
        kind => kind?,
    };
    let id: SessionId = seen.read(Key::Id)?;
    let from: Option<State> = seen.maybe(Key::From, is_newer)?;
    let labels = seen.all(Key::Label).filter_map(|label| {
        label
            .split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
    });
    let summary = Summary {
        id,
        state: seen.read(Key::State)?,
        epoch: seen.read(Key::Epoch)?,
        owner: seen.read(Key::Owner)?,
        host: seen.text(Key::Host).unwrap_or_default(),
        created: seen.read(Key::Created)?,
        branch: seen.text(Key::Branch),
        base: seen.maybe(Key::Base, is_newer)?,
        head: seen.maybe(Key::Head, is_newer)?,
        work: seen.maybe(Key::Work, is_newer)?,
        title: seen.text(Key::Title),
        worker: seen.text(Key::Worker),
        issue: seen.text(Key::Issue),
        labels: labels.collect(),
        parent: seen.maybe(Key::Parent, is_newer)?,
        home: seen.text(Key::Home),
        deadline: seen.maybe(Key::Deadline, is_newer)?,
        outcome: seen.maybe(Key::Outcome, is_newer)?,
        reason: seen.text(Key::Reason),
        unsaved: seen.all(Key::Unsaved).collect(),
        frozen: seen.text(Key::Frozen).is_some_and(|value| value == "true"),
        other: Vec::new(),
    };
    let forgotten = match seen.text(Key::Forgotten) {
        None => Vec::new(),
        Some(oids) => oids
            .split(' ')
            .map(|oid| parse(Key::Forgotten, oid))
            .collect::<Result<_, _>>()?,
    };
    Ok(Event {
        format,
        kind,
        from,
        seq: seen.read(Key::Seq)?,
        nonce: seen.text(Key::Nonce).unwrap_or_default(),
        at,
        by,
        note: seen.text(Key::Note),
        claim: seen.text(Key::Claim),
        intent: seen.text(Key::Intent),
        request: seen.text(Key::Request),
        superseded: seen.maybe(Key::Superseded, is_newer)?,
        forgotten,
        summary: Summary {
            other: seen.other,
            ..summary
        },
    })
}

/// The last paragraph.
fn trailers(message: &BStr) -> &BStr {
    let message = message.trim_ascii_end();
    let mut start = message.len();
    // Line by line from the end: it is short, and mostly all there is.
    while let Some(newline) = message[..start].rfind_byte(b'\n') {
        if message[..newline].ends_with(b"\n") {
            return message[newline + 1..].into();
        }
        start = newline;
    }
    message.into()
}

macro_rules! keys {
    ($($key:ident),* $(,)?) => {
        /// The trailers that this version knows, without their prefix.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Key { $($key),* }

        /// All of them, in the order in which they are written.
        const KEYS: [(Key, &str); [$(Key::$key),*].len()] = [$((Key::$key, stringify!($key))),*];
    };
}
#[rustfmt::skip]
keys!(
    Format, Id, Event, From, State, Seq, Epoch, Owner, Host, Created, Nonce, Branch, Base, Head, Work,
    Title, Worker, Issue, Label, Parent, Home, Claim, Intent, Deadline, Forgotten, Outcome, Reason, Note,
    Request, Superseded, Unsaved, Frozen,
);

impl Key {
    fn name(self) -> &'static str {
        KEYS[self as usize].1
    }

    /// Finds the key of a trailer and its value; the key is likely to be one of the next after the `last`.
    fn of(line: &str, last: usize) -> Option<(Key, &str)> {
        let line = line.strip_prefix("Session-")?;
        let (before, after) = KEYS.split_at(last);
        after.iter().chain(before).find_map(|(key, name)| {
            let value = line.strip_prefix(name)?.strip_prefix(':')?;
            match value.strip_prefix(' ') {
                Some(value) => Some((*key, value)),
                None => value.is_empty().then_some((*key, value)),
            }
        })
    }
}

/// The key and the value, which may be empty, of any trailer.
fn split(line: &str) -> Option<(&str, &str)> {
    line.split_once(": ")
        .or_else(|| Some((line.strip_suffix(':')?, "")))
}

/// The trailers of a message.
#[derive(Default)]
pub(super) struct Seen<'a> {
    /// The first value of each known one.
    known: [Option<&'a str>; KEYS.len()],
    /// Further values of those that may occur several times.
    more: Vec<(Key, &'a str)>,
    /// Which one was read last, as those that were written together are in order.
    last: usize,
    other: Vec<(String, String)>,
}

impl<'a> Seen<'a> {
    /// Reads the trailer block of a message.
    pub(super) fn of(message: &'a BStr) -> Seen<'a> {
        let mut seen = Seen::default();
        let block = trailers(message);
        match block.to_str() {
            Ok(mut rest) => {
                while let Some(end) = rest.as_bytes().find_byte(b'\n') {
                    seen.take(&rest[..end]);
                    rest = &rest[end + 1..];
                }
                seen.take(rest);
            }
            // A line that is no text is nobody's trailer.
            Err(_) => block
                .lines()
                .filter_map(|line| line.to_str().ok())
                .for_each(|line| seen.take(line)),
        }
        seen
    }

    fn take(&mut self, line: &'a str) {
        if let Some((key, value)) = Key::of(line, self.last) {
            self.last = key as usize;
            match &mut self.known[key as usize] {
                empty @ None => *empty = Some(value),
                Some(_) => self.more.push((key, value)),
            }
        } else if let Some((key, value)) = split(line) {
            self.other.push((key.to_owned(), value.to_owned()));
        }
    }

    /// Whether there is such a trailer.
    pub(super) fn has(&self, key: Key) -> bool {
        self.raw(key).is_some()
    }

    fn raw(&self, key: Key) -> Option<&str> {
        self.known[key as usize]
    }

    pub(super) fn text(&self, key: Key) -> Option<String> {
        self.raw(key).map(unescape)
    }

    fn all(&self, key: Key) -> impl Iterator<Item = String> {
        let more = self
            .more
            .iter()
            .filter(move |(other, _)| *other == key)
            .map(|(_, value)| *value);
        self.raw(key).into_iter().chain(more).map(unescape)
    }

    pub(super) fn read<T: Word>(&self, key: Key) -> Result<T, Foreign> {
        parse(key, self.raw(key).ok_or(Foreign::Missing(key.name()))?)
    }

    fn maybe<T: Word>(&self, key: Key, is_newer: bool) -> Result<Option<T>, Foreign> {
        match self.raw(key).map(|value| parse(key, value)).transpose() {
            Err(_) if is_newer => Ok(None),
            read => read,
        }
    }
}

fn parse<T: Word>(key: Key, value: &str) -> Result<T, Foreign> {
    let word = match value.contains('\\') {
        true => T::word(&unescape(value)),
        false => T::word(value),
    };
    word.ok_or_else(|| Foreign::Bad {
        key: key.name(),
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
