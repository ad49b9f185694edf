//! Which events a reader wants.

use super::names;
use super::names::Named;
use crate::codec::command;
use crate::ledger::Malformed;
use crate::ledger::Name;
use crate::ledger::Path;
use crate::proto::v1;
use crate::proto::v1::event::Body;

/// The kinds of events: the names of their bodies.
pub const KINDS: [&str; 28] = [
    "scope_created",
    "scope_updated",
    "scope_moved",
    "scope_deleted",
    "resource_registered",
    "quota_set",
    "quota_deleted",
    "quota_locked",
    "quota_unlocked",
    "quota_scheduled",
    "schedule_cancelled",
    "schedule_failed",
    "override_switched",
    "clock_ended",
    "quota_transferred",
    "transfer_returned",
    "template_put",
    "template_applied",
    "reserved",
    "committed",
    "released",
    "expired",
    "renewed",
    "resized",
    "time_refused",
    "rejected",
    "unchanged",
    "events_compacted",
];

/// The kind of a body.
pub fn kind(body: &Body) -> &'static str {
    match body {
        Body::ScopeCreated(_) => "scope_created",
        Body::ScopeUpdated(_) => "scope_updated",
        Body::ScopeMoved(_) => "scope_moved",
        Body::ScopeDeleted(_) => "scope_deleted",
        Body::ResourceRegistered(_) => "resource_registered",
        Body::QuotaSet(_) => "quota_set",
        Body::QuotaDeleted(_) => "quota_deleted",
        Body::QuotaLocked(_) => "quota_locked",
        Body::QuotaUnlocked(_) => "quota_unlocked",
        Body::QuotaScheduled(_) => "quota_scheduled",
        Body::ScheduleCancelled(_) => "schedule_cancelled",
        Body::ScheduleFailed(_) => "schedule_failed",
        Body::OverrideSwitched(_) => "override_switched",
        Body::ClockEnded(_) => "clock_ended",
        Body::QuotaTransferred(_) => "quota_transferred",
        Body::TransferReturned(_) => "transfer_returned",
        Body::TemplatePut(_) => "template_put",
        Body::TemplateApplied(_) => "template_applied",
        Body::Reserved(_) => "reserved",
        Body::Committed(_) => "committed",
        Body::Released(_) => "released",
        Body::Expired(_) => "expired",
        Body::Renewed(_) => "renewed",
        Body::Resized(_) => "resized",
        Body::TimeRefused(_) => "time_refused",
        Body::Rejected(_) => "rejected",
        Body::Unchanged(_) => "unchanged",
        Body::EventsCompacted(_) => "events_compacted",
    }
}

/// What events must be to be wanted; the default wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    scope: Option<Path>,
    resource: Option<Name>,
    /// Empty is any.
    kinds: Vec<&'static str>,
    /// "" is any.
    actor: String,
    /// As events write it; "" is any.
    request_id: String,
    from_ms: u64,
    /// 0 is no end.
    to_ms: u64,
    /// 0 is any.
    hold_id: u64,
}

impl Filter {
    /// A filter from its message, which stands in a field "filter"; absent, it wants all.
    pub fn decode(message: Option<v1::EventFilter>) -> Result<Self, Malformed> {
        message.map_or_else(|| Ok(Self::default()), Self::decode_message)
    }

    fn decode_message(message: v1::EventFilter) -> Result<Self, Malformed> {
        let v1::EventFilter { scope, resource, kinds, actor, request_id, from_ms, to_ms, hold_id } = message;
        let scope = said(&scope).map(|scope| command::path("filter.scope", scope)).transpose()?;
        let resource = said(&resource).map(|name| command::name("filter.resource", name)).transpose()?;
        let known = |(position, given): (usize, &String)| {
            KINDS.into_iter().find(|kind| kind == given).ok_or_else(|| {
                let field = format!("filter.kinds[{position}]");
                Malformed::new(field, format!("is no kind of event; these are: {}", KINDS.join(" ")))
            })
        };
        let kinds = kinds.iter().enumerate().map(known).collect::<Result<_, _>>()?;
        let request_id = match said(&request_id) {
            None => String::new(),
            Some(id) => {
                let id = command::request_id(id).map_err(|error| command::within("filter", error))?;
                id.to_string()
            }
        };
        if to_ms != 0 && to_ms <= from_ms {
            let problem = format!("is {to_ms}, not after from_ms, which is {from_ms}");
            return Err(Malformed::new("filter.to_ms", problem));
        }
        Ok(Self { scope, resource, kinds, actor, request_id, from_ms, to_ms, hold_id })
    }

    /// The subtree that is wanted; `None` for everything.
    pub fn scope(&self) -> Option<&Path> {
        self.scope.as_ref()
    }

    /// Whether a scope is in the subtree that is wanted.
    pub fn wants_scope(&self, path: &Path) -> bool {
        self.scope.as_ref().is_none_or(|scope| path.is_within(scope))
    }

    /// Whether a resource is wanted.
    pub fn wants_resource(&self, name: &str) -> bool {
        self.resource.as_ref().is_none_or(|resource| resource.as_str() == name)
    }

    /// The first log time that is wanted; 0 for any.
    pub fn from_ms(&self) -> u64 {
        self.from_ms
    }

    /// Whether nothing at or after a log time is wanted.
    pub fn is_past(&self, time_ms: u64) -> bool {
        self.to_ms != 0 && time_ms >= self.to_ms
    }

    /// Whether every event passes.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether an event is wanted. It must have its commands.
    pub fn passes(&self, event: &v1::Event) -> bool {
        let is = |wanted: &str, actual: &str| wanted.is_empty() || wanted == actual;
        // The cheap questions first.
        event.log_time_ms >= self.from_ms
            && (self.to_ms == 0 || event.log_time_ms < self.to_ms)
            && is(&self.actor, &event.actor)
            && is(&self.request_id, &event.request_id)
            && (self.kinds.is_empty()
                || event.body.as_ref().is_some_and(|body| self.kinds.contains(&kind(body))))
            && (self.hold_id == 0 || names::any(event, |named| named == Named::Hold(self.hold_id)))
            && self
                .resource
                .as_ref()
                .is_none_or(|resource| names::any(event, |named| named == Named::Resource(resource.as_str())))
            && self.scope.as_ref().is_none_or(|scope| {
                names::any(event, |named| match named {
                    Named::Scope(path) => is_at_or_below(path, scope.as_str()),
                    Named::Resource(_) | Named::Hold(_) => false,
                })
            })
    }
}

fn said(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::proto::v1::batch_command::Command;
    use crate::proto::v1::rejection::Reason;

    fn filter(message: v1::EventFilter) -> Filter {
        Filter::decode(Some(message)).expect("a filter")
    }

    fn scope(path: &str) -> Filter {
        filter(v1::EventFilter { scope: path.into(), ..Default::default() })
    }

    fn resource(name: &str) -> Filter {
        filter(v1::EventFilter { resource: name.into(), ..Default::default() })
    }

    fn hold(hold_id: u64) -> Filter {
        filter(v1::EventFilter { hold_id, ..Default::default() })
    }

    fn with_body(body: Body) -> v1::Event {
        v1::Event { body: Some(body), ..Default::default() }
    }

    fn asked(command: Command) -> v1::Event {
        let command = v1::BatchCommand { tag: 0, command: Some(command) };
        v1::Event { command: Some(command), ..with_body(Body::Unchanged(Default::default())) }
    }

    fn line(scope: &str, resource: &str) -> v1::EventLine {
        v1::EventLine { scope: scope.into(), resource: resource.into(), ..Default::default() }
    }

    #[test]
    fn the_kinds_are_the_names_of_the_bodies_in_the_protocol() {
        let pool = DescriptorPool::decode(v1::DESCRIPTORS).expect("descriptors");
        let event = pool.get_message_by_name("quorate.v1.Event").expect("the message");
        let body = event.oneofs().find(|oneof| oneof.name() == "body").expect("the oneof");
        let names: Vec<String> = body.fields().map(|field| field.name().to_owned()).collect();
        assert_eq!(names, KINDS);
        // And a body says its own, whatever its place in the list.
        for field in body.fields() {
            let mut message = prost_reflect::DynamicMessage::new(event.clone());
            let empty = prost_reflect::Value::Message(prost_reflect::DynamicMessage::new(
                field.kind().as_message().expect("a message").clone(),
            ));
            message.set_field(&field, empty);
            let event: v1::Event = message.transcode_to().expect("an event");
            assert_eq!(kind(&event.body.expect("a body")), field.name());
        }
    }

    #[test]
    fn no_filter_and_an_empty_one_want_all() {
        assert!(Filter::decode(None).expect("a filter").is_all());
        assert!(filter(v1::EventFilter::default()).is_all() && !hold(1).is_all());
        assert!(Filter::default().passes(&v1::Event::default()));
    }

    #[test]
    fn a_malformed_filter_is_refused_with_the_field_named() {
        let refused = |message| Filter::decode(Some(message)).expect_err("malformed");
        let none = v1::EventFilter::default;
        assert_eq!(refused(v1::EventFilter { scope: "a//b".into(), ..none() }).field, "filter.scope");
        assert_eq!(refused(v1::EventFilter { resource: "GPU".into(), ..none() }).field, "filter.resource");
        let version_4 = "67e55044-10b1-426f-9247-bb680e5fe0c8".to_owned();
        for request_id in [version_4, "17".to_owned()] {
            assert_eq!(refused(v1::EventFilter { request_id, ..none() }).field, "filter.request_id");
        }
        let kinds = vec!["reserved".to_owned(), "reserve".to_owned()];
        let unknown = refused(v1::EventFilter { kinds, ..none() });
        assert_eq!(unknown.field, "filter.kinds[1]");
        assert!(KINDS.iter().all(|kind| unknown.problem.contains(kind)), "{}", unknown.problem);
        assert_eq!(refused(v1::EventFilter { from_ms: 7, to_ms: 7, ..none() }).field, "filter.to_ms");
    }

    #[test]
    fn a_scope_is_concerned_with_everything_at_and_below_it_and_nothing_beside_it() {
        let event = |scope: &str| {
            with_body(Body::Reserved(v1::Reserved { lines: vec![line(scope, "gpu")], ..Default::default() }))
        };
        let wanted = scope("acme/ml");
        assert!(wanted.passes(&event("acme/ml")) && wanted.passes(&event("acme/ml/alice")));
        assert!(!wanted.passes(&event("acme")) && !wanted.passes(&event("acme/mlx")));
        let touched = v1::Touched { scope: "acme/ml".into(), resource: "gpu".into(), ..Default::default() };
        let touched = v1::Event { touched: vec![touched], ..with_body(Body::QuotaSet(Default::default())) };
        assert!(wanted.passes(&touched) && resource("gpu").passes(&touched));
        assert!(!resource("cpu").passes(&touched) && !scope("other").passes(&touched));
    }

    #[test]
    fn a_denial_concerns_what_was_asked_for_although_another_scope_was_in_the_way() {
        let blocking = v1::Blocking { scope: "acme".into(), resource: "gpu".into(), ..Default::default() };
        let denied = Reason::Denied(v1::rejection::Denied { blocking: vec![blocking] });
        let rejection = Some(v1::Rejection { reason: Some(denied), omitted: 0 });
        let body = Body::Rejected(v1::Rejected { command: "Reserve".into(), rejection });
        let lines = vec![v1::Line { scope: "acme/ml".into(), resource: "gpu".into(), ..Default::default() }];
        let command = Command::Reserve(v1::ReserveRequest { lines, ..Default::default() });
        let command = v1::BatchCommand { tag: 0, command: Some(command) };
        let one = v1::Event { command: Some(command.clone()), ..with_body(body.clone()) };
        let batch = v1::BatchRequest { commands: vec![command], ..Default::default() };
        let many = v1::Event { batch: Some(batch), ..with_body(body) };
        for event in [one, many] {
            assert!(scope("acme/ml").passes(&event) && scope("acme").passes(&event));
            assert!(resource("gpu").passes(&event) && !scope("acme/web").passes(&event));
        }
    }

    #[test]
    fn a_rejected_part_concerns_what_its_own_reason_names() {
        let mismatch = v1::rejection::VersionMismatch {
            quota: Some(v1::QuotaName { scope: "acme/ml".into(), resource: "gpu".into() }),
            ..Default::default()
        };
        let inner = v1::Rejection { reason: Some(Reason::VersionMismatch(mismatch)), omitted: 0 };
        let part = v1::rejection::PartFailed { rejection: Some(Box::new(inner)), ..Default::default() };
        let rejection = Some(v1::Rejection { reason: Some(Reason::PartFailed(Box::new(part))), omitted: 0 });
        let event = with_body(Body::Rejected(v1::Rejected { command: "Batch".into(), rejection }));
        assert!(scope("acme/ml").passes(&event) && resource("gpu").passes(&event));
        assert!(!scope("acme/web").passes(&event));
    }

    #[test]
    fn what_was_asked_for_is_found_in_every_command_that_names_it() {
        let moved = v1::MoveScopeRequest { path: "acme/a".into(), to: "acme/b".into(), ..Default::default() };
        let moved = asked(Command::MoveScope(moved));
        assert!(scope("acme/a").passes(&moved) && scope("acme/b").passes(&moved));
        let lent = v1::TransferQuotaRequest {
            resource: "gpu".into(),
            from: "acme/a".into(),
            to: "acme/b".into(),
            ..Default::default()
        };
        let lent = asked(Command::TransferQuota(lent));
        assert!(
            scope("acme/a").passes(&lent) && scope("acme/b").passes(&lent) && resource("gpu").passes(&lent)
        );
        let policy = |name: &str| v1::ResourcePolicy { resource: name.into(), policy: None };
        let planned =
            v1::PlannedScope { path: "acme/ml".into(), quotas: vec![policy("gpu")], ..Default::default() };
        let plan = Some(v1::Plan { scopes: vec![planned], ..Default::default() });
        let plan = asked(Command::ApplyPlan(v1::ApplyPlanRequest { plan, ..Default::default() }));
        assert!(scope("acme/ml").passes(&plan) && resource("gpu").passes(&plan));
        let put = v1::PutTemplateRequest { quotas: vec![policy("gpu")], ..Default::default() };
        assert!(resource("gpu").passes(&asked(Command::PutTemplate(put))));
    }

    #[test]
    fn a_hold_is_found_from_its_reservation_to_what_was_refused_of_it() {
        let body = |body| hold(7).passes(&with_body(body));
        assert!(body(Body::Reserved(v1::Reserved { hold_id: 7, ..Default::default() })));
        assert!(body(Body::Renewed(v1::Renewed { hold_id: 7, ..Default::default() })));
        assert!(body(Body::Expired(v1::Expired { hold_id: 7, ..Default::default() })));
        assert!(!body(Body::Released(v1::Released { hold_id: 8, ..Default::default() })));
        let commit = v1::CommitRequest { hold_id: 7, ..Default::default() };
        assert!(hold(7).passes(&asked(Command::Commit(commit))));
        let closed = Reason::HoldClosed(v1::rejection::HoldClosed { hold_id: 7, ..Default::default() });
        let rejection = Some(v1::Rejection { reason: Some(closed), omitted: 0 });
        assert!(body(Body::Rejected(v1::Rejected { command: "Commit".into(), rejection })));
    }

    #[test]
    fn kind_actor_request_and_time_must_all_be_as_said() {
        let id = "019a9f2e-0000-7000-8000-000000000001";
        let event = v1::Event {
            log_time_ms: 100,
            actor: "alice".into(),
            request_id: id.into(),
            ..with_body(Body::Committed(Default::default()))
        };
        let all = v1::EventFilter {
            kinds: vec!["reserved".into(), "committed".into()],
            actor: "alice".into(),
            request_id: id.to_uppercase(),
            from_ms: 100,
            to_ms: 101,
            ..Default::default()
        };
        assert!(filter(all.clone()).passes(&event));
        let other_id = id.replace('1', "2");
        for other in [
            v1::EventFilter { kinds: vec!["reserved".into()], ..all.clone() },
            v1::EventFilter { actor: "bob".into(), ..all.clone() },
            v1::EventFilter { request_id: other_id, ..all.clone() },
            v1::EventFilter { from_ms: 101, to_ms: 0, ..all.clone() },
            v1::EventFilter { from_ms: 99, to_ms: 100, ..all.clone() },
        ] {
            assert!(!filter(other.clone()).passes(&event), "{other:?}");
        }
    }
}
