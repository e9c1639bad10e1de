use super::*;
use crate::kernels::Mask;
use crate::nn::testing::{Checkpoint, assert_bodies_agree, assert_halves_agree};

fn shape(kv_heads: usize, mask: Mask) -> kernels::AttentionShape {
    kernels::AttentionShape { heads: 6, kv_heads, head_dim: 8, scale: 0.35, mask }
}

/// Cumulative lengths of texts of several sizes, some of them empty.
const RAGGED: [u32; 9] = [0, 1, 8, 8, 20, 60, 61, 200, 200];

#[test]
fn bodies_agree_for_every_mask() {
    for mask in [Mask::Full, Mask::Causal, Mask::Window(3), Mask::Window(1 << 23), Mask::CausalWindow(4)] {
        for kv_heads in [6, 3, 1] {
            assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
                let qkv = x.states([200, shape(kv_heads, mask).width()])?;
                let layout = Layout::new(&RAGGED, &[]);
                Attention::new(at.body(), shape(kv_heads, mask)).forward(&qkv, &layout, None, None)
            });
        }
    }
}

/// Windows split into query blocks, and texts of more sizes than one padded batch takes.
#[test]
fn bodies_agree_on_long_texts() {
    let offsets = [0, 700, 710, 1400, 1403];
    for mask in [Mask::Full, Mask::Causal, Mask::Window(10), Mask::Window(70), Mask::CausalWindow(30)] {
        assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
            let qkv = x.states([1403, shape(2, mask).width()])?;
            Attention::new(at.body(), shape(2, mask)).forward(&qkv, &Layout::new(&offsets, &[]), None, None)
        });
    }
}

#[test]
fn bodies_agree_after_a_past() {
    for (past, mask) in
        [(1, Mask::Causal), (33, Mask::Causal), (33, Mask::CausalWindow(7)), (33, Mask::CausalWindow(50))]
    {
        assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
            let shape = shape(2, mask);
            let (qkv, past) = (x.states([200, shape.width()])?, x.states([past, 2 * 2 * 8])?);
            Attention::new(at.body(), shape).forward(&qkv, &Layout::new(&RAGGED, &[]), Some(&past), None)
        });
    }
}

#[test]
fn bodies_agree_on_one_token_of_each_text() {
    for mask in [Mask::Full, Mask::Causal, Mask::Window(3), Mask::CausalWindow(9)] {
        for past in [None, Some(5)].into_iter().filter(|past| past.is_none() || mask.is_causal()) {
            assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
                let shape = shape(2, mask);
                let qkv = x.states([60, shape.width()])?;
                let past = past.map(|past| x.states([past, 2 * 2 * 8])).transpose()?;
                let layout = Layout::new(&[0, 1, 8, 20, 60], &[]);
                let rows = Some(&[0, 7, 12, 59][..]);
                Attention::new(at.body(), shape).forward(&qkv, &layout, past.as_ref(), rows)
            });
        }
    }
}

/// Layers with masks of their own share what the batch gave them, and nothing else.
#[test]
fn layers_share_a_layout() {
    assert_bodies_agree(&Checkpoint::random(&[]), |at, x| {
        let layout = Layout::new(&RAGGED, &[]);
        let mut qkv = x.states([200, shape(6, Mask::Full).width()])?;
        for mask in [Mask::Full, Mask::Window(3), Mask::Full, Mask::Window(3)] {
            let attended = Attention::new(at.body(), shape(6, mask)).forward(&qkv, &layout, None, None)?;
            qkv = States::side_by_side(&[&attended, &attended, &attended])?;
        }
        Ok(qkv)
    });
}

#[test]
fn halves_agree_with_float32() {
    for mask in [Mask::Full, Mask::Causal, Mask::Window(3)] {
        assert_halves_agree(&Checkpoint::random(&[]), |at, x| {
            let qkv = x.states([200, shape(2, mask).width()])?;
            Attention::new(at.body(), shape(2, mask)).forward(&qkv, &Layout::new(&RAGGED, &[]), None, None)
        });
    }
}
