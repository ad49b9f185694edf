//! What is counted.

use super::amount::MAX_DECIMALS;
use super::name::Name;
use super::rejection::Malformed;

/// Most characters of a unit.
const MAX_UNIT: usize = 32;

/// The number of a resource, given in the order of registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(pub u32);

/// How use of a resource ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceKind {
    /// Given back on release.
    Capacity,
    /// Consumed on commit: releasing an allocation gives nothing back.
    Budget,
}

/// A kind of thing that quotas limit. It never changes once registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is called.
    pub name: Name,
    /// What one unit is, for people.
    pub unit: String,
    /// Digits after the decimal point, 0 to 18.
    pub decimals: u8,
    /// How its use ends.
    pub kind: ResourceKind,
}

impl Resource {
    /// Checks what a client wants to register.
    pub fn new(name: Name, unit: &str, decimals: u32, kind: ResourceKind) -> Result<Self, Malformed> {
        if unit.is_empty() || unit.chars().count() > MAX_UNIT {
            return Err(Malformed::new("resource.unit", format!("must have 1 to {MAX_UNIT} characters")));
        }
        if unit.chars().any(char::is_control) {
            return Err(Malformed::new("resource.unit", "has a control character"));
        }
        match u8::try_from(decimals) {
            Ok(decimals) if decimals <= MAX_DECIMALS => Ok(Self { name, unit: unit.into(), decimals, kind }),
            _ => Err(Malformed::new(
                "resource.decimals",
                format!("is {decimals}, at most {MAX_DECIMALS} are allowed"),
            )),
        }
    }
}

/// The resources that every ledger begins with.
pub(crate) fn catalogue() -> Vec<Resource> {
    [
        ("gpu_hours", "GPU·h", 6, ResourceKind::Budget),
        ("concurrent_gpus", "GPU", 0, ResourceKind::Capacity),
        ("storage_gb", "GB", 3, ResourceKind::Capacity),
        ("cpu_hours", "CPU·h", 6, ResourceKind::Budget),
        ("memory_gb", "GB", 3, ResourceKind::Capacity),
        ("vcpus", "vCPU", 3, ResourceKind::Capacity),
        ("instances", "instance", 0, ResourceKind::Capacity),
        ("volumes", "volume", 0, ResourceKind::Capacity),
        ("snapshots", "snapshot", 0, ResourceKind::Capacity),
        ("backups", "backup", 0, ResourceKind::Capacity),
        ("bandwidth_mbps", "Mbit/s", 3, ResourceKind::Capacity),
        ("connections", "connection", 0, ResourceKind::Capacity),
        ("load_balancers", "load balancer", 0, ResourceKind::Capacity),
        ("floating_ips", "address", 0, ResourceKind::Capacity),
        ("api_calls", "call", 0, ResourceKind::Budget),
        ("cost_usd", "USD", 2, ResourceKind::Budget),
    ]
    .into_iter()
    .map(|(name, unit, decimals, kind)| Resource {
        name: Name::parse(name).expect("catalogue names are names"),
        unit: unit.into(),
        decimals,
        kind,
    })
    .collect()
}
