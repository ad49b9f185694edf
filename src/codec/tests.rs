//! Everything that is encoded decodes to the same, and what clients get wrong is named.

use std::num::NonZeroU64;
use std::sync::Arc;

use prost::Message as _;
use rust_decimal::Decimal;

use super::batch;
use super::command;
use super::command::Message;
use super::event;
use super::event::Position;
use super::event::stored::tests::look_into;
use super::fields::Writer;
use super::json;
use super::local;
use super::rejection;
use super::rows;
use super::verdict;
use crate::ledger::Amount;
use crate::ledger::Body;
use crate::ledger::Cause;
use crate::ledger::Command;
use crate::ledger::Event;
use crate::ledger::Grant;
use crate::ledger::Granted;
use crate::ledger::Hold;
use crate::ledger::HoldState;
use crate::ledger::Labels;
use crate::ledger::Limit;
use crate::ledger::Lock;
use crate::ledger::Malformed;
use crate::ledger::Name;
use crate::ledger::Path;
use crate::ledger::Policy;
use crate::ledger::Quota;
use crate::ledger::Rejection;
use crate::ledger::Request;
use crate::ledger::RequestId;
use crate::ledger::Resource;
use crate::ledger::ResourceId;
use crate::ledger::ResourceKind;
use crate::ledger::ScopeId;
use crate::ledger::apply::RefusedClock;
use crate::ledger::apply::Stamp;
use crate::ledger::command::*;
use crate::ledger::event::*;
use crate::ledger::hold::Closing;
use crate::ledger::hold::HoldLine;
use crate::ledger::hold::Tags;
use crate::ledger::outcome::Details;
use crate::ledger::quota::*;
use crate::ledger::rejection::*;
use crate::ledger::request::Decided;
use crate::ledger::rows::Row;
use crate::ledger::rows::TemplateId;
use crate::ledger::scope::Account;
use crate::ledger::template;
use crate::ledger::template::Template;
use crate::ledger::transfer::Transfer;
use crate::ledger::tree::ChildPolicy;
use crate::ledger::tree::Schema;
use crate::ledger::tree::TreeRules;
use crate::proto::storage::v1 as storage;
use crate::proto::v1;

const DECIMALS: u8 = 2;

fn decimals(_: ResourceId) -> Option<u8> {
    Some(DECIMALS)
}

fn number(text: &str) -> Decimal {
    Decimal::from_str_exact(text).expect("a number")
}

fn amount(text: &str) -> Amount {
    Amount::new(number(text), DECIMALS).expect("an amount")
}

fn path(text: &str) -> Path {
    Path::parse(text).expect("a path")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn labels() -> Labels {
    let pairs = [("env", "prod"), ("a/b", "")];
    Labels::new("labels", pairs.map(|(key, value)| (key.into(), value.into()))).expect("labels")
}

fn tags() -> Option<Arc<Tags>> {
    Some(Arc::new(Tags::new("job-1", "alice", labels()).expect("tags")))
}

fn request_id() -> RequestId {
    RequestId::from_bytes((7 << 76 | 0b10_u128 << 62 | 5).to_be_bytes()).expect("a UUIDv7")
}

fn quota_name() -> QuotaName {
    QuotaName { scope: path("acme/ml"), resource: name("vcpus") }
}

fn said() -> NewPolicy {
    NewPolicy {
        limit: NewLimit::Amount(number("16")),
        soft: Some(number("0")),
        grace_ms: Some(1),
        burst: Some(number("24.5")),
        max_burst_ms: Some(2),
        overcommit: Some(number("1.25")),
        enforcement: Enforcement::Shadow,
        on_reduce: OnReduce::Drain,
        default_ttl_ms: Some(3),
        max_ttl_ms: Some(4),
        allow_transfer: true,
    }
}

fn policies() -> [Policy; 3] {
    let terms = Terms {
        soft: Some(amount("0")),
        grace_ms: Some(1),
        burst: Some(amount("24.5")),
        max_burst_ms: Some(2),
        overcommit: Some(number("1.25")),
        enforcement: Enforcement::Warn,
        on_reduce: OnReduce::Refuse,
        default_ttl_ms: Some(3),
        max_ttl_ms: Some(4),
        allow_transfer: true,
    };
    [
        Policy::new(Limit::Amount(amount("16.25")), terms),
        Policy::new(Limit::Unlimited, Terms { enforcement: Enforcement::Off, ..Terms::default() }),
        Policy::new(Limit::Inherit, Terms::default()),
    ]
}

fn lines() -> Vec<HoldAmount> {
    vec![
        HoldAmount { scope: path("acme"), resource: name("vcpus"), amount: number("1.5") },
        HoldAmount { scope: path("acme/ml"), resource: name("vcpus"), amount: number("2") },
    ]
}

fn plan() -> Plan {
    let quotas = vec![TemplateQuota { resource: name("vcpus"), policy: said() }];
    let template = PutTemplate::new(name("small"), "for people".into(), quotas, Some(0)).expect("a template");
    let scope = |path, root: bool| PlannedScope {
        path,
        kind: root.then(|| name("organization")),
        labels: root.then(labels),
        schema: root.then(Schema::default),
        child_policy: root.then_some(ChildPolicy::Unchecked),
        template: root.then(|| name("small")),
        quotas: vec![PlannedQuota { resource: name("vcpus"), policy: said() }],
    };
    Plan {
        resources: vec![resource()],
        templates: vec![template],
        scopes: vec![scope(path("acme"), true), scope(path("acme/ml"), false)],
    }
}

fn resource() -> Resource {
    Resource::new(name("vcpus"), "vCPU", DECIMALS.into(), ResourceKind::Budget).expect("a resource")
}

fn hold_commands() -> Vec<Command> {
    let line = |minimum: Option<&str>| Line {
        scope: path("acme/ml"),
        resource: name("vcpus"),
        amount: number("4"),
        minimum: minimum.map(number),
        if_sequence: Some(7),
    };
    let reserve = |lines, mode, commit, ttl_ms, tags| {
        Command::Reserve(Reserve::with(lines, mode, commit, ttl_ms, tags).expect("a reservation"))
    };
    vec![
        reserve(vec![line(None), line(None)], Mode::Strict, true, None, None),
        reserve(vec![line(Some("1.5"))], Mode::Partial, false, Some(5), tags()),
        reserve(vec![line(None)], Mode::Force, false, None, tags()),
        Command::Commit(Commit::all(3)),
        Command::Commit(Commit::new(3, lines(), false).expect("a commit")),
        Command::Release(Release::all(3)),
        Command::Release(Release::new(3, lines()).expect("a release")),
        Command::Renew(Renew::new(3, 1000).expect("a renewal")),
        Command::Resize(Resize::new(3, lines()).expect("a resizing")),
    ]
}

fn policy_commands() -> Vec<Command> {
    let (scope, resource, if_version) = (path("acme/ml"), name("vcpus"), Some(0));
    let set = |policy, fields, effective_at| {
        let (scope, resource) = (scope.clone(), resource.clone());
        Command::SetQuota(SetQuota { scope, resource, policy, fields, effective_at, if_version })
    };
    let masked = NewPolicy { soft: Some(number("3")), ..NewPolicy::default() };
    vec![
        set(said(), None, Some(9)),
        set(NewPolicy { limit: NewLimit::Unlimited, ..NewPolicy::default() }, None, None),
        set(masked, Some(vec![PolicyField::Soft, PolicyField::Overcommit]), None),
        Command::AdjustQuota(
            AdjustQuota::new(scope.clone(), resource.clone(), number("-2.5"), None).expect("an adjustment"),
        ),
        Command::DeleteQuota(DeleteQuota { scope: scope.clone(), resource: resource.clone(), if_version }),
        Command::LockQuota(
            LockQuota::new(scope.clone(), resource.clone(), "why", if_version).expect("a lock"),
        ),
        Command::UnlockQuota(UnlockQuota {
            scope: scope.clone(),
            resource: resource.clone(),
            if_version: None,
        }),
        Command::OverrideQuota(
            OverrideQuota::new(
                scope.clone(),
                resource.clone(),
                NewLimit::Amount(number("5")),
                Some(3),
                4,
                "",
                if_version,
            )
            .expect("an override"),
        ),
        Command::CancelSchedule(CancelSchedule { scope, resource: resource.clone(), id: 12, if_version }),
        Command::TransferQuota(
            TransferQuota::new(
                resource,
                path("acme/ml"),
                path("acme/web"),
                number("5"),
                Some(9),
                None,
                if_version,
            )
            .expect("a transfer"),
        ),
    ]
}

fn tree_commands() -> Vec<Command> {
    let schema = || Some(Schema::parse("organization/team").expect("a schema"));
    let create = |path, kind, schema, child_policy| {
        CreateScope::new(path, kind, labels(), schema, child_policy).expect("a scope")
    };
    vec![
        Command::CreateScope(create(
            path("acme"),
            Some(name("organization")),
            schema(),
            Some(ChildPolicy::SumWithinParent),
        )),
        Command::CreateScope(create(path("acme/ml"), None, None, None)),
        Command::UpdateScope(
            UpdateScope::new(path("acme"), Some(Labels::default()), None, None).expect("an update"),
        ),
        Command::UpdateScope(UpdateScope::new(path("acme"), None, schema(), None).expect("an update")),
        Command::MoveScope(MoveScope::new(path("acme/ml"), path("acme/web/ml"), true).expect("a move")),
        Command::DeleteScope(DeleteScope { path: path("acme"), recursive: true }),
        Command::RegisterResource(resource()),
        Command::CompactEvents(17),
        Command::PutTemplate(plan().templates.remove(0)),
        Command::ApplyTemplate(ApplyTemplate {
            scope: path("acme"),
            template: name("small"),
            if_template_version: Some(2),
        }),
        Command::ApplyPlan(plan()),
    ]
}

fn commands() -> Vec<Command> {
    let mut commands: Vec<Command> =
        hold_commands().into_iter().chain(policy_commands()).chain(tree_commands()).collect();
    let parts: Vec<Command> = commands
        .iter()
        .filter(|command| !matches!(command, Command::ApplyPlan(_) | Command::ApplyTemplate(_)))
        .cloned()
        .collect();
    commands.push(Command::Batch(Batch::new(parts).expect("a batch")));
    commands
}

#[test]
fn requests_come_out_of_the_log_as_they_went_in() {
    let requests: Vec<Request> = commands()
        .into_iter()
        .map(|command| Request {
            id: request_id(),
            fingerprint: batch::fingerprint(&command),
            actor: "alice".into(),
            reason: "the month is over".into(),
            command,
        })
        .collect();
    for refused in [None, Some(RefusedClock { clock: 0, node: 3 })] {
        let stamp = Stamp { time: 17, refused };
        let bytes = batch::encode(&stamp, &requests);
        let decoded = batch::decode(&bytes).expect("what was encoded");
        assert_eq!((decoded.stamp, &decoded.requests), (stamp, &requests));
        for (request, command) in requests.iter().zip(decoded.commands) {
            match command::encode_logged(&request.command) {
                command::Logged::One(message) => assert_eq!(command, message.encode_to_vec()),
                command::Logged::Batch(_) => assert!(command.is_empty()),
            }
        }
    }
}

/// What is stored is compared with it for ever: a command that is encoded in another way makes every older
/// ledger one that does not verify.
#[test]
fn commands_are_encoded_as_they_always_were() {
    let request = |command| Request {
        id: request_id(),
        fingerprint: [0; 16],
        actor: "".into(),
        reason: "".into(),
        command,
    };
    let requests: Vec<_> = commands().into_iter().map(request).collect();
    let entry = batch::encode(&Stamp::from(0), &requests);
    let encoded = batch::decode(&entry).expect("what was encoded").commands.concat();
    let batches = requests.iter().filter(|request| matches!(request.command, Command::Batch(_)));
    let fingerprints: Vec<_> = batches.map(|request| batch::fingerprint(&request.command)).collect();
    let digest = super::merkle::leaf(&[encoded.as_slice(), &fingerprints.concat()].concat());
    assert_eq!(digest.to_string(), "CY7n7laMgMQC23MDGHKPTGatkY0czdgTX/AoosBxvmY=");
}

#[test]
fn a_command_is_the_same_however_a_client_says_it() {
    let policy = v1::Policy {
        limit: Some(v1::Limit { limit: Some(v1::limit::Limit::Amount("16.0".into())) }),
        overcommit: "1.00".into(),
        soft: "007".into(),
        ..Default::default()
    };
    let set = |policy, paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        let message = v1::SetQuotaRequest {
            scope: "acme".into(),
            resource: "vcpus".into(),
            policy: Some(policy),
            update_mask: Some(crate::proto::FieldMask { paths }),
            ..Default::default()
        };
        command::decode(Message::SetQuota(message)).map(|command| batch::fingerprint(&command))
    };
    let plain = v1::Policy {
        limit: Some(v1::Limit { limit: Some(v1::limit::Limit::Amount("16".into())) }),
        soft: "7".into(),
        enforcement: v1::Enforcement::Enforce.into(),
        on_reduce: v1::OnReduce::Freeze.into(),
        ..Default::default()
    };
    assert_eq!(set(policy.clone(), &[]), set(plain.clone(), &[]));
    // What a mask does not name does not count, nor does the order in which it names.
    let only_soft = v1::Policy { soft: "7".into(), ..Default::default() };
    assert_eq!(set(policy, &["soft", "overcommit", "soft"]), set(only_soft, &["overcommit", "soft"]));
    assert_ne!(set(plain.clone(), &["soft"]), set(plain, &[]));
}

fn refused(message: Message) -> String {
    command::decode(message).expect_err("it is malformed").field
}

#[test]
fn what_is_wrong_in_a_message_is_named() {
    let reserve = |change: &dyn Fn(&mut v1::ReserveRequest)| {
        let line = v1::Line {
            scope: "acme".into(),
            resource: "vcpus".into(),
            amount: "1".into(),
            ..Default::default()
        };
        let mut message = v1::ReserveRequest { lines: vec![line.clone(), line], ..Default::default() };
        change(&mut message);
        refused(Message::Reserve(message))
    };
    assert_eq!(reserve(&|message| message.lines[1].amount = "x".into()), "lines[1].amount");
    assert_eq!(reserve(&|message| message.lines[1].minimum = "1".into()), "lines[1].minimum");
    assert_eq!(reserve(&|message| message.lines[0].scope = String::new()), "lines[0].scope");
    assert_eq!(reserve(&|message| message.mode = 99), "mode");
    assert_eq!(reserve(&|message| message.set_mode(v1::Mode::Check)), "mode");
    assert_eq!(reserve(&|message| message.ttl_ms = Some(0)), "ttl_ms");
    assert_eq!(reserve(&|message| message.largest_holders = 11), "largest_holders");
    assert_eq!(reserve(&|message| message.job = "\n".into()), "job");
    let set = |policy: Option<v1::Policy>, path: &str| {
        let paths = if path.is_empty() { vec![] } else { vec![path.to_owned()] };
        refused(Message::SetQuota(v1::SetQuotaRequest {
            scope: "acme".into(),
            resource: "vcpus".into(),
            policy,
            update_mask: Some(crate::proto::FieldMask { paths }),
            ..Default::default()
        }))
    };
    let soft = |text: &str| {
        let limit = Some(v1::Limit { limit: Some(v1::limit::Limit::Unlimited(v1::Unlimited {})) });
        Some(v1::Policy { limit, soft: text.into(), ..Default::default() })
    };
    assert_eq!(set(None, ""), "policy");
    assert_eq!(set(Some(v1::Policy::default()), ""), "policy.limit");
    assert_eq!(set(Some(v1::Policy::default()), "limit"), "policy.limit");
    assert_eq!(set(soft("-1"), ""), "policy.soft");
    assert_eq!(set(soft("x"), "soft"), "policy.soft");
    assert_eq!(set(soft("1"), "policy.soft"), "update_mask");
}

#[test]
fn what_is_wrong_in_a_batch_or_a_plan_is_named_with_its_place() {
    let command = |command| v1::BatchCommand { tag: 0, command };
    let good = command(Some(Message::Release(v1::ReleaseRequest { hold_id: 1, ..Default::default() })));
    let batch = |bad| {
        let error = command::decode_batch(vec![good.clone(), command(bad)]).expect_err("it is malformed");
        error.field
    };
    assert_eq!(batch(None), "commands[1]");
    let line = v1::HoldAmount { scope: "acme".into(), resource: "vcpus".into(), amount: "0".into() };
    let release = v1::ReleaseRequest { lines: vec![line], ..Default::default() };
    assert_eq!(batch(Some(Message::Release(release))), "commands[1].release.lines[0].amount");
    let identified = v1::ReleaseRequest { request_id: "x".into(), ..Default::default() };
    assert_eq!(batch(Some(Message::Release(identified))), "commands[1].release.request_id");
    let validated = v1::DeleteScopeRequest { path: "a".into(), validate_only: true, ..Default::default() };
    assert_eq!(batch(Some(Message::DeleteScope(validated))), "commands[1].delete_scope.validate_only");

    let quota = v1::ResourcePolicy { resource: "vcpus".into(), policy: Some(v1::Policy::default()) };
    let scope = v1::PlannedScope { path: "acme".into(), quotas: vec![quota], ..Default::default() };
    let plan = |plan| refused(Message::ApplyPlan(v1::ApplyPlanRequest { plan, ..Default::default() }));
    assert_eq!(plan(None), "plan");
    assert_eq!(plan(Some(v1::Plan::default())), "plan");
    let scopes = v1::Plan { scopes: vec![scope], ..Default::default() };
    assert_eq!(plan(Some(scopes)), "plan.scopes[0].quotas[0].policy.limit");
    let resources = v1::Plan { resources: vec![v1::Resource::default()], ..Default::default() };
    assert_eq!(plan(Some(resources)), "plan.resources[0].kind");
}

fn blocking() -> Blocking {
    Blocking {
        quota: quota_name(),
        rule: Rule::BurstEnded,
        limit: number("16"),
        used: number("1.5"),
        held: number("0"),
        requested: number("20"),
        shortfall: number("5.5"),
        waiting_can_help: true,
        fits_at: Some(99),
    }
}

fn rejections() -> Vec<Rejection> {
    let quota = quota_name;
    let problem = || "why".to_owned();
    let mismatch = || Mismatch { quota: quota(), expected: 1, actual: 2 };
    let taken = || Taken { quota: quota(), used: number("1"), held: number("2.5") };
    let lock = Lock { reason: "why".into(), actor: "alice".into() };
    let small = TooSmall { quota: quota(), asked: number("3"), live: number("0") };
    let rules = [Rule::HardLimit, Rule::BurstLimit, Rule::BurstEnded, Rule::SoftLimit];
    let denied = rules.map(|rule| Blocking { rule, fits_at: None, ..blocking() });
    let denied = Rejection::Denied(denied.into_iter().chain([blocking()]).collect());
    vec![
        Rejection::Malformed(Malformed::new("lines[1].amount", "is bad")),
        Rejection::UnknownScopes(vec![path("acme"), path("other")]),
        Rejection::UnknownResources(vec![name("vcpus")]),
        Rejection::UnknownQuotas(vec![quota()]),
        Rejection::UnknownHold(3),
        Rejection::UnknownTemplate(name("small")),
        Rejection::UnknownSchedule { quota: quota(), id: 4 },
        Rejection::ScopeExists(path("acme")),
        Rejection::ResourceExists(name("vcpus")),
        Rejection::HoldClosed { hold: 3, state: HoldState::Expired, revision: 5 },
        Rejection::HoldTooSmall { hold: 3, lines: vec![small] },
        Rejection::HasChildren { path: path("acme"), children: 2 },
        Rejection::InUse(vec![taken()]),
        Rejection::OnLoan(vec![4, 5]),
        Rejection::Locked(vec![(quota(), lock)]),
        Rejection::VersionMismatch(mismatch()),
        Rejection::TemplateVersionMismatch { template: name("small"), expected: 0, actual: 1 },
        Rejection::SequenceMismatch(vec![mismatch(), mismatch()]),
        Rejection::SchemaConflict { path: path("acme"), problem: problem() },
        Rejection::ScheduleConflict { quota: quota(), problem: problem() },
        Rejection::TransferNotAllowed(quota()),
        Rejection::TtlTooLong { quota: quota(), maximum_ms: 1, asked_ms: 2 },
        Rejection::LimitConflict { quota: quota(), other: quota(), problem: problem() },
        Rejection::BelowUse(BelowUse { taken: taken(), limit: number("1"), over_by: number("2.5") }),
        Rejection::Uncountable(vec![quota()]),
        Rejection::RequestIdReused { first: 7 },
        Rejection::RequestIdExpired { oldest_accepted_ms: 8 },
        Rejection::PartFailed { index: 2, command: "Reserve".into(), rejection: Box::new(denied.clone()) },
        denied,
    ]
}

#[test]
fn verdicts_come_back_as_they_were() {
    for rejection in rejections() {
        assert_eq!(rejection::decode(rejection::encode(&rejection)).as_ref(), Ok(&rejection));
        let verdict = Err(Box::new(rejection));
        assert_eq!(verdict::decode(verdict::encode(&verdict)), Ok(verdict));
    }
    let expires_at = NonZeroU64::new(9);
    let details = Details {
        granted: Some([number("1.5"), number("0")].into()),
        warnings: vec![blocking()],
        parts: vec![Grant::plain(Granted::Done), Grant::plain(Granted::Version(3))],
    };
    for verdict in [
        Ok(Grant::plain(Granted::Hold { hold: 3, expires_at: None })),
        Ok(Grant::new(Granted::Hold { hold: 3, expires_at }, details)),
        Ok(Grant::plain(Granted::Version(0))),
        Ok(Grant::plain(Granted::Done)),
    ] {
        assert_eq!(verdict::decode(verdict::encode(&verdict)), Ok(verdict));
    }
}

#[test]
fn a_shortened_rejection_keeps_the_first_thing_and_counts_the_others() {
    let denied = Rejection::Denied(vec![blocking(); 40]);
    let failed =
        Rejection::PartFailed { index: 1, command: "Reserve".into(), rejection: Box::new(denied.clone()) };
    let holder = v1::Holder { hold_id: 1, held: "1".into(), ..Default::default() };
    let mut message = rejection::encode(&denied);
    let Some(v1::rejection::Reason::Denied(reason)) = &mut message.reason else { panic!("a denial") };
    reason.blocking.iter_mut().for_each(|blocking| blocking.largest_holders = vec![holder.clone(); 10]);
    rejection::shorten(&mut message, 200);
    let Some(v1::rejection::Reason::Denied(reason)) = &message.reason else { panic!("a denial") };
    assert_eq!(reason.blocking.len() + message.omitted as usize, 40);
    assert!(!reason.blocking.is_empty() && prost::Message::encoded_len(&message) <= 200);
    let mut message = rejection::encode(&failed);
    rejection::shorten(&mut message, 200);
    assert!(prost::Message::encoded_len(&message) <= 200);
}

fn side(drain: Option<Amount>) -> TransferSide {
    TransferSide { scope: ScopeId(3), limit: amount("4"), version: 5, drain }
}

fn scheduled() -> [Scheduled; 3] {
    let item = |plan| Scheduled { id: 4, start: 5, plan, reason: "why".into(), actor: "alice".into() };
    let [policy, ..] = policies();
    let soft = Terms { soft: Some(amount("2")), ..Terms::default() };
    let fields = Some([PolicyField::Soft].into());
    [
        item(Planned::Change { policy, fields: None }),
        item(Planned::Change { policy: Policy::new(Limit::Inherit, soft), fields }),
        item(Planned::Override { limit: Limit::Unlimited, end: 6, active: true }),
    ]
}

fn template() -> Template {
    let [policy, _, inherit] = policies();
    Template {
        name: name("small"),
        version: 2,
        description: "for people".into(),
        quotas: vec![(ResourceId(0), policy), (ResourceId(4), inherit)],
    }
}

fn rules() -> Option<TreeRules> {
    let schema = Schema::parse("organization/team").expect("a schema");
    Some(TreeRules { schema, child_policy: ChildPolicy::SumWithinParent })
}

fn overruns() -> Vec<Overrun> {
    [OverrunReason::Warn, OverrunReason::Shadow, OverrunReason::Forced, OverrunReason::Soft]
        .map(|reason| Overrun { scope: ScopeId(3), resource: ResourceId(4), blocking: blocking(), reason })
        .into()
}

fn tree_bodies() -> Vec<Body> {
    let (scope, path) = (ScopeId(3), path("acme"));
    vec![
        Body::ScopeCreated {
            scope,
            path: path.clone(),
            kind: name("team"),
            labels: labels(),
            rules: rules(),
        },
        Body::ScopeUpdated { scope, path: path.clone(), labels: Labels::default(), rules: None },
        Body::ScopeMoved { scope, from: path.clone(), to: path.clone(), forced: true, overruns: overruns() },
        Body::ScopeDeleted { scope, path: path.clone(), below: vec![ScopeId(4), ScopeId(9)] },
        Body::ResourceRegistered { id: ResourceId(4), resource: resource() },
        Body::EventsCompacted { through: 9, previous: 4 },
        Body::TemplatePut { template: Arc::new(template()) },
        Body::TemplateApplied {
            scope,
            path,
            template: name("small"),
            version: 2,
            quotas: vec![(ResourceId(0), 1), (ResourceId(4), 7)],
        },
    ]
}

fn policy_bodies() -> Vec<Body> {
    let (scope, resource, version) = (ScopeId(3), ResourceId(4), 5);
    let drain = Some(amount("2"));
    let [policy, unlimited, _] = policies();
    let lock = Lock { reason: "why".into(), actor: "alice".into() };
    let mut bodies = vec![
        Body::QuotaSet {
            scope,
            resource,
            policy: policy.clone(),
            version,
            previous: Some(unlimited.clone()),
            drain,
            scheduled: Some(8),
        },
        Body::QuotaSet {
            scope,
            resource,
            policy: unlimited,
            version,
            previous: None,
            drain: None,
            scheduled: None,
        },
        Body::QuotaDeleted { scope, resource, version, previous: policy },
        Body::QuotaLocked { scope, resource, lock, version },
        Body::QuotaUnlocked { scope, resource, version },
        Body::ScheduleCancelled { scope, resource, id: 8, version, drain },
        Body::ScheduleFailed {
            scope,
            resource,
            id: 8,
            rejection: Box::new(Rejection::UnknownHold(1)),
            version,
        },
        Body::OverrideSwitched {
            scope,
            resource,
            id: 8,
            active: true,
            limit: Limit::Amount(amount("3")),
            version,
            drain: None,
        },
        Body::ClockEnded { scope, resource, clock: ClockKind::Grace },
        Body::ClockEnded { scope, resource, clock: ClockKind::Burst },
        Body::QuotaTransferred {
            from: side(drain),
            to: side(None),
            resource,
            amount: amount("4"),
            until: Some(9),
        },
        Body::TransferReturned {
            id: 8,
            from: None,
            to: Some(side(drain)),
            resource,
            lent: amount("4"),
            given: amount("3"),
            received: amount("2"),
            asked: Some(ScopeId(3)),
        },
    ];
    bodies.extend(scheduled().map(|item| Body::QuotaScheduled { scope, resource, item, version, drain }));
    bodies
}

fn hold_bodies() -> Vec<Body> {
    let line = EventLine {
        scope: ScopeId(3),
        path: path("acme/ml"),
        resource: ResourceId(4),
        name: name("vcpus"),
        held: amount("0"),
        used: amount("1.25"),
    };
    let expires_at = NonZeroU64::new(77);
    let after = || HoldAfter { lines: vec![line.clone(), line.clone()], expires_at };
    let reserved = Reserved {
        lines: vec![line.clone()],
        committed: true,
        forced: true,
        expires_at,
        tags: tags(),
        granted: Some([number("1.5")].into()),
        overruns: overruns(),
    };
    let plain = Reserved {
        lines: vec![line.clone()],
        committed: false,
        forced: false,
        expires_at: None,
        tags: None,
        granted: None,
        overruns: Vec::new(),
    };
    vec![
        Body::Reserved(reserved),
        Body::Reserved(plain),
        Body::Committed { hold: 3, after: None, overruns: Vec::new() },
        Body::Committed { hold: 3, after: Some(after()), overruns: overruns() },
        Body::Committed { hold: 3, after: Some(after()), overruns: Vec::new() },
        Body::Released { hold: 3, after: None },
        Body::Released { hold: 3, after: Some(after()) },
        Body::Expired { hold: 3, after: Some(after()) },
        Body::Expired { hold: 3, after: None },
        Body::Renewed { hold: 3, expires_at: NonZeroU64::MIN },
        Body::Resized { hold: 3, after: after(), overruns: overruns() },
        Body::TimeRefused { clock: 0, node: 2 },
        Body::Rejected { command: "Reserve".into(), rejection: Box::new(Rejection::UnknownHold(1)) },
        Body::Unchanged { command: "LockQuota".into(), version: 3 },
    ]
}

#[test]
fn events_come_back_as_they_were() {
    let id = request_id();
    let clock = Clock { since: 4, ended: true };
    let touched = Touched {
        scope: ScopeId(3),
        path: path("acme/ml"),
        resource: ResourceId(4),
        name: name("vcpus"),
        used: amount("1.25"),
        held: amount("0"),
        sequence: 6,
        used_change: number("-1.25"),
        held_change: Decimal::ZERO,
        clocks: Clocks { grace: Some(clock), burst: None },
    };
    let causes = [Cause::Time, Cause::Request { id, fingerprint: [7; 16], actor: "alice".into() }];
    let parts = [None, Some(Part { index: 0, of: 2 })];
    for body in tree_bodies().into_iter().chain(policy_bodies()).chain(hold_bodies()) {
        for (cause, part) in causes.clone().into_iter().zip(parts) {
            let event = Event {
                revision: 12,
                time: 13,
                cause,
                part,
                body: body.clone(),
                touched: vec![touched.clone()],
            };
            let position = Position { term: 1, index: 2 };
            let message = event::encode(&event, position);
            let mut written = Vec::new();
            let asked = &mut event::Unwritten::Nothing;
            event::write(&mut Writer(&mut written), &event, position, "", asked);
            assert_eq!(written, message.encode_to_vec(), "{body:?}");
            look_into(&message, &written);
            exported_in_json(&message);
            assert_eq!(event::decode(message, &decimals), Ok(event));
        }
    }
}

/// A line of an export is read as the message that it was made of, and most of them without one.
fn exported_in_json(event: &v1::Event) {
    let record = v1::export_record::Record::Event(event.clone());
    let record = v1::ExportRecord { record: Some(record), leaf_hash: vec![7; 32] };
    let line = serde_json::to_string(&record).expect("JSON");
    match json::record(line.as_bytes()) {
        Some(encoded) => assert_eq!(encoded, record.encode_to_vec(), "{line}"),
        None => {
            let rare = ["_mask\":\"", "\"below\":[", "\"transfer_ids\":["];
            assert!(rare.iter().any(|field| line.contains(field)), "{line}");
        }
    }
}

fn all_rows() -> Vec<Row> {
    let live = Live {
        clocks: Clocks { grace: None, burst: Some(Clock { since: 4, ended: false }) },
        would_deny: 3,
        schedule: scheduled().into(),
    };
    let [policy, _, inherit] = policies();
    let lock = Lock { reason: "why".into(), actor: "alice".into() };
    let account = |quota: Option<Quota>| Account {
        resource: ResourceId(4),
        used: amount("1.25"),
        held: amount("0"),
        sequence: 6,
        version: 7,
        quota,
    };
    let line = HoldLine { scope: ScopeId(3), resource: ResourceId(4), held: amount("2"), used: amount("0") };
    let hold = |expires_at, tags| Hold {
        id: 3,
        lines: [line, line].into(),
        created_at: 4,
        expires_at,
        revision: 5,
        actor: "alice".into(),
        tags,
    };
    let id = request_id();
    let verdict = Err(Box::new(Rejection::UnknownHold(1)));
    let granted = |hold, expires_at| Ok(Grant::plain(Granted::Hold { hold, expires_at }));
    let applied = template::Applied { template: name("small"), version: 2, quotas: vec![(ResourceId(0), 9)] };
    let scope = |parent, rules, template| Row::Scope {
        id: ScopeId(3),
        name: "ml".into(),
        parent,
        kind: name("team"),
        labels: labels(),
        rules,
        template,
    };
    vec![
        Row::Ledger { revision: 1, time: 2, next_scope: ScopeId(3), request_floor: id, compacted_at: 1 },
        Row::Resource(ResourceId(4), resource()),
        Row::Template(TemplateId(5), Arc::new(template())),
        scope(None, rules(), Some(applied)),
        scope(Some(ScopeId(9)), None, None),
        Row::Account(ScopeId(3), account(Some(Quota::restore(policy, Some(lock), live)))),
        Row::Account(ScopeId(3), account(Some(Quota::new(inherit)))),
        Row::Account(ScopeId(3), account(None)),
        Row::Transfer(Transfer {
            id: 8,
            from: ScopeId(1),
            to: ScopeId(2),
            resource: ResourceId(4),
            amount: amount("3"),
            until: 9,
        }),
        Row::Hold(hold(None, None)),
        Row::Hold(hold(NonZeroU64::new(99), tags())),
        Row::Closed(Closing { hold: 3, state: HoldState::Expired, revision: 8 }),
        Row::Request(id, Decided { fingerprint: [7; 16], revision: 8, verdict }),
        Row::Request(id, Decided { fingerprint: [7; 16], revision: 8, verdict: granted(0, None) }),
        Row::Request(
            id,
            Decided { fingerprint: [7; 16], revision: 8, verdict: granted(7, NonZeroU64::new(9)) },
        ),
    ]
}

#[test]
fn rows_come_back_as_they_were() {
    for row in all_rows() {
        let bytes = rows::encode([&row]);
        let message: storage::Record = local::message("rows", &bytes).expect("rows");
        assert_eq!(local::framed(&message), bytes, "{row:?}");
        assert_eq!(rows::decode(&bytes, &decimals), Ok(vec![row]));
    }
    let empty = rows::encode([]);
    assert!(rows::decode(&empty, &decimals).is_err() && rows::split(&empty).is_err());
}

#[test]
fn rows_of_one_record_come_back_together() {
    let holds: Vec<Row> = all_rows().into_iter().filter(|row| matches!(row, Row::Hold(_))).collect();
    assert!(holds.len() > 1);
    let bytes = rows::encode(&holds);
    let message: storage::Record = local::message("rows", &bytes).expect("rows");
    assert_eq!((local::framed(&message), message.rows.len()), (bytes.clone(), holds.len()));
    assert_eq!(rows::decode(&bytes, &decimals), Ok(holds));
}
