//! Places for waiters: constant time, and an id of one that left never names another.

/// Places that are kept while nobody waits.
const KEPT: usize = 1024;

/// Names a waiter for as long as it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId {
    place: u32,
    turn: u32,
}

#[derive(Debug)]
pub(super) struct Arena<V> {
    places: Vec<Place<V>>,
    free: Vec<u32>,
    len: usize,
    /// The turn that new places begin with: higher than that of any place that was given up.
    first_turn: u32,
}

#[derive(Debug)]
struct Place<V> {
    turn: u32,
    value: Option<V>,
}

impl<V> Arena<V> {
    pub(super) fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            len: 0,
            first_turn: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, value: V) -> WaiterId {
        self.len += 1;
        if let Some(place) = self.free.pop()
            && let Some(slot) = self.places.get_mut(place as usize)
        {
            slot.value = Some(value);
            return WaiterId {
                place,
                turn: slot.turn,
            };
        }
        let place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        self.places.push(Place {
            turn: self.first_turn,
            value: Some(value),
        });
        WaiterId {
            place,
            turn: self.first_turn,
        }
    }

    pub(super) fn get(&self, id: WaiterId) -> Option<&V> {
        let place = self.places.get(id.place as usize)?;
        place.value.as_ref().filter(|_| place.turn == id.turn)
    }

    pub(super) fn remove(&mut self, id: WaiterId) -> Option<V> {
        let place = self.places.get_mut(id.place as usize)?;
        if place.turn != id.turn {
            return None;
        }
        let value = place.value.take()?;
        place.turn = place.turn.wrapping_add(1);
        self.len -= 1;
        self.free.push(id.place);
        if self.len == 0 && self.places.len() > KEPT {
            // The line is over: the memory of a flood is not kept.
            let highest = self.places.iter().map(|place| place.turn).max();
            self.first_turn = highest.unwrap_or(0);
            self.places = Vec::new();
            self.free = Vec::new();
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_one_that_left_names_nobody_even_after_the_memory_was_given_back() {
        let mut arena = Arena::new();
        let old: Vec<_> = (0..2 * KEPT).map(|n| arena.insert(n)).collect();
        for id in &old {
            assert!(arena.remove(*id).is_some());
        }
        assert!(arena.places.is_empty());
        let new = arena.insert(7);
        assert!(old.iter().all(|id| arena.get(*id).is_none()));
        assert_eq!(arena.get(new), Some(&7));
    }
}
