//! A value of every BSON type.

use bson::spec::BinarySubtype;
use bson::{Binary, Bson, JavaScriptCodeWithScope, Regex, Timestamp, doc, oid::ObjectId};

/// A value of every BSON type, and the odd ones of those that keylend reads; None = the field is missing.
///
/// No two are equal for an index, so that all of them fit under a unique one.
pub fn every_value() -> Vec<Option<Bson>> {
    let date = |millis| Bson::DateTime(bson::DateTime::from_millis(millis));
    let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
    let two_to_the_53 = 9_007_199_254_740_992_i64;
    let now = bson::DateTime::now().timestamp_millis();
    let hour = 3_600_000;
    let values = [
        Bson::Null,
        Bson::Double(-0.0),
        Bson::Double(0.5),
        Bson::Double(2.0),
        Bson::Double(-1.0),
        Bson::Double(f64::NAN),
        Bson::Double(f64::INFINITY),
        Bson::Double(f64::NEG_INFINITY),
        Bson::Double(two_to_the_53 as f64 + 2.0),
        Bson::Double(1e300),
        Bson::Int32(1),
        Bson::Int32(-3),
        Bson::Int32(i32::MAX),
        Bson::Int64(3),
        Bson::Int64(-2),
        Bson::Int64(two_to_the_53),
        Bson::Int64(two_to_the_53 + 1),
        Bson::Int64(i64::MAX),
        Bson::Int64(i64::MIN),
        decimal("4"),
        decimal("0.25"),
        decimal("1E+6000"),
        Bson::String(String::new()),
        Bson::String("sk-planted".to_owned()),
        Bson::String("two words".to_owned()),
        Bson::String("sk-line\n".to_owned()),
        Bson::String("5".to_owned()),
        Bson::String("$api_key".to_owned()),
        Bson::String("$$ROOT".to_owned()),
        Bson::Document(doc! {}),
        Bson::Document(doc! {"n": 1, "b": "x", "id": "x", "expires_at": 1}),
        Bson::Array(vec![]),
        Bson::Array(vec![Bson::Int32(7)]),
        Bson::Array(vec![Bson::Boolean(true), Bson::Int64(8)]),
        Bson::Array(vec![Bson::String("sk-listed".to_owned()), date(9)]),
        Bson::Array(vec![Bson::Document(doc! {"n": 2}), Bson::Document(doc! {"n": 4})]),
        Bson::Array(vec![Bson::Array(vec![Bson::Int32(11)])]),
        Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2, 3] }),
        Bson::ObjectId(ObjectId::new()),
        Bson::Boolean(true),
        Bson::Boolean(false),
        date(0),
        date(now - hour),
        date(now + hour),
        date(253_402_300_799_999),
        Bson::RegularExpression(Regex { pattern: "^sk".try_into().unwrap(), options: "i".try_into().unwrap() }),
        Bson::JavaScriptCode("throw 1".to_owned()),
        Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "throw 1".to_owned(), scope: doc! {"a": 1} }),
        Bson::Symbol("sk-symbol".to_owned()),
        Bson::Timestamp(Timestamp { time: 5, increment: 1 }),
        Bson::Undefined,
        Bson::MinKey,
        Bson::MaxKey,
    ];
    [None].into_iter().chain(values.map(Some)).collect()
}
