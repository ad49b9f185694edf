//! Names of scopes and resources.

use std::fmt;
use std::sync::Arc;

/// Most segments of a path.
pub const MAX_DEPTH: usize = 16;

/// Most characters of a segment or a resource name.
pub const MAX_NAME: usize = 63;

/// Why a text is no name; reads after the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(String);

/// The address of a scope: segments joined by '/', the first naming the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Arc<str>);

impl Path {
    /// Checks a path: 1 to 16 segments of letters, digits, '.', '_' and '-', each beginning with
    /// a letter or digit and at most 63 characters long.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError("is empty; a path is like \"acme/ml\"".into()));
        }
        for (position, segment) in text.split('/').enumerate() {
            if position == MAX_DEPTH {
                return Err(NameError(format!("has more than {MAX_DEPTH} segments")));
            }
            check_segment(segment)?;
        }
        Ok(Self(text.into()))
    }

    /// A child of this path. The caller has checked the name.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0).into())
    }

    /// The segments from the root down.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The first segment: the tree.
    pub fn tree(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path of the scope above; `None` at the root of a tree.
    pub fn parent(&self) -> Option<Path> {
        self.0.rsplit_once('/').map(|(above, _)| Self(above.into()))
    }

    /// Whether this path is `other` or lies below it.
    pub fn is_within(&self, other: &Path) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a resource or of a kind of scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks a name: lower-case letters, digits and '_', beginning with a letter, 1 to 63.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let Some(first) = text.chars().next() else {
            return Err(NameError("is empty".into()));
        };
        if text.len() > MAX_NAME {
            return Err(NameError(format!("is {} bytes long, at most {MAX_NAME} are allowed", text.len())));
        }
        if !first.is_ascii_lowercase() {
            return Err(NameError(format!("begins with {first:?}; it must begin with a lower-case letter")));
        }
        if let Some(bad) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '_')) {
            return Err(NameError(format!("has {bad:?}; only a-z, 0-9 and '_' are allowed")));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_segment(segment: &str) -> Result<(), NameError> {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_good = |first: u8| first.is_ascii_alphanumeric() && segment.len() <= MAX_NAME;
    // Nearly all of them: only what is wrong is looked at by characters.
    if segment.bytes().next().is_some_and(is_good) && segment.bytes().all(is_inner) {
        return Ok(());
    }
    let Some(first) = segment.chars().next() else {
        return Err(NameError("has an empty segment".into()));
    };
    if segment.len() > MAX_NAME {
        return Err(NameError(format!(
            "has a segment of {} bytes, at most {MAX_NAME} are allowed",
            segment.len()
        )));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError(format!(
            "has a segment that begins with {first:?}; it must begin with a letter or digit"
        )));
    }
    if let Some(bad) = segment.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-".contains(*c))) {
        return Err(NameError(format!(
            "has {bad:?}; only letters, digits, '.', '_' and '-' are allowed between the '/'"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_within_itself_and_its_ancestors_only() {
        let path = |text| Path::parse(text).expect("a path");
        assert!(path("acme/ml").is_within(&path("acme")));
        assert!(path("acme/ml").is_within(&path("acme/ml")));
        assert!(!path("acme2/ml").is_within(&path("acme")));
        assert!(!path("acme").is_within(&path("acme/ml")));
    }

    #[test]
    fn bad_paths_are_refused() {
        let long = "a".repeat(MAX_NAME + 1);
        let deep = ["a"; MAX_DEPTH + 1].join("/");
        for bad in ["", "/", "a/", "/a", "a//b", "-a", "a b", "ä", "a/..", "a\n", &long, &deep] {
            assert!(Path::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "A.b_c-1/2", &"a".repeat(MAX_NAME), &["a"; MAX_DEPTH].join("/")] {
            assert!(Path::parse(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in ["", "A", "1a", "_a", "a-b", "a b", &"a".repeat(MAX_NAME + 1)] {
            assert!(Name::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(Name::parse("gpu_hours2").is_ok());
    }
}
