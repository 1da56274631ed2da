//! Which bytes go out when, and what is spoilt on the way.

use std::collections::VecDeque;
use std::time::Duration;

use bailian_wire::Dialect;
use bailian_wire::error::ErrorTable;
use bytes::Bytes;

use crate::body::{Ending, Piece};
use crate::config::Speed;
use crate::faults::Fault;
use crate::frames::{StreamFrame, error_frame};
use crate::rejection::Rejection;

/// When which bytes go out, and how it ends.
pub(super) fn plan(
    dialect: Dialect,
    request_id: &str,
    frames: Vec<StreamFrame>,
    speed: &Speed,
    faults: &[Fault],
) -> (VecDeque<Piece>, Ending) {
    let mut ending = Ending::Whole;
    let mut due = Duration::from_millis(speed.ttft_ms);
    let mut pieces = VecDeque::with_capacity(frames.len());
    let mut stopped = false;
    for (frame, number) in frames.into_iter().zip(1usize..) {
        let mut bytes = frame.bytes;
        for fault in faults {
            match fault {
                Fault::Malformed(at) if *at == number => {
                    bytes = malformed(dialect, number);
                    ending = Ending::Spoilt;
                }
                Fault::ErrorFrame(at) if *at == number => {
                    let rejection = documented_error(&Fault::Status(500));
                    let number = number as u64;
                    bytes = error_frame(dialect, &rejection, request_id, number);
                    (ending, stopped) = (Ending::Spoilt, true);
                }
                Fault::Truncate(at) if *at == number => {
                    (ending, stopped, bytes) = (Ending::Spoilt, true, Bytes::new());
                }
                Fault::Stall(at) if *at == number => {
                    (ending, stopped, bytes) = (Ending::Stall, true, Bytes::new());
                }
                Fault::NoBlankLines if dialect == Dialect::Native => {
                    bytes.truncate(bytes.len().saturating_sub(1));
                }
                _ => {}
            }
        }
        if !bytes.is_empty() {
            pieces.push_back(Piece {
                bytes,
                due,
                frames: 1,
                tokens: frame.tokens,
            });
        }
        if stopped {
            break;
        }
        if speed.tokens_per_second > 0.0 {
            due += Duration::from_secs_f64(frame.tokens as f64 / speed.tokens_per_second);
        }
    }
    for fault in faults {
        match fault {
            Fault::Split(size) => pieces = split(pieces, *size),
            Fault::CutAfterBytes(limit) => {
                pieces = cut(pieces, *limit);
                ending = Ending::Cut;
            }
            _ => {}
        }
    }
    (pieces, ending)
}

/// The error that the catalogue documents for a status or a code.
pub(super) fn documented_error(fault: &Fault) -> Rejection {
    let entries = ErrorTable::embedded().entries();
    let entry = match fault {
        Fault::Status(status) => entries
            .iter()
            .find(|entry| entry.status == Some(*status) && entry.code.is_some()),
        Fault::Code(code) => entries
            .iter()
            .find(|entry| entry.code.as_deref() == Some(code)),
        _ => None,
    };
    let status = match fault {
        Fault::Status(status) => *status,
        _ => entry.and_then(|entry| entry.status).unwrap_or(500),
    };
    let code = match fault {
        Fault::Code(code) => code.as_str(),
        _ => entry
            .and_then(|entry| entry.code.as_deref())
            .unwrap_or("InternalError"),
    };
    let message = entry
        .and_then(|entry| entry.messages.first())
        .map_or("Simulated fault.", |m| m);
    Rejection::new(status, code, message)
}

fn malformed(dialect: Dialect, number: usize) -> Bytes {
    Bytes::from(match dialect {
        Dialect::Native => {
            format!("id:{number}\nevent:result\n:HTTP_STATUS/200\ndata:{{\"output\":{{\n\n")
        }
        _ => "data: {\"choices\":[{\n\n".to_owned(),
    })
}

/// The same bytes in pieces of `size`.
fn split(pieces: VecDeque<Piece>, size: usize) -> VecDeque<Piece> {
    let mut smaller = VecDeque::new();
    for piece in pieces {
        let mut rest = piece.bytes;
        let mut first = true;
        while !rest.is_empty() {
            let bytes = rest.split_to(size.min(rest.len()));
            let (frames, tokens) = if first {
                (piece.frames, piece.tokens)
            } else {
                (0, 0)
            };
            smaller.push_back(Piece {
                bytes,
                due: piece.due,
                frames,
                tokens,
            });
            first = false;
        }
    }
    smaller
}

/// The first `limit` bytes.
fn cut(pieces: VecDeque<Piece>, limit: usize) -> VecDeque<Piece> {
    let mut left = limit;
    let mut kept = VecDeque::new();
    for mut piece in pieces {
        if left == 0 {
            break;
        }
        piece.bytes.truncate(left);
        left -= piece.bytes.len();
        kept.push_back(piece);
    }
    kept
}
