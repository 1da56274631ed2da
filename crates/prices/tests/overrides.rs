//! The operator's own prices, and what was true when.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests: an override that is not read is a failure"
)]

mod support;

use bailian_prices::{
    Context, Currency, Note, Options, OverrideError, OverrideTier, PriceBook, PriceError,
    PriceOverride, Unit, Unpriced, Usage,
};
use serde::Deserialize;
use support::{SINGAPORE, beijing, book, day, decimal, has, request, total};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    prices: Vec<PriceOverride>,
}

fn read(text: &str) -> Vec<PriceOverride> {
    toml::from_str::<File>(text).unwrap().prices
}

fn with(text: &str) -> PriceBook {
    book().with_overrides(read(text)).unwrap()
}

const CONTRACT: &str = r#"
[[prices]]
model = "qwen-plus"
currency = "CNY"
effective_from = 2026-10-01
effective_to = "2027-01-01"
unit = "per_1m_tokens"
tiers = [
    { when = { input_tokens_gt = 0, input_tokens_lte = 128000 }, items = { input = "0.6", output = "1.75" } },
    { when = { input_tokens_gt = 128000, input_tokens_lte = 1000000 }, items = { input = 2, output = 8 } },
]
note = "合同 2026-17"

[[prices]]
model = "qwen-plus"
region = "cn-beijing"
currency = "CNY"
effective_from = 2026-12-01T12:00:00+08:00
multiplier = "0.85"
"#;

#[test]
fn the_price_is_that_of_the_request_s_own_time() {
    let book = with(CONTRACT);
    let at = |text: &str| {
        let mut request = beijing("qwen-plus", Usage::tokens(100_000, 10_000));
        request.at = day(text);
        book.cost(&request).unwrap()
    };
    assert_eq!(total(&at("2026-09-30T23:59:59+08:00")), "0.1"); // the list: 0.08 + 0.02
    let contract = at("2026-10-01");
    assert_eq!(total(&contract), "0.0775"); // 0.06 + 0.0175
    assert_eq!(contract.entry, "qwen-plus@*/CNY from 2026-10-01");
    let note = Note::Override {
        from: "2026-10-01".parse().unwrap(),
        note: Some("合同 2026-17".to_owned()),
    };
    assert!(has(&contract, &note));
    assert_eq!(total(&at("2026-12-01T11:59:59+08:00")), "0.0775");
    // The narrower goes first: a discount over the list in Beijing.
    let discount = at("2026-12-01T12:00:00+08:00");
    assert_eq!(total(&discount), "0.085");
    assert!(
        discount
            .entry
            .ends_with("over qwen-plus@cn-beijing/china-mainland/CNY")
    );
    assert_eq!(total(&at("2027-06-01")), "0.085");
    // Elsewhere the contract ends, and the list is true again.
    let mut abroad = request("qwen-plus", SINGAPORE, Usage::tokens(1_000_000, 0));
    abroad.at = day("2026-12-31");
    assert_eq!(total(&book.cost(&abroad).unwrap()), "2");
    abroad.at = day("2027-01-01");
    assert_eq!(total(&book.cost(&abroad).unwrap()), "8.807");
}

#[test]
fn what_an_override_leaves_out_stays_as_listed() {
    let book = with(CONTRACT);
    let mut usage = Usage::tokens(100_000, 0);
    usage.implicit_cached_tokens = 100_000;
    let cost = book.cost(&beijing("qwen-plus", usage.clone())).unwrap();
    assert_eq!(total(&cost), "0.012"); // the listed multiplier over the contract's price
    assert!(!has(&cost, &Note::CacheAssumed));
    let cost = book
        .cost(&beijing("qwen-plus", usage.clone()).batch(true))
        .unwrap();
    assert_eq!(total(&cost), "0.03");
    let own = with(
        r#"
        [[prices]]
        model = "qwen-plus"
        currency = "CNY"
        effective_from = 2026-01-01
        batch_multiplier = "0.4"
        cache = { implicit_hit_price = "0.05" }
        "#,
    );
    assert_eq!(
        total(&own.cost(&beijing("qwen-plus", usage.clone())).unwrap()),
        "0.005"
    );
    let batch = own.cost(&beijing("qwen-plus", usage).batch(true)).unwrap();
    assert_eq!(total(&batch), "0.032");
    // The listed cache prices belong to the listed price of input; multipliers remain.
    let cheap = with(
        r#"
        [[prices]]
        model = "qwen3.8-max"
        currency = "CNY"
        effective_from = 2026-01-01
        unit = "per_1m_tokens"
        tiers = [{ items = { input = 8, output = 24 } }]
        "#,
    );
    let mut usage = Usage::tokens(1_000_000, 0);
    usage.explicit_cached_tokens = 1_000_000;
    let cost = cheap.cost(&beijing("qwen3.8-max", usage)).unwrap();
    assert_eq!(total(&cost), "0.666664"); // 8 × 0.083333; 1 元 is for an input of 12
    // Nor do listed promotions apply to an own price; to a discount over the list they do.
    let own = |terms: &str| {
        let head = "[[prices]]\nmodel = \"qwen3.7-max\"\ncurrency = \"CNY\"\neffective_from = 2026-01-01\n";
        let request = beijing("qwen3.7-max", Usage::tokens(1_000_000, 0));
        let request = request.options(Options::new().apply_promo(true));
        total(&with(&format!("{head}{terms}")).cost(&request).unwrap())
    };
    let price = "unit = \"per_1m_tokens\"\ntiers = [{ items = { input = 10, output = 30 } }]";
    assert_eq!(own(price), "10");
    assert_eq!(own("multiplier = \"0.9\""), "5.4"); // 12 × 0.5 × 0.9
}

#[test]
fn models_that_no_list_knows_get_a_price() {
    let ours = with(
        r#"
        [[prices]]
        model = "我们的微调模型"
        region = "cn-beijing"
        currency = "CNY"
        effective_from = 2026-01-01
        unit = "per_1m_tokens"
        tiers = [{ items = { input = "1.5", output_thinking = 9, output_non_thinking = 3 } }]

        [[prices]]
        model = "我们的画师"
        currency = "USD"
        effective_from = 2026-01-01
        unit = "per_image"
        tiers = [
            { when = { resolution = "1K" }, items = { output = "0.01" } },
            { when = { resolution = "2K" }, items = { output = "0.02" } },
        ]
        "#,
    );
    let usage = Usage::tokens(1_000_000, 1_000_000);
    let cost = ours
        .cost(&beijing("我们的微调模型", usage.clone()).thinking(true))
        .unwrap();
    assert_eq!(total(&cost), "10.5");
    let error = ours
        .cost(&request("我们的微调模型", SINGAPORE, usage))
        .unwrap_err();
    assert!(matches!(
        error,
        PriceError::Unpriced {
            reason: Unpriced::Model,
            ..
        }
    ));
    let mut usage = Usage::new();
    usage.output_images = 3;
    let mut context = Context::new();
    context.resolution = Some("2K".to_owned());
    let cost = ours
        .cost(&request("我们的画师", SINGAPORE, usage).context(context))
        .unwrap();
    assert_eq!(
        (total(&cost).as_str(), cost.currency),
        ("0.06", Currency::Usd)
    );
}

#[test]
fn a_discount_multiplies_in_the_currency_it_is_stated_in_only() {
    let book = with(
        r#"
        [[prices]]
        model = "qwen3.8-max"
        currency = "USD"
        effective_from = 2026-01-01
        multiplier = "0.9"
        "#,
    );
    let usage = Usage::tokens(1_000_000, 0);
    let dollars = book
        .cost(&request("qwen3.8-max", SINGAPORE, usage.clone()))
        .unwrap();
    assert_eq!(
        (total(&dollars).as_str(), dollars.currency),
        ("1.8", Currency::Usd)
    );
    let renminbi = Options::new().currency(Currency::Cny);
    let cost = request("qwen3.8-max", SINGAPORE, usage.clone()).options(renminbi.clone());
    assert_eq!(total(&book.cost(&cost).unwrap()), "14.988");
    // In Beijing there is no price in dollars to multiply.
    let cost = beijing("qwen3.8-max", usage.clone()).options(renminbi);
    assert_eq!(total(&book.cost(&cost).unwrap()), "12");
    let error = book.cost(&beijing("qwen3.8-max", usage)).unwrap_err();
    let reason = Unpriced::Currency(Currency::Usd);
    assert!(matches!(error, PriceError::Unpriced { reason: found, .. } if found == reason));
}

#[test]
fn an_old_request_is_priced_again_by_another_book() {
    let old = beijing("qwen-plus", Usage::tokens(100_000, 0));
    let before = book().cost(&old).unwrap();
    let book_of_then = with(CONTRACT);
    let after = book_of_then.cost(&old).unwrap();
    assert_eq!(
        (total(&before), total(&after)),
        ("0.08".to_owned(), "0.06".to_owned())
    );
    assert_ne!(before.version, after.version);
    assert!(
        after.version.starts_with(&before.version),
        "{}",
        after.version
    );
    // The same overrides are the same version, whatever their order; none is the list's own.
    let mut reversed = read(CONTRACT);
    reversed.reverse();
    let again = book().with_overrides(reversed).unwrap();
    assert_eq!(again.version(), book_of_then.version());
    let none = book_of_then.with_overrides([]).unwrap();
    assert_eq!(none.version(), book().version());
    assert_eq!(none.cost(&old).unwrap(), before);
}

#[test]
fn a_superseded_price_is_that_of_requests_before_the_change() {
    let mut usage = Usage::new();
    usage.output_seconds = decimal("10");
    let mut context = Context::new();
    context.resolution = Some("480P".to_owned());
    let mut film = beijing("happyhorse-1.1-t2v", usage).context(context);
    assert_eq!(total(&book().cost(&film).unwrap()), "4.5");
    film.at = day("2026-08-31T23:59:59+08:00");
    let error = book().cost(&film).unwrap_err();
    assert!(
        matches!(error, PriceError::NoTier { .. }),
        "480P came with the new price: {error}"
    );
    film.context.resolution = Some("720P".to_owned());
    let cost = book().cost(&film).unwrap();
    assert_eq!(total(&cost), "9");
    let until = "2026-09-01".parse().unwrap();
    assert!(has(&cost, &Note::Superseded { until }));
    film.at = day("2026-01-01");
    let observed = "2026-06-23".parse().unwrap();
    assert!(has(
        &book().cost(&film).unwrap(),
        &Note::BeforeObserved { observed }
    ));
}

#[test]
fn an_override_in_json_reads_as_in_toml_and_comes_back() {
    let prices = read(CONTRACT);
    let json = serde_json::to_string(&prices).unwrap();
    assert!(
        json.contains(r#""input":"0.6""#) && json.contains(r#""2026-10-01""#),
        "{json}"
    );
    assert_eq!(
        serde_json::from_str::<Vec<PriceOverride>>(&json).unwrap(),
        prices
    );
}

#[test]
fn an_override_can_be_built() {
    let from = "2026-01-01".parse().unwrap();
    let mut own = PriceOverride::new("qwen-flash", Currency::Cny, from);
    own.unit = Some(Unit::MillionTokens);
    own.tiers = vec![OverrideTier::new([
        ("input", decimal("0.1")),
        ("output", decimal("1")),
    ])];
    let book = book().with_overrides([own]).unwrap();
    let cost = book
        .cost(&beijing("qwen-flash", Usage::tokens(1_000_000, 0)))
        .unwrap();
    assert_eq!(total(&cost), "0.1");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let document = |text: &str| {
        let document = toml::Deserializer::parse(text).unwrap();
        let error = serde_path_to_error::deserialize::<_, File>(document)
            .err()
            .unwrap();
        let path = error.path().to_string();
        (path, error.into_inner().message().to_owned())
    };
    let head = "[[prices]]\nmodel = \"m\"\ncurrency = \"CNY\"\neffective_from = 2026-01-01\n";
    let (path, message) = document(&format!("{head}multiplyer = \"0.8\""));
    assert_eq!(path, "prices[0].multiplyer");
    assert!(message.contains("unknown field `multiplyer`"), "{message}");
    let (path, message) = document(&format!("{head}multiplier = 0.8"));
    assert_eq!(path, "prices[0].multiplier");
    assert!(message.contains("write 0.8 in quotes"), "{message}");
    let (path, message) = document(&format!(
        "{head}tiers = [{{ items = {{ input = \"八角\" }} }}]"
    ));
    assert_eq!(path, "prices[0].tiers[0].items.input");
    assert!(message.contains("八角"), "{message}");
    let (path, _) = document(&format!(
        "{head}tiers = [{{ when = {{ colour = 1 }}, items = {{}} }}]"
    ));
    assert_eq!(path, "prices[0].tiers[0].when.colour");
    let (path, message) = document(&head.replace("2026-01-01", "\"gestern\""));
    assert_eq!(path, "prices[0].effective_from");
    assert!(message.contains("`gestern`"), "{message}");
}

#[test]
fn an_override_that_makes_no_sense_is_refused() {
    let head = "[[prices]]\nmodel = \"m\"\ncurrency = \"CNY\"\neffective_from = 2026-01-01\n";
    let refused = |rest: &str| -> OverrideError {
        let prices = read(&format!("{head}{rest}"));
        book().with_overrides(prices).err().unwrap()
    };
    let cases = [
        ("", "[0]", "states no price"),
        ("unit = \"per_image\"", "[0].unit", "belongs to tiers"),
        ("multiplier = \"-0.1\"", "[0].multiplier", "negative"),
        (
            "multiplier = 1\neffective_to = 2026-01-01",
            "[0].effective_to",
            "not after",
        ),
        (
            "unit = \"per_image\"\ntiers = [{ items = {} }]",
            "[0].tiers[0].items",
            "is empty",
        ),
        (
            "unit = \"per_image\"\ntiers = [{ items = { outptu = 1 } }]",
            "[0].tiers[0].items",
            "`outptu` is not known",
        ),
        (
            "unit = \"per_1m_tokens\"\ntiers = [{ items = { price = 1 } }]",
            "[0].tiers[0].items.price",
            "not clear",
        ),
        (
            "unit = \"per_1m_tokens\"\ntiers = [{ items = { input = -1 } }]",
            "[0].tiers[0].items.input",
            "negative",
        ),
        (
            "unit = \"per_1m_tokens\"\ntiers = [\
             { when = { input_tokens_lte = 10 }, items = { input = 1 } },\
             { when = { input_tokens_gt = 11 }, items = { input = 1 } }]",
            "[0].tiers[1].when.input_tokens_gt",
            "does not begin",
        ),
    ];
    for (rest, place, problem) in cases {
        let error = refused(rest);
        assert_eq!(error.place, place, "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }
    let twice = format!("{head}multiplier = 1\n{head}multiplier = 2");
    let error = book().with_overrides(read(&twice)).err().unwrap();
    assert_eq!(error.place, "[1].effective_from");
    assert!(error.to_string().contains("`m`"), "{error}");
}
