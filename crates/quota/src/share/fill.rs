//! Weighted max-min fair shares in whole numbers.

/// All replicas that want nothing keep this part together, so that a request that comes
/// there starts at once.
const IDLE_PART: f64 = 50.0;
/// And at least one each, where so many times as many are there.
const ONE_EACH: f64 = 10.0;

/// What one replica asks of a limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claim {
    /// How much it would use per period.
    pub(super) wanted: f64,
    /// What its next request takes at once.
    pub(super) need: f64,
    /// When it last had used something.
    pub(super) had_at: f64,
    /// How much it counts beside the others, above zero.
    pub(super) weight: f64,
}

/// Divides whole units between claims; all shares together are the capacity.
///
/// Nobody gets more than it wants while another gets less than it wants and less than its weight
/// deserves. What nobody wants is spread evenly, so that requests can start anywhere. Units
/// that cannot be divided go to who has waited longest, and needs that are larger than a share
/// are met one after the other, by `turn`.
///
/// The arithmetic is that of doubles, in this order, because a script does the same.
pub(super) fn fill(capacity: f64, claims: &[Claim], turn: u64) -> Vec<f64> {
    let mut shares = divide(capacity, claims, None);
    let starved: Vec<usize> = (0..claims.len())
        .filter(|at| claims[*at].need > shares[*at] && claims[*at].need > 1.0)
        .collect();
    if !starved.is_empty() {
        let chosen = starved[at_turn(turn, starved.len())];
        let need = claims[chosen].need.min(capacity);
        shares = divide(capacity - need, claims, Some(chosen));
        shares[chosen] = need;
    }
    shares
}

fn divide(capacity: f64, claims: &[Claim], without: Option<usize>) -> Vec<f64> {
    let mut shares = vec![0.0; claims.len()];
    let mut open: Vec<usize> = (0..claims.len())
        .filter(|at| Some(*at) != without)
        .collect();
    let all = open.clone();
    if all.is_empty() {
        return shares;
    }
    let count = all.len() as f64;
    let least = f64::from(u8::from(capacity >= ONE_EACH * count));
    let floor = (capacity / (IDLE_PART * count)).floor().max(least);
    let want = |at: usize| claims[at].wanted.max(claims[at].need).max(floor);
    let mut rest = capacity;
    loop {
        let total: f64 = open.iter().map(|at| claims[*at].weight).sum();
        let level = rest;
        let (content, wanting): (Vec<usize>, Vec<usize>) = open
            .iter()
            .partition(|at| want(**at) * total <= level * claims[**at].weight);
        if content.is_empty() {
            for at in &open {
                shares[*at] = (level * claims[*at].weight / total).floor();
                rest -= shares[*at];
            }
            break;
        }
        for at in content {
            shares[at] = want(at);
            rest -= shares[at];
        }
        open = wanting;
        if open.is_empty() {
            break;
        }
    }
    // What is left is less than one for each of those that want more, or what nobody wants.
    let takers = if open.is_empty() { all } else { open };
    let count = takers.len() as f64;
    let each = (rest / count).floor();
    let extra = rest - each * count;
    // Single units go first to those who have had none for the longest time.
    let mut order = takers;
    order.sort_by(|a, b| {
        claims[*a]
            .had_at
            .total_cmp(&claims[*b].had_at)
            .then(a.cmp(b))
    });
    for (place, at) in order.into_iter().enumerate() {
        shares[at] += each + f64::from(u8::from((place as f64) < extra));
    }
    shares
}

fn at_turn(turn: u64, count: usize) -> usize {
    usize::try_from(turn % count as u64).unwrap_or(0)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "shares are whole numbers")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(wanted: u32, weight: u32) -> Claim {
        Claim {
            wanted: f64::from(wanted),
            need: 0.0,
            had_at: 0.0,
            weight: f64::from(weight),
        }
    }

    #[test]
    fn who_wants_little_gets_it_and_the_others_share_the_rest_by_weight() {
        let shares = fill(600.0, &[claim(30, 1), claim(900, 1), claim(900, 2)], 0);
        assert_eq!(shares, [30.0, 190.0, 380.0]);
    }

    #[test]
    fn what_nobody_wants_is_spread_and_an_idle_replica_can_start() {
        let shares = fill(100.0, &[claim(10, 1), claim(0, 1)], 0);
        assert_eq!(shares.iter().sum::<f64>(), 100.0);
        assert!(shares[1] >= 40.0);
        let busy = fill(1000.0, &[claim(5000, 1), claim(0, 1)], 0);
        assert!(busy[1] >= 10.0);
    }

    #[test]
    fn fewer_units_than_replicas_go_round() {
        let mut claims = [claim(9, 1); 3];
        let mut seen = [0.0; 3];
        for turn in 1..=3 {
            let shares = fill(1.0, &claims, 0);
            for (at, share) in shares.into_iter().enumerate() {
                seen[at] += share;
                if share > 0.0 {
                    claims[at].had_at = f64::from(turn);
                }
            }
        }
        assert_eq!(seen, [1.0; 3]);
    }

    #[test]
    fn a_request_larger_than_a_share_gets_its_turn() {
        let large = Claim {
            wanted: 500.0,
            need: 400.0,
            had_at: 0.0,
            weight: 1.0,
        };
        let claims = [large, large, claim(500, 1)];
        assert_eq!(fill(600.0, &claims, 0)[0], 400.0);
        assert_eq!(fill(600.0, &claims, 1)[1], 400.0);
    }

    proptest! {
        #[test]
        fn all_is_given_nothing_twice_and_nobody_envies_by_weight(
            capacity in 0u32..100_000,
            claims in prop::collection::vec((0u32..200_000, 1u32..50), 1..40),
            turn in any::<u64>(),
        ) {
            let list: Vec<Claim> = claims.iter().map(|(wanted, weight)| claim(*wanted, *weight)).collect();
            let shares = fill(f64::from(capacity), &list, turn);
            prop_assert_eq!(shares.iter().sum::<f64>(), f64::from(capacity));
            let floor = (f64::from(capacity) / (IDLE_PART * list.len() as f64)).max(1.0);
            for (mine, share) in list.iter().zip(&shares) {
                if *share < mine.wanted {
                    for (other, more) in list.iter().zip(&shares) {
                        let deserved = share / mine.weight + 1.0;
                        prop_assert!((more - 1.0) / other.weight <= deserved || *more <= floor + 1.0);
                    }
                }
            }
        }
    }
}
