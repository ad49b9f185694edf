//! The tree of scopes, the catalogue of resources, and the policy on them.

use uuid::Uuid;

use super::call;
use super::command;
use super::command_or_question;
use crate::client::Client;
use crate::client::ClientError;
use crate::client::retry::Repeat;
use crate::proto::v1::*;

/// The tree of scopes and the catalogue of resources.
impl Client {
    /// Makes one scope below an existing one, or the root of a new tree.
    pub async fn create_scope(
        &self,
        request_id: Uuid,
        mut message: CreateScopeRequest,
    ) -> Result<ScopeChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.create_scope, message)
    }

    /// Changes the labels of a scope, or at a root what holds for its tree.
    pub async fn update_scope(
        &self,
        request_id: Uuid,
        mut message: UpdateScopeRequest,
    ) -> Result<ScopeChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.update_scope, message)
    }

    /// Moves a scope with everything below it, within its tree.
    pub async fn move_scope(
        &self,
        request_id: Uuid,
        mut message: MoveScopeRequest,
    ) -> Result<ScopeChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.move_scope, message)
    }

    /// Removes a scope on which nothing is taken.
    pub async fn delete_scope(
        &self,
        request_id: Uuid,
        mut message: DeleteScopeRequest,
    ) -> Result<ScopeChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.delete_scope, message)
    }

    /// Adds a resource to the catalogue, for good.
    pub async fn register_resource(
        &self,
        request_id: Uuid,
        mut message: RegisterResourceRequest,
    ) -> Result<RegisterResourceResponse, ClientError> {
        command_or_question!(self, request_id, quotas.register_resource, message)
    }
}

/// What is kept of the event stream.
impl Client {
    /// Removes the oldest events.
    pub async fn compact_events(
        &self,
        request_id: Uuid,
        mut message: CompactEventsRequest,
    ) -> Result<CompactEventsResponse, ClientError> {
        command_or_question!(self, request_id, events.compact_events, message)
    }
}

/// The policy on one quota.
impl Client {
    /// Makes a quota or changes its policy, now or at a time to come.
    pub async fn set_quota(
        &self,
        request_id: Uuid,
        mut message: SetQuotaRequest,
    ) -> Result<QuotaChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.set_quota, message)
    }

    /// Adds a signed amount to a limit that is an amount.
    pub async fn adjust_quota(
        &self,
        request_id: Uuid,
        mut message: AdjustQuotaRequest,
    ) -> Result<QuotaChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.adjust_quota, message)
    }

    /// Removes a quota; what is taken stays counted.
    pub async fn delete_quota(
        &self,
        request_id: Uuid,
        mut message: DeleteQuotaRequest,
    ) -> Result<QuotaChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.delete_quota, message)
    }

    /// Admits nothing new at or below the scope until unlocked.
    pub async fn lock_quota(
        &self,
        request_id: Uuid,
        mut message: LockQuotaRequest,
    ) -> Result<QuotaChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.lock_quota, message)
    }

    /// Ends a lock.
    pub async fn unlock_quota(
        &self,
        request_id: Uuid,
        mut message: UnlockQuotaRequest,
    ) -> Result<QuotaChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.unlock_quota, message)
    }

    /// Replaces the limit of a quota for a while.
    pub async fn override_quota(
        &self,
        request_id: Uuid,
        mut message: OverrideQuotaRequest,
    ) -> Result<QuotaChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.override_quota, message)
    }

    /// Takes back a scheduled change or an override; one that is active ends at once.
    pub async fn cancel_schedule(
        &self,
        request_id: Uuid,
        mut message: CancelScheduleRequest,
    ) -> Result<QuotaChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.cancel_schedule, message)
    }

    /// Passes a part of a limit to a sibling, for good or for a while.
    pub async fn transfer_quota(
        &self,
        request_id: Uuid,
        mut message: TransferQuotaRequest,
    ) -> Result<QuotaChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.transfer_quota, message)
    }
}

/// Many policies at once.
impl Client {
    /// Makes a template or its next version.
    pub async fn put_template(
        &self,
        request_id: Uuid,
        mut message: PutTemplateRequest,
    ) -> Result<TemplateChangeResponse, ClientError> {
        command_or_question!(self, request_id, quotas.put_template, message)
    }

    /// Sets the quotas of a scope as a template says, all or none.
    pub async fn apply_template(
        &self,
        request_id: Uuid,
        mut message: ApplyTemplateRequest,
    ) -> Result<ApplyTemplateResponse, ClientError> {
        command_or_question!(self, request_id, quotas.apply_template, message)
    }

    /// Makes everything as a document says, all or nothing.
    pub async fn apply_plan(
        &self,
        request_id: Uuid,
        mut message: ApplyPlanRequest,
    ) -> Result<ApplyPlanResponse, ClientError> {
        command_or_question!(self, request_id, quotas.apply_plan, message)
    }
}
