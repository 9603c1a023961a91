//! What is found of seal keys: whether they open what is stored, and whether every worker has the same.

use super::Check;
use super::checks::NAMES;
use crate::service::{Opened, ToldKeys};

pub(super) fn seal_keys(found: &Opened) -> Check {
    if found.closed.is_empty() {
        let says = match found.opened {
            0 => "nothing is stored yet that they could open".to_owned(),
            some => format!("{some} stored pairs looked at, all open"),
        };
        return Check::ok("seal keys", says);
    }
    let mut names = found.closed.clone();
    names.truncate(NAMES);
    let says = format!(
        "{} of {} pairs do not open: {}",
        found.closed.len(),
        found.closed.len() + found.opened,
        names.join(", ")
    );
    let help = "put the missing key back behind the current one in EVERGREEN_SEAL_KEYS";
    Check::fail("seal keys", says, help)
}

/// `first` is in front of the ring here, so it is meant to seal everywhere.
pub(super) fn rings(first: &str, workers: &[(String, Option<ToldKeys>)]) -> Check {
    let names = |odd: &dyn Fn(&ToldKeys) -> bool| -> Vec<&str> {
        let odd = workers
            .iter()
            .filter(|(_, told)| told.as_ref().is_some_and(odd));
        odd.map(|(id, _)| id.as_str()).take(NAMES).collect()
    };
    let lacking = names(&|told| !told.ring.iter().any(|id| id == first));
    if !lacking.is_empty() {
        let says = format!("without the key {first}: {}", lacking.join(", "));
        let help = "give every process of the fleet the same ring, and restart it";
        return Check::warn("seal rings", says, help);
    }
    let behind = names(&|told| told.seals != first);
    if !behind.is_empty() {
        let says = format!(
            "sealing with another key than {first}: {}",
            behind.join(", ")
        );
        let help = format!("put {first} in front everywhere, then: evergreen keys rotate");
        return Check::warn("seal rings", says, help);
    }
    Check::ok(
        "seal rings",
        format!("every worker has {first} and seals with it"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_ring_that_differs_is_told_by_worker() {
        let told = |ring: &[&str], seals: &str| ToldKeys {
            ring: ring.iter().map(|id| (*id).to_owned()).collect(),
            seals: seals.to_owned(),
            journal: Vec::new(),
        };
        let worker = |id: &str, told| (id.to_owned(), told);
        let right = worker("right", Some(told(&["k2", "k1"], "k2")));
        let silent = worker("silent", None);
        assert_eq!(rings("k2", &[right.clone(), silent]).result, Verdict::Ok);
        let lacking = worker("lacking", Some(told(&["k1"], "k1")));
        let check = rings("k2", &[right.clone(), lacking]);
        assert_eq!(check.result, Verdict::Warn);
        assert!(
            check.says.contains("without the key k2: lacking"),
            "{check:?}"
        );
        let behind = worker("behind", Some(told(&["k1", "k2"], "k1")));
        let check = rings("k2", &[right, behind]);
        assert!(check.says.contains("behind") && check.help.unwrap().contains("rotate"));
    }
}
