//! A session's files in this clone: what its processes need and what a crash leaves to be read.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::error::{Error, Result};
use super::files::{make_private_dir, read_json, remove, write_json};
use super::records::{Aside, Exit, Intent, Place, Relay, Run, Variables};
use crate::git::Durability;
use crate::session::SessionId;
use crate::worker::{Lease, Probe, Target, probe};

/// How long a command waits for another one that is at work on the same session.
const PATIENCE: Duration = Duration::from_secs(60);
/// The room that is set aside for an intent, in bytes: a block.
const RESERVE: usize = 4096;
/// The variable by which a worker's stray descendants are found, unique to clone and session.
pub const STATE_DIR: &str = "GIT_SESSION_STATE_DIR";

/// `run/<id>/`.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

/// The right to change a session's state or its processes, alone.
#[derive(Debug)]
pub struct Guard {
    pub lease: Lease,
}

impl RunDir {
    /// Names the directory; nothing is made.
    pub fn new(path: PathBuf) -> RunDir {
        RunDir { path }
    }

    /// Makes the directory and the worker's state directory in it.
    pub fn make(&self) -> Result<()> {
        make_private_dir(&self.path)?;
        make_private_dir(&self.state())
    }

    /// The session that it belongs to.
    pub fn id(&self) -> Option<SessionId> {
        self.path.file_name()?.to_str()?.parse().ok()
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Held while the supervisor lives.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.path.join("supervisor.lock")
    }

    /// Held while a descendant of the worker lives that didn't close it.
    pub fn job_lock(&self) -> PathBuf {
        self.path.join("job.lock")
    }

    /// What the worker wrote.
    pub fn output(&self) -> PathBuf {
        self.path.join("output.log")
    }

    /// What the supervisor had to say, if anything.
    pub fn relay_log(&self) -> PathBuf {
        self.path.join("relay.log")
    }

    pub fn supervisor_log(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    /// The worker's own state, saved and restored with its work.
    pub fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    /// That, and state from before the session went on elsewhere, which nothing else has.
    pub fn states(&self) -> Vec<PathBuf> {
        let is_older = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.as_encoded_bytes().starts_with(b"state.")
        };
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut states = vec![self.state()];
        states.extend(entries.map(|entry| entry.path()).filter(is_older));
        states
    }

    /// That alone, without what a killed command had begun to put back.
    pub fn older_states(&self) -> Vec<PathBuf> {
        let mut states = self.states();
        let is_older = |path: &PathBuf| path.extension().is_some_and(|word| word != "part");
        states.retain(is_older);
        states
    }

    /// The repositories of submodules of a worktree that is gone, until it is put back.
    pub fn modules(&self) -> PathBuf {
        self.path.join("modules")
    }

    /// Takes the right to change the session, waiting for another command that has it.
    pub fn guard(&self, id: &SessionId) -> Result<Guard> {
        self.make()?;
        let lease = Lease::acquire(&self.path.join("op.lock"), PATIENCE)?;
        lease
            .map(|lease| Guard { lease })
            .ok_or_else(|| Error::Busy(id.clone()))
    }

    /// Takes that right if it can be had in that time.
    pub fn guard_within(&self, patience: Duration) -> Result<Option<Guard>> {
        let lease = Lease::acquire(&self.path.join("op.lock"), patience)?;
        Ok(lease.map(|lease| Guard { lease }))
    }

    /// Whether somebody is changing the session right now.
    pub fn is_guarded(&self) -> Result<bool> {
        Ok(probe(&self.path.join("op.lock"))? == Probe::Held)
    }

    /// Whether the supervisor lives.
    pub fn is_supervised(&self) -> Result<bool> {
        Ok(probe(&self.supervisor_lock())? == Probe::Held)
    }

    /// Everything by which the processes of a run are known.
    pub fn target(&self, run: Option<&Run>) -> Target {
        let mut target = Target::new()
            .marker(STATE_DIR, self.state())
            .lease(self.job_lock())
            // One that is killed leaves its locks, that of all references too.
            .spared("git");
        if let Some(supervisor) = run.and_then(|run| run.supervisor.clone()) {
            target = target.supervisor(supervisor);
        }
        if let Some(worker) = run.and_then(|run| run.worker.clone()) {
            target = target.leader(worker);
        }
        target
    }

    /// The launch that is under way, alive, or not settled.
    pub fn run(&self) -> Result<Option<Run>> {
        let run: Option<Run> = read_json(&self.path.join("run.json"))?;
        // What came along with a copy of the repository is about processes of the other one.
        let is_ours =
            |run: &Run| run.dir.is_none() || self.inode().is_none_or(|inode| run.dir == Some(inode));
        Ok(run.filter(is_ours))
    }

    /// What tells the directory from a copy.
    pub fn inode(&self) -> Option<u64> {
        Some(fs::metadata(&self.path).ok()?.ino())
    }

    /// Writes the launch down. Only its beginning has to outlast the machine: pids mean nothing after a reboot.
    pub fn write_run(&self, run: &Run, durability: Durability) -> Result<()> {
        write_json(&self.path.join("run.json"), run, durability)
    }

    /// What was asked for, if it is about this attempt and still means something.
    pub fn intent(&self, attempt: &str, now: Timestamp) -> Result<Option<Intent>> {
        let intent: Option<Intent> = read_json(&self.path.join("intent.json"))?;
        Ok(intent.filter(|intent| intent.attempt == attempt && now <= intent.until))
    }

    /// Writes down what is asked for; where the disk is full, into the room that was set aside for it.
    pub fn write_intent(&self, intent: &Intent) -> Result<()> {
        let path = self.path.join("intent.json");
        write_json(&path, intent, Durability::Relaxed)
            .or_else(|error| self.spend(intent, &path).map_err(|_| error))
    }

    /// Sets room aside, so that a worker can be stopped when the disk is full.
    pub fn reserve(&self) -> std::io::Result<()> {
        fs::write(self.spare(), [0; RESERVE])
    }

    /// Nobody reads the spare file before it has its content and its name.
    fn spend(&self, intent: &Intent, path: &Path) -> std::io::Result<()> {
        let json = serde_json::to_vec(intent)?;
        let mut spare = File::options().write(true).open(self.spare())?;
        spare.write_all(&json)?;
        spare.set_len(json.len() as u64)?;
        fs::rename(self.spare(), path)
    }

    fn spare(&self) -> PathBuf {
        self.path.join("intent.spare")
    }

    pub fn clear_intent(&self) -> Result<()> {
        remove(&self.path.join("intent.json"))
    }

    /// How the attempt's worker ended, if its parent saw it.
    pub fn exit(&self, attempt: &str) -> Result<Option<Exit>> {
        let exit: Option<Exit> = read_json(&self.path.join("exit.json"))?;
        Ok(exit.filter(|exit| exit.attempt == attempt))
    }

    pub fn write_exit(&self, exit: &Exit) -> Result<()> {
        write_json(&self.path.join("exit.json"), exit, Durability::Relaxed)
    }

    /// Forgets a launch that is settled; the exit record stays until the next one.
    pub fn clear_run(&self) -> Result<()> {
        remove(&self.path.join("intent.json"))?;
        remove(&self.spare())?;
        remove(&self.path.join("run.json"))
    }

    pub fn place(&self) -> Result<Option<Place>> {
        read_json(&self.path.join("worktree.json"))
    }

    pub fn write_place(&self, place: &Place) -> Result<()> {
        write_json(&self.path.join("worktree.json"), place, Durability::Relaxed)
    }

    /// Worktrees that were moved out of the way and of which something is kept, or not told yet.
    pub fn asides(&self) -> Result<Vec<Aside>> {
        let mut asides: Vec<Aside> = read_json(&self.path.join("asides.json"))?.unwrap_or_default();
        asides.retain(|aside| aside.of == self.inode());
        Ok(asides)
    }

    pub fn write_asides(&self, asides: &[Aside], durability: Durability) -> Result<()> {
        match asides {
            [] => remove(&self.path.join("asides.json")),
            _ => write_json(&self.path.join("asides.json"), &asides, durability),
        }
    }

    /// How the session's steps are sent on, if they are.
    pub fn relay(&self) -> Result<Option<Relay>> {
        read_json(&self.path.join("relay.json"))
    }

    pub fn write_relay(&self, relay: &Relay) -> Result<()> {
        write_json(&self.path.join("relay.json"), relay, Durability::Relaxed)
    }

    pub fn clear_place(&self) -> Result<()> {
        remove(&self.path.join("worktree.json"))
    }

    /// The values of variables given with the command line.
    pub fn variables(&self) -> Result<Variables> {
        Ok(read_json(&self.path.join("env.json"))?.unwrap_or_default())
    }

    pub fn write_variables(&self, variables: &Variables) -> Result<()> {
        write_json(&self.path.join("env.json"), variables, Durability::Durable)
    }

    pub fn clear_variables(&self) -> Result<()> {
        remove(&self.path.join("env.json"))
    }
}
