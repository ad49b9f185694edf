//! Policies: the options that say one, and how one reads.
//!
//! Knows nothing of what a policy does.

use clap::Args;
use clap::ValueEnum;

use super::arguments;
use super::times::span_text;
use crate::client::v1;
use crate::client::v1::limit::Limit;

/// What a policy says besides its limit.
#[derive(Debug, Default, Args)]
pub(super) struct PolicyArgs {
    /// The warning line: an amount, at most the effective limit; or 'none'
    #[arg(long, value_name = "AMOUNT", value_parser = arguments::amount_or_none)]
    soft: Option<String>,
    /// How long use may stay over --soft before that becomes the ceiling, such as 4h; or 'none': for
    /// ever
    #[arg(long, value_name = "DURATION", value_parser = arguments::span_or_none)]
    grace: Option<u64>,
    /// The ceiling above the effective limit for a while: an amount; or 'none'. Needs --max-burst
    #[arg(long, value_name = "AMOUNT", value_parser = arguments::amount_or_none)]
    burst: Option<String>,
    /// How long use may stay over the effective limit, such as 1h; or 'none'. Needs --burst
    #[arg(long, value_name = "DURATION", value_parser = arguments::span_or_none)]
    max_burst: Option<u64>,
    /// Multiplies the limit: a ratio from 1 to 1000, such as 1.5; or 'none'
    #[arg(long, value_name = "RATIO", value_parser = arguments::amount_or_none)]
    overcommit: Option<String>,
    /// What happens to a request that goes over the limit [default: enforce]
    #[arg(long, value_enum)]
    enforcement: Option<Enforcement>,
    /// What happens when the limit is lowered below what is taken [default: freeze]
    #[arg(long, value_enum)]
    on_reduce: Option<OnReduce>,
    /// How long a hold lives that names no time to live, such as 10m; or 'none'
    #[arg(long, value_name = "DURATION", value_parser = arguments::span_or_none)]
    default_ttl: Option<u64>,
    /// The longest time to live that a hold may name; or 'none'
    #[arg(long, value_name = "DURATION", value_parser = arguments::span_or_none)]
    max_ttl: Option<u64>,
    /// Whether the scopes below may pass limits of this resource to each other
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    allow_transfer: Option<bool>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Enforcement {
    /// It is denied
    Enforce,
    /// It is granted with a warning, counted and recorded
    Warn,
    /// It is granted silently, counted and recorded
    Shadow,
    /// It is granted; nobody looks at the limit
    Off,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnReduce {
    /// The change is refused
    Refuse,
    /// The change is made, and nothing more is admitted
    Freeze,
    /// As freeze, and the event says how much is to be given back
    Drain,
}

impl From<Enforcement> for v1::Enforcement {
    fn from(given: Enforcement) -> Self {
        match given {
            Enforcement::Enforce => Self::Enforce,
            Enforcement::Warn => Self::Warn,
            Enforcement::Shadow => Self::Shadow,
            Enforcement::Off => Self::Off,
        }
    }
}

impl From<OnReduce> for v1::OnReduce {
    fn from(given: OnReduce) -> Self {
        match given {
            OnReduce::Refuse => Self::Refuse,
            OnReduce::Freeze => Self::Freeze,
            OnReduce::Drain => Self::Drain,
        }
    }
}

impl PolicyArgs {
    /// The policy that was said, and the names of those of its fields that were.
    pub(super) fn policy(self, limit: Option<v1::Limit>) -> (v1::Policy, Vec<String>) {
        let said = [
            ("limit", limit.is_some()),
            ("soft", self.soft.is_some()),
            ("grace_ms", self.grace.is_some()),
            ("burst", self.burst.is_some()),
            ("max_burst_ms", self.max_burst.is_some()),
            ("overcommit", self.overcommit.is_some()),
            ("enforcement", self.enforcement.is_some()),
            ("on_reduce", self.on_reduce.is_some()),
            ("default_ttl_ms", self.default_ttl.is_some()),
            ("max_ttl_ms", self.max_ttl.is_some()),
            ("allow_transfer", self.allow_transfer.is_some()),
        ];
        let fields = said.iter().filter(|(_, said)| *said).map(|(name, _)| (*name).to_owned()).collect();
        let policy = v1::Policy {
            limit,
            soft: self.soft.unwrap_or_default(),
            grace_ms: self.grace.unwrap_or_default(),
            burst: self.burst.unwrap_or_default(),
            max_burst_ms: self.max_burst.unwrap_or_default(),
            overcommit: self.overcommit.unwrap_or_default(),
            enforcement: self.enforcement.map(v1::Enforcement::from).unwrap_or_default().into(),
            on_reduce: self.on_reduce.map(v1::OnReduce::from).unwrap_or_default().into(),
            default_ttl_ms: self.default_ttl.unwrap_or_default(),
            max_ttl_ms: self.max_ttl.unwrap_or_default(),
            allow_transfer: self.allow_transfer.unwrap_or_default(),
        };
        (policy, fields)
    }
}

/// A limit in the words in which it is given.
pub(super) fn limit_text(limit: Option<&v1::Limit>) -> String {
    match limit.and_then(|limit| limit.limit.as_ref()) {
        Some(Limit::Amount(amount)) => amount.clone(),
        Some(Limit::Unlimited(_)) => "unlimited".to_owned(),
        Some(Limit::Inherit(_)) => "inherit".to_owned(),
        None => "-".to_owned(),
    }
}

/// A policy in one line: "20, soft 16 (grace 1 d), burst 30 (at most 1 h), warn".
pub(super) fn policy_text(policy: &v1::Policy) -> String {
    let mut words = vec![limit_text(policy.limit.as_ref())];
    if !policy.overcommit.is_empty() {
        words.push(format!("overcommit {}", policy.overcommit));
    }
    words.extend(soft_text(policy).map(|text| format!("soft {text}")));
    words.extend(burst_text(policy).map(|text| format!("burst {text}")));
    words.extend(enforcement_text(policy.enforcement()).map(|text| format!("enforcement {text}")));
    words.extend(on_reduce_text(policy.on_reduce()).map(|text| format!("on reduce {text}")));
    words.extend(ttl_text(policy).map(|text| format!("ttl {text}")));
    if policy.allow_transfer {
        words.push("transfers below allowed".to_owned());
    }
    words.join(", ")
}

/// A change that was scheduled: of the whole policy, or of what a mask names.
pub(super) fn change_text(policy: &v1::Policy, mask: Option<&crate::proto::FieldMask>) -> String {
    let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
        return format!("change to {}", policy_text(policy));
    };
    let span = |ms: u64| if ms == 0 { None } else { Some(span_text(ms)) };
    let text = |text: &str| if text.is_empty() { None } else { Some(text.to_owned()) };
    let changes = mask.paths.iter().map(|field| {
        let value = match field.as_str() {
            "limit" => Some(limit_text(policy.limit.as_ref())),
            "soft" => text(&policy.soft),
            "grace_ms" => span(policy.grace_ms),
            "burst" => text(&policy.burst),
            "max_burst_ms" => span(policy.max_burst_ms),
            "overcommit" => text(&policy.overcommit),
            "enforcement" => Some(enforcement_text(policy.enforcement()).unwrap_or("enforce").to_owned()),
            "on_reduce" => Some(on_reduce_text(policy.on_reduce()).unwrap_or("freeze").to_owned()),
            "default_ttl_ms" => span(policy.default_ttl_ms),
            "max_ttl_ms" => span(policy.max_ttl_ms),
            "allow_transfer" => Some(policy.allow_transfer.to_string()),
            _ => Some("something that this program does not know".to_owned()),
        };
        let name = field.strip_suffix("_ms").unwrap_or(field).replace('_', " ");
        format!("{name} to {}", value.unwrap_or_else(|| "none".to_owned()))
    });
    format!("change {}", changes.collect::<Vec<_>>().join(", "))
}

/// "16 (grace 1 d)"; none without a soft limit.
pub(super) fn soft_text(policy: &v1::Policy) -> Option<String> {
    let grace = match policy.grace_ms {
        0 => String::new(),
        ms => format!(" (grace {})", span_text(ms)),
    };
    (!policy.soft.is_empty()).then(|| format!("{}{grace}", policy.soft))
}

/// "30 (at most 1 h)"; none without a burst.
pub(super) fn burst_text(policy: &v1::Policy) -> Option<String> {
    let burst = &policy.burst;
    (!burst.is_empty()).then(|| format!("{burst} (at most {})", span_text(policy.max_burst_ms)))
}

/// None for what is the default.
pub(super) fn enforcement_text(enforcement: v1::Enforcement) -> Option<&'static str> {
    match enforcement {
        v1::Enforcement::Unspecified | v1::Enforcement::Enforce => None,
        v1::Enforcement::Warn => Some("warn"),
        v1::Enforcement::Shadow => Some("shadow"),
        v1::Enforcement::Off => Some("off"),
    }
}

/// None for what is the default.
pub(super) fn on_reduce_text(on_reduce: v1::OnReduce) -> Option<&'static str> {
    match on_reduce {
        v1::OnReduce::Unspecified | v1::OnReduce::Freeze => None,
        v1::OnReduce::Refuse => Some("refuse"),
        v1::OnReduce::Drain => Some("drain"),
    }
}

/// "10 min (at most 1 h)"; none when nothing is said of it.
pub(super) fn ttl_text(policy: &v1::Policy) -> Option<String> {
    match (policy.default_ttl_ms, policy.max_ttl_ms) {
        (0, 0) => None,
        (0, max) => Some(format!("{} unless less is asked for", span_text(max))),
        (default, 0) => Some(format!("{} unless asked for otherwise", span_text(default))),
        (default, max) => Some(format!("{} (at most {})", span_text(default), span_text(max))),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        policy: PolicyArgs,
    }

    pub(in crate::cli) fn amount(text: &str) -> Option<v1::Limit> {
        Some(v1::Limit { limit: Some(Limit::Amount(text.into())) })
    }

    pub(in crate::cli) fn word(text: &str) -> Option<v1::Limit> {
        Some(arguments::limit(text).expect("a limit"))
    }

    fn said(words: &str) -> (v1::Policy, Vec<String>) {
        let words = words.split(' ').filter(|word| !word.is_empty());
        Line::try_parse_from(std::iter::once("set").chain(words)).expect("well formed").policy.policy(None)
    }

    #[test]
    fn what_is_not_said_is_not_in_the_mask() {
        assert_eq!(said(""), (v1::Policy::default(), vec![]));
        let (policy, fields) = said("--soft none --enforcement warn --max-ttl 1h --allow-transfer");
        assert_eq!(fields, ["soft", "enforcement", "max_ttl_ms", "allow_transfer"]);
        assert_eq!((policy.soft.as_str(), policy.max_ttl_ms, policy.allow_transfer), ("", 3_600_000, true));
        assert_eq!(policy.enforcement(), v1::Enforcement::Warn);
        assert!(!said("--allow-transfer=false").0.allow_transfer);
    }

    #[test]
    fn the_names_in_the_mask_are_fields_of_the_policy() {
        let every = "--soft 1 --grace 1h --burst 3 --max-burst 1h --overcommit 2 --enforcement off \
                     --on-reduce drain --default-ttl 1m --max-ttl 1h --allow-transfer";
        let (_, mut fields) = said(&every.split_whitespace().collect::<Vec<_>>().join(" "));
        fields.insert(0, "limit".to_owned());
        let descriptor = crate::cli::output::descriptor::<v1::Policy>().expect("described");
        let mut names: Vec<_> = descriptor.fields().map(|field| field.name().to_owned()).collect();
        names.sort();
        fields.sort();
        assert_eq!(fields, names);
    }

    #[test]
    fn a_policy_reads_as_one_line_that_leaves_defaults_out() {
        let plain = v1::Policy { limit: amount("20"), ..Default::default() };
        assert_eq!(policy_text(&plain), "20");
        let full = v1::Policy {
            soft: "16".into(),
            grace_ms: 86_400_000,
            burst: "40".into(),
            max_burst_ms: 3_600_000,
            overcommit: "1.5".into(),
            enforcement: v1::Enforcement::Warn.into(),
            on_reduce: v1::OnReduce::Drain.into(),
            default_ttl_ms: 600_000,
            max_ttl_ms: 3_600_000,
            allow_transfer: true,
            ..plain
        };
        assert_eq!(
            policy_text(&full),
            "20, overcommit 1.5, soft 16 (grace 1 d), burst 40 (at most 1 h), enforcement warn, \
             on reduce drain, ttl 10 min (at most 1 h), transfers below allowed"
        );
    }
}
