//! Colour, only where a terminal wants it.

use anstyle::{AnsiColor, Style};

use crate::session::State;

/// Whether colour is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    On,
    Off,
}

impl Paint {
    /// Gives a text the colour of a state.
    pub fn state(self, state: State, text: &str) -> String {
        let color = match state {
            State::Pending => AnsiColor::Blue,
            State::Running => AnsiColor::Green,
            State::Suspended => AnsiColor::Yellow,
            State::Terminated => AnsiColor::BrightBlack,
        };
        self.with(color.on_default(), text)
    }

    /// Makes a text stand out as something wrong.
    pub fn alarm(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    /// Makes a heading.
    pub fn heading(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    fn with(self, style: Style, text: &str) -> String {
        match self {
            Paint::On => format!("{style}{text}{style:#}"),
            Paint::Off => text.to_owned(),
        }
    }
}
