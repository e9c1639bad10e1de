//! Passes that fail, and many that do not.

use super::*;
use crate::gpu::arena::MAX_ROWS;
use crate::gpu::context::Context as Opened;
use crate::gpu::pipelines::attention::{PackedInputs, SentQueries, attend};
use crate::gpu::pipelines::columns::keep;
use crate::gpu::pipelines::product::{Product, ProductTypes};
use crate::gpu::pipelines::read_back::read;
use crate::gpu::pipelines::row_upload::row_upload;
use crate::gpu::pipelines::weights::{MatrixParts, WeightType};
use crate::gpu::testing::{Noise, device};
use crate::kernels::{Activation, AttentionShape, Mask};

const WIDTH: usize = 40;

struct Stack(Product);

impl Stack {
    fn new(context: &Opened) -> Self {
        let weight = Noise::new(1).values(WIDTH * WIDTH);
        let parts = MatrixParts { weight: &weight, bias: None, shape: [WIDTH; 2] };
        let types = ProductTypes { states: Number::F32, weights: WeightType::F32 };
        Self(Product::new(context, types, parts).unwrap())
    }

    fn run(&self, arena: &Arena, tokens: usize, change: impl FnOnce(&mut PassRecording)) -> Result<Vec<f32>> {
        let mut pass = PassRecording::new(arena, tokens)?;
        let mut x = row_upload(&mut pass, Number::F32, &vec![0.5; tokens * WIDTH], WIDTH)?;
        for _ in 0..5 {
            x = self.0.record(&mut pass, &x, Activation::Relu)?;
        }
        change(&mut pass);
        read(&mut pass, &x)
    }
}

#[test]
#[ignore = "needs a GPU"]
fn memory_stays_over_a_thousand_odd_shapes() {
    let (network, mut random) = (Stack::new(device()), Noise::new(9));
    let arena = Arena::new(device()).unwrap();
    network.run(&arena, 300, |_| ()).unwrap();
    let bytes = arena.bytes();
    for _ in 0..1000 {
        let tokens = random.below(301);
        assert_eq!(network.run(&arena, tokens, |_| ()).unwrap().len(), tokens * WIDTH);
    }
    assert_eq!(arena.bytes(), bytes);
}

#[test]
#[ignore = "needs a GPU"]
fn passes_of_several_submissions_have_the_same_bits() {
    let network = Stack::new(device());
    let arena = Arena::new(device()).unwrap();
    let whole = network.run(&arena, 64, |_| ()).unwrap();
    let cut = network.run(&arena, 64, |pass| pass.arena.lock().pace = 1.0).unwrap();
    assert_eq!(whole, cut);
}

#[test]
#[ignore = "needs a GPU"]
fn a_pass_without_its_canary_has_failed() {
    let network = Stack::new(device());
    let arena = Arena::new(device()).unwrap();
    let failed = network.run(&arena, 7, |pass| pass.silent = true);
    assert!(matches!(failed, Err(Error::Device { message }) if message.contains("in the middle of a pass")));
    network.run(&arena, 7, |_| ()).unwrap();
}

#[test]
#[ignore = "needs a GPU"]
fn no_memory_is_an_error_and_fewer_tokens_go_on() {
    let network = Stack::new(device());
    // Three slots of rows, and what is sent and read.
    let arena = Arena::new(device()).unwrap();
    arena.limit(3 * 64 * 48 * 4 + 3 * (1 << 16));
    assert!(matches!(network.run(&arena, 1000, |_| ()), Err(Error::DeviceMemory { .. })));
    network.run(&arena, 64, |_| ()).unwrap();
    assert!(matches!(network.run(&arena, MAX_ROWS + 1, |_| ()), Err(Error::DeviceMemory { .. })));
}

#[test]
#[ignore = "needs a GPU"]
fn what_is_kept_outlives_its_pass() {
    let network = Stack::new(device());
    let arena = Arena::new(device()).unwrap();
    let expected = network.run(&arena, 9, |_| ()).unwrap();
    let keep_rows = || {
        let mut pass = PassRecording::new(&arena, 9).unwrap();
        let mut x = row_upload(&mut pass, Number::F32, &[0.5; 9 * WIDTH], WIDTH).unwrap();
        for _ in 0..5 {
            x = network.0.record(&mut pass, &x, Activation::Relu).unwrap();
        }
        keep(&mut pass, &x).unwrap()
    };
    let kept = keep_rows();
    let other = network.run(&arena, 40, |_| ()).unwrap();
    assert_eq!(other[..9 * WIDTH], expected);
    assert_eq!(read(&mut PassRecording::new(&arena, 1).unwrap(), &kept).unwrap(), expected);
    let bound = arena.bound();
    drop(keep_rows());
    assert_eq!(arena.bound(), bound, "no set of arrays keeps what was kept");
}

#[test]
#[ignore = "needs a GPU"]
fn what_a_pass_sent_is_sent_again_where_another_has_overwritten_it() {
    let arena = Arena::new(device()).unwrap();
    let [mut one, mut other] = [0; 2].map(|_| PassRecording::new(&arena, 9).unwrap());
    let queries = SentQueries::send(&mut one, &[0, 4, 9], None);
    let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim: 16, scale: 1.0, mask: Mask::Full };
    let mut attended = |value: f32| {
        let qkv = row_upload(&mut one, Number::F32, &[value; 9 * 48], 48).unwrap();
        let inputs = PackedInputs { qkv: &qkv, queries: &queries, past: None, bias: None };
        let attended = attend(&mut one, &shape, &inputs).unwrap();
        (read(&mut one, &attended).unwrap(), arena.lock().sent.as_ref().unwrap().words)
    };
    for value in [1.0, 2.0, 3.0] {
        let (first, words) = attended(value);
        let (second, more) = attended(value);
        assert_eq!([first, second], [0; 2].map(|_| vec![value; 9 * 16]));
        assert_eq!(more - words, 9 * 48);
        let row = row_upload(&mut other, Number::F32, &[-value; 100], 100).unwrap();
        assert_eq!(read(&mut other, &row).unwrap(), [-value; 100]);
    }
}

#[test]
#[ignore = "needs a GPU"]
fn a_device_that_is_lost_stays_lost() {
    let context = Opened::for_test_alone(&device().info().id).unwrap();
    let network = Stack::new(context);
    let arena = Arena::new(context).unwrap();
    network.run(&arena, 9, |_| ()).unwrap();
    for _ in 0..2 {
        let failed = network.run(&arena, 9, |pass| pass.context().lose());
        assert!(matches!(&failed, Err(Error::Device { .. })), "{failed:?}");
    }
    assert!(Arena::new(context).is_err());
    // Other devices go on.
    network_of_another();
}

fn network_of_another() {
    let arena = Arena::new(device()).unwrap();
    Stack::new(device()).run(&arena, 9, |_| ()).unwrap();
}

#[test]
#[ignore = "needs a GPU"]
fn threads_have_arenas_of_their_own() {
    let network = Stack::new(device());
    let expected = network.run(&Arena::new(device()).unwrap(), 33, |_| ()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let arena = Arena::new(device()).unwrap();
                for _ in 0..5 {
                    assert_eq!(network.run(&arena, 33, |_| ()).unwrap(), expected);
                }
            });
        }
    });
}
