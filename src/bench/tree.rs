//! The tree that is asked of: how its scopes are called, and how it is made.
//!
//! One root, ten times as many scopes on each level below, and the leaves on the last. Every scope has
//! a quota, so that a reservation at a leaf passes one on each level, the root's always among them. The
//! limits are far away: what is measured is granting.

use std::collections::BTreeMap;
use std::time::Duration;

use super::BenchError;
use super::Observer;
use crate::client::Client;
use crate::client::new_request_id;
use crate::client::v1;
use crate::client::v1::batch_command::Command;

/// What is counted.
pub(super) const RESOURCE: &str = "bench_units";

/// More than any measurement reserves.
const LIMIT: &str = "1000000000000000";

/// How many commands make the tree at once.
const CHUNK: usize = 4_096;

/// How many characters a label may have for its value, and how many labels a hold may have.
const LABEL_BYTES: usize = 63;
const LABELS: usize = 16;

/// How large a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Levels, the root's and that of the leaves included.
    pub depth: usize,
    /// How many leaves.
    pub leaves: usize,
}

impl Shape {
    /// How many scopes a level has.
    fn width(self, level: usize) -> usize {
        if level + 1 >= self.depth {
            return self.leaves;
        }
        let width = 10_usize.saturating_pow(u32::try_from(level).unwrap_or(u32::MAX));
        width.min(self.leaves)
    }

    /// How many scopes there are.
    pub(super) fn scopes(self) -> usize {
        (0..self.depth).map(|level| self.width(level)).sum()
    }
}

/// A tree of its own, which nobody else asks of.
#[derive(Debug)]
pub(super) struct Tree {
    root: String,
    shape: Shape,
    labels: BTreeMap<String, String>,
    ttl_ms: Option<u64>,
}

impl Tree {
    pub(super) fn new(shape: Shape, payload: usize, ttl: Option<Duration>) -> Self {
        // The time in it tells trees of earlier runs apart.
        let root = format!("bench-{:x}", crate::client::request_time_ms(new_request_id()));
        let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        Self { root, shape, labels: labels(payload), ttl_ms }
    }

    pub(super) fn root(&self) -> &str {
        &self.root
    }

    pub(super) fn leaves(&self) -> usize {
        self.shape.leaves
    }

    pub(super) fn scopes(&self) -> usize {
        self.shape.scopes()
    }

    /// All scopes, those above first.
    pub(super) fn paths(&self) -> impl Iterator<Item = String> {
        (0..self.shape.depth).flat_map(move |level| {
            let numbers = 0..self.shape.width(level);
            numbers.map(move |number| self.path(level, number))
        })
    }

    pub(super) fn leaf(&self, number: usize) -> String {
        self.path(self.shape.depth - 1, number)
    }

    /// A scope stands below the one whose number is the rest of its own.
    fn path(&self, level: usize, number: usize) -> String {
        if level == 0 {
            return self.root.clone();
        }
        let above = self.path(level - 1, number % self.shape.width(level - 1));
        let name = match level {
            _ if level + 1 == self.shape.depth => "user".to_owned(),
            1 => "team".to_owned(),
            _ => format!("group{level}-"),
        };
        format!("{above}/{name}{number}")
    }

    /// One unit at a leaf.
    pub(super) fn reserve(&self, leaf: usize) -> v1::ReserveRequest {
        let line = v1::Line {
            scope: self.leaf(leaf),
            resource: RESOURCE.to_owned(),
            amount: "1".to_owned(),
            ..Default::default()
        };
        v1::ReserveRequest {
            lines: vec![line],
            ttl_ms: self.ttl_ms,
            labels: self.labels.clone(),
            ..Default::default()
        }
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        format!("{}, {} levels, {} leaves", self.root, self.shape.depth, self.leaves())
    }

    /// Makes the scopes and their quotas, those above first.
    pub(super) async fn plant(&self, client: &Client, observer: &dyn Observer) -> Result<(), BenchError> {
        let resource = v1::Resource {
            name: RESOURCE.to_owned(),
            unit: "units".to_owned(),
            kind: v1::ResourceKind::Capacity.into(),
            ..Default::default()
        };
        let register = v1::RegisterResourceRequest { resource: Some(resource), ..Default::default() };
        send(client, vec![(RESOURCE.to_owned(), Command::RegisterResource(register))]).await?;
        observer.begins("making the tree", self.scopes() as u64);
        let mut made = 0;
        let mut commands = Vec::with_capacity(CHUNK);
        for path in self.paths() {
            made += 1;
            let create = v1::CreateScopeRequest { path: path.clone(), ..Default::default() };
            commands.push((path.clone(), Command::CreateScope(create)));
            commands.push((path.clone(), Command::SetQuota(quota(path))));
            if commands.len() >= CHUNK {
                send(client, std::mem::replace(&mut commands, Vec::with_capacity(CHUNK))).await?;
                observer.at(made, "");
            }
        }
        send(client, commands).await?;
        observer.at(made, "");
        Ok(())
    }
}

fn quota(scope: String) -> v1::SetQuotaRequest {
    let limit = v1::Limit { limit: Some(v1::limit::Limit::Amount(LIMIT.to_owned())) };
    let policy = v1::Policy { limit: Some(limit), ..Default::default() };
    v1::SetQuotaRequest { scope, resource: RESOURCE.to_owned(), policy: Some(policy), ..Default::default() }
}

/// Labels whose values have so many bytes together.
fn labels(bytes: usize) -> BTreeMap<String, String> {
    let parts =
        (0..LABELS).map(|number| (number, bytes.saturating_sub(number * LABEL_BYTES).min(LABEL_BYTES)));
    let parts = parts.filter(|(_, bytes)| *bytes > 0);
    parts.map(|(number, bytes)| (format!("p{number}"), "x".repeat(bytes))).collect()
}

/// Sends commands each of which must be carried out, or have been before.
async fn send(client: &Client, commands: Vec<(String, Command)>) -> Result<(), BenchError> {
    const ALREADY_EXISTS: i32 = tonic::Code::AlreadyExists as i32;
    if commands.is_empty() {
        return Ok(());
    }
    let (paths, commands): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
    let commands = commands.into_iter().map(|command| v1::BatchCommand { tag: 0, command: Some(command) });
    let message = v1::BatchRequest { commands: commands.collect(), ..Default::default() };
    let response =
        client.batch(new_request_id(), message).await.map_err(BenchError::client("make the tree"))?;
    for (path, result) in paths.into_iter().zip(response.results) {
        if result.code != 0 && result.code != ALREADY_EXISTS {
            return Err(BenchError::Tree { path, problem: result.message });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(depth: usize, leaves: usize) -> Tree {
        let mut tree = Tree::new(Shape { depth, leaves }, 0, None);
        tree.root = "root".to_owned();
        tree
    }

    #[test]
    fn a_leaf_has_one_scope_above_it_on_each_level() {
        assert_eq!(tree(1, 1).leaf(0), "root");
        assert_eq!(tree(2, 50).leaf(17), "root/user17");
        assert_eq!(tree(3, 1_000).leaf(17), "root/team7/user17");
        assert_eq!(tree(4, 1_000).leaf(317), "root/team7/group2-17/user317");
    }

    #[test]
    fn levels_grow_by_ten_up_to_the_leaves() {
        assert_eq!(Shape { depth: 3, leaves: 1_000 }.scopes(), 1_011);
        assert_eq!(Shape { depth: 5, leaves: 20 }.scopes(), 1 + 10 + 20 + 20 + 20);
        assert_eq!(Shape { depth: 1, leaves: 1 }.scopes(), 1);
    }

    #[test]
    fn a_payload_has_exactly_as_many_bytes_as_it_is_told() {
        for bytes in [0, 1, 63, 64, 500, LABELS * LABEL_BYTES] {
            let labels = labels(bytes);
            assert_eq!(labels.values().map(String::len).sum::<usize>(), bytes);
            assert!(labels.values().all(|value| (1..=63).contains(&value.len())) && labels.len() <= LABELS);
        }
    }
}
