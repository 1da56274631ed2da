//! Which bytes of an answer go out when, and what is spoilt on the way.

use std::time::Duration;

use bailian_wire::Dialect;
use bytes::Bytes;

use crate::config::Speed;
use crate::faults::Fault;
use crate::frames::{FrameStream, StreamFrame, error_event, error_frame};
use crate::rejection::Rejection;

/// Nothing is due later: clocks can count no further than that with certainty.
const LATEST: Duration = Duration::from_hours(24 * 365);

/// One piece of a body.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// When it is due, after the head of the answer.
    pub(crate) due: Duration,
    pub(crate) frames: u64,
    pub(crate) tokens: u64,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As it should.
    Whole,
    /// Well-formed, but on purpose not whole, or with an error.
    Spoilt,
    /// The connection is cut.
    Cut,
    /// Nothing comes any more, and it does not end.
    Stall,
}

/// The pieces of a body, made one by one as they are taken.
#[derive(Debug)]
pub(crate) struct Schedule {
    frames: Frames,
    dialect: Dialect,
    request_id: String,
    faults: Vec<Fault>,
    /// Tokens per second; 0 means as fast as possible.
    rate: f64,
    due: Duration,
    /// Frames so far.
    number: usize,
    /// What is left of a piece that goes out in smaller ones.
    rest: Option<Piece>,
    stopped: bool,
    ending: Ending,
}

#[derive(Debug)]
enum Frames {
    Stream(Box<FrameStream>),
    One(Option<Bytes>),
}

impl Schedule {
    pub(crate) fn of_stream(
        dialect: Dialect,
        request_id: &str,
        frames: FrameStream,
        speed: &Speed,
        faults: Vec<Fault>,
    ) -> Self {
        let frames = Frames::Stream(Box::new(frames));
        Self::new(dialect, request_id, frames, speed, faults)
    }

    /// One JSON object.
    pub(crate) fn of_whole(
        dialect: Dialect,
        request_id: &str,
        body: Bytes,
        faults: Vec<Fault>,
    ) -> Self {
        let frames = Frames::One(Some(body));
        Self::new(dialect, request_id, frames, &Speed::default(), faults)
    }

    fn new(
        dialect: Dialect,
        request_id: &str,
        frames: Frames,
        speed: &Speed,
        faults: Vec<Fault>,
    ) -> Self {
        let cut = faults
            .iter()
            .any(|fault| matches!(fault, Fault::CutAfterBytes(_)));
        Self {
            frames,
            dialect,
            request_id: request_id.to_owned(),
            faults,
            rate: speed.tokens_per_second,
            due: Duration::from_millis(speed.ttft_ms).min(LATEST),
            number: 0,
            rest: None,
            stopped: false,
            ending: if cut { Ending::Cut } else { Ending::Whole },
        }
    }

    /// How the body ends, once no piece is left.
    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }

    fn next_frame(&mut self) -> Option<StreamFrame> {
        match &mut self.frames {
            Frames::Stream(frames) => frames.next(),
            Frames::One(body) => body.take().map(|bytes| StreamFrame { bytes, tokens: 0 }),
        }
    }

    /// The next frame, with what goes wrong with it.
    fn next_whole(&mut self) -> Option<Piece> {
        if self.stopped {
            return None;
        }
        let event = match &self.frames {
            Frames::Stream(frames) => frames.next_event(),
            Frames::One(_) => None,
        };
        let frame = self.next_frame()?;
        self.number += 1;
        let number = self.number;
        let mut bytes = frame.bytes;
        for fault in &self.faults {
            match fault {
                Fault::Malformed(at) if *at == number => {
                    bytes = match &self.frames {
                        Frames::Stream(_) => malformed(self.dialect, number),
                        Frames::One(_) => bytes.slice(..bytes.len() / 2),
                    };
                    spoil(&mut self.ending, Ending::Spoilt);
                }
                Fault::ErrorFrame(at) if *at == number => {
                    let rejection = Rejection::of_late_fault(&self.faults);
                    bytes = match event {
                        Some(event) => error_event(&rejection, &self.request_id, event),
                        None => {
                            let number = number as u64;
                            error_frame(self.dialect, &rejection, &self.request_id, number)
                        }
                    };
                    self.stopped = true;
                    spoil(&mut self.ending, Ending::Spoilt);
                }
                Fault::Truncate(at) if *at == number => {
                    self.stopped = true;
                    spoil(&mut self.ending, Ending::Spoilt);
                    return None;
                }
                Fault::Stall(at) if *at == number => {
                    self.stopped = true;
                    self.ending = Ending::Stall;
                    return None;
                }
                Fault::NoBlankLines if self.dialect == Dialect::Native => {
                    bytes.truncate(bytes.len().saturating_sub(1));
                }
                _ => {}
            }
        }
        let due = self.due;
        self.due = time_of(frame.tokens, self.rate)
            .saturating_add(due)
            .min(LATEST);
        Some(Piece {
            bytes,
            due,
            frames: 1,
            tokens: frame.tokens,
        })
    }
}

impl Iterator for Schedule {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let mut piece = match self.rest.take() {
            Some(rest) => rest,
            None => self.next_whole()?,
        };
        for fault in &mut self.faults {
            match fault {
                Fault::Split(size) if piece.bytes.len() > *size => {
                    self.rest = Some(Piece {
                        bytes: piece.bytes.split_off(*size),
                        due: piece.due,
                        frames: 0,
                        tokens: 0,
                    });
                }
                _ => {}
            }
        }
        for fault in &mut self.faults {
            if let Fault::CutAfterBytes(left) = fault {
                if *left == 0 {
                    return None;
                }
                piece.bytes.truncate(*left);
                *left -= piece.bytes.len();
            }
        }
        Some(piece)
    }
}

/// A cut or a stall is worse than a spoilt body, and stays.
fn spoil(ending: &mut Ending, with: Ending) {
    if *ending == Ending::Whole {
        *ending = with;
    }
}

/// How long so many tokens take.
pub(crate) fn time_of(tokens: u64, rate: f64) -> Duration {
    if rate > 0.0 {
        Duration::try_from_secs_f64(tokens as f64 / rate).map_or(LATEST, |time| time.min(LATEST))
    } else {
        Duration::ZERO
    }
}

fn malformed(dialect: Dialect, number: usize) -> Bytes {
    Bytes::from(match dialect {
        Dialect::Native => {
            format!("id:{number}\nevent:result\n:HTTP_STATUS/200\ndata:{{\"output\":{{\n\n")
        }
        _ => "data: {\"choices\":[{\n\n".to_owned(),
    })
}
