//! Apache Parquet, a row group for each page of records.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use crate::record::Record;
use crate::store::{COLUMNS, Column, Kind, Value};

pub(crate) struct Sheet<W: Write + Send>(SerializedFileWriter<W>);

impl<W: Write + Send> Sheet<W> {
    pub(super) fn begin(output: W) -> io::Result<Self> {
        let schema = parse_message_type(&schema()).map_err(failed)?;
        let properties = Arc::new(WriterProperties::builder().build());
        SerializedFileWriter::new(output, Arc::new(schema), properties)
            .map(Self)
            .map_err(failed)
    }

    pub(super) fn write(&mut self, records: &[Record]) -> io::Result<()> {
        let mut group = self.0.next_row_group().map_err(failed)?;
        for column in COLUMNS {
            let Some(mut writer) = group.next_column().map_err(failed)? else {
                return Err(io::Error::other("the file has fewer columns than a record"));
            };
            match column.kind {
                Kind::Int => write_column::<Int64Type>(&mut writer, column, records, |v| match v {
                    Value::Int(number) => Some(number),
                    _ => None,
                }),
                Kind::Bool => write_column::<BoolType>(&mut writer, column, records, |v| match v {
                    Value::Bool(truth) => Some(truth),
                    _ => None,
                }),
                Kind::Text | Kind::Id | Kind::Money => {
                    write_column::<ByteArrayType>(&mut writer, column, records, text)
                }
            }
            .and_then(|()| writer.close())
            .map_err(failed)?;
        }
        group.close().map(drop).map_err(failed)
    }

    pub(super) fn end(self) -> io::Result<()> {
        self.0.close().map(drop).map_err(failed)
    }
}

fn schema() -> String {
    let mut schema = "message record {".to_owned();
    for column in COLUMNS {
        let kind = match column.kind {
            Kind::Int => "INT64",
            Kind::Bool => "BOOLEAN",
            Kind::Text | Kind::Id | Kind::Money => "BYTE_ARRAY",
        };
        let meaning = match column.kind {
            Kind::Text | Kind::Id | Kind::Money => " (UTF8)",
            Kind::Int | Kind::Bool => "",
        };
        let presence = if column.optional {
            "OPTIONAL"
        } else {
            "REQUIRED"
        };
        let _ = write!(schema, " {presence} {kind} {}{meaning};", column.name);
    }
    schema.push_str(" }");
    schema
}

/// Writes the values of one column, and for an optional one where there are any.
fn write_column<T: DataType>(
    writer: &mut SerializedColumnWriter<'_>,
    column: &Column,
    records: &[Record],
    read: impl Fn(Value<'_>) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let mut values = Vec::with_capacity(records.len());
    let mut levels = Vec::with_capacity(records.len());
    for record in records {
        let value = read((column.get)(record));
        levels.push(i16::from(value.is_some()));
        values.extend(value);
    }
    let levels = column.optional.then_some(&*levels);
    writer
        .typed::<T>()
        .write_batch(&values, levels, None)
        .map(drop)
}

fn text(value: Value<'_>) -> Option<ByteArray> {
    match value {
        Value::Text(text) => Some(text.as_bytes().to_vec().into()),
        Value::Id(id) => Some(id.to_string().into_bytes().into()),
        Value::Money(money) => Some(money.to_string().into_bytes().into()),
        Value::Null | Value::Int(_) | Value::Bool(_) => None,
    }
}

fn failed(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        error => io::Error::other(error),
    }
}
