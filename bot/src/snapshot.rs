//! What a server said of its pools at one moment, understood from any JSON: what is missing is missing, what is too much
//! is left alone, and a number may be a text.

use serde_json::Value;

/// The statistics of all pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The Plant ID keys, as the older server told of them.
    pub plant: FilePool,
    /// The Health ID keys.
    pub health: FilePool,
    /// The pools as keylend tells of them, these two among them; none from the older server.
    pub pools: Vec<Pool>,
}

/// What the older server tells of one of its two files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePool {
    /// How many keys there are to hand out; None = it was not said.
    pub available: Option<u64>,
    /// What it says of that; None = nothing.
    pub status: Option<String>,
    /// How many more requests are answered with the same key; None = it was not said.
    pub until_rotation: Option<u64>,
}

/// What keylend tells of a pool. None = it was not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "they have the names and meanings of the JSON")]
pub struct Pool {
    pub name: String,
    pub uses_per_key: Option<u64>,
    pub total: Option<u64>,
    pub usable: Option<u64>,
    pub leased: Option<u64>,
    pub resting: Option<u64>,
    pub spent: Option<u64>,
    pub disabled: Option<u64>,
    pub invalid: Option<u64>,
    pub uses_left: Option<u64>,
    pub rejected: Option<u64>,
    pub key_requests: Option<u64>,
}

impl Pool {
    /// How many keys have uses left, whether they rest at the moment or not.
    pub fn with_uses_left(&self) -> Option<u64> {
        Some(self.usable?.saturating_add(self.resting.unwrap_or(0)))
    }

    /// How many uses all keys together gave when they were new, but for those that are disabled or invalid.
    pub fn capacity(&self) -> Option<u64> {
        let out = self.disabled.unwrap_or(0).saturating_add(self.invalid.unwrap_or(0));
        Some(self.total?.saturating_sub(out).saturating_mul(self.uses_per_key?))
    }
}

/// The pools that the older server had.
pub const PLANT: &str = "plantid";
/// The other one.
pub const HEALTH: &str = "healthid";

impl Snapshot {
    /// Understands the answer of a server; None where it holds no statistics at all.
    pub fn understand(answer: &Value) -> Option<Self> {
        let pools = answer["pools"].as_array().map(Vec::as_slice).unwrap_or_default();
        let pools: Vec<Pool> = pools.iter().filter_map(pool).collect();
        if pools.is_empty() && !answer["keys"].is_object() {
            return None;
        }
        let file = |name: &str| {
            let keys = &answer["keys"][name];
            let of_pools = pools.iter().find(|pool| pool.name == name);
            FilePool {
                available: number(&keys["keys_available"]).or_else(|| of_pools?.usable),
                status: keys["status"].as_str().map(str::to_owned),
                until_rotation: number(&answer["requests"][name]["requests_until_rotation"]),
            }
        };
        Some(Self { plant: file(PLANT), health: file(HEALTH), pools })
    }

    /// The pools that the older server did not have.
    pub fn further_pools(&self) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(|pool| pool.name != PLANT && pool.name != HEALTH)
    }
}

fn pool(told: &Value) -> Option<Pool> {
    let name = told["name"].as_str().filter(|name| !name.trim().is_empty())?.to_owned();
    let keys = |state: &str| number(&told["keys"][state]);
    Some(Pool {
        name,
        uses_per_key: number(&told["uses_per_key"]),
        total: keys("total"),
        usable: keys("usable"),
        leased: keys("leased"),
        resting: keys("resting"),
        spent: keys("spent"),
        disabled: keys("disabled"),
        invalid: keys("invalid"),
        uses_left: number(&told["uses"]["left"]),
        rejected: number(&told["rejected"]),
        key_requests: number(&told["key_requests"]),
    })
}

/// A whole number that is not negative, written as a number or as a text.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A whole number of a double, as other languages write them.
fn whole(number: f64) -> Option<u64> {
    /// From here on a double is not exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and within bounds")]
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_older_servers_answer_is_understood() {
        let answer = json!({
            "keys": {
                "plantid": {"keys_available": 12, "status": "Keys available"},
                "healthid": {"keys_available": 0, "status": "File is empty"},
            },
            "requests": {"plantid": {"requests_until_rotation": 37}, "healthid": {"requests_until_rotation": 100}},
        });
        let file = |available, status: &str, until_rotation| FilePool {
            available: Some(available),
            status: Some(status.to_owned()),
            until_rotation: Some(until_rotation),
        };
        let expected = Snapshot {
            plant: file(12, "Keys available", 37),
            health: file(0, "File is empty", 100),
            pools: Vec::new(),
        };
        assert_eq!(Snapshot::understand(&answer), Some(expected));
    }

    #[test]
    fn the_pools_of_keylend_are_understood() {
        let answer = json!({"pools": [{
            "name": "stability", "picks": "least_recently_used", "uses_per_key": 4,
            "keys": {"total": 9, "usable": 3, "leased": 1, "resting": 1, "spent": 2, "disabled": 1, "invalid": 1},
            "uses": {"counted": 17, "leased": 2, "left": 9}, "usage_counts": [], "last_used": null,
        }, {"name": "plantid", "keys": {"usable": 5}}]});
        let snapshot = Snapshot::understand(&answer).unwrap();
        let stability = &snapshot.pools[0];
        assert_eq!((stability.total, stability.usable, stability.uses_left), (Some(9), Some(3), Some(9)));
        assert_eq!((stability.with_uses_left(), stability.capacity()), (Some(4), Some(28)));
        assert_eq!(snapshot.further_pools().map(|pool| pool.name.as_str()).collect::<Vec<_>>(), ["stability"]);
        // A server that tells of the pools alone.
        assert_eq!(snapshot.plant.available, Some(5));
    }

    #[test]
    fn what_is_missing_is_missing_and_numbers_can_be_texts() {
        for (value, expected) in [
            (json!(0), Some(0)),
            (json!(1_000_000), Some(1_000_000)),
            (json!(u64::MAX), Some(u64::MAX)),
            (json!("12"), Some(12)),
            (json!(" 12 "), Some(12)),
            (json!(12.0), Some(12)),
            (json!(12.5), None),
            (json!(-1), None),
            (json!(1e300), None),
            (json!("many"), None),
            (json!(null), None),
            (json!([12]), None),
            (json!(true), None),
        ] {
            let answer = json!({"keys": {"plantid": {"keys_available": value}}, "more": 1});
            assert_eq!(Snapshot::understand(&answer).unwrap().plant.available, expected, "{value}");
        }
        assert_eq!(Snapshot::understand(&json!({"keys": {}})), Some(Snapshot::default()));
        let odd =
            json!({"keys": {"plantid": 7}, "requests": [], "pools": [{"name": 7}, 7, {"name": " "}, {"name": "a"}]});
        let odd = Snapshot::understand(&odd).unwrap();
        assert_eq!((odd.plant, odd.pools.len()), (FilePool::default(), 1));
    }

    #[test]
    fn what_holds_no_statistics_is_none() {
        for answer in [
            json!(null),
            json!([]),
            json!(7),
            json!("x"),
            json!({}),
            json!({"keys": 7}),
            json!({"pools": []}),
            json!({"pools": {}}),
            json!({"error": "Error retrieving statistics"}),
        ] {
            assert_eq!(Snapshot::understand(&answer), None, "{answer}");
        }
    }
}
