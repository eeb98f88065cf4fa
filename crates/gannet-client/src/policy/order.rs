//! In which order pick_first tries addresses (gRFC A61, "Address List Handling in pick_first";
//! RFC 8305 section 4).

use std::collections::{HashSet, VecDeque};

use super::Actions;
use crate::name::{Address, Endpoint, Family};

/// All addresses, each once. With `shuffle`, endpoints change places (gRFC A62); addresses of one
/// stay together until families are interleaved.
pub(super) fn ordered(
    mut endpoints: Vec<Endpoint>,
    shuffle: bool,
    actions: &mut Actions,
) -> Vec<Address> {
    if shuffle {
        for last in (1..endpoints.len()).rev() {
            let other = actions.random_below(last + 1);
            endpoints.swap(last, other);
        }
    }
    let mut seen = HashSet::new();
    let all = endpoints.iter().flat_map(|endpoint| endpoint.addresses().iter().cloned());
    interleaved(all.filter(|address| seen.insert(address.clone())).collect())
}

/// Takes turns between the families, the first address's first, each in its order.
pub(crate) fn interleaved(addresses: Vec<Address>) -> Vec<Address> {
    let count = addresses.len();
    let mut families: Vec<(Family, VecDeque<Address>)> = Vec::new();
    for address in addresses {
        let family = address.family();
        match families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, queue)) => queue.push_back(address),
            None => families.push((family, VecDeque::from([address]))),
        }
    }
    let mut ordered = Vec::with_capacity(count);
    while ordered.len() < count {
        ordered.extend(families.iter_mut().filter_map(|(_, queue)| queue.pop_front()));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{address, addresses};

    fn order(list: &[&str]) -> Vec<String> {
        interleaved(addresses(list)).iter().map(Address::to_string).collect()
    }

    #[test]
    fn families_alternate_and_the_first_leads() {
        let (a, b, c) = ("[::1]:1", "[::1]:2", "[::1]:3");
        let (x, y, z) = ("1.1.1.1:1", "1.1.1.1:2", "1.1.1.1:3");
        assert_eq!(order(&[a, b, c, x, y, z]), [a, x, b, y, c, z]);
        assert_eq!(order(&[x, a, b, c]), [x, a, b, c]);
        assert_eq!(order(&[x, y, z, a]), [x, a, y, z]);
        assert_eq!(order(&[x, y]), [x, y]);
        assert!(order(&[]).is_empty());
    }

    #[test]
    fn an_address_that_is_told_twice_is_tried_once() {
        let mut actions = Actions::new("test", 1);
        let twice = [address("1.1.1.1:1"), address("1.1.1.1:2"), address("1.1.1.1:1")];
        let endpoints = twice.into_iter().map(Endpoint::from).collect();
        assert_eq!(ordered(endpoints, false, &mut actions).len(), 2);
    }

    #[test]
    fn shuffling_moves_endpoints_and_not_their_addresses() {
        let mut actions = Actions::new("test", 7);
        let endpoints: Vec<Endpoint> = (1..=20)
            .map(|n| {
                Endpoint::new([address(&format!("1.1.1.1:{n}")), address(&format!("2.2.2.2:{n}"))])
            })
            .collect();
        let flat = |list: &[Address]| list.iter().map(Address::to_string).collect::<Vec<_>>();
        let plain = flat(&ordered(endpoints.clone(), false, &mut actions));
        let one = flat(&ordered(endpoints.clone(), true, &mut actions));
        let two = flat(&ordered(endpoints, true, &mut actions));
        assert!(one != plain && two != one, "by chance, each time");
        for pair in one.chunks(2) {
            assert_eq!(pair[0].replace("1.1.1.1", "2.2.2.2"), pair[1]);
        }
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list
        };
        assert_eq!(sorted(one), sorted(plain));
    }
}
