//! Several commands as one.

use std::collections::BTreeMap;

use quorate::ledger::Grant;
use quorate::ledger::Granted;
use quorate::ledger::Name;
use quorate::ledger::Rejection;
use quorate::ledger::command::ApplyTemplate;
use quorate::ledger::command::Command;
use quorate::ledger::command::Plan;
use quorate::ledger::command::PlannedScope;
use quorate::ledger::command::PutTemplate;
use quorate::ledger::outcome::Details;

use super::policy::place_of;
use super::tree::kind_of;
use super::tree::labels_of;
use super::tree::levels_of;
use super::tree::schema_conflict;
use super::world::Happened;
use super::world::Place;
use super::world::Policy;
use super::world::Template;
use super::world::World;

impl World {
    pub fn batch(&mut self, commands: &[Command], actor: &str) -> Result<Grant, Rejection> {
        let first = self.log.len();
        let mut parts = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            match self.carry_out(command, actor) {
                Ok(grant) => parts.push(grant),
                Err(rejection) => return Err(part_failed(index, command.name(), rejection)),
            }
        }
        self.number_parts(first);
        Ok(Grant::new(Granted::Done, Details { parts, ..Details::default() }))
    }

    /// The events since `first` are those of one request.
    fn number_parts(&mut self, first: usize) {
        let of = self.log.len() - first;
        for (index, happened) in self.log[first..].iter_mut().enumerate() {
            happened.part = Some((index as u32, of as u32));
        }
    }

    pub fn template(&self, name: &str) -> Option<&Template> {
        self.templates.iter().find(|template| template.name == name)
    }

    pub fn put_template(&mut self, command: &PutTemplate, prefix: &str) -> Result<Grant, Rejection> {
        let template = self.read_template(command, prefix)?;
        let actual = template.version - 1;
        if let Some(expected) = command.if_version.filter(|expected| *expected != actual) {
            return Err(version_mismatch(&command.name, expected, actual));
        }
        let version = template.version;
        if self.template(&template.name).is_some_and(|known| says_the_same(known, &template)) {
            return Ok(self.unchanged(actual));
        }
        let before = self.counters();
        match self.templates.iter_mut().find(|known| known.name == template.name) {
            Some(known) => *known = template,
            None => self.templates.push(template),
        }
        self.happen(Happened::new("TemplatePut"), &[], &before);
        Ok(Grant::plain(Granted::Version(version)))
    }

    /// The next version of a template.
    fn read_template(&self, command: &PutTemplate, prefix: &str) -> Result<Template, Rejection> {
        let mut policies = BTreeMap::new();
        for (position, quota) in command.quotas.iter().enumerate() {
            let resource = quota.resource.as_str();
            if self.kind(resource).is_some() {
                let prefix = format!("{prefix}quotas[{position}].policy.");
                let policy = self.read_policy(&quota.policy, resource, &prefix)?;
                policy.check(&prefix)?;
                policies.insert(resource.to_string(), policy);
            }
        }
        self.unknown_resources(command.quotas.iter().map(|quota| quota.resource.as_str()))?;
        let name = command.name.to_string();
        let version = self.template(&name).map_or(0, |known| known.version) + 1;
        Ok(Template { name, version, description: command.description.clone(), policies })
    }

    pub fn apply_template(&mut self, command: &ApplyTemplate) -> Result<Grant, Rejection> {
        let path = command.scope.as_str();
        self.unknown_scopes([path])?;
        let template = self.template(command.template.as_str()).cloned();
        let template = template.ok_or_else(|| Rejection::UnknownTemplate(command.template.clone()))?;
        if let Some(expected) = command.if_template_version.filter(|expected| *expected != template.version) {
            return Err(version_mismatch(&command.template, expected, template.version));
        }
        let mut work = Work::default();
        self.use_template(path, &template, &[], &mut work)?;
        if work.parts.is_empty() {
            return Ok(self.unchanged(template.version));
        }
        let details = self.finish(work)?;
        Ok(Grant::new(Granted::Done, details))
    }

    /// Sets what differs from a template, but for the resources that are said `otherwise`, unless it
    /// was applied and nothing differs.
    fn use_template(
        &mut self,
        path: &str,
        template: &Template,
        otherwise: &[&str],
        work: &mut Work,
    ) -> Result<(), Rejection> {
        let before = work.parts.len();
        let mut resources: Vec<&String> = template.policies.keys().collect();
        resources.sort_by_key(|resource| self.age(resource));
        for resource in &resources {
            if !otherwise.contains(&resource.as_str()) {
                let place = (path.to_string(), (*resource).clone());
                self.put_if_other(place, &template.policies[*resource], work)?;
            }
        }
        let versions = resources.iter().map(|resource| {
            let version = self.version(&(path.to_string(), (*resource).clone()));
            ((*resource).clone(), if otherwise.contains(&resource.as_str()) { 0 } else { version })
        });
        let applied = Some((template.name.clone(), template.version, versions.collect()));
        if work.parts.len() == before && self.scopes[path].template == applied {
            return Ok(());
        }
        let counters = self.counters();
        let node = self.scopes.get_mut(path).expect("known");
        node.template = applied;
        work.first.get_or_insert(self.log.len());
        self.happen(Happened::new("TemplateApplied"), &[], &counters);
        work.parts.push(Grant::plain(Granted::Version(template.version)));
        Ok(())
    }

    /// Sets a policy without a look at its place, which comes at the end.
    fn put_if_other(&mut self, place: Place, policy: &Policy, work: &mut Work) -> Result<(), Rejection> {
        if self.quotas.get(&place).is_some_and(|quota| quota.policy == *policy) {
            return Ok(());
        }
        let before = self.counters();
        let was = self.effective(&place);
        self.quotas.entry(place.clone()).or_default().policy = policy.clone();
        let drains = self.reduce(&place, was, false)?;
        let version = self.raise(&place);
        work.first.get_or_insert(self.log.len());
        self.happen(Happened { drains, ..Happened::new("QuotaSet") }, std::slice::from_ref(&place), &before);
        work.checks.push(Check::Place(place));
        work.parts.push(Grant::plain(Granted::Version(version)));
        Ok(())
    }

    /// Now that all limits are there, they must fit.
    fn finish(&mut self, work: Work) -> Result<Details, Rejection> {
        for check in &work.checks {
            match check {
                Check::Tree(root) => self.check_tree(root)?,
                Check::Place(place) => self.check_place(place, false)?,
            }
        }
        if let Some(first) = work.first {
            self.number_parts(first);
        }
        Ok(Details { parts: work.parts, ..Details::default() })
    }

    pub fn apply_plan(&mut self, plan: &Plan) -> Result<Grant, Rejection> {
        let mut work = Work::default();
        for resource in &plan.resources {
            match self.kind(resource.name.as_str()) {
                Some(kind) if *kind == kind_of(resource) => {}
                _ => {
                    let done = self.register_resource(resource);
                    work.add(self.log.len(), done)?;
                }
            }
        }
        for (position, command) in plan.templates.iter().enumerate() {
            let prefix = format!("plan.templates[{position}].");
            let next = self.read_template(command, &prefix);
            let is_same = next
                .is_ok_and(|next| self.template(&next.name).is_some_and(|known| says_the_same(known, &next)));
            if !is_same {
                let done = self.put_template(command, &prefix);
                work.add(self.log.len(), done)?;
            }
        }
        let mut scopes: Vec<(usize, &PlannedScope)> = plan.scopes.iter().enumerate().collect();
        scopes.sort_by_key(|(_, scope)| scope.path.segments().count());
        for (_, scope) in &scopes {
            self.plan_scope(scope, &mut work)?;
        }
        for (position, scope) in &scopes {
            for (at, quota) in scope.quotas.iter().enumerate() {
                let place = place_of(&scope.path, &quota.resource);
                let prefix = format!("plan.scopes[{position}].quotas[{at}].policy.");
                self.unknown_resources([place.1.as_str()])?;
                let policy = self.read_policy(&quota.policy, &place.1, &prefix)?;
                policy.check(&prefix)?;
                self.put_if_other(place, &policy, &mut work)?;
            }
            if let Some(name) = &scope.template {
                let template = self.template(name.as_str()).cloned();
                let template = template.ok_or_else(|| Rejection::UnknownTemplate(name.clone()))?;
                let applied = self.scopes[scope.path.as_str()].template.as_ref();
                if applied
                    .is_none_or(|(name, version, _)| (name, *version) != (&template.name, template.version))
                {
                    let own: Vec<&str> = scope.quotas.iter().map(|quota| quota.resource.as_str()).collect();
                    self.use_template(scope.path.as_str(), &template, &own, &mut work)?;
                }
            }
        }
        if work.parts.is_empty() {
            return Ok(self.unchanged(0));
        }
        let details = self.finish(work)?;
        Ok(Grant::new(Granted::Done, details))
    }

    /// Makes a scope, or makes it as it should be.
    fn plan_scope(&mut self, scope: &PlannedScope, work: &mut Work) -> Result<(), Rejection> {
        use quorate::ledger::command::CreateScope;
        use quorate::ledger::command::UpdateScope;

        let Some(node) = self.scopes.get(scope.path.as_str()) else {
            let (path, kind, labels) = (scope.path.clone(), scope.kind.clone(), scope.labels.clone());
            let (schema, child_policy) = (scope.schema.clone(), scope.child_policy);
            let labels = labels.unwrap_or_default();
            let done = self.create_scope(&CreateScope { path, kind, labels, schema, child_policy });
            return work.add(self.log.len(), done);
        };
        if scope.kind.as_ref().is_some_and(|kind| kind.as_str() != node.kind) {
            let conflict = Err(schema_conflict(scope.path.as_str()));
            return work.add(self.log.len(), conflict);
        }
        let rules = node.rules.clone();
        let labels = scope.labels.clone().filter(|labels| labels_of(labels) != node.labels);
        let differs = |schema: &_| rules.as_ref().is_some_and(|rules| rules.levels != levels_of(schema));
        let schema = scope.schema.clone().filter(differs);
        let differs = |policy: &_| rules.as_ref().is_some_and(|rules| rules.child_policy != *policy);
        let child_policy = scope.child_policy.filter(differs);
        if labels.is_none() && schema.is_none() && child_policy.is_none() {
            return Ok(());
        }
        if child_policy.is_some() {
            work.checks.push(Check::Tree(scope.path.to_string()));
        }
        let done =
            self.update_scope_only(&UpdateScope { path: scope.path.clone(), labels, schema, child_policy });
        work.add(self.log.len(), done)
    }
}

/// What several commands have done so far.
#[derive(Default)]
struct Work {
    /// The first of their events.
    first: Option<usize>,
    parts: Vec<Grant>,
    /// What has to be looked at when all limits are there.
    checks: Vec<Check>,
}

enum Check {
    Place(Place),
    Tree(String),
}

impl Work {
    /// A part was done, and its event is the last of `events`; or it was not.
    fn add(&mut self, events: usize, done: Result<Grant, Rejection>) -> Result<(), Rejection> {
        let grant = done?;
        self.first.get_or_insert(events - 1);
        self.parts.push(grant);
        Ok(())
    }
}

fn says_the_same(one: &Template, other: &Template) -> bool {
    (&one.description, &one.policies) == (&other.description, &other.policies)
}

fn part_failed(index: usize, command: &str, rejection: Rejection) -> Rejection {
    Rejection::PartFailed { index: index as u32, command: command.into(), rejection: Box::new(rejection) }
}

fn version_mismatch(template: &Name, expected: u64, actual: u64) -> Rejection {
    Rejection::TemplateVersionMismatch { template: template.clone(), expected, actual }
}
