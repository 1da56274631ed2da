//! How many tokens pictures and videos cost (http-native.md §6).

use crate::base64::decode_beginning;

/// How much of a file is looked at for its size.
const HEADER: usize = 256 * 1024;
/// How long a video behind a URL is taken to be, in seconds.
const SECONDS_OF_VIDEO: f64 = 10.0;
/// Frames are taken in pairs.
const FRAMES_PER_PATCH: u64 = 2;
/// The tokens around a picture.
const AROUND: u64 = 2;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u64,
    pub(super) height: u64,
}

impl Size {
    /// What a picture is taken to be that the request does not hold.
    pub(super) const OF_IMAGE: Self = Self {
        width: 1024,
        height: 768,
    };
    /// The same for a frame of a video.
    const OF_FRAME: Self = Self {
        width: 1280,
        height: 720,
    };

    /// The size of a PNG or JPEG in a data URL.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let (_, encoded) = url.strip_prefix("data:")?.split_once(',')?;
        let file = decode_beginning(encoded, HEADER);
        Self::of_png(&file).or_else(|| Self::of_jpeg(&file))
    }

    fn of_png(file: &[u8]) -> Option<Self> {
        if file.get(..8)? != b"\x89PNG\r\n\x1a\n" || file.get(12..16)? != b"IHDR" {
            return None;
        }
        let number = |at: usize| {
            let bytes: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
            Some(u64::from(u32::from_be_bytes(bytes)))
        };
        Self::of(number(16)?, number(20)?)
    }

    fn of_jpeg(file: &[u8]) -> Option<Self> {
        if file.get(..2)? != b"\xff\xd8" {
            return None;
        }
        let number = |at: usize| {
            let bytes: [u8; 2] = file.get(at..at + 2)?.try_into().ok()?;
            Some(u16::from_be_bytes(bytes))
        };
        let mut at = 2;
        loop {
            if *file.get(at)? != 0xFF {
                return None;
            }
            match *file.get(at + 1)? {
                // Fill bytes, and markers without a length.
                0xFF => at += 1,
                0x01 | 0xD0..=0xD8 => at += 2,
                // A start of frame, whatever the coding; the others in this range are tables.
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                    return Self::of(number(at + 7)?.into(), number(at + 5)?.into());
                }
                _ => at += 2 + usize::from(number(at + 2)?),
            }
        }
    }

    fn of(width: u64, height: u64) -> Option<Self> {
        (width > 0 && height > 0).then_some(Self { width, height })
    }

    fn pixels(self) -> u64 {
        self.width * self.height
    }
}

/// How a model looks at pictures. Pixels are counted before they are cut into patches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// The side of the square that is a token, in pixels.
    patch: u64,
    least: u64,
    most: u64,
    /// What `max_pixels` can be raised to.
    highest: u64,
    /// Of a frame of a video.
    frame_least: u64,
    frame_most: u64,
    /// Of all frames.
    total: u64,
    frames: u64,
}

impl Sight {
    pub(super) fn of_model(id: &str) -> Self {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| id.starts_with(prefix));
        // Of these only the newest names are the newer kind.
        let newer = [
            "qwen-vl-max",
            "qwen-vl-plus",
            "qwen-vl-max-latest",
            "qwen-vl-plus-latest",
            "qwen-vl-max-2025-08-13",
            "qwen-vl-plus-2025-08-15",
            "qwen-vl-plus-2025-07-10",
        ];
        let older = Self {
            patch: 28,
            least: 3136,
            most: 1_003_520,
            highest: 12_845_056,
            frame_least: 50_176,
            frame_most: 501_760,
            total: 51_380_224,
            frames: 512,
        };
        match id {
            "qwen-vl-ocr-latest" | "qwen-vl-ocr-2025-11-20" => Self {
                patch: 32,
                least: 3072,
                most: 8_388_608,
                highest: 30_720_000,
                ..older
            },
            _ if id.starts_with("qwen-vl-ocr") => Self {
                most: 6_422_528,
                highest: 23_520_000,
                ..older
            },
            _ if newer.contains(&id) => Self {
                patch: 32,
                least: 4096,
                most: 1_310_720,
                highest: 16_777_216,
                frame_least: 65_536,
                frame_most: 655_360,
                total: 67_108_864,
                frames: 512,
            },
            _ if begins(&["qwen-vl", "qwen2", "qvq", "qwen-omni"]) => older,
            _ => Self {
                patch: 32,
                least: 65_536,
                most: 2_621_440,
                highest: 16_777_216,
                frame_least: 65_536,
                frame_most: 655_360,
                total: 134_217_728,
                frames: 2000,
            },
        }
    }

    /// With what a part asks for; `high` is `vl_high_resolution_images`.
    pub(super) fn asked(self, least: Option<u64>, most: Option<u64>, high: bool) -> Self {
        let most = if high {
            self.highest
        } else {
            most.unwrap_or(self.most).clamp(self.least, self.highest)
        };
        Self {
            least: least.unwrap_or(self.least).clamp(self.least, most),
            most,
            ..self
        }
    }

    /// What a picture costs.
    pub(super) fn tokens(self, size: Size) -> u64 {
        self.patches(size, self.least, self.most) + AROUND
    }

    /// The patches of a picture that is scaled into the range of pixels.
    fn patches(self, size: Size, least: u64, most: u64) -> u64 {
        let patch = self.patch as f64;
        let (width, height) = (size.width as f64, size.height as f64);
        let whole = |length: f64, round: fn(f64) -> f64| round(length / patch).max(1.0);
        let (mut across, mut down) = (whole(width, f64::round), whole(height, f64::round));
        let pixels = size.pixels() as f64;
        let area = across * down * patch * patch;
        if area > most as f64 {
            let by = (pixels / most as f64).sqrt();
            (across, down) = (
                whole(width / by, f64::floor),
                whole(height / by, f64::floor),
            );
        } else if area < least as f64 {
            let by = (least as f64 / pixels).sqrt();
            (across, down) = (whole(width * by, f64::ceil), whole(height * by, f64::ceil));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole positive number, bounded by the most pixels"
        )]
        let patches = (across * down) as u64;
        patches
    }

    /// What a video costs: so many frames, or those of a file at `fps`.
    pub(super) fn video_tokens(
        self,
        frames: Option<u64>,
        fps: f64,
        most_frames: Option<u64>,
        most: Option<u64>,
        total: Option<u64>,
    ) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most a hundred frames"
        )]
        let of_file = (SECONDS_OF_VIDEO * fps.clamp(0.1, 10.0)).round().max(1.0) as u64;
        let limit = most_frames.unwrap_or(self.frames).clamp(1, self.frames);
        let frames = frames.unwrap_or(of_file).clamp(1, limit);
        let pairs = frames.div_ceil(FRAMES_PER_PATCH);
        let each = total.unwrap_or(self.total).min(self.total) / pairs;
        let most = most.unwrap_or(self.frame_most).min(self.frame_most);
        let most = most.min(each).max(self.frame_least);
        pairs * self.patches(Size::OF_FRAME, self.frame_least, most) + AROUND
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64::encode;

    fn png(width: u32, height: u32) -> String {
        let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        file.extend(width.to_be_bytes());
        file.extend(height.to_be_bytes());
        format!("data:image/png;base64,{}", encode(&file))
    }

    #[test]
    fn sizes_are_read_from_the_bytes_of_a_picture() {
        let size = Size::of_url(&png(640, 480)).unwrap();
        assert_eq!((size.width, size.height), (640, 480));
        let jpeg =
            b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08\x01\xe0\x02\x80\x03\x01\x22\0\x02\x11";
        let url = format!("data:image/jpeg;base64,{}", encode(jpeg));
        assert_eq!(Size::of_url(&url), Some(size));
        for other in [
            "https://example.com/a.png",
            "data:image/png;base64,AAAA",
            "data:,",
            "",
        ] {
            assert_eq!(Size::of_url(other), None, "{other}");
        }
    }

    #[test]
    fn a_picture_costs_its_patches_within_the_range_of_the_model() {
        let size = |width, height| Size { width, height };
        let newer = Sight::of_model("qwen3-vl-plus");
        assert_eq!(newer.tokens(size(640, 480)), 20 * 15 + 2);
        // Too small: scaled up to 65,536 pixels, which are 8 x 8 patches.
        assert_eq!(newer.tokens(size(64, 64)), 64 + 2);
        // Too large: the sample of the documents, 43 x 29 patches of 28 pixels.
        let older = Sight::of_model("qwen2.5-vl-72b-instruct");
        assert_eq!(older.tokens(size(2736, 1824)), 43 * 29 + 2);
        let high = newer.asked(None, None, true).tokens(size(8192, 8192));
        assert_eq!(high, 16_384 + 2);
        let low = newer
            .asked(None, Some(65_536), false)
            .tokens(size(640, 480));
        assert!(low <= 64 + 2, "{low}");
    }

    #[test]
    fn a_video_costs_its_frames_in_pairs() {
        let sight = Sight::of_model("qwen3-vl-plus");
        let frame = sight.video_tokens(Some(2), 2.0, None, None, None) - 2;
        assert_eq!(
            sight.video_tokens(Some(7), 2.0, None, None, None),
            4 * frame + 2
        );
        assert_eq!(
            sight.video_tokens(None, 2.0, None, None, None),
            10 * frame + 2
        );
        assert_eq!(
            sight.video_tokens(None, 2.0, Some(4), None, None),
            2 * frame + 2
        );
    }
}
