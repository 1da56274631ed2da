//! One JSON object a line.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::record::Record;
use crate::store::{COLUMNS, Kind, Value};

pub(super) fn write(output: &mut impl Write, records: &[Record]) -> io::Result<()> {
    let mut line = Vec::new();
    for record in records {
        line.clear();
        serde_json::to_writer(&mut line, &Row(record))?;
        line.push(b'\n');
        output.write_all(&line)?;
    }
    Ok(())
}

impl Record {
    /// The record with the columns of the store, as [`JsonLines`](crate::Format::JsonLines) has it.
    pub fn columns(&self) -> impl Serialize + '_ {
        Row(self)
    }

    /// The columns' names in their order, the JSON type of each, and whether it may be `null`.
    pub fn column_types() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        COLUMNS.iter().map(|column| {
            let kind = match column.kind {
                _ if column.name == ATTEMPTS => "array",
                Kind::Id | Kind::Text | Kind::Money => "string",
                Kind::Int => "integer",
                Kind::Bool => "boolean",
            };
            (column.name, kind, column.optional)
        })
    }
}

/// Text in a database, a list here.
const ATTEMPTS: &str = "attempt_list";

struct Row<'r>(&'r Record);

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_map(Some(COLUMNS.len()))?;
        for column in COLUMNS {
            let name = column.name;
            if name == ATTEMPTS {
                row.serialize_entry(name, &self.0.end.attempt_list)?;
                continue;
            }
            match (column.get)(self.0) {
                Value::Null => row.serialize_entry(name, &())?,
                Value::Id(id) => row.serialize_entry(name, &id)?,
                Value::Text(text) => row.serialize_entry(name, &text)?,
                Value::Int(number) => row.serialize_entry(name, &number)?,
                Value::Bool(truth) => row.serialize_entry(name, &truth)?,
                Value::Money(money) => row.serialize_entry(name, &money.to_string())?,
            }
        }
        row.end()
    }
}
