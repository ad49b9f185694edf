//! Commands on quotas.

use super::name;
use super::path;
use super::time;
use crate::codec::mask;
use crate::codec::number;
use crate::codec::policy;
use crate::ledger::Command;
use crate::ledger::Malformed;
use crate::ledger::command::AdjustQuota;
use crate::ledger::command::CancelSchedule;
use crate::ledger::command::DeleteQuota;
use crate::ledger::command::LockQuota;
use crate::ledger::command::OverrideQuota;
use crate::ledger::command::SetQuota;
use crate::ledger::command::TransferQuota;
use crate::ledger::command::UnlockQuota;
use crate::ledger::quota::PolicyField;
use crate::proto::v1;

pub(super) fn set_quota(message: &v1::SetQuotaRequest) -> Result<Command, Malformed> {
    let scope = path("scope", &message.scope)?;
    let resource = name("resource", &message.resource)?;
    let fields = mask::decode("update_mask", message.update_mask.as_ref())?;
    let policy = match &fields {
        Some(fields) => {
            let said = message.policy.as_ref().ok_or_else(|| Malformed::new("policy", "is missing"))?;
            let said = mask::only(fields, said.clone());
            if fields.contains(&PolicyField::Limit) {
                policy::decode_new("policy", Some(&said))?
            } else {
                policy::decode_new_terms("policy", &said)?
            }
        }
        None => policy::decode_new("policy", message.policy.as_ref())?,
    };
    Ok(Command::SetQuota(SetQuota {
        scope,
        resource,
        policy,
        fields,
        effective_at: time(message.effective_at_ms),
        if_version: message.if_version,
    }))
}

pub(super) fn encode_set_quota(command: &SetQuota) -> v1::SetQuotaRequest {
    let policy = policy::encode_new(&command.policy);
    let (policy, update_mask) = match &command.fields {
        None => (policy, None),
        Some(fields) => (mask::only(fields, policy), Some(mask::encode(fields))),
    };
    v1::SetQuotaRequest {
        scope: command.scope.to_string(),
        resource: command.resource.to_string(),
        policy: Some(policy),
        update_mask,
        effective_at_ms: command.effective_at.unwrap_or_default(),
        if_version: command.if_version,
        ..Default::default()
    }
}

pub(super) fn adjust_quota(message: &v1::AdjustQuotaRequest) -> Result<Command, Malformed> {
    AdjustQuota::new(
        path("scope", &message.scope)?,
        name("resource", &message.resource)?,
        number::parse("delta", &message.delta)?,
        message.if_version,
    )
    .map(Command::AdjustQuota)
}

pub(super) fn encode_adjust_quota(command: &AdjustQuota) -> v1::AdjustQuotaRequest {
    v1::AdjustQuotaRequest {
        scope: command.scope.to_string(),
        resource: command.resource.to_string(),
        delta: number::write(command.delta),
        if_version: command.if_version,
        ..Default::default()
    }
}

pub(super) fn delete_quota(message: &v1::DeleteQuotaRequest) -> Result<Command, Malformed> {
    Ok(Command::DeleteQuota(DeleteQuota {
        scope: path("scope", &message.scope)?,
        resource: name("resource", &message.resource)?,
        if_version: message.if_version,
    }))
}

pub(super) fn encode_delete_quota(command: &DeleteQuota) -> v1::DeleteQuotaRequest {
    v1::DeleteQuotaRequest {
        scope: command.scope.to_string(),
        resource: command.resource.to_string(),
        if_version: command.if_version,
        ..Default::default()
    }
}

pub(super) fn lock_quota(message: &v1::LockQuotaRequest) -> Result<Command, Malformed> {
    LockQuota::new(
        path("scope", &message.scope)?,
        name("resource", &message.resource)?,
        &message.reason,
        message.if_version,
    )
    .map(Command::LockQuota)
}

pub(super) fn encode_lock_quota(command: &LockQuota) -> v1::LockQuotaRequest {
    v1::LockQuotaRequest {
        scope: command.scope.to_string(),
        resource: command.resource.to_string(),
        reason: command.reason.to_string(),
        if_version: command.if_version,
        ..Default::default()
    }
}

pub(super) fn unlock_quota(message: &v1::UnlockQuotaRequest) -> Result<Command, Malformed> {
    Ok(Command::UnlockQuota(UnlockQuota {
        scope: path("scope", &message.scope)?,
        resource: name("resource", &message.resource)?,
        if_version: message.if_version,
    }))
}

pub(super) fn encode_unlock_quota(command: &UnlockQuota) -> v1::UnlockQuotaRequest {
    v1::UnlockQuotaRequest {
        scope: command.scope.to_string(),
        resource: command.resource.to_string(),
        if_version: command.if_version,
        ..Default::default()
    }
}

pub(super) fn override_quota(message: &v1::OverrideQuotaRequest) -> Result<Command, Malformed> {
    OverrideQuota::new(
        path("scope", &message.scope)?,
        name("resource", &message.resource)?,
        policy::decode_new_limit("limit", message.limit.as_ref())?,
        time(message.start_ms),
        message.end_ms,
        &message.reason,
        message.if_version,
    )
    .map(Command::OverrideQuota)
}

pub(super) fn encode_override_quota(command: &OverrideQuota) -> v1::OverrideQuotaRequest {
    v1::OverrideQuotaRequest {
        scope: command.scope.to_string(),
        resource: command.resource.to_string(),
        limit: Some(policy::encode_new_limit(command.limit)),
        start_ms: command.start.unwrap_or_default(),
        end_ms: command.end,
        reason: command.reason.to_string(),
        if_version: command.if_version,
        ..Default::default()
    }
}

pub(super) fn cancel_schedule(message: &v1::CancelScheduleRequest) -> Result<Command, Malformed> {
    Ok(Command::CancelSchedule(CancelSchedule {
        scope: path("scope", &message.scope)?,
        resource: name("resource", &message.resource)?,
        id: message.schedule_id,
        if_version: message.if_version,
    }))
}

pub(super) fn encode_cancel_schedule(command: &CancelSchedule) -> v1::CancelScheduleRequest {
    v1::CancelScheduleRequest {
        scope: command.scope.to_string(),
        resource: command.resource.to_string(),
        schedule_id: command.id,
        if_version: command.if_version,
        ..Default::default()
    }
}

pub(super) fn transfer_quota(message: &v1::TransferQuotaRequest) -> Result<Command, Malformed> {
    TransferQuota::new(
        name("resource", &message.resource)?,
        path("from", &message.from)?,
        path("to", &message.to)?,
        number::parse("amount", &message.amount)?,
        time(message.until_ms),
        message.if_from_version,
        message.if_to_version,
    )
    .map(Command::TransferQuota)
}

pub(super) fn encode_transfer_quota(command: &TransferQuota) -> v1::TransferQuotaRequest {
    v1::TransferQuotaRequest {
        resource: command.resource.to_string(),
        from: command.from.to_string(),
        to: command.to.to_string(),
        amount: number::write(command.amount),
        until_ms: command.until.unwrap_or_default(),
        if_from_version: command.if_from_version,
        if_to_version: command.if_to_version,
        ..Default::default()
    }
}
