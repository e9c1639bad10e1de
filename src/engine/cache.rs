//! How much memory each core has near it.

use std::fs;
use std::path::Path;

/// Where the machine does not tell: the least that servers of the last years have.
const FALLBACK: usize = 1 << 20;

/// Bytes of second-level cache for each of the CPUs that share it, as Linux tells them.
pub(super) fn second_level() -> usize {
    let caches = fs::read_dir("/sys/devices/system/cpu/cpu0/cache").into_iter().flatten();
    caches.filter_map(|cache| share_of(&cache.ok()?.path())).next().unwrap_or(FALLBACK)
}

/// A CPU's share of the cache that this folder describes; None unless it is of the second level.
fn share_of(cache: &Path) -> Option<usize> {
    let read = |file: &str| fs::read_to_string(cache.join(file)).ok();
    if read("level")?.trim() != "2" {
        return None;
    }
    let kibibytes: usize = read("size")?.trim().strip_suffix('K')?.parse().ok()?;
    Some((kibibytes << 10) / count(read("shared_cpu_list")?.trim())?)
}

/// How many CPUs a list such as `0-3,8` names.
fn count(list: &str) -> Option<usize> {
    list.split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some(1 + last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)?)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_shared_out_between_its_cpus() {
        let folder = tempfile::tempdir().unwrap();
        let describe = |level: &str, size: &str, list: &str| {
            for (file, text) in [("level", level), ("size", size), ("shared_cpu_list", list)] {
                fs::write(folder.path().join(file), format!("{text}\n")).unwrap();
            }
            share_of(folder.path())
        };
        assert_eq!(describe("2", "2048K", "0"), Some(2 << 20));
        assert_eq!(describe("2", "4096K", "0-3,8-11"), Some(512 << 10));
        assert_eq!(describe("3", "4096K", "0"), None);
        for (size, list) in [("", "0"), ("2048", "0"), ("2048K", ""), ("2048K", "3-1"), ("2048K", "a")] {
            assert_eq!(describe("2", size, list), None);
        }
    }

    #[test]
    fn every_machine_has_some() {
        assert!(second_level() >= 64 << 10);
    }
}
