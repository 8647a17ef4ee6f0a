//! Prometheus's text format 0.0.4, which every monitoring system reads, out of that of OpenMetrics, which the library
//! writes.
//!
//! They differ in this: OpenMetrics names a counter without its `_total` in its description, gives units a line of
//! their own, and ends with `# EOF`.

/// `open` in the format of Prometheus; of pools only those that `shows` names.
pub(super) fn prometheus(open: &str, shows: impl Fn(&str) -> bool) -> String {
    let counters: Vec<&str> =
        open.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut text = String::with_capacity(open.len());
    for line in open.lines() {
        match line.strip_prefix("# ").and_then(|described| described.split_once(' ')) {
            Some(("HELP" | "TYPE", of)) => {
                let (name, rest) = of.split_once(' ').unwrap_or((of, ""));
                let total = if counters.contains(&name) { "_total" } else { "" };
                let word = &line[..6];
                // Where it has a unit the sentence ends without a dot all the same.
                text.push_str(&format!("{word} {name}{total} {}\n", rest.trim_end_matches('.')));
            }
            None if !line.starts_with('#') && pool(line).is_none_or(&shows) => {
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    text
}

/// The pool that a sample is about. Names of pools hold nothing that is escaped.
fn pool(sample: &str) -> Option<&str> {
    let (_, rest) = sample.split_once("pool=\"")?;
    rest.split_once('"').map(|(pool, _)| pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_their_whole_names_and_only_pools_that_may_be_seen_are_there() {
        let open = "# HELP keylend_reports Reports.\n# TYPE keylend_reports counter\n\
            keylend_reports_total{pool=\"a\"} 1\nkeylend_reports_total{pool=\"b\"} 2\n\
            # HELP keylend_age_seconds Age.\n# TYPE keylend_age_seconds histogram\n# UNIT keylend_age_seconds seconds\n\
            keylend_age_seconds_sum 1.5\n# EOF\n";
        let expected = "# HELP keylend_reports_total Reports\n# TYPE keylend_reports_total counter\n\
            keylend_reports_total{pool=\"a\"} 1\n\
            # HELP keylend_age_seconds Age\n# TYPE keylend_age_seconds histogram\nkeylend_age_seconds_sum 1.5\n";
        assert_eq!(prometheus(open, |pool| pool == "a"), expected);
    }
}
