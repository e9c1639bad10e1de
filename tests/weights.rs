//! Damaged files of weights: thousands of mutations of valid ones are refused or read, without a panic, and without more memory
//! than a small multiple of the file.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use votive::files::{ModelFolder, Origin};
use votive::weights::Weights;

/// Counts what is in use, and the most that was.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(used, Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

/// Changes a few bytes, numbers or stretches of the file; most of what can break lies in its first and last kilobytes.
fn mutate(file: &mut Vec<u8>, random: &mut Random) {
    const ODD: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX, 0x1_0000_0000];
    for _ in 0..=random.below(4) {
        let at = random.below(file.len());
        match random.below(7) {
            0 => file[at] ^= 1 << random.below(8),
            1 => file[at] = random.below(256) as u8,
            2 => {
                let width = [1, 2, 4, 8][random.below(4)].min(file.len() - at);
                file[at..at + width].copy_from_slice(&ODD[random.below(ODD.len())].to_le_bytes()[..width]);
            }
            3 => file.truncate(at.max(1)),
            4 => {
                let (from, length) = (random.below(file.len()), random.below(40));
                let stretch = file[from..(from + length).min(file.len())].to_vec();
                file.splice(at..at, stretch);
            }
            5 => drop(file.drain(at..(at + random.below(20)).min(file.len() - 1).max(at))),
            _ => {
                // Instructions of pickles where others were.
                const INSTRUCTIONS: &[u8] = b"(.0NJKMGXUcqrhjt)]}aesubQR\x80\x81\x85\x86\x87\x88\x89\x8a\x8f\x93\x95";
                file[at] = INSTRUCTIONS[random.below(INSTRUCTIONS.len())];
            }
        }
    }
}

#[test]
fn damaged_files_are_read_or_refused_in_bounded_memory() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickled");
    let root = tempfile::tempdir().unwrap();
    let folder = ModelFolder::new(root.path().to_owned(), Origin::Folder);
    let mut random = Random(14);
    for (fixture, name, cases) in [
        ("odd.bin", "pytorch_model.bin", 6_000),
        ("odd_legacy.bin", "pytorch_model.bin", 6_000),
        ("dense.bin", "pytorch_model.bin", 2_000),
        ("odd.safetensors", "model.safetensors", 3_000),
    ] {
        let valid = fs::read(fixtures.join(fixture)).unwrap();
        let path = root.path().join(name);
        let mut read = 0;
        for case in 0..cases {
            let mut file = valid.clone();
            if case > 0 {
                mutate(&mut file, &mut random);
            }
            fs::write(&path, &file).unwrap();
            let before = USED.load(Ordering::Relaxed);
            MOST.store(before, Ordering::Relaxed);
            if let Ok(weights) = Weights::open(&folder, "") {
                read += 1;
                for tensor in weights.names() {
                    // A number that is no finite one, or a type that is no float, is an error here.
                    let values = weights.get_any(tensor).and_then(|weight| weight.to_f32());
                    assert!(case > 0 || values.is_ok(), "{fixture}: {tensor}");
                }
            }
            let most = MOST.load(Ordering::Relaxed) - before;
            assert!(most <= 64 * file.len() + (16 << 10), "{fixture}, case {case}: {most} bytes for {}", file.len());
        }
        assert!(read > cases / 20 && read < cases, "{fixture}: {read} of {cases} were read");
        fs::remove_file(path).unwrap();
    }
}
