//! Vectors of texts, pictures and videos (embeddings-rerank.md §3).

use serde_json::{Map, Value, json};

use super::{Answered, unknown_model};
use crate::checks::model_name;
use crate::rejection::Rejection;
use crate::similarity::embed;
use crate::tokens;

/// How many contents there can be.
const MOST: usize = 20;
/// What a picture costs, by `res_level`.
const LEVELS: [u64; 4] = [127, 402, 578, 1026];
/// What a content can be.
const KINDS: [&str; 4] = ["text", "image", "video", "multi_images"];

/// How a model makes vectors.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// The default first.
    dimensions: &'static [u64],
    fusion: Fusion,
}

/// When one vector stands for several contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fusion {
    Never,
    /// When `enable_fusion` says so; the vectors are called `vl` otherwise.
    Asked,
    Always,
    /// When they stand in one content.
    Together,
}

fn habit(model: &str) -> Option<Habit> {
    let (dimensions, fusion): (&[u64], Fusion) = match model {
        "qwen3-vl-embedding" => (&[2560, 2048, 1536, 1024, 768, 512, 256], Fusion::Asked),
        "qwen2.5-vl-embedding" => (&[1024, 2048, 768, 512], Fusion::Always),
        "tongyi-embedding-vision-plus-2026-03-06" => {
            (&[1152, 1024, 512, 256, 128, 64], Fusion::Together)
        }
        "tongyi-embedding-vision-flash-2026-03-06" => (&[768, 512, 256, 128, 64], Fusion::Together),
        "tongyi-embedding-vision-plus" => (&[1152], Fusion::Never),
        "tongyi-embedding-vision-flash" => (&[768], Fusion::Never),
        "multimodal-embedding-v1" => (&[1024], Fusion::Never),
        _ => return None,
    };
    Some(Habit { dimensions, fusion })
}

/// One part of a content.
struct Piece {
    kind: &'static str,
    what: String,
    /// How many pictures it counts as.
    pictures: u64,
}

fn pieces(content: &Value) -> Result<Vec<Piece>, Rejection> {
    let wrong = || Rejection::parameter("contents is invalid.");
    let members: &Map<String, Value> = match content {
        Value::String(text) => {
            return Ok(vec![Piece {
                kind: "text",
                what: text.clone(),
                pictures: 0,
            }]);
        }
        Value::Object(members) => members,
        _ => return Err(wrong()),
    };
    let found: Vec<Piece> = KINDS
        .iter()
        .filter_map(|kind| {
            let value = members.get(*kind)?;
            let text = value.as_str().map(str::to_owned);
            let pictures = match *kind {
                "text" => 0,
                "multi_images" => value.as_array().map_or(1, Vec::len) as u64,
                _ => 1,
            };
            Some(Piece {
                kind,
                what: text.unwrap_or_else(|| value.to_string()),
                pictures,
            })
        })
        .collect();
    if found.is_empty() {
        return Err(wrong());
    }
    Ok(found)
}

/// The vectors of `input.contents`.
pub(super) fn embeddings(body: &Value, request_id: &str) -> Answered {
    let model = model_name(body).unwrap_or_default();
    let habit = habit(model).ok_or_else(|| unknown_model(model))?;
    let parameters = &body["parameters"];
    let dimensions = match &parameters["dimension"] {
        Value::Null => habit.dimensions[0],
        asked => asked
            .as_u64()
            .filter(|asked| habit.dimensions.contains(asked))
            .ok_or_else(|| {
                Rejection::parameter(format!(
                    "Value error, dimension is invalid, it should be in {:?}.: \
                     parameters.dimension",
                    habit.dimensions
                ))
            })?,
    };
    let dimensions = usize::try_from(dimensions).unwrap_or(1024);
    let contents = body.pointer("/input/contents").and_then(Value::as_array);
    let contents = contents.filter(|contents| !contents.is_empty());
    let contents = contents.ok_or_else(|| Rejection::parameter("[] is too short"))?;
    if contents.len() > MOST {
        return Err(Rejection::parameter(format!(
            "Value error, batch size is invalid, it should not be larger than {MOST}."
        )));
    }
    let level = parameters["res_level"].as_u64().unwrap_or(1);
    let each = usize::try_from(level)
        .ok()
        .and_then(|level| LEVELS.get(level))
        .ok_or_else(|| Rejection::parameter("res_level should be in [0, 3]"))?;
    let read: Vec<Vec<Piece>> = contents.iter().map(pieces).collect::<Result<_, _>>()?;
    let all = || read.iter().flatten();
    let texts = all().filter(|piece| piece.kind == "text");
    let text_tokens: u64 = texts.map(|piece| tokens::count(&piece.what)).sum();
    let image_tokens = all().map(|piece| piece.pictures).sum::<u64>() * each;
    let embeddings = vectors(habit, &read, parameters, dimensions);
    // What stands around each content counts as input, pictures only in the sum of all (§3.3).
    let input = text_tokens + contents.len() as u64;
    let total = input + image_tokens;
    let answer = json!({
        "usage": {
            "input_tokens": input,
            "input_tokens_details": { "image_tokens": image_tokens, "text_tokens": text_tokens },
            "output_tokens": embeddings.len(),
            "total_tokens": total,
        },
        "output": { "embeddings": embeddings },
        "request_id": request_id,
    });
    Ok((answer, total))
}

fn vectors(habit: Habit, read: &[Vec<Piece>], parameters: &Value, dimensions: usize) -> Vec<Value> {
    let joined = |pieces: &mut dyn Iterator<Item = &Piece>| -> String {
        pieces.map(|piece| piece.what.as_str()).collect()
    };
    let entry = |index: usize, kind: &str, what: &str| json!({ "index": index, "embedding": embed(what, dimensions), "type": kind });
    let asked = parameters["enable_fusion"] == true;
    let is_one = habit.fusion == Fusion::Always || (habit.fusion == Fusion::Asked && asked);
    if is_one {
        return vec![entry(0, "fusion", &joined(&mut read.iter().flatten()))];
    }
    read.iter()
        .enumerate()
        .map(|(index, pieces)| match (habit.fusion, pieces.as_slice()) {
            (Fusion::Together, [_, _, ..]) => entry(index, "fused", &joined(&mut pieces.iter())),
            (Fusion::Asked, _) => entry(index, "vl", &joined(&mut pieces.iter())),
            (_, pieces) => entry(index, pieces[0].kind, &pieces[0].what),
        })
        .collect()
}
