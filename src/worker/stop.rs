//! The ladder by which a job is ended: its signal, CONT, grace, KILL, until a scan finds nothing.

use std::{
    collections::HashSet,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    handle::{Sent, open, wait_for_ends},
    identity::ProcessId,
    lease::{Probe, probe},
    platform::PlatformError,
    scan::{Process, Target, scan},
    signal::Signal,
};

/// How long killed processes may take to go before they are called survivors.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a program that is asked before it gets KILL may take for its clean-up.
const SPARE: Duration = Duration::from_secs(1);
/// How long a round of KILL waits before it looks for what came meanwhile.
const ROUND: Duration = Duration::from_millis(50);
/// The pause between two looks at whether the grace is to be cut short, or a lease is free.
const LOOK: Duration = Duration::from_millis(20);

/// How a job is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ladder {
    /// The signal and CONT, then up to `grace` for all to go, then KILL.
    Ask { signal: Signal, grace: Duration },
    /// KILL at once.
    Kill,
}

/// What a ladder has done.
#[derive(Debug, Clone, Default)]
pub struct Stopped {
    /// What is still alive: stuck in the kernel, or not ours to signal. Empty means that nothing is.
    pub survivors: Vec<Process>,
    /// Whether KILL, or TERM in its place, was needed.
    pub killed: bool,
    /// Whether the job's lease is still held, although no scan finds by whom.
    pub unseen: bool,
    /// Everything that got a signal, in that order, each once.
    pub signalled: Vec<Process>,
}

/// Ends a job and returns when nothing of it is alive, or when what is can't be killed.
///
/// Nothing is alive when two scans in a row find nothing and the job's lease, if the target has one, is free.
/// A process that appears meanwhile gets the signal too, except as the child of one that has got it and is
/// still at work: that is its clean-up, and ends with the grace at the latest. Where others get KILL, processes of the program
/// that the target spares get TERM, and KILL a second later. Takes up to the grace and ten seconds. Errors only where the table of processes can't be read.
pub fn stop(target: &Target, ladder: Ladder) -> Result<Stopped, PlatformError> {
    stop_hurried(target, ladder, None)
}

/// The same, where the grace is over as soon as somebody sets `hurry`.
///
/// All have got the ladder's signal by then, so who looks on knows that they did not end by themselves.
pub fn stop_hurried(
    target: &Target,
    ladder: Ladder,
    hurry: Option<&AtomicBool>,
) -> Result<Stopped, PlatformError> {
    let mut stopped = Stopped::default();
    if let Ladder::Ask { signal, grace } = ladder {
        ask(target, signal, grace, hurry, &mut stopped)?;
    }
    kill(target, &mut stopped)?;
    Ok(stopped)
}

/// Waits until nothing of a job is alive, at most for `patience`; who stays is left alone.
pub fn wait_gone(target: &Target, patience: Duration) -> Result<(), PlatformError> {
    let until = Instant::now() + patience;
    loop {
        let mut handles = open(target.platform, scan(target)?);
        if handles.is_empty() || Instant::now() >= until {
            return Ok(());
        }
        wait_for_ends(&mut handles, until)?;
    }
}

fn ask(
    target: &Target,
    signal: Signal,
    grace: Duration,
    hurry: Option<&AtomicBool>,
    stopped: &mut Stopped,
) -> Result<(), PlatformError> {
    let start = Instant::now();
    let mut asked: HashSet<ProcessId> = HashSet::new();
    loop {
        let processes = scan(target)?;
        if processes.is_empty() {
            return Ok(());
        }
        let at_work: HashSet<i32> = processes
            .iter()
            .filter(|process| asked.contains(&process.id))
            .map(|process| process.id.pid)
            .collect();
        let mut handles = open(target.platform, processes);
        let mut fresh = Vec::new();
        for handle in &handles {
            let process = &handle.process;
            if !asked.contains(&process.id) && !at_work.contains(&process.parent) {
                if handle.send(signal)? == Sent::Delivered {
                    stopped.signalled.push(process.clone());
                }
                asked.insert(process.id.clone());
                fresh.push(handle);
            }
        }
        // A stopped process takes the signal only when it is continued.
        for handle in fresh {
            handle.send(Signal::CONT)?;
        }
        let waited = start.elapsed();
        if waited >= grace || hurry.is_some_and(is_set) {
            return Ok(());
        }
        // An hour at a time keeps a grace of any length within what the clock can add.
        let left = (grace - waited).min(Duration::from_secs(3600));
        let until = Instant::now() + left;
        match hurry {
            None => wait_for_ends(&mut handles, until)?,
            Some(hurry) => {
                let all = handles.len();
                while handles.len() == all && Instant::now() < until && !is_set(hurry) {
                    wait_for_ends(&mut handles, until.min(Instant::now() + LOOK))?;
                }
            }
        }
    }
}

fn is_set(flag: &AtomicBool) -> bool {
    flag.load(Ordering::SeqCst)
}

fn kill(target: &Target, stopped: &mut Stopped) -> Result<(), PlatformError> {
    let start = Instant::now();
    let mut known: HashSet<ProcessId> = HashSet::new();
    let mut empty = false;
    loop {
        let processes = scan(target)?;
        if processes.is_empty() {
            // One that forked and ended while we looked is seen by looking again.
            if empty {
                stopped.unseen = is_held(target);
                if !stopped.unseen || start.elapsed() >= PATIENCE {
                    return Ok(());
                }
                // Whoever has it may be about to go.
                thread::sleep(LOOK);
            }
            empty = true;
            continue;
        }
        empty = false;
        let mut handles = open(target.platform, processes.clone());
        let mut refused = 0;
        let mut fresh = false;
        let spares = start.elapsed() < SPARE;
        // The spared come first: they are not to work on with what the others' ends leave them.
        handles.sort_by_key(|handle| !is_spared(target, &handle.process));
        for handle in &handles {
            let signal = match spares && is_spared(target, &handle.process) {
                // A second one would end its clean-up.
                true if known.contains(&handle.process.id) => continue,
                true => Signal::TERM,
                false => Signal::KILL,
            };
            match handle.send(signal)? {
                Sent::Delivered => {
                    stopped.killed = true;
                    // A stopped process takes the signal only when it is continued.
                    handle.send(Signal::CONT)?;
                    if known.insert(handle.process.id.clone()) {
                        fresh = true;
                        note(stopped, &handle.process);
                    }
                }
                Sent::Refused => refused += 1,
                Sent::Gone => {}
            }
        }
        if refused == handles.len() || start.elapsed() >= PATIENCE {
            stopped.survivors = processes;
            return Ok(());
        }
        // What forks faster than we wait is chased without waiting.
        if !fresh {
            wait_for_ends(&mut handles, Instant::now() + ROUND)?;
        }
    }
}

fn is_spared(target: &Target, process: &Process) -> bool {
    // Some systems show the whole path.
    target
        .spared
        .is_some_and(|name| Path::new(&process.name).ends_with(name))
}

/// A lease that can't be looked at may well be held.
fn is_held(target: &Target) -> bool {
    let lease = target.lease.as_deref();
    lease.is_some_and(|path| !matches!(probe(path), Ok(Probe::Free | Probe::Absent)))
}

fn note(stopped: &mut Stopped, process: &Process) {
    if !stopped.signalled.iter().any(|known| known.id == process.id) {
        stopped.signalled.push(process.clone());
    }
}
