//! Measures keylend over HTTP, side by side with the services that one would write in an afternoon. `benches/speed`
//! starts it; docs/performance.md tells what the rows mean and how they came out.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints figures")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod baseline;
mod bench;
mod check;
mod failure;
mod load;
mod place;
mod plot;
mod quiet;
mod report;
mod rows;
mod seed;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::baseline::Baseline;
use self::bench::{Bench, Plan};
use self::failure::Failure;
use self::report::Report;

#[derive(Parser)]
#[command(name = "keylend-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures
    Run(Run),
    /// Serves as one of the services that keylend is measured against
    Baseline(Baseline),
    /// Lists the rows
    Rows,
}

#[derive(clap::Args)]
struct Run {
    /// Which rows; all without it
    rows: Vec<String>,
    /// The program that is measured
    #[arg(long)]
    keylend: PathBuf,
    /// The version of the sources, for the report
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// Where the JSON goes, and the plots beside it
    #[arg(long)]
    json: PathBuf,
    /// How long each run is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often each side is run
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Short runs on few keys, to see that everything works
    #[arg(long)]
    quick: bool,
}

/// One thread: whatever this program spends, the servers on the same machine lack. The load has threads of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Baseline(baseline) => baseline::serve(baseline).await,
        Command::Run(run) => measure(run).await,
        Command::Rows => {
            rows::ROWS.iter().for_each(|(name, work)| println!("  {name:<10}{work}"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("speed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(run: Run) -> Result<(), Failure> {
    let plan = if run.quick { Plan::quick() } else { Plan::full(run.seconds, run.runs) };
    let bench = Bench::new(run.keylend.clone(), place::mongodb_uri(), plan).await?;
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    // What is under way is dropped with its servers when a signal comes.
    let done = tokio::select! {
        done = rows(&bench, &run) => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::Bench("stopped".to_owned())),
        _ = terminated.recv() => Err(Failure::Bench("stopped".to_owned())),
    };
    bench.clear().await?;
    let report = done?;
    if let Some(folder) = run.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let json = serde_json::to_string_pretty(&report).map_err(|error| Failure::Bench(error.to_string()))?;
    std::fs::write(&run.json, json)?;
    let folder = run.json.parent().unwrap_or(Path::new("."));
    let plots = plot::write(&report.rows, folder)?;
    println!("{}\n", report.table());
    for path in std::iter::once(&run.json).chain(&plots) {
        println!("written: {}", path.display());
    }
    Ok(())
}

async fn rows(bench: &Bench, run: &Run) -> Result<Report, Failure> {
    let named: Vec<&str> = match &run.rows[..] {
        [] => rows::ROWS.iter().map(|(name, _)| *name).collect(),
        rows => rows.iter().map(String::as_str).collect(),
    };
    let mut rows = Vec::new();
    for name in named {
        rows.extend(rows::measure(bench, name).await?);
    }
    Ok(Report {
        commit: run.commit.clone(),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        seconds_per_run: bench.plan.measured.as_secs_f64(),
        runs: bench.plan.runs,
        rows,
    })
}
