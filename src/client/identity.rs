//! Request ids: how they are made, and where they stand in the commands of a batch.
//!
//! Knows nothing of sending.

use uuid::Uuid;

use crate::proto::v1::BatchCommand;
use crate::proto::v1::batch_command::Command;

/// Makes the retry identity of a new command: a UUIDv7, whose time the ledger reads to refuse
/// repeats that are older than it remembers.
#[allow(clippy::disallowed_methods)] // A client is outside of the simulation, which makes its own ids.
pub fn new_request_id() -> Uuid {
    Uuid::now_v7()
}

/// The id of one of several commands that are repeated together: the same for the same base and
/// position, another for every position, and of the same age. Position 0 is the base itself.
pub fn numbered_request_id(base: Uuid, position: u64) -> Uuid {
    // The last 62 bits of a UUIDv7 are random, behind the two that say its variant.
    const RANDOM: u64 = u64::MAX >> 2;
    let (time, rest) = base.as_u64_pair();
    Uuid::from_u64_pair(time, (rest & !RANDOM) | (rest.wrapping_add(position) & RANDOM))
}

/// When an id was made, in milliseconds since the Unix epoch.
pub fn request_time_ms(request_id: Uuid) -> u64 {
    request_id.as_u64_pair().0 >> 16
}

/// Where a command carries its request id; nowhere when it says no command.
pub fn request_id_of(command: &mut BatchCommand) -> Option<&mut String> {
    Some(match command.command.as_mut()? {
        Command::Reserve(command) => &mut command.request_id,
        Command::Commit(command) => &mut command.request_id,
        Command::Release(command) => &mut command.request_id,
        Command::Renew(command) => &mut command.request_id,
        Command::Resize(command) => &mut command.request_id,
        Command::CreateScope(command) => &mut command.request_id,
        Command::UpdateScope(command) => &mut command.request_id,
        Command::MoveScope(command) => &mut command.request_id,
        Command::DeleteScope(command) => &mut command.request_id,
        Command::RegisterResource(command) => &mut command.request_id,
        Command::SetQuota(command) => &mut command.request_id,
        Command::AdjustQuota(command) => &mut command.request_id,
        Command::DeleteQuota(command) => &mut command.request_id,
        Command::LockQuota(command) => &mut command.request_id,
        Command::UnlockQuota(command) => &mut command.request_id,
        Command::OverrideQuota(command) => &mut command.request_id,
        Command::CancelSchedule(command) => &mut command.request_id,
        Command::TransferQuota(command) => &mut command.request_id,
        Command::PutTemplate(command) => &mut command.request_id,
        Command::ApplyTemplate(command) => &mut command.request_id,
        Command::ApplyPlan(command) => &mut command.request_id,
        Command::CompactEvents(command) => &mut command.request_id,
    })
}

/// Gives each command that has no request id the one of its position.
pub fn number_commands(base: Uuid, first: u64, commands: &mut [BatchCommand]) {
    for (position, command) in (first..).zip(commands) {
        if let Some(id) = request_id_of(command).filter(|id| id.is_empty()) {
            *id = numbered_request_id(base, position).to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::ReleaseRequest;

    #[test]
    fn numbered_ids_are_of_version_7_of_one_age_and_all_different() {
        let base = new_request_id();
        let ids: Vec<_> = (0..1_000).map(|position| numbered_request_id(base, position)).collect();
        assert_eq!(ids[0], base);
        assert!(ids.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
        assert!(ids.iter().all(|id| request_time_ms(*id) == request_time_ms(base)));
        let mut different = ids.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), ids.len());
        assert_eq!(ids, (0..1_000).map(|position| numbered_request_id(base, position)).collect::<Vec<_>>());
    }

    #[test]
    fn counting_over_the_end_of_the_random_bits_leaves_version_and_variant_alone() {
        let last = Uuid::from_u64_pair(0x0123_4567_89AB_7FFF, 0xBFFF_FFFF_FFFF_FFFF);
        let next = numbered_request_id(last, 1);
        assert_eq!(next.as_u64_pair(), (0x0123_4567_89AB_7FFF, 0x8000_0000_0000_0000));
    }

    #[test]
    fn a_command_that_has_an_id_keeps_it() {
        let release = |id: &str| BatchCommand {
            tag: 0,
            command: Some(Command::Release(ReleaseRequest { request_id: id.into(), ..Default::default() })),
        };
        let base = new_request_id();
        let mut commands = [release("mine"), release(""), BatchCommand::default()];
        number_commands(base, 7, &mut commands);
        let ids: Vec<_> = commands.iter_mut().map(|command| request_id_of(command).cloned()).collect();
        assert_eq!(ids, [Some("mine".to_owned()), Some(numbered_request_id(base, 8).to_string()), None]);
    }
}
