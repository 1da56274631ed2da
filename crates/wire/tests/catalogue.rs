//! What holds for every model of the catalogue, and facts of models that people use most.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare itself fails"
)]

use std::collections::HashSet;

use bailian_wire::catalog::{Catalog, Model, Status, Thinking};
use serde_json::Value;

fn model(id: &str) -> &'static Model {
    Catalog::embedded().model(id).unwrap()
}

fn rows() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../data/models.json")).unwrap();
    file["entries"].as_array().unwrap().clone()
}

#[test]
fn every_row_of_the_file_is_a_model_with_the_same_facts() {
    let rows = rows();
    assert_eq!(Catalog::embedded().models().count(), rows.len());
    for (model, row) in Catalog::embedded().models().zip(&rows) {
        let id = &model.id;
        assert_eq!(row["id"], id.as_str());
        for (name, value) in [
            ("context_window", model.context_window),
            ("max_input", model.max_input),
            ("max_input_thinking", model.max_input_thinking),
            ("max_output", model.max_output),
            ("max_output_thinking", model.max_output_thinking),
            ("max_thinking", model.max_thinking),
        ] {
            assert_eq!(row[name].as_u64(), value, "{id}: {name}");
        }
        let features = &row["features"];
        for (name, value) in [
            ("tools", model.features.tools),
            ("json_object", model.features.json_object),
            ("json_schema", model.features.json_schema),
            ("search", model.features.search),
            ("stream_only", model.features.stream_only),
            ("thinking_stream_only", model.features.thinking_stream_only),
            ("partial", model.features.partial),
        ] {
            assert_eq!(features[name].as_bool(), value, "{id}: {name}");
        }
        assert_ne!(model.status, Status::Unknown, "{id}");
        let knows_thinking = row["thinking"].is_string();
        assert_eq!(model.thinking != Thinking::Unknown, knows_thinking, "{id}");
        assert_eq!(model.is_retired(), row["status"] == "retired", "{id}");
    }
}

#[test]
fn ids_are_unique_and_every_alias_finds_a_model() {
    let catalog = Catalog::embedded();
    let mut seen = HashSet::new();
    for model in catalog.models() {
        assert!(seen.insert(&model.id), "{} stands twice", model.id);
        let shouted = model.id.to_ascii_uppercase();
        assert!(catalog.model(&shouted).is_some(), "{shouted}");
        for alias in &model.aliases {
            assert!(catalog.model(alias).is_some(), "{alias} of {}", model.id);
        }
    }
}

#[test]
fn lengths_fit_into_one_another() {
    for model in Catalog::embedded().models() {
        let id = &model.id;
        for part in [model.max_input, model.max_input_thinking] {
            if let (Some(part), Some(whole)) = (part, model.context_window) {
                assert!(part > 0 && part <= whole, "{id}: {part} of {whole}");
            }
        }
        assert_ne!(model.max_output, Some(0), "{id}");
        if model.thinking == Thinking::None {
            assert!(!model.thinks_by_default(), "{id}");
        }
    }
}

#[test]
fn the_native_path_follows_the_models_own_modality() {
    for id in [
        "qwen-max",
        "qwen-plus",
        "qwen-flash",
        "qwen-turbo",
        "qwen-long",
        "qwen3-max",
        "qwen3.6-max-preview",
        "qwen3.7-max",
        "qwen3-32b",
        "qwen3-coder-plus",
        "qwq-plus",
        "qwen-mt-plus",
        "qwen-doc-turbo",
        "qwen-deep-research",
        "deepseek-v3.2",
        "glm-5",
        "MiniMax-M2.5",
    ] {
        assert!(!model(id).uses_multimodal_path(), "{id}");
        assert!(model(id).serves_chat(), "{id}");
    }
    for id in [
        "qwen-vl-max",
        "qwen3-vl-plus",
        "qvq-max",
        "qwen3.5-plus",
        "qwen3.5-flash",
        "qwen3.6-plus",
        "qwen3.7-plus",
        "qwen3.6-27b",
        "kimi-k2.5",
        "qwen-vl-ocr",
        "qwen3-asr-flash",
    ] {
        assert!(model(id).uses_multimodal_path(), "{id}");
        assert!(model(id).serves_chat(), "{id}");
    }
}

#[test]
fn a_picture_or_a_vector_is_no_chat() {
    for id in [
        "text-embedding-v4",
        "qwen-image-plus",
        "wan2.6-t2i",
        "cosyvoice-v3-plus",
    ] {
        assert!(!model(id).serves_chat(), "{id}");
    }
}

#[test]
fn thinking_is_known_of_the_models_that_people_use_most() {
    for (id, thinking, by_default) in [
        ("qwen-max", Thinking::None, false),
        ("qwen-plus", Thinking::Hybrid, false),
        ("qwen-flash", Thinking::Hybrid, false),
        ("qwen3.5-plus", Thinking::Hybrid, true),
        ("qwen3-32b", Thinking::Hybrid, true),
        ("qwq-plus", Thinking::Only, true),
        ("qvq-max", Thinking::Only, true),
        ("qwen3-235b-a22b-thinking-2507", Thinking::Only, true),
        ("qwen3-235b-a22b-instruct-2507", Thinking::None, false),
        ("qwen3-coder-plus", Thinking::None, false),
    ] {
        let model = model(id);
        assert_eq!(
            (model.thinking, model.thinks_by_default()),
            (thinking, by_default),
            "{id}"
        );
    }
}

#[test]
fn models_that_only_stream_are_known() {
    for id in ["qwq-plus", "qvq-max", "qwen3-omni-flash"] {
        assert!(model(id).is_stream_only(), "{id}");
    }
    for id in ["qwen-plus", "qwen-max", "qwen3.5-plus"] {
        assert!(!model(id).is_stream_only(), "{id}");
    }
}
