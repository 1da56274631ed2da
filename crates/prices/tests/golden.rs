//! Examples worked by hand, and those of the price pages.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests: a price that is missing is a failure"
)]

mod support;

use bailian_prices::{
    Context, Currency, Decimal, InputSplit, LineKind, Note, Options, PriceBook, PriceError,
    Unpriced, Usage,
};
use support::{SINGAPORE, beijing, book, day, decimal, has, request, total};

#[test]
fn qwen_plus_is_priced_by_mode_and_length() {
    // 128K 以内: 输入 0.8 元, 输出 2 元, 思考 8 元.
    let short = Usage::tokens(128_000, 10_000);
    let plain = book()
        .cost(&beijing("qwen-plus", short.clone()).thinking(false))
        .unwrap();
    assert_eq!(total(&plain), "0.1224"); // 0.1024 + 0.02
    let thought = book()
        .cost(&beijing("qwen-plus", short).thinking(true))
        .unwrap();
    assert_eq!(total(&thought), "0.1824"); // 0.1024 + 0.08
    // One token more, and all of it is dearer: 2.4 元, 20 元.
    let long = Usage::tokens(128_001, 10_000);
    let plain = book().cost(&beijing("qwen-plus", long)).unwrap();
    assert_eq!(total(&plain), "0.5072024"); // 0.3072024 + 0.2
    assert_eq!(plain.currency, Currency::Cny);
}

#[test]
fn reasoning_tokens_tell_that_a_request_thought_and_are_part_of_the_output() {
    let mut usage = Usage::tokens(1_000, 900);
    usage.reasoning_tokens = 700;
    let cost = book().cost(&beijing("qwen-plus", usage)).unwrap();
    assert_eq!(total(&cost), "0.008"); // 0.0008 + 900 × 8
    assert_eq!(cost.lines[1].kind, LineKind::OutputThinking);
    assert_eq!(cost.lines[1].quantity, decimal("900"));
}

#[test]
fn the_cache_has_its_own_multipliers() {
    // qwen3-max, 32K 以内: 2.5 元, 10 元.
    let mut usage = Usage::tokens(10_000, 100);
    usage.implicit_cached_tokens = 8_000;
    let cost = book().cost(&beijing("qwen3-max", usage)).unwrap();
    assert_eq!(total(&cost), "0.01"); // 0.005 + 0.004 + 0.001
    let mut usage = Usage::tokens(10_000, 100);
    usage.explicit_cached_tokens = 6_000;
    usage.cache_creation_tokens = 3_000;
    let cost = book().cost(&beijing("qwen3-max", usage)).unwrap();
    assert_eq!(total(&cost), "0.014375"); // 0.0025 + 0.0015 + 0.009375 + 0.001
    assert!(!has(&cost, &Note::CacheAssumed));
}

#[test]
fn a_family_with_its_own_cache_prices_is_billed_by_them() {
    // qwen3.8-max, 北京: 12 元; 隐式命中 1.5 元, 创建 15 元, 显式命中 1 元 — not 12 × 0.083333.
    let cost = |implicit, explicit, written| {
        let mut usage = Usage::tokens(1_000_000, 0);
        usage.implicit_cached_tokens = implicit;
        usage.explicit_cached_tokens = explicit;
        usage.cache_creation_tokens = written;
        total(&book().cost(&beijing("qwen3.8-max", usage)).unwrap())
    };
    assert_eq!(cost(1_000_000, 0, 0), "1.5");
    assert_eq!(cost(0, 1_000_000, 0), "1");
    assert_eq!(cost(0, 0, 1_000_000), "15");
    let mut usage = Usage::tokens(1_000_000, 0);
    usage.explicit_cached_tokens = 1_000_000;
    let singapore = book()
        .cost(&request("qwen3.8-max", SINGAPORE, usage))
        .unwrap();
    assert_eq!(total(&singapore), "1.274");
}

#[test]
fn an_entry_that_says_nothing_of_the_cache_follows_the_rule_and_says_so() {
    let mut usage = Usage::tokens(10_000, 0);
    usage.explicit_cached_tokens = 10_000;
    let cost = book().cost(&beijing("glm-4.5", usage.clone())).unwrap();
    assert_eq!(total(&cost), "0.003"); // 3 元 × 0.1
    assert!(has(&cost, &Note::CacheAssumed) && cost.is_unverified());
    let cost = book()
        .cost(&beijing("deepseek-v4-pro-0813", usage))
        .unwrap();
    assert!(has(&cost, &Note::CacheUnverified));
    // Of text and pictures, the text is taken to be what was cached.
    let mut usage = Usage::tokens(2_000, 0);
    usage.input_split = Some(InputSplit::new(1_000, 0, 0));
    usage.implicit_cached_tokens = 1_500;
    let cost = book().cost(&beijing("qwen-omni-turbo", usage)).unwrap();
    assert_eq!(total(&cost), "0.00098"); // 1,000 × 0.4 × 0.2 + 500 × 1.5 × 0.2 + 500 × 1.5
    assert!(has(&cost, &Note::CachedMediaAssumed));
}

#[test]
fn cached_tokens_count_for_the_tier() {
    let mut usage = Usage::tokens(32_001, 0);
    usage.implicit_cached_tokens = 32_000;
    let cost = book().cost(&beijing("qwen3-max", usage)).unwrap();
    assert_eq!(total(&cost), "0.025604"); // 1 × 4 + 32,000 × 4 × 0.2
}

#[test]
fn batch_is_half_and_has_no_cache_discount() {
    let mut usage = Usage::tokens(10_000, 1_000);
    usage.implicit_cached_tokens = 8_000;
    let cost = book()
        .cost(&beijing("qwen3-max", usage.clone()).batch(true))
        .unwrap();
    assert_eq!(total(&cost), "0.0175"); // (0.025 + 0.01) / 2
    assert!(has(&cost, &Note::BatchWithoutCache));
    // glm-4.5 is not listed for batch.
    let cost = book().cost(&beijing("glm-4.5", usage).batch(true)).unwrap();
    assert_eq!(total(&cost), "0.044"); // 0.03 + 0.014
    assert!(has(&cost, &Note::BatchWithoutDiscount));
}

#[test]
fn promotions_are_named_and_applied_only_when_asked_for_and_seen() {
    let usage = Usage::tokens(1_000_000, 1_000_000);
    let list = book().cost(&beijing("qwen3.7-max", usage.clone())).unwrap();
    assert_eq!(total(&list), "48");
    let multiplier = decimal("0.5");
    assert!(has(&list, &Note::PromotionNotApplied { multiplier }));
    let asked = beijing("qwen3.7-max", usage).options(Options::new().apply_promo(true));
    let cost = book().cost(&asked).unwrap();
    assert_eq!(total(&cost), "24");
    assert!(has(&cost, &Note::PromotionApplied { multiplier }));
    let mut early = asked;
    early.at = day("2026-08-31");
    assert_eq!(total(&book().cost(&early).unwrap()), "48");
}

#[test]
fn dollars_are_those_of_the_list_never_converted() {
    let usage = Usage::tokens(1_000_000, 1_000_000);
    let dollars = Options::new().currency(Currency::Usd);
    let singapore = request("qwen3.8-max", SINGAPORE, usage.clone());
    let cost = book()
        .cost(&singapore.clone().options(dollars.clone()))
        .unwrap();
    assert_eq!((total(&cost).as_str(), cost.currency), ("8", Currency::Usd));
    assert!(!has(&cost, &Note::DollarsDerived));
    let own = book().cost(&singapore).unwrap();
    assert_eq!(
        (total(&own).as_str(), own.currency),
        ("59.953", Currency::Cny)
    );
    let glm = request("glm-5.2", SINGAPORE, usage.clone()).options(dollars.clone());
    let cost = book().cost(&glm).unwrap();
    assert_eq!(total(&cost), "5.8");
    assert!(has(&cost, &Note::DollarsDerived) && cost.is_unverified());
    let error = book()
        .cost(&beijing("qwen3-max", usage.clone()).options(dollars))
        .unwrap_err();
    let reason = Unpriced::Currency(Currency::Usd);
    assert!(matches!(error, PriceError::Unpriced { reason: found, .. } if found == reason));
    // One model is listed in dollars only.
    let omni = book()
        .cost(&request("qwen3.8-omni-flash", SINGAPORE, usage))
        .unwrap();
    assert_eq!(
        (total(&omni).as_str(), omni.currency),
        ("0.62", Currency::Usd)
    );
    assert!(has(&omni, &Note::Unverified));
}

#[test]
fn off_peak_prices_are_taken_when_asked_for() {
    let usage = Usage::tokens(1_000_000, 1_000_000);
    let busy = book()
        .cost(&beijing("deepseek-v4-pro-0813", usage.clone()))
        .unwrap();
    assert_eq!(total(&busy), "36");
    let night = Options::new().off_peak(true);
    let quiet = beijing("deepseek-v4-pro-0813", usage.clone()).options(night.clone());
    let quiet = book().cost(&quiet).unwrap();
    assert_eq!(total(&quiet), "18");
    assert!(has(&quiet, &Note::OffPeak));
    let none = book()
        .cost(&beijing("qwen3-max", Usage::tokens(1, 1)).options(night))
        .unwrap();
    assert!(has(&none, &Note::OffPeakNotListed));
}

#[test]
fn an_omni_model_is_priced_by_what_went_in_and_came_out() {
    // The official page's own example: 1,000 of text and of picture in, 1,000 of text and of sound
    // out are 0.0004 + 0.0015 + 0.05 元; "输出的文本不计费".
    let mut usage = Usage::tokens(2_000, 2_000);
    usage.input_split = Some(InputSplit::new(1_000, 0, 0));
    usage.output_audio_tokens = Some(1_000);
    let cost = book()
        .cost(&beijing("qwen-omni-turbo", usage.clone()))
        .unwrap();
    assert_eq!(total(&cost), "0.0519");
    assert!(has(&cost, &Note::TextBesideAudioFree));
    // And without sound: 0.0004 + 0.0015 + 0.0045 元.
    usage.output_tokens = 1_000;
    usage.output_audio_tokens = Some(0);
    let cost = book()
        .cost(&beijing("qwen-omni-turbo", usage.clone()))
        .unwrap();
    assert_eq!(total(&cost), "0.0064");
    // Text only in: the answer is cheaper.
    usage.input_split = Some(InputSplit::text());
    let cost = book()
        .cost(&beijing("qwen-omni-turbo", usage.clone()))
        .unwrap();
    assert_eq!(total(&cost), "0.0024"); // 2,000 × 0.4 + 1,000 × 1.6
    usage.input_split = None;
    let cost = book().cost(&beijing("qwen-omni-turbo", usage)).unwrap();
    assert!(has(&cost, &Note::TextAssumed));
}

#[test]
fn pictures_sound_speech_and_video_have_their_units() {
    let mut usage = Usage::new();
    (usage.input_images, usage.output_images) = (2, 4);
    let mut large = Context::new();
    large.resolution = Some("2k".to_owned());
    let picture = beijing("qwen-image-3.0-pro", usage).context(large);
    assert_eq!(total(&book().cost(&picture).unwrap()), "2.04"); // 2 × 0.02 + 4 × 0.5

    let mut usage = Usage::new();
    usage.characters = 1_234;
    let speech = book()
        .cost(&beijing("cosyvoice-v3-plus", usage.clone()))
        .unwrap();
    assert_eq!(total(&speech), "0.2468");
    usage.first_used_voices = 1;
    let cloned = book()
        .cost(&beijing("MiniMax/speech-2.8-hd", usage))
        .unwrap();
    assert_eq!(total(&cloned), "10.3319"); // 1,234 × 3.5 / 10,000 + 9.9

    let mut usage = Usage::new();
    usage.input_seconds = decimal("61.5");
    let heard = book().cost(&beijing("paraformer-v2", usage)).unwrap();
    assert_eq!(total(&heard), "0.00492");

    let mut usage = Usage::new();
    usage.output_seconds = decimal("5");
    let mut context = Context::new();
    context.resolution = Some("1080P".to_owned());
    let film = beijing("wan2.7-t2v", usage.clone()).context(context.clone());
    assert_eq!(total(&book().cost(&film).unwrap()), "5");
    context.resolution = Some("720P".to_owned());
    let speaking = beijing("wan2.2-s2v", usage).context(context);
    assert_eq!(total(&book().cost(&speaking).unwrap()), "4.5");

    let mut usage = Usage::new();
    usage.output_images = 1;
    let mut context = Context::new();
    context.prompt_extend = Some(true);
    let drawn = beijing("z-image-turbo", usage).context(context);
    assert_eq!(total(&book().cost(&drawn).unwrap()), "0.2");
}

#[test]
fn what_the_price_depends_on_must_be_said_and_listed() {
    let mut usage = Usage::new();
    usage.output_seconds = decimal("5");
    let film = beijing("wan2.7-t2v", usage);
    let error = book().cost(&film).unwrap_err();
    assert!(matches!(error, PriceError::MissingContext { keys, .. } if keys == ["resolution"]));
    let mut tiny = Context::new();
    tiny.resolution = Some("144P".to_owned());
    let error = book().cost(&film.context(tiny)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "wan2.7-t2v@cn-beijing/china-mainland/CNY has no price for resolution 144P"
    );
}

#[test]
fn tools_are_charged_apart_and_in_their_currency_only() {
    let mut usage = Usage::tokens(1_000, 0);
    usage.tool_calls.insert("web_search".to_owned(), 3);
    usage.tool_calls.insert("pdf_parse".to_owned(), 7);
    usage.tool_calls.insert("code_interpreter".to_owned(), 2);
    let cost = book()
        .cost(&beijing("qwen3-max", usage.clone()).batch(true))
        .unwrap();
    assert_eq!(total(&cost), "0.15325"); // 0.00125 + 0.012 + 0.14
    assert!(has(
        &cost,
        &Note::ToolUnverified {
            tool: "web_search".to_owned()
        }
    ));
    let dollars = Options::new().currency(Currency::Usd);
    let abroad = request("qwen3-max", SINGAPORE, usage.clone()).options(dollars);
    assert!(matches!(
        book().cost(&abroad),
        Err(PriceError::ToolCurrency { .. })
    ));
    usage.tool_calls.insert("占卜".to_owned(), 1);
    let error = book().cost(&beijing("qwen3-max", usage)).unwrap_err();
    assert_eq!(error.to_string(), "the tool `占卜` has no price");
}

#[test]
fn what_has_no_price_is_refused_with_the_reason() {
    let usage = Usage::tokens(10, 10);
    let reason = |model: &str, region: &str, scope: Option<&str>| {
        let mut request = request(model, region, usage.clone());
        request.scope = scope.map(str::to_owned);
        match book().cost(&request) {
            Err(PriceError::Unpriced { reason, .. }) => reason,
            other => panic!("{model}: {other:?}"),
        }
    };
    assert_eq!(reason("不存在的模型", "cn-beijing", None), Unpriced::Model);
    assert_eq!(reason("qwen3-max", "cn-mars", None), Unpriced::Region);
    assert_eq!(
        reason("qwen3-max", "cn-beijing", Some("global")),
        Unpriced::Scope
    );
    let trial = "free trial quota only; not callable afterwards".to_owned();
    assert_eq!(
        reason("qwen-audio-turbo", "cn-beijing", None),
        Unpriced::NotSold(trial)
    );
    assert!(matches!(
        reason("qwen-mt-uni", "cn-beijing", None),
        Unpriced::Unclear(_)
    ));
    // A usage that counts nothing of the unit is no free request.
    let error = book()
        .cost(&beijing("paraformer-v2", usage.clone()))
        .unwrap_err();
    assert!(matches!(error, PriceError::NoQuantity { .. }));
    let error = book()
        .cost(&beijing("qwen3-max", Usage::new()))
        .unwrap_err();
    assert!(matches!(error, PriceError::NoQuantity { .. }));
    // An embedding model does not write.
    let error = book()
        .cost(&beijing("text-embedding-v4", usage.clone()))
        .unwrap_err();
    assert!(matches!(error, PriceError::NoItem { item: "output", .. }));
    let mut contradiction = usage;
    contradiction.implicit_cached_tokens = 11;
    let error = book()
        .cost(&beijing("qwen3-max", contradiction))
        .unwrap_err();
    assert!(matches!(error, PriceError::Inconsistent { .. }));
}

#[test]
fn a_free_model_is_free_by_the_list_and_says_so() {
    let cost = book()
        .cost(&beijing(
            "deepseek-r1-distill-llama-8b",
            Usage::tokens(10, 10),
        ))
        .unwrap();
    assert_eq!(total(&cost), "0");
    assert!(has(
        &cost,
        &Note::Listed("free for a limited time".to_owned())
    ));
    assert_eq!(cost.lines.len(), 2);
}

#[test]
fn other_ids_are_priced_as_the_data_or_the_caller_says() {
    let usage = Usage::tokens(1_000_000, 0);
    let as_model = |model: &str| Note::PricedAs {
        model: model.to_owned(),
    };
    // The stable id equals that snapshot, and the snapshot has no price there.
    let snapshot = request("qwen3-max-2026-01-23", "us-east-1", usage.clone());
    let cost = book().cost(&snapshot).unwrap();
    assert_eq!(cost.entry, "qwen3-max@us-east-1/global/CNY");
    assert!(has(&cost, &as_model("qwen3-max")));
    // Where it has one, it is its own.
    let cost = book()
        .cost(&beijing("qwen3-max-2026-01-23", Usage::tokens(1, 1)))
        .unwrap();
    assert_eq!(
        cost.entry,
        "qwen3-max-2026-01-23@cn-beijing/china-mainland/CNY"
    );
    let mut speech = Usage::new();
    speech.characters = 10_000;
    let cost = book().cost(&beijing("sambert-zhichu-v1", speech)).unwrap();
    assert_eq!(total(&cost), "1");
    assert!(has(&cost, &as_model("sambert-*")));
    // Another name is the caller's business.
    let name = beijing("我们的模型", usage);
    assert!(book().cost(&name).is_err());
    let aliased = book().with_aliases([("我们的模型".to_owned(), "qwen-flash".to_owned())]);
    let cost = aliased.cost(&name).unwrap();
    assert_eq!(total(&cost), "1.2");
    assert!(has(&cost, &as_model("qwen-flash")));
    assert_ne!(aliased.version(), book().version());
}

#[test]
fn a_region_with_several_scopes_says_which_was_assumed() {
    let usage = Usage::tokens(1_000_000, 0);
    let frankfurt = request("qwen-plus", "eu-central-1", Usage::tokens(1_000, 1_000));
    let cost = book().cost(&frankfurt).unwrap();
    assert_eq!(total(&cost), "0.0028");
    let note = Note::ScopeAssumed {
        scope: "global".to_owned(),
        others: vec!["eu".to_owned()],
    };
    assert!(has(&cost, &note));
    let cost = book().cost(&frankfurt.scope("eu")).unwrap();
    assert_eq!(total(&cost), "0.011991");
    assert_eq!(cost.entry, "qwen-plus@eu-central-1/eu/CNY");
    assert!(
        book()
            .cost(&request("qwen-plus", "eu-central-1", usage))
            .is_ok()
    );
}

#[test]
fn a_request_without_input_is_a_short_one() {
    let cost = book()
        .cost(&beijing("qwen3-max", Usage::tokens(0, 1_000)))
        .unwrap();
    assert_eq!(total(&cost), "0.01");
    assert_eq!(cost.notes, []);
}

#[test]
fn an_input_beyond_the_last_tier_is_billed_at_the_last() {
    let cost = book()
        .cost(&beijing("glm-4.5", Usage::tokens(96_001, 0)))
        .unwrap();
    assert_eq!(total(&cost), "0.384004");
    assert!(has(&cost, &Note::BeyondLastTier));
}

#[test]
fn the_version_names_the_date_and_the_content() {
    let version = book().version();
    assert!(
        version.starts_with("2026-11-23+") && version.len() == 19,
        "{version}"
    );
    let again = PriceBook::parse(include_str!("../data/prices.json")).unwrap();
    assert_eq!(again.version(), version);
    let changed = include_str!("../data/prices.json").replacen("0.8", "0.7", 1);
    assert_ne!(PriceBook::parse(&changed).unwrap().version(), version);
    let cost = book()
        .cost(&beijing("qwen3-max", Usage::tokens(1, 1)))
        .unwrap();
    assert_eq!(cost.version, version);
}

#[test]
fn the_largest_counts_are_exact_or_refused() {
    let largest = beijing("qwen3-max", Usage::tokens(u64::MAX, u64::MAX));
    let cost = book().cost(&largest).unwrap();
    // (2^64 - 1) × (7 + 28) by the million
    assert_eq!(cost.total.to_string(), "645636042579834.306525");
    assert!(book().estimate(&largest).is_ok());
    let mut parts = Usage::tokens(u64::MAX, 0);
    parts.implicit_cached_tokens = u64::MAX;
    parts.explicit_cached_tokens = u64::MAX;
    let error = book().cost(&beijing("qwen3-max", parts)).unwrap_err();
    assert!(matches!(error, PriceError::Inconsistent { .. }));
    let mut endless = Usage::new();
    endless.output_seconds = Decimal::MAX - Decimal::ONE;
    let mut context = Context::new();
    context.resolution = Some("720P".to_owned());
    let film = beijing("wan2.7-t2v", endless).context(context);
    assert!(matches!(
        book().cost(&film),
        Err(PriceError::TooLarge { .. })
    ));
}
