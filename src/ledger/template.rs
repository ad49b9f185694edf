//! Templates: policies on several resources under one name. The shipped ones are service tiers.

use rust_decimal::Decimal;

use super::amount::Amount;
use super::name::Name;
use super::quota::Limit;
use super::quota::Policy;
use super::quota::Terms;
use super::resource::ResourceId;

/// Policies under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What it is called.
    pub name: Name,
    /// Raised by every change; the first is 1.
    pub version: u64,
    /// What it is for, for people.
    pub description: String,
    /// By resource, ascending.
    pub quotas: Vec<(ResourceId, Policy)>,
}

impl Template {
    /// What it says of a resource.
    pub fn policy(&self, resource: ResourceId) -> Option<&Policy> {
        let position = self.quotas.binary_search_by_key(&resource, |(id, _)| *id).ok()?;
        self.quotas.get(position).map(|(_, policy)| policy)
    }
}

/// Which template was applied to a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its name.
    pub template: Name,
    /// The version it had.
    pub version: u64,
    /// The versions that the quotas then had, by resource, ascending: one that has another version
    /// now was changed since by somebody else. 0 where something else was said from the beginning.
    pub quotas: Vec<(ResourceId, u64)>,
}

/// How long the shipped tiers let use stay over the hard limit: an hour.
const TIER_BURST_MS: u64 = 60 * 60 * 1000;

/// A figure of a tier: the resource, the limit and the burst.
type Figure = (&'static str, &'static str, Option<&'static str>);

/// What a tier is called, what it is for, whether its figures are soft, and the figures.
type Tier = (&'static str, &'static str, bool, &'static [Figure]);

const TIERS: [Tier; 5] = [
    (
        "free",
        "To try it: one small project",
        false,
        &[
            ("vcpus", "2", Some("4")),
            ("memory_gb", "4", Some("6")),
            ("storage_gb", "10", None),
            ("instances", "3", None),
            ("cost_usd", "0", None),
        ],
    ),
    (
        "developer",
        "One developer at work",
        false,
        &[
            ("vcpus", "8", Some("12")),
            ("memory_gb", "16", Some("24")),
            ("storage_gb", "100", None),
            ("instances", "10", None),
            ("cost_usd", "29.99", None),
        ],
    ),
    (
        "startup",
        "A small team in production",
        false,
        &[
            ("vcpus", "32", Some("48")),
            ("memory_gb", "64", Some("96")),
            ("storage_gb", "500", None),
            ("instances", "25", None),
            ("concurrent_gpus", "2", None),
            ("cost_usd", "99.99", None),
        ],
    ),
    (
        "growth",
        "Several teams in production",
        false,
        &[
            ("vcpus", "128", Some("192")),
            ("memory_gb", "256", Some("384")),
            ("storage_gb", "2048", None),
            ("instances", "100", None),
            ("concurrent_gpus", "8", None),
            ("load_balancers", "10", None),
            ("cost_usd", "299.99", None),
        ],
    ),
    (
        "enterprise",
        "An organization: its figures are soft, the ceiling is above them",
        true,
        &[
            ("vcpus", "1000", Some("1500")),
            ("memory_gb", "1024", Some("1536")),
            ("storage_gb", "10240", None),
            ("instances", "500", None),
            ("cost_usd", "999.99", None),
        ],
    ),
];

/// The templates that every ledger begins with. `resource` finds a resource of the catalogue and
/// its decimals.
pub(super) fn shipped(resource: impl Fn(&str) -> (ResourceId, u8)) -> Vec<Template> {
    TIERS
        .into_iter()
        .map(|(name, description, soft, figures)| {
            let mut quotas: Vec<_> = figures
                .iter()
                .map(|(name, limit, burst)| {
                    let (id, decimals) = resource(name);
                    let amount = |figure: &str| {
                        let number = Decimal::from_str_exact(figure).expect("a figure is a number");
                        Amount::new(number, decimals).expect("a figure fits its resource")
                    };
                    (id, policy(amount(limit), burst.map(amount), soft))
                })
                .collect();
            quotas.sort_by_key(|(id, _)| *id);
            Template {
                name: Name::parse(name).expect("a tier has a name"),
                version: 1,
                description: description.into(),
                quotas,
            }
        })
        .collect()
}

/// A soft figure warns, and what would be its burst is the ceiling; without one it is the ceiling
/// itself.
fn policy(limit: Amount, burst: Option<Amount>, soft: bool) -> Policy {
    if soft {
        let terms = Terms { soft: Some(limit), ..Terms::default() };
        return Policy::new(Limit::Amount(burst.unwrap_or(limit)), terms);
    }
    let max_burst_ms = burst.map(|_| TIER_BURST_MS);
    Policy::new(Limit::Amount(limit), Terms { burst, max_burst_ms, ..Terms::default() })
}
