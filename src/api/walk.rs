//! Scopes in the order of their paths, from any place on: a page begins where the one before ended,
//! and costs what it shows, not what came before.

use std::collections::btree_map::Range;
use std::ops::Bound;

use crate::ledger::Path;
use crate::ledger::Scope;
use crate::ledger::ScopeId;
use crate::ledger::State;

/// The scopes of one subtree, each before those below it.
pub(super) struct Walk<'a> {
    state: &'a State,
    /// The subtree itself, if it is still to come.
    first: Option<&'a Scope>,
    /// What is still to come at each level, from the top.
    levels: Vec<Range<'a, Box<str>, ScopeId>>,
}

impl<'a> Walk<'a> {
    /// All of a subtree.
    pub(super) fn whole(state: &'a State, root: &'a Scope) -> Self {
        Self { state, first: Some(root), levels: vec![children(root, Bound::Unbounded)] }
    }

    /// Of a subtree what comes after a path in it, whether there is such a scope or not.
    pub(super) fn after(state: &'a State, root: &'a Scope, path: &Path) -> Self {
        assert!(path.is_within(&root.path), "{path} is not within {}", root.path);
        let mut levels = Vec::new();
        let mut scope = Some(root);
        for name in path.segments().skip(root.path.segments().count()) {
            let Some(above) = scope else { break };
            levels.push(children(above, Bound::Excluded(name)));
            scope = above.children.get(name).map(|id| state.scope(*id));
        }
        levels.extend(scope.map(|scope| children(scope, Bound::Unbounded)));
        Self { state, first: None, levels }
    }
}

fn children<'a>(scope: &'a Scope, from: Bound<&str>) -> Range<'a, Box<str>, ScopeId> {
    scope.children.range::<str, _>((from, Bound::Unbounded))
}

impl<'a> Iterator for Walk<'a> {
    type Item = &'a Scope;

    fn next(&mut self) -> Option<&'a Scope> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            match self.levels.last_mut()?.next() {
                Some((_, id)) => {
                    let scope = self.state.scope(*id);
                    self.levels.push(children(scope, Bound::Unbounded));
                    return Some(scope);
                }
                None => drop(self.levels.pop()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Command;
    use crate::ledger::Labels;
    use crate::ledger::Request;
    use crate::ledger::RequestId;
    use crate::ledger::apply::Stamp;
    use crate::ledger::apply::apply;
    use crate::ledger::command::CreateScope;

    fn path(text: &str) -> Path {
        Path::parse(text).expect("a path")
    }

    fn state(paths: &[&str]) -> State {
        let mut state = State::default();
        for (number, text) in (1u64..).zip(paths) {
            let id = RequestId::from_bytes((u128::from(number) << 80 | 7 << 76 | 0b10 << 62).to_be_bytes());
            let command = Command::CreateScope(CreateScope {
                path: path(text),
                kind: None,
                labels: Labels::default(),
                schema: None,
                child_policy: None,
            });
            let request = Request {
                id: id.expect("a UUIDv7"),
                fingerprint: [0; 16],
                actor: "".into(),
                reason: "".into(),
                command,
            };
            apply(&mut state, Stamp::from(number), &[request]);
        }
        state
    }

    #[test]
    fn a_walk_goes_on_after_any_path_as_if_it_had_come_there() {
        let paths = ["a", "a/b", "a/b/c", "a/b/d", "a/b-c", "a/c", "a/c/x", "a/c/x/y", "a/d"];
        let state = state(&paths);
        let root = state.scope_at(&path("a")).expect("a root");
        let whole: Vec<_> = Walk::whole(&state, root).map(|scope| scope.path.clone()).collect();
        assert_eq!(whole.len(), paths.len());
        assert!(whole.is_sorted_by(|one, other| one.segments().lt(other.segments())), "{whole:?}");
        let gone = ["a/a", "a/b/c/z", "a/b/cc", "a/c/x/z", "a/cc/x", "a/z/z/z"].map(path);
        for last in whole.iter().chain(&gone) {
            let rest: Vec<_> = Walk::after(&state, root, last).map(|scope| &scope.path).collect();
            let expected: Vec<_> = whole.iter().filter(|path| path.segments().gt(last.segments())).collect();
            assert_eq!(rest, expected, "after {last}");
        }
        let below = state.scope_at(&path("a/c")).expect("a scope");
        let rest: Vec<_> =
            Walk::after(&state, below, &path("a/c/x")).map(|scope| scope.path.as_str()).collect();
        assert_eq!(rest, ["a/c/x/y"]);
    }
}
