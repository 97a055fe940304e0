//! The four kinds of repository.

use std::ffi::OsString;
use std::process::Command;
use std::sync::OnceLock;

/// How a repository keeps its references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refs {
    Files,
    Reftable,
}

/// What names its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    Sha1,
    Sha256,
}

/// A kind of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub refs: Refs,
    pub hash: Hash,
}

impl Format {
    /// What most repositories are.
    pub const PLAIN: Format = Format {
        refs: Refs::Files,
        hash: Hash::Sha1,
    };

    /// The variables that make `git init` use it.
    pub fn environment(self) -> Vec<(&'static str, OsString)> {
        let hash = match self.hash {
            Hash::Sha1 => "sha1",
            Hash::Sha256 => "sha256",
        };
        let refs = match self.refs {
            Refs::Files => "files",
            Refs::Reftable => "reftable",
        };
        vec![
            ("GIT_DEFAULT_HASH", hash.into()),
            ("GIT_DEFAULT_REF_FORMAT", refs.into()),
        ]
    }

    /// Whether the git that is installed has it; says so if not.
    pub fn is_there(self) -> bool {
        self.refs == Refs::Files || has_reftable()
    }
}

/// Whether the git that is installed has reftable; says so if not.
pub fn has_reftable() -> bool {
    static REFTABLE: OnceLock<bool> = OnceLock::new();
    let there = *REFTABLE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let init = Command::new("git")
            .args(["init", "-q", "--ref-format=reftable"])
            .arg(dir.path())
            .output();
        init.is_ok_and(|output| output.status.success())
    });
    if !there {
        eprintln!("skipped: the git that is installed has no reftable");
    }
    there
}

/// Makes tests of functions that take a sandbox: one on each kind of repository.
#[macro_export]
macro_rules! on_every_format {
    ($($(#[doc = $doc:expr])* fn $name:ident($sandbox:ident: &Sandbox) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[doc = $doc])*
            fn scenario($sandbox: &$crate::sandbox::Sandbox) $body

            $crate::on_every_format!(@one files_sha1 Files Sha1);
            $crate::on_every_format!(@one files_sha256 Files Sha256);
            $crate::on_every_format!(@one reftable_sha1 Reftable Sha1);
            $crate::on_every_format!(@one reftable_sha256 Reftable Sha256);
        }
    )*};
    (@one $test:ident $refs:ident $hash:ident) => {
        #[test]
        fn $test() {
            let format = $crate::sandbox::Format {
                refs: $crate::sandbox::Refs::$refs,
                hash: $crate::sandbox::Hash::$hash,
            };
            if format.is_there() {
                scenario(&$crate::sandbox::Sandbox::new(format));
            }
        }
    };
}

/// Makes tests of functions that take a sandbox, where the kind of repository makes no difference.
#[macro_export]
macro_rules! on_one_format {
    ($($(#[doc = $doc:expr])* fn $name:ident($sandbox:ident: &Sandbox) $body:block)*) => {$(
        $(#[doc = $doc])*
        #[test]
        fn $name() {
            fn scenario($sandbox: &$crate::sandbox::Sandbox) $body
            scenario(&$crate::sandbox::Sandbox::new($crate::sandbox::Format::PLAIN));
        }
    )*};
}
