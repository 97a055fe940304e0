//! Signals by the names people type and read.

use std::{fmt, str::FromStr};

use rustix::process::Signal as Raw;
use serde::{Deserialize, Serialize};

/// The signals that have one name on every system we build for.
const NAMES: [(&str, Raw); 29] = [
    ("HUP", Raw::HUP),
    ("INT", Raw::INT),
    ("QUIT", Raw::QUIT),
    ("ILL", Raw::ILL),
    ("TRAP", Raw::TRAP),
    ("ABRT", Raw::ABORT),
    ("BUS", Raw::BUS),
    ("FPE", Raw::FPE),
    ("KILL", Raw::KILL),
    ("USR1", Raw::USR1),
    ("SEGV", Raw::SEGV),
    ("USR2", Raw::USR2),
    ("PIPE", Raw::PIPE),
    ("ALRM", Raw::ALARM),
    ("TERM", Raw::TERM),
    ("CHLD", Raw::CHILD),
    ("CONT", Raw::CONT),
    ("STOP", Raw::STOP),
    ("TSTP", Raw::TSTP),
    ("TTIN", Raw::TTIN),
    ("TTOU", Raw::TTOU),
    ("URG", Raw::URG),
    ("XCPU", Raw::XCPU),
    ("XFSZ", Raw::XFSZ),
    ("VTALRM", Raw::VTALARM),
    ("PROF", Raw::PROF),
    ("WINCH", Raw::WINCH),
    ("IO", Raw::IO),
    ("SYS", Raw::SYS),
];

/// A signal that has a name. Shown, and stored by serde, as that name without `SIG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(Raw);

/// The text names no signal of this system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a signal")]
pub struct SignalError(pub String);

impl Signal {
    pub const HUP: Self = Self(Raw::HUP);
    pub const INT: Self = Self(Raw::INT);
    pub const TERM: Self = Self(Raw::TERM);
    pub const KILL: Self = Self(Raw::KILL);
    pub const STOP: Self = Self(Raw::STOP);
    pub const CONT: Self = Self(Raw::CONT);
    pub const USR1: Self = Self(Raw::USR1);

    /// Takes a number as wait(2) reports it; `None` where it has no name here.
    pub fn from_number(number: i32) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, raw)| raw.as_raw() == number)
            .map(|(_, raw)| Self(*raw))
    }

    /// Gives the number that this system has for it.
    pub fn number(self) -> i32 {
        self.0.as_raw()
    }

    /// Gives the name without `SIG`, such as `TERM`.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, raw)| *raw == self.0)
            .map_or("?", |(name, _)| name)
    }

    pub(super) fn raw(self) -> Raw {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Reads `TERM`, `SIGTERM`, `term` or `15`, as kill(1) does.
impl FromStr for Signal {
    type Err = SignalError;

    fn from_str(text: &str) -> Result<Self, SignalError> {
        let refused = || SignalError(text.to_owned());
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let number = text.parse().map_err(|_| refused())?;
            return Self::from_number(number).ok_or_else(refused);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, raw)| Self(*raw))
            .ok_or_else(refused)
    }
}

impl TryFrom<String> for Signal {
    type Error = SignalError;

    fn try_from(text: String) -> Result<Self, SignalError> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.name().to_owned()
    }
}

/// Runs `action` each time that the signal comes, from now to the process's end, instead of what it did before.
///
/// The action runs in the signal handler: it may touch atomics and nothing that locks or allocates.
pub fn on_signal(signal: Signal, action: impl Fn() + Send + Sync + 'static) -> std::io::Result<()> {
    // SAFETY: the caller keeps the action to what is async-signal-safe, as said above.
    unsafe { signal_hook::low_level::register(signal.number(), action) }.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_read_in_every_spelling() {
        for text in ["INT", "SIGINT", "int", "sigint", "2"] {
            assert_eq!(text.parse(), Ok(Signal::INT), "{text}");
        }
        for text in [
            "",
            "SIG",
            "0",
            "-2",
            "+2",
            "2x",
            "999999999999",
            "NOPE",
            "SIGSIGINT",
            "INT ",
        ] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_name_survives_the_way_out_and_back() {
        for (name, raw) in NAMES {
            assert_eq!(Signal(raw).to_string(), name);
            assert_eq!(name.parse(), Ok(Signal(raw)));
            assert_eq!(Signal::from_number(raw.as_raw()), Some(Signal(raw)));
        }
    }
}
