//! How many connections one address has: nobody takes all seats of a door (FAULTS G13).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::access::Source;

/// The seats that are taken, by where their holders come from.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(Arc<Mutex<HashMap<Source, usize>>>);

/// A connection's seat; it is free when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    source: Source,
}

impl Seats {
    /// A seat, unless this address (or /64) has `most` already.
    pub(super) fn take(&self, address: IpAddr, most: usize) -> Option<Seat> {
        let source = Source::of(Some(address));
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(source).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Seat {
            seats: self.clone(),
            source,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = taken.entry(self.source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_so_many_seats_and_frees_them() {
        let seats = Seats::default();
        let [one, other]: [IpAddr; 2] =
            ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let mut held: Vec<Option<Seat>> = (0..3).map(|_| seats.take(one, 2)).collect();
        assert!(held[1].is_some() && held[2].is_none() && seats.take(other, 2).is_some());
        held.remove(0);
        assert!(seats.take(one, 2).is_some());
        held.clear();
        assert!(
            seats.0.lock().unwrap().is_empty(),
            "nothing is kept of who is gone"
        );
    }
}
