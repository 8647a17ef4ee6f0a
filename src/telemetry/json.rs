//! A line as one JSON object: the fields of the event, and of the request it belongs to, side by side.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Fields flat: `timestamp`, `level`, `event`, `message`, `request.id`, ..
pub(super) struct Flat;

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for Flat {
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Map::new();
        // From the outermost span inwards, so that what is nearest to the event is told.
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(formatted) = span.extensions().get::<FormattedFields<JsonFields>>() {
                add(&mut fields, &formatted.fields);
            }
        }
        let mut own = String::new();
        context.format_fields(Writer::new(&mut own), event)?;
        add(&mut fields, &own);
        let text = |text: &str| Value::from(text).to_string();
        let metadata = event.metadata();
        write!(writer, "{{\"timestamp\":{},\"level\":\"{}\"", text(&timestamp), metadata.level())?;
        write!(writer, ",\"target\":{}", text(metadata.target()))?;
        for (name, value) in fields {
            // What a line is known by cannot be written over.
            if !matches!(name.as_str(), "timestamp" | "level" | "target") {
                write!(writer, ",{}:{value}", text(&name))?;
            }
        }
        writeln!(writer, "}}")
    }
}

/// Adds fields that were formatted as an object.
fn add(fields: &mut Map<String, Value>, formatted: &str) {
    if let Ok(Value::Object(own)) = serde_json::from_str(formatted) {
        fields.extend(own);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_object_with_the_fields_of_its_spans() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .fmt_fields(JsonFields::new())
            .event_format(Flat)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("request", request.id = "r-1", pool = tracing::field::Empty);
            let _entered = span.enter();
            span.record("pool", "stability");
            tracing::warn!(event = "key_rested", key.id = %"k", count = 2, "a \"report\"\nput it to rest");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        for (name, value) in [
            ("level", Value::from("WARN")),
            ("event", Value::from("key_rested")),
            ("request.id", Value::from("r-1")),
            ("pool", Value::from("stability")),
            ("key.id", Value::from("k")),
            ("count", Value::from(2)),
            ("message", Value::from("a \"report\"\nput it to rest")),
        ] {
            assert_eq!(line[name], value, "{name}: {text}");
        }
        assert!(text.starts_with("{\"timestamp\":\"2") && line["target"].is_string(), "{text}");
    }
}
