//! Comma-separated values.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::record::Record;
use crate::store::{COLUMNS, Value};

/// Signs with which a spreadsheet's formula may begin. Some programs take the full-width ones too.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

pub(crate) struct Sheet<W: Write>(csv::Writer<W>);

impl<W: Write> Sheet<W> {
    pub(super) fn begin(output: W) -> io::Result<Self> {
        let mut writer = csv::Writer::from_writer(output);
        writer
            .write_record(COLUMNS.iter().map(|column| column.name))
            .map_err(io::Error::from)?;
        Ok(Self(writer))
    }

    pub(super) fn write(&mut self, records: &[Record]) -> io::Result<()> {
        for record in records {
            for column in COLUMNS {
                let field = field((column.get)(record));
                self.0
                    .write_field(field.as_bytes())
                    .map_err(io::Error::from)?;
            }
            self.0
                .write_record(None::<&[u8]>)
                .map_err(io::Error::from)?;
        }
        Ok(())
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn field(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Null => "".into(),
        Value::Id(id) => id.to_string().into(),
        Value::Text(text) if text.starts_with(FORMULA) => format!("'{text}").into(),
        Value::Text(text) => text,
        Value::Int(number) => number.to_string().into(),
        Value::Bool(truth) => if truth { "true" } else { "false" }.into(),
        Value::Money(money) => money.to_string().into(),
    }
}
