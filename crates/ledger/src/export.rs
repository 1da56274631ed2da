//! Records as files for other programs. Every format has the columns of the store.

mod csv;
mod json;
mod parquet;

use std::io::{self, Write};

use crate::record::Record;
use crate::store::StoreError;

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Comma-separated values with a line of names, as RFC 4180. Text that a spreadsheet would
    /// take for a formula begins with an apostrophe.
    Csv,
    /// One JSON object a line. Money is text, so that no digit is lost.
    JsonLines,
    /// Apache Parquet. Money is text, so that no digit is lost.
    Parquet,
}

/// Why an export was broken off.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The store cannot say more.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The output takes no more.
    #[error("the export cannot be written")]
    Write(#[from] io::Error),
}

/// An export that has begun.
pub(crate) enum Sheet<W: Write + Send> {
    Csv(csv::Sheet<W>),
    Json(W),
    Parquet(parquet::Sheet<W>),
}

impl<W: Write + Send> Sheet<W> {
    pub(crate) fn begin(format: Format, output: W) -> io::Result<Self> {
        Ok(match format {
            Format::Csv => Self::Csv(csv::Sheet::begin(output)?),
            Format::JsonLines => Self::Json(output),
            Format::Parquet => Self::Parquet(parquet::Sheet::begin(output)?),
        })
    }

    pub(crate) fn write(&mut self, records: &[Record]) -> io::Result<()> {
        match self {
            Self::Csv(sheet) => sheet.write(records),
            Self::Json(output) => json::write(output, records),
            Self::Parquet(sheet) => sheet.write(records),
        }
    }

    pub(crate) fn end(self) -> io::Result<()> {
        match self {
            Self::Csv(sheet) => sheet.end(),
            Self::Json(mut output) => output.flush(),
            Self::Parquet(sheet) => sheet.end(),
        }
    }
}

#[cfg(test)]
mod tests;
