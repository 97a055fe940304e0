//! Where sessions meet git: their logs are loaded, listed and appended to here and nowhere else.

mod cache;
pub mod check;
pub mod codec;
mod every;
pub mod inbox;
pub mod merge;
pub mod names;
mod provenance;
mod read;
pub mod seal;
pub mod seen;
pub mod written;

use gix::ObjectId;
use gix::actor::Signature;
use gix::bstr::{BString, ByteSlice};

use crate::git::batch::publish;
use crate::git::objects::{self, Object, Reader};
use crate::git::refs::{Expected, Outcome, Reference, Target};
use crate::git::unsynced::Unsynced;
use crate::git::{self, Durability, Repo, signature};
use crate::session::event::FORMAT;
use crate::session::{Event, Kind, SessionId, Spec, log};
use cache::Cache;
use check::Flaw;
use codec::Foreign;
use read::{EventError, Read, commit, decode, not_ours, read_all};
use seal::Seal;

/// The file in an event's tree that holds the specification.
const SPEC: &str = "session.json";

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
    /// Its log is none that we would have written.
    #[error("the log of session '{id}' is not legal: {why}")]
    Illegal { id: SessionId, why: Flaw },
    /// It began with another creation, and so is another session.
    #[error("session '{id}' here and there are two: one began as {one}, the other as {other}")]
    OtherRoot {
        id: SessionId,
        one: ObjectId,
        other: ObjectId,
    },
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
        self.load_ref(&names::log(id))
    }

    /// Lists every session by its newest event alone.
    pub fn list(&self) -> Result<Listing> {
        self.list_under(names::SESSIONS)
    }

    /// The session whose newest event is the latest; of several in one second, the one that was written last here.
    pub fn newest(&self) -> Result<Option<Session>> {
        let mut sessions = self.list()?.sessions;
        let latest = sessions.iter().map(|session| session.event.at).max();
        sessions.retain(|session| Some(session.event.at) == latest);
        if sessions.len() < 2 {
            return Ok(sessions.pop());
        }
        let cache = Cache::read(self.repo);
        let order = |session: &Session| (cache.place(&session.tip), session.event.summary.created);
        Ok(sessions.into_iter().max_by_key(order))
    }

    fn list_under(&self, prefix: &str) -> Result<Listing> {
        let refs = self.repo.refs();
        let read = || Cache::read(self.repo);
        let (found, cache) = match Cache::is_large(self.repo) {
            true => refs.list_during(&[prefix], |listed| tips_of(listed.into_iter().flatten()), read),
            false => (refs.list(prefix).map(tips_of), read()),
        };
        let (tips, mut listing) = found?;
        let newest = read_all(self.repo, &cache, &tips);
        for ((name, _), read) in tips.into_iter().zip(newest) {
            match read {
                Ok(session) => listing.sessions.push(session),
                Err(why) => listing.skipped.push((name.into(), why.to_string())),
            }
        }
        Ok(listing)
    }

    fn tips(&self) -> Vec<ObjectId> {
        let list = |prefix| self.repo.refs().list(prefix).unwrap_or_default();
        let references = [list(names::SESSIONS), list(names::REMOTES)].concat();
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

    fn commit(&self, id: ObjectId) -> std::result::Result<Vec<u8>, EventError> {
        commit(&Reader::of(self.repo), id)
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
    ///
    /// # Errors
    /// A reference of that name which is none of a session's.
    pub fn create(&self, event: &Event, spec: &Spec, by: [&Signature; 2]) -> Result<Append> {
        let blob = Object::blob(spec.to_json());
        let blob_id = objects::id_of(self.repo, &blob)?;
        let tree = objects::tree_of_one(SPEC, blob_id);
        let tree_id = objects::id_of(self.repo, &tree)?;
        if self.signs() {
            // git signs no commit whose tree is not there; nobody minds one that stays.
            publish(
                self.repo,
                vec![blob.clone(), tree.clone()],
                self.durability,
                Unsynced::sync,
            )?;
        }
        let (session, commit) = self.event_on(tree_id, &[], event, by)?;
        let name = names::log(session.id());
        match self.publish(session, vec![blob, tree, commit], Expected::Absent)? {
            // What stands there, and points to nothing, is somebody else's.
            Append::Moved(None) => Err(not_ours(&name, Foreign::Kind)),
            done => Ok(done),
        }
    }

    /// Writes the next event, by author and committer; `Moved` when somebody else did first.
    ///
    /// # Errors
    /// Sessions of a newer format, and logs that are full.
    pub fn append(&self, onto: &Session, event: &Event, by: [&Signature; 2]) -> Result<Append> {
        let (session, commit) = self.next(onto, event, by)?;
        self.publish(session, vec![commit], Expected::At(onto.tip))
    }

    /// The commit that an event makes on top of a log.
    fn next(&self, onto: &Session, event: &Event, by: [&Signature; 2]) -> Result<(Session, Object)> {
        self.check_writable(onto)?;
        // What must not be kept is forgotten all the same.
        if event.kind.is_capped() && event.forgotten.is_empty() && event.seq > log::CAP {
            let history = self.history(onto)?;
            let counted = history.iter().filter(|(_, event)| event.kind.is_capped()).count();
            if counted as u64 >= log::CAP {
                return Err(Error::Full(onto.id().clone()));
            }
        }
        self.event_on(onto.tree, &[onto.tip], event, by)
    }

    /// An event's commit, with the mark of this clone, and signed where that is wanted.
    fn event_on(
        &self,
        tree: ObjectId,
        parents: &[ObjectId],
        event: &Event,
        by: [&Signature; 2],
    ) -> Result<(Session, Object)> {
        let made =
            |event: &Event| objects::commit(tree, parents, by[0], by[1], codec::encode(event).as_bytes());
        let mut event = Box::new(event.clone());
        let mut commit = made(&event);
        if let Some(seal) = Seal::known(self.repo) {
            event.nonce = seal.marked(&event.nonce, &commit.data)?;
            commit = made(&event);
        }
        if self.signs() {
            commit = signature::sign(self.repo, &commit)?;
        }
        let tip = objects::id_of(self.repo, &commit)?;
        Ok((Session { tip, tree, event }, commit))
    }

    /// Whether events are signed by git's own means (`session.sign`).
    fn signs(&self) -> bool {
        self.repo.config_bool("session.sign") == Some(true)
    }

    /// Refuses what a newer version wrote.
    pub fn check_writable(&self, session: &Session) -> Result<()> {
        if session.event.is_newer_format() {
            let (id, format) = (session.id().clone(), session.event.format);
            return Err(Error::NewerFormat { id, format });
        }
        Ok(())
    }

    /// Writes objects, the newest event's last, and moves the log onto it.
    fn publish(&self, session: Session, new: Vec<Object>, expected: Expected) -> Result<Append> {
        let name = names::log(session.id());
        let commit = new.last().map(|commit| commit.data.clone()).unwrap_or_default();
        let moved = publish(self.repo, new, self.durability, |unsynced| {
            let refs = self.repo.refs();
            refs.update_after(unsynced, &name, Some(session.tip), expected, self.durability)
        })?;
        Ok(match moved {
            Outcome::Done => {
                cache::add(self.repo, &[(session.tip, commit)], || self.tips());
                Append::Done(Box::new(session))
            }
            Outcome::Moved(actual) => Append::Moved(actual),
        })
    }
}

/// Where references point, and a listing of those that point nowhere.
fn tips_of(references: impl IntoIterator<Item = Reference>) -> (Vec<(String, ObjectId)>, Listing) {
    let references = references.into_iter();
    let mut tips = Vec::with_capacity(references.size_hint().0);
    let mut listing = Listing::default();
    for reference in references {
        let name = String::from_utf8(reference.name.into())
            .unwrap_or_else(|bytes| bytes.as_bytes().to_str_lossy().into_owned());
        let why = match reference.target {
            Target::Object(tip) => {
                tips.push((name, tip));
                continue;
            }
            Target::Symbolic(_) => format!("'{name}' is a symbolic ref"),
            Target::Broken => format!("the content of '{name}' is no object id"),
        };
        listing.skipped.push((name.into(), why));
    }
    (tips, listing)
}
