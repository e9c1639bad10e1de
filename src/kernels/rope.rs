//! Rotary position embedding (RoFormer: Su et al. 2021): pairs of numbers of a head turn by angles that grow with the
//! token's position, so that the product of a query and a key depends on their distance alone.
//!
//! ```text
//! (x, y) = (head[i], head[i + head_dim / 2])       pairs as in GPT-NeoX; the paper pairs neighbours
//! head[i]                = x cos - y sin
//! head[i + head_dim / 2] = y cos + x sin
//! ```

use crate::kernels::simd::{Operation, Simd};
use crate::kernels::{AttentionShape, Isa, RowNorm};

/// How much the heads of each position are turned.
pub struct RopeAngles<'a> {
    /// `[positions, head_dim]`: the cosines of a position's `head_dim / 2` angles, then their sines.
    pub table: &'a [f32],
    /// `[tokens]`, all within the table.
    pub positions: &'a [u32],
}

/// Normalizations of each head of queries, keys and values.
#[derive(Clone, Copy)]
pub struct HeadNorms<'a> {
    pub queries: &'a RowNorm,
    pub keys: &'a RowNorm,
    pub values: Option<&'a RowNorm>,
}

/// `out = qkv`, both `[tokens, (heads + 2 * kv_heads) * head_dim]`, with the heads of each token normalized by `norms`,
/// if there are any, and those of queries and keys then turned. Number `i` of a head and number `i + head_dim / 2` are a
/// pair.
pub fn rope(
    isa: Isa,
    shape: &AttentionShape,
    norms: Option<HeadNorms>,
    rotations: RopeAngles,
    qkv: &[f32],
    out: &mut [f32],
) {
    let RopeAngles { table, positions } = rotations;
    let head_dim = shape.head_dim;
    assert!(head_dim.is_multiple_of(2), "numbers of a head are in pairs");
    assert!(
        qkv.len() == positions.len() * shape.width() && out.len() == qkv.len(),
        "qkv and out are [tokens, queries and keys and values]"
    );
    let widths =
        |norms: HeadNorms| [Some(norms.queries), Some(norms.keys), norms.values].map(|norm| norm.map(RowNorm::width));
    let of_a_head = norms.is_none_or(|norms| widths(norms).into_iter().flatten().all(|width| width == head_dim));
    assert!(of_a_head, "norms are of a head");
    isa.run(RotateHeads { shape, norms, table, positions, qkv, out });
}

struct RotateHeads<'a> {
    shape: &'a AttentionShape,
    norms: Option<HeadNorms<'a>>,
    table: &'a [f32],
    positions: &'a [u32],
    qkv: &'a [f32],
    out: &'a mut [f32],
}

impl Operation for RotateHeads<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let AttentionShape { heads, kv_heads, head_dim, .. } = *self.shape;
        let width = self.shape.width();
        let tokens = self.qkv.chunks_exact(width).zip(self.out.chunks_exact_mut(width));
        for (&position, (token, out)) in self.positions.iter().zip(tokens) {
            let (cos, sin) = self.table[position as usize * head_dim..][..head_dim].split_at(head_dim / 2);
            out.copy_from_slice(token);
            let (turned, values) = out.split_at_mut((heads + kv_heads) * head_dim);
            for (number, head) in turned.chunks_exact_mut(head_dim).enumerate() {
                if let Some(norms) = self.norms {
                    let norm = if number < heads { norms.queries } else { norms.keys };
                    norm.normalize_row(s, head);
                }
                let (x, y) = head.split_at_mut(head_dim / 2);
                turn(s, cos, sin, x, y);
            }
            if let Some(norm) = self.norms.and_then(|norms| norms.values) {
                values.chunks_exact_mut(head_dim).for_each(|head| norm.normalize_row(s, head));
            }
        }
    }
}

/// Turns each `(x, y)` by the angle with this `cos` and `sin`; all `[head_dim / 2]`.
#[inline(always)]
fn turn<S: Simd>(s: S, cos: &[f32], sin: &[f32], x: &mut [f32], y: &mut [f32]) {
    let (half, whole) = (x.len(), x.len() / S::LANES * S::LANES);
    let (cos, sin) = (&cos[..half], &sin[..half]);
    let (x, y) = (x.as_mut_ptr(), y[..half].as_mut_ptr());
    let turned = |cos, sin, x, y| {
        let minus_sin = s.sub(s.splat(0.0), sin);
        (s.mul_add(y, minus_sin, s.mul(x, cos)), s.mul_add(x, sin, s.mul(y, cos)))
    };
    for i in (0..whole).step_by(S::LANES) {
        // SAFETY: `i` starts LANES numbers of each.
        unsafe {
            let (cos, sin) = (s.load(cos.as_ptr().add(i)), s.load(sin.as_ptr().add(i)));
            let (a, b) = turned(cos, sin, s.load(x.add(i)), s.load(y.add(i)));
            s.store(x.add(i), a);
            s.store(y.add(i), b);
        }
    }
    let rest = half - whole;
    if rest > 0 {
        // SAFETY: `whole` starts `rest` numbers of each.
        unsafe {
            let first = |from: *const f32| s.load_first(from.add(whole), rest, 0.0);
            let (a, b) = turned(first(cos.as_ptr()), first(sin.as_ptr()), first(x), first(y));
            s.store_first(x.add(whole), a, rest);
            s.store_first(y.add(whole), b, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Mask;
    use crate::kernels::testing::numbers;

    /// Largest absolute error for heads in [-1, 1] and norms' weights up to 1.
    const ERROR: f64 = 2e-6;

    /// The definition, in float64, for one head.
    fn reference(norm: Option<(&[f32], f32)>, rotation: &[f32], head: &[f32]) -> Vec<f64> {
        let (half, wide) = (head.len() / 2, |x: &f32| f64::from(*x));
        let mut head: Vec<f64> = head.iter().map(wide).collect();
        if let Some((weight, eps)) = norm {
            let mean = head.iter().map(|x| x * x).sum::<f64>() / head.len() as f64;
            head.iter_mut().zip(weight).for_each(|(x, w)| *x *= wide(w) / (mean + wide(&eps)).sqrt());
        }
        let pair = |i: usize| (head[i], head[i + half], wide(&rotation[i]), wide(&rotation[i + half]));
        let x = (0..half).map(&pair).map(|(x, y, cos, sin)| x * cos - y * sin);
        let y = (0..half).map(pair).map(|(x, y, cos, sin)| y * cos + x * sin);
        x.chain(y).collect()
    }

    #[test]
    fn ragged_heads_match_the_definition_on_every_set() {
        for (heads, kv_heads, head_dim) in
            [(1, 1, 2), (3, 1, 6), (2, 2, 12), (4, 2, 26), (2, 1, 32), (3, 3, 64), (2, 1, 98)]
        {
            let shape = AttentionShape { heads, kv_heads, head_dim, scale: 1.0, mask: Mask::Full };
            let positions = [0, 4, 1, 1, 3];
            let table = numbers(5 * head_dim, 1);
            let qkv = numbers(positions.len() * shape.width(), 2);
            let weights = [numbers(head_dim, 3), numbers(head_dim, 4), vec![1.0; head_dim]];
            let norms = weights.clone().map(|weight| RowNorm::root_mean_square(weight, 1e-6));
            let cases =
                [0, 2, 3].into_iter().flat_map(|normed| Isa::available().into_iter().map(move |isa| (isa, normed)));
            for (isa, normed) in cases {
                let mut out = vec![f32::NAN; qkv.len()];
                let rotations = RopeAngles { table: &table, positions: &positions };
                let values = (normed == 3).then_some(&norms[2]);
                let norms = HeadNorms { queries: &norms[0], keys: &norms[1], values };
                rope(isa, &shape, (normed > 0).then_some(norms), rotations, &qkv, &mut out);
                let heads_of = |x: &[f32]| x.chunks(head_dim).map(<[f32]>::to_vec).collect::<Vec<_>>();
                for (i, (before, after)) in heads_of(&qkv).iter().zip(heads_of(&out)).enumerate() {
                    let (token, head) = (i / (heads + 2 * kv_heads), i % (heads + 2 * kv_heads));
                    let part = usize::from(head >= heads) + usize::from(head >= heads + kv_heads);
                    if part == 2 && normed < 3 {
                        assert_eq!(&after, before, "values stay as they are");
                        continue;
                    }
                    let norm = (normed > 0).then_some((weights[part].as_slice(), 1e-6));
                    let unturned = [vec![1.0; head_dim / 2], vec![0.0; head_dim / 2]].concat();
                    let turned = &table[positions[token] as usize * head_dim..][..head_dim];
                    let rotation = if part == 2 { unturned.as_slice() } else { turned };
                    for (y, expected) in after.iter().zip(reference(norm, rotation, before)) {
                        let error = (f64::from(*y) - expected).abs();
                        assert!(error <= ERROR, "{} {shape:?} head {head}: off by {error}", isa.name());
                    }
                }
            }
        }
    }
}
