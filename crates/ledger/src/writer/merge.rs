//! Frames into changes, one for each record.

use std::collections::HashMap;

use uuid::Uuid;

use crate::frame::Entry;
use crate::record::{Begin, Record, Settlement};
use crate::store::Change;

/// What the frames of one process come to. The first end of a record counts.
pub(super) fn merge(entries: Vec<Entry>, process: Uuid) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::with_capacity(entries.len());
    let mut index: HashMap<Uuid, usize> = HashMap::with_capacity(entries.len());
    for entry in entries {
        match entry {
            Entry::Begin(begin) => {
                if let std::collections::hash_map::Entry::Vacant(vacant) = index.entry(begin.id) {
                    vacant.insert(changes.len());
                    let record = Record::running(begin, process);
                    changes.push(Change::Begin(Box::new(record)));
                }
            }
            Entry::Settle(id, end) => match index.get(&id) {
                Some(&at) => {
                    if let Change::Begin(record) = &mut changes[at] {
                        let mut record = std::mem::take(record);
                        settle(&mut record, end);
                        changes[at] = Change::Settle(record);
                    }
                }
                None => {
                    index.insert(id, changes.len());
                    let begin = Begin::new(id, began_unix_ms(id));
                    let mut record = Record::running(begin, process);
                    settle(&mut record, end);
                    changes.push(Change::Settle(Box::new(record)));
                }
            },
        }
    }
    changes
}

fn settle(record: &mut Record, end: Settlement<'static>) {
    record.end = end;
    record.settled = true;
}

/// When a request began whose beginning is in another batch, or was lost: its id tells.
fn began_unix_ms(id: Uuid) -> u64 {
    id.get_timestamp().map_or(0, |timestamp| {
        let (seconds, nanos) = timestamp.to_unix();
        seconds.saturating_mul(1000) + u64::from(nanos / 1_000_000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_and_an_end_become_one_change() {
        let begin = Begin::new(Uuid::now_v7(), 7);
        let entries = vec![
            Entry::Begin(begin.clone()),
            Entry::Settle(begin.id, Settlement::new("completed")),
            Entry::Settle(begin.id, Settlement::new("twice")),
            Entry::Begin(begin.clone()),
        ];
        let changes = merge(entries, Uuid::nil());
        assert_eq!(changes.len(), 1);
        let Change::Settle(record) = &changes[0] else {
            panic!("not settled");
        };
        assert_eq!(record.begin, begin);
        assert_eq!(record.end.outcome, "completed");
    }

    #[test]
    fn an_end_without_a_beginning_is_dated_by_its_id() {
        let changes = merge(
            vec![Entry::Settle(Uuid::now_v7(), Settlement::new("completed"))],
            Uuid::nil(),
        );
        assert!(changes[0].record().begin.started_unix_ms > 1_700_000_000_000);
    }
}
