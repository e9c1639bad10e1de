//! What the CPU says of itself.

/// A cache that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// 1 for the one nearest to the core.
    pub level: u32,
    pub bytes: usize,
}

/// The CPU's name; empty where it does not say.
pub fn cpu_name() -> String {
    cpuid::name().or_else(linux::name).unwrap_or_default()
}

/// The caches that a core has or shares, nearest first; none where the CPU does not say.
pub fn caches() -> Vec<Cache> {
    let mut caches = cpuid::caches().unwrap_or_else(linux::caches);
    caches.sort_by_key(|cache| cache.level);
    caches
}

/// x86-64's own instruction, the same under every operating system.
#[cfg(target_arch = "x86_64")]
mod cpuid {
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    use super::Cache;

    /// Leaves of 16 characters.
    const NAME: [u32; 3] = [0x8000_0002, 0x8000_0003, 0x8000_0004];

    const INTEL_CACHES: u32 = 4;
    /// With the same fields, if the bit of leaf 0x80000001 is set.
    const AMD_CACHES: u32 = 0x8000_001d;
    const HAS_AMD_CACHES: u32 = 1 << 22;

    pub(super) fn name() -> Option<String> {
        if __cpuid(0x8000_0000).eax < NAME[2] {
            return None;
        }
        let registers = NAME.map(|leaf| {
            let leaf = __cpuid(leaf);
            [leaf.eax, leaf.ebx, leaf.ecx, leaf.edx]
        });
        let bytes: Vec<u8> = registers.as_flattened().iter().flat_map(|register| register.to_le_bytes()).collect();
        let text = String::from_utf8_lossy(&bytes);
        let name = text.split('\0').next().unwrap_or_default().trim();
        (!name.is_empty()).then(|| name.to_owned())
    }

    pub(super) fn caches() -> Option<Vec<Cache>> {
        let extended = __cpuid(0x8000_0000).eax;
        let leaf = match extended >= AMD_CACHES && __cpuid(0x8000_0001).ecx & HAS_AMD_CACHES != 0 {
            true => AMD_CACHES,
            false if __cpuid(0).eax >= INTEL_CACHES => INTEL_CACHES,
            false => return None,
        };
        let mut caches = Vec::new();
        // As many as there are: the list ends with type 0. No CPU has more than eight.
        for i in 0..8 {
            let fields = __cpuid_count(leaf, i);
            let field = |register: u32, shift: u32, bits: u32| (register >> shift & ((1 << bits) - 1)) as usize;
            match field(fields.eax, 0, 5) {
                0 => break,
                // A cache of instructions.
                2 => continue,
                _ => {}
            }
            let (ways, partitions, line) =
                (field(fields.ebx, 22, 10), field(fields.ebx, 12, 10), field(fields.ebx, 0, 12));
            let bytes = (ways + 1) * (partitions + 1) * (line + 1) * (fields.ecx as usize + 1);
            caches.push(Cache { level: field(fields.eax, 5, 3) as u32, bytes });
        }
        (!caches.is_empty()).then_some(caches)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod cpuid {
    pub(super) fn name() -> Option<String> {
        None
    }

    pub(super) fn caches() -> Option<Vec<super::Cache>> {
        None
    }
}

/// Files that are only there under Linux.
mod linux {
    use std::fs::read_to_string;

    use super::Cache;

    pub(super) fn name() -> Option<String> {
        let text = read_to_string("/proc/cpuinfo").ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'))?.1;
        Some(value.trim().to_owned())
    }

    pub(super) fn caches() -> Vec<Cache> {
        let read = |i: usize| {
            let field = |name: &str| read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index{i}/{name}")).ok();
            if field("type")?.trim() == "Instruction" {
                return None;
            }
            let kibibytes: usize = field("size")?.trim().strip_suffix('K')?.parse().ok()?;
            Some(Cache { level: field("level")?.trim().parse().ok()?, bytes: kibibytes << 10 })
        };
        (0..8).filter_map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_has_one_cache() {
        let caches = caches();
        assert!(caches.is_sorted_by(|near, far| near.level < far.level), "{caches:?}");
        assert!(caches.iter().all(|cache| (1 << 10..1 << 34).contains(&cache.bytes)), "{caches:?}");
    }

    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn the_cpu_and_linux_say_the_same() {
        assert_eq!(cpuid::name(), linux::name());
        // Sizes may differ from core to core.
        let levels = |caches: Vec<Cache>| caches.iter().map(|cache| cache.level).collect::<Vec<_>>();
        let listed = levels(linux::caches());
        assert!(listed.is_empty() || levels(caches()) == listed);
    }
}
