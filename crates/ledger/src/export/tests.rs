use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
use ::parquet::record::RowAccessor as _;
use uuid::Uuid;

use super::*;
use crate::record::{Attempt, Begin, Settlement};
use crate::store::COLUMNS;
use crate::text::Currency;

fn bytes_of(format: Format, records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sheet = Sheet::begin(format, &mut bytes).unwrap();
    sheet.write(records).unwrap();
    sheet.write(records).unwrap();
    sheet.end().unwrap();
    bytes
}

fn record() -> Record {
    let mut begin = Begin::new(Uuid::now_v7(), 1_800_000_000_000);
    begin.tenant = Some("=HYPERLINK(\"http://例子\")".into());
    begin.project = Some("研发, \"一部\"".into());
    let mut end = Settlement::new("completed");
    end.cost = Some("0.00000000000000000012345".parse().unwrap());
    end.currency = Some(Currency::CNY);
    end.attempt_list = vec![Attempt::new("main", "qwen-max", "completed", Some(200))];
    Record {
        begin,
        end,
        process: Uuid::now_v7(),
        settled: true,
    }
}

fn index(name: &str) -> usize {
    COLUMNS
        .iter()
        .position(|column| column.name == name)
        .unwrap()
}

#[test]
fn csv_keeps_every_digit_and_no_formula() {
    let record = record();
    let bytes = bytes_of(Format::Csv, std::slice::from_ref(&record));
    let mut reader = ::csv::Reader::from_reader(&*bytes);
    assert_eq!(reader.headers().unwrap().len(), COLUMNS.len());
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(&rows[0][index("id")], record.begin.id.to_string());
    assert_eq!(&rows[0][index("tenant")], "'=HYPERLINK(\"http://例子\")");
    assert_eq!(&rows[0][index("project")], "研发, \"一部\"");
    assert_eq!(&rows[0][index("cost")], "0.00000000000000000012345");
    assert_eq!(&rows[0][index("model")], "");
}

#[test]
fn json_lines_have_the_same_columns() {
    let bytes = bytes_of(Format::JsonLines, &[record()]);
    let lines: Vec<serde_json::Value> = std::str::from_utf8(&bytes)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].as_object().unwrap().len(), COLUMNS.len());
    assert_eq!(lines[0]["cost"], "0.00000000000000000012345");
    assert_eq!(lines[0]["attempt_list"][0]["account"], "main");
    assert_eq!(lines[0]["model"], serde_json::Value::Null);
    assert_eq!(lines[0]["settled"], true);
}

#[test]
fn parquet_is_read_as_it_was_written() {
    let bytes = bytes_of(Format::Parquet, &[record()]);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    assert_eq!(reader.num_row_groups(), 2);
    let rows: Vec<_> = reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows.len(), 2);
    let row = &rows[1];
    assert_eq!(
        row.get_string(index("tenant")).unwrap(),
        "=HYPERLINK(\"http://例子\")"
    );
    assert_eq!(
        row.get_string(index("cost")).unwrap(),
        "0.00000000000000000012345"
    );
    assert_eq!(
        row.get_long(index("started_unix_ms")).unwrap(),
        1_800_000_000_000
    );
    assert!(row.get_bool(index("settled")).unwrap());
    assert!(row.get_string(index("model")).is_err(), "there is none");
}
