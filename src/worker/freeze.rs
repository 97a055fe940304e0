//! Holds a job still, and lets it go on.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use super::{
    handle::{Sent, open},
    identity::ProcessId,
    platform::PlatformError,
    scan::{Process, Target, scan},
    signal::Signal,
};

/// How long a freeze may take before what still moves is given back as such.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one attempt goes on before it is undone for a moment and begun again.
const ATTEMPT: Duration = Duration::from_millis(250);
/// The pauses between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// How long a job goes on that must not stand where it stood; it doubles with each further time.
const GO_ON: Duration = Duration::from_millis(5);
/// How often it is let go on for that.
const TIMES: u32 = 8;

/// What a freeze has done.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    /// What was stopped by it; what had been stopped before is not among them.
    pub stopped: Vec<Process>,
    /// What can't be held: stuck in the kernel, or not ours to signal. Empty means that nothing moves.
    pub moving: Vec<Process>,
}

impl Frozen {
    /// Continues what was stopped, and nothing that stood still before.
    pub fn release(self, target: &Target) -> Result<(), PlatformError> {
        send(target, self.stopped, Signal::CONT).map(drop)
    }
}

/// Stops every process of a job, and returns when two looks in a row find none that moves.
///
/// `may_stand` tells whether they may stand where they do, as with nothing in their hands that others need. If not, they
/// go on for a moment; after eight times, and some 1.3 seconds, they stand all the same.
///
/// Takes up to five seconds. When some are still moving the caller decides whether to [release](Frozen::release) the
/// others; after an error, whether to [`thaw`] all. Errors only where the table of processes can't be read.
pub fn freeze(target: &Target, may_stand: impl Fn() -> bool) -> Result<Frozen, PlatformError> {
    let start = Instant::now();
    let mut frozen = Frozen::default();
    let mut known: HashSet<ProcessId> = HashSet::new();
    // When the attempt's first signal went out: to find whom it is for may take long by itself.
    let mut attempt: Option<Instant> = None;
    let mut pause = PAUSES.0;
    let mut still = false;
    let mut times = 0;
    loop {
        let moving: Vec<Process> = scan(target)?
            .into_iter()
            .filter(|process| !process.held)
            .collect();
        if moving.is_empty() {
            // The first look stops nothing that had already forked behind it; the second finds its child.
            if !still {
                still = true;
                continue;
            }
            if times == TIMES || frozen.stopped.is_empty() || may_stand() {
                return Ok(frozen);
            }
            send(target, frozen.stopped.clone(), Signal::CONT)?;
            thread::sleep(GO_ON * 2_u32.pow(times));
            times += 1;
            still = false;
            attempt = None;
            pause = PAUSES.0;
            continue;
        }
        still = false;
        if start.elapsed() >= PATIENCE {
            frozen.moving = moving;
            return Ok(frozen);
        }
        if attempt.is_some_and(|begun| begun.elapsed() >= ATTEMPT) {
            // A parent in vfork can't stop before its child has gone on to exec, so a child stopped there must
            // be let go.
            send(target, frozen.stopped.clone(), Signal::CONT)?;
            attempt = None;
            pause = PAUSES.0;
        } else {
            attempt.get_or_insert_with(Instant::now);
            for process in send(target, moving, Signal::STOP)? {
                if known.insert(process.id.clone()) {
                    frozen.stopped.push(process);
                }
            }
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Continues every process of a job, whoever stopped it; gives back those that were continued.
pub fn thaw(target: &Target) -> Result<Vec<Process>, PlatformError> {
    send(target, scan(target)?, Signal::CONT)
}

/// Sends a signal to each and gives back those that got it.
fn send(target: &Target, processes: Vec<Process>, signal: Signal) -> Result<Vec<Process>, PlatformError> {
    let mut sent = Vec::new();
    for handle in open(target.platform, processes) {
        if handle.send(signal)? == Sent::Delivered {
            sent.push(handle.process);
        }
    }
    Ok(sent)
}
