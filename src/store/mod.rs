//! Where sessions meet git: their logs are loaded, listed and appended to here and nowhere else.

mod cache;
pub mod codec;
pub mod names;

use gix::ObjectId;
use gix::actor::Signature;
use gix::bstr::{BString, ByteSlice};
use jiff::Timestamp;

use crate::git::batch::publish;
use crate::git::objects::{self, Object};
use crate::git::refs::{Expected, Outcome, Reference, Target};
use crate::git::{self, Durability, Repo};
use crate::session::event::FORMAT;
use crate::session::{Event, Kind, SessionId, Spec, log};
use cache::Cache;
use codec::Foreign;

/// The file in an event's tree that holds the specification.
const SPEC: &str = "session.json";

/// From how many sessions on a second thread is worth it.
const MANY: usize = 200;

/// What can go wrong with stored sessions.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Git(#[from] git::Error),
    /// The ref belongs to somebody else.
    #[error("'{name}' is not a session of ours: {why}")]
    NotOurs { name: BString, why: Foreign },
    /// A newer version wrote it.
    #[error("session '{id}' has format {format}, and this version writes format {FORMAT}")]
    NewerFormat { id: SessionId, format: u32 },
    /// There is no room for another note, checkpoint or restart.
    #[error("session '{0}' has {CAP} notes, checkpoints and restarts, which is the limit", CAP = log::CAP)]
    Full(SessionId),
    /// Its specification can't be read.
    #[error("the specification of session '{id}' can't be read: {source}")]
    Spec {
        id: SessionId,
        source: serde_json::Error,
    },
}

/// The result of anything here.
pub type Result<T> = std::result::Result<T, Error>;

/// A session as its newest event tells it.
#[derive(Debug, Clone)]
pub struct Session {
    /// The newest event's commit.
    pub tip: ObjectId,
    /// The tree that holds the specification.
    pub tree: ObjectId,
    pub event: Box<Event>,
}

impl Session {
    /// Gives its id.
    pub fn id(&self) -> &SessionId {
        &self.event.summary.id
    }
}

/// All sessions, and what stands in their namespace without being one.
#[derive(Debug, Default)]
pub struct Listing {
    pub sessions: Vec<Session>,
    /// Refs of somebody else's, or broken ones, by name with the reason.
    pub skipped: Vec<(BString, String)>,
}

/// What became of a write.
#[derive(Debug)]
pub enum Append {
    Done(Box<Session>),
    /// Somebody else wrote first; the ref is where it says.
    Moved(Option<ObjectId>),
}

/// The sessions of a repository.
#[derive(Clone, Copy)]
pub struct Store<'r> {
    repo: &'r Repo,
    durability: Durability,
}

impl<'r> Store<'r> {
    /// Gives access to the sessions of `repo`, durable unless `session.fsync` is false.
    pub fn new(repo: &'r Repo) -> Store<'r> {
        let durability = match repo.config_bool("session.fsync") {
            Some(false) => Durability::Relaxed,
            _ => Durability::Durable,
        };
        Store { repo, durability }
    }

    /// How hard a write is pressed to disk.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// Loads a session's newest event; none if there is no such ref.
    ///
    /// # Errors
    /// A ref of that name that is not ours, or a broken one.
    pub fn load(&self, id: &SessionId) -> Result<Option<Session>> {
        let name = names::log(id);
        match self.repo.refs().get(&name)? {
            None => Ok(None),
            Some(Target::Object(tip)) => {
                let data = self.commit(tip).map_err(|error| error.about(&name))?;
                read(self.repo.object_hash(), &name, tip, &data).map(Some)
            }
            Some(_) => Err(not_ours(&name, Foreign::Missing("Session-Format"))),
        }
    }

    /// Lists every session by its newest event alone.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        let references = self.repo.refs().list(names::SESSIONS)?;
        if references.is_empty() {
            return Ok(listing);
        }
        let cache = Cache::read(self.repo);
        let mut cached: Vec<(String, ObjectId)> = Vec::new();
        for reference in references {
            let name = reference.name.to_str_lossy().into_owned();
            let read = match reference.target {
                Target::Object(tip) if cache.get(&tip).is_some() => {
                    cached.push((name, tip));
                    continue;
                }
                Target::Object(tip) => self
                    .commit(tip)
                    .map_err(|error| error.about(&name))
                    .and_then(|data| read(self.repo.object_hash(), &name, tip, &data))
                    .map_err(|error| error.to_string()),
                Target::Symbolic(_) => Err(format!("'{name}' is a symbolic ref")),
                Target::Broken => Err(format!("the content of '{name}' is no object id")),
            };
            match read {
                Ok(session) => listing.sessions.push(session),
                Err(why) => listing.skipped.push((reference.name, why)),
            }
        }
        let read = read_cached(self.repo.object_hash(), &cache, &cached);
        for ((name, _), read) in cached.into_iter().zip(read) {
            match read {
                Ok(session) => listing.sessions.push(session),
                Err(why) => listing.skipped.push((name.into(), why.to_string())),
            }
        }
        Ok(listing)
    }

    fn tips(&self) -> Vec<ObjectId> {
        let references = self.repo.refs().list(names::SESSIONS).unwrap_or_default();
        let tip = |reference: Reference| match reference.target {
            Target::Object(tip) => Some(tip),
            Target::Symbolic(_) | Target::Broken => None,
        };
        references.into_iter().filter_map(tip).collect()
    }

    /// Lists the ids in the namespace, without looking at what they are.
    pub fn ids(&self) -> Result<Vec<SessionId>> {
        let refs = self.repo.refs().list(names::SESSIONS)?;
        Ok(refs
            .iter()
            .filter_map(|found| names::session_of(found.name.to_str().ok()?).ok())
            .collect())
    }

    fn event(&self, commit: ObjectId, data: &[u8]) -> std::result::Result<Read, EventError> {
        decode(self.repo.object_hash(), commit, data)
    }

    /// The content of a commit.
    ///
    /// # Errors
    /// Objects of another kind, which are somebody else's.
    fn commit(&self, id: ObjectId) -> std::result::Result<Vec<u8>, EventError> {
        let object = objects::read(self.repo, id)?;
        match object.kind {
            gix::objs::Kind::Commit => Ok(object.data),
            _ => Err(EventError::Foreign(Foreign::Missing("Session-Format"))),
        }
    }

    /// Loads a session's whole log, oldest first, along first parents.
    ///
    /// # Errors
    /// A commit in it that is no event of ours, or a root that doesn't create this session.
    pub fn history(&self, session: &Session) -> Result<Vec<(ObjectId, Event)>> {
        let name = names::log(session.id());
        let mut events = Vec::new();
        let mut next = Some(session.tip);
        while let Some(commit) = next {
            let data = self.commit(commit).map_err(|error| error.about(&name))?;
            let found = self.event(commit, &data).map_err(|error| error.about(&name))?;
            next = found.parent;
            events.push((commit, *found.session.event));
        }
        let begins =
            |(_, root): &(ObjectId, Event)| root.kind == Kind::Create && root.summary.id == *session.id();
        if !events.last().is_some_and(begins) {
            return Err(not_ours(&name, Foreign::Root));
        }
        events.reverse();
        Ok(events)
    }

    /// Loads what is to be run.
    pub fn spec(&self, session: &Session) -> Result<Spec> {
        let json = objects::blob_in_tree(self.repo, session.tree, SPEC)?.unwrap_or_default();
        Spec::from_json(&json).map_err(|source| Error::Spec {
            id: session.id().clone(),
            source,
        })
    }

    /// Writes a new session's first event, by author and committer; `Moved` when the id is taken.
    pub fn create(&self, event: &Event, spec: &Spec, by: [&Signature; 2]) -> Result<Append> {
        let blob = Object::blob(spec.to_json());
        let blob_id = objects::id_of(self.repo, &blob)?;
        let tree = objects::tree_of_one(SPEC, blob_id);
        let tree_id = objects::id_of(self.repo, &tree)?;
        let commit = objects::commit(tree_id, &[], by[0], by[1], codec::encode(event).as_bytes());
        self.publish(event, tree_id, vec![blob, tree, commit], Expected::Absent)
    }

    /// Writes the next event, by author and committer; `Moved` when somebody else did first.
    ///
    /// # Errors
    /// Sessions of a newer format, and logs that are full.
    pub fn append(&self, onto: &Session, event: &Event, by: [&Signature; 2]) -> Result<Append> {
        self.check_writable(onto)?;
        if event.kind.is_capped() && event.seq > log::CAP {
            let history = self.history(onto)?;
            let counted = history.iter().filter(|(_, event)| event.kind.is_capped()).count();
            if counted as u64 >= log::CAP {
                return Err(Error::Full(onto.id().clone()));
            }
        }
        let message = codec::encode(event);
        let commit = objects::commit(onto.tree, &[onto.tip], by[0], by[1], message.as_bytes());
        self.publish(event, onto.tree, vec![commit], Expected::At(onto.tip))
    }

    /// Refuses what a newer version wrote.
    pub fn check_writable(&self, session: &Session) -> Result<()> {
        if session.event.is_newer_format() {
            let (id, format) = (session.id().clone(), session.event.format);
            return Err(Error::NewerFormat { id, format });
        }
        Ok(())
    }

    fn publish(&self, event: &Event, tree: ObjectId, new: Vec<Object>, expected: Expected) -> Result<Append> {
        let name = names::log(&event.summary.id);
        let tip = match new.last() {
            Some(commit) => objects::id_of(self.repo, commit)?,
            None => return Ok(Append::Moved(None)),
        };
        let commit = new.last().map(|commit| commit.data.clone()).unwrap_or_default();
        let moved = publish(self.repo, new, self.durability, || {
            self.repo
                .refs()
                .update(&name, Some(tip), expected, self.durability)
        })?;
        Ok(match moved {
            Outcome::Done => {
                cache::add(self.repo, tip, &commit, || self.tips());
                Append::Done(Box::new(Session {
                    tip,
                    tree,
                    event: Box::new(event.clone()),
                }))
            }
            Outcome::Moved(actual) => Append::Moved(actual),
        })
    }
}

/// Reads an event from its commit's content.
fn decode(hash: gix::hash::Kind, commit: ObjectId, data: &[u8]) -> std::result::Result<Read, EventError> {
    let unreadable = || git::Error::Malformed(format!("commit {commit} can't be read"));
    let parsed = gix::objs::CommitRef::from_bytes(data, hash).map_err(|_| unreadable())?;
    let committer = parsed.committer().map_err(|_| unreadable())?;
    let at = Timestamp::from_second(committer.seconds()).unwrap_or(Timestamp::UNIX_EPOCH);
    let by = format!(
        "{} <{}>",
        committer.name.to_str_lossy(),
        committer.email.to_str_lossy()
    );
    let event = codec::decode(parsed.message, at, by).map_err(EventError::Foreign)?;
    let session = Session {
        tip: commit,
        tree: parsed.tree(),
        event: Box::new(event),
    };
    Ok(Read {
        session,
        parent: parsed.parents().next(),
    })
}

/// Reads a session from its newest event, which has to be the ref's own.
fn read(hash: gix::hash::Kind, name: &str, tip: ObjectId, data: &[u8]) -> Result<Session> {
    let id = names::session_of(name).map_err(|error| {
        not_ours(
            name,
            Foreign::Bad {
                key: "Id",
                value: error.0,
            },
        )
    })?;
    let session = decode(hash, tip, data)
        .map_err(|error| error.about(name))?
        .session;
    if *session.id() != id {
        return Err(not_ours(
            name,
            Foreign::Bad {
                key: "Id",
                value: session.id().to_string(),
            },
        ));
    }
    Ok(session)
}

/// Reads the sessions whose newest event is cached, on two threads where there are many.
fn read_cached(hash: gix::hash::Kind, cache: &Cache, tips: &[(String, ObjectId)]) -> Vec<Result<Session>> {
    let each = |tips: &[(String, ObjectId)]| -> Vec<Result<Session>> {
        let found = tips
            .iter()
            .filter_map(|(name, tip)| Some(read(hash, name, *tip, cache.get(tip)?)));
        found.collect()
    };
    if tips.len() < MANY {
        return each(tips);
    }
    let (here, there) = tips.split_at(tips.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| each(there));
        let mut all = each(here);
        // A thread that came to nothing has its part read again.
        all.extend(other.join().unwrap_or_else(|_| each(there)));
        all
    })
}

/// An event as read, with the one before it.
struct Read {
    session: Session,
    parent: Option<ObjectId>,
}

enum EventError {
    Git(git::Error),
    Foreign(Foreign),
}

impl EventError {
    fn about(self, name: &str) -> Error {
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

fn not_ours(name: &str, why: Foreign) -> Error {
    Error::NotOurs {
        name: name.into(),
        why,
    }
}
