//! What an event names: the scopes, resources and holds that it touches, that its body tells of, and
//! that were asked for.
//!
//! Numbers of scopes and resources are left out: what has a number in a body is touched by the event
//! or was asked for, and stands there by name.

use crate::proto::v1;
use crate::proto::v1::batch_command::Command;
use crate::proto::v1::event::Body;
use crate::proto::v1::rejection::Reason;

/// One thing that an event names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named<'a> {
    Scope(&'a str),
    Resource(&'a str),
    Hold(u64),
}

/// Whether something that an event names is what is looked for. Looks no further then.
pub(super) fn any<'a>(event: &'a v1::Event, mut is_it: impl FnMut(Named<'a>) -> bool) -> bool {
    let is_it: Look<'a, '_> = &mut is_it;
    event.touched.iter().any(|touched| quota(&touched.scope, &touched.resource, is_it))
        || event.body.as_ref().is_some_and(|body| in_body(body, is_it))
        || event.command.as_ref().is_some_and(|command| in_command(command, is_it))
        || event.batch.iter().flat_map(|batch| &batch.commands).any(|command| in_command(command, is_it))
}

type Look<'a, 'l> = &'l mut dyn FnMut(Named<'a>) -> bool;

fn quota<'a>(scope: &'a str, resource: &'a str, is_it: Look<'a, '_>) -> bool {
    is_it(Named::Scope(scope)) || is_it(Named::Resource(resource))
}

fn quota_name<'a>(name: &'a Option<v1::QuotaName>, is_it: Look<'a, '_>) -> bool {
    name.as_ref().is_some_and(|name| quota(&name.scope, &name.resource, is_it))
}

fn in_body<'a>(body: &'a Body, is_it: Look<'a, '_>) -> bool {
    match body {
        Body::ScopeCreated(body) => is_it(Named::Scope(&body.path)),
        Body::ScopeUpdated(body) => is_it(Named::Scope(&body.path)),
        Body::ScopeMoved(body) => {
            is_it(Named::Scope(&body.from))
                || is_it(Named::Scope(&body.to))
                || overruns(&body.overruns, is_it)
        }
        Body::ScopeDeleted(body) => is_it(Named::Scope(&body.path)),
        Body::ResourceRegistered(body) => {
            body.resource.as_ref().is_some_and(|resource| is_it(Named::Resource(&resource.name)))
        }
        Body::ScheduleFailed(body) => rejection(body.rejection.as_ref(), is_it),
        Body::TemplateApplied(body) => is_it(Named::Scope(&body.path)),
        Body::Reserved(body) => {
            is_it(Named::Hold(body.hold_id)) || lines(&body.lines, is_it) || overruns(&body.overruns, is_it)
        }
        Body::Committed(body) => {
            is_it(Named::Hold(body.hold_id)) || after(&body.after, is_it) || overruns(&body.overruns, is_it)
        }
        Body::Released(body) => is_it(Named::Hold(body.hold_id)) || after(&body.after, is_it),
        Body::Expired(body) => is_it(Named::Hold(body.hold_id)) || after(&body.after, is_it),
        Body::Renewed(body) => is_it(Named::Hold(body.hold_id)),
        Body::Resized(body) => {
            is_it(Named::Hold(body.hold_id)) || after(&body.after, is_it) || overruns(&body.overruns, is_it)
        }
        Body::Rejected(body) => rejection(body.rejection.as_ref(), is_it),
        // Of these the names are in what they touch and in what was asked.
        Body::QuotaSet(_)
        | Body::QuotaDeleted(_)
        | Body::QuotaLocked(_)
        | Body::QuotaUnlocked(_)
        | Body::QuotaScheduled(_)
        | Body::ScheduleCancelled(_)
        | Body::OverrideSwitched(_)
        | Body::ClockEnded(_)
        | Body::QuotaTransferred(_)
        | Body::TransferReturned(_)
        | Body::TemplatePut(_)
        | Body::TimeRefused(_)
        | Body::EventsCompacted(_)
        | Body::Unchanged(_) => false,
    }
}

fn lines<'a>(lines: &'a [v1::EventLine], is_it: Look<'a, '_>) -> bool {
    lines.iter().any(|line| quota(&line.scope, &line.resource, is_it))
}

fn after<'a>(after: &'a Option<v1::HoldAfter>, is_it: Look<'a, '_>) -> bool {
    after.as_ref().is_some_and(|after| lines(&after.lines, is_it))
}

fn overruns<'a>(overruns: &'a [v1::Overrun], is_it: Look<'a, '_>) -> bool {
    overruns.iter().any(|overrun| blocking(overrun.blocking.as_ref(), is_it))
}

fn blocking<'a>(blocking: Option<&'a v1::Blocking>, is_it: Look<'a, '_>) -> bool {
    blocking.is_some_and(|blocking| quota(&blocking.scope, &blocking.resource, is_it))
}

fn rejection<'a>(rejection: Option<&'a v1::Rejection>, is_it: Look<'a, '_>) -> bool {
    let Some(reason) = rejection.and_then(|rejection| rejection.reason.as_ref()) else {
        return false;
    };
    match reason {
        Reason::UnknownScopes(found) => found.scopes.iter().any(|scope| is_it(Named::Scope(scope))),
        Reason::UnknownResources(found) => {
            found.resources.iter().any(|resource| is_it(Named::Resource(resource)))
        }
        Reason::UnknownQuotas(found) => {
            found.quotas.iter().any(|name| quota(&name.scope, &name.resource, is_it))
        }
        Reason::UnknownHold(found) => is_it(Named::Hold(found.hold_id)),
        Reason::HoldClosed(found) => is_it(Named::Hold(found.hold_id)),
        Reason::HoldTooSmall(found) => {
            is_it(Named::Hold(found.hold_id)) || found.lines.iter().any(|line| quota_name(&line.quota, is_it))
        }
        Reason::UnknownSchedule(found) => quota_name(&found.quota, is_it),
        Reason::HasChildren(found) => is_it(Named::Scope(&found.scope)),
        Reason::InUse(found) => found.taken.iter().any(|taken| quota_name(&taken.quota, is_it)),
        Reason::Locked(found) => found.locks.iter().any(|lock| quota_name(&lock.quota, is_it)),
        Reason::VersionMismatch(found) => quota_name(&found.quota, is_it),
        Reason::SequenceMismatch(found) => found.found.iter().any(|found| quota_name(&found.quota, is_it)),
        Reason::SchemaConflict(found) => is_it(Named::Scope(&found.scope)),
        Reason::ScheduleConflict(found) => quota_name(&found.quota, is_it),
        Reason::TransferNotAllowed(found) => quota_name(&found.quota, is_it),
        Reason::TtlTooLong(found) => quota_name(&found.quota, is_it),
        Reason::LimitConflict(found) => quota_name(&found.quota, is_it) || quota_name(&found.other, is_it),
        Reason::BelowUse(found) => found.taken.as_ref().is_some_and(|taken| quota_name(&taken.quota, is_it)),
        Reason::Denied(found) => found.blocking.iter().any(|found| blocking(Some(found), is_it)),
        Reason::Uncountable(found) => {
            found.quotas.iter().any(|name| quota(&name.scope, &name.resource, is_it))
        }
        Reason::PartFailed(found) => self::rejection(found.rejection.as_deref(), is_it),
        // What is there already, scope or resource, is what was asked for.
        Reason::Exists(_)
        | Reason::Malformed(_)
        | Reason::UnknownTemplate(_)
        | Reason::OnLoan(_)
        | Reason::TemplateVersionMismatch(_)
        | Reason::RequestIdReused(_)
        | Reason::RequestIdExpired(_) => false,
    }
}

fn in_command<'a>(command: &'a v1::BatchCommand, is_it: Look<'a, '_>) -> bool {
    let Some(command) = &command.command else {
        return false;
    };
    match command {
        Command::Reserve(asked) => asked.lines.iter().any(|line| quota(&line.scope, &line.resource, is_it)),
        Command::Commit(asked) => is_it(Named::Hold(asked.hold_id)) || hold_lines(&asked.lines, is_it),
        Command::Release(asked) => is_it(Named::Hold(asked.hold_id)) || hold_lines(&asked.lines, is_it),
        Command::Renew(asked) => is_it(Named::Hold(asked.hold_id)),
        Command::Resize(asked) => is_it(Named::Hold(asked.hold_id)) || hold_lines(&asked.lines, is_it),
        Command::CreateScope(asked) => is_it(Named::Scope(&asked.path)),
        Command::UpdateScope(asked) => is_it(Named::Scope(&asked.path)),
        Command::MoveScope(asked) => is_it(Named::Scope(&asked.path)) || is_it(Named::Scope(&asked.to)),
        Command::DeleteScope(asked) => is_it(Named::Scope(&asked.path)),
        Command::RegisterResource(asked) => {
            asked.resource.as_ref().is_some_and(|resource| is_it(Named::Resource(&resource.name)))
        }
        Command::SetQuota(asked) => quota(&asked.scope, &asked.resource, is_it),
        Command::AdjustQuota(asked) => quota(&asked.scope, &asked.resource, is_it),
        Command::DeleteQuota(asked) => quota(&asked.scope, &asked.resource, is_it),
        Command::LockQuota(asked) => quota(&asked.scope, &asked.resource, is_it),
        Command::UnlockQuota(asked) => quota(&asked.scope, &asked.resource, is_it),
        Command::OverrideQuota(asked) => quota(&asked.scope, &asked.resource, is_it),
        Command::CancelSchedule(asked) => quota(&asked.scope, &asked.resource, is_it),
        Command::TransferQuota(asked) => {
            quota(&asked.from, &asked.resource, is_it) || is_it(Named::Scope(&asked.to))
        }
        Command::PutTemplate(asked) => policies(&asked.quotas, is_it),
        Command::ApplyTemplate(asked) => is_it(Named::Scope(&asked.scope)),
        Command::CompactEvents(_) => false,
        Command::ApplyPlan(asked) => asked.plan.as_ref().is_some_and(|plan| in_plan(plan, is_it)),
    }
}

fn hold_lines<'a>(lines: &'a [v1::HoldAmount], is_it: Look<'a, '_>) -> bool {
    lines.iter().any(|line| quota(&line.scope, &line.resource, is_it))
}

fn policies<'a>(policies: &'a [v1::ResourcePolicy], is_it: Look<'a, '_>) -> bool {
    policies.iter().any(|policy| is_it(Named::Resource(&policy.resource)))
}

fn in_plan<'a>(plan: &'a v1::Plan, is_it: Look<'a, '_>) -> bool {
    plan.resources.iter().any(|resource| is_it(Named::Resource(&resource.name)))
        || plan.templates.iter().any(|template| policies(&template.quotas, is_it))
        || plan.scopes.iter().any(|scope| is_it(Named::Scope(&scope.path)) || policies(&scope.quotas, is_it))
}
