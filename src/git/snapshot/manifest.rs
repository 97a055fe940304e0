//! What a tree alone cannot say, as JSON beside it, and what the directories beside it are called.

use std::collections::BTreeMap;

use gix::bstr::{BString, ByteSlice};
use gix::objs::tree::EntryKind;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Its name in the work commit's tree.
pub const FILE: &str = "manifest.json";

/// The format of work that is written, and the highest one that is read.
pub const FORMAT: u32 = 1;

/// The names under which directories are stored in a work commit's tree.
pub const STATE: &str = "worker-state";
pub const MIDST: &str = "git-state";
pub const NESTED: &str = "nested";
/// Files of submodules that differ from what their repositories have.
pub const SUBMODULES: &str = "submodules";
/// Blobs of files in conflict, which no other tree may hold.
pub const STAGES: &str = "stages";

/// The manifest of a work commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Manifest {
    pub format: u32,
    /// The branch that HEAD was on, by its full name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<Name>,
    /// Files of the snapshot that are stored, and restored, byte for byte; all others go through git's filters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub raw: Vec<Name>,
    /// Files that the index has and the worktree had not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<Name>,
    /// What has other permissions than a checkout gives.
    #[serde(flatten)]
    pub odd: Odd,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intent_to_add: Vec<Name>,
    /// The kind of those of them that are no plain files, as in a tree.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub intent_modes: BTreeMap<String, Vec<Name>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assume_unchanged: Vec<Name>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip_worktree: Vec<Name>,
    /// The index's entries of files in conflict.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
    /// References that only this worktree has, by name: what a half-done cherry-pick or bisect needs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, String>,
    /// Repositories within the worktree, each stored whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nested: Vec<Name>,
    /// Submodules that were there, each with its own repository.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub submodules: Vec<Module>,
    /// What the stored directories have that their trees can't say, by the name that they are stored under.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub directories: BTreeMap<String, Odd>,
}

impl Manifest {
    /// What a file is that was only intended to be added.
    pub fn kind_of_intent(&self, name: &Name) -> EntryKind {
        let is = |mode: &str| {
            self.intent_modes
                .get(mode)
                .is_some_and(|names| names.contains(name))
        };
        if is("120000") {
            EntryKind::Link
        } else if is("100755") {
            EntryKind::BlobExecutable
        } else {
            EntryKind::Blob
        }
    }
}

/// Permissions and empty directories.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Odd {
    /// Paths by their mode in octal, where it is not what the umask gives.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub modes: BTreeMap<String, Vec<Name>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub empty_directories: Vec<Name>,
}

impl Odd {
    /// Whether there is nothing odd.
    pub fn is_empty(&self) -> bool {
        self.modes.is_empty() && self.empty_directories.is_empty()
    }

    /// Puts it in an order that doesn't depend on the file system.
    pub fn sort(&mut self) {
        self.modes.values_mut().for_each(|paths| paths.sort());
        self.empty_directories.sort();
    }
}

/// A submodule with its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Module {
    pub path: Name,
    /// Where its repository is, below `modules` of the worktree's own git directory.
    pub repository: Name,
    /// Whether its files are stored beside the snapshot, since its repository has them otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stored: bool,
}

/// One stage of a file in conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    pub path: Name,
    pub stage: u32,
    /// In octal, as in a tree.
    pub mode: String,
    pub oid: String,
}

/// A path's bytes: in JSON a string where they are UTF-8, else an array.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub BString);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => self.0.as_slice().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Bytes(Vec<u8>),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => Name(text.into()),
            Form::Bytes(bytes) => Name(bytes.into()),
        })
    }
}
