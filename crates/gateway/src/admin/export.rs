//! Records as a file, written while they are read: no more than a page of them is in memory.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bailian_ledger::{ExportError, Filter, Format};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use utoipa::IntoParams;

use super::fault::{Fault, Faults};
use super::input::Act;
use super::query::{Fields, FilterQuery};
use crate::accounting::Accounting;

/// Exports at once: each holds a thread and a connection to the database.
const MOST_EXPORTS: usize = 4;
static EXPORTS: Semaphore = Semaphore::const_new(MOST_EXPORTS);

/// How much is written to the client at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for the client.
const CHUNKS: usize = 4;
/// A client that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_mins(1);

/// In which form.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "for the document alone")]
pub(super) struct FormatQuery {
    /// `csv` (if left out), `json` (one object a line) or `parquet`.
    format: Option<String>,
}

/// Records as a file, in the order of their beginning. Broken off, it ends without the last chunk of
/// HTTP, so that no client takes it for whole.
#[utoipa::path(
    get, path = "/export", tag = "usage",
    params(FilterQuery, FormatQuery),
    responses(
        (status = 200, description = "The file", content(
            (String = "text/csv"),
            (String = "application/x-ndjson"),
            (Vec<u8> = "application/vnd.apache.parquet"),
        )),
        Faults,
    )
)]
pub(super) async fn export(act: Act, mut fields: Fields) -> Result<Response, Fault> {
    let filter = fields.filter(&act.accounting.live.current());
    let format = fields.read("format", "csv, json or parquet", |word| match word {
        "csv" => Some(Format::Csv),
        "json" | "jsonl" => Some(Format::JsonLines),
        "parquet" => Some(Format::Parquet),
        _ => None,
    });
    fields.end()?;
    let format = format.unwrap_or(Format::Csv);
    let Ok(permit) = EXPORTS.try_acquire() else {
        return Err(Fault::busy(
            "Other exports are running; try again in a while.",
        ));
    };
    let (sender, mut chunks) = mpsc::channel(CHUNKS);
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let pipe = Pipe {
            sender: sender.clone(),
            handle,
            chunk: BytesMut::new(),
        };
        if let Err(error) = write(&act.accounting, format, &filter, pipe) {
            // Nobody listens when it was the client that left.
            drop(sender.blocking_send(Err(error)));
        }
        drop(permit);
    });
    // What goes wrong before the first byte has a status of its own.
    let first = match chunks.recv().await {
        Some(Ok(chunk)) => chunk,
        Some(Err(ExportError::Store(error))) => return Err(error.into()),
        Some(Err(error)) => {
            tracing::error!(%error, "an export failed");
            return Err(Fault::internal());
        }
        None => Bytes::new(),
    };
    let body = Piped {
        first: Some(first).filter(|first| !first.is_empty()),
        chunks,
    };
    let (kind, name) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "records.csv"),
        Format::Parquet => ("application/vnd.apache.parquet", "records.parquet"),
        _ => ("application/x-ndjson", "records.jsonl"),
    };
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    headers.extend(disposition.ok().map(|value| (CONTENT_DISPOSITION, value)));
    Ok(response)
}

fn write(
    accounting: &Arc<Accounting>,
    format: Format,
    filter: &Filter,
    mut pipe: Pipe,
) -> Result<(), ExportError> {
    let mut reader = accounting.ledger.reader();
    reader.export(format, filter, &mut pipe)?;
    pipe.flush()?;
    Ok(())
}

/// Takes what is written, and gives it on in chunks.
struct Pipe {
    sender: mpsc::Sender<Result<Bytes, ExportError>>,
    handle: Handle,
    chunk: BytesMut,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = self.chunk.split().freeze();
        let sent = self.sender.send_timeout(Ok(chunk), PATIENCE);
        self.handle
            .block_on(sent)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The body: chunks as they come. An error among them breaks the answer off.
struct Piped {
    first: Option<Bytes>,
    chunks: mpsc::Receiver<Result<Bytes, ExportError>>,
}

impl http_body::Body for Piped {
    type Data = Bytes;
    type Error = ExportError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ExportError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let chunk = self.chunks.poll_recv(context);
        chunk.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
