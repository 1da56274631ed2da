//! Pictures, videos and sounds of a message: what they are and what they cost.
//!
//! The size of a picture is read from its bytes where a data URL has them; what is behind any other
//! URL is never fetched and has one fixed size, so that an answer depends on the request alone.

mod picture;
mod sound;

use serde_json::Value;

use self::picture::{Sight, Size};
use crate::call::Call;

/// What a part carries beside text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    Video,
    Audio,
}

impl Kind {
    /// As the catalogue and the answers call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

/// A part that is no text, in the words of either dialect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) kind: Kind,
    /// A URL, or a list of them for the frames of a video.
    pub(crate) source: &'a Value,
    /// With the part's other members.
    around: &'a Value,
}

/// What the media of a request cost, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MediaTokens {
    pub(crate) image: u64,
    pub(crate) video: u64,
    pub(crate) audio: u64,
    /// Started seconds of sound.
    pub(crate) seconds: u64,
}

impl MediaTokens {
    pub(crate) fn sum(&self) -> u64 {
        self.image + self.video + self.audio
    }

    /// The kinds that are there, with their tokens.
    pub(crate) fn by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("image_tokens", self.image),
            ("video_tokens", self.video),
            ("audio_tokens", self.audio),
        ]
        .into_iter()
        .filter(|(_, tokens)| *tokens > 0)
    }
}

impl<'a> Part<'a> {
    /// What a part carries; `None` for text and for what is not known.
    pub(crate) fn read(part: &'a Value) -> Option<Self> {
        const NAMES: [(&str, &str, Kind); 6] = [
            ("image", "", Kind::Image),
            ("image_url", "url", Kind::Image),
            ("video", "", Kind::Video),
            ("video_url", "url", Kind::Video),
            ("audio", "", Kind::Audio),
            ("input_audio", "data", Kind::Audio),
        ];
        NAMES.iter().find_map(|(name, below, kind)| {
            let value = part.get(*name)?;
            let source = value.get(*below).unwrap_or(value);
            Some(Self {
                kind: *kind,
                source,
                around: part,
            })
        })
    }

    /// All parts of a message that are no text.
    pub(crate) fn all_of(message: &'a Value) -> impl Iterator<Item = Self> {
        let parts = message["content"].as_array();
        parts.into_iter().flatten().filter_map(Self::read)
    }

    /// The URLs that it names.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &'a str> {
        let list = self.source.as_array().map_or(&[][..], Vec::as_slice);
        self.source
            .as_str()
            .into_iter()
            .chain(list.iter().filter_map(Value::as_str))
    }

    /// The size of a picture whose bytes are in the request.
    pub(crate) fn size(&self) -> Option<(u64, u64)> {
        let size = Size::of_url(self.source.as_str()?)?;
        Some((size.width, size.height))
    }

    fn pixels(&self, name: &str) -> Option<u64> {
        self.around.get(name)?.as_u64()
    }
}

/// What the media of all messages cost.
pub(crate) fn tokens_of(call: &Call) -> MediaTokens {
    let mut sum = MediaTokens::default();
    for part in call.messages.iter().flat_map(Part::all_of) {
        let tokens = tokens_of_part(call, &part);
        sum.image += tokens.image;
        sum.video += tokens.video;
        sum.audio += tokens.audio;
        sum.seconds += tokens.seconds;
    }
    sum
}

/// What one part costs.
pub(crate) fn tokens_of_part(call: &Call, part: &Part<'_>) -> MediaTokens {
    let mut cost = MediaTokens::default();
    let sight = Sight::of_model(&call.model_id);
    let high = call.flag("vl_high_resolution_images") == Some(true);
    match part.kind {
        Kind::Image => {
            let sight = sight.asked(part.pixels("min_pixels"), part.pixels("max_pixels"), high);
            let size = part.source.as_str().and_then(Size::of_url);
            cost.image = sight.tokens(size.unwrap_or(Size::OF_IMAGE));
        }
        Kind::Video => {
            let fps = part.around.get("fps").and_then(Value::as_f64);
            let frames = part.source.as_array().map(|frames| frames.len() as u64);
            cost.video = sight.video_tokens(
                frames,
                fps.unwrap_or(2.0),
                part.pixels("max_frames"),
                part.pixels("max_pixels"),
                part.pixels("total_pixels"),
            );
        }
        Kind::Audio => {
            cost.seconds = sound::started_seconds(part.source.as_str().unwrap_or_default());
            cost.audio = cost.seconds * sound::TOKENS_PER_SECOND;
        }
    }
    cost
}
