//! What Linux tells of this process and of the memory that it may take. Elsewhere nothing is told.

use std::fs;

/// A tick of the clocks in /proc/self/stat, which Linux tells programs in hundredths of a second on every machine of ours.
const TICKS_PER_SECOND: f64 = 100.0;

/// Places of numbers in /proc/self/stat, after the name of the program.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const THREADS: usize = 17;
const START_TICKS: usize = 19;

/// This process now.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) threads: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) max_files: Option<u64>,
    /// Seconds since 1970.
    pub(super) start: Option<f64>,
}

/// Memory that is used, of that which may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MemoryUse {
    pub(super) used: u64,
    pub(super) limit: u64,
}

impl Process {
    pub(super) fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        // The name of the program may hold spaces and parentheses.
        let stat: Vec<&str> = stat.rsplit_once(')').map_or(Vec::new(), |(_, rest)| rest.split_whitespace().collect());
        let number = |place: usize| stat.get(place)?.parse::<u64>().ok();
        let boot = fs::read_to_string("/proc/stat").ok().and_then(|text| after(&text, "btime")?.parse::<f64>().ok());
        Self {
            resident_bytes: kilobytes(&status, "VmRSS:"),
            virtual_bytes: kilobytes(&status, "VmSize:"),
            cpu_seconds: number(USER_TICKS)
                .zip(number(SYSTEM_TICKS))
                .map(|(user, system)| (user + system) as f64 / TICKS_PER_SECOND),
            threads: number(THREADS),
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            max_files: after(&limits, "Max open files").and_then(|limit| limit.parse().ok()),
            start: boot.zip(number(START_TICKS)).map(|(boot, start)| boot + start as f64 / TICKS_PER_SECOND),
        }
    }
}

impl MemoryUse {
    /// That of the container, where it has a limit, else that of the machine.
    pub(super) fn now() -> Option<Self> {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
        let limit = kilobytes(&meminfo, "MemTotal:")?;
        let machine = Self { used: limit.saturating_sub(kilobytes(&meminfo, "MemAvailable:")?), limit };
        // Version 2 of cgroups, and version 1. Files that were read long ago are given back by need.
        let groups = [
            ("memory.max", "memory.current", "memory.stat", "inactive_file"),
            (
                "memory/memory.limit_in_bytes",
                "memory/memory.usage_in_bytes",
                "memory/memory.stat",
                "total_inactive_file",
            ),
        ];
        let of_group = groups.into_iter().find_map(|(limit, used, stat, idle)| {
            let limit = number(&format!("/sys/fs/cgroup/{limit}"))?;
            let used = number(&format!("/sys/fs/cgroup/{used}"))?;
            let stat = fs::read_to_string(format!("/sys/fs/cgroup/{stat}")).unwrap_or_default();
            let idle = after(&stat, idle).and_then(|bytes| bytes.parse().ok()).unwrap_or(0);
            // No limit is told as a very large number.
            (limit < machine.limit).then_some(Self { used: used.saturating_sub(idle), limit })
        });
        Some(of_group.unwrap_or(machine))
    }

    pub(super) fn percent(self) -> f64 {
        100.0 * self.used as f64 / self.limit.max(1) as f64
    }
}

/// The first word of the line that begins with `name`, after that.
fn after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    after(text, name)?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "Linux alone tells")]
    fn linux_tells_all() {
        let process = Process::now();
        let (resident, all) = (process.resident_bytes.expect("memory"), process.virtual_bytes.expect("addresses"));
        assert!(resident > 1 << 20 && all >= resident, "{process:?}");
        assert!(process.threads >= Some(1) && process.open_files >= Some(3) && process.max_files >= process.open_files);
        let seconds = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64();
        let start = process.start.expect("a start");
        assert!(start <= seconds + 1.0 && seconds - start < 1e6 && process.cpu_seconds >= Some(0.0), "{process:?}");
        let memory = MemoryUse::now().expect("memory");
        assert!(memory.used > 0 && memory.percent() <= 100.0, "{memory:?}");
    }
}
