//! Which process a pid stands for: the pid alone is used again, with start time and boot it is not.

use std::{fmt, io, sync::OnceLock};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::platform::{Entry, Platform, State};

/// A process, told apart from every other that had or will have its pid.
///
/// In the POSIX form `boot_id` is empty and `pid_namespace` is 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: i32,
    /// Clock ticks since boot where there is a boot id, else seconds since 1970.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The inode of `/proc/self/ns/pid` of whoever wrote the pid down.
    pub pid_namespace: u64,
    /// The machine id, or the host's name where there is none.
    pub host: String,
}

/// Whether a process lives. What can't be seen from here is never said to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    /// Ended (a zombie too), its pid in other hands, or from before the last boot of this machine.
    Gone,
    Unknown(Unsure),
}

/// Why nothing is known about a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsure {
    OtherHost,
    OtherNamespace,
    /// The table of processes is closed to us, or hides this one.
    Unreadable,
}

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherHost => "it runs on another host",
            Self::OtherNamespace => "it runs in another pid namespace",
            Self::Unreadable => "the system does not show it",
        })
    }
}

impl ProcessId {
    /// Reads the identity of a process; a zombie has one too.
    ///
    /// Errors are of kind `NotFound` when no process has that pid.
    pub fn of(pid: i32) -> io::Result<Self> {
        Self::seen_by(Platform::current(), pid)
    }

    /// The calling process.
    pub fn current() -> io::Result<Self> {
        Self::of(own_pid())
    }

    /// Reads the identity of a process by one form of looking; as [`of`](Self::of) otherwise.
    pub fn seen_by(platform: Platform, pid: i32) -> io::Result<Self> {
        let entry = platform.entry(pid).map_err(io::Error::other)?;
        let entry = entry
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no process {pid}")))?;
        Ok(Self::from_entry(platform, &entry))
    }

    pub(super) fn from_entry(platform: Platform, entry: &Entry) -> Self {
        let place = Place::here(platform);
        Self {
            pid: entry.pid,
            start_time: entry.start_time,
            boot_id: place.boot_id.clone(),
            pid_namespace: place.pid_namespace,
            host: place.host.clone(),
        }
    }

    /// Looks whether the process lives, by the form in which it was written down.
    pub fn check(&self) -> Liveness {
        let platform = match self.form() {
            Ok(platform) => platform,
            Err(liveness) => return liveness,
        };
        match platform.entry(self.pid) {
            Ok(Some(entry)) if self.is(&entry) && entry.state != State::Zombie => Liveness::Alive,
            Ok(Some(_)) => Liveness::Gone,
            Ok(None) if self.is_hidden() => Liveness::Unknown(Unsure::Unreadable),
            Ok(None) => Liveness::Gone,
            Err(_) => Liveness::Unknown(Unsure::Unreadable),
        }
    }

    /// Whether the process is certainly alive.
    pub fn is_alive(&self) -> bool {
        self.check() == Liveness::Alive
    }

    /// Whether the entry, read here and now, is this process.
    pub(super) fn is(&self, entry: &Entry) -> bool {
        // `ps` derives the seconds from a boot time that the clock's corrections move.
        let tolerance = u64::from(self.boot_id.is_empty());
        self.is_from_here()
            && self.pid == entry.pid
            && self.start_time.abs_diff(entry.start_time) <= tolerance
    }

    /// Whether the pid means something here: this host, this boot, this namespace.
    pub(super) fn is_from_here(&self) -> bool {
        self.form().is_ok()
    }

    /// The form that can find this process from here, or what is known without looking.
    fn form(&self) -> Result<Platform, Liveness> {
        let platform = self.written_by();
        let Some(platform) = platform else {
            return Err(Liveness::Unknown(Unsure::OtherHost));
        };
        let place = Place::here(platform);
        if self.host != place.host {
            Err(Liveness::Unknown(Unsure::OtherHost))
        } else if self.boot_id != place.boot_id {
            Err(Liveness::Gone)
        } else if self.pid_namespace != place.pid_namespace {
            Err(Liveness::Unknown(Unsure::OtherNamespace))
        } else {
            Ok(platform)
        }
    }

    fn written_by(&self) -> Option<Platform> {
        if self.boot_id.is_empty() {
            return Some(Platform::Posix);
        }
        #[cfg(target_os = "linux")]
        return Some(Platform::Linux);
        #[cfg(not(target_os = "linux"))]
        None
    }

    /// A `/proc` mounted with `hidepid` shows nothing of a process that kill(2) still knows.
    fn is_hidden(&self) -> bool {
        let Some(pid) = to_pid(self.pid) else {
            return false;
        };
        // A process that came just now, in between, is no concern: saying less is safe.
        rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
    }
}

/// A pid as the system takes it; `None` for what names no process, or a whole group.
pub(super) fn to_pid(raw: i32) -> Option<Pid> {
    (raw > 0).then(|| Pid::from_raw(raw)).flatten()
}

pub(super) fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Where a pid means something.
struct Place {
    boot_id: String,
    pid_namespace: u64,
    host: String,
}

impl Place {
    fn here(platform: Platform) -> &'static Self {
        static POSIX: OnceLock<Place> = OnceLock::new();
        #[cfg(target_os = "linux")]
        static LINUX: OnceLock<Place> = OnceLock::new();
        match platform {
            #[cfg(target_os = "linux")]
            Platform::Linux => LINUX.get_or_init(|| {
                use std::os::unix::fs::MetadataExt;
                Self {
                    boot_id: boot_id().unwrap_or_default(),
                    pid_namespace: std::fs::metadata("/proc/self/ns/pid").map_or(0, |ns| ns.ino()),
                    host: host(),
                }
            }),
            Platform::Posix => POSIX.get_or_init(|| Self {
                boot_id: String::new(),
                pid_namespace: 0,
                host: host(),
            }),
        }
    }
}

/// The kernel's name for this boot; `None` where `/proc` doesn't tell it.
#[cfg(target_os = "linux")]
pub(super) fn boot_id() -> Option<String> {
    first_line("/proc/sys/kernel/random/boot_id")
}

fn host() -> String {
    first_line("/etc/machine-id")
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

fn first_line(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
