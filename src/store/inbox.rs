//! What others put in a session's inbox: requests, and tips that were superseded and are to be merged.
//!
//! A request is a commit on top of the log that was seen, with its tree, so that it needs no other object.

use gix::ObjectId;
use gix::actor::Signature;
use gix::bstr::{BStr, BString, ByteSlice};
use jiff::Timestamp;

use super::codec::{Block, Foreign, Key, Seen};
use super::read::{EventError, committer, decode, not_ours};
use super::{Result, Session, Store, names};
use crate::git;
use crate::git::batch::publish;
use crate::git::objects;
use crate::git::refs::{Expected, Outcome, Target};
use crate::session::event::FORMAT;
use crate::session::{Request, SessionId};

/// What a ref in an inbox holds.
#[derive(Debug, Clone)]
pub enum Inbox {
    /// An ask, made on top of that event.
    Request {
        request: Box<Request>,
        onto: Option<ObjectId>,
    },
    /// The log of an owner that was overtaken.
    Superseded(Session),
}

/// A ref in an inbox.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The full name of the ref.
    pub name: String,
    pub tip: ObjectId,
    pub inbox: Inbox,
}

impl Entry {
    /// Whose inbox it is in.
    pub fn id(&self) -> &SessionId {
        match &self.inbox {
            Inbox::Request { request, .. } => &request.id,
            Inbox::Superseded(session) => session.id(),
        }
    }

    /// When it was asked, to the second, for a request.
    fn asked_at(&self) -> Option<Timestamp> {
        match &self.inbox {
            Inbox::Request { request, .. } => Some(request.at),
            Inbox::Superseded(_) => None,
        }
    }
}

/// Everything in inboxes, requests in the order in which they were made, and what stands there without being ours.
#[derive(Debug, Default)]
pub struct Entries {
    pub entries: Vec<Entry>,
    /// Refs of somebody else's, or broken ones, by name with the reason.
    pub skipped: Vec<(BString, String)>,
}

/// Writes a request's message: the subject, an empty line, one trailer block.
pub fn encode(request: &Request) -> String {
    let mut out = Block::begin(&request.subject());
    out.put(Key::Format, FORMAT);
    out.put(Key::Id, &request.id);
    out.put(Key::Request, request.ask);
    out.put(Key::Epoch, request.epoch);
    out.put(Key::Seq, request.seq);
    out.put(Key::Owner, &request.owner);
    out.put(Key::Host, &request.host);
    out.put(Key::Nonce, &request.nonce);
    out.maybe(Key::Reason, request.reason.as_ref());
    out.maybe(Key::Note, request.note.as_ref());
    out.end()
}

/// Reads a request from its commit.
///
/// `at` and `by` are the committer's.
///
/// # Errors
/// Commits without the trailers that every request has, or with values that mean nothing.
pub fn decode_request(message: &BStr, at: Timestamp, by: String) -> std::result::Result<Request, Foreign> {
    let seen = Seen::of(message);
    Ok(Request {
        format: seen.read(Key::Format)?,
        id: seen.read(Key::Id)?,
        ask: seen.read(Key::Request)?,
        epoch: seen.read(Key::Epoch)?,
        seq: seen.read(Key::Seq)?,
        owner: seen.read(Key::Owner)?,
        host: seen.text(Key::Host).unwrap_or_default(),
        nonce: seen.read(Key::Nonce)?,
        reason: seen.text(Key::Reason),
        note: seen.text(Key::Note),
        at,
        by,
    })
}

impl Store<'_> {
    /// Writes a request into the inbox here, by author and committer, on top of what was seen of the session.
    ///
    /// The ref keeps it until it was sent and answered. `Moved` when the inbox has another one of that nonce.
    ///
    /// # Errors
    /// Sessions of a newer format.
    pub fn ask(&self, onto: &Session, request: &Request, by: [&Signature; 2]) -> Result<(Entry, Outcome)> {
        self.check_writable(onto)?;
        let message = encode(request);
        let commit = objects::commit(onto.tree, &[onto.tip], by[0], by[1], message.as_bytes());
        let tip = objects::id_of(self.repo, &commit)?;
        let name = names::inbox(&request.id, &request.nonce);
        let outcome = publish(self.repo, vec![commit], self.durability, |unsynced| {
            let refs = self.repo.refs();
            refs.update_after(unsynced, &name, Some(tip), Expected::Absent, self.durability)
        })?;
        let inbox = Inbox::Request {
            request: Box::new(request.clone()),
            onto: Some(onto.tip),
        };
        Ok((Entry { name, tip, inbox }, outcome))
    }

    /// Puts a superseded log into the inbox here, under its tip's own name, so that doing it again changes nothing.
    pub fn supersede(&self, session: &Session) -> Result<Entry> {
        let tip = session.tip;
        let name = names::inbox(session.id(), &tip.to_string());
        let refs = self.repo.refs();
        match refs.update(&name, Some(tip), Expected::Absent, self.durability)? {
            Outcome::Moved(Some(other)) if other != tip => Err(not_ours(&name, Foreign::Inbox)),
            Outcome::Done | Outcome::Moved(_) => Ok(Entry {
                name,
                tip,
                inbox: Inbox::Superseded(session.clone()),
            }),
        }
    }

    /// Removes a ref from the inbox here, if it still holds what was seen there.
    pub fn clear(&self, entry: &Entry) -> Result<Outcome> {
        let refs = self.repo.refs();
        Ok(refs.update(&entry.name, None, Expected::At(entry.tip), self.durability)?)
    }

    /// Lists the inbox of one session, or of all.
    pub fn inbox(&self, id: Option<&SessionId>) -> Result<Entries> {
        let prefix = id.map_or(names::INBOXES.to_owned(), names::inboxes);
        let mut entries = Entries::default();
        for reference in self.repo.refs().list(&prefix)? {
            let read = match (reference.name.to_str(), reference.target) {
                (Ok(name), Target::Object(tip)) => {
                    self.read_inbox(name, tip).map_err(|error| error.to_string())
                }
                (_, target) => Err(format!("'{}' holds {target:?}", reference.name)),
            };
            match read {
                Ok(entry) => entries.entries.push(entry),
                Err(why) => entries.skipped.push((reference.name, why)),
            }
        }
        entries.entries.sort_by_key(Entry::asked_at);
        Ok(entries)
    }

    /// Reads what a ref in an inbox, here or elsewhere, holds.
    ///
    /// # Errors
    /// Commits that are not here, or nothing of ours for that name.
    pub fn read_inbox(&self, name: &str, tip: ObjectId) -> Result<Entry> {
        let (id, nonce) = names::inbox_of(name).ok_or_else(|| not_ours(name, Foreign::Inbox))?;
        let data = self.commit(tip).map_err(|error| error.about(name))?;
        let inbox = self.read_entry(tip, &data).map_err(|error| error.about(name))?;
        let (found, word) = match &inbox {
            Inbox::Request { request, .. } => (&request.id, request.nonce.as_str()),
            Inbox::Superseded(session) => (session.id(), nonce),
        };
        if *found != id || word != nonce {
            return Err(not_ours(name, Foreign::Inbox));
        }
        Ok(Entry {
            name: name.to_owned(),
            tip,
            inbox,
        })
    }

    fn read_entry(&self, tip: ObjectId, data: &[u8]) -> std::result::Result<Inbox, EventError> {
        let hash = self.repo.object_hash();
        let unreadable = || git::Error::Malformed(format!("commit {tip} can't be read"));
        let parsed = gix::objs::CommitRef::from_bytes(data, hash).map_err(|_| unreadable())?;
        if Seen::of(parsed.message).has(Key::Event) {
            return Ok(Inbox::Superseded(decode(hash, tip, data)?.session));
        }
        let (at, by) = committer(&parsed).ok_or_else(unreadable)?;
        let request = decode_request(parsed.message, at, by).map_err(EventError::Foreign)?;
        Ok(Inbox::Request {
            request: Box::new(request),
            onto: parsed.parents().next(),
        })
    }
}
