//! Leases on files: a `flock` that is held exactly as long as its holder lives.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::{fs::FlockOperation, io::Errno};

/// How long a taker goes on when only readers, who let go at once, are in its way.
const READERS: Duration = Duration::from_millis(500);
/// The pauses between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(10));

/// An exclusive lock on a file, let go when dropped or when the process ends.
///
/// The descriptor is close-on-exec. A child that is to keep the lock from being taken while it runs inherits it
/// through [`as_fd`](AsFd::as_fd); dropping the lease lets it go for such children too.
#[derive(Debug)]
pub struct Lease {
    file: File,
}

/// A lock file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot lock '{}': {source}", path.display())]
pub struct LeaseError {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

/// What a look at a lease shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Someone has it.
    Held,
    /// The file is there, and nobody has it.
    Free,
    /// There is no such file.
    Absent,
}

impl Lease {
    /// Takes the lease, trying for up to `wait` while another has it; `None` when that one keeps it.
    ///
    /// Makes the file, mode 0600, but not its directory. Readers who [`probe`] at this moment don't count as
    /// holders, whatever `wait` is.
    pub fn acquire(path: &Path, wait: Duration) -> Result<Option<Self>, LeaseError> {
        Ok(lock(path, wait)?.map(|file| Self { file }))
    }

    /// Takes the lease, however long another has it.
    pub fn acquire_blocking(path: &Path) -> Result<Self, LeaseError> {
        loop {
            let file = open(path).map_err(at(path))?;
            take(&file, FlockOperation::LockExclusive).map_err(at(path))?;
            if is_still(&file, path).map_err(at(path))? {
                return Ok(Self { file });
            }
        }
    }

    /// Takes the lease in the form that a child may inherit: held until the last copy of the descriptor, in
    /// whichever process, is closed. It is close-on-exec here; `None` when another keeps it for all of `wait`.
    pub fn inheritable(path: &Path, wait: Duration) -> Result<Option<OwnedFd>, LeaseError> {
        Ok(lock(path, wait)?.map(OwnedFd::from))
    }
}

impl AsFd for Lease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Closing would do, were there not children between fork and exec that have a copy for a moment.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// Looks whether a lease is held, without making the file and without ever being taken for a holder.
pub fn probe(path: &Path) -> Result<Probe, LeaseError> {
    let Some(file) = open_read(path)? else {
        return Ok(Probe::Absent);
    };
    match take(&file, FlockOperation::NonBlockingLockShared).map_err(at(path))? {
        Taken::Yes => Ok(Probe::Free),
        Taken::No => Ok(Probe::Held),
    }
}

/// Waits until nobody has the lease: at most for `limit`, else however long it takes.
///
/// Returns whether it was free at some moment; a file that isn't there is free. With a limit that runs out, a
/// thread stays behind that sleeps in the kernel until the lease gets free, has it shared for an instant, and
/// ends.
pub fn wait_free(path: &Path, limit: Option<Duration>) -> Result<bool, LeaseError> {
    match probe(path)? {
        Probe::Free | Probe::Absent => return Ok(true),
        Probe::Held if limit.is_some_and(|limit| limit.is_zero()) => return Ok(false),
        Probe::Held => {}
    }
    let Some(file) = open_read(path)? else {
        return Ok(true);
    };
    let Some(limit) = limit else {
        take(&file, FlockOperation::LockShared).map_err(at(path))?;
        return Ok(true);
    };
    let (done, wait) = mpsc::channel();
    thread::Builder::new()
        .name("wait-free".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || {
            let taken = take(&file, FlockOperation::LockShared);
            drop(file);
            // Nobody may be waiting any more.
            let _ = done.send(taken);
        })
        .map_err(at(path))?;
    match wait.recv_timeout(limit) {
        Ok(taken) => taken.map(|_| true).map_err(at(path)),
        Err(_) => Ok(false),
    }
}

fn lock(path: &Path, wait: Duration) -> Result<Option<File>, LeaseError> {
    let start = Instant::now();
    let mut pause = PAUSES.0;
    loop {
        let file = open(path).map_err(at(path))?;
        match take(&file, FlockOperation::NonBlockingLockExclusive).map_err(at(path))? {
            Taken::Yes if is_still(&file, path).map_err(at(path))? => {
                return Ok(Some(file));
            }
            Taken::Yes => continue,
            Taken::No => {}
        }
        let shared = take(&file, FlockOperation::NonBlockingLockShared).map_err(at(path))?;
        drop(file);
        let patience = match shared {
            Taken::Yes => wait.max(READERS),
            Taken::No => wait,
        };
        let waited = start.elapsed();
        if waited >= patience {
            return Ok(None);
        }
        thread::sleep(pause.min(patience - waited));
        pause = (pause * 2).min(PAUSES.1);
    }
}

enum Taken {
    Yes,
    No,
}

fn take(file: &File, how: FlockOperation) -> io::Result<Taken> {
    loop {
        match rustix::fs::flock(file, how) {
            Ok(()) => return Ok(Taken::Yes),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Taken::No),
            Err(error) => return Err(error.into()),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn open_read(path: &Path) -> Result<Option<File>, LeaseError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// A lock on a file that was removed or replaced meanwhile excludes nobody.
fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> LeaseError {
    move |source| LeaseError {
        path: path.to_owned(),
        source,
    }
}
