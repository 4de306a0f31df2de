//! The table and the last line.

use anyhow::{Context, Result};

use super::load::Figures;

pub struct Row<'a> {
    pub name: &'a str,
    pub connections: usize,
    pub figures: Figures,
}

/// Medians over the rounds, side by side; the last line has the worse of the connection counts.
pub fn print(rows: &[Row<'_>], connections: &[usize]) -> Result<()> {
    println!("| connections | gateway | req/s | p50 ms | p99 ms | CPU ms per 1,000 | broker's |");
    println!("|---|---|---|---|---|---|---|");
    let (mut rps, mut p99, mut cpu) = (f64::INFINITY, 0f64, 0f64);
    for count in connections {
        let mut medians = Vec::new();
        for name in ["bare", "inlet"] {
            let of = |figure: fn(&Figures) -> f64| median(rows, name, *count, figure);
            let row = [
                of(Figures::rps)?,
                of(|f| f.p50_ms)?,
                of(|f| f.p99_ms)?,
                of(Figures::cpu_ms_per_1000)?,
                of(Figures::broker_cpu_ms_per_1000)?,
            ];
            println!(
                "| {count} | {name} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} |",
                row[0], row[1], row[2], row[3], row[4]
            );
            medians.push(row);
        }
        let ratio = |column: usize| medians[1][column] / medians[0][column];
        println!(
            "| {count} | ratio | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            ratio(0),
            ratio(1),
            ratio(2),
            ratio(3),
            ratio(4)
        );
        rps = rps.min(ratio(0));
        p99 = p99.max(ratio(2));
        cpu = cpu.max(ratio(3));
    }
    println!("ratio_rps={rps:.2} ratio_p99={p99:.2} ratio_cpu={cpu:.2}");
    Ok(())
}

fn median(rows: &[Row<'_>], name: &str, connections: usize, figure: fn(&Figures) -> f64) -> Result<f64> {
    let mut values: Vec<f64> = rows
        .iter()
        .filter(|row| row.name == name && row.connections == connections)
        .map(|row| figure(&row.figures))
        .collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().with_context(|| format!("no figures of {name}"))
}
