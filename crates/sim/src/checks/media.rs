//! Parts of messages: what a model takes, and how large it may be (compat.md §2.3, http-native.md
//! §6).

use bailian_wire::Dialect;
use serde_json::Value;

use super::Checked;
use crate::answer::special::{TASKS, has_one_recording};
use crate::call::Call;
use crate::media::{Kind, Part};
use crate::rejection::Rejection;

/// The longest data URL, in bytes.
const LONGEST_DATA_URL: usize = 10_485_760;
/// The shortest side of a picture, in pixels.
const SHORTEST_SIDE: u64 = 10;
/// How much longer one side of a picture may be than the other.
const LARGEST_RATIO: u64 = 200;
/// How many pictures make a video.
const FRAMES: std::ops::RangeInclusive<usize> = 4..=512;

/// What the model itself refuses carries a prefix on the compatible surface (compat.md §7.1).
pub(super) fn by_model(native: impl Into<String>, compat: &str) -> Rejection {
    Rejection::parameter(native).compat_message(format!(
        "<400> InternalError.Algo.InvalidParameter: {compat}"
    ))
}

/// Checks the parts of all messages.
pub(super) fn check(call: &Call, resolves_oss: bool) -> Checked {
    for message in &call.messages {
        for part in message["content"].as_array().into_iter().flatten() {
            match Part::read(part) {
                Some(part) => {
                    check_kind(call, part.kind)?;
                    check_urls(&part, resolves_oss)?;
                    check_size(&part)?;
                }
                None => check_other(call, part)?,
            }
        }
    }
    if call.transcribes() && !has_one_recording(call) {
        return Err(Rejection::parameter("The audio is empty"));
    }
    if call.page_task().is_none_or(|task| TASKS.contains(&task)) {
        return Ok(());
    }
    let names = TASKS.map(|name| format!("'{name}'")).join(", ");
    Err(Rejection::parameter(format!(
        "Input should be {names}: parameters.ocr_options.task"
    )))
}

/// Whether the model reads such parts; where the catalogue does not say, it does.
fn check_kind(call: &Call, kind: Kind) -> Checked {
    let reads = &call.model.modality_in;
    if reads.is_empty() || reads.iter().any(|name| name == kind.name()) {
        return Ok(());
    }
    let is_text_model =
        !call.model.uses_multimodal_path() && reads.iter().all(|name| name == "text");
    if is_text_model {
        return Err(by_model(
            "input content must be a string.",
            "The provided messages input is invalid. The error info is [Unexpected item type in \
             content.]",
        ));
    }
    let name = match kind {
        Kind::Image => "image_url",
        Kind::Video => "video_url",
        Kind::Audio => "input_audio",
    };
    Err(unsupported(name))
}

fn unsupported(kind: &str) -> Rejection {
    by_model(
        "The item of content should be a message of a certain modal.",
        &format!(
            "Invalid value: {kind}. Supported values are: 'text','image_url','video_url' and \
             'video'."
        ),
    )
}

fn check_urls(part: &Part<'_>, resolves_oss: bool) -> Checked {
    if let Some(frames) = part.source.as_array()
        && !FRAMES.contains(&frames.len())
    {
        let message = "The video modality input does not meet the requirements because: the range \
                       of sequence images shoule be (4, 512).";
        return Err(by_model(message, message));
    }
    let mut urls = part.urls().peekable();
    if urls.peek().is_none() {
        return Err(Rejection::parameter(
            "The item of content should be a message of a certain modal.",
        )
        .compat_message(format!("Field required: {}_url", part.kind.name())));
    }
    for url in urls {
        if url.starts_with("data:") {
            if url.len() > LONGEST_DATA_URL {
                let message = "Exceeded limit on max bytes per data-uri item : 10485760'.";
                return Err(by_model(message, message));
            }
            continue;
        }
        let is_uploaded = url.starts_with("oss://") && resolves_oss;
        if !(url.starts_with("http://") || url.starts_with("https://") || is_uploaded) {
            let message = "The provided URL does not appear to be valid. Ensure it is correctly \
                           formatted.";
            return Err(by_model(message, message));
        }
    }
    Ok(())
}

fn check_size(part: &Part<'_>) -> Checked {
    let Some((width, height)) = part.size() else {
        return Ok(());
    };
    let (short, long) = (width.min(height), width.max(height));
    let why = if short <= SHORTEST_SIDE {
        format!("height:{height} or width:{width} must be larger than {SHORTEST_SIDE}")
    } else if long > short * LARGEST_RATIO {
        let ratio = long as f64 / short as f64;
        format!("absolute aspect ratio must be smaller than {LARGEST_RATIO}, got {ratio}")
    } else {
        return Ok(());
    };
    let message = format!("The image length and width do not meet the model restrictions. {why}");
    Err(by_model(message.clone(), &message))
}

/// A part that is neither text nor a known medium.
fn check_other(call: &Call, part: &Value) -> Checked {
    // Documents are read by one model (http-native.md §5.9), files by some.
    let is_known = ["text", "doc_url", "file"]
        .iter()
        .any(|name| part.get(*name).is_some_and(|value| !value.is_null()));
    match (call.dialect, part["type"].as_str()) {
        (_, Some("text")) => Ok(()),
        (Dialect::Native, _) if is_known => Ok(()),
        (_, None) if part.get("text").is_some() => Ok(()),
        (_, kind) => Err(unsupported(kind.unwrap_or("null"))),
    }
}
