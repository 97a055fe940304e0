//! Sessions in git: workers that run in worktrees of their own, with every step of their lives a commit.
//!
//! The program `git-session` is [`cli::main`] and nothing else; a program that wants the same without a command line
//! opens an [`ops::Workspace`] and calls the operations in [`ops`].
//!
//! # The rooms
//!
//! | room | what it knows | whom it may call |
//! |---|---|---|
//! | [`session`] | ids, states, events, specifications: data and rules, without clock, file or process | nobody |
//! | [`git`] | repositories, references, worktrees, snapshots; it has not heard of sessions | nobody |
//! | [`worker`] | processes: started, watched, found again, stopped; it has not heard of git | nobody |
//! | [`store`] | where sessions are in git: events to commits and back, listing, appending | `session`, `git` |
//! | [`ops`] | one use case a file: takes facts, returns what happened, never prints | the four above |
//! | [`render`] | values to text and JSON, and escaping for terminals | `session`, `ops` |
//! | [`cli`] | one verb a file: arguments, one operation, one way to show it; errors to hints and exit codes | all |
//!
//! A test holds them to it. To follow one command through them, read `cli/suspend.rs`, then [`ops::stop`],
//! [`ops::settle`], [`store`] and [`git::snapshot`].
//!
//! # What holds everywhere
//!
//! - [`session::state::next`] is the one table of legal steps; nothing else assigns a state.
//! - The log is the commit point: objects first, then one compare-and-swap of `refs/sessions/<id>`; all that follows
//!   can be done again. Each update of a reference names what it replaces, and losing is a value.
//! - Who changes a session holds its guard ([`ops::local`]). Who reads holds nothing and writes nothing.
//! - A held lock means alive; pids are only for signals, after a proof by start time and boot.
//! - Processes have two doors: [`git::command`] for git, [`worker`] for everything else. Arguments are lists.
//! - Paths are bytes. What comes from outside is parsed at the door, and is no reason to panic.
//!
//! # What is absent on purpose
//!
//! - No daemon: each session has a supervisor of its own, which is gone when the session's worker is.
//! - No state outside the repository, and none that is authoritative outside references: what is in
//!   `<git dir>/session` tells about processes here, or can be worked out again.
//! - No clock decides an order; sequence numbers and parents do.
//! - No status of worktrees in lists: what is shown as changed is what was saved.
//! - No shell between a specification and its worker.
//! - Nothing starts again by itself after a crash.
//!
//! # Every place that deletes something
//!
//! | where | what goes | what was kept first |
//! |---|---|---|
//! | `ops/prune/mod.rs` | an ended session's parked worktree | its work: the worktree is compared with the snapshot and stays where it differs, is locked, or has what no snapshot holds or commits that only the log of its HEAD has, and where the snapshot can't be read whole; ignored files go only when that is asked for |
//! | `ops/prune/mod.rs` | ignored files of an older worktree that had no place in the one after it, when that is asked for | nothing: the directory stays where it has anything else |
//! | `ops/prune/mod.rs` | git's record of a parked worktree whose directory is gone | its HEAD and index: it stays where these have what is not saved, or where it has repositories of submodules |
//! | `ops/prune/branch.rs` | a branch that was made for an ended session | its commits: all are in HEAD, and the branch still is where it was seen |
//! | `ops/restore.rs`, `ops/checkout.rs` | a worktree that was being put back when that failed | the snapshot that it is made from |
//! | `ops/placing.rs`, by `git/worktree/trash.rs` and `git/worktree/modules.rs` | what a killed start or resume left: no HEAD, no directory, or a record that doesn't say that it is whole | nothing had run in it, and what is put back stays in its snapshot; of one whose directory is gone, HEAD and index are saved first; it is moved to the trash, but for the repositories of submodules, which the new worktree gets |
//! | `ops/aside.rs` | a worktree from before its session went on on another clone | its work: what was changed in it since it was saved is saved first, or it stays; ignored files go into the new worktree, or are kept in a directory beside it |
//! | `ops/aside.rs` | a worker's state from before its session went on on another clone | work that was saved here has it just so, or it is kept beside |
//! | `ops/fence.rs` | what the log here has and home's lacks, where home has another owner: the log follows home | it is in the session's inbox at home |
//! | `ops/inbox.rs`, `ops/requests.rs`, `ops/sync.rs` | entries of an inbox, here and at home | home's log has the answer, or the merge; or home's inbox has the entry |
//! | `ops/verify/repair.rs` | what was seen at a remote that is configured no more, when repair is asked for | the log here has all of it |
//! | `ops/doctor/remotes.rs` | what was seen at a remote by its old name, when repair is asked for | it has the new name, or what was seen by that has all of it |
//! | `ops/doctor/probe.rs` | references that were made on a remote a moment ago, to see whether it takes them | nothing: they mean nothing |
//! | `ops/tracking.rs` | the memory of a log that its remote has no more | the log here has all of it, or it was none of a session |
//! | `ops/forget/mod.rs` | an ended session's work, here and on remotes, when its user says so | nothing, on purpose: the log says that it was forgotten |
//! | `ops/forget/held.rs` | its parked worktree, output and worker's state, when that is asked for too | nothing, on purpose |
//! | `ops/clone.rs` | records of runs that came along with a copied clone | moved to the trash; the processes in them are the other clone's |
//! | `ops/settle.rs`, by `git/worktree/locks.rs` | lock files that a session's processes left in their worktree's git directory | moved to the trash; nothing of the session is alive |
//! | `git/worktree/trash.rs` | the trash, whenever something is pruned | what was moved there by the places above |
//! | `git/worktree/again.rs` | a directory that could not be made again whole | nothing had run in it; it is made from git's index |
//! | `git/worktree/hold.rs` | the lock of a worktree whose session ended | the session's last event |
//! | `git/snapshot/restore.rs`, `git/snapshot/bring_back.rs`, `git/snapshot/store.rs` | files in the way of what is put back, in a worktree that was made for it, and state that a killed command had begun to put back | the snapshot that is put back |
//! | `git/refs/files.rs` | a reference that is removed, with its reflog, and empty directories on a new one's way | the reference's old value is named by the caller |
//! | `git/refs/abandoned.rs` | the lock that a killed git left on all references of a reftable | nothing: it holds names of tables, and no process has it open |
//! | `git/refs/lock.rs`, `git/refs/temporary.rs` | our own locks and old temporary files | a lock goes only with its `flock` held |
//! | `git/refs/bulk.rs` | `packed-refs`, which is replaced by a version with many new values | all that it held; no value that wasn't as its caller said is changed |
//! | `git/refs/spare.rs` | the file that held another reference's value before its present one | nothing: it is no reference's value |
//! | `git/loose.rs` | a loose object's temporary file, which becomes the object | nothing: the object is new |
//! | `git/pack.rs` | the temporary files of a pack and its index, which become these | nothing: the pack is new |
//! | `git/packs.rs` | packs of ours that were merged into one, `.keep` files and unfinished packs of killed processes | the merged pack, on disk; what is an hour old |
//! | `git/batch.rs` | `.keep` files of our own packs | a reference has the objects by then, or the file is an hour old |
//! | `ops/local.rs`, by `ops/files.rs` | records of a launch (`run.json`, `intent.json`) and of a worktree (`worktree.json`) | the event that settled the launch; the worktree is gone |
//! | `ops/relay/carry.rs` | what a relay complained of | nothing: all is sent by then |
//! | `ops/create.rs` | values of variables that an older version kept for a session that was never made | nothing: no session has them |
//! | `ops/approvals.rs` | an approval that is taken back | nothing: it can be given again |
//! | `ops/files.rs`, `ops/local.rs`, `ops/setup.rs`, `store/cache.rs` | a file of ours that is replaced by a new version of it, whole | nothing: the new one says all that the old one did |
//!
//! Logs and notes are deleted by nobody, and work by `forget` alone.

pub mod cli;
pub mod git;
pub mod ops;
pub mod render;
pub mod session;
pub mod store;
pub mod worker;
