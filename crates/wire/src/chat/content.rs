//! What a message says: text, or parts with media.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::Extra;

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Parts, in order.
    Parts(Vec<ContentPart>),
}

impl Content {
    /// All text, parts joined.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts.iter().filter_map(ContentPart::text).collect(),
        }
    }

    /// Whether there is a picture, sound or video.
    pub fn has_media(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Parts(parts) => parts.iter().any(ContentPart::is_media),
        }
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Parts(parts) => parts.is_empty(),
        }
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<ContentPart>> for Content {
    fn from(parts: Vec<ContentPart>) -> Self {
        Self::Parts(parts)
    }
}

/// One part of a message. Its JSON form is that of the OpenAI-compatible protocol (compat.md §2.3);
/// [`native`](crate::native) writes the other one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ContentPart {
    /// Text, with siblings such as `cache_control`.
    Text {
        /// The text.
        text: String,
        /// Sibling members.
        extra: Extra,
    },
    /// A picture, sound or video.
    Media(Media),
    /// A part that this version does not know, kept as it is.
    Other(Value),
}

/// A picture, sound or video.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Media {
    /// What it is.
    pub kind: MediaKind,
    /// Where it is: `https://…`, `data:…;base64,…` or `oss://…`; several for video frames.
    pub urls: Vec<String>,
    /// Members beside the URL, such as `detail` or `format`.
    pub options: Extra,
    /// Sibling members of the part, such as `min_pixels`, `fps`, `cache_control`.
    pub extra: Extra,
}

/// What a [`Media`] part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A sound.
    Audio,
    /// A video file.
    Video,
    /// A video as a list of pictures.
    VideoFrames,
}

impl ContentPart {
    /// A text part.
    pub fn new_text(text: impl Into<String>) -> Self {
        Self::Text {
            text: text.into(),
            extra: Extra::new(),
        }
    }

    /// A picture by URL or data URI.
    pub fn image(url: impl Into<String>) -> Self {
        Self::Media(Media::new(MediaKind::Image, [url.into()]))
    }

    /// A sound by URL or data URI.
    pub fn audio(url: impl Into<String>) -> Self {
        Self::Media(Media::new(MediaKind::Audio, [url.into()]))
    }

    /// A video by URL or data URI.
    pub fn video(url: impl Into<String>) -> Self {
        Self::Media(Media::new(MediaKind::Video, [url.into()]))
    }

    /// A video as a list of pictures.
    pub fn video_frames(urls: impl IntoIterator<Item = String>) -> Self {
        Self::Media(Media::new(MediaKind::VideoFrames, urls))
    }

    /// Adds a sibling member, such as `cache_control`.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let (name, value) = (name.into(), value.into());
        match &mut self {
            Self::Text { extra, .. } => drop(extra.insert(name, value)),
            Self::Media(media) => drop(media.extra.insert(name, value)),
            Self::Other(Value::Object(object)) => drop(object.insert(name, value)),
            Self::Other(_) => {}
        }
        self
    }

    /// Whether it is a picture, sound or video, in either protocol's form.
    pub fn is_media(&self) -> bool {
        match self {
            Self::Text { .. } => false,
            Self::Media(_) => true,
            // Native parts are named by their key and have no `type`.
            Self::Other(value) => {
                value.get("type").is_none()
                    && ["image", "audio", "video"]
                        .iter()
                        .any(|name| value.get(name).is_some())
            }
        }
    }

    /// Whether it is of a kind that this version does not know and that says its type.
    pub(crate) fn is_typed(&self) -> bool {
        matches!(self, Self::Other(value) if value.get("type").is_some())
    }

    /// The text of a text part.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text { text, .. } => Some(text),
            Self::Media(_) => None,
            Self::Other(value) => value.get("text")?.as_str(),
        }
    }
}

impl Media {
    /// Media without options.
    pub fn new(kind: MediaKind, urls: impl IntoIterator<Item = String>) -> Self {
        let urls = urls.into_iter().collect();
        Self {
            kind,
            urls,
            options: Extra::new(),
            extra: Extra::new(),
        }
    }

    fn to_value(&self) -> Value {
        let first = self.urls.first().map_or("", String::as_str);
        let with_options = |name: &str| {
            let mut object = self.options.clone();
            object.insert(name.to_owned(), Value::from(first));
            Value::Object(object)
        };
        let mut part = match self.kind {
            MediaKind::Image => json!({ "type": "image_url", "image_url": with_options("url") }),
            MediaKind::Audio => {
                json!({ "type": "input_audio", "input_audio": with_options("data") })
            }
            MediaKind::Video => json!({ "type": "video_url", "video_url": with_options("url") }),
            MediaKind::VideoFrames => json!({ "type": "video", "video": self.urls }),
        };
        if let Some(object) = part.as_object_mut() {
            object.extend(self.extra.clone());
        }
        part
    }
}

impl Serialize for ContentPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text { text, extra } => {
                let mut object = extra.clone();
                object.insert("type".to_owned(), "text".into());
                object.insert("text".to_owned(), text.as_str().into());
                object.serialize(serializer)
            }
            Self::Media(media) => media.to_value().serialize(serializer),
            Self::Other(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ContentPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(read_part(value))
    }
}

/// Reads a part; what has no known form is kept as it is.
fn read_part(value: Value) -> ContentPart {
    let Value::Object(object) = &value else {
        return ContentPart::Other(value);
    };
    let kind = object
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (member, media) = match kind {
        "text" if object.get("text").is_some_and(Value::is_string) => {
            let mut extra = object.clone();
            extra.remove("type");
            let Some(Value::String(text)) = extra.remove("text") else {
                return ContentPart::Other(value);
            };
            return ContentPart::Text { text, extra };
        }
        "image_url" => ("url", MediaKind::Image),
        "input_audio" => ("data", MediaKind::Audio),
        "video_url" => ("url", MediaKind::Video),
        "video" => ("", MediaKind::VideoFrames),
        _ => return ContentPart::Other(value),
    };
    let mut extra = object.clone();
    extra.remove("type");
    let source = extra.remove(kind);
    let read = match source {
        Some(Value::Object(mut options)) => match options.remove(member) {
            Some(Value::String(url)) => Some((vec![url], options)),
            _ => None,
        },
        Some(Value::Array(frames)) => frames
            .into_iter()
            .map(|frame| match frame {
                Value::String(url) => Some(url),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(|urls| (urls, Extra::new())),
        _ => None,
    };
    match read {
        Some((urls, options)) => ContentPart::Media(Media {
            kind: media,
            urls,
            options,
            extra,
        }),
        None => ContentPart::Other(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_part_survives_a_round_trip() {
        let parts = json!([
            { "type": "text", "text": "这是什么？", "cache_control": { "type": "ephemeral" } },
            { "type": "image_url", "image_url": { "url": "https://e/a.png", "detail": "high" }, "min_pixels": 3136 },
            { "type": "input_audio", "input_audio": { "data": "data:;base64,AA==", "format": "wav" } },
            { "type": "video", "video": ["https://e/1.jpg", "https://e/2.jpg"], "fps": 2 },
            { "type": "video_url", "video_url": { "url": "https://e/a.mp4" } },
            { "type": "hologram", "hologram": { "shape": [1, 2] } },
            "a bare string",
            { "type": "image_url", "image_url": 7 },
        ]);
        let content: Content = serde_json::from_value(parts.clone()).unwrap();
        assert!(content.has_media());
        assert_eq!(content.text(), "这是什么？");
        assert_eq!(serde_json::to_value(&content).unwrap(), parts);
    }
}
