//! How many keys have which count.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts above this are told as one, so that the table has an end.
const TOLD: u64 = 1000;

/// A count as the table tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// There is none.
    None,
    /// It is a fraction.
    Fraction,
    /// It is this whole number.
    Count(u64),
    /// It is larger than all that are told.
    More,
    /// The document is invalid.
    Invalid,
}

impl Bucket {
    /// The bucket of a whole count.
    pub const fn of(count: u64) -> Self {
        if count > TOLD { Self::More } else { Self::Count(count) }
    }

    /// Its name.
    pub fn told(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Fraction => "fraction".to_owned(),
            Self::Count(count) => count.to_string(),
            Self::More => "more".to_owned(),
            Self::Invalid => "invalid".to_owned(),
        }
    }
}

/// The number of keys in each bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram(BTreeMap<Bucket, u64>);

/// One bucket on the wire.
#[derive(Serialize)]
pub struct BucketReply {
    /// A number, or a word for what is none.
    #[serde(serialize_with = "number_or_word")]
    usage_count: Bucket,
    keys: u64,
}

fn number_or_word<S: serde::Serializer>(bucket: &Bucket, serializer: S) -> Result<S::Ok, S::Error> {
    match bucket {
        Bucket::Count(count) => serializer.serialize_u64(*count),
        other => serializer.serialize_str(&other.told()),
    }
}

impl Histogram {
    /// One key more.
    pub fn add(&mut self, bucket: Bucket) {
        *self.0.entry(bucket).or_default() += 1;
    }

    /// Those of another one as well.
    pub fn join(&mut self, other: Self) {
        for (bucket, keys) in other.0 {
            *self.0.entry(bucket).or_default() += keys;
        }
    }

    /// The keys in a bucket.
    pub fn keys(&self, bucket: Bucket) -> u64 {
        self.0.get(&bucket).copied().unwrap_or(0)
    }

    /// The buckets that are in this one or in the other, in order.
    pub fn buckets_with(&self, other: &Self) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> = self.0.keys().chain(other.0.keys()).copied().collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }

    /// As it goes over the wire.
    pub fn reply(&self) -> Vec<BucketReply> {
        self.0.iter().map(|(usage_count, keys)| BucketReply { usage_count: *usage_count, keys: *keys }).collect()
    }
}
