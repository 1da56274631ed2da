//! Every line of the price file: priced, or refused with a reason.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests: a line that is neither priced nor refused is a failure"
)]

mod support;

use std::collections::BTreeMap;

use bailian_prices::{
    Currency, Decimal, InputSplit, Note, Options, PriceError, Request, Unpriced, Usage,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use support::{book, decimal, now, total};

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    entries: Vec<Line<'a>>,
}

#[derive(Deserialize)]
struct Line<'a> {
    model: String,
    region: String,
    scope: String,
    currency: Currency,
    secondary: bool,
    #[serde(borrow)]
    tiers: Vec<Tier<'a>>,
}

#[derive(Deserialize)]
struct Tier<'a> {
    #[serde(borrow)]
    when: BTreeMap<String, &'a RawValue>,
    #[serde(borrow)]
    items: BTreeMap<String, &'a RawValue>,
}

fn lines() -> Vec<Line<'static>> {
    let file: File<'_> = serde_json::from_str(include_str!("../data/prices.json")).unwrap();
    file.entries
}

impl Line<'_> {
    fn id(&self) -> String {
        format!(
            "{}@{}/{}/{}",
            self.model, self.region, self.scope, self.currency
        )
    }

    fn request(&self, usage: Usage) -> Request {
        Request::new(&self.model, &self.region, now(), usage).scope(&self.scope)
    }
}

impl Tier<'_> {
    fn word(&self, key: &str) -> Option<String> {
        self.when
            .get(key)
            .map(|raw| raw.get().trim_matches('"').to_owned())
    }
}

fn of_everything() -> Usage {
    let mut usage = Usage::tokens(1_000, 0);
    usage.input_split = Some(InputSplit::new(0, 0, 1_000));
    usage.input_images = 1;
    usage.output_images = 1;
    usage.input_seconds = Decimal::ONE;
    usage.output_seconds = Decimal::ONE;
    usage.characters = 1;
    usage.voices = 1;
    usage.calls = 1;
    usage
}

#[test]
fn every_tier_of_every_line_is_priced_or_refused_with_a_reason() {
    let (mut priced, mut refused) = (0, BTreeMap::<String, usize>::new());
    for line in lines().iter().filter(|line| !line.secondary) {
        for tier in &line.tiers {
            let mut usage = of_everything();
            if !tier.items.contains_key("input_audio") {
                usage.input_split = None;
            }
            let mut request = line.request(usage);
            let context = &mut request.context;
            context.resolution = tier.word("resolution").or(Some("480P".to_owned()));
            context.audio = tier.word("audio").map(|word| word == "true");
            context.reference_video = tier.word("reference_video").map(|word| word == "true");
            context.service_mode = tier.word("service_mode");
            context.task = tier.word("task");
            context.spec = tier.word("spec");
            context.aspect = Some("1:1".to_owned());
            context.prompt_extend = Some(true);
            context.volume = Some(1);
            match book().cost(&request) {
                Ok(cost) => {
                    total(&cost);
                    assert_eq!(cost.entry, line.id());
                    assert_eq!(cost.currency, line.currency);
                    assert!(!cost.lines.is_empty(), "{cost:?}");
                    let free = cost
                        .notes
                        .iter()
                        .any(|note| matches!(note, Note::Listed(text) if text.contains("free")));
                    assert!(!cost.total.is_zero() || free, "{cost:?}");
                    priced += 1;
                }
                Err(PriceError::Unpriced { reason, .. }) => {
                    let known = tier.items.is_empty() || tier.items.contains_key("price");
                    assert!(known, "{}: {reason}", line.id());
                    *refused.entry(reason.to_string()).or_default() += 1;
                }
                Err(other) => panic!("{}: {other}", line.id()),
            }
        }
    }
    assert!(priced > 1_500, "{priced}");
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!(refused.values().sum::<usize>(), 16, "{refused:?}");
}

#[test]
fn at_every_tier_edge_the_price_is_the_tier_s_before_and_the_next_after() {
    let mut edges = 0;
    for line in lines().iter().filter(|line| !line.secondary) {
        for (place, tier) in line.tiers.iter().enumerate() {
            let Some(end) = tier.word("input_tokens_lte") else {
                continue;
            };
            let end: u64 = end.parse().unwrap();
            let after = line.tiers.get(place + 1).unwrap_or(tier);
            for (input, tier) in [(end - 1, tier), (end, tier), (end + 1, after)] {
                let cost = book().cost(&line.request(Usage::tokens(input, 1))).unwrap();
                let figure = |key: &str| tier.items.get(key).map(|raw| decimal(raw.get()));
                assert_eq!(
                    Some(cost.lines[0].unit_price),
                    figure("input"),
                    "{}",
                    line.id()
                );
                let output = figure("output").or(figure("output_non_thinking"));
                let output = output.or(figure("output_thinking"));
                assert_eq!(Some(cost.lines[1].unit_price), output, "{}", line.id());
                let beyond = cost.notes.contains(&Note::BeyondLastTier);
                assert_eq!(beyond, place + 1 == line.tiers.len() && input > end);
                edges += 1;
            }
        }
    }
    assert!(edges > 1_500, "{edges}");
}

#[test]
fn a_third_party_s_duplicate_is_never_billed() {
    let lines = lines();
    let mut seen = 0;
    for line in lines.iter().filter(|line| line.secondary) {
        let listed = lines
            .iter()
            .any(|other| !other.secondary && other.id() == line.id());
        assert_eq!(
            book().entries().any(|entry| entry.id() == line.id()),
            listed
        );
        let options = Options::new().currency(line.currency);
        let request = line.request(Usage::tokens(1_000, 0)).options(options);
        match book().cost(&request) {
            Ok(cost) => assert!(listed || cost.entry != line.id(), "{cost:?}"),
            Err(PriceError::Unpriced { reason, .. }) => {
                let known = [Unpriced::Model, Unpriced::Currency(line.currency)];
                let known =
                    known.contains(&reason) || matches!(reason, Unpriced::Region | Unpriced::Scope);
                assert!(known, "{}: {reason}", line.id());
            }
            Err(other) => panic!("{}: {other}", line.id()),
        }
        seen += 1;
    }
    assert_eq!(seen, 41);
    assert_eq!(book().entries().count(), lines.len() - seen);
}
