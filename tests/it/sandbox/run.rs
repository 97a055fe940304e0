//! A command that has ended, and what may be asked of it.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

/// A command that has ended.
pub struct Run {
    line: String,
    /// The exit code, or 128 and the signal as in a shell.
    pub code: i32,
    pub bytes: Vec<u8>,
    pub stderr: String,
}

impl Run {
    pub(super) fn new(line: String, output: Output) -> Run {
        let code = output.status.code();
        Run {
            line,
            code: code.unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
            bytes: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts that it did what it was asked.
    #[track_caller]
    pub fn ok(&self) -> &Run {
        self.exits(0)
    }

    /// Asserts its exit code.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Run {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Asserts that it was refused: its exit code, one error for people, nothing as data.
    #[track_caller]
    pub fn fails(&self, code: i32) -> &Run {
        self.exits(code);
        assert!(self.stderr.starts_with("error: "), "no error is told\n{self}");
        assert_eq!(self.text(), "", "an error has data\n{self}");
        assert!(!self.stderr.contains("panicked"), "{self}");
        self
    }

    /// Asserts what people are told.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Run {
        assert!(self.stderr.contains(text), "'{text}' is not told\n{self}");
        self
    }

    /// Asserts what is printed.
    #[track_caller]
    pub fn prints(&self, text: &str) -> &Run {
        assert!(self.stdout().contains(text), "'{text}' is not printed\n{self}");
        self
    }

    /// What it printed.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// What it printed, without the last line's end.
    pub fn text(&self) -> String {
        let text = self.stdout();
        text.strip_suffix('\n').unwrap_or(&text).to_owned()
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.line)?;
        writeln!(f, "exit code: {}", self.code)?;
        writeln!(f, "stdout:\n{}", self.stdout())?;
        writeln!(f, "stderr:\n{}", self.stderr)
    }
}
