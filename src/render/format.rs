//! `--format`: `%(atom)` is a field, `%%` a percent sign, `%xx` the byte of that hexadecimal number, as in
//! `git for-each-ref`.

use super::fields::{Fields, bytes};
use crate::session::text::escape_bytes;

/// A format that was read.
#[derive(Debug, Clone)]
pub struct Format(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(Vec<u8>),
    Atom(String),
}

/// The format can't be read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("'%({0}' has no closing parenthesis")]
    Open(String),
    #[error("there is no field '{name}'; there are {}", known.join(", "))]
    Unknown { name: String, known: Vec<String> },
}

impl Format {
    /// Reads a format, in which only `known` fields may occur.
    pub fn parse(format: &str, known: &[&str]) -> Result<Format, FormatError> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            plain.extend_from_slice(&rest.as_bytes()[..at]);
            let tail = &rest[at + 1..];
            if let Some(inner) = tail.strip_prefix('(') {
                let end = inner
                    .find(')')
                    .ok_or_else(|| FormatError::Open(inner.to_owned()))?;
                let name = inner[..end].to_owned();
                if !known.contains(&name.as_str()) {
                    let known = known.iter().map(|name| (*name).to_owned()).collect();
                    return Err(FormatError::Unknown { name, known });
                }
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Atom(name));
                rest = &inner[end + 1..];
            } else if let Some(after) = tail.strip_prefix('%') {
                plain.push(b'%');
                rest = after;
            } else if let Some(byte) = tail.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                plain.push(byte);
                rest = &tail[2..];
            } else {
                plain.push(b'%');
                rest = tail;
            }
        }
        plain.extend_from_slice(rest.as_bytes());
        parts.push(Part::Text(plain));
        Ok(Format(parts))
    }

    /// Writes one line; values are escaped, so that it stays one.
    pub fn line(&self, fields: &Fields) -> Vec<u8> {
        let mut line = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => line.extend_from_slice(text),
                Part::Atom(name) => {
                    let value = fields.get(name).map(bytes).unwrap_or_default();
                    line.extend_from_slice(escape_bytes(&value).as_bytes());
                }
            }
        }
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atoms_percent_signs_and_bytes_are_told_apart() {
        let format = Format::parse("%(id)%00%%%(state)%zz", &["id", "state"]).unwrap();
        let fields = serde_json::json!({"id": "a\nb", "state": "running"});
        assert_eq!(format.line(fields.as_object().unwrap()), b"a\\nb\0%running%zz\n");
    }

    #[test]
    fn an_unknown_field_is_named() {
        assert!(
            Format::parse("%(nope)", &["id"])
                .unwrap_err()
                .to_string()
                .contains("'nope'")
        );
        assert!(Format::parse("%(id", &["id"]).is_err());
    }
}
