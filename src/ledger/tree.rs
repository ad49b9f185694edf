//! What holds for a whole tree: which levels it has, and how limits of children relate to those
//! of their parents.

use std::fmt;
use std::sync::Arc;

use super::name::MAX_DEPTH;
use super::name::Name;
use super::rejection::Malformed;

/// The levels of a tree from the root down; none: any kind at any depth ("free").
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema(Option<Arc<[Name]>>);

/// Schemas for common organizations of quotas; any other can be written the same way.
pub const SHIPPED: [&str; 3] = ["free", "organization/team/user", "system/tenant/project/user"];

impl Schema {
    /// Reads a schema: "free", or the kinds of its levels joined by '/'.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text == "free" {
            return Ok(Self(None));
        }
        let malformed = |problem: String| {
            Malformed::new("schema", format!("{problem}; write \"free\" or kinds like \"{}\"", SHIPPED[1]))
        };
        let mut levels: Vec<Name> = Vec::new();
        for level in text.split('/') {
            if levels.len() == MAX_DEPTH {
                return Err(malformed(format!("has more than {MAX_DEPTH} levels")));
            }
            let level = Name::parse(level).map_err(|error| malformed(format!("has a level that {error}")))?;
            if levels.contains(&level) {
                return Err(malformed(format!("has the level {level} twice")));
            }
            levels.push(level);
        }
        Ok(Self(Some(levels.into())))
    }

    /// What a scope at a depth must be (0 is the root).
    pub fn level(&self, depth: usize) -> Level<'_> {
        match &self.0 {
            None => Level::Any,
            Some(levels) => levels.get(depth).map_or(Level::TooDeep, Level::Kind),
        }
    }
}

/// What a scope at some depth must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level<'a> {
    /// Of any kind.
    Any,
    /// Of this kind.
    Kind(&'a Name),
    /// There is no such level.
    TooDeep,
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(levels) = &self.0 else {
            return f.write_str("free");
        };
        for (depth, level) in levels.iter().enumerate() {
            if depth > 0 {
                f.write_str("/")?;
            }
            f.write_str(level.as_str())?;
        }
        Ok(())
    }
}

/// How the limit of a child relates to that of the nearest limited scope above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChildPolicy {
    /// No child's effective limit is over its parent's.
    #[default]
    EachWithinParent,
    /// All children together are not over their parent: what is promised can be had.
    SumWithinParent,
    /// Anything goes; the limits above still hold when something is reserved.
    Unchecked,
}

/// What holds for one tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeRules {
    /// Its levels.
    pub schema: Schema,
    /// How limits nest.
    pub child_policy: ChildPolicy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_schemas_are_schemas() {
        for text in SHIPPED {
            assert_eq!(Schema::parse(text).map(|schema| schema.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_schema_says_which_kind_is_allowed_at_which_depth() {
        let schema = Schema::parse("organization/team").expect("a schema");
        assert!(matches!(schema.level(1), Level::Kind(kind) if kind.as_str() == "team"));
        assert_eq!(schema.level(2), Level::TooDeep);
        assert_eq!(Schema::default().level(15), Level::Any);
    }

    #[test]
    fn bad_schemas_are_refused() {
        let deep = (0..=MAX_DEPTH).map(|depth| format!("l{depth}")).collect::<Vec<_>>().join("/");
        for bad in ["", "Team", "a//b", "a/a", "/a", deep.as_str()] {
            assert!(Schema::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
