//! The figures of the process, under the names that Prometheus has for them.

use procfs::process::{LimitValue, Process as Proc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads them when they are asked for.
#[derive(Debug)]
pub(super) struct Process;

/// As it was read; what the system does not tell is left out.
struct Figures {
    cpu_seconds: Option<f64>,
    started: Option<f64>,
    resident: Option<f64>,
    virtual_memory: Option<f64>,
    threads: Option<f64>,
    open_files: Option<f64>,
    most_files: Option<f64>,
}

impl Figures {
    fn read() -> Option<Self> {
        let process = Proc::myself().ok()?;
        let stat = process.stat().ok();
        let stat = stat.as_ref();
        let ticks = procfs::ticks_per_second() as f64;
        let most_files = process.limits().ok().and_then(|limits| match limits.max_open_files.soft_limit {
            LimitValue::Value(most) => Some(most as f64),
            LimitValue::Unlimited => None,
        });
        Some(Self {
            cpu_seconds: stat.map(|stat| (stat.utime + stat.stime) as f64 / ticks),
            started: stat.and_then(|stat| Some(procfs::boot_time_secs().ok()? as f64 + stat.starttime as f64 / ticks)),
            resident: stat.map(|stat| (stat.rss * procfs::page_size()) as f64),
            virtual_memory: stat.map(|stat| stat.vsize as f64),
            threads: stat.map(|stat| stat.num_threads as f64),
            open_files: process.fd_count().ok().map(|files| files as f64),
            most_files,
        })
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(read) = Figures::read() else { return Ok(()) };
        if let Some(seconds) = read.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let help = "Processor time of the process, in seconds";
            let metric = encoder.encode_descriptor("process_cpu_seconds", help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        for (name, help, value) in [
            ("process_start_time_seconds", "When the process was started, in seconds since 1970", read.started),
            ("process_resident_memory_bytes", "Memory of the process in the machine's, in bytes", read.resident),
            ("process_virtual_memory_bytes", "Memory that the process has mapped, in bytes", read.virtual_memory),
            ("process_threads", "Threads of the process", read.threads),
            ("process_open_fds", "Files and connections that the process has open", read.open_files),
            ("process_max_fds", "How many the system lets it have open", read.most_files),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}
