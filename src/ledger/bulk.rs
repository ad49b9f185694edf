//! Requests of several parts: batches, templates and plans. All parts are carried out, each seeing
//! what those before it did, or none is.

use std::sync::Arc;

use super::LogTime;
use super::apply::happened;
use super::command::ApplyTemplate;
use super::command::Batch;
use super::command::Command;
use super::command::CreateScope;
use super::command::MAX_BATCH;
use super::command::NewLimit;
use super::command::NewPolicy;
use super::command::Plan;
use super::command::PlannedScope;
use super::command::SetQuota;
use super::command::UpdateScope;
use super::decide;
use super::decide::Context;
use super::decide::Decision;
use super::decide::check_tree;
use super::decide::check_where_it_is;
use super::decide::resolve;
use super::event::Body;
use super::event::Cause;
use super::event::Event;
use super::event::Part;
use super::name::Name;
use super::name::Path;
use super::quota::Limit;
use super::quota::Policy;
use super::rejection::Malformed;
use super::rejection::Rejection;
use super::request::Request;
use super::resource::ResourceId;
use super::scope::ScopeId;
use super::state::State;
use super::tree::ChildPolicy;
use crate::planted::Bug;
use crate::planted::planted;

/// Carries out a request that has parts; `None` for one that has none. When it is not carried out,
/// the state is as before, and what happened instead is returned.
pub(super) fn parts(
    state: &mut State,
    now: LogTime,
    request: &Request,
    cause: &Cause,
) -> Option<Result<Vec<Event>, Box<Decision>>> {
    let name = request.command.name();
    let is_document = !matches!(request.command, Command::Batch(_));
    if !matches!(request.command, Command::Batch(_) | Command::ApplyTemplate(_) | Command::ApplyPlan(_)) {
        return None;
    }
    let changed = state.changed.len();
    // A preview keeps what was before anyway, and takes back everything at its end.
    let outer = state.undo.replace(Vec::new());
    let mut parts = Parts {
        state,
        now,
        actor: &request.actor,
        cause,
        is_document,
        places: Vec::new(),
        events: Vec::new(),
    };
    let mut unchanged_version = 0;
    let done = match &request.command {
        Command::Batch(batch) => parts.batch(batch),
        Command::ApplyTemplate(command) => {
            parts.template(command, &[]).map(|version| unchanged_version = version)
        }
        Command::ApplyPlan(plan) => parts.plan(plan),
        _ => unreachable!("the others have no parts"),
    };
    let done = done.and_then(|()| parts.check_places());
    let done = if planted(Bug::BatchNotAtomic) && !parts.events.is_empty() { Ok(()) } else { done };
    let mut events = parts.events;
    if let Err(rejection) = done {
        state.roll_back();
        state.changed.truncate(changed);
        state.undo = outer;
        return Some(Err(Box::new(decide::rejected(name, rejection))));
    }
    state.undo = match (outer, state.undo.take()) {
        (Some(mut outer), Some(inner)) => {
            outer.extend(inner);
            Some(outer)
        }
        _ => None,
    };
    if events.is_empty() {
        return Some(Err(Box::new(decide::unchanged(name, unchanged_version))));
    }
    let of = u32::try_from(events.len()).expect("a request has fewer than 2^32 parts");
    for (index, event) in (0..).zip(&mut events) {
        event.part = Some(Part { index, of });
    }
    Some(Ok(events))
}

/// The parts of one request, as far as they have been carried out.
struct Parts<'a> {
    state: &'a mut State,
    now: LogTime,
    actor: &'a Arc<str>,
    cause: &'a Cause,
    /// A plan or a template: how limits nest is looked at when all is done, so that the order of
    /// the parts is of no matter.
    is_document: bool,
    places: Vec<Place>,
    events: Vec<Event>,
}

/// What has to be looked at when all is done.
enum Place {
    Quota(ScopeId, ResourceId),
    Tree(ScopeId, ChildPolicy),
}

type Done = Result<(), Rejection>;

impl Parts<'_> {
    fn context(&self) -> Context<'_> {
        Context { state: self.state, now: self.now, actor: self.actor, places_later: self.is_document }
    }

    fn run(&mut self, command: &Command) -> Done {
        let decision = decide::decide(self.context(), command)?;
        // A document has no part for what is so already; a batch has one for every command.
        if self.is_document && matches!(decision.body, Body::Unchanged { .. }) {
            return Ok(());
        }
        if self.events.len() == MAX_BATCH {
            let problem =
                format!("leads to more than {MAX_BATCH} changes, which is the most at once: split it");
            return Err(Rejection::Malformed(Malformed::new("plan", problem)));
        }
        self.fold(decision);
        Ok(())
    }

    fn fold(&mut self, decision: Decision) {
        match &decision.body {
            Body::QuotaSet { scope, resource, .. } => self.places.push(Place::Quota(*scope, *resource)),
            Body::ScopeUpdated { scope, rules: Some(rules), .. }
                if rules.child_policy != self.state.rules(*scope).child_policy =>
            {
                self.places.push(Place::Tree(*scope, rules.child_policy));
            }
            _ => {}
        }
        happened(self.state, self.now, self.cause.clone(), decision, &mut self.events);
    }

    fn check_places(&self) -> Done {
        if !self.is_document {
            return Ok(());
        }
        self.places.iter().try_for_each(|place| match place {
            Place::Quota(scope, resource) => check_where_it_is(self.state, *scope, *resource),
            Place::Tree(root, rules) => check_tree(self.state, *root, *rules),
        })
    }

    fn batch(&mut self, batch: &Batch) -> Done {
        for (index, command) in (0..).zip(batch.commands()) {
            self.run(command).map_err(|rejection| Rejection::PartFailed {
                index,
                command: Arc::from(command.name()),
                rejection: Box::new(rejection),
            })?;
        }
        Ok(())
    }

    /// Returns the version of the template. Of `except` something else is said.
    fn template(&mut self, command: &ApplyTemplate, except: &[ResourceId]) -> Result<u64, Rejection> {
        let ApplyTemplate { scope, template, if_template_version } = command;
        let id = self.scope_at(scope)?;
        let present = self
            .state
            .template(template)
            .ok_or_else(|| Rejection::UnknownTemplate(template.clone()))?
            .clone();
        if let Some(expected) = if_template_version.filter(|expected| *expected != present.version) {
            let (template, actual) = (template.clone(), present.version);
            return Err(Rejection::TemplateVersionMismatch { template, expected, actual });
        }
        for (resource, policy) in present.quotas.iter().filter(|(resource, _)| !except.contains(resource)) {
            self.set(id, *resource, policy)?;
        }
        let decision = decide::applied(self.state.scope(id), &present, except);
        let Body::TemplateApplied { template, version, quotas, .. } = &decision.body else {
            unreachable!("a template that was applied is said to be");
        };
        let known = self.state.scope(id).template.as_deref().is_some_and(|applied| {
            applied.template == *template && applied.version == *version && applied.quotas == *quotas
        });
        if !known {
            self.fold(decision);
        }
        Ok(present.version)
    }

    fn scope_at(&self, path: &Path) -> Result<ScopeId, Rejection> {
        let scope = self.state.scope_at(path).ok_or_else(|| Rejection::UnknownScopes(vec![path.clone()]))?;
        Ok(scope.id)
    }

    /// Sets a quota, unless it is so already.
    fn set(&mut self, scope: ScopeId, resource: ResourceId, policy: &Policy) -> Done {
        let found = self.state.scope(scope);
        if found.quota(resource).is_some_and(|quota| quota.policy == *policy) {
            return Ok(());
        }
        let command = SetQuota {
            scope: found.path.clone(),
            resource: self.state.resource(resource).name.clone(),
            policy: as_said(policy),
            fields: None,
            effective_at: None,
            if_version: None,
        };
        self.run(&Command::SetQuota(command))
    }

    fn plan(&mut self, plan: &Plan) -> Done {
        for resource in &plan.resources {
            let present = self.state.resource_id(&resource.name).map(|id| self.state.resource(id));
            if present != Some(resource) {
                self.run(&Command::RegisterResource(resource.clone()))?;
            }
        }
        for (position, template) in plan.templates.iter().enumerate() {
            self.run(&Command::PutTemplate(template.clone()))
                .map_err(|rejection| within(rejection, &format!("plan.templates[{position}].")))?;
        }
        let mut order: Vec<usize> = (0..plan.scopes.len()).collect();
        order.sort_by_key(|position| plan.scopes[*position].path.segments().count());
        for position in &order {
            self.planned_scope(&plan.scopes[*position])?;
        }
        for position in order {
            let PlannedScope { path, template, quotas, .. } = &plan.scopes[position];
            let scope = self.scope_at(path)?;
            let mut own = Vec::with_capacity(quotas.len());
            for (at, quota) in quotas.iter().enumerate() {
                let resource = self
                    .state
                    .resource_id(&quota.resource)
                    .ok_or_else(|| Rejection::UnknownResources(vec![quota.resource.clone()]))?;
                let prefix = format!("plan.scopes[{position}].quotas[{at}].");
                let policy = resolve(self.state, resource, &quota.policy)
                    .map_err(|error| within(Rejection::Malformed(error), &prefix))?;
                self.set(scope, resource, &policy)?;
                own.push(resource);
            }
            // A template is applied once in each of its versions: what was changed by hand since
            // stays changed.
            if let Some(template) = template.as_ref().filter(|template| !self.has(path, template)) {
                let command = ApplyTemplate {
                    scope: path.clone(),
                    template: template.clone(),
                    if_template_version: None,
                };
                self.template(&command, &own)?;
            }
        }
        Ok(())
    }

    /// Whether the present version of a template was applied to a scope.
    fn has(&self, path: &Path, template: &Name) -> bool {
        let applied = self.state.scope_at(path).and_then(|scope| scope.template.as_deref());
        let present = self.state.template(template);
        applied.zip(present).is_some_and(|(applied, present)| {
            applied.template == *template && applied.version == present.version
        })
    }

    fn planned_scope(&mut self, planned: &PlannedScope) -> Done {
        let PlannedScope { path, kind, labels, schema, child_policy, .. } = planned;
        let Some(scope) = self.state.scope_at(path) else {
            return self.run(&Command::CreateScope(CreateScope {
                path: path.clone(),
                kind: kind.clone(),
                labels: labels.clone().unwrap_or_default(),
                schema: schema.clone(),
                child_policy: *child_policy,
            }));
        };
        if let Some(kind) = kind.as_ref().filter(|kind| **kind != scope.kind) {
            let problem = format!("is of kind {}, not {kind}; a scope keeps its kind", scope.kind);
            return Err(Rejection::SchemaConflict { path: path.clone(), problem });
        }
        if labels.is_none() && schema.is_none() && child_policy.is_none() {
            return Ok(());
        }
        self.run(&Command::UpdateScope(UpdateScope {
            path: path.clone(),
            labels: labels.clone(),
            schema: schema.clone(),
            child_policy: *child_policy,
        }))
    }
}

/// A policy as a client would say it.
pub fn as_said(policy: &Policy) -> NewPolicy {
    let terms = policy.terms();
    NewPolicy {
        limit: match policy.limit {
            Limit::Amount(amount) => NewLimit::Amount(amount.number()),
            Limit::Unlimited => NewLimit::Unlimited,
            Limit::Inherit => NewLimit::Inherit,
        },
        soft: terms.soft.map(super::Amount::number),
        grace_ms: terms.grace_ms,
        burst: terms.burst.map(super::Amount::number),
        max_burst_ms: terms.max_burst_ms,
        overcommit: terms.overcommit,
        enforcement: terms.enforcement,
        on_reduce: terms.on_reduce,
        default_ttl_ms: terms.default_ttl_ms,
        max_ttl_ms: terms.max_ttl_ms,
        allow_transfer: terms.allow_transfer,
    }
}

/// A problem of a part of a document, with where in the document it is.
fn within(rejection: Rejection, prefix: &str) -> Rejection {
    match rejection {
        Rejection::Malformed(Malformed { field, problem }) => {
            Rejection::Malformed(Malformed { field: format!("{prefix}{field}"), problem })
        }
        rejection => rejection,
    }
}
