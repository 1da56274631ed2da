//! Text by the million tokens.

use bailian_prices::{Currency, Request, Usage};
use fastrand::Rng;
use num_bigint::BigInt;
use num_rational::BigRational;

use super::file::{Entry, PriceFile, Tier, number};
use super::{agree, ask};

const RANDOM_PER_ENTRY: usize = 1_600;

/// What a token costs, over one denominator, so that a bill is one sum of products.
struct Rates {
    denominator: BigInt,
    input: BigInt,
    cached: [BigInt; 3],
    /// Unknown if the model does not write.
    output: Option<BigInt>,
}

/// One way of asking.
#[derive(Clone, Copy)]
struct Mode {
    thinking: Option<bool>,
    batch: bool,
    promotion: bool,
    dollars: bool,
}

impl Rates {
    fn of(
        file: &PriceFile<'_>,
        entry: &Entry<'_>,
        place: usize,
        mode: Mode,
        thought: bool,
    ) -> Self {
        let items = entry.tiers[place].figures(mode.dollars);
        let mut all = number("0.000001");
        if mode.batch {
            all *= entry.batch.clone().unwrap_or_else(|| number("1"));
        }
        if mode.promotion {
            all *= entry.promotion();
        }
        let input = &items["input"];
        let [implicit, explicit, write] = &file.rules;
        let cached = [
            ("implicit_hit", implicit),
            ("explicit_hit", explicit),
            ("explicit_write", write),
        ];
        let cached = cached.map(|(name, rule)| {
            if mode.batch {
                input.clone()
            } else {
                entry.cached(name, mode.dollars, input, rule)
            }
        });
        let keys = if thought {
            ["output", "output_thinking", "output_non_thinking"]
        } else {
            ["output", "output_non_thinking", "output_thinking"]
        };
        let free = items
            .values()
            .all(|price| *price == number("0"))
            .then(|| number("0"));
        let output = keys
            .iter()
            .find_map(|key| items.get(*key).cloned())
            .or(free);
        let mut prices = vec![input.clone()];
        prices.extend(cached);
        prices.extend(output.clone());
        let prices: Vec<BigRational> = prices.into_iter().map(|price| price * &all).collect();
        let denominator: BigInt = prices.iter().map(|price| price.denom().clone()).product();
        let over = |price: &BigRational| (price * &denominator).to_integer();
        Self {
            input: over(&prices[0]),
            cached: [over(&prices[1]), over(&prices[2]), over(&prices[3])],
            output: output.map(|_| over(&prices[4])),
            denominator,
        }
    }

    fn bill(&self, usage: &Usage) -> Option<BigRational> {
        let cached = [
            usage.implicit_cached_tokens,
            usage.explicit_cached_tokens,
            usage.cache_creation_tokens,
        ];
        let plain = usage.input_tokens - cached.iter().sum::<u64>();
        let mut sum = &self.input * plain;
        for (price, count) in self.cached.iter().zip(cached) {
            sum += price * count;
        }
        if usage.output_tokens > 0 {
            sum += self.output.as_ref()? * usage.output_tokens;
        }
        Some(BigRational::new(sum, self.denominator.clone()))
    }
}

pub fn compare(file: &PriceFile<'_>, entry: &Entry<'_>, rng: &mut Rng) -> usize {
    if !entry.is_sold() {
        return 0;
    }
    let mut request = ask(entry);
    let mut count = 0;
    let ends: Vec<u64> = entry.tiers.iter().filter_map(Tier::end).collect();
    let longest = ends.iter().max().copied().unwrap_or(1_000_000);
    let mut inputs = vec![1, 2, longest + longest / 3];
    for end in ends {
        inputs.extend([end - 1, end, end + 1]);
    }
    let shapes: [fn(&mut Usage, &mut Rng); 5] = [
        |_, _| {},
        |usage, rng| usage.implicit_cached_tokens = rng.u64(0..=usage.input_tokens),
        |usage, rng| usage.explicit_cached_tokens = rng.u64(0..=usage.input_tokens),
        |usage, rng| usage.cache_creation_tokens = rng.u64(0..=usage.input_tokens),
        |usage, rng| {
            usage.explicit_cached_tokens = rng.u64(0..=usage.input_tokens);
            let left = usage.input_tokens - usage.explicit_cached_tokens;
            usage.cache_creation_tokens = rng.u64(0..=left);
            usage.implicit_cached_tokens = rng.u64(0..=left - usage.cache_creation_tokens);
        },
    ];
    let randomly = RANDOM_PER_ENTRY / modes(entry).count();
    for mode in modes(entry) {
        // By tier, for requests that did not think and for those that did.
        let rates: Vec<[Rates; 2]> = (0..entry.tiers.len())
            .map(|place| [false, true].map(|thought| Rates::of(file, entry, place, mode, thought)))
            .collect();
        set(&mut request, mode);
        let mut check = |usage: Usage| {
            let thought = mode.thinking.unwrap_or(usage.reasoning_tokens > 0);
            let tier = std::ptr::from_ref(entry.tier_of(usage.input_tokens));
            let place = entry
                .tiers
                .iter()
                .position(|of| std::ptr::eq(of, tier))
                .unwrap();
            let expected = rates[place][usize::from(thought)].bill(&usage);
            request.usage = usage;
            agree(&request, entry, expected.as_ref());
            count += 1;
        };
        for input in &inputs {
            for shape in shapes {
                let mut usage = Usage::tokens(*input, rng.u64(0..100_000));
                shape(&mut usage, rng);
                check(usage);
            }
        }
        for _ in 0..randomly {
            let bits = rng.u32(1..=21);
            let mut usage = Usage::tokens(rng.u64(1..1 << bits), rng.u64(0..1 << bits));
            usage.reasoning_tokens = rng.u64(0..=usage.output_tokens) / 2;
            shapes[rng.usize(0..shapes.len())](&mut usage, rng);
            check(usage);
        }
    }
    count
}

fn modes(entry: &Entry<'_>) -> impl Iterator<Item = Mode> {
    let dollars = entry.has_dollars();
    (0..24_u8).filter_map(move |bits| {
        let mode = Mode {
            thinking: [None, Some(false), Some(true)][usize::from(bits % 3)],
            batch: (bits / 3) % 2 == 1,
            promotion: (bits / 6) % 2 == 1,
            dollars: bits / 12 == 1,
        };
        (dollars || !mode.dollars).then_some(mode)
    })
}

fn set(request: &mut Request, mode: Mode) {
    request.context.thinking = mode.thinking;
    request.context.batch = mode.batch;
    request.options.apply_promo = mode.promotion;
    request.options.currency = mode.dollars.then_some(Currency::Usd);
}
