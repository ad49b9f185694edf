//! Scopes and resources.

use std::collections::BTreeSet;

use super::Context;
use super::Decided;
use super::Decision;
use super::Rejection;
use super::State;
use super::charge::Admission;
use super::charge::Change;
use super::charge::Charge;
use super::charge::admit;
use super::charge::check_locks;
use super::place::check_below_another;
use super::place::check_tree;
use super::quota_name;
use super::unchanged;
use crate::ledger::Revision;
use crate::ledger::command::CreateScope;
use crate::ledger::command::DeleteScope;
use crate::ledger::command::MoveScope;
use crate::ledger::command::UpdateScope;
use crate::ledger::event::Body;
use crate::ledger::name::MAX_DEPTH;
use crate::ledger::name::Name;
use crate::ledger::name::Path;
use crate::ledger::quota::Quota;
use crate::ledger::rejection::Taken;
use crate::ledger::resource::Resource;
use crate::ledger::resource::ResourceId;
use crate::ledger::scope::Scope;
use crate::ledger::scope::ScopeId;
use crate::ledger::transfer::MAX_LOANS;
use crate::ledger::tree::Level;
use crate::ledger::tree::Schema;
use crate::ledger::tree::TreeRules;

/// The kind of a scope when neither the client nor the schema names one.
const DEFAULT_KIND: &str = "scope";

pub(super) fn create(cx: Context<'_>, command: &CreateScope) -> Decided {
    let parent = match command.path.parent() {
        Some(path) => match cx.state.scope_at(&path) {
            Some(parent) => Some(parent),
            None => return Err(Rejection::UnknownScopes(vec![path])),
        },
        None => None,
    };
    if cx.state.scope_at(&command.path).is_some() {
        return Err(Rejection::ScopeExists(command.path.clone()));
    }
    let rules = parent.is_none().then(|| TreeRules {
        schema: command.schema.clone().unwrap_or_default(),
        child_policy: command.child_policy.unwrap_or_default(),
    });
    let schema = match (&rules, parent) {
        (Some(rules), _) => &rules.schema,
        (None, Some(parent)) => &cx.state.rules(parent.id).schema,
        (None, None) => unreachable!("a root has rules"),
    };
    let depth = command.path.segments().count() - 1;
    let kind = fitting_kind(schema, &command.path, depth, command.kind.as_ref())?;
    Ok(Decision::plain(Body::ScopeCreated {
        scope: cx.state.next_scope(),
        path: command.path.clone(),
        kind,
        labels: command.labels.clone(),
        rules,
    }))
}

/// The kind of a scope at a depth, if the schema has room for one of this kind.
fn fitting_kind(schema: &Schema, path: &Path, depth: usize, kind: Option<&Name>) -> Result<Name, Rejection> {
    let conflict = |problem: String| Err(Rejection::SchemaConflict { path: path.clone(), problem });
    match (schema.level(depth), kind) {
        (Level::TooDeep, _) => conflict(format!("is at level {}, below the last one of {schema}", depth + 1)),
        (Level::Kind(wanted), Some(kind)) if kind != wanted => {
            conflict(format!("is of kind {kind}; at level {} of {schema} it must be {wanted}", depth + 1))
        }
        (Level::Kind(wanted), _) => Ok(wanted.clone()),
        (Level::Any, Some(kind)) => Ok(kind.clone()),
        (Level::Any, None) => Ok(Name::parse(DEFAULT_KIND).expect("the default is a name")),
    }
}

pub(super) fn update(cx: Context<'_>, command: &UpdateScope) -> Decided {
    let scope = found(cx.state, &command.path)?;
    let labels = command.labels.as_ref().unwrap_or(&scope.labels);
    let rules = scope.rules.as_deref().map(|rules| TreeRules {
        schema: command.schema.clone().unwrap_or_else(|| rules.schema.clone()),
        child_policy: command.child_policy.unwrap_or(rules.child_policy),
    });
    if *labels == scope.labels && rules.as_ref() == scope.rules.as_deref() {
        return Ok(unchanged("UpdateScope", 0));
    }
    // Whoever says again what holds already has nothing checked.
    if let Some((rules, before)) = rules.as_ref().zip(scope.rules.as_deref()) {
        if rules.schema != before.schema {
            for scope in cx.state.subtree(scope.id) {
                let depth = scope.path.segments().count() - 1;
                fitting_kind(&rules.schema, &scope.path, depth, Some(&scope.kind))?;
            }
        }
        if rules.child_policy != before.child_policy && !cx.places_later {
            check_tree(cx.state, scope.id, rules.child_policy)?;
        }
    }
    Ok(Decision::plain(Body::ScopeUpdated {
        scope: scope.id,
        path: scope.path.clone(),
        labels: labels.clone(),
        rules,
    }))
}

pub(super) fn relocate(cx: Context<'_>, command: &MoveScope) -> Decided {
    let state = cx.state;
    let above = command.to.parent().expect("a move has a scope above its target");
    let unknown: Vec<Path> =
        [&command.from, &above].into_iter().filter(|path| state.scope_at(path).is_none()).cloned().collect();
    if !unknown.is_empty() {
        return Err(Rejection::UnknownScopes(unknown));
    }
    let (scope, parent) = (found(state, &command.from)?, found(state, &above)?);
    if command.from == command.to {
        return Ok(unchanged("MoveScope", 0));
    }
    check_stays_governed(state, scope, parent)?;
    if state.scope_at(&command.to).is_some() {
        return Err(Rejection::ScopeExists(command.to.clone()));
    }
    let charges = moved_charges(state, scope, parent);
    check_locks(state, &charges)?;
    check_levels(state, scope, command)?;
    if !cx.places_later {
        check_below_another(state, scope, parent)?;
    }
    let admitted = admit(cx, &charges, Admission { force: command.force, hold: None })?;
    let body = Body::ScopeMoved {
        scope: scope.id,
        from: command.from.clone(),
        to: command.to.clone(),
        forced: command.force,
        overruns: admitted.overruns,
    };
    Ok(Decision { body, touched: admitted.touched })
}

/// What is taken under a quota must be under one at its new place as well: otherwise a move would be
/// the way to take where nobody said how much.
fn check_stays_governed(state: &State, scope: &Scope, parent: &Scope) -> Result<(), Rejection> {
    let ungoverned: Vec<_> = scope
        .accounts()
        .iter()
        .filter(|account| {
            let governs = |above: &Scope| above.quota(account.resource).is_some_and(Quota::governs);
            let governed = state.path_up(scope.id).skip(1).any(governs);
            let stays = state.path_up(parent.id).any(governs);
            governed && !stays && takes_ungoverned(state, scope, account.resource)
        })
        .map(|account| quota_name(state, parent, account.resource))
        .collect();
    if ungoverned.is_empty() { Ok(()) } else { Err(Rejection::UnknownQuotas(ungoverned)) }
}

/// Whether anything of a resource is taken in a subtree that no quota of the subtree governs.
fn takes_ungoverned(state: &State, scope: &Scope, resource: ResourceId) -> bool {
    let mut left = vec![scope];
    while let Some(scope) = left.pop() {
        let Some(account) = scope.account(resource).filter(|account| !account.taken().is_zero()) else {
            continue;
        };
        if account.quota.as_ref().is_some_and(Quota::governs) {
            continue;
        }
        let mut here = account.taken().units();
        for child in scope.children.values().map(|child| state.scope(*child)) {
            here -= child.account(resource).map_or(0, |account| account.taken().units());
            left.push(child);
        }
        if here > 0 {
            return true;
        }
    }
    false
}

/// Whether every scope of a subtree has its kind at its new depth.
fn check_levels(state: &State, scope: &Scope, command: &MoveScope) -> Result<(), Rejection> {
    let schema = &state.rules(scope.id).schema;
    let before = command.from.segments().count();
    let after = command.to.segments().count();
    for below in state.subtree(scope.id) {
        let levels_below = below.path.segments().count() - before;
        if !command.has_room_for(levels_below) {
            return Err(Rejection::SchemaConflict {
                path: below.path.clone(),
                problem: format!("would be at level {}; there are {MAX_DEPTH}", after + levels_below),
            });
        }
        fitting_kind(schema, &below.path, after + levels_below - 1, Some(&below.kind))?;
    }
    Ok(())
}

/// What is taken at a scope goes from the scopes above it that it leaves to those it comes under.
fn moved_charges<'a>(state: &'a State, scope: &'a Scope, parent: &'a Scope) -> Vec<Charge<'a>> {
    let left: BTreeSet<ScopeId> = state.path_up(scope.id).skip(1).map(|above| above.id).collect();
    let entered: BTreeSet<ScopeId> = state.path_up(parent.id).map(|above| above.id).collect();
    let mut charges = Vec::new();
    for (ids, sign) in [(left.difference(&entered), -1), (entered.difference(&left), 1)] {
        for id in ids {
            let above = state.scope(*id);
            for account in scope.accounts() {
                let change = Change { used: sign * account.used.units(), held: sign * account.held.units() };
                if change != Change::default() {
                    let depth = above.path.segments().count();
                    charges.push(Charge::new(above, account.resource, change, depth));
                }
            }
        }
    }
    charges.sort_by_key(|charge| (charge.depth, charge.scope.id, charge.resource));
    charges
}

pub(super) fn delete(cx: Context<'_>, command: &DeleteScope) -> Decided {
    let state = cx.state;
    let scope = found(state, &command.path)?;
    if !command.recursive && !scope.children.is_empty() {
        let children = scope.children.len() as u64;
        return Err(Rejection::HasChildren { path: command.path.clone(), children });
    }
    // What is taken below is counted here as well.
    let taken: Vec<Taken> = scope
        .accounts()
        .iter()
        .filter(|account| !account.taken().is_zero())
        .map(|account| Taken {
            quota: quota_name(state, scope, account.resource),
            used: account.used.number(),
            held: account.held.number(),
        })
        .collect();
    if !taken.is_empty() {
        return Err(Rejection::InUse(taken));
    }
    // Between siblings most go both ways: each is named once.
    let loans: BTreeSet<Revision> = state
        .subtree(scope.id)
        .flat_map(|gone| state.loans_at(gone.id))
        .map(|transfer| transfer.id)
        .collect();
    if !loans.is_empty() {
        return Err(Rejection::OnLoan(loans.into_iter().take(MAX_LOANS).collect()));
    }
    Ok(Decision::plain(Body::ScopeDeleted {
        scope: scope.id,
        path: scope.path.clone(),
        below: state.subtree(scope.id).skip(1).map(|scope| scope.id).collect(),
    }))
}

fn found<'a>(state: &'a State, path: &Path) -> Result<&'a Scope, Rejection> {
    state.scope_at(path).ok_or_else(|| Rejection::UnknownScopes(vec![path.clone()]))
}

pub(super) fn register_resource(cx: Context<'_>, resource: &Resource) -> Decided {
    if cx.state.resource_id(&resource.name).is_some() {
        return Err(Rejection::ResourceExists(resource.name.clone()));
    }
    let id = ResourceId(u32::try_from(cx.state.resources().len()).expect("fewer than 2^32 resources"));
    Ok(Decision::plain(Body::ResourceRegistered { id, resource: resource.clone() }))
}
