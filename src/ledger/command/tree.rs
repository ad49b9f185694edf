//! Commands on scopes.

use crate::ledger::labels::Labels;
use crate::ledger::name::MAX_DEPTH;
use crate::ledger::name::Name;
use crate::ledger::name::Path;
use crate::ledger::rejection::Malformed;
use crate::ledger::tree::ChildPolicy;
use crate::ledger::tree::Schema;

/// Makes a scope below an existing one, or a new tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateScope {
    /// Where.
    pub path: Path,
    /// What this level is called; without one, what the schema of the tree says, or "scope".
    pub kind: Option<Name>,
    /// To find it by.
    pub labels: Labels,
    /// The levels of a new tree; only at its root.
    pub schema: Option<Schema>,
    /// How limits nest in a new tree; only at its root.
    pub child_policy: Option<ChildPolicy>,
}

impl CreateScope {
    /// Checks that what holds for a tree is said at its root.
    pub fn new(
        path: Path,
        kind: Option<Name>,
        labels: Labels,
        schema: Option<Schema>,
        child_policy: Option<ChildPolicy>,
    ) -> Result<Self, Malformed> {
        check_root(&path, schema.as_ref(), child_policy)?;
        Ok(Self { path, kind, labels, schema, child_policy })
    }
}

/// Changes the labels of a scope, or what holds for its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateScope {
    /// Which.
    pub path: Path,
    /// Replaces all labels.
    pub labels: Option<Labels>,
    /// Replaces the levels; only at the root, and only if all scopes fit.
    pub schema: Option<Schema>,
    /// Replaces how limits nest; only at the root, and only if all limits fit.
    pub child_policy: Option<ChildPolicy>,
}

impl UpdateScope {
    /// Checks that something is changed, and that what holds for a tree is said at its root.
    pub fn new(
        path: Path,
        labels: Option<Labels>,
        schema: Option<Schema>,
        child_policy: Option<ChildPolicy>,
    ) -> Result<Self, Malformed> {
        check_root(&path, schema.as_ref(), child_policy)?;
        if labels.is_none() && schema.is_none() && child_policy.is_none() {
            return Err(Malformed::new(
                "labels",
                "is missing, and so is everything else that could be changed",
            ));
        }
        Ok(Self { path, labels, schema, child_policy })
    }
}

fn check_root(
    path: &Path,
    schema: Option<&Schema>,
    child_policy: Option<ChildPolicy>,
) -> Result<(), Malformed> {
    let said = [("schema", schema.is_some()), ("child_policy", child_policy.is_some())];
    match said.into_iter().find(|(_, said)| *said) {
        Some((field, _)) if path.parent().is_some() => {
            Err(Malformed::new(field, format!("is for the root of a tree, and {path} is none")))
        }
        _ => Ok(()),
    }
}

/// Moves a scope with everything below it, within its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveScope {
    /// Which.
    pub from: Path,
    /// Its new path; the scope above it must exist.
    pub to: Path,
    /// Whether to move although there is no room above; it is recorded.
    pub force: bool,
}

impl MoveScope {
    /// Checks a move: within a tree, not of a root, not into itself.
    pub fn new(from: Path, to: Path, force: bool) -> Result<Self, Malformed> {
        if from.parent().is_none() {
            return Err(Malformed::new(
                "path",
                format!("{from} is the root of a tree, which cannot be moved"),
            ));
        }
        if to.parent().is_none() || to.tree() != from.tree() {
            let problem = format!("{to} is not below {:?}; a scope stays in its tree", from.tree());
            return Err(Malformed::new("to", problem));
        }
        if to != from && to.is_within(&from) {
            return Err(Malformed::new("to", format!("{to} is below {from} itself")));
        }
        Ok(Self { from, to, force })
    }

    /// Whether a scope so many levels below the moved one would still have a path.
    pub fn has_room_for(&self, levels_below: usize) -> bool {
        self.to.segments().count() + levels_below <= MAX_DEPTH
    }
}

/// Removes a scope on which nothing is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteScope {
    /// Which.
    pub path: Path,
    /// Whether the scopes below go with it.
    pub recursive: bool,
}
