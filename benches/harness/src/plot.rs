//! The rows in which something grows, as plots: leases a second, both axes logarithmic.

use std::path::{Path, PathBuf};

use plotters::prelude::*;

use crate::failure::Failure;
use crate::report::Row;

/// Of a plot, in pixels.
const SIZE: (u32, u32) = (720, 420);

/// What a line of a plot goes through: what grows, and the leases a second.
type Points = Vec<(f64, f64)>;

/// Writes `speed-ROW.svg` for each row that grows; both stores of a row go into one.
pub(crate) fn write(rows: &[Row], folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut written = Vec::new();
    for (name, of) in [("keys", "usable keys"), ("callers", "connections"), ("instances", "instances")] {
        let lines = lines(rows, name);
        if lines.iter().any(|(_, points)| points.len() > 1) {
            let path = folder.join(format!("speed-{name}.svg"));
            draw(&path, of, &lines).map_err(|error| Failure::Bench(format!("{}: {error}", path.display())))?;
            written.push(path);
        }
    }
    Ok(written)
}

/// One line for each side on each store.
fn lines(rows: &[Row], name: &str) -> Vec<(String, Points)> {
    let mut lines: Vec<(String, Points)> = Vec::new();
    for row in rows.iter().filter(|row| row.name == name) {
        for side in &row.sides {
            let Some(size) = side.size else { continue };
            let label = format!("{}, {}", side.name, row.store);
            let point = (f64::from(size), side.per_second);
            match lines.iter_mut().find(|(known, _)| *known == label) {
                Some((_, points)) => points.push(point),
                None => lines.push((label, vec![point])),
            }
        }
    }
    lines
}

fn draw(path: &Path, of: &str, lines: &[(String, Points)]) -> Result<(), Box<dyn std::error::Error>> {
    let all: Points = lines.iter().flat_map(|(_, points)| points.iter().copied()).collect();
    let span = |of: fn(&(f64, f64)) -> f64, around: f64| {
        let (least, most) = all.iter().map(of).fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
        (least.max(0.1) / around, most.max(0.1) * around)
    };
    let ((left, right), (bottom, top)) = (span(|point| point.0, 1.1), span(|point| point.1, 2.0));
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d((left..right).log_scale(), (bottom..top).log_scale())?;
    let number = |value: &f64| format!("{value:.0}");
    chart
        .configure_mesh()
        .x_desc(of)
        .y_desc("leases a second")
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .light_line_style(WHITE)
        .draw()?;
    for (place, (label, points)) in lines.iter().enumerate() {
        let color = Palette99::pick(place).to_rgba();
        let line = LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3);
        let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], color.stroke_width(2));
        chart.draw_series(line)?.label(label).legend(legend);
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .position(SeriesLabelPosition::LowerLeft)
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Side;

    fn row(store: &str, sides: &[(u32, f64)]) -> Row {
        let side =
            |(size, rate): &(u32, f64)| Side { size: Some(*size), per_second: *rate, ..Side::of("keylend", &[]) };
        let sides = sides.iter().map(side).collect();
        Row { name: "keys", work: String::new(), store: store.to_owned(), sides, verdicts: Vec::new() }
    }

    #[test]
    fn each_store_has_its_line_in_one_plot() {
        let rows = [row("a", &[(10, 5.0), (100, 4.0)]), row("b", &[(10, 3.0)])];
        let expected =
            [("keylend, a".to_owned(), vec![(10.0, 5.0), (100.0, 4.0)]), ("keylend, b".to_owned(), vec![(10.0, 3.0)])];
        assert_eq!(lines(&rows, "keys"), expected);
        let folder = tempfile::tempdir().unwrap();
        let written = write(&rows, folder.path()).unwrap();
        assert_eq!(written, [folder.path().join("speed-keys.svg")]);
        let svg = std::fs::read_to_string(&written[0]).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("keylend, b"), "{svg}");
    }

    #[test]
    fn one_size_alone_is_no_plot() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(&[row("a", &[(10, 5.0)])], folder.path()).unwrap().is_empty());
    }
}
