//! Events are read from commits, one or many.

use gix::ObjectId;
use gix::bstr::ByteSlice;
use jiff::Timestamp;

use super::cache::Cache;
use super::codec::Foreign;
use super::{Error, Result, Session, codec, names};
use crate::git::objects::Reader;
use crate::git::{self, Repo};

/// From how many sessions on a second thread is worth it.
const MANY: usize = 200;

/// Reads an event from its commit's content.
pub(super) fn decode(
    hash: gix::hash::Kind,
    commit: ObjectId,
    data: &[u8],
) -> std::result::Result<Read, EventError> {
    let unreadable = || git::Error::Malformed(format!("commit {commit} can't be read"));
    let parsed = gix::objs::CommitRef::from_bytes(data, hash).map_err(|_| unreadable())?;
    let (at, by) = committer(&parsed).ok_or_else(unreadable)?;
    let event = codec::decode(parsed.message, at, by).map_err(EventError::Foreign)?;
    let session = Session {
        tip: commit,
        tree: parsed.tree(),
        event: Box::new(event),
    };
    let mut parents = parsed.parents();
    Ok(Read {
        session,
        parent: parents.next(),
        others: parents.collect(),
    })
}

/// When a commit was made, and by whom.
pub(super) fn committer(commit: &gix::objs::CommitRef) -> Option<(Timestamp, String)> {
    let committer = commit.committer().ok()?;
    let at = Timestamp::from_second(committer.seconds()).unwrap_or(Timestamp::UNIX_EPOCH);
    let (name, email) = (committer.name.to_str_lossy(), committer.email.to_str_lossy());
    let by = [&*name, " <", &*email, ">"].concat();
    Some((at, by))
}

/// Reads a session from its newest event, which has to be the ref's own.
pub(super) fn read(hash: gix::hash::Kind, name: &str, tip: ObjectId, data: &[u8]) -> Result<Session> {
    let known = match name.starts_with(names::REMOTES) {
        true => names::tracked(name).map(|(_, id)| id),
        false => names::session_of(name).ok(),
    };
    let Some(id) = known else {
        let text = name.strip_prefix(names::SESSIONS).unwrap_or(name);
        return Err(not_ours(name, Foreign::Name(text.to_owned())));
    };
    let session = decode(hash, tip, data)
        .map_err(|error| error.about(name))?
        .session;
    match *session.id() == id {
        true => Ok(session),
        false => Err(not_ours(name, Foreign::Other(session.id().clone()))),
    }
}

/// The content of a commit.
///
/// # Errors
/// Objects of another kind, which are somebody else's.
pub(super) fn commit(reader: &Reader, id: ObjectId) -> std::result::Result<Vec<u8>, EventError> {
    let object = reader.read(id)?;
    match object.kind {
        gix::objs::Kind::Commit => Ok(object.data),
        _ => Err(EventError::Foreign(Foreign::Kind)),
    }
}

/// Reads sessions by their newest events, from the cache where they are there, on two threads where there are many.
pub(super) fn read_all(repo: &Repo, cache: &Cache, tips: &[(String, ObjectId)]) -> Vec<Result<Session>> {
    let hash = repo.object_hash();
    let each = |reader: &Reader, tips: &[(String, ObjectId)]| -> Vec<Result<Session>> {
        let one = |(name, tip): &(String, ObjectId)| match cache.get(tip) {
            Some(data) => read(hash, name, *tip, data),
            None => commit(reader, *tip)
                .map_err(|error| error.about(name))
                .and_then(|data| read(hash, name, *tip, &data)),
        };
        tips.iter().map(one).collect()
    };
    let reader = Reader::of(repo);
    if tips.len() < MANY {
        return each(&reader, tips);
    }
    let (here, there) = tips.split_at(tips.len() / 2);
    std::thread::scope(|scope| {
        let its_own = reader.clone();
        let other = std::thread::Builder::new().spawn_scoped(scope, move || each(&its_own, there));
        let mut all = each(&reader, here);
        // A thread that came to nothing, or could not be made, has its part read again.
        let others = other.ok().and_then(|other| other.join().ok());
        all.extend(others.unwrap_or_else(|| each(&reader, there)));
        all
    })
}

/// An event as read, with the one before it.
pub(super) struct Read {
    pub(super) session: Session,
    pub(super) parent: Option<ObjectId>,
    /// What it merges.
    pub(super) others: Vec<ObjectId>,
}

pub(super) enum EventError {
    Git(git::Error),
    Foreign(Foreign),
}

impl EventError {
    pub(super) fn about(self, name: &str) -> Error {
        match self {
            EventError::Git(error) => Error::Git(error),
            EventError::Foreign(why) => not_ours(name, why),
        }
    }
}

impl From<git::Error> for EventError {
    fn from(error: git::Error) -> EventError {
        EventError::Git(error)
    }
}

pub(super) fn not_ours(name: &str, why: Foreign) -> Error {
    Error::NotOurs {
        name: name.into(),
        why,
    }
}
