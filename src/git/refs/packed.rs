//! The content of `packed-refs`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use gix::bstr::ByteSlice;

use super::{Reference, Target};
use crate::git::repo::parse_oid;
use crate::git::{Error, Result};

/// The name of the file, and under which it is locked.
pub const PACKED: &str = "packed-refs";

/// What is in the file.
pub struct Packed {
    pub content: Vec<u8>,
    /// Whether it says that it is in order, so that a name can be found by halving.
    pub sorted: bool,
}

impl Packed {
    /// Reads it; it is empty where there is none.
    pub fn read(common: &Path) -> Result<Packed> {
        let path = common.join(PACKED);
        let content = match fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io(format!("'{}'", path.display()))(error)),
        };
        let header = content
            .lines()
            .next()
            .filter(|line| line.starts_with(b"#"))
            .unwrap_or_default();
        let sorted = header.find(" sorted").is_some();
        Ok(Packed { content, sorted })
    }

    /// Gives what a reference points to.
    pub fn find(&self, name: &str) -> Option<Target> {
        let mut found = self.starting_with(name);
        let is_it = |reference: &Reference| reference.name == name;
        let found = match self.sorted {
            // The shortest of all that begin so is the first.
            true => found.next().filter(is_it),
            false => found.find(is_it),
        };
        Some(found?.target)
    }

    /// Whether a reference stands in the way of a new one: below its name, or where it needs a directory.
    pub fn bars(&self, name: &str) -> bool {
        let below = format!("{name}/");
        let mut above = name.match_indices('/').map(|(at, _)| &name[..at]);
        self.starting_with(&below).next().is_some() || above.any(|parent| self.find(parent).is_some())
    }

    /// Gives every reference whose name begins with `prefix`, in the file's order.
    pub fn starting_with(&self, prefix: &str) -> impl Iterator<Item = Reference> {
        let prefix = prefix.as_bytes();
        let start = if self.sorted { self.first_from(prefix) } else { 0 };
        self.content[start..]
            .lines()
            .filter_map(entry)
            .take_while(move |(name, _)| !self.sorted || name.starts_with(prefix))
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, target)| Reference {
                name: name.into(),
                target,
            })
    }

    /// Where the first line begins whose name is not before `prefix`.
    fn first_from(&self, prefix: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.content.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let line_start = self.content[..middle]
                .rfind_byte(b'\n')
                .map_or(0, |at| at + 1)
                .max(low);
            // Comments and peeled values belong to what is before the next name.
            let mut at = line_start;
            let name = loop {
                let line = self.content[at..].lines().next().unwrap_or_default();
                match entry(line) {
                    Some((name, _)) => break Some(name),
                    None => {
                        at = self.content[at..]
                            .find_byte(b'\n')
                            .map_or(self.content.len(), |end| at + end + 1);
                        if at >= high {
                            break None;
                        }
                    }
                }
            };
            match name {
                Some(name) if name < prefix => {
                    low = self.content[at..]
                        .find_byte(b'\n')
                        .map_or(self.content.len(), |end| at + end + 1);
                }
                _ => high = line_start,
            }
        }
        low
    }
}

/// A line of `packed-refs` that names a reference.
pub fn entry(line: &[u8]) -> Option<(&[u8], Target)> {
    let space = line.find_byte(b' ')?;
    if line.starts_with(b"#") || line.starts_with(b"^") {
        return None;
    }
    let target = match parse_oid(&line[..space]) {
        Some(oid) if !oid.is_null() => Target::Object(oid),
        _ => Target::Broken,
    };
    Some((line[space + 1..].trim_ascii_end(), target))
}
