//! The pools: the three that are there without any configuration, changed and joined by `[pools.NAME]`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::file::Section;
use super::{Fault, provider};
use crate::domain::{Lapsed, Picks, Policy, PoolName};

/// The names in a section of a pool.
const NAMES: [&str; 11] = [
    "collection",
    "picks",
    "uses_per_key",
    "lapsed",
    "lease_ttl_seconds",
    "rest_seconds",
    "rest_cap_seconds",
    "encrypt",
    "low_water",
    "verify",
    "generate",
];

/// The longest rest that can be configured: 31 days, as long as a provider's month.
const LONGEST_REST: u64 = 31 * 24 * 60 * 60;

/// The policies of all pools: the built-in ones, then the others in the order of the file.
pub(super) fn read(sections: &[Section], faults: &mut Vec<Fault>) -> Vec<Policy> {
    let mut policies = Policy::built_in().to_vec();
    for section in sections {
        let Some(name) = section.title.strip_prefix("pools.").and_then(|name| name.parse::<PoolName>().ok()) else {
            let advice = "a pool's name is 1 to 40 of a-z, 0-9, _ and -, and starts with a letter";
            faults.push(section.fault(advice));
            continue;
        };
        let at = policies.iter().position(|policy| policy.name == name).unwrap_or_else(|| {
            if !section.has("uses_per_key") {
                faults.push(section.fault("a new pool needs uses_per_key: how many uses one key gives"));
            }
            policies.push(Policy::new(name, Picks::LeastRecentlyUsed, 1));
            policies.len() - 1
        });
        change(&mut policies[at], section, faults);
    }
    refuse_shared_collections(&policies, sections, faults);
    policies
}

/// Writes into a policy what its section says.
fn change(policy: &mut Policy, section: &Section, faults: &mut Vec<Fault>) {
    section.refuse_unknown(&NAMES, faults);
    let expected = "1 to 100 letters, digits and _, and none of keylend's own names";
    let collection =
        section.parsed("collection", expected, faults, |text| is_collection(text).then(|| text.to_owned()));
    if let Some(collection) = collection {
        policy.collection = collection;
    }
    let picks = section.parsed("picks", "least_recently_used or in_order", faults, |text| {
        [Picks::LeastRecentlyUsed, Picks::InOrder].into_iter().find(|picks| picks.as_str() == text)
    });
    policy.picks = picks.unwrap_or(policy.picks);
    let uses_per_key = section.whole("uses_per_key", 1..=10_000, faults).and_then(|uses| u32::try_from(uses).ok());
    policy.uses_per_key = uses_per_key.unwrap_or(policy.uses_per_key);
    let lapsed = section.parsed("lapsed", "count or refund", faults, |text| {
        [Lapsed::Count, Lapsed::Refund].into_iter().find(|lapsed| lapsed.as_str() == text)
    });
    policy.lapsed = lapsed.unwrap_or(policy.lapsed);
    let mut seconds = |key, longest, value: &mut Duration| {
        if let Some(seconds) = section.whole(key, 1..=longest, faults) {
            *value = Duration::from_secs(seconds);
        }
    };
    seconds("lease_ttl_seconds", 3600, &mut policy.lease_ttl);
    seconds("rest_seconds", LONGEST_REST, &mut policy.rest);
    seconds("rest_cap_seconds", LONGEST_REST, &mut policy.rest_cap);
    policy.encrypt = section.truth("encrypt", faults).unwrap_or(policy.encrypt);
    provider::change(Arc::make_mut(&mut policy.provider), section, faults);
    if policy.rest > policy.rest_cap {
        let (rest, cap) = (policy.rest.as_secs(), policy.rest_cap.as_secs());
        faults.push(section.fault(format!("rest_seconds ({rest}) must not exceed rest_cap_seconds ({cap})")));
    }
}

/// Whether keys can be kept under this name, on both stores, beside what keylend itself keeps there.
fn is_collection(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let own = matches!(lower.as_str(), "keylend_meta" | "leases" | "leases_of_key" | "leases_by_end" | "system")
        || lower.starts_with("sqlite_")
        || lower.ends_with("_by_last_used")
        || lower.ends_with("_by_order");
    (1..=100).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !own
}

/// Two pools with the same keys would each lend them by its own policy. The embedded store does not tell upper from
/// lower case.
fn refuse_shared_collections(policies: &[Policy], sections: &[Section], faults: &mut Vec<Fault>) {
    let mut owners = HashMap::new();
    for policy in policies {
        let Some(owner) = owners.insert(policy.collection.to_ascii_lowercase(), &policy.name) else { continue };
        let named = |section: &&Section| {
            let name = section.title.trim_start_matches("pools.");
            name == policy.name.as_str() || name == owner.as_str()
        };
        if let Some(section) = sections.iter().rfind(named) {
            faults.push(
                section.fault(format!(
                    "the pools {owner} and {} have the same collection: give each its own",
                    policy.name
                )),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::File;
    use super::*;

    fn pools(text: &str) -> Result<Vec<Policy>, Vec<String>> {
        let mut faults = Vec::new();
        let file = File::parse("keylend.toml", text, &mut faults);
        let pools = read(&file.pools, &mut faults);
        if faults.is_empty() { Ok(pools) } else { Err(faults.iter().map(Fault::to_string).collect()) }
    }

    #[test]
    fn without_configuration_there_are_the_built_in_pools() {
        assert_eq!(pools(""), Ok(Policy::built_in().to_vec()));
    }

    #[test]
    fn a_built_in_pool_keeps_what_is_not_changed() {
        let changed = pools("[pools.plantid]\nuses_per_key = 7\nlapsed = \"refund\"\n").expect("valid");
        let mut expected = Policy::built_in().to_vec();
        (expected[1].uses_per_key, expected[1].lapsed) = (7, Lapsed::Refund);
        assert_eq!(changed, expected);
    }

    #[test]
    fn a_new_pool_has_the_defaults_and_its_own_values() {
        let all = "[pools.z-1]\nuses_per_key = 10000\n[pools.a]\nuses_per_key = 1\ncollection = \"mine\"\n\
                   picks = \"in_order\"\nlease_ttl_seconds = 3600\nrest_seconds = 5\nrest_cap_seconds = 6\nencrypt = true\n";
        let policies = pools(all).expect("valid");
        let names: Vec<&str> = policies.iter().map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, ["stability", "plantid", "healthid", "z-1", "a"]);
        assert_eq!(policies[3], Policy::new("z-1".parse().unwrap(), Picks::LeastRecentlyUsed, 10_000));
        let own = &policies[4];
        assert_eq!((own.collection.as_str(), own.picks, own.uses_per_key), ("mine", Picks::InOrder, 1));
        assert_eq!((own.encrypt, policies[3].encrypt), (true, false));
        assert_eq!((own.lease_ttl.as_secs(), own.rest.as_secs(), own.rest_cap.as_secs()), (3600, 5, 6));
    }

    #[test]
    fn every_fault_of_a_pool_has_its_line_and_its_way_out() {
        for (text, expected) in [
            ("[pools.mine]", "line 1: a new pool needs uses_per_key"),
            ("[pools.Mine]\nuses_per_key = 1", "line 1: a pool's name is"),
            ("[pools]\nmine = 1", "line 2: a pool is a section"),
            ("[pools.plantid]\nuses_per_key = 0", "line 2: uses_per_key must be a whole number from 1 to 10000"),
            ("[pools.plantid]\nuses_per_key = 10001", "line 2: uses_per_key"),
            ("[pools.plantid]\nuses_per_key = -1", "line 2: uses_per_key"),
            ("[pools.plantid]\nuses_per_key = \"4\"", "line 2: uses_per_key"),
            ("[pools.plantid]\nuse_per_key = 4", "line 2: there is no such name; did you mean uses_per_key?"),
            ("[pools.plantid]\npicks = \"random\"", "line 2: picks must be least_recently_used or in_order"),
            ("[pools.plantid]\nencrypt = \"yes\"", "line 2: encrypt must be true or false"),
            ("[pools.plantid]\nlapsed = true", "line 2: lapsed must be count or refund"),
            ("[pools.plantid]\nlease_ttl_seconds = 3601", "line 2: lease_ttl_seconds"),
            ("[pools.plantid]\nrest_cap_seconds = 0", "line 2: rest_cap_seconds"),
            (
                "[pools.plantid]\nrest_cap_seconds = 59",
                "line 1: rest_seconds (60) must not exceed rest_cap_seconds (59)",
            ),
            ("[pools.plantid]\ncollection = \"stability_api_keys\"", "line 1: the pools stability and plantid"),
            ("[pools.stability]\ncollection = \"PLANTID_api_keys\"", "line 1: the pools stability and plantid"),
            ("[pools.a-b]\nuses_per_key = 1\n[pools.a_b]\nuses_per_key = 1", "line 3: the pools a-b and a_b"),
        ] {
            let told = pools(text).expect_err(text);
            assert!(told.len() == 1 && told[0].contains(expected), "{text}: {told:?}");
        }
        for name in ["", "a.b", "a b", "ä", "leases", "keylend_meta", "sqlite_x", "system.x", "x_by_order"] {
            let told = pools(&format!("[pools.plantid]\ncollection = \"{name}\"")).expect_err(name);
            assert!(told.len() == 1 && told[0].contains("line 2: collection must be"), "{name}: {told:?}");
        }
        assert!(pools(&format!("[pools.plantid]\ncollection = \"{}\"", "x".repeat(100))).is_ok());
        assert!(pools(&format!("[pools.plantid]\ncollection = \"{}\"", "x".repeat(101))).is_err());
    }
}
