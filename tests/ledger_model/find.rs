//! What wishes mean, by what the model says is there.

use quorate::ledger::command::HoldAmount;
use rust_decimal::Decimal;

use crate::command::name;
use crate::command::number;
use crate::command::path;
use crate::model::Part;
use crate::model::Place;
use crate::model::Quota;
use crate::model::World;
use crate::model::places_up;
use crate::wish::At;
use crate::wish::Guess;
use crate::wish::HoldLines;
use crate::wish::Pick;
use crate::wish::Share;
use crate::wish::Target;
use crate::wish::Which;

impl World {
    pub fn at(&self, at: At) -> String {
        self.at_of(at, |_| true)
    }

    /// A scope, of those that are `apt` if any is.
    pub fn at_of(&self, at: At, apt: impl Fn(&str) -> bool) -> String {
        let position = match at {
            At::There(position) => position,
            At::Deepest => {
                let deepest = self.scopes.keys().max_by_key(|path| path.matches('/').count());
                return deepest.cloned().unwrap_or_else(|| "a".into());
            }
            At::Named(path) => return path.into(),
        };
        let mut all: Vec<&String> = self.scopes.keys().collect();
        if all.iter().any(|path| apt(path)) {
            all.retain(|path| apt(path));
        }
        all.sort_by_key(|path| path.split('/').collect::<Vec<_>>());
        if all.is_empty() { "a".into() } else { all[position % all.len()].clone() }
    }

    pub fn place_at(&self, (at, resource): Target) -> Place {
        (self.at(at), resource.into())
    }

    /// A place with a quota, if there is one on the resource.
    pub fn quota_at(&self, target: Target, apt: impl Fn(&Quota) -> bool) -> Place {
        let quota = |path: &str| self.quotas.get(&(path.to_string(), target.1.to_string()));
        (self.at_of(target.0, |path| quota(path).is_some_and(&apt)), target.1.into())
    }

    /// A place at or below a quota, if there is one on the resource.
    pub fn limited_at(&self, (at, resource): Target) -> Place {
        let is_limited = |path: &str| {
            places_up(&(path.to_string(), resource.to_string()))
                .iter()
                .any(|place| self.quotas.contains_key(place))
        };
        (self.at_of(at, is_limited), resource.into())
    }

    pub fn guessed(&self, place: &Place, guess: Guess) -> Option<u64> {
        let right = if self.quotas.contains_key(place) { self.version(place) } else { 0 };
        match guess {
            Guess::None => None,
            Guess::Right => Some(right),
            Guess::Number(number) => Some(number),
        }
    }

    pub fn guessed_template(&self, name: &str, guess: Guess) -> Option<u64> {
        let template = self.templates.iter().find(|template| template.name == name);
        match guess {
            Guess::None => None,
            Guess::Right => Some(template.map_or(0, |template| template.version)),
            Guess::Number(number) => Some(number),
        }
    }

    pub fn picked(&self, pick: Pick) -> u64 {
        match pick {
            Pick::Live(back) => {
                self.holds.keys().rev().nth(back % self.holds.len().max(1)).copied().unwrap_or(0)
            }
            Pick::Closed(back) => self.closed.keys().rev().nth(back).copied().unwrap_or(0),
            Pick::Next(on) => self.revision + 1 + on,
            Pick::Revision(revision) => revision,
        }
    }

    pub fn named_lines(&self, hold: u64, lines: &HoldLines) -> Vec<HoldAmount> {
        let parts: &[Part] = self.holds.get(&hold).map_or(&[], |hold| &hold.parts);
        let mut amounts: Vec<HoldAmount> = Vec::new();
        for (which, share) in lines {
            let other;
            let (place, part) = match which {
                Which::Line(position) if !parts.is_empty() => {
                    let part = &parts[position % parts.len()];
                    (&part.place, Some(part))
                }
                Which::Line(_) => {
                    other = ("a".to_string(), "memory_gb".to_string());
                    (&other, None)
                }
                Which::Other(target) => {
                    other = self.place_at(*target);
                    (&other, None)
                }
            };
            let amount = match (share, part) {
                (Share::Amount(text), _) => number(&place.1, text),
                (_, None) => Decimal::ONE,
                (Share::Held, Some(part)) if part.held > 0 => self.number(part.held, &place.1),
                (Share::More, Some(part)) => self.number(part.live() + 1, &place.1),
                (_, Some(part)) => self.number(part.live(), &place.1),
            };
            let (scope, resource) = (path(&place.0), name(&place.1));
            if !amounts.iter().any(|line| (&line.scope, &line.resource) == (&scope, &resource)) {
                amounts.push(HoldAmount { scope, resource, amount });
            }
        }
        amounts
    }
}
