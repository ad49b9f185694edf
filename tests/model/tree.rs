//! Scopes.

use std::collections::BTreeMap;

use quorate::ledger::Grant;
use quorate::ledger::Granted;
use quorate::ledger::Labels;
use quorate::ledger::Name;
use quorate::ledger::Path;
use quorate::ledger::Rejection;
use quorate::ledger::Resource;
use quorate::ledger::ResourceKind;
use quorate::ledger::command::CreateScope;
use quorate::ledger::command::DeleteScope;
use quorate::ledger::command::MoveScope;
use quorate::ledger::command::UpdateScope;
use quorate::ledger::outcome::Details;
use quorate::ledger::rejection::QuotaName;
use quorate::ledger::rejection::Taken;
use quorate::ledger::tree::Schema;

use super::room::warnings;
use super::world::Cap;
use super::world::Counters;
use super::world::Happened;
use super::world::Kind;
use super::world::Node;
use super::world::Place;
use super::world::Rules;
use super::world::World;
use super::world::is_within;
use super::world::lineage;
use super::world::parent;
use super::world::quota_name;

/// Most transfers that a rejection names.
const SLOTS: usize = 32;

/// Most segments of a path.
const DEEPEST: usize = 16;

pub fn path_of(text: &str) -> Path {
    Path::parse(text).expect("a path")
}

pub fn labels_of(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.into(), value.into())).collect()
}

/// The kinds of the levels from the root down; none for "free".
pub fn levels_of(schema: &Schema) -> Option<Vec<String>> {
    let text = schema.to_string();
    (text != "free").then(|| text.split('/').map(str::to_string).collect())
}

impl World {
    pub fn unknown_scopes<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Result<(), Rejection> {
        let mut unknown: Vec<Path> = Vec::new();
        for path in paths {
            if !self.scopes.contains_key(path) && !unknown.contains(&path_of(path)) {
                unknown.push(path_of(path));
            }
        }
        if unknown.is_empty() { Ok(()) } else { Err(Rejection::UnknownScopes(unknown)) }
    }

    pub fn unknown_resources<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<(), Rejection> {
        let mut unknown: Vec<Name> = Vec::new();
        for text in names {
            let name = Name::parse(text).expect("a name");
            if self.kind(text).is_none() && !unknown.contains(&name) {
                unknown.push(name);
            }
        }
        if unknown.is_empty() { Ok(()) } else { Err(Rejection::UnknownResources(unknown)) }
    }

    fn levels(&self, path: &str) -> Option<Vec<String>> {
        let rules = self.scopes.get(&lineage(path)[0]).and_then(|node| node.rules.clone());
        rules.expect("a tree has rules").levels
    }

    pub fn create_scope(&mut self, command: &CreateScope) -> Result<Grant, Rejection> {
        let path = command.path.as_str();
        self.unknown_scopes(parent(path))?;
        if self.scopes.contains_key(path) {
            return Err(Rejection::ScopeExists(command.path.clone()));
        }
        let rules = parent(path).is_none().then(|| Rules {
            levels: command.schema.as_ref().and_then(levels_of),
            child_policy: command.child_policy.unwrap_or_default(),
        });
        let levels = rules.as_ref().map_or_else(|| self.levels(path), |rules| rules.levels.clone());
        let level = levels.as_ref().map(|levels| levels.get(path.matches('/').count()).cloned());
        let asked = command.kind.as_ref().map(ToString::to_string);
        let kind = match (level, asked) {
            (None, asked) => asked.unwrap_or_else(|| "scope".into()),
            (Some(Some(level)), None) => level,
            (Some(Some(level)), Some(asked)) if level == asked => level,
            _ => return Err(schema_conflict(path)),
        };
        let before = self.counters();
        let labels = labels_of(&command.labels);
        let number = self.next_scope;
        self.next_scope += 1;
        self.scopes.insert(path.into(), Node { number, kind, labels, rules, template: None });
        self.happen(Happened::new("ScopeCreated"), &[], &before);
        Ok(Grant::plain(Granted::Done))
    }

    pub fn update_scope(&mut self, command: &UpdateScope) -> Result<Grant, Rejection> {
        let path = command.path.as_str();
        let policy = |world: &Self| world.scopes.get(path).map(|_| world.child_policy(path));
        let was = policy(self);
        let grant = self.update_scope_only(command)?;
        if policy(self) != was {
            self.check_tree(path)?;
        }
        Ok(grant)
    }

    /// Without a look at how limits nest afterwards.
    pub fn update_scope_only(&mut self, command: &UpdateScope) -> Result<Grant, Rejection> {
        let path = command.path.as_str();
        self.unknown_scopes([path])?;
        let before = self.counters();
        let node = self.scopes.get_mut(path).expect("known");
        let was = node.clone();
        if let Some(labels) = &command.labels {
            node.labels = labels_of(labels);
        }
        if let Some(rules) = &mut node.rules {
            if let Some(schema) = &command.schema {
                rules.levels = levels_of(schema);
            }
            rules.child_policy = command.child_policy.unwrap_or(rules.child_policy);
        }
        if command.schema.is_some() {
            self.check_kinds(path, path)?;
        }
        if self.scopes[path] == was {
            return Ok(self.unchanged(0));
        }
        self.happen(Happened::new("ScopeUpdated"), &[], &before);
        Ok(Grant::plain(Granted::Done))
    }

    /// Whether a subtree fits its levels if it were at another path.
    fn check_kinds(&self, path: &str, at: &str) -> Result<(), Rejection> {
        let levels = self.levels(at);
        for scope in self.subtree(path) {
            let depth = format!("{at}{}", &scope[path.len()..]).matches('/').count();
            let fits = |levels: &Vec<String>| levels.get(depth) == Some(&self.scopes[&scope].kind);
            if depth >= DEEPEST || !levels.as_ref().is_none_or(fits) {
                return Err(schema_conflict(&scope));
            }
        }
        Ok(())
    }

    pub fn move_scope(&mut self, command: &MoveScope) -> Result<Grant, Rejection> {
        let (from, to) = (command.from.as_str(), command.to.as_str());
        self.unknown_scopes([from].into_iter().chain(parent(to)))?;
        if from == to {
            return Ok(self.unchanged(0));
        }
        self.check_limited_after_move(from, to)?;
        if self.scopes.contains_key(to) {
            return Err(Rejection::ScopeExists(command.to.clone()));
        }
        let mut growth = BTreeMap::new();
        for kind in &self.kinds {
            let (used, held) = self.taken(&(from.into(), kind.name.clone()));
            for above in lineage(to) {
                if above != to && !is_within(from, &above) && used + held > 0 {
                    growth.insert((above, kind.name.clone()), used + held);
                }
            }
        }
        self.check_locks(growth.keys().cloned())?;
        self.check_kinds(from, to)?;
        let mut moved = self.clone();
        moved.rename(from, to);
        moved.check_moved(to).map_err(|conflict| match conflict {
            Rejection::LimitConflict { quota, other, problem } => {
                // It is named where it is.
                let scope = path_of(&renamed(quota.scope.as_str(), to, from));
                Rejection::LimitConflict { quota: QuotaName { scope, ..quota }, other, problem }
            }
            other => other,
        })?;
        let overruns = self.judge(&growth, command.force, None)?;
        let before = self.counters();
        self.rename(from, to);
        self.count(&overruns);
        let before: Counters = before
            .into_iter()
            .map(|((path, name), taken)| ((renamed(&path, from, to), name), taken))
            .collect();
        let details = Details { warnings: warnings(&overruns), ..Details::default() };
        self.happen(Happened { overruns, ..Happened::new("ScopeMoved") }, &[], &before);
        Ok(Grant::new(Granted::Done, details))
    }

    /// Everything that is taken below `from` and has somebody who says how much has one below `to`.
    fn check_limited_after_move(&self, from: &str, to: &str) -> Result<(), Rejection> {
        let says = |place: &Place| self.quotas.get(place).is_some_and(|quota| quota.hard() != Cap::Inherit);
        let mut silent = Vec::new();
        for kind in &self.kinds {
            let parts = self.holds.values().flat_map(|hold| &hold.parts);
            let live = parts.filter(|part| part.used + part.held > 0).map(|part| &part.place);
            let consumed = self.consumed.iter().filter(|(_, used)| **used > 0).map(|(place, _)| place);
            let is_unlimited = |place: &Place| {
                // Above it within what moves, then above where it goes.
                let within = lineage(&place.0).into_iter().filter(|above| is_within(above, from));
                let outside = lineage(parent(to).expect("a root does not move"));
                let says = |above: String| says(&(above, kind.name.clone()));
                lineage(&place.0).into_iter().any(says) && !within.chain(outside).any(says)
            };
            let mut taken = live.chain(consumed).filter(|at| at.1 == kind.name && is_within(&at.0, from));
            if taken.any(is_unlimited) {
                silent
                    .push(quota_name(&(parent(to).expect("a root does not move").into(), kind.name.clone())));
            }
        }
        if silent.is_empty() { Ok(()) } else { Err(Rejection::UnknownQuotas(silent)) }
    }

    fn rename(&mut self, from: &str, to: &str) {
        fn places<T>(map: &mut BTreeMap<Place, T>, from: &str, to: &str) {
            let old = std::mem::take(map);
            map.extend(
                old.into_iter().map(|((path, name), value)| ((renamed(&path, from, to), name), value)),
            );
        }
        places(&mut self.accounts, from, to);
        places(&mut self.quotas, from, to);
        places(&mut self.consumed, from, to);
        let scopes = std::mem::take(&mut self.scopes);
        self.scopes = scopes.into_iter().map(|(path, node)| (renamed(&path, from, to), node)).collect();
        for part in self.holds.values_mut().flat_map(|hold| &mut hold.parts) {
            part.place.0 = renamed(&part.place.0, from, to);
        }
        for loan in self.transfers.values_mut() {
            loan.from = renamed(&loan.from, from, to);
            loan.to = renamed(&loan.to, from, to);
        }
    }

    pub fn delete_scope(&mut self, command: &DeleteScope) -> Result<Grant, Rejection> {
        let path = command.path.as_str();
        self.unknown_scopes([path])?;
        let children = self.scopes.keys().filter(|scope| parent(scope) == Some(path)).count();
        if children > 0 && !command.recursive {
            return Err(Rejection::HasChildren { path: command.path.clone(), children: children as u64 });
        }
        let mut in_use = Vec::new();
        for kind in &self.kinds {
            let place = (path.to_string(), kind.name.clone());
            if self.taken(&place) != (0, 0) {
                in_use.push(self.taken_of(&place));
            }
        }
        if !in_use.is_empty() {
            return Err(Rejection::InUse(in_use));
        }
        let loans = self.loans(path);
        if !loans.is_empty() {
            return Err(Rejection::OnLoan(loans.into_iter().take(SLOTS).collect()));
        }
        let before = self.counters();
        self.scopes.retain(|scope, _| !is_within(scope, path));
        self.accounts.retain(|place, _| !is_within(&place.0, path));
        self.quotas.retain(|place, _| !is_within(&place.0, path));
        self.happen(Happened::new("ScopeDeleted"), &[], &before);
        Ok(Grant::plain(Granted::Done))
    }

    pub fn taken_of(&self, place: &Place) -> Taken {
        let (used, held) = self.taken(place);
        let number = |digits| self.number(digits, &place.1);
        Taken { quota: quota_name(place), used: number(used), held: number(held) }
    }

    pub fn register_resource(&mut self, resource: &Resource) -> Result<Grant, Rejection> {
        if self.kind(resource.name.as_str()).is_some() {
            return Err(Rejection::ResourceExists(resource.name.clone()));
        }
        let before = self.counters();
        self.kinds.push(kind_of(resource));
        self.happen(Happened::new("ResourceRegistered"), &[], &before);
        Ok(Grant::plain(Granted::Done))
    }
}

pub fn kind_of(resource: &Resource) -> Kind {
    Kind {
        name: resource.name.to_string(),
        unit: resource.unit.clone(),
        decimals: resource.decimals.into(),
        budget: resource.kind == ResourceKind::Budget,
    }
}

fn renamed(path: &str, from: &str, to: &str) -> String {
    if is_within(path, from) { format!("{to}{}", &path[from.len()..]) } else { path.into() }
}

pub fn schema_conflict(path: &str) -> Rejection {
    Rejection::SchemaConflict { path: path_of(path), problem: String::new() }
}
