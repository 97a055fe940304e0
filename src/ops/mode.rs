//! Whether something is done, or only shown.

/// What becomes of what a look has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Do,
    /// Nothing is changed, here or elsewhere: as far as it is known, it is told what would be.
    Show,
}

impl Mode {
    /// What `--dry-run` says.
    pub fn of(dry_run: bool) -> Mode {
        if dry_run { Mode::Show } else { Mode::Do }
    }
}
