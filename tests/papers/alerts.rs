//! Every alert that Prometheus can raise is explained in docs/operating.md, under a heading of its name, and is in the
//! table of docs/monitoring.md.

const RULES: &str = include_str!("../../docker/prometheus/rules.yml");
const OPERATING: &str = include_str!("../../docs/operating.md");
const MONITORING: &str = include_str!("../../docs/monitoring.md");

#[test]
fn every_alert_has_its_heading_and_every_such_heading_its_alert() {
    let alerts = RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<&str> = alerts.collect();
    let headings = OPERATING.lines().filter_map(|line| line.strip_prefix("### `"));
    let headings: Vec<&str> = headings.filter_map(|line| line.strip_suffix('`')).collect();
    assert!(!alerts.is_empty());
    assert_eq!(alerts, headings);
    for alert in alerts {
        let part = OPERATING.split(&format!("`{alert}`\n")).nth(1).unwrap().split("\n###").next().unwrap();
        for word in ["**Means**", "**Look**", "**Do**"] {
            assert!(part.contains(word), "{alert} does not say: {word}");
        }
        assert!(MONITORING.contains(&format!("| [`{alert}`](operating.md#")), "{alert} is not in docs/monitoring.md");
    }
}
