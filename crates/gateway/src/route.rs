//! Which targets a request may go to, and in which order.

mod breaker;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use std::time::Instant;

use bailian_wire::Dialect;
use bailian_wire::error::ErrorClass;
use parking_lot::RwLock;

pub(crate) use self::breaker::{Admission, Breaker};
use crate::account::Account;
use crate::config::{Config, RouteCache, RouteConfig, TargetConfig};

/// Breakers are named after models, and those callers choose: more of them share one per account.
const MOST_BREAKERS: usize = 2_000;

/// A place that can answer a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The account's place among all.
    pub(crate) account: usize,
    /// The model's name there; `None` is the name that the caller used.
    pub(crate) model: Option<Arc<str>>,
    /// The dialect to speak there, if not the caller's.
    pub(crate) dialect: Option<Dialect>,
    weight: u32,
}

#[cfg(test)]
impl Target {
    /// The model of the caller's name there.
    pub(crate) fn in_account(account: usize) -> Self {
        Self {
            account,
            model: None,
            dialect: None,
            weight: 1,
        }
    }
}

/// Where one request goes, the first target first.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) targets: Vec<Target>,
    /// How many of them stand beside each other; the others are fallbacks.
    pub(crate) group: usize,
    /// What lets it go on to the next target.
    pub(crate) falls_back_on: Classes,
    /// The request sticks to its first target, for the sake of the provider's cache.
    pub(crate) is_sticky: bool,
}

impl Plan {
    /// Leaves only targets that fulfil a condition.
    pub(crate) fn retain(&mut self, fits: impl Fn(&Target) -> bool) {
        let group = self.targets.iter().take(self.group);
        self.group = group.filter(|target| fits(target)).count();
        self.targets.retain(fits);
    }
}

impl Target {
    /// An account, whatever the routes say, under the name that the caller used.
    pub(crate) fn at(account: usize) -> Self {
        Self {
            account,
            model: None,
            dialect: None,
            weight: 1,
        }
    }
}

/// Whether an error speaks against the health of whoever answered with it. A caller's own mistake,
/// or a limit that was used up, does not.
pub(crate) fn is_fault(class: ErrorClass) -> bool {
    matches!(
        class,
        ErrorClass::Server | ErrorClass::Unavailable | ErrorClass::Timeout
    )
}

/// How requests are spread over the targets of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spread<'a> {
    /// By weight.
    Evenly,
    /// The same beginning goes to the same target while it is healthy.
    Prefix(&'a [u8]),
    /// As they are written down.
    InOrder,
}

/// A set of error classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classes(u16);

impl Classes {
    /// What is not the caller's own fault, and what another account may have room for.
    const DEFAULT: [ErrorClass; 9] = [
        ErrorClass::Authentication,
        ErrorClass::Permission,
        ErrorClass::RateLimitRequests,
        ErrorClass::RateLimitTokens,
        ErrorClass::RateLimitBurst,
        ErrorClass::QuotaExhausted,
        ErrorClass::Timeout,
        ErrorClass::Server,
        ErrorClass::Unavailable,
    ];

    fn of(classes: &[ErrorClass]) -> Self {
        Self(
            classes
                .iter()
                .fold(0, |set, class| set | 1 << (*class as u16)),
        )
    }

    pub(crate) fn contain(self, class: ErrorClass) -> bool {
        self.0 & (1 << (class as u16)) != 0
    }
}

impl Default for Classes {
    fn default() -> Self {
        Self::of(&Self::DEFAULT)
    }
}

/// The routes of a configuration.
#[derive(Debug)]
pub(crate) struct Routes {
    by_model: Vec<Route>,
    /// What is asked for by no route goes to one of these.
    others: Vec<Target>,
    breakers: RwLock<HashMap<String, Arc<Breaker>>>,
    accounts: Vec<String>,
}

#[derive(Debug)]
struct Route {
    model: String,
    targets: Vec<Target>,
    fallbacks: Vec<Target>,
    falls_back_on: Classes,
    cache: Option<RouteCache>,
}

impl Route {
    fn fits(&self, model: &str) -> bool {
        match self.model.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix),
            None => self.model == model,
        }
    }
}

impl Routes {
    pub(crate) fn new(config: &Config, accounts: &[Account]) -> Self {
        let target = |target: &TargetConfig| Target {
            account: accounts
                .iter()
                .position(|account| account.name() == target.account)
                .unwrap_or(0),
            model: target.model.as_deref().map(Arc::from),
            dialect: target.dialect,
            weight: target.weight.max(1),
        };
        let route = |route: &RouteConfig| Route {
            model: route.model.clone(),
            targets: route.targets.iter().map(target).collect(),
            fallbacks: route.fallbacks.iter().map(target).collect(),
            falls_back_on: route
                .fall_back_on
                .as_deref()
                .map_or_else(Classes::default, Classes::of),
            cache: route.cache,
        };
        // Self-hosted servers are reached by routes only, unless there is nothing else.
        let has_service = accounts.iter().any(Account::is_service);
        let others = accounts
            .iter()
            .enumerate()
            .filter(|(_, account)| account.is_service() || !has_service)
            .map(|(index, _)| Target {
                account: index,
                model: None,
                dialect: None,
                weight: 1,
            })
            .collect();
        Self {
            by_model: config.routes.iter().map(route).collect(),
            others,
            breakers: RwLock::default(),
            accounts: accounts
                .iter()
                .map(|account| account.name().to_owned())
                .collect(),
        }
    }

    /// Remembers what `before` knew of the health of accounts that fulfil `is_same`.
    pub(crate) fn keep_breakers(&mut self, before: &Self, is_same: impl Fn(&str) -> bool) {
        let same: Vec<&String> = before.accounts.iter().filter(|it| is_same(it)).collect();
        let is_kept = |target: &str| {
            same.iter().any(|account| {
                let rest = target.strip_prefix(account.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let known = before.breakers.read();
        let kept = known.iter().filter(|(target, _)| is_kept(target));
        *self.breakers.get_mut() = kept
            .map(|(target, breaker)| (target.clone(), Arc::clone(breaker)))
            .collect();
    }

    /// Names that clients use and no catalogue knows.
    pub(crate) fn aliases(&self) -> impl Iterator<Item = &str> {
        self.by_model
            .iter()
            .map(|route| route.model.as_str())
            .filter(|name| !name.ends_with('*'))
    }

    /// What the route of `model` says of the cache.
    pub(crate) fn cache_of(&self, model: &str) -> Option<RouteCache> {
        self.by_model.iter().find(|route| route.fits(model))?.cache
    }

    /// The targets of a request for `model`.
    pub(crate) fn plan(&self, model: &str, spread: Spread<'_>, now: Instant) -> Plan {
        let route = self.by_model.iter().find(|route| route.fits(model));
        let (first, fallbacks, falls_back_on) = match route {
            Some(route) => (
                route.targets.as_slice(),
                route.fallbacks.as_slice(),
                route.falls_back_on,
            ),
            None => (self.others.as_slice(), &[][..], Classes::default()),
        };
        let mut targets = Vec::with_capacity(first.len() + fallbacks.len());
        targets.extend_from_slice(first);
        let prefix = match spread {
            Spread::Prefix(prefix) => Some(prefix),
            Spread::Evenly | Spread::InOrder => None,
        };
        if first.len() > 1 && spread != Spread::InOrder {
            shuffle(&mut targets, prefix);
        }
        targets.extend_from_slice(fallbacks);
        if targets.len() > 1 {
            // What is left alone goes to the end: it is tried only when nothing else answers.
            targets.sort_by_cached_key(|target| {
                self.known_breaker(target, model)
                    .is_some_and(|breaker| breaker.is_left_alone(now))
            });
        }
        Plan {
            targets,
            group: first.len(),
            falls_back_on,
            is_sticky: spread != Spread::Evenly,
        }
    }

    /// Whether a target may be tried now.
    pub(crate) fn admit(&self, target: &Target, asked: &str, now: Instant) -> Admission {
        self.known_breaker(target, asked)
            .map_or(Admission::Closed, |breaker| breaker.admit(now))
    }

    /// Notes that a target answered.
    pub(crate) fn succeeded(&self, target: &Target, asked: &str) {
        if let Some(breaker) = self.known_breaker(target, asked) {
            breaker.succeeded();
        }
    }

    /// Notes that a target failed. Says whether it is left alone from now on.
    pub(crate) fn failed(&self, target: &Target, asked: &str, now: Instant) -> bool {
        let mut name = self.name(target, asked);
        let mut breakers = self.breakers.write();
        if breakers.len() >= MOST_BREAKERS && !breakers.contains_key(&name) {
            name = self
                .accounts
                .get(target.account)
                .cloned()
                .unwrap_or_default();
        }
        breakers.entry(name).or_default().failed(now)
    }

    /// The breaker of a target that has failed before.
    fn known_breaker(&self, target: &Target, asked: &str) -> Option<Arc<Breaker>> {
        let breakers = self.breakers.read();
        if breakers.is_empty() {
            return None;
        }
        breakers.get(&self.name(target, asked)).map(Arc::clone)
    }

    fn name(&self, target: &Target, asked: &str) -> String {
        let account = self.accounts.get(target.account).map_or("", String::as_str);
        format!("{account}/{}", target.model.as_deref().unwrap_or(asked))
    }

    /// Targets that are left alone now, as `account/model`.
    pub(crate) fn open_breakers(&self) -> Vec<String> {
        let breakers = self.breakers.read();
        let mut open: Vec<String> = breakers
            .iter()
            .filter(|(_, breaker)| breaker.is_open())
            .map(|(name, _)| name.clone())
            .collect();
        open.sort();
        open
    }
}

/// Puts the targets of one group in an order that respects their weights: by chance, or by the
/// prefix, so that the same prefix finds the same order (weighted rendezvous hashing).
fn shuffle(targets: &mut [Target], prefix: Option<&[u8]>) {
    let seed = prefix.map(|prefix| {
        let mut hasher = DefaultHasher::new();
        hasher.write(prefix);
        hasher.finish()
    });
    let mut keyed: Vec<(f64, Target)> = targets
        .iter()
        .map(|target| {
            let chance = match seed {
                None => fastrand::f64(),
                Some(seed) => {
                    let mut hasher = DefaultHasher::new();
                    hasher.write_u64(seed);
                    hasher.write_usize(target.account);
                    hasher.write(target.model.as_deref().unwrap_or_default().as_bytes());
                    (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
                }
            };
            let chance = chance.max(f64::MIN_POSITIVE);
            (-chance.ln() / f64::from(target.weight), target.clone())
        })
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (place, (_, target)) in targets.iter_mut().zip(keyed) {
        *place = target;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(account: usize, weight: u32) -> Target {
        Target {
            account,
            model: None,
            dialect: None,
            weight,
        }
    }

    #[test]
    fn the_same_prefix_finds_the_same_target_and_others_spread() {
        let mut counts = [0u32; 3];
        for number in 0..3_000u32 {
            let prefix = number.to_le_bytes();
            let mut targets = [target(0, 1), target(1, 1), target(2, 1)];
            shuffle(&mut targets, Some(&prefix));
            let first = targets[0].account;
            let mut again = [target(2, 1), target(0, 1), target(1, 1)];
            shuffle(&mut again, Some(&prefix));
            assert_eq!(again[0].account, first);
            counts[first] += 1;
        }
        assert!(
            counts.iter().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn weights_are_respected_with_and_without_a_prefix() {
        for with_prefix in [false, true] {
            let mut heavy = 0;
            for number in 0..4_000u32 {
                let prefix = number.to_le_bytes();
                let mut targets = [target(0, 1), target(1, 3)];
                shuffle(&mut targets, with_prefix.then_some(&prefix[..]));
                heavy += u32::from(targets[0].account == 1);
            }
            assert!((2_800..3_200).contains(&heavy), "{heavy}");
        }
    }

    #[test]
    fn a_callers_own_errors_never_lead_to_another_target() {
        let classes = Classes::default();
        assert!(!classes.contain(ErrorClass::InvalidRequest));
        assert!(!classes.contain(ErrorClass::ContentFilter));
        assert!(!classes.contain(ErrorClass::NotFound));
        assert!(classes.contain(ErrorClass::Unavailable));
    }
}
