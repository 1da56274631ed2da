//! How many client connections may be open, altogether and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::config::Limits;

/// Shared by the runtimes.
#[derive(Clone, Debug)]
pub(super) struct ConnectionBudget(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    open: AtomicUsize,
    /// Never more entries than connections.
    per_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A place for one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    counts: Arc<Counts>,
    /// `None` for those that are not counted by address.
    address: Option<IpAddr>,
}

impl ConnectionBudget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Counts {
            open: AtomicUsize::new(0),
            per_address: Mutex::default(),
        }))
    }

    /// A place for one more connection from `peer`, if the limits of this moment have one.
    pub(super) fn take(&self, peer: IpAddr, limits: &Limits) -> Option<ConnectionPlace> {
        let before = self.0.open.fetch_add(1, Ordering::Relaxed);
        let mut place = ConnectionPlace {
            counts: Arc::clone(&self.0),
            address: None,
        };
        if before >= limits.max_connections {
            return None;
        }
        if let Some(address) = counted(peer) {
            let mut per_address = self.0.per_address.lock();
            let open = per_address.entry(address).or_insert(0);
            if *open >= limits.max_connections_per_address {
                return None;
            }
            *open += 1;
            place.address = Some(address);
        }
        Some(place)
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut per_address = self.counts.per_address.lock();
        if let Some(open) = per_address.get_mut(&address) {
            *open -= 1;
            if *open == 0 {
                per_address.remove(&address);
            }
        }
    }
}

/// What an address counts as. One host has a whole IPv6 /64 at its disposal. What comes from this
/// machine itself is not a stranger: a proxy beside the gateway brings everybody's connections.
fn counted(peer: IpAddr) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    if peer.is_loopback() {
        return None;
    }
    Some(match peer {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max: usize, per_address: usize) -> Limits {
        Limits {
            max_connections: max,
            max_connections_per_address: per_address,
            ..Limits::default()
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let (budget, limits) = (ConnectionBudget::new(), limits(10, 2));
        let first = budget.take(ip("10.0.0.1"), &limits).unwrap();
        let _second = budget.take(ip("::ffff:10.0.0.1"), &limits).unwrap();
        assert!(budget.take(ip("10.0.0.1"), &limits).is_none());
        let _other = budget.take(ip("10.0.0.2"), &limits).unwrap();
        drop(first);
        assert!(budget.take(ip("10.0.0.1"), &limits).is_some());
    }

    #[test]
    fn a_network_of_one_host_counts_as_one_address() {
        let (budget, limits) = (ConnectionBudget::new(), limits(10, 1));
        let _one = budget.take(ip("2001:db8:0:1::1"), &limits).unwrap();
        assert!(budget.take(ip("2001:db8:0:1:ffff::2"), &limits).is_none());
        assert!(budget.take(ip("2001:db8:0:2::1"), &limits).is_some());
    }

    #[test]
    fn this_machine_is_bound_by_the_total_only() {
        let (budget, limits) = (ConnectionBudget::new(), limits(3, 1));
        let places: Vec<_> = (0..3)
            .map(|_| budget.take(ip("127.0.0.1"), &limits).unwrap())
            .collect();
        assert!(budget.take(ip("127.0.0.1"), &limits).is_none());
        drop(places);
        assert!(budget.take(ip("::1"), &limits).is_some());
        assert!(budget.0.per_address.lock().is_empty());
    }

    #[test]
    fn a_refused_connection_leaves_nothing_behind() {
        let (budget, limits) = (ConnectionBudget::new(), limits(2, 1));
        let _place = budget.take(ip("10.0.0.1"), &limits).unwrap();
        for _ in 0..5 {
            assert!(budget.take(ip("10.0.0.1"), &limits).is_none());
        }
        assert_eq!(budget.0.open.load(Ordering::Relaxed), 1);
    }
}
